//! The `adit` program from outside: real processes, real sockets on loopback, configuration files as a person writes them.
//!
//! On Unix alone, for signals are how a program is asked to end there, and how it is killed.
#![cfg(unix)]

mod demo;
mod examples;
mod house;
mod keys;
mod pool_killed;
mod process;
mod refusals;
mod roles;
mod wire;
