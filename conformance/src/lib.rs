//! The deterministic conformance suite of Adit.
//!
//! - [`entropy`]: seeded bytes.
//! - [`pair`]: two sessions, a link that can hurt, a virtual clock.
//! - [`conversation`]: what two sides say, at every chunking, cut at every byte, with every bit flipped.
//! - [`world`]: provider, pool and devices in one thread, from one seed to a verdict.

pub mod conversation;
pub mod entropy;
pub mod pair;
pub mod world;
