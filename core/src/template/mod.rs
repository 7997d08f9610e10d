//! Template distribution: what a node tells a pool about the block to mine, and what comes back when one is found.
//!
//! Here live the coinbase that a pool makes of a template, the merkle path that a provider makes of its transactions, and
//! the two sides of the protocol. Many clients of one provider are `role::provider`; fetching templates from a node is
//! the owner's; jobs and shares are `mining`.

pub mod book;
pub mod client;
pub mod coinbase;
pub mod merkle_path;
pub mod server;
pub mod solution;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
pub mod transaction;

pub use book::TemplateBook;
pub use client::TemplateClient;
pub use server::TemplateServer;
pub use store::{Constraints, Template, Tip};
