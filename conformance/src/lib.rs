//! The deterministic conformance suite of Adit.
//!
//! - [`entropy`]: seeded bytes.
//! - [`pair`]: two sessions, a link that can hurt, a virtual clock.
//! - [`conversation`]: what two sides say, at every chunking, cut at every byte, with every bit flipped.

pub mod conversation;
pub mod entropy;
pub mod pair;
