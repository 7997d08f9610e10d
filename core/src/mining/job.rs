//! The jobs that all channels of a pool share, stored once: [`JobBook`].
//!
//! A job here is everything but the extranonce. Which channel was told of which job, under which id on the wire, with which
//! target, is each connection's own (`server`). Templates and coinbases are made elsewhere (`template`).

use core::fmt;

use super::merkle;
use super::target::Target;
use crate::config::{
    BOOK_JOBS_HEAP, BOOK_JOBS_INLINE, COINBASE_HEAP, COINBASE_INLINE, MERKLE_PATH_HEAP, MERKLE_PATH_INLINE,
};
use crate::storage::{List, Storage};
use crate::time::Instant;
use crate::wire::{Seq0255, U256};

/// A job's number in its book. Never used again while a job has it; numbers on the wire are the connections' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u32);

/// What mining builds on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrevHash {
    /// Hash of the block before, in raw SHA-256 order.
    pub prev_hash: [u8; 32],
    /// Earliest time that a header may carry, in seconds since 1970.
    pub min_ntime: u32,
    /// The network's target in the header's compact form.
    pub nbits: u32,
    /// At or below this a share is a block. What the template provider says, or the target of `nbits`.
    pub network_target: Target,
}

/// What a job is made of; borrowed, copied into the book.
#[derive(Clone, Copy, Debug)]
pub struct NewJob<'a> {
    /// The template of which the coinbase was made; what a solution is submitted for.
    pub template_id: u64,
    /// Whether the job waits for a prevhash that names it.
    pub future: bool,
    /// Header version.
    pub version: u32,
    /// Coinbase bytes before the extranonce, without witness.
    pub coinbase_prefix: &'a [u8],
    /// Coinbase bytes behind the extranonce, without witness.
    pub coinbase_suffix: &'a [u8],
}

/// Why a job or a prevhash did not come into the book as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BookError {
    /// A job that is not for the future came before any prevhash.
    NoPrevHash,
    /// The coinbase is longer than the book stores.
    CoinbaseTooLong,
    /// The merkle path is longer than the book stores.
    PathTooLong,
    /// No future job of this template is known. The old jobs are gone all the same, for the network moved on.
    UnknownTemplate,
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPrevHash => "job book: a job to start at once came before any prevhash",
            Self::CoinbaseTooLong => "job book: the coinbase is too long",
            Self::PathTooLong => "job book: the merkle path is too long",
            Self::UnknownTemplate => "job book: the prevhash names a template that is not known",
        })
    }
}

impl core::error::Error for BookError {}

/// Coinbase and merkle path, kept for reuse of their memory when the job goes. `COINBASE` bytes and `PATH` hashes inline.
pub(crate) struct Parts<S: Storage, const COINBASE: usize = COINBASE_INLINE, const PATH: usize = MERKLE_PATH_INLINE> {
    /// Prefix, then suffix.
    coinbase: S::List<u8, COINBASE, COINBASE_HEAP>,
    prefix_len: usize,
    path: S::List<U256, PATH, MERKLE_PATH_HEAP>,
}

impl<S: Storage, const COINBASE: usize, const PATH: usize> Default for Parts<S, COINBASE, PATH> {
    fn default() -> Self {
        Self { coinbase: Default::default(), prefix_len: 0, path: Default::default() }
    }
}

impl<S: Storage, const COINBASE: usize, const PATH: usize> Parts<S, COINBASE, PATH> {
    /// Whether parts of these lengths may be stored.
    pub(crate) fn takes(&self, coinbase: usize, path: usize) -> bool {
        coinbase <= self.coinbase.bound() && path <= self.path.bound()
    }

    /// Begins anew, in the same memory.
    pub(crate) fn clear(&mut self) {
        self.coinbase.clear();
        self.path.clear();
        self.prefix_len = 0;
    }

    /// Appends to the prefix, before anything is appended to the suffix.
    pub(crate) fn push_prefix(&mut self, bytes: &[u8]) -> Result<(), BookError> {
        self.push_suffix(bytes)?;
        self.prefix_len = self.coinbase.len();
        Ok(())
    }

    pub(crate) fn push_suffix(&mut self, bytes: &[u8]) -> Result<(), BookError> {
        self.coinbase.extend_from_slice(bytes).map_err(|_| BookError::CoinbaseTooLong)
    }

    pub(crate) fn push_path(&mut self, hash: U256) -> Result<(), BookError> {
        self.path.push(hash).map_err(|_| BookError::PathTooLong)
    }

