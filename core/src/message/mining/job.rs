//! Jobs and the block that they build on.

use crate::message::JobStart;
use crate::wire::{B064K, Seq0255, U256};

message! {
    /// A job for a standard channel: header only, nothing to roll but nonce, time and version (D-MIN-10).
    mining, server to client: NewMiningJob "NewMiningJob"
        draft(0x1e + channel_msg) current(0x15 + channel_msg)
    {
        /// The standard channel.
        channel_id: u32,
        /// The job, by which shares name it.
        job_id: u32,
        /// When work on it begins.
        start: JobStart,
        /// Version of the block header; the bits for general purposes are free (D-ALG-7).
        version: u32,
        /// Merkle root of the block header, as SHA-256 yields it.
        merkle_root: U256,
    }
}

message! {
    /// A job for an extended channel or for a group: coinbase parts and merkle branch (D-MIN-10).
    mining, server to client: NewExtendedMiningJob<'a> "NewExtendedMiningJob"
        draft(0x1f + channel_msg) current(0x1f + channel_msg)
    {
        /// The extended channel, or a group.
        channel_id: u32,
        /// The job, by which shares name it.
        job_id: u32,
        /// When work on it begins.
        start: JobStart,
        /// Version of the block header.
        version: u32,
        /// Whether the version may be rolled (D-ALG-8, D-ALG-9).
        version_rolling_allowed: bool,
        /// Sibling hashes of the coinbase's merkle branch, deepest first (D-ALG-3).
        merkle_path: Seq0255<'a, U256>,
        /// Coinbase before the extranonce, without witness (D-ALG-4).
        coinbase_tx_prefix: B064K<'a>,
        /// Coinbase behind the extranonce, without witness (D-ALG-4).
        coinbase_tx_suffix: B064K<'a>,
    }
}

message! {
    /// A new block to build on: the named job begins, all others are void (D-MIN-5 to D-MIN-7).
    mining, server to client: SetNewPrevHash "SetNewPrevHash"
        draft(0x20 + channel_msg) current(0x20 + channel_msg)
    {
        /// The channel, or a group (D-MIN-7).
        channel_id: u32,
        /// The one job that stays valid.
        job_id: u32,
        /// Hash of the block to build on, as SHA-256 yields it.
        prev_hash: U256,
        /// Lowest time of the block header, in seconds since 1970 (D-SHARE-2).
        min_ntime: u32,
        /// Target of the block in compact form.
        nbits: u32,
    }
}
