//! A listener on this runtime, in a process of its own that is out of file descriptors.

#[cfg(unix)]
#[path = "../../conformance/roles/descriptors.rs"]
mod descriptors;
#[cfg(unix)]
#[path = "../src/testing/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this is what all tests of roles share, and here is one of them")]
mod testing;

// Where the library has them.
#[cfg(unix)]
use adit_smol::{
    broadcast, clock, connect, device, gate, link, listen, net, pool, provider, serve, shutdown, stream, upstream,
};

fn main() {
    #[cfg(unix)]
    descriptors::main();
}
