//! One channel as its server sees it: what it may do, what its client was told, what it has done.

use super::Shared;
use super::ack::Acks;
use super::shares::{REASONS, Reason};
use crate::config::{LIVE_JOBS_HEAP, LIVE_JOBS_INLINE};
use crate::message::ChannelKind;
use crate::mining::duplicates::{Duplicates, Generation};
use crate::mining::extranonce::{ChannelNumber, ExtranoncePrefix};
use crate::mining::job::{Job, JobBook, JobId};
use crate::mining::target::{PackedTarget, Target};
use crate::mining::vardiff::Vardiff;
use crate::storage::{List, Storage};
use crate::time::Instant;

/// A target this much easier or harder than that of the job in work is worth a new job (in expected hashes).
const WORTH_A_JOB: f64 = 4.0;

/// Where a live job's parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobSource {
    Book(JobId),
    /// In the connection's custom jobs, under the same number.
    Custom,
}

/// A job that the client was told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveJob {
    /// Its number on this connection.
    pub(super) id: u32,
    pub(super) source: JobSource,
    /// Where in the book it is, if it is there.
    pub(super) book_place: u8,
    /// D-TGT-1: fixed when the job became active; of no meaning before.
    pub(super) target: PackedTarget,
    /// A standard channel's merkle root; worked out when first needed, for a group's jobs that may be never.
    pub(super) root: Option<[u8; 32]>,
    pub(super) generation: Generation,
    /// Waits for a prevhash that names it.
    pub(super) future: bool,
}

/// What the client was told last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// The number of the prevhash in the book.
    pub(super) serial: u32,
    /// The newest job to start at once, with the present extranonce prefix.
    pub(super) active: Option<JobId>,
    /// The newest future job, with the present extranonce prefix.
    pub(super) future: Option<JobId>,
}

/// What a channel has to hear next about jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This job, as a future one.
    Announce(JobId),
    /// The prevhash that names this job of the connection.
    Activate(u32),
    /// This job, to start at once.
    Start(JobId),
}

/// Counts of a channel since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Shares accepted.
    pub accepted: u64,
    /// Sum of their difficulties.
    pub difficulty: f64,
    /// When the last share was accepted.
    pub last_accepted: Option<Instant>,
    pub(super) rejected: [u32; REASONS],
}

impl Statistics {
    /// Shares rejected for this reason.
    #[must_use]
    pub fn rejected(&self, reason: Reason) -> u32 {
        self.rejected.get(reason as usize).copied().unwrap_or_default()
    }

    /// Shares rejected for any reason.
    #[must_use]
    pub fn rejected_in_all(&self) -> u64 {
        self.rejected.iter().map(|count| u64::from(*count)).sum()
    }
}

pub(super) struct Channel<S: Storage> {
    pub(super) id: u32,
    pub(super) kind: ChannelKind,
    /// 0 for none.
    pub(super) group: u32,
    /// The owner's number for whoever is paid.
    pub(super) account: u64,
    pub(super) nominal_hash_rate: f32,
    pub(super) max_target: PackedTarget,
    /// What later jobs shall have, and what the client was told.
    pub(super) target: PackedTarget,
    pub(super) told_target: PackedTarget,
    pub(super) number: ChannelNumber,
    /// The place before the last move, while jobs of it live.
    pub(super) old_number: Option<ChannelNumber>,
    /// The client has yet to be told of its new prefix.
    pub(super) prefix_pending: bool,
    /// Has a job of the client's own making: the pool's are told again when that is over.
    pub(super) custom: bool,
    /// Its client may bring such jobs, on any block: accepted shares are not forgotten with their block, only with their prefix.
    pub(super) may_bring: bool,
    pub(super) told: Told,
    pub(super) jobs: S::List<LiveJob, LIVE_JOBS_INLINE, LIVE_JOBS_HEAP>,
    pub(super) duplicates: Duplicates<S>,
    pub(super) vardiff: Vardiff,
    pub(super) acks: Acks,
    pub(super) statistics: Statistics,
}

impl<S: Storage> Channel<S> {
    /// The prefix of jobs of this generation. The channel knows its numbers only: a prefix is made of them in no time.
    pub(super) fn prefix(&self, generation: Generation, shared: &Shared<S>) -> ExtranoncePrefix {
        let number = match &self.old_number {
            Some(old) if generation != self.duplicates.generation() => old,
            _ => &self.number,
        };
        match self.kind {
            ChannelKind::Standard => shared.space.standard_prefix(number),
            ChannelKind::Extended => shared.space.extended_prefix(number),
        }
    }

