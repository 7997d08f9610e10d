//! Checking shares: what is right or wrong before the hash is known, and what the hash makes of it.
//!
//! Who hashes a share where it stands uses [`MiningServer::check`]. Who hashes elsewhere, outside of a lock or many headers in lanes, has two
//! halves, [`MiningServer::prepare`] and [`MiningServer::conclude`], or a [`ShareBatch`](super::ShareBatch). What happens in between (a new
//! prevhash, a closed channel) counts: the second half looks everything up again. `sequence_number` is the client's own affair
//! (D-SHARE-1) and only echoed.

use super::channel::{Channel, JobSource};
use super::custom::CustomJob;
use super::shares::{Accepted, Prepared, Proof, Reason, Rejection, SolutionSource, Submitted};
use super::slots::Place;
use super::{MiningServer, Out, Received, Shared};
use crate::error::Error;
use crate::message::ChannelKind;
use crate::mining::duplicates::{Generation, NotTaken};
use crate::mining::extranonce::ExtranoncePrefix;
use crate::mining::header::{Header, HeaderParts};
use crate::mining::job::Parts;
use crate::mining::lanes::{Hasher, OneByOne};
use crate::mining::target::{PackedTarget, Target};
use crate::mining::vardiff::Seen;
use crate::storage::Storage;
use crate::time::Instant;
use crate::wire::Revision;

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
    #[allow(clippy::inline_always, reason = "called, this would have the whole of a share in memory")]
    #[inline(always)]
    pub(super) fn admit(
        &self,
        limits: &Limits,
        shared: &Shared<S>,
        share: &Submitted<impl AsRef<[u8]>>,
    ) -> Result<(), Reason> {
        // D-ALG-8, D-ALG-9.
        let mask = shared.config().version_mask(limits.revision);
        if (share.version ^ self.version) & !mask != 0 {
            return Err(if mask == 0 { Reason::VersionFixed } else { Reason::VersionBits });
        }
        // D-SHARE-2: from the prevhash's own time to that and the seconds since it came, plus the slack that the operator allows.
        let ahead = share.ntime.checked_sub(self.min_ntime).ok_or(Reason::Time)?;
        if let Some(ahead) = ahead.checked_sub(shared.config().ntime_slack).filter(|ahead| *ahead > 0)
            && u64::from(ahead) > limits.now.saturating_since(self.since).as_secs()
        {
            return Err(Reason::Time);
        }
        // D-SHARE-3.
        if share.kind == ChannelKind::Extended && share.extranonce.as_ref().len() != shared.space.rollable_len() {
            return Err(Reason::ExtranonceSize);
        }
        Ok(())
    }

    /// The header of a share of this job.
    #[inline]
    fn header<'a>(&'a self, share: &Submitted<impl AsRef<[u8]>>, merkle_root: &'a [u8; 32]) -> HeaderParts<'a> {
        HeaderParts {
            version: share.version,
            prev_hash: self.prev_hash,
            merkle_root,
            ntime: share.ntime,
            nbits: self.nbits,
            nonce: share.nonce,
        }
    }

    /// A header with all that those of this job and root have in common.
    #[inline]
    pub(super) fn lay_out(&self, merkle_root: &[u8; 32]) -> Header {
        Header { prev_hash: *self.prev_hash, merkle_root: *merkle_root, nbits: self.nbits, ..Header::default() }
    }
}

/// What a job's accepted shares count.
#[derive(Clone, Copy)]
pub(super) struct Worth {
    target: PackedTarget,
    top_digit: u64,
    difficulty: f64,
    /// Expected for one of them.
    hashes: f64,
}

impl Worth {
    #[inline]
    pub(super) fn of(live: &Live) -> Self {
        let target = live.target;
        Self {
            target,
            top_digit: target.top_digit(),
            difficulty: target.difficulty(),
            hashes: target.expected_hashes(),
        }
    }
}

/// What follows from a share if its hash is good: worked out while that is on its way.
pub(super) struct Prospect {
    seen: Seen,
    /// Whether the client has something to hear then, where the rate of shares is no reason for another target; none where it may be.
    news: Option<bool>,
}

/// A share's live job, and what it counts.
pub(super) struct Looked {
    pub(super) live: Live,
    pub(super) worth: Worth,
    pub(super) prospect: Prospect,
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

    /// The merkle root of a share with this extranonce. Takes what it needs of job and share and no more: what is called with the whole of them
    /// has the whole of them written for it, for each share.
    #[cold]
    fn root(
        &mut self,
        live: Live,
        parts: &Parts<S>,
        shared: &Shared<S>,
        extranonce: &[u8],
        hasher: &(impl Hasher + ?Sized),
    ) -> [u8; 32] {
        if self.kind == ChannelKind::Standard {
            return self.standard_root(live, parts, shared);
        }
        let prefix = self.prefix(live.generation, shared);
        let mut root = parts.txid(prefix.as_slice(), extranonce);
        hasher.fold_paths(parts.path(), core::slice::from_mut(&mut root));
        root
    }

