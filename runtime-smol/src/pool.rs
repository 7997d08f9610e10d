//! A pool over TCP: [`adit::host::pool`] on smol.

#[cfg(test)]
#[path = "../../conformance/roles/pool.rs"]
mod tests;

pub use adit::host::pool::{
    AcceptedShare, KeptBlock, PoolHandle, PoolNews, PoolServeError, Store, TemplateNews, serve_pool,
};

use crate::net::Smol;

/// All that [`serve_pool`] joins.
pub type PoolSetup = adit::host::pool::PoolSetup<Smol>;