    /// Becomes these parts, in its own memory.
    pub(crate) fn set(&mut self, path: &Seq0255<'_, U256>, prefix: &[u8], suffix: &[u8]) -> Result<(), BookError> {
        self.clear();
        self.push_prefix(prefix)?;
        self.push_suffix(suffix)?;
        path.iter().try_for_each(|hash| self.push_path(hash))
    }

    pub(crate) fn prefix(&self) -> &[u8] {
        self.coinbase.get(..self.prefix_len).unwrap_or_default()
    }

    pub(crate) fn suffix(&self) -> &[u8] {
        self.coinbase.get(self.prefix_len..).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &[U256] {
        &self.path
    }

    /// Becomes a copy, in its own memory.
    pub(crate) fn copy(&mut self, from: &Self) -> Result<(), BookError> {
        self.clear();
        self.push_prefix(from.prefix())?;
        self.push_suffix(from.suffix())?;
        self.path.extend_from_slice(from.path()).map_err(|_| BookError::PathTooLong)
    }

    pub(crate) fn txid(&self, extranonce_prefix: &[u8], extranonce: &[u8]) -> [u8; 32] {
        merkle::coinbase_txid(self.prefix(), extranonce_prefix, extranonce, self.suffix())
    }

    pub(crate) fn merkle_root(&self, extranonce_prefix: &[u8], extranonce: &[u8]) -> [u8; 32] {
        merkle::merkle_root(self.txid(extranonce_prefix, extranonce), self.path().iter().map(|hash| hash.0))
    }
}

#[cfg(feature = "alloc")]
impl Parts<crate::storage::Heap> {
    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.coinbase.heap_bytes() + self.path.heap_bytes()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The place is free.
    Free,
    Future,
    Live,
}

/// A job of the book.
pub struct Job<S: Storage> {
    id: JobId,
    state: State,
    template_id: u64,
    version: u32,
    parts: Parts<S>,
}

impl<S: Storage> fmt::Debug for Job<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("template_id", &self.template_id)
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Job<S> {
    /// Its number in the book.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// The template that it was made of.
    #[must_use]
    pub const fn template_id(&self) -> u64 {
        self.template_id
    }

    /// Header version before any rolling.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Coinbase bytes before the extranonce.
    #[must_use]
    pub fn coinbase_prefix(&self) -> &[u8] {
        self.parts.prefix()
    }

    /// Coinbase bytes behind the extranonce.
    #[must_use]
    pub fn coinbase_suffix(&self) -> &[u8] {
        self.parts.suffix()
    }

    /// Merkle path, deepest hash first.
    #[must_use]
    pub fn merkle_path(&self) -> &[U256] {
        self.parts.path()
    }

    pub(crate) const fn parts(&self) -> &Parts<S> {
        &self.parts
    }

    /// D-ALG-1, D-ALG-2, D-ALG-3: the merkle root for a full extranonce given in its two parts.
    #[must_use]
    pub fn merkle_root(&self, extranonce_prefix: &[u8], extranonce: &[u8]) -> [u8; 32] {
        self.parts.merkle_root(extranonce_prefix, extranonce)
    }
}

/// The shared jobs of a pool: what is mined now, what was mined on the same prevhash, what waits.
///
/// Bounded: when all places are taken the oldest job goes, never the newest live or the newest future one. Reuses its memory.
pub struct JobBook<S: Storage> {
    prev: Option<(PrevHash, Instant)>,
    /// Counts prevhashes; 0 before the first.
    serial: u32,
    /// Counts changes of any kind.
    changes: u64,
    last_id: u32,
    jobs: S::List<Job<S>, BOOK_JOBS_INLINE, BOOK_JOBS_HEAP>,
}

impl<S: Storage> fmt::Debug for JobBook<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobBook")
            .field("prev", &self.prev)
            .field("serial", &self.serial)
            .field("jobs", &&*self.jobs)
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Default for JobBook<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Storage> JobBook<S> {
    /// A book without jobs.
    #[must_use]
    pub fn new() -> Self {
        Self { prev: None, serial: 0, changes: 0, last_id: 0, jobs: Default::default() }
    }

    /// What mining builds on now.
    #[must_use]
    pub fn prev_hash(&self) -> Option<&PrevHash> {
        self.prev.as_ref().map(|(prev, _)| prev)
    }

    /// When the prevhash came.
    #[must_use]
    pub fn prev_hash_since(&self) -> Option<Instant> {
        self.prev.as_ref().map(|(_, since)| *since)
    }

    /// The number of the prevhash: rises by one with each, 0 before the first.
    #[must_use]
    pub const fn prev_hash_serial(&self) -> u32 {
        self.serial
    }

    /// Rises with every change of the book; whoever remembers it sees at once that there is nothing new to tell.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    fn newest(&self, state: State) -> Option<&Job<S>> {
        self.jobs.iter().filter(|job| job.state == state).max_by_key(|job| job.id)
    }

