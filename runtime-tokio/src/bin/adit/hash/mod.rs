//! The CPU miner's engine: threads that look for nonces, by the fastest way that this processor knows.
//!
//! [`Method`] is how headers are hashed, [`Engine`] the threads that do it. Jobs, shares and connections are the device's.

mod engine;

pub(crate) use adit_native::hash::Method;
pub(crate) use engine::{Engine, Event, Work};
