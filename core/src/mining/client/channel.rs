//! One channel as its client sees it: which jobs there are, which of them is in work.

use super::Terms;
use super::share::Statistics;
use super::work::{ExtendedWork, Work};
use crate::config::{CLIENT_JOBS_HEAP, CLIENT_JOBS_INLINE};
use crate::message::mining::{SetCustomMiningJob, SetNewPrevHash};
use crate::message::{ChannelKind, JobStart};
use crate::mining::custom::write_coinbase;
use crate::mining::extranonce::ExtranoncePrefix;
use crate::mining::job::{BookError, Parts};
use crate::mining::target::Target;
use crate::storage::{List, Storage};
use crate::time::Instant;
use crate::wire::{Seq0255, U256};

/// What the channel builds on.
#[derive(Clone, Copy, Debug)]
struct Prev {
    hash: [u8; 32],
    nbits: u32,
    min_ntime: u32,
    /// When it came.
    since: Instant,
}

/// In the order in which their places are given to new jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The place is free; its memory is kept.
    Free,
    /// Replaced on the same prevhash: shares of it still count.
    Past,
    /// Waits for a prevhash that names it.
    Waiting,
    /// In work.
    Active,
}

pub(super) struct Job<S: Storage, const COINBASE: usize, const PATH: usize> {
    /// Its number here; another one once it is in work, so that a share names job and prevhash together.
    pub(super) serial: u64,
    /// Its number on the wire.
    pub(super) id: u32,
    pub(super) state: State,
    pub(super) version: u32,
    /// Whether the version may be rolled.
    pub(super) rolling: bool,
    /// Of a standard channel's job.
    pub(super) root: [u8; 32],
    /// D-EXN-1: the extranonce prefix when the job came; of an extended channel's job.
    pub(super) prefix: ExtranoncePrefix,
    /// D-TGT-1: the target when work on the job began.
    pub(super) target: Target,
    pub(super) min_ntime: u32,
    /// From when the seconds count that may be added to `min_ntime`.
    pub(super) since: Instant,
    /// Of an extended channel's job.
    pub(super) parts: Parts<S, COINBASE, PATH>,
}

impl<S: Storage, const COINBASE: usize, const PATH: usize> Default for Job<S, COINBASE, PATH> {
    fn default() -> Self {
        Self {
            serial: 0,
            id: 0,
            state: State::Free,
            version: 0,
            rolling: false,
            root: [0; 32],
            prefix: ExtranoncePrefix::EMPTY,
            target: Target::ZERO,
            min_ntime: 0,
            since: Instant::ORIGIN,
            parts: Parts::default(),
        }
    }
}

/// A job as it came.
pub(super) struct NewJob<'a> {
    pub(super) id: u32,
    pub(super) start: JobStart,
    pub(super) version: u32,
    pub(super) rolling: bool,
    pub(super) body: Body<'a>,
}

/// What became of a job that came.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken {
    /// It waits, or is in work.
    pub(super) added: bool,
    /// Something else is in work than before, or nothing.
    pub(super) changed: bool,
}

/// What makes the merkle root of a job.
pub(super) enum Body<'a> {
    Root(&'a [u8; 32]),
    Coinbase { path: Seq0255<'a, U256>, prefix: &'a [u8], suffix: &'a [u8] },
}

/// A custom job that the server took.
pub(super) struct Custom<'a> {
    /// The number that it got.
    pub(super) id: u32,
    pub(super) job: &'a SetCustomMiningJob<'a>,
    /// Its coinbase, if the server made one: prefix and suffix.
    pub(super) coinbase: Option<(&'a [u8], &'a [u8])>,
}

/// An update to tell the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Update {
    /// As soon as one may be sent again (D-UPD-2).
    Later,
    /// Now.
    Due,
}

pub(super) struct Channel<S: Storage, const COINBASE: usize, const PATH: usize> {
    pub(super) id: u32,
    pub(super) kind: ChannelKind,
    pub(super) group: Option<u32>,
    /// Of jobs that begin from now on.
    pub(super) target: Target,
    /// Of jobs that come from now on.
    pub(super) prefix: ExtranoncePrefix,
    pub(super) extranonce_size: u8,
    pub(super) nominal_hash_rate: f32,
    pub(super) max_target: Target,
    pub(super) update: Option<Update>,
    /// D-UPD-2: from when an update may be sent.
    pub(super) update_from: Instant,
    prev: Option<Prev>,
    jobs: S::List<Job<S, COINBASE, PATH>, CLIENT_JOBS_INLINE, CLIENT_JOBS_HEAP>,
    pub(super) sequence_number: u32,
    pub(super) statistics: Statistics,
}

