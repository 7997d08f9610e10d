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
//! - `held` has the found blocks on their way to the provider, each in the transaction of its share; [`Settled`] says which of them are of use still.
//! - [`Fate`] is what became of a found block.
//! - [`reader`] reads a consistent snapshot beside the writer.
//!
//! Nothing here knows a message, a connection or a clock: the pool's driver fills in shares and passes tickets back.

mod error;
mod fate;
mod file;
mod held;
mod reader;
mod share;
mod writer;

#[cfg(test)]
mod kill_test;
#[cfg(test)]
mod power_cut_test;
#[cfg(test)]
mod script;

pub(crate) use error::StoreError;
pub(crate) use fate::Fate;
pub(crate) use file::{Retention, Store};
pub(crate) use held::Settled;
pub(crate) use share::Share;
pub(crate) use writer::{Queued, Writer};

/// What tests of the store's users need.
#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::share::tests::sample;
}
