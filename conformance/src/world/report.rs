//! What comes of a world: a report, or a failure and how to see it again.

use std::fmt;
use std::time::Duration;

use super::chain::Block;
use super::net::Totals;

/// How a world went.
#[derive(Clone, Debug)]
pub struct Report {
    /// Hash over every byte of every line with its time and direction, as it was sent.
    pub transcript: [u8; 32],
    /// What the network saw.
    pub network: Totals,
    /// Virtual time from the start to the end.
    pub took: Duration,
    /// Blocks of the pool on the chain, in order.
    pub blocks: Vec<Block>,
    /// Found blocks that came too late for the chain, or on templates that a provider knew no more.
    pub late: u64,
    /// Shares of miners on disk.
    pub stored: u64,
    /// Shares that devices know to be accepted.
    pub acknowledged: u64,
    /// Shares that were rejected.
    pub rejected: u64,
    /// Shares whose answer was lost with their connection.
    pub lost: u64,
    /// Found blocks that arrived on a later connection than the one on which they were sent first.
    pub sent_again: u64,
    /// Strangers that the pool cut off for their shares.
    pub floods_ended: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            network, took, blocks, late, stored, acknowledged, rejected, lost, sent_again, floods_ended, ..
        } = self;
        write!(
            f,
            "{took:?}, {} blocks, {late} late, {sent_again} sent again; shares: {stored} stored, {acknowledged} acknowledged, \
             {rejected} rejected, {lost} lost; {floods_ended} floods ended; {network:?}",
            blocks.len(),
        )
    }
}

/// What went wrong in a world, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The preset.
    pub name: &'static str,
    /// The seed.
    pub seed: u64,
    /// Virtual time since the start.
    pub at: Duration,
    /// What.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, at, what } = self;
        write!(
            f,
            "{name} world of seed {seed}, after {at:?}: {what}\n\
             replay: ADIT_WORLD={name} ADIT_SEED={seed} cargo test -p adit-conformance --test world replay -- --nocapture"
        )
    }
}

impl std::error::Error for Failure {}