    #[inline]
    fn kept_root(&self, live: &Live) -> Option<&[u8; 32]> {
        self.jobs.get(live.place).and_then(|job| job.root.as_ref())
    }

    /// D-ALG-1, D-ALG-3: the root of a standard channel's job is the same for all its shares, and is kept.
    pub(super) fn standard_root(&mut self, live: Live, parts: &Parts<S>, shared: &Shared<S>) -> [u8; 32] {
        if let Some(root) = self.kept_root(&live) {
            return *root;
        }
        let prefix = self.prefix(live.generation, shared);
        let root = parts.merkle_root(prefix.as_slice(), &[]);
        if let Some(job) = self.jobs.get_mut(live.place) {
            job.root = Some(root);
        }
        root
    }

    /// What follows from one more share of this worth.
    #[allow(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn prospect(&self, now: Instant, shared: &Shared<S>, worth: &Worth) -> Prospect {
        let seen = self.vardiff.with(worth.hashes);
        // As it nearly always is: then there is nothing to divide again.
        let unit = if worth.target == self.target { worth.hashes } else { self.target.expected_hashes() };
        let is_quiet = self.vardiff.is_quiet(&seen, now, unit, &shared.config().vardiff);
        Prospect { seen, news: is_quiet.then(|| self.has_target_news()) }
    }

    /// What the hash makes of a share: counted under a ticket, or why not. Also says whether the client has something to hear of it, besides the
    /// acknowledgement. Jobs may be gone behind this when the channel [is moving](crate::mining::duplicates::Duplicates::is_moving) before it.
    #[allow(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(super) fn count(
        &mut self,
        now: Instant,
        shared: &mut Shared<S>,
        Looked { live, worth, prospect }: &Looked,
        sequence_number: u32,
        hash: &[u8; 32],
    ) -> Result<(u64, bool), Reason> {
        let moving = self.duplicates.is_moving();
        // D-ALG-6, D-TGT-3.
        let taken = if worth.target.is_met_by(worth.top_digit, hash) {
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
        self.vardiff.take(prospect.seen);
        // The vardiff's verdict and a due move are told on the same way as the acknowledgement. Where jobs went, what was foreseen may be untrue.
        let news = match prospect.news {
            Some(news) if !moving => news,
            _ => self.retarget(now, shared),
        };
        Ok((ticket, news | self.duplicates.wants_move()))
    }

    /// What becomes of a share that was looked at, and of which is known whether it is a block: all is counted. Says also what
    /// [`count`](Self::count) says.
    #[allow(
        clippy::inline_always,
        reason = "what is said of it is large: called, this would write it only for the caller to read it"
    )]
    #[inline(always)]
    fn settle(
        &mut self,
        now: Instant,
        shared: &mut Shared<S>,
        looked_at: Result<(Looked, bool), Reason>,
        sequence_number: u32,
        hash: &[u8; 32],
    ) -> Result<(Accepted, bool), Rejection> {
        let counted = match &looked_at {
            Ok((looked, _)) => self.count(now, shared, looked, sequence_number, hash),
            Err(reason) => Err(*reason),
        };
        match (looked_at, counted) {
            (Ok((looked, is_block)), Ok((ticket, news))) => {
                Ok((self.accepted(&looked.live, &looked.worth, sequence_number, ticket, is_block), news))
            }
            (_, Err(reason)) | (Err(reason), _) => Err(self.reject(sequence_number, reason)),
        }
    }

    /// Looks at a share, and hashes it in `proof`: all that is known of it before it is counted, and whether it is a block.
    #[allow(
        clippy::inline_always,
        reason = "what is said of it is large: called, this would write it only for the caller to read it"
    )]
    #[inline(always)]
    fn look(
        &mut self,
        custom: &[CustomJob<S>],
        limits: &Limits,
        shared: &Shared<S>,
        share: &Submitted<impl AsRef<[u8]>>,
        hasher: &(impl Hasher + ?Sized),
        proof: &mut Proof,
    ) -> Result<(Looked, bool), Reason> {
        let found = self.find_for(share.kind, custom, limits.last_job, share.job_id, shared)?;
        let worked_out;
        let kept = self.kept_root(&found.live);
        let is_kept = kept.is_some();
        let root = if let Some(root) = kept {
            root
        } else {
            // A root takes longer than all that can be said without it.
            found.admit(limits, shared, share)?;
            worked_out = self.root(found.live, found.parts, shared, share.extranonce.as_ref(), hasher);
            &worked_out
        };
        let header = found.header(share, root);
        hasher.first_hash(&header, &mut proof.words);
        // What does not ask for the hash stands between its halves: the processor does it while it hashes.
        proof.header = header.into();
        if is_kept {
            found.admit(limits, shared, share)?;
        }
        let looked = self.looked(limits.now, shared, found.live);
        hasher.second_hash(&proof.words, &mut proof.hash);
        Ok((looked, found.network_target.is_met_by(&proof.hash)))
    }

    /// Counts a rejection. Never in line: what seldom happens would be mixed with what nearly always does.
    #[cold]
    #[inline(never)]
    fn reject(&mut self, sequence_number: u32, reason: Reason) -> Rejection {
        self.count_rejection(reason);
        Rejection { channel_id: self.id, sequence_number, reason }
    }

    /// A live job, and what follows from a share of it.
    #[allow(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn looked(&self, now: Instant, shared: &Shared<S>, live: Live) -> Looked {
        let worth = Worth::of(&live);
        Looked { live, worth, prospect: self.prospect(now, shared, &worth) }
    }

    #[allow(clippy::inline_always, reason = "as above")]
    #[inline(always)]
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
pub(super) fn whole(prefix: &ExtranoncePrefix, rolled: &[u8]) -> ExtranoncePrefix {
    match rolled {
        [] => *prefix,
        rolled => prefix.with(rolled).unwrap_or(*prefix),
    }
}