    /// The place that jobs of this generation search.
    pub(super) fn number_mut(&mut self, generation: Generation) -> &mut ChannelNumber {
        match &mut self.old_number {
            Some(old) if generation != self.duplicates.generation() => old,
            _ => &mut self.number,
        }
    }

    /// Sets the target for later jobs: within what the client accepts (D-OPEN-5), not easier than the pool allows, and within these bounds
    /// not harder than a block's, see [`Self::keep_blocks`].
    pub(super) fn set_target(&mut self, target: Target, shared: &Shared<S>) {
        self.target = PackedTarget::floor(target.min(self.bound(shared)));
        self.keep_blocks(shared);
    }

    /// Makes the target as easy as the current block's. A hash between the two would be a block that the client never sends. The bounds of pool
    /// and client win: a pool on a test network whose blocks would be a flood of shares sets its own.
    pub(super) fn keep_blocks(&mut self, shared: &Shared<S>) {
        let Some(prev) = shared.book().prev_hash() else { return };
        let block = PackedTarget::ceil(prev.network_target);
        if self.target < block {
            self.target = self.target.max(block.min(PackedTarget::floor(self.bound(shared))));
        }
    }

    /// The easiest target that pool and client both allow.
    fn bound(&self, shared: &Shared<S>) -> Target {
        shared.config().easiest_target.min(self.max_target.target())
    }

    /// Judges the rate of shares. Whether the client has something to hear of it then.
    #[inline]
    pub(super) fn retarget(&mut self, now: Instant, shared: &Shared<S>) -> bool {
        // First what needs no division.
        if !self.vardiff.is_judged(now)
            && let Some(target) = self.vardiff.evaluate(now, self.target.expected_hashes(), &shared.config().vardiff)
        {
            self.set_target(target, shared);
        }
        self.has_target_news()
    }

    /// Whether the client has to hear of a target, or works on a job whose target is far off.
    pub(super) fn has_target_news(&self) -> bool {
        self.target != self.told_target || self.job_is_far_off().is_some()
    }

    /// D-TGT-1 binds the running job to its target. How many times harder the wanted target is than that of the job in work,
    /// when that is so much (either way) that a new job is due.
    pub(super) fn job_is_far_off(&self) -> Option<f64> {
        let active = self.jobs.iter().rev().find(|job| !job.future)?;
        // As it nearly always is, and each share asks: no arithmetic then.
        if active.source == JobSource::Custom || active.target == self.target {
            return None;
        }
        let times = self.target.expected_hashes() / active.target.expected_hashes();
        (!(1.0 / WORTH_A_JOB..WORTH_A_JOB).contains(&times)).then_some(times)
    }

    /// What the client has to hear next about jobs; the order is: a job for the new prevhash, the prevhash, newer jobs, future ones.
    pub(super) fn next_step(&self, book: &JobBook<S>) -> Option<Step> {
        if self.custom {
            return None;
        }
        let future = book.future().map(Job::id).filter(|id| self.told.future != Some(*id));
        let Some(current) = book.current().map(Job::id) else { return future.map(Step::Announce) };
        if self.told.serial != book.prev_hash_serial() {
            // D-MIN-4, C-MIN-1, C-MIN-9: a prevhash names a job that was told as a future one.
            let named = self
                .jobs
                .iter()
                .rev()
                .find(|job| job.future && matches!(job.source, JobSource::Book(id) if book.live(id).is_some()));
            return Some(match named {
                Some(job) => Step::Activate(job.id),
                None => Step::Announce(current),
            });
        }
        if self.told.active != Some(current) {
            return Some(Step::Start(current));
        }
        future.map(Step::Announce)
    }

    /// Remembers a job that was just sent. When there is no place the oldest job goes that is neither in work nor the newest of the future.
    pub(super) fn add_job(&mut self, job: LiveJob, shared: &mut Shared<S>) {
        if self.jobs.is_full() {
            let active = self.jobs.iter().rposition(|job| !job.future);
            let future = self.jobs.iter().rposition(|job| job.future);
            let oldest = (0..self.jobs.len()).find(|at| Some(*at) != active && Some(*at) != future).unwrap_or(0);
            self.jobs.remove(oldest);
        }
        // There is room: the bound is three at least.
        const { assert!(LIVE_JOBS_INLINE >= 3 && LIVE_JOBS_HEAP >= 3) };
        let _ = self.jobs.push(job);
        self.release_old(shared);
    }

