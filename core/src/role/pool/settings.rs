//! What a pool is told: limits, rewards, extranonce layout. No behaviour.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::mining::extranonce::LayoutError;
use crate::mining::server::ServerConfig;
use crate::template::coinbase::{CoinbaseError, Payout};

/// What one pool takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Downstream connections; the storage's bound holds as well.
    pub connections: usize,
    /// Channels of all connections; those of one are [`ServerConfig::max_channels`].
    pub channels: usize,
    /// Shares a second of one connection on average, hashed or not. Default none: variable difficulty keeps honest devices far below
    /// any limit, and each share is paid for with hashes; against floods that cost the sender nothing set a few hundred.
    pub shares_per_second: Option<NonZeroU32>,
    /// Shares that may come at once above that average.
    pub share_burst: u32,
    /// Channels that one connection may ask for a second on average, opened or not. Default none. Whoever opens and closes channels without end
    /// uses extranonce numbers up, which rest until two blocks later; what is asked for above the limit is refused, so that a proxy that
    /// comes back with all its devices is only slowed down.
    pub opens_per_second: Option<NonZeroU32>,
    /// Channels that may be asked for at once above that average.
    pub open_burst: u32,
    /// How long a connection may be without a channel (D-OPEN-2). Default a minute.
    pub without_channel: Option<Duration>,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            connections: usize::MAX,
            channels: usize::MAX,
            shares_per_second: None,
            share_burst: 100,
            opens_per_second: None,
            open_burst: 100,
            without_channel: Some(Duration::from_secs(60)),
        }
    }
}

/// What a pool is told at its creation.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig<'a> {
    /// What its operator decides about channels.
    pub server: ServerConfig,
    /// What it takes at most.
    pub limits: PoolLimits,
    /// Where rewards go. Together at least one weight.
    pub payouts: &'a [Payout<'a>],
    /// What the pool writes into its coinbases; may be empty.
    pub tag: &'a [u8],
    /// Leading extranonce bytes of this server alone, when several share a payout; may be empty. A pool that restarts from its store takes others than
    /// before (two or three drawn bytes do), or devices on the same tip are given what was searched already and find shares that count no more.
    pub server_prefix: &'a [u8],
    /// Bytes that number the channels, 1 to 4. Default 4: a number rests until the next block when its channel closes.
    pub channel_number_len: u8,
    /// Bytes of the whole extranonce, at most 32. What the prefix and the number leave is for extended channels to roll.
    pub extranonce_len: u8,
    /// Tickets of shares begin behind this one: what the share store ended with, 0 for a new one.
    pub last_ticket: u64,
}

impl<'a> PoolConfig<'a> {
    /// Default limits, 4 bytes of channel number and 16 to roll, no tag.
    #[must_use]
    pub fn new(payouts: &'a [Payout<'a>]) -> Self {
        Self {
            server: ServerConfig::default(),
            limits: PoolLimits::default(),
            payouts,
            tag: &[],
            server_prefix: &[],
            channel_number_len: 4,
            extranonce_len: 20,
            last_ticket: 0,
        }
    }
}

/// Why a pool can't be as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Payouts or tag.
    Rewards(CoinbaseError),
    /// The extranonce's parts.
    Extranonce(LayoutError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewards(error) => error.fmt(f),
            Self::Extranonce(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}
