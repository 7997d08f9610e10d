//! What a hasher needs, and what it gives back.

use core::fmt;

use crate::mining::extranonce::ExtranoncePrefix;
use crate::mining::header::Header;
use crate::mining::job::Parts;
use crate::mining::target::Target;
use crate::storage::Storage;
use crate::time::Instant;

/// All that is needed to search a header: what is fixed, and within which bounds the rest may change. The nonce is free (D-CHAN-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Number of job and prevhash together in this client; rises. Another number is other work.
    pub serial: u64,
    /// The channel.
    pub channel_id: u32,
    /// The job's number on the wire.
    pub job_id: u32,
    /// Header version. Bits of `version_mask` have no settled value (D-ALG-7).
    pub version: u32,
    /// Version bits that may change; 0 where the version is fixed (D-ALG-8, D-ALG-9).
    pub version_mask: u32,
    /// Hash of the block before, in raw SHA-256 order.
    pub prev_hash: [u8; 32],
    /// Merkle root, in raw SHA-256 order.
    pub merkle_root: [u8; 32],
    /// Lowest time, in seconds since 1970 (D-SHARE-2).
    pub min_ntime: u32,
    /// When `min_ntime` came: from here the seconds count that may be added to it.
    pub since: Instant,
    /// The network's target in compact form.
    pub nbits: u32,
    /// Hashes at or below it are shares (D-ALG-6).
    pub target: Target,
    /// The rolled extranonce that `merkle_root` was made with; empty for standard channels.
    pub extranonce: ExtranoncePrefix,
}

impl Work {
    /// D-SHARE-2: the highest time that a header may carry at `now`; rises with each second.
    #[must_use]
    pub fn max_ntime(&self, now: Instant) -> u32 {
        max_ntime(self.min_ntime, self.since, now)
    }

    /// The header with what was searched.
    #[must_use]
    pub const fn header(&self, version: u32, ntime: u32, nonce: u32) -> Header {
        let (prev_hash, merkle_root) = (self.prev_hash, self.merkle_root);
        Header { version, prev_hash, merkle_root, ntime, nbits: self.nbits, nonce }
    }

    /// What to submit when the header with these values meets [`Self::target`].
    #[must_use]
    pub const fn solution(&self, version: u32, ntime: u32, nonce: u32) -> Solution {
        let (serial, channel_id, extranonce) = (self.serial, self.channel_id, self.extranonce);
        Solution { serial, channel_id, version, ntime, nonce, extranonce }
    }
}

pub(super) fn max_ntime(min_ntime: u32, since: Instant, now: Instant) -> u32 {
    let passed = now.saturating_since(since).as_secs();
    min_ntime.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX))
}

/// A found share, not sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solution {
    /// Of the [`Work`].
    pub serial: u64,
    /// Of the [`Work`].
    pub channel_id: u32,
    /// The whole version, rolled bits included.
    pub version: u32,
    /// Seconds since 1970.
    pub ntime: u32,
    /// The nonce.
    pub nonce: u32,
    /// The rolled extranonce; empty for standard channels.
    pub extranonce: ExtranoncePrefix,
}

/// The work of an extended channel, once an extranonce is chosen. Borrows the job; [`Self::work`] does not.
pub struct ExtendedWork<'a, S: Storage, const COINBASE: usize, const PATH: usize> {
    /// All but merkle root and extranonce.
    work: Work,
    prefix: ExtranoncePrefix,
    extranonce_size: u8,
    parts: &'a Parts<S, COINBASE, PATH>,
}

impl<S: Storage, const COINBASE: usize, const PATH: usize> fmt::Debug for ExtendedWork<'_, S, COINBASE, PATH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtendedWork")
            .field("serial", &self.work.serial)
            .field("channel_id", &self.work.channel_id)
            .field("job_id", &self.work.job_id)
            .field("prefix", &self.prefix)
            .field("extranonce_size", &self.extranonce_size)
            .finish_non_exhaustive()
    }
}

impl<'a, S: Storage, const COINBASE: usize, const PATH: usize> ExtendedWork<'a, S, COINBASE, PATH> {
    pub(super) const fn new(
        work: Work,
        prefix: ExtranoncePrefix,
        extranonce_size: u8,
        parts: &'a Parts<S, COINBASE, PATH>,
    ) -> Self {
        Self { work, prefix, extranonce_size, parts }
    }

    /// Number of job and prevhash together in this client, as [`Work::serial`].
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.work.serial
    }

    /// Bytes to choose (D-SHARE-3).
    #[must_use]
    pub fn extranonce_size(&self) -> usize {
        usize::from(self.extranonce_size)
    }

    /// D-ALG-2, D-ALG-3: the merkle root with this extranonce; none when it is not [`extranonce_size`](Self::extranonce_size) bytes.
    #[must_use]
    pub fn root(&self, extranonce: &[u8]) -> Option<[u8; 32]> {
        (extranonce.len() == self.extranonce_size()).then(|| self.parts.merkle_root(self.prefix.as_slice(), extranonce))
    }

    /// The work with this extranonce, for a hasher that knows headers only; none when the length is not right.
    #[must_use]
    pub fn work(&self, extranonce: &[u8]) -> Option<Work> {
        let merkle_root = self.root(extranonce)?;
        Some(Work { merkle_root, extranonce: ExtranoncePrefix::new(extranonce)?, ..self.work })
    }
}
