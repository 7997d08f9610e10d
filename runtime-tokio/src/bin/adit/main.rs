//! The `adit` program.
#![expect(dead_code, unused_imports, reason = "the commands that use these modules are still to come")]

mod hash;

fn main() {}
