//! Shares: as they come, between the halves of their check, and what is said of them. The check itself is `check`'s.

use core::fmt;

use crate::frame::Header as FrameHeader;
use crate::message::mining::{SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, ToServer};
use crate::message::{ChannelKind, Message as _};
use crate::mining::extranonce::ExtranoncePrefix;
use crate::mining::header::Header;
use crate::mining::job::JobId;
use crate::mining::target::PackedTarget;
use crate::wire::Revision;

/// Why a share is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No such channel, or not one for this kind of share.
    InvalidChannel,
    /// No such job was sent, or it still waits for its prevhash.
    InvalidJob,
    /// The job was ended by a prevhash or replaced long ago.
    Stale,
    /// The time is out of bounds (D-SHARE-2).
    Time,
    /// A version bit was changed that may not be (D-ALG-9).
    VersionBits,
    /// The version was changed although that is forbidden (D-ALG-8).
    VersionFixed,
    /// The extranonce has another length than was granted (D-SHARE-3).
    ExtranonceSize,
    /// The hash is above the target (D-TGT-3).
    Difficulty,
    /// The same header was accepted before.
    Duplicate,
}

/// Number of reasons.
pub(super) const REASONS: usize = Reason::Duplicate as usize + 1;

impl Reason {
    /// All reasons, for those who show counts.
    pub const ALL: [Self; REASONS] = [
        Self::InvalidChannel,
        Self::InvalidJob,
        Self::Stale,
        Self::Time,
        Self::VersionBits,
        Self::VersionFixed,
        Self::ExtranonceSize,
        Self::Difficulty,
        Self::Duplicate,
    ];

    /// The code for the client. The lists have none for the time, so that one is `invalid-share`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidChannel => SubmitSharesError::INVALID_CHANNEL_ID,
            Self::InvalidJob => SubmitSharesError::INVALID_JOB_ID,
            Self::Stale => SubmitSharesError::STALE_SHARE,
            Self::Time => SubmitSharesError::INVALID_SHARE,
            Self::VersionBits => SubmitSharesError::INVALID_NON_ROLLABLE_VERSION_BIT,
            Self::VersionFixed => SubmitSharesError::VERSION_ROLLING_NOT_ALLOWED,
            Self::ExtranonceSize => SubmitSharesError::BAD_EXTRANONCE_SIZE,
            Self::Difficulty => SubmitSharesError::DIFFICULTY_TOO_LOW,
            Self::Duplicate => SubmitSharesError::DUPLICATE_SHARE,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Bytes that the longest answer to a share takes in an output buffer: header, ids, the longest code and what a record adds.
pub const ANSWER_LEN: usize = {
    let (mut longest, mut at) = (0, 0);
    while at < REASONS {
        // `at` is below the length of the array.
        let len = Reason::ALL[at].code().len();
        if len > longest {
            longest = len;
        }
        at += 1;
    }
    6 + 4 + 4 + 1 + longest + 18
};

/// A rejected share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The channel that the share named.
    pub channel_id: u32,
    /// The share's sequence number.
    pub sequence_number: u32,
    /// Why.
    pub reason: Reason,
}

impl Rejection {
    /// D-SHARE-6: the one answer that each bad share gets, as soon as it is known to be bad.
    #[must_use]
    pub fn answer(&self) -> SubmitSharesError<'static> {
        SubmitSharesError {
            channel_id: self.channel_id,
            sequence_number: self.sequence_number,
            error_code: self.reason.code().into(),
        }
    }
}

/// A share whose hash is all that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Prepared {
    pub(super) header: Header,
    pub(super) channel_id: u32,
    pub(super) sequence_number: u32,
    pub(super) job_id: u32,
    pub(super) extranonce: ExtranoncePrefix,
}

impl Prepared {
    /// What is to be hashed.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// SHA-256d of the header, in raw SHA-256 order.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.header.hash()
    }

    pub(super) const fn rejection(&self, reason: Reason) -> Rejection {
        Rejection { channel_id: self.channel_id, sequence_number: self.sequence_number, reason }
    }

    /// The share's job on this connection.
    #[must_use]
    pub const fn job_id(&self) -> u32 {
        self.job_id
    }

    /// The whole extranonce in its coinbase.
    #[must_use]
    pub const fn extranonce(&self) -> &ExtranoncePrefix {
        &self.extranonce
    }
}

