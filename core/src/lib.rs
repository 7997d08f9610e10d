//! Stratum V2 as pure state machines: no I/O, no clock, no random numbers, no allocator.
//!
//! # Start here
//!
//! - A client over any stream, as below: a [`session`] of a [`connection`], and the [`message`]s that it sends and takes.
//! - A runtime of your own: [`link`] has the turns of reading, handling and writing, time limits and orderly ends; you bring streams, timers
//!   and wakers. `adit-tokio` and `adit-smol` are two such runtimes.
//! - Firmware: `adit-embassy` connects, reconnects and hashes, with [`role::device`] in it; no feature of this package is needed.
//! - A server, or a device with many connections: [`role`] has pool, template provider and device; [`mining`] and [`template`] have both sides
//!   of one connection's protocol, if your server keeps its own books.
//!
//! A peer's fault, the caller's misuse and a full buffer are different errors ([`error`]). How secrets and time get in: as arguments.
//!
//! # Features
//!
//! None by default. `alloc`: lists and sets that grow (`storage::Heap`), leased buffers and the settings that hold them (`link::LinkSettings`),
//! `dial` and `gate`; for servers. `std` adds `host`: what runtimes of servers share, as futures. State machines are the same with and
//! without them.
//!
//! # Example
//!
//! Connects, sets up and opens a channel:
//!
#![doc = concat!("```\n", include_str!("../doc/open_channel.rs"), "```")]
//!
//! # Modules
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
//! - `host` (feature `std`): links and roles on the streams, timers and tasks of a runtime.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(any(test, feature = "std"))]
extern crate std;

/// For texts that tests of the runtimes share.
#[cfg(all(test, feature = "std"))]
extern crate self as adit;

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
#[cfg(feature = "std")]
pub mod host;
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
