//! Adit on smol: connect, listen, drive, time limits, reconnect with back-off, shutdown, limits.
//!
//! The same as Adit's tokio runtime with the same names, for programs that run on smol's executors. No protocol knowledge lives here: what
//! a message means is the core's business, and this crate moves bytes, reads clocks and fetches entropy for it. Executors are
//! handed in ([`async_executor::Executor`] is `smol::Executor`), so that the program decides on how many threads they run.
//! What is hard to get right is one text for all runtimes of servers, [`adit::host`]; here is what differs. Layers, lowest first; each knows
//! only those above it in this list:
//!
//! - [`clock`], [`stream`], [`net`]: this crate's own: time, streams, and sockets, tasks and entropy.
//! - [`watch`], [`queue`], [`broadcast`], [`gate`], [`entropy`]: the core's small mechanisms, none of which depends on smol.
//! - [`shutdown`], [`connect`], [`listen`], [`link`]: how everything ends; how a stream comes to be; one connection of the core over one stream.
//! - [`upstream`], [`serve`]: a client's side of keeping such a connection, a server's side of having many.
//! - [`provider`], [`pool`], [`device`]: roles of the core with their links.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub mod net;
pub mod stream;

pub use adit::host::{broadcast, entropy, gate, queue, watch};

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
