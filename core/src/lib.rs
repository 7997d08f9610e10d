//! Stratum V2 as pure state machines: no I/O, no clock, no random numbers, no allocator.
//!
//! Layers, lowest first; each knows only those above it in this list:
//!
//! - [`time`], [`error`], [`config`], [`storage`], [`hash`]: plain values that everything shares, and SHA-256d.
//! - [`backoff`], [`rate`], `dial`, `gate` (feature `alloc`): waits between attempts to connect, how often something may happen, which address is
//!   tried for how long, who is let in.
//! - [`wire`]: data types, reader, writer.
//! - [`frame`]: the frame header.
//! - [`message`], [`protocol`]: every message as a struct; which side of which protocol sends it.
//! - [`crypto`], [`noise`], [`transport`]: the provider seam, the handshake, the record layer.
//! - [`address`]: pool keys and `stratum2+tcp://` URLs.
//! - [`buffer`], [`connection`], [`session`]: handshake, setup and messages of one connection; with its buffers.
//! - [`link`]: such a connection on a stream, as a runtime drives it.
//! - [`template`]: template distribution.
//! - [`mining`]: targets, jobs, shares, channels; hashing headers; both sides of the mining protocol.
//! - [`role`]: roles of many connections.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod address;
pub mod backoff;
pub mod buffer;
pub mod config;
pub mod connection;
pub mod crypto;
#[cfg(feature = "alloc")]
pub mod dial;
pub mod error;
pub mod frame;
#[cfg(feature = "alloc")]
pub mod gate;
pub mod hash;
pub mod link;
pub mod message;
pub mod mining;
pub mod noise;
pub mod protocol;
pub mod rate;
pub mod role;
pub mod session;
pub mod storage;
pub mod template;
pub mod time;
pub mod transport;
pub mod wire;
