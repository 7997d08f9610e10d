//! What a connection at rest costs a pool on this runtime, in a process of its own.

#[path = "../../conformance/roles/idle_memory.rs"]
mod idle_memory;
#[path = "../src/testing/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this is what all tests of roles share, and here is one of them")]
mod testing;

// Where the library has them.
use adit_smol::{
    broadcast, clock, connect, device, gate, link, listen, net, pool, provider, serve, shutdown, stream, upstream,
};

fn main() {
    idle_memory::main();
}
