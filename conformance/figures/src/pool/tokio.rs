//! The pool on tokio.

use std::net::SocketAddr;

use adit::crypto::Provider;
use adit_tokio::{clock::Clock, net::Tokio};

use super::{Failure, Kind, THREADS, house::House};

/// Starts provider and pool, and calls `until_end` with the pool's address.
pub(super) fn serve<P: Provider>(store: Kind, until_end: fn(SocketAddr)) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let house = runtime.block_on(House::start::<P, Tokio, _>(Tokio, Clock::start(), store))?;
    until_end(house.address);
    drop(house);
    runtime.shutdown_background();
    Ok(())
}
