//! Checking shares: what is right or wrong before the hash is known, and what the hash makes of it.
//!
//! Who hashes a share where it stands uses [`MiningServer::check`]. Who hashes elsewhere, outside of a lock or many headers in lanes, has two
//! halves, [`MiningServer::prepare`] and [`MiningServer::conclude`], or a [`ShareBatch`](super::ShareBatch). What happens in between (a new
//! prevhash, a closed channel) counts: the second half looks everything up again. `sequence_number` is the client's own affair
//! (D-SHARE-1) and only echoed.

use super::channel::{Channel, JobSource};
use super::custom::CustomJob;
use super::shares::{Accepted, Prepared, Proof, Reason, Rejection, SolutionSource, Submitted};
use super::{MiningServer, Out, Received, Shared};
use crate::error::Error;
use crate::message::ChannelKind;
use crate::mining::duplicates::{Generation, NotTaken};
use crate::mining::extranonce::ExtranoncePrefix;
use crate::mining::header::{HEADER_LEN, put_job, put_rolled};
use crate::mining::job::Parts;
use crate::mining::target::{PackedTarget, Target};
use crate::storage::Storage;
use crate::time::Instant;

/// What a live job says of itself. Its root stays in the list: copying a whole job for each share takes longer than finding it.
#[derive(Clone, Copy)]
pub(super) struct Live {
    /// Its number on the connection.
    pub(super) id: u32,
    /// Its place among the channel's jobs.
    place: usize,
    pub(super) source: JobSource,
    target: PackedTarget,
    pub(super) generation: Generation,
}

impl Live {
    fn solution(&self) -> SolutionSource {
        match self.source {
            JobSource::Book(job) => SolutionSource::Job(job),
            JobSource::Custom => SolutionSource::Custom(self.id),
        }
    }
}

/// A live job, and what it builds on.
pub(super) struct Found<'a, S: Storage> {
    pub(super) live: Live,
    prev_hash: &'a [u8; 32],
    min_ntime: u32,
    nbits: u32,
    pub(super) network_target: &'a Target,
    since: Instant,
    version: u32,
    pub(super) parts: &'a Parts<S>,
}

impl<S: Storage> Found<'_, S> {
    /// What can be wrong with a share of this job whatever its hash is.
    #[inline]
    pub(super) fn admit(&self, limits: &Limits, shared: &Shared<S>, share: &Submitted) -> Result<(), Reason> {
        // D-ALG-8, D-ALG-9.
        if (share.version ^ self.version) & !limits.mask != 0 {
            return Err(if limits.mask == 0 { Reason::VersionFixed } else { Reason::VersionBits });
        }
        // D-SHARE-2: from the prevhash's own time to that and the seconds since it came, plus the slack that the operator allows.
        let ahead = share.ntime.checked_sub(self.min_ntime).ok_or(Reason::Time)?;
        if let Some(ahead) = ahead.checked_sub(shared.config().ntime_slack).filter(|ahead| *ahead > 0)
            && u64::from(ahead) > limits.now.saturating_since(self.since).as_secs()
        {
            return Err(Reason::Time);
        }
        // D-SHARE-3.
        if share.kind == ChannelKind::Extended && share.extranonce.as_slice().len() != shared.space.rollable_len() {
            return Err(Reason::ExtranonceSize);
        }
        Ok(())
    }

    /// Puts in what all headers of this job and root have in common.
    #[inline]
    pub(super) fn lay_out(&self, header: &mut [u8], root: &[u8; 32]) {
        put_job(header, self.prev_hash, root, self.nbits);
    }
}

/// What a job's accepted shares count.
#[derive(Clone, Copy)]
pub(super) struct Worth {
    target: PackedTarget,
    /// The same, laid out.
    bound: Target,
    difficulty: f64,
    /// Expected for one of them.
    hashes: f64,
}

impl Worth {
    #[inline]
    pub(super) fn of(live: &Live) -> Self {
        let target = live.target;
        Self { target, bound: target.target(), difficulty: target.difficulty(), hashes: target.expected_hashes() }
    }
}

