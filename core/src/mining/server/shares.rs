//! Checking shares: everything but the hash in `prepare`, everything that needs it in `conclude`.
//!
//! Two halves, so that a server hashes the headers of many shares in lanes between them. What happens in between (a new prevhash, a closed
//! channel) counts: the second half looks everything up again. `sequence_number` is the client's own affair (D-SHARE-1) and only echoed.

use core::fmt;

use super::batch::Fold;
use super::channel::{Channel, JobSource};
use super::custom::CustomJob;
use super::{MiningServer, Out, Received, Shared};
use crate::error::Error;
use crate::frame::Header as FrameHeader;
use crate::hash::sha256d_header;
use crate::message::mining::{SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, ToServer};
use crate::message::{ChannelKind, Message as _};
use crate::mining::duplicates::{Generation, NotTaken};
use crate::mining::extranonce::ExtranoncePrefix;
use crate::mining::header::{HEADER_LEN, Header, put_merkle_root};
use crate::mining::job::{Job, JobId};
use crate::mining::target::{PackedTarget, Target};
use crate::storage::Storage;
use crate::time::Instant;
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
    /// What is to be hashed, laid out when it is prepared: moved as fields it would be taken apart and put together on the way to the hash.
    header: [u8; HEADER_LEN],
    channel_id: u32,
    sequence_number: u32,
    job_id: u32,
    extranonce: ExtranoncePrefix,
    /// The merkle root is still to be worked out, by the batch that this is in.
    pub(super) folds: bool,
}

impl Prepared {
    /// What is to be hashed.
    #[must_use]
    pub const fn header_bytes(&self) -> &[u8; HEADER_LEN] {
        &self.header
    }

    /// The same by its fields.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::from_bytes(&self.header)
    }

    /// SHA-256d of the header, in raw SHA-256 order.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256d_header(&self.header)
    }

    pub(super) fn set_merkle_root(&mut self, root: &[u8; 32]) {
        put_merkle_root(&mut self.header, root);
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

/// An accepted share. It counts for the client once [`MiningServer::stored`] was called with its ticket or a later one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accepted {
    /// The channel.
    pub channel_id: u32,
    /// Whose share it is, as given when the channel was opened.
    pub account: u64,
    /// The share's sequence number.
    pub sequence_number: u32,
    /// The share's number on this server; rises by one with every accepted share.
    pub ticket: u64,
    /// The target of its job, by which it counts.
    pub target: Target,
    /// The same as difficulty.
    pub difficulty: f64,
    /// Its hash, in raw SHA-256 order.
    pub hash: [u8; 32],
    /// Set when the share is a block: what that was made of. Header and extranonce, the rest of what a block is submitted with (D-TDP-17), are
    /// in the [`Prepared`] share.
    pub block: Option<SolutionSource>,
}

/// What a block was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SolutionSource {
    /// This template; the job of the book has the coinbase parts.
    Template {
        /// The provider's number.
        template_id: u64,
        /// The job in the book.
        job: JobId,
    },
    /// A custom job of this connection, by its job id there.
    Custom(u32),
}

/// What statistics want to know of a share.
pub(super) struct Counted {
    pub(super) difficulty: f64,
}

/// A share as it came, of either kind of channel, without a borrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    channel_id: u32,
    sequence_number: u32,
    job_id: u32,
    nonce: u32,
    ntime: u32,
    version: u32,
    kind: ChannelKind,
    /// Of an extended channel; at most the 32 bytes that the message can carry.
    extranonce: ExtranoncePrefix,
}

impl Submitted {
    /// The share of a message; none of a message that is not a share.
    #[must_use]
    pub fn of(message: &ToServer<'_>) -> Option<Self> {
        match message {
            ToServer::SubmitSharesStandard(share) => Some(share.into()),
            ToServer::SubmitSharesExtended(share) => Some(share.into()),
            _ => None,
        }
    }

    /// Whether a frame is a share, by its header.
    #[must_use]
    pub fn is(header: FrameHeader, revision: Revision) -> bool {
        SubmitSharesStandard::is(header, revision) || SubmitSharesExtended::is(header, revision)
    }
}

impl From<&SubmitSharesStandard> for Submitted {
    fn from(share: &SubmitSharesStandard) -> Self {
        Self {
            channel_id: share.channel_id,
            sequence_number: share.sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            kind: ChannelKind::Standard,
            extranonce: ExtranoncePrefix::EMPTY,
        }
    }
}

impl From<&SubmitSharesExtended<'_>> for Submitted {
    fn from(share: &SubmitSharesExtended<'_>) -> Self {
        Self {
            channel_id: share.channel_id,
            sequence_number: share.sequence_number,
            job_id: share.job_id,
            nonce: share.nonce,
            ntime: share.ntime,
            version: share.version,
            kind: ChannelKind::Extended,
            // The type of the field holds 32 bytes at most, as a prefix does.
            extranonce: ExtranoncePrefix::new(share.extranonce.as_bytes()).unwrap_or_default(),
        }
    }
}

/// What a share's job says that outlives a look at the list. The root stays there: copying a whole job for each share takes longer than finding it.
struct Found {
    /// Its place among the channel's jobs.
    place: usize,
    source: JobSource,
    target: PackedTarget,
    generation: Generation,
}

