//! The `adit` program.
#![expect(dead_code, unused_imports, reason = "the commands that use these modules are still to come")]

mod args;
mod chain;
mod config;
mod hash;
mod identity;
mod keys;
mod node;
mod report;
mod source;
mod store;
mod view;

fn main() {}
