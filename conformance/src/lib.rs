//! The deterministic conformance suite of Adit.
//!
//! - [`entropy`]: seeded bytes.
//! - [`pair`]: two sessions, a link that can hurt, a virtual clock.

pub mod entropy;
pub mod pair;
