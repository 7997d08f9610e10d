//! Stratum V2 as pure state machines: no I/O, no clock, no random numbers, no allocator.
//!
//! # Start here
//!
//! - A client over any stream, as below: a [`session`] of a [`connection`], and a [`role`] or the [`message`]s themselves.
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
//! # What you bring
//!
//! | what | how it gets in |
//! |---|---|
//! | whom to connect to | [`address::Url::parse`]: host, port, and the server's [`address::AuthorityKey`], by which it proves itself ([`noise::x25519::Authentication`]) |
//! | a server's identity | [`noise::x25519::Authority`] signs [`noise::x25519::Identity`], the server's own key; its public half ends the URL that clients are given |
//! | entropy | 32 bytes for each connection, from the system's generator, never used twice: [`connection::Connection::initiator`], [`connection::Connection::responder`] |
//! | a clock that never goes back | [`time::Instant`]: microseconds since whenever you like |
//! | the date | [`time::UnixTime`]: certificates hold for a period |
//! | buffers | [`buffer::Input`] and [`buffer::Output`] around arrays, slices or boxes; 1 KiB each does for a device |
//! | a link | whatever carries bytes in order; [`session::Session::until_event`] asks to read and to write |
//!
//! # Example
//!
//! A mining device over any link, until the pool has accepted a share. A whole program with it, from the URL to the socket, is the example
//! `blocking_device` (`cargo run -p adit --example blocking_device`):
//!
#![doc = concat!("```\n", include_str!("../examples/blocking_device/mine.rs"), "```")]
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
