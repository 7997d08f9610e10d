//! The share store: what a pool must not forget, in one file.
//!
//! A share that the pool accepted is written here before it is acknowledged, so that stopping the pool at any moment, by
//! SIGKILL or by a power cut, loses no acknowledged share and counts none twice.
//!
//! - [`Share`] is one accepted share with all that is needed to account for it.
//! - [`Store`] is the file: a journal of shares by ticket, an index of it by header hash, totals of each account, found
//!   blocks. One [`Store::append`] is one durable transaction.
//! - [`Writer`] is the thread that owns the store and commits whatever has queued up since its last commit, so that many
//!   shares share one flush of the disk.
//! - [`Unsent`] is a found block that the provider has not taken yet; the store keeps it between two runs.
//! - [`reader`] reads a consistent snapshot beside the writer.
//!
//! Nothing here knows a message, a connection or a clock: the pool's driver fills in shares and passes tickets back.

mod error;
mod file;
mod reader;
mod share;
mod unsent;
mod writer;

#[cfg(test)]
mod kill_test;
#[cfg(test)]
mod power_cut_test;

pub(crate) use error::StoreError;
pub(crate) use file::{Retention, Store};
pub(crate) use share::Share;
pub(crate) use unsent::Unsent;
pub(crate) use writer::{Queued, Writer};
