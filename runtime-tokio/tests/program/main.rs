//! The `adit` program from outside: real processes, real sockets on loopback, configuration files as a person writes them.
#![cfg(unix)]
// Signals are how a program is asked to end, and how it is killed.

mod demo;
mod house;
mod keys;
mod pool_killed;
mod process;
mod refusals;
mod roles;