/// A channel without jobs.
impl<S: Storage, const COINBASE: usize, const PATH: usize> Default for Channel<S, COINBASE, PATH> {
    fn default() -> Self {
        Self {
            id: 0,
            kind: ChannelKind::Standard,
            group: None,
            target: Target::ZERO,
            prefix: ExtranoncePrefix::EMPTY,
            extranonce_size: 0,
            nominal_hash_rate: 0.0,
            max_target: Target::ZERO,
            update: None,
            update_from: Instant::ORIGIN,
            prev: None,
            jobs: Default::default(),
            sequence_number: 0,
            statistics: Statistics::default(),
        }
    }
}

impl<S: Storage, const COINBASE: usize, const PATH: usize> Channel<S, COINBASE, PATH> {
    /// Whether jobs of extended channels have a place at all. Where not, what only such channels need is left out of the program.
    pub(super) const EXTENDED: bool = S::GROWS || COINBASE > 0;

    pub(super) fn is_extended(&self) -> bool {
        Self::EXTENDED && self.kind == ChannelKind::Extended
    }

    /// The number of what is in work: another one is other work. 0 when nothing is.
    pub(super) fn in_work(&self) -> u64 {
        self.active().map_or(0, |job| job.serial)
    }

    fn active(&self) -> Option<&Job<S, COINBASE, PATH>> {
        self.jobs.iter().find(|job| job.state == State::Active)
    }

    /// A job whose shares count.
    pub(super) fn workable(&self, serial: u64) -> Option<&Job<S, COINBASE, PATH>> {
        let counts = |state| matches!(state, State::Active | State::Past);
        self.jobs.iter().find(|job| job.serial == serial && counts(job.state))
    }

    pub(super) fn waiting(&self) -> usize {
        self.jobs.iter().filter(|job| job.state == State::Waiting).count()
    }

    /// Whether a job of this body could be stored.
    fn takes(body: &Body<'_>) -> bool {
        match body {
            Body::Root(_) => true,
            Body::Coinbase { .. } if !Self::EXTENDED => false,
            Body::Coinbase { path, prefix, suffix } => {
                Parts::<S, COINBASE, PATH>::default().takes(prefix.len().saturating_add(suffix.len()), path.len())
            }
        }
    }

    /// D-MIN-1, D-MIN-2: a job to start at once is in work when this returns, others wait. One that should start at once before there is any
    /// prevhash waits as well, for there is nothing to build on.
    ///
    /// When there is no place, a job goes whose last shares are on the way, else the oldest that waits. A job whose id another one has
    /// replaces it. Nothing happens when the job does not fit.
    pub(super) fn take(&mut self, now: Instant, serial: u64, new: &NewJob<'_>) -> Taken {
        if !Self::takes(&new.body) {
            return Taken::default();
        }
        let starts = !new.start.is_future() && self.prev.is_some();
        // The place of a job with this id is taken before the job in work is replaced: it may be the same.
        let place = self.place(new.id);
        let changed = starts || self.jobs.get(place).is_some_and(|job| job.state == State::Active);
        if starts {
            self.retire();
        }
        let failed = Taken { added: false, changed };
        let Some(job) = self.jobs.get_mut(place) else { return failed };
        job.state = State::Free;
        match &new.body {
            Body::Root(root) => job.root = **root,
            Body::Coinbase { .. } if !Self::EXTENDED => return failed,
            Body::Coinbase { path, prefix, suffix } => {
                job.prefix = self.prefix;
                if job.parts.set(path, prefix, suffix).is_err() {
                    return failed;
                }
            }
        }
        job.serial = serial;
        job.id = new.id;
        job.version = new.version;
        job.rolling = new.rolling;
        job.state = State::Waiting;
        if let Some(prev) = self.prev.as_ref().filter(|_| starts) {
            job.state = State::Active;
            // D-TGT-1
            job.target = self.target;
            (job.min_ntime, job.since) = match new.start {
                JobStart::Now { min_ntime: Some(min_ntime) } => (min_ntime, now),
                JobStart::Now { min_ntime: None } | JobStart::Future => (prev.min_ntime, prev.since),
            };
        }
        Taken { added: true, changed }
    }

    /// The job in work is replaced on the same prevhash.
    fn retire(&mut self) {
        for job in self.jobs.iter_mut().filter(|job| job.state == State::Active) {
            job.state = State::Past;
        }
    }

