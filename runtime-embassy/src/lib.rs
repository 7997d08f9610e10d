//! Adit on embassy: connect, drive, time limits, reconnect with back-off, and a seam for hashing hardware; no allocator.
//!
//! No protocol knowledge lives here: what a message means is the core's business, and this crate moves bytes, keeps deadlines and
//! hands work to a hasher. Layers, lowest first; each knows only those above it in this list:
//!
//! - [`clock`], [`entropy`]: what the core takes as arguments, and how a board gets them.
//! - [`link`]: one connection of the core over a reader and a writer of `embedded-io-async`.
//! - [`connect`]: how a stream comes to be; [`net`]: the same over embassy-net, names included.
//! - [`upstream`]: which server is next, and when.
//! - [`hashing`]: work out, nonces in; a software engine, and what a driver of mining chips implements.
//! - [`device`]: a mining device and its connections, one after the other.
//!
//! A board has two tasks of its own for this: [`DeviceTask::run`](device::DeviceTask::run) and
//! [`hashing::serve`]. `firmware` in this folder is a whole mining controller.
//!
//! # Time
//! Curve operations of a handshake take some 7 million instructions in one piece (a tenth of a second on a Cortex-M4 at 80 MHz). What must not
//! wait so long (a watchdog, a fan) belongs into an interrupt executor of a higher priority.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod clock;
pub mod entropy;

pub mod connect;
pub mod link;
#[cfg(feature = "net")]
pub mod net;
pub mod upstream;

pub mod device;
pub mod hashing;

#[cfg(test)]
mod testing;