/// An accepted share. It counts for the client once [`MiningServer::stored`](super::MiningServer::stored) was called with its ticket or a later one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accepted {
    /// The channel.
    pub channel_id: u32,
    /// The share's sequence number.
    pub sequence_number: u32,
    /// Its job on this connection.
    pub job_id: u32,
    /// The target of its job, by which it counts.
    pub target: PackedTarget,
    /// The same as difficulty.
    pub difficulty: f64,
    /// Whose share it is, as given when the channel was opened.
    pub account: u64,
    /// The share's number on this server; rises by one with every accepted share.
    pub ticket: u64,
    /// Set when the share is a block: what that was made of. Header and extranonce are the rest of what a block is submitted with (D-TDP-17).
    pub block: Option<SolutionSource>,
}

/// What a block was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SolutionSource {
    /// This job of the book, which has the coinbase parts and knows its template.
    Job(JobId),
    /// A custom job of this connection, by its job id there.
    Custom(u32),
}

/// Where [`MiningServer::check`](super::MiningServer::check) hashes a share. Its owner keeps it for the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    pub(super) header: Header,
    /// Of the first of its two hashes.
    pub(super) words: [u32; 8],
    pub(super) hash: [u8; 32],
}

impl Proof {
    /// Without a share.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was hashed last.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Its SHA-256d, in raw SHA-256 order.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

/// A share of a [`ShareBatch`](super::ShareBatch) with all that was worked out for it.
#[derive(Clone, Copy, Debug)]
pub struct Hashed<'a> {
    /// What was hashed.
    pub header: Header,
    /// Its SHA-256d, in raw SHA-256 order.
    pub hash: &'a [u8; 32],
    /// The whole extranonce in its coinbase.
    pub extranonce: &'a ExtranoncePrefix,
}

/// A share as it came, of either kind of channel: with the extranonce of its message, or without a borrow.
///
/// A share that is checked where its message stands is not copied at all: copied in larger pieces than the message was written in a moment
/// before, it would be waited for until all that went before is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted<E = ExtranoncePrefix> {
    pub(super) channel_id: u32,
    pub(super) sequence_number: u32,
    pub(super) job_id: u32,
    pub(super) nonce: u32,
    pub(super) ntime: u32,
    pub(super) version: u32,
    pub(super) kind: ChannelKind,
    /// Of an extended channel; at most the 32 bytes that the message can carry.
    pub(super) extranonce: E,
}

impl<'m> Submitted<&'m [u8]> {
    /// The share of a message; none of a message that is not a share.
    #[inline]
    #[must_use]
    pub fn of(message: &'m ToServer<'_>) -> Option<Self> {
        match message {
            ToServer::SubmitSharesStandard(share) => Some(share.into()),
            ToServer::SubmitSharesExtended(share) => Some(share.into()),
            _ => None,
        }
    }
}

impl<E: AsRef<[u8]>> Submitted<E> {
    /// The same without its message.
    #[inline]
    #[must_use]
    pub fn detached(&self) -> Submitted {
        let Self { channel_id, sequence_number, job_id, nonce, ntime, version, kind, ref extranonce } = *self;
        // The type of the message's field holds 32 bytes at most, as a prefix does.
        let extranonce = ExtranoncePrefix::new(extranonce.as_ref()).unwrap_or_default();
        Submitted { channel_id, sequence_number, job_id, nonce, ntime, version, kind, extranonce }
    }

    pub(super) const fn rejection(&self, reason: Reason) -> Rejection {
        Rejection { channel_id: self.channel_id, sequence_number: self.sequence_number, reason }
    }
}

impl Submitted {
    /// Whether a frame is a share, by its header.
    #[must_use]
    pub fn is(header: FrameHeader, revision: Revision) -> bool {
        SubmitSharesStandard::is(header, revision) || SubmitSharesExtended::is(header, revision)
    }
}

impl From<&SubmitSharesStandard> for Submitted<&'static [u8]> {
    #[inline]
    fn from(share: &SubmitSharesStandard) -> Self {
        Self {
            channel_id: share.channel_id,
            sequence_number: share.sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            kind: ChannelKind::Standard,
            extranonce: &[],
        }
    }
}

impl<'m> From<&'m SubmitSharesExtended<'_>> for Submitted<&'m [u8]> {
    #[inline]
    fn from(share: &'m SubmitSharesExtended<'_>) -> Self {
        Self {
            channel_id: share.channel_id,
            sequence_number: share.sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            kind: ChannelKind::Extended,
            extranonce: share.extranonce.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
