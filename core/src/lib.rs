//! Stratum V2 as pure state machines: no I/O, no clock, no random numbers, no allocator.
//!
//! Layers, lowest first; each knows only those above it in this list:
//!
//! - [`time`], [`error`], [`config`], [`storage`]: plain values that everything shares.
//! - [`template`]: template distribution.
//! - [`mining`]: hashing headers, jobs and shares.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod config;
pub mod error;
pub mod mining;
pub mod template;
pub mod time;