impl<S: Storage> Channel<S> {
    /// Finds a job and what it builds on, or says why its shares do not count.
    #[allow(
        clippy::inline_always,
        reason = "what is found is large: called, this would write it only for the caller to read it"
    )]
    #[inline(always)]
    pub(super) fn find<'a>(
        &self,
        custom: &'a [CustomJob<S>],
        last_job: u32,
        job_id: u32,
        shared: &'a Shared<S>,
    ) -> Result<Found<'a, S>, Reason> {
        let book = shared.book();
        let Some((place, job)) = self.jobs.iter().enumerate().find(|(_, job)| job.id == job_id) else {
            // Numbers rise, so a job that is not there any more can be told from one that never was.
            return Err(if job_id != 0 && job_id <= last_job { Reason::Stale } else { Reason::InvalidJob });
        };
        if job.future {
            return Err(Reason::InvalidJob);
        }
        if !self.duplicates.is_live(job.generation) {
            return Err(Reason::Stale);
        }
        let live = Live { id: job_id, place, source: job.source, target: job.target, generation: job.generation };
        match job.source {
            JobSource::Book(id) => {
                // D-MIN-6: a prevhash ends all jobs but its own, whether the client has heard of it or not.
                let (Some(job), Some(prev), Some(since)) =
                    (book.live_at(job.book_place.into(), id), book.prev_hash(), book.prev_hash_since())
                else {
                    return Err(Reason::Stale);
                };
                Ok(Found {
                    live,
                    prev_hash: &prev.prev_hash,
                    min_ntime: prev.min_ntime,
                    nbits: prev.nbits,
                    network_target: &prev.network_target,
                    since,
                    version: job.version(),
                    parts: job.parts(),
                })
            }
            JobSource::Custom => {
                let job = custom.iter().find(|job| job.id == job_id).filter(|job| job.is_live(book));
                let job = job.ok_or(Reason::Stale)?;
                Ok(Found {
                    live,
                    prev_hash: &job.prev_hash,
                    min_ntime: job.min_ntime,
                    nbits: job.nbits,
                    network_target: &job.network_target,
                    since: job.since,
                    version: job.version,
                    parts: &job.parts,
                })
            }
        }
    }

    /// The same for a share of a channel of this kind.
    #[allow(
        clippy::inline_always,
        reason = "what is found is large: called, this would write it only for the caller to read it"
    )]
    #[inline(always)]
    pub(super) fn find_for<'a>(
        &self,
        kind: ChannelKind,
        custom: &'a [CustomJob<S>],
        last_job: u32,
        job_id: u32,
        shared: &'a Shared<S>,
    ) -> Result<Found<'a, S>, Reason> {
        if self.kind == kind { self.find(custom, last_job, job_id, shared) } else { Err(Reason::InvalidChannel) }
    }

    /// Finds a share's job, says what is wrong with it whatever its hash is, and lays its header out.
    #[allow(
        clippy::inline_always,
        reason = "what is found is large: called, this would write it only for the caller to read it"
    )]
    #[inline(always)]
    fn lay_out<'a>(
        &mut self,
        custom: &'a [CustomJob<S>],
        limits: &Limits,
        shared: &'a Shared<S>,
        share: &Submitted,
        header: &mut [u8],
    ) -> Result<Found<'a, S>, Reason> {
        let found = self.find_for(share.kind, custom, limits.last_job, share.job_id, shared)?;
        found.admit(limits, shared, share)?;
        match self.kept_root(&found.live) {
            Some(root) => found.lay_out(header, root),
            None if self.kind == ChannelKind::Standard => found.lay_out(header, &self.standard_root(&found, shared)),
            None => {
                let prefix = self.prefix(found.live.generation, shared);
                let root = found.parts.merkle_root(prefix.as_slice(), share.extranonce.as_slice());
                found.lay_out(header, &root);
            }
        }
        put_rolled(header, share.version, share.ntime, share.nonce);
        Ok(found)
    }

    #[inline]
    fn kept_root(&self, live: &Live) -> Option<&[u8; 32]> {
        self.jobs.get(live.place).and_then(|job| job.root.as_ref())
    }

    /// D-ALG-1, D-ALG-3: the root of a standard channel's job is the same for all its shares, and is kept.
    pub(super) fn standard_root(&mut self, found: &Found<'_, S>, shared: &Shared<S>) -> [u8; 32] {
        if let Some(root) = self.kept_root(&found.live) {
            return *root;
        }
        let prefix = self.prefix(found.live.generation, shared);
        let root = found.parts.merkle_root(prefix.as_slice(), &[]);
        if let Some(job) = self.jobs.get_mut(found.live.place) {
            job.root = Some(root);
        }
        root
    }

    /// What the hash makes of a share: counted under a ticket, or why not. Also says whether the client has something to hear of it, besides the
    /// acknowledgement. Jobs may be gone behind this when the channel [is moving](crate::mining::duplicates::Duplicates::is_moving) before it.
    #[inline]
    pub(super) fn count(
        &mut self,
        now: Instant,
        shared: &mut Shared<S>,
        live: &Live,
        worth: &Worth,
        sequence_number: u32,
        hash: &[u8; 32],
    ) -> Result<(u64, bool), Reason> {
        let moving = self.duplicates.is_moving();
        // D-ALG-6, D-TGT-3.
        let taken = if worth.bound.is_met_by(hash) {
            self.duplicates.take(hash, live.generation).map_err(|why| match why {
                NotTaken::Duplicate => Reason::Duplicate,
                NotTaken::Stale => Reason::Stale,
            })
        } else {
            Err(Reason::Difficulty)
        };
        // Whatever came of it: a move may be over now, and jobs of the prefix that is out of use go then.
        if moving {
            self.release_old(shared);
        }
        taken?;
        self.number_mut(live.generation).mark_used();
        let ticket = shared.next_ticket();
        self.acks.add(sequence_number, worth.difficulty, ticket);
        self.count_acceptance(now, worth.difficulty);
        self.vardiff.record(worth.hashes);
        // The vardiff's verdict and a due move are told on the same way as the acknowledgement.
        let news = self.retarget(now, shared) | self.duplicates.wants_move();
        Ok((ticket, news))
    }

    /// What becomes of a share, of which its live job is known and whether it is a block: all is counted. Says also what [`count`](Self::count) says.
    #[allow(
        clippy::inline_always,
        reason = "what is said of it is large: called, this would write it only for the caller to read it"
    )]
    #[inline(always)]
    fn settle(
        &mut self,
        now: Instant,
        shared: &mut Shared<S>,
        looked_at: Result<(Live, bool), Reason>,
        sequence_number: u32,
        hash: &[u8; 32],
    ) -> Result<(Accepted, bool), Reason> {
        let settled = looked_at.and_then(|(live, is_block)| {
            let worth = Worth::of(&live);
            let (ticket, news) = self.count(now, shared, &live, &worth, sequence_number, hash)?;
            Ok((self.accepted(&live, &worth, sequence_number, ticket, is_block), news))
        });
        if let Err(reason) = settled {
            self.count_rejection(reason);
        }
        settled
    }

    #[inline]
    pub(super) fn accepted(
        &self,
        live: &Live,
        worth: &Worth,
        sequence_number: u32,
        ticket: u64,
        is_block: bool,
    ) -> Accepted {
        Accepted {
            channel_id: self.id,
            sequence_number,
            job_id: live.id,
            target: worth.target,
            difficulty: worth.difficulty,
            account: self.account,
            ticket,
            block: is_block.then(|| live.solution()),
        }
    }
}