/// What a live job builds on.
struct Ground<'a> {
    prev_hash: &'a [u8; 32],
    min_ntime: u32,
    nbits: u32,
    network_target: &'a Target,
    since: Instant,
    version: u32,
}

impl<S: Storage> MiningServer<S> {
    #[inline]
    pub(super) fn answer_share(
        prepared: Result<Prepared, Rejection>,
        out: &mut Out<'_>,
    ) -> Result<Received<'static>, Error> {
        match prepared {
            Ok(prepared) => Ok(Received::Share(prepared)),
            Err(rejection) => {
                out.send(&rejection.answer())?;
                Ok(Received::Rejected(rejection))
            }
        }
    }

    /// Checks everything of a standard channel's share but its hash. The caller answers a rejection.
    #[inline]
    pub fn prepare_standard(
        &mut self,
        now: Instant,
        shared: &Shared<S>,
        share: &SubmitSharesStandard,
    ) -> Result<Prepared, Rejection> {
        self.prepare(now, shared, &share.into(), None)
    }

    /// Checks everything of an extended channel's share but its hash. The caller answers a rejection.
    #[inline]
    pub fn prepare_extended(
        &mut self,
        now: Instant,
        shared: &Shared<S>,
        share: &SubmitSharesExtended<'_>,
    ) -> Result<Prepared, Rejection> {
        self.prepare(now, shared, &share.into(), None)
    }

    /// With a `fold`, the merkle root of a share of its job is left to it.
    #[allow(
        clippy::inline_always,
        reason = "a prepared share is large: called, this would write it only for the caller to copy it"
    )]
    #[inline(always)]
    pub(super) fn prepare(
        &mut self,
        now: Instant,
        shared: &Shared<S>,
        share: &Submitted,
        fold: Option<&mut Fold<S>>,
    ) -> Result<Prepared, Rejection> {
        let (last_job, mask) = (self.last_job, shared.config().version_mask(self.revision));
        let rejection =
            |reason| Rejection { channel_id: share.channel_id, sequence_number: share.sequence_number, reason };
        let (_, channel) = self.slots.open_mut(share.channel_id).ok_or(rejection(Reason::InvalidChannel))?;
        match check(channel, &self.custom, last_job, mask, now, shared, share, fold) {
            Ok(prepared) => Ok(prepared),
            Err(reason) => {
                channel.count_rejection(reason);
                Err(rejection(reason))
            }
        }
    }

    /// The second half: `hash` is the SHA-256d of the prepared header, in raw order. An accepted share is to be stored under its ticket. The caller
    /// answers a rejection.
    pub fn conclude(
        &mut self,
        now: Instant,
        shared: &mut Shared<S>,
        share: &Prepared,
        hash: &[u8; 32],
    ) -> Result<Accepted, Rejection> {
        let last_job = self.last_job;
        let rejection =
            |reason| Rejection { channel_id: share.channel_id, sequence_number: share.sequence_number, reason };
        let (index, channel) = self.slots.open_mut(share.channel_id).ok_or(rejection(Reason::InvalidChannel))?;
        let (job, ground) = match find(channel, &self.custom, last_job, share.job_id, shared) {
            Ok(found) => found,
            Err(reason) => {
                channel.count_rejection(reason);
                return Err(rejection(reason));
            }
        };
        let target = job.target.target();
        let is_block = ground.network_target.is_met_by(hash);
        let moving = channel.duplicates.is_moving();
        // D-ALG-6, D-TGT-3.
        let fault = if target.is_met_by(hash) {
            match channel.duplicates.take(hash, job.generation) {
                Ok(_) => {
                    channel.number_mut(job.generation).mark_used();
                    None
                }
                Err(NotTaken::Duplicate) => Some(Reason::Duplicate),
                Err(NotTaken::Stale) => Some(Reason::Stale),
            }
        } else {
            Some(Reason::Difficulty)
        };
        // Whatever came of it: a move may be over now, and jobs of the prefix that is out of use go then.
        if moving {
            channel.release_old(shared);
        }
        if let Some(reason) = fault {
            channel.count_rejection(reason);
            return Err(rejection(reason));
        }
        let difficulty = job.target.difficulty();
        let ticket = shared.next_ticket();
        channel.acks.add(share.sequence_number, difficulty, ticket);
        channel.count_acceptance(now, &Counted { difficulty });
        channel.vardiff.record(job.target.expected_hashes());
        let block = is_block.then(|| match job.source {
            JobSource::Book(job) => {
                SolutionSource::Template { template_id: shared.book().live(job).map_or(0, Job::template_id), job }
            }
            JobSource::Custom => SolutionSource::Custom(share.job_id),
        });
        // The vardiff's verdict and a due move are told on the same way as the acknowledgement.
        let news = channel.retarget(now, shared) || channel.duplicates.wants_move();
        let accepted = Accepted {
            channel_id: share.channel_id,
            account: channel.account,
            sequence_number: share.sequence_number,
            ticket,
            target,
            difficulty,
            hash: *hash,
            block,
        };
        // In the queue until it is acknowledged.
        self.slots.enqueue(index);
        self.urgent |= news || ticket <= self.stored;
        Ok(accepted)
    }
}