    /// The prevhash went out that names the job `id`: it is active, all others of the pool are gone (D-MIN-6).
    pub(super) fn activate(&mut self, id: u32, shared: &mut Shared<S>) {
        let target = self.told_target;
        self.jobs.retain(|job| job.id == id || job.source == JobSource::Custom);
        let custom_left = self.jobs.iter().any(|job| job.source == JobSource::Custom);
        let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) else { return };
        job.future = false;
        job.target = target;
        let JobSource::Book(book_id) = job.source else { return };
        let present = job.generation == self.duplicates.generation();
        self.told = Told { serial: shared.book().prev_hash_serial(), active: present.then_some(book_id), future: None };
        // A custom job may have run ahead of this prevhash: what it found must not be forgotten.
        if !custom_left && !self.may_bring {
            self.duplicates.prev_hash_changed();
        }
        self.release_old(shared);
    }

    /// Drops jobs whose prefix is out of use, and gives its number back once none is left.
    pub(super) fn release_old(&mut self, shared: &mut Shared<S>) {
        let duplicates = &self.duplicates;
        self.jobs.retain(|job| duplicates.is_live(job.generation));
        let present = self.duplicates.generation();
        if self.jobs.iter().all(|job| job.generation == present)
            && let Some(number) = self.old_number.take()
        {
            shared.space.release(number);
        }
    }

    /// Moves the channel to another extranonce prefix when its memory of shares runs full or its job's target is far off. The
    /// client hears of it before anything else.
    pub(super) fn move_if_due(&mut self, shared: &mut Shared<S>) {
        // Only who works can leave its work; and a prefix must have been told before it is replaced.
        if self.prefix_pending || (self.told.active.is_none() && !self.custom) {
            return;
        }
        let full = self.duplicates.wants_move();
        let far = self.job_is_far_off();
        if !full && far.is_none() {
            return;
        }
        if self.duplicates.is_moving() {
            // The client has not used the prefix of the last move, so it finds nothing, or it reads slowly. An easier job on the same
            // prefix helps in the first case and costs nothing in the second; a harder one can wait for the client.
            if far.is_some_and(|times| times < 1.0) {
                self.told.active = None;
            }
            return;
        }
        let Ok(number) = shared.space.allocate() else { return };
        // Set only while jobs of an older generation live, and those are gone when no move is under way.
        if let Some(old) = self.old_number.replace(core::mem::replace(&mut self.number, number)) {
            shared.space.release(old);
        }
        self.duplicates.begin_move();
        self.prefix_pending = true;
        self.told.active = None;
        self.told.future = None;
    }

    /// Gives back what the channel holds of the pool.
    pub(super) fn release(self, shared: &mut Shared<S>) {
        shared.space.release(self.number);
        if let Some(old) = self.old_number {
            shared.space.release(old);
        }
    }

    #[cold]
    pub(super) fn count_rejection(&mut self, reason: Reason) {
        if let Some(count) = self.statistics.rejected.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
    }

    #[inline]
    pub(super) fn count_acceptance(&mut self, now: Instant, difficulty: f64) {
        self.statistics.accepted = self.statistics.accepted.saturating_add(1);
        self.statistics.difficulty += difficulty;
        self.statistics.last_accepted = Some(now);
    }
}

/// An open channel, to look at.
pub struct ChannelView<'a, S: Storage>(&'a Channel<S>);

impl<S: Storage> core::fmt::Debug for ChannelView<'_, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Channel")
            .field("id", &self.0.id)
            .field("kind", &self.0.kind)
            .field("target", &self.0.told_target)
            .finish()
    }
}

impl<'a, S: Storage> ChannelView<'a, S> {
    pub(super) const fn new(channel: &'a Channel<S>) -> Self {
        Self(channel)
    }

    /// Its id on the connection.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.0.id
    }

    /// Standard or extended.
    #[must_use]
    pub const fn kind(&self) -> ChannelKind {
        self.0.kind
    }

    /// Its group, if it is in one.
    #[must_use]
    pub fn group(&self) -> Option<u32> {
        Some(self.0.group).filter(|group| *group != 0)
    }

    /// What the owner gave with [`MiningServer::accept`](super::MiningServer::accept).
    #[must_use]
    pub const fn account(&self) -> u64 {
        self.0.account
    }

    /// The hash rate that the client announced, in hashes a second.
    #[must_use]
    pub const fn nominal_hash_rate(&self) -> f32 {
        self.0.nominal_hash_rate
    }

    /// The hash rate seen of late, in hashes a second.
    #[must_use]
    pub fn hash_rate(&self, now: Instant) -> Option<f64> {
        self.0.vardiff.hash_rate(now)
    }

    /// The target that the client was told last.
    #[must_use]
    pub fn target(&self) -> Target {
        self.0.told_target.target()
    }

    /// The extranonce prefix of new jobs.
    #[must_use]
    pub fn extranonce_prefix(&self, shared: &Shared<S>) -> ExtranoncePrefix {
        self.0.prefix(self.0.duplicates.generation(), shared)
    }

    /// Counts since the channel was opened.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.0.statistics
    }
}