/// The whole extranonce of a share. Prefix and rolled part together have the full length, which is at most 32.
#[inline]
pub(super) fn whole(prefix: &ExtranoncePrefix, rolled: &ExtranoncePrefix) -> ExtranoncePrefix {
    match rolled.as_slice() {
        [] => *prefix,
        rolled => prefix.with(rolled).unwrap_or(*prefix),
    }
}

/// What bounds the shares of a connection at the moment.
pub(super) struct Limits {
    pub(super) now: Instant,
    /// The last job id given out.
    pub(super) last_job: u32,
    /// Version bits that may be rolled.
    pub(super) mask: u32,
}

impl<S: Storage> MiningServer<S> {
    pub(super) const fn limits(&self, now: Instant, shared: &Shared<S>) -> Limits {
        Limits { now, last_job: self.last_job, mask: shared.config().version_mask(self.revision) }
    }

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

    /// Checks a share and hashes it on the way, in `proof`: nothing can come between, so channel and job are looked up once. An accepted share is
    /// to be stored under its ticket. The caller answers a rejection.
    #[allow(
        clippy::inline_always,
        reason = "what is said of it is large: called, this would write it only for the caller to read it"
    )]
    #[inline(always)]
    pub fn check(
        &mut self,
        now: Instant,
        shared: &mut Shared<S>,
        share: &Submitted,
        proof: &mut Proof,
    ) -> Result<Accepted, Rejection> {
        let limits = self.limits(now, shared);
        let Some((index, channel)) = self.slots.open_mut(share.channel_id) else {
            return Err(share.rejection(Reason::InvalidChannel));
        };
        let laid_out = channel.lay_out(&self.custom, &limits, shared, share, proof.header.bytes_mut());
        let looked_at = laid_out.map(|found| {
            proof.header.hash_into(&mut proof.hash);
            (found.live, found.network_target.is_met_by(&proof.hash))
        });
        let settled = channel.settle(now, shared, looked_at, share.sequence_number, &proof.hash);
        let (accepted, news) = settled.map_err(|reason| share.rejection(reason))?;
        self.counted(index, accepted.ticket, news);
        Ok(accepted)
    }

    /// The first half: everything but the hash. The caller answers a rejection.
    #[inline]
    pub fn prepare(&mut self, now: Instant, shared: &Shared<S>, share: &Submitted) -> Result<Prepared, Rejection> {
        let limits = self.limits(now, shared);
        let Some((_, channel)) = self.slots.open_mut(share.channel_id) else {
            return Err(share.rejection(Reason::InvalidChannel));
        };
        let mut header = [0; HEADER_LEN];
        match channel.lay_out(&self.custom, &limits, shared, share, &mut header) {
            Ok(found) => Ok(Prepared {
                header,
                channel_id: share.channel_id,
                sequence_number: share.sequence_number,
                job_id: share.job_id,
                extranonce: whole(&channel.prefix(found.live.generation, shared), &share.extranonce),
            }),
            Err(reason) => {
                channel.count_rejection(reason);
                Err(share.rejection(reason))
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
        let Some((index, channel)) = self.slots.open_mut(share.channel_id) else {
            return Err(share.rejection(Reason::InvalidChannel));
        };
        let found = channel.find(&self.custom, self.last_job, share.job_id, shared);
        let looked_at = found.map(|found| (found.live, found.network_target.is_met_by(hash)));
        let settled = channel.settle(now, shared, looked_at, share.sequence_number, hash);
        let (accepted, news) = settled.map_err(|reason| share.rejection(reason))?;
        self.counted(index, accepted.ticket, news);
        Ok(accepted)
    }

    /// The whole extranonce in the coinbase of a share that was [accepted](Self::check) a moment ago. None once its channel or job is gone.
    #[must_use]
    pub fn extranonce(&self, shared: &Shared<S>, share: &Submitted) -> Option<ExtranoncePrefix> {
        let channel = self.slots.get(share.channel_id)?;
        let found = channel.find(&self.custom, self.last_job, share.job_id, shared).ok()?;
        Some(whole(&channel.prefix(found.live.generation, shared), &share.extranonce))
    }

    /// Notes that a channel has a share to be acknowledged: it is in the queue until then.
    #[inline]
    pub(super) fn counted(&mut self, index: u16, ticket: u64, news: bool) {
        self.slots.enqueue(index);
        self.urgent |= news || ticket <= self.stored;
    }
}
