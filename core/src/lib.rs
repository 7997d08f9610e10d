//! Stratum V2 as pure state machines: no I/O, no clock, no random numbers, no allocator.
//!
//! Layers, lowest first; each knows only those above it in this list:
//!
//! - [`time`], [`error`], [`config`], [`storage`]: plain values that everything shares.
//! - [`crypto`], [`noise`], [`transport`]: the provider seam, the handshake, the record layer.
//! - [`address`]: pool keys and `stratum2+tcp://` URLs.
//! - [`template`]: template distribution.
//! - [`mining`]: hashing headers, jobs and shares.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod address;
pub mod config;
pub mod crypto;
pub mod error;
pub mod mining;
pub mod noise;
pub mod template;
pub mod time;
pub mod transport;
