//! Adit on smol: connect, listen, drive, time limits, reconnect with back-off, shutdown, limits.
//!
//! The same as Adit's tokio runtime with the same names, for programs that run on smol's executors. No protocol knowledge lives here: what
//! a message means is the core's business, and this crate moves bytes, reads clocks and fetches entropy for it. Executors are
//! handed in ([`async_executor::Executor`] is `smol::Executor`), so that the program decides on how many threads they run.
//! What is hard to get right is one text for all runtimes of servers, [`adit::host`]; here is what differs.
//!
//! # Start here
//!
//! A device: [`device::DeviceTask`] keeps its connection to an [`upstream::Server`], which [`upstream::Server::from_url`] makes of
//! `stratum2+tcp://host[:port]/KEY`; its handle gives work, takes solutions and tells what happens. A pool: [`pool::serve_pool`] on a
//! [`listen::Listener`], with an identity that an authority has signed (`adit::noise::x25519`) and a [`pool::Store`] for accepted shares. A template
//! provider: [`provider::serve_provider`]. Each ends in order by its [`shutdown::Shutdown`].
//!
//! Depend on `adit` too for the protocol's own types, and on `adit-native` for fast cryptography and hashing.
//!
//! Clocks begin at [`clock::Clock::start`]; entropy comes from the system. `P` of those functions is who does the cryptography:
//! `adit_native::crypto::Fastest`, or `adit::crypto::RustCrypto` without a C compiler.
//!
//! Whole programs are the examples `smol_device` and `smol_pool` (`cargo run -p adit-smol --example smol_device -- --help`).
//!
//! # Layers
//!
//! Lowest first; each knows only those above it in this list:
//!
//! - [`clock`], [`stream`], [`net`]: this crate's own: time, streams, and sockets, tasks and entropy.
//! - [`watch`], [`queue`], [`broadcast`], [`gate`], [`entropy`], [`backoff`], [`rate`]: the core's small mechanisms, none of which depends on smol.
//! - [`shutdown`], [`connect`], [`listen`], [`link`]: how everything ends; how a stream comes to be; one connection of the core over one stream.
//! - [`upstream`], [`serve`]: a client's side of keeping such a connection, a server's side of having many.
//! - [`provider`], [`pool`], [`device`]: roles of the core with their links.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub mod net;
pub mod stream;

pub use adit::host::{broadcast, entropy, gate, queue, watch};
pub use adit::{backoff, rate};

pub mod connect;
pub mod link;
pub mod listen;
pub mod shutdown;

pub mod serve;
pub mod upstream;

pub mod device;
pub mod pool;
pub mod provider;

#[cfg(test)]
mod testing;