/// Finds the job and what it builds on, or says why its shares do not count.
#[inline]
fn find<'a, S: Storage>(
    channel: &Channel<S>,
    custom: &'a [CustomJob<S>],
    last_job: u32,
    job_id: u32,
    shared: &'a Shared<S>,
) -> Result<(Found, Ground<'a>), Reason> {
    let book = shared.book();
    let Some((place, job)) = channel.jobs.iter().enumerate().find(|(_, job)| job.id == job_id) else {
        // Numbers rise, so a job that is not there any more can be told from one that never was.
        return Err(if job_id != 0 && job_id <= last_job { Reason::Stale } else { Reason::InvalidJob });
    };
    if job.future {
        return Err(Reason::InvalidJob);
    }
    if !channel.duplicates.is_live(job.generation) {
        return Err(Reason::Stale);
    }
    let ground = match job.source {
        JobSource::Book(id) => {
            // D-MIN-6: a prevhash ends all jobs but its own, whether the client has heard of it or not.
            let (Some(live), Some(prev), Some(since)) = (book.live(id), book.prev_hash(), book.prev_hash_since())
            else {
                return Err(Reason::Stale);
            };
            Ground {
                prev_hash: &prev.prev_hash,
                min_ntime: prev.min_ntime,
                nbits: prev.nbits,
                network_target: &prev.network_target,
                since,
                version: live.version(),
            }
        }
        JobSource::Custom => {
            let job =
                custom.iter().find(|job| job.id == job_id).filter(|job| job.is_live(book)).ok_or(Reason::Stale)?;
            Ground {
                prev_hash: &job.prev_hash,
                min_ntime: job.min_ntime,
                nbits: job.nbits,
                network_target: &job.network_target,
                since: job.since,
                version: job.version,
            }
        }
    };
    Ok((Found { place, source: job.source, target: job.target, generation: job.generation }, ground))
}

#[allow(clippy::too_many_arguments, reason = "the channel is borrowed out of the server whose parts these are")]
#[inline]
fn check<S: Storage>(
    channel: &mut Channel<S>,
    custom: &[CustomJob<S>],
    last_job: u32,
    mask: u32,
    now: Instant,
    shared: &Shared<S>,
    share: &Submitted,
    fold: Option<&mut Fold<S>>,
) -> Result<Prepared, Reason> {
    if channel.kind != share.kind {
        return Err(Reason::InvalidChannel);
    }
    let (job, ground) = find(channel, custom, last_job, share.job_id, shared)?;
    // D-ALG-8, D-ALG-9.
    if (share.version ^ ground.version) & !mask != 0 {
        return Err(if mask == 0 { Reason::VersionFixed } else { Reason::VersionBits });
    }
    // D-SHARE-2: from the prevhash's own time to that and the seconds since it came, plus the slack that the operator allows.
    let passed = u32::try_from(now.saturating_since(ground.since).as_secs()).unwrap_or(u32::MAX);
    let latest = ground.min_ntime.saturating_add(passed).saturating_add(shared.config().ntime_slack);
    if !(ground.min_ntime..=latest).contains(&share.ntime) {
        return Err(Reason::Time);
    }
    // D-SHARE-3.
    if channel.kind == ChannelKind::Extended && share.extranonce.as_slice().len() != shared.space.rollable_len() {
        return Err(Reason::ExtranonceSize);
    }
    let prefix = channel.prefix(job.generation, shared);
    let mut folds = false;
    let merkle_root = if let Some(root) = channel.jobs.get(job.place).and_then(|job| job.root) {
        root
    } else {
        let parts = match job.source {
            JobSource::Book(id) => shared.book().live(id).map(Job::parts),
            JobSource::Custom => custom.iter().find(|custom| custom.id == share.job_id).map(|custom| &custom.parts),
        };
        let parts = parts.ok_or(Reason::Stale)?;
        if let Some(fold) = fold.filter(|_| channel.kind == ChannelKind::Extended)
            && fold.is_of(job.source, share.job_id, parts)
        {
            folds = true;
            [0; 32]
        } else {
            let root = parts.merkle_root(prefix.as_slice(), share.extranonce.as_slice());
            if channel.kind == ChannelKind::Standard
                && let Some(live) = channel.jobs.get_mut(job.place)
            {
                live.root = Some(root);
            }
            root
        }
    };
    Ok(Prepared {
        header: Header {
            version: share.version,
            prev_hash: *ground.prev_hash,
            merkle_root,
            ntime: share.ntime,
            nbits: ground.nbits,
            nonce: share.nonce,
        }
        .to_bytes(),
        channel_id: share.channel_id,
        sequence_number: share.sequence_number,
        job_id: share.job_id,
        // Prefix and rolled part together have the full length, which is at most 32.
        extranonce: match share.extranonce.as_slice() {
            [] => prefix,
            rolled => prefix.with(rolled).unwrap_or(prefix),
        },
        folds,
    })
}

#[cfg(test)]
mod tests;
