//! Template distribution: what a node tells a pool about the block to mine, and what comes back when one is found.
//!
//! Here live the coinbase that a pool makes of a template, the merkle path that a provider makes of its transactions, and
//! the two sides of the protocol. Many clients of one provider are `role::provider`; fetching templates from a node is
//! the owner's; jobs and shares are `mining`.

pub mod coinbase;
pub mod merkle_path;
pub mod transaction;
