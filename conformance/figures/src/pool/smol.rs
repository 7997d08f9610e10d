//! The pool on smol.

use std::net::SocketAddr;

use adit::crypto::Provider;
use adit_smol::{
    clock::Clock,
    net::{Smol, Spawn},
};
use async_executor::Executor;
use async_io::block_on;
use futures_lite::future::pending;

use super::{Failure, Kind, THREADS, house::House};

/// Starts provider and pool, and calls `until_end` with the pool's address.
pub(super) fn serve<P: Provider>(store: Kind, until_end: fn(SocketAddr)) -> Result<(), Failure> {
    // The threads end with the process, so the executor may stay as long.
    let executor: &Executor<'_> = Box::leak(Box::new(Executor::new()));
    for _ in 0..THREADS {
        std::thread::spawn(move || block_on(executor.run(pending::<()>())));
    }
    let house = block_on(House::start::<P, Smol, _>(Spawn(executor), Clock::start(), store))?;
    until_end(house.address);
    Ok(())
}