    /// The job to mine now.
    #[must_use]
    pub fn current(&self) -> Option<&Job<S>> {
        self.newest(State::Live)
    }

    /// The newest job that waits for a prevhash.
    #[must_use]
    pub fn future(&self) -> Option<&Job<S>> {
        self.newest(State::Future)
    }

    /// A job that can be mined on the present prevhash. None for future jobs and for those that are gone.
    #[must_use]
    pub fn live(&self, id: JobId) -> Option<&Job<S>> {
        self.jobs.iter().find(|job| job.id == id && job.state == State::Live)
    }

    /// The place of a job, live or future, for [`Self::live_at`]. Jobs do not move as long as they are in the book.
    pub(crate) fn place(&self, id: JobId) -> Option<usize> {
        self.jobs.iter().position(|job| job.id == id && job.state != State::Free)
    }

    /// [`Self::live`] of a job that was at this place, without a search.
    #[inline]
    pub(crate) fn live_at(&self, place: usize, id: JobId) -> Option<&Job<S>> {
        self.jobs.get(place).filter(|job| job.id == id && job.state == State::Live)
    }

    /// Whether a job is in the book, live or future.
    #[must_use]
    pub fn contains(&self, id: JobId) -> bool {
        self.jobs.iter().any(|job| job.id == id && job.state != State::Free)
    }