/// What bounds the shares of a connection at the moment.
pub(super) struct Limits {
    pub(super) now: Instant,
    /// The last job id given out.
    pub(super) last_job: u32,
    pub(super) revision: Revision,
}

impl<S: Storage> MiningServer<S> {
    pub(super) const fn limits(&self, now: Instant) -> Limits {
        Limits { now, last_job: self.last_job, revision: self.revision }
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

    /// Checks a share and hashes it on the way, by `hasher` and in `proof`: nothing can come between, so channel and job are looked up once. An accepted share is
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
        share: &Submitted<impl AsRef<[u8]>>,
        hasher: &(impl Hasher + ?Sized),
        proof: &mut Proof,
    ) -> Result<Accepted, Rejection> {
        let limits = self.limits(now);
        let Some((place, channel)) = self.slots.open_mut(share.channel_id) else {
            return Err(share.rejection(Reason::InvalidChannel));
        };
        let looked_at = channel.look(&self.custom, &limits, shared, share, hasher, proof);
        let settled = channel.settle(now, shared, looked_at, share.sequence_number, &proof.hash);
        let (accepted, news) = settled?;
        self.counted(place, accepted.ticket, news);
        Ok(accepted)
    }

    /// The first half: everything but the hash. The caller answers a rejection.
    #[inline]
    pub fn prepare(
        &mut self,
        now: Instant,
        shared: &Shared<S>,
        share: &Submitted<impl AsRef<[u8]>>,
    ) -> Result<Prepared, Rejection> {
        let limits = self.limits(now);
        let Some((_, channel)) = self.slots.open_mut(share.channel_id) else {
            return Err(share.rejection(Reason::InvalidChannel));
        };
        let found = channel.find_for(share.kind, &self.custom, limits.last_job, share.job_id, shared);
        let admitted = found.and_then(|found| {
            found.admit(&limits, shared, share)?;
            let root = channel.root(found.live, found.parts, shared, share.extranonce.as_ref(), &OneByOne);
            Ok((found.header(share, &root).into(), found.live.generation))
        });
        match admitted {
            Ok((header, generation)) => Ok(Prepared {
                header,
                channel_id: share.channel_id,
                sequence_number: share.sequence_number,
                job_id: share.job_id,
                extranonce: whole(&channel.prefix(generation, shared), share.extranonce.as_ref()),
            }),
            Err(reason) => Err(channel.reject(share.sequence_number, reason)),
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
        let Some((place, channel)) = self.slots.open_mut(share.channel_id) else {
            return Err(share.rejection(Reason::InvalidChannel));
        };
        let found = channel.find(&self.custom, self.last_job, share.job_id, shared);
        let looked_at =
            found.map(|found| (channel.looked(now, shared, found.live), found.network_target.is_met_by(hash)));
        let settled = channel.settle(now, shared, looked_at, share.sequence_number, hash);
        let (accepted, news) = settled?;
        self.counted(place, accepted.ticket, news);
        Ok(accepted)
    }

    /// The whole extranonce in the coinbase of a share that was [accepted](Self::check) a moment ago. None once its channel or job is gone.
    #[must_use]
    pub fn extranonce(&self, shared: &Shared<S>, share: &Submitted<impl AsRef<[u8]>>) -> Option<ExtranoncePrefix> {
        let channel = self.slots.get(share.channel_id)?;
        let found = channel.find(&self.custom, self.last_job, share.job_id, shared).ok()?;
        Some(whole(&channel.prefix(found.live.generation, shared), share.extranonce.as_ref()))
    }

    /// Notes that a channel has a share to be acknowledged: it is in the queue until then.
    #[inline]
    pub(super) fn counted(&mut self, place: Place, ticket: u64, news: bool) {
        if !place.queued {
            self.slots.enqueue(place.at);
        }
        self.urgent |= news || ticket <= self.stored;
    }
}
