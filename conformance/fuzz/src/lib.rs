//! What is fuzzed: one function a target, from bytes to nothing. It panics when something that must hold does not.
//!
//! Here, so that libFuzzer (`conformance/fuzz/targets`) and an ordinary test (`conformance/fuzz/replay.rs`) run the same. Everything is made
//! from the bytes alone: no clock, no entropy, so that a finding repeats.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a target says that something does not hold")]

mod device;
mod handshake;
mod house;
mod link;
mod messages;
mod parsers;
mod pool;
mod provider;
mod script;
mod seeds;
mod session;
mod upstream;

pub use device::device;
pub use handshake::handshake;
pub use messages::messages;
pub use parsers::parsers;
pub use pool::pool;
pub use provider::provider;
pub use seeds::{Seed, seeds};
pub use session::session;
pub use upstream::upstream;

/// A target's function.
pub type Target = fn(&[u8]);

/// All targets by name, which is also that of their corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("messages", messages),
    ("parsers", parsers),
    ("handshake", handshake),
    ("session", session),
    ("pool", pool),
    ("device", device),
    ("provider", provider),
    ("upstream", upstream),
];
