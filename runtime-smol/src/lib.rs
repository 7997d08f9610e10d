//! Adit on smol: connect, listen, drive, time limits, reconnect with back-off, shutdown, limits.
//!
//! The same as Adit's tokio runtime with the same names, for programs that run on smol's executors. No protocol knowledge lives here: what
//! a message means is the core's business, and this crate moves bytes, reads clocks and fetches entropy for it. Executors are
//! handed in ([`async_executor::Executor`] is `smol::Executor`), so that the program decides on how many threads they run.
//! Layers, lowest first; each knows only those above it in this list:
//!
//! - [`clock`], [`entropy`]: what the core takes as arguments.
//! - [`watch`], [`queue`] (both the core's): a value that is watched, a queue whose places are taken beforehand.
//! - [`shutdown`]: how everything ends.
//! - [`stream`], [`connect`], [`gate`] (the core's), [`listen`]: how a stream comes to be, and which are let in.
//! - [`link`]: one connection of the core over one stream.
//! - [`upstream`], [`serve`]: a client's side of keeping such a connection, a server's side of having many.
//! - [`provider`], [`pool`], [`device`]: roles of the core with their links.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod clock;
pub use adit::host::entropy;

pub use adit::host::{broadcast, queue, watch};
pub mod shutdown;

pub use adit::host::gate;
pub mod connect;
pub mod listen;
pub mod net;
pub mod stream;

pub mod link;
pub mod serve;
pub mod upstream;

pub mod device;
pub mod pool;
pub mod provider;

#[cfg(test)]
mod testing;