    /// Copies a job into the book. A job that is not for the future is the current one at once.
    pub fn add<I>(&mut self, job: &NewJob<'_>, merkle_path: I) -> Result<JobId, BookError>
    where
        I: IntoIterator<Item = [u8; 32]>,
    {
        if !job.future && self.prev.is_none() {
            return Err(BookError::NoPrevHash);
        }
        let id = self.next_id();
        let keep = [self.current().map(Job::id), self.future().map(Job::id)];
        let free = Job { id, state: State::Free, template_id: 0, version: 0, parts: Parts::default() };
        let index = match self.jobs.iter().position(|job| job.state == State::Free) {
            Some(index) => index,
            None if self.jobs.push(free).is_ok() => self.jobs.len().saturating_sub(1),
            None => {
                // Full, with at least three places (checked below), so one is neither the current nor the newest future job.
                let oldest = self
                    .jobs
                    .iter()
                    .enumerate()
                    .filter(|(_, job)| !keep.contains(&Some(job.id)))
                    .min_by_key(|(_, job)| job.id);
                oldest.map_or(0, |(index, _)| index)
            }
        };
        const { assert!(BOOK_JOBS_INLINE >= 3 && BOOK_JOBS_HEAP >= 3, "current, future and one more") };
        // The index was found or made a line above.
        let Some(place) = self.jobs.get_mut(index) else { return Err(BookError::CoinbaseTooLong) };
        place.state = State::Free;
        place.parts.clear();
        place.parts.push_prefix(job.coinbase_prefix)?;
        place.parts.push_suffix(job.coinbase_suffix)?;
        merkle_path.into_iter().try_for_each(|hash| place.parts.push_path(U256(hash)))?;
        place.id = id;
        place.template_id = job.template_id;
        place.version = job.version;
        place.state = if job.future { State::Future } else { State::Live };
        self.last_id = id.0;
        self.changes = self.changes.wrapping_add(1);
        Ok(id)
    }

    fn next_id(&self) -> JobId {
        let mut id = self.last_id;
        loop {
            id = id.checked_add(1).unwrap_or(1);
            if !self.contains(JobId(id)) {
                return JobId(id);
            }
        }
    }

    /// The network moved on (or the template provider corrected itself): the future job of `template_id` is current now, and all
    /// others are gone (D-MIN-6). When there is no such job nothing is current until one is added.
    pub fn set_prev_hash(&mut self, now: Instant, prev: PrevHash, template_id: u64) -> Result<JobId, BookError> {
        self.prev = Some((prev, now));
        // 0 means none.
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        self.changes = self.changes.wrapping_add(1);
        let named = self
            .jobs
            .iter()
            .filter(|job| job.state == State::Future && job.template_id == template_id)
            .max_by_key(|job| job.id)
            .map(Job::id);
        for job in self.jobs.iter_mut() {
            job.state = if Some(job.id) == named && job.state == State::Future { State::Live } else { State::Free };
        }
        named.ok_or(BookError::UnknownTemplate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256d;
    use crate::storage::Inline;
    use proptest::prelude::*;

    pub(crate) fn prev(n: u8) -> PrevHash {
        PrevHash {
            prev_hash: [n; 32],
            min_ntime: 1_000_000 + u32::from(n),
            nbits: 0x207f_ffff,
            network_target: Target::from_nbits(0x207f_ffff).unwrap(),
        }
    }

    fn job(template_id: u64, future: bool) -> NewJob<'static> {
        NewJob { template_id, future, version: 0x2000_0000, coinbase_prefix: b"prefix", coinbase_suffix: b"suffix" }
    }

    /// D-MIN-1, D-MIN-2, D-MIN-6: live jobs need a prevhash, future ones wait for theirs, and it ends all others.
    #[test]
    fn a_prevhash_makes_its_job_current_and_ends_the_others() {
        let mut book = JobBook::<Inline>::new();
        assert_eq!(book.add(&job(1, false), []), Err(BookError::NoPrevHash));
        let first = book.add(&job(1, true), []).unwrap();
        let other = book.add(&job(2, true), []).unwrap();
        assert!(book.current().is_none() && book.live(first).is_none());
        assert_eq!(book.set_prev_hash(Instant::from_secs(5), prev(1), 1), Ok(first));
        assert_eq!(book.current().unwrap().id(), first);
        assert!(!book.contains(other) && book.future().is_none());
        assert_eq!(book.prev_hash_since(), Some(Instant::from_secs(5)));

        let second = book.add(&job(3, false), [[9; 32]]).unwrap();
        assert_eq!(book.current().unwrap().id(), second);
        assert!(book.live(first).is_some(), "jobs of one prevhash live side by side");
        assert_eq!(book.current().unwrap().merkle_path(), [U256([9; 32])]);

        assert_eq!(book.set_prev_hash(Instant::from_secs(6), prev(2), 77), Err(BookError::UnknownTemplate));
        assert!(book.current().is_none() && book.live(second).is_none(), "the network moved on all the same");
        assert_eq!(book.prev_hash_serial(), 2);
        assert!(book.add(&job(4, false), []).is_ok());
    }

    #[test]
    fn what_is_too_long_is_refused_and_harms_nothing() {
        let mut book = JobBook::<Inline>::new();
        let kept = book.add(&job(1, true), []).unwrap();
        let long = [0; COINBASE_INLINE + 1];
        assert_eq!(book.add(&NewJob { coinbase_prefix: &long, ..job(2, true) }, []), Err(BookError::CoinbaseTooLong));
        let deep = [[0; 32]; MERKLE_PATH_INLINE + 1];
        assert_eq!(book.add(&job(2, true), deep), Err(BookError::PathTooLong));
        assert_eq!(book.future().unwrap().id(), kept);
        assert_eq!(book.jobs.iter().filter(|job| job.state != State::Free).count(), 1);
    }

    #[test]
    fn the_root_is_that_of_the_joined_coinbase() {
        let mut book = JobBook::<Inline>::new();
        book.add(&job(1, true), [[1; 32], [2; 32]]).unwrap();
        let txid = sha256d(&[b"prefixABsuffix"]);
        let root = sha256d(&[&sha256d(&[&txid, &[1; 32]]), &[2; 32]]);
        assert_eq!(book.future().unwrap().merkle_root(b"A", b"B"), root);
    }

    proptest! {
        /// However many jobs come, the book stays bounded, the newest live and future jobs are there, and no two jobs share an id.
        #[test]
        fn the_newest_jobs_survive(steps in proptest::collection::vec(0_u8..8, 0..200)) {
            let mut book = JobBook::<Inline>::new();
            let (mut current, mut future) = (None, None);
            for (step, template) in steps.into_iter().zip(1_u64..) {
                match step {
                    0 => {
                        let named = future.map_or(0, |(_, template)| template);
                        let outcome = book.set_prev_hash(Instant::ORIGIN, prev(step), named);
                        prop_assert_eq!(outcome.ok(), future.map(|(id, _)| id));
                        current = future.take().map(|(id, _)| id);
                    }
                    1..4 => future = Some((book.add(&job(template, true), []).unwrap(), template)),
                    _ if book.prev_hash().is_some() => current = Some(book.add(&job(template, false), []).unwrap()),
                    _ => prop_assert_eq!(book.add(&job(template, false), []), Err(BookError::NoPrevHash)),
                }
                prop_assert_eq!(book.current().map(Job::id), current);
                prop_assert_eq!(book.future().map(Job::id), future.map(|(id, _)| id));
                let mut ids: std::vec::Vec<_> = book.jobs.iter().filter(|job| job.state != State::Free).map(Job::id).collect();
                let count = ids.len();
                ids.sort();
                ids.dedup();
                prop_assert_eq!(ids.len(), count);
            }
        }
    }
}