    /// The place for a job with this id.
    fn place(&mut self, id: u32) -> usize {
        // With at least two places one is not in work.
        const { assert!(CLIENT_JOBS_INLINE >= 2 && CLIENT_JOBS_HEAP >= 2) };
        // Of several of a rank the oldest.
        let (mut best, mut place) = ((u8::MAX, 0), 0);
        for (at, job) in self.jobs.iter().enumerate() {
            let same = job.state != State::Free && job.id == id;
            let rank = if same { 0 } else { (job.state as u8).wrapping_add(1) };
            if (rank, job.serial) < best {
                (best, place) = ((rank, job.serial), at);
            }
        }
        if best.0 > 1 && self.jobs.push(Job::default()).is_ok() {
            place = self.jobs.len().saturating_sub(1);
        }
        place
    }

    /// D-MIN-5, D-MIN-6: the named job is in work, all others are void. When the named one is not there, nothing is in work
    /// until a job comes; working on for the old prevhash would be for nothing.
    pub(super) fn set_prev_hash(&mut self, now: Instant, serial: u64, message: &SetNewPrevHash) {
        self.prev =
            Some(Prev { hash: message.prev_hash.0, nbits: message.nbits, min_ntime: message.min_ntime, since: now });
        for job in self.jobs.iter_mut() {
            if job.id != message.job_id || job.state == State::Free {
                job.state = State::Free;
                continue;
            }
            if job.state == State::Waiting {
                // D-TGT-1: a job that was in work keeps its target.
                job.target = self.target;
            }
            job.state = State::Active;
            job.serial = serial;
            job.min_ntime = message.min_ntime;
            job.since = now;
        }
    }

    /// D-CUST-3: the custom job is in work when this returns. Nothing happens when it does not fit.
    pub(super) fn start_custom(&mut self, now: Instant, serial: u64, custom: &Custom<'_>) -> Result<(), BookError> {
        let (target, prefix, request) = (self.target, self.prefix, custom.job);
        let full_len = prefix.as_slice().len().saturating_add(usize::from(self.extranonce_size));
        let mut parts = Parts::default();
        match custom.coinbase {
            Some((before, behind)) => parts.push_prefix(before).and_then(|()| parts.push_suffix(behind))?,
            None => write_coinbase(request, full_len, &mut parts).map_err(|_| BookError::CoinbaseTooLong)?,
        }
        request.merkle_path.iter().try_for_each(|hash| parts.push_path(hash))?;
        if self.prev.is_none_or(|prev| prev.hash != request.prev_hash.0) {
            let hash = request.prev_hash.0;
            self.prev = Some(Prev { hash, nbits: request.nbits, min_ntime: request.min_ntime, since: now });
            self.jobs.iter_mut().for_each(|job| job.state = State::Free);
        }
        let place = self.place(custom.id);
        self.retire();
        let Some(job) = self.jobs.get_mut(place) else { return Err(BookError::CoinbaseTooLong) };
        *job = Job {
            serial,
            id: custom.id,
            state: State::Active,
            version: request.version,
            rolling: true,
            root: [0; 32],
            prefix,
            target,
            min_ntime: request.min_ntime,
            since: now,
            parts,
        };
        Ok(())
    }

    fn template(&self, terms: &Terms) -> Option<(Work, &Job<S, COINBASE, PATH>)> {
        let prev = self.prev.as_ref()?;
        let job = self.active()?;
        let work = Work {
            serial: job.serial,
            channel_id: self.id,
            job_id: job.id,
            version: job.version,
            version_mask: terms.version_mask(job.rolling),
            prev_hash: prev.hash,
            merkle_root: job.root,
            min_ntime: job.min_ntime,
            since: job.since,
            nbits: prev.nbits,
            target: job.target,
            extranonce: ExtranoncePrefix::EMPTY,
        };
        Some((work, job))
    }

    pub(super) fn work(&self, terms: &Terms) -> Option<Work> {
        if self.is_extended() {
            return None;
        }
        self.template(terms).map(|(work, _)| work)
    }

    pub(super) fn extended_work(&self, terms: &Terms) -> Option<ExtendedWork<'_, S, COINBASE, PATH>> {
        if !self.is_extended() {
            return None;
        }
        let (work, job) = self.template(terms)?;
        Some(ExtendedWork::new(work, job.prefix, self.extranonce_size, &job.parts))
    }
}
