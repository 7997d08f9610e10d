//! Shares that are checked together, so that their hashes are worked out in lanes.
//!
//! A batch holds shares of one connection in the order in which they came, and everything happens to them in that order: what is said of each
//! is what would have been said had it come alone. The hashing itself is the owner's: outside of locks, in as many lanes as its processor has.
//! Neighbours of one job are told apart by what they bring only: channel and job are looked up once for all of them, in each half.

use super::channel::{Channel, JobSource};
use super::check::{Found, Limits, Live, Looked, Worth, whole};
use super::shares::{Accepted, Hashed, Reason, Rejection, Submitted};
use super::{MiningServer, Shared};
use crate::config::{SHARE_BATCH_HEAP, SHARE_BATCH_INLINE};
use crate::message::ChannelKind;
use crate::mining::header::{HEADER_LEN, Header, put_merkle_root, put_rolled};
use crate::mining::job::Parts;
use crate::mining::merkle::coinbase_txid;
use crate::storage::{List, Storage};
use crate::time::Instant;
use crate::wire::U256;

/// A list with a place for each share of a batch.
type Each<T, S> = <S as Storage>::List<T, SHARE_BATCH_INLINE, SHARE_BATCH_HEAP>;

/// What is known of a share.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing yet.
    New,
    /// Its header is laid out.
    Ready,
    /// The same but for its merkle root.
    Folds,
    Rejected(Reason),
    Accepted(Accepted),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// From the first half on its extranonce is the whole one.
    share: Submitted,
    /// The place of its header and hash, once it has them.
    at: u8,
    state: State,
}

const _: () = assert!(SHARE_BATCH_INLINE <= 256 && SHARE_BATCH_HEAP <= 256, "places are numbered in a byte");

impl Entry {
    fn is_of_same_job(&self, other: &Self) -> bool {
        (self.share.channel_id, self.share.job_id, self.share.kind)
            == (other.share.channel_id, other.share.job_id, other.share.kind)
    }
}

/// Shares of one connection that are checked together. Reuses its memory.
///
/// In this order: [`push`](Self::push) what came, [`MiningServer::prepare_batch`], [`hash`](Self::hash), [`MiningServer::conclude_batch`],
/// [`next_concluded`](Self::next_concluded) until there is none, [`clear`](Self::clear).
pub struct ShareBatch<S: Storage> {
    entries: Each<Entry, S>,
    /// Of those that are hashed, in their order: so many.
    laid_out: usize,
    headers: Each<[u8; HEADER_LEN], S>,
    hashes: Each<[u8; 32], S>,
    /// Of those whose root is folded.
    roots: Each<[u8; 32], S>,
    fold: Fold<S>,
    hashed: bool,
    concluded: bool,
    /// How many were taken out.
    taken: usize,
}

impl<S: Storage> Default for ShareBatch<S> {
    fn default() -> Self {
        Self {
            entries: Default::default(),
            laid_out: 0,
            headers: Default::default(),
            hashes: Default::default(),
            roots: Default::default(),
            fold: Fold::default(),
            hashed: false,
            concluded: false,
            taken: 0,
        }
    }
}

impl<S: Storage> core::fmt::Debug for ShareBatch<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ShareBatch").field("shares", &self.len()).finish_non_exhaustive()
    }
}

impl<S: Storage> ShareBatch<S> {
    /// Most shares of one batch.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.entries.bound()
    }

    /// Shares in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes a share in; gives it back when the batch is full.
    #[inline]
    pub fn push<E: AsRef<[u8]>>(&mut self, share: Submitted<E>) -> Result<(), Submitted<E>> {
        let entry = Entry { share: share.detached(), at: 0, state: State::New };
        self.entries.push(entry).map_err(|_| share)
    }

    /// Keeps the first `len` shares.
    pub fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
    }

    /// Empties it for the next shares.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.laid_out = 0;
        self.fold.job = None;
        self.hashed = false;
        self.concluded = false;
        self.taken = 0;
    }

    /// Works out all hashes. `fold` puts merkle paths onto coinbase ids (D-ALG-3): a path, deepest hash first, and the ids, each of which
    /// becomes its root. `hash` puts the SHA-256d of each header into the place beside it. [`lanes`](crate::mining::lanes) has both.
    pub fn hash(
        &mut self,
        fold: impl FnOnce(&[U256], &mut [[u8; 32]]),
        hash: impl FnOnce(&[[u8; HEADER_LEN]], &mut [[u8; 32]]),
    ) {
        if self.fold.job.is_some() {
            self.fold(fold);
        }
        self.hashed = true;
        hash(self.headers.get(..self.laid_out).unwrap_or_default(), &mut self.hashes);
    }

    fn fold(&mut self, fold: impl FnOnce(&[U256], &mut [[u8; 32]])) {
        self.roots.clear();
        for entry in self.entries.iter().filter(|entry| matches!(entry.state, State::Folds)) {
            // There is a place for each share.
            let _ = self.roots.push(self.fold.txid(&entry.share));
        }
        fold(self.fold.parts.path(), &mut self.roots);
        let folding = self.entries.iter_mut().filter(|entry| matches!(entry.state, State::Folds));
        for (entry, root) in folding.zip(self.roots.iter()) {
            if let Some(header) = self.headers.get_mut(usize::from(entry.at)) {
                put_merkle_root(header, root);
            }
            entry.state = State::Ready;
        }
    }

    /// Whether [`MiningServer::conclude_batch`] was called.
    #[must_use]
    pub const fn is_concluded(&self) -> bool {
        self.concluded
    }

    /// What became of the next share. One that was not concluded is of a connection that is gone.
    #[inline]
    pub fn next_concluded(&mut self) -> Option<Result<(Accepted, Hashed<'_>), Rejection>> {
        let entry = self.entries.get(self.taken)?;
        self.taken += 1;
        let at = usize::from(entry.at);
        Some(match (&entry.state, self.headers.get(at), self.hashes.get(at)) {
            (State::Accepted(accepted), Some(header), Some(hash)) => Ok((
                *accepted,
                Hashed { header: Header::from_bytes(header), hash, extranonce: &entry.share.extranonce },
            )),
            (State::Rejected(reason), ..) => Err(entry.share.rejection(*reason)),
            _ => Err(entry.share.rejection(Reason::InvalidChannel)),
        })
    }
}

impl<S: Storage> MiningServer<S> {
    /// The first half of checking a batch: everything but the hashes. What is bad is answered in its turn, so nothing is sent here. Once for
    /// each batch.
    pub fn prepare_batch(&mut self, now: Instant, shared: &Shared<S>, batch: &mut ShareBatch<S>) {
        let limits = self.limits(now);
        let ShareBatch { entries, laid_out, headers, hashes, fold, .. } = batch;
        // Without memory for it a share goes unhashed, and meets no target.
        while headers.len() < entries.len() && headers.push([0; HEADER_LEN]).is_ok() {}
        while hashes.len() < entries.len() && hashes.push([0xff; 32]).is_ok() {}
        for run in entries.chunk_by_mut(Entry::is_of_same_job) {
            // Never empty.
            let Some(Submitted { channel_id, job_id, kind, .. }) = run.first().map(|entry| entry.share) else {
                continue;
            };
            let Some((_, channel)) = self.slots.open_mut(channel_id) else {
                for entry in run {
                    entry.state = State::Rejected(Reason::InvalidChannel);
                }
                continue;
            };
            match channel.find_for(kind, &self.custom, limits.last_job, job_id, shared) {
                Ok(found) => channel.prepare_run(&found, &limits, shared, run, (headers, laid_out), fold),
                Err(reason) => run.iter_mut().for_each(|entry| channel.reject_entry(entry, reason)),
            }
        }
    }

    /// The second half: what the hashes make of the shares. The caller answers rejections, and stores accepted shares under their tickets.
    pub fn conclude_batch(&mut self, now: Instant, shared: &mut Shared<S>, batch: &mut ShareBatch<S>) {
        batch.concluded = true;
        let ShareBatch { entries, hashes, hashed, .. } = batch;
        // What stands there else is of the batch before. A share that nobody hashed meets no target.
        let hashes = if *hashed { &hashes[..] } else { &[] };
        for run in entries.chunk_by_mut(Entry::is_of_same_job) {
            // Never empty. What is not of an open channel is rejected when it is taken out.
            let Some(Submitted { channel_id, job_id, .. }) = run.first().map(|entry| entry.share) else { continue };
            let Some((place, channel)) = self.slots.open_mut(channel_id) else { continue };
            let (mut known, mut counted, mut any_news) = (None, None, false);
            if run.len() > 1 {
                let hashed = run.iter().filter_map(|entry| hashes.get(usize::from(entry.at)));
                hashed.for_each(|hash| channel.duplicates.expect(hash));
            }
            for entry in run {
                if !matches!(entry.state, State::Ready | State::Folds) {
                    continue;
                }
                let (live, worth, network_target) = match known {
                    Some(known) => known,
                    None => match channel.find(&self.custom, self.last_job, job_id, shared) {
                        Ok(found) => *known.insert((found.live, Worth::of(&found.live), *found.network_target)),
                        Err(reason) => {
                            channel.reject_entry(entry, reason);
                            continue;
                        }
                    },
                };
                // A share that nobody hashed meets no target.
                let hash = hashes.get(usize::from(entry.at)).unwrap_or(&[0xff; 32]);
                let (sequence_number, moving) = (entry.share.sequence_number, channel.duplicates.is_moving());
                let looked = Looked { live, worth, prospect: channel.prospect(now, shared, &worth) };
                match channel.count(now, shared, &looked, sequence_number, hash) {
                    Ok((ticket, news)) => {
                        let is_block = network_target.is_met_by(hash);
                        let accepted = channel.accepted(&live, &worth, sequence_number, ticket, is_block);
                        entry.state = State::Accepted(accepted);
                        counted = counted.or(Some(ticket));
                        any_news |= news;
                    }
                    Err(reason) => channel.reject_entry(entry, reason),
                }
                if moving {
                    // The job may be gone, or elsewhere in its list.
                    known = None;
                }
            }
            if let Some(first) = counted {
                self.counted(place, first, any_news);
            }
        }
    }
}

impl<S: Storage> Channel<S> {
    fn reject_entry(&mut self, entry: &mut Entry, reason: Reason) {
        self.count_rejection(reason);
        entry.state = State::Rejected(reason);
    }

    /// Lays out the headers of shares of one job.
    fn prepare_run(
        &mut self,
        found: &Found<'_, S>,
        limits: &Limits,
        shared: &Shared<S>,
        run: &mut [Entry],
        (headers, laid_out): (&mut [[u8; HEADER_LEN]], &mut usize),
        fold: &mut Fold<S>,
    ) {
        let prefix = self.prefix(found.live.generation, shared);
        let is_standard = self.kind == ChannelKind::Standard;
        let (mut common, mut folds) = (None, false);
        for entry in run {
            let share = &mut entry.share;
            if let Err(reason) = found.admit(limits, shared, share) {
                self.reject_entry(entry, reason);
                continue;
            }
            let common = common.get_or_insert_with(|| {
                folds = !is_standard && fold.is_of(&found.live, found.parts);
                // The roots of an extended channel's shares differ.
                let root = if is_standard { self.standard_root(found.live, found.parts, shared) } else { [0; 32] };
                found.lay_out(&root).to_bytes()
            });
            let Some(header) = headers.get_mut(*laid_out) else {
                self.reject_entry(entry, Reason::Difficulty);
                continue;
            };
            *header = *common;
            put_rolled(header, share.version, share.ntime, share.nonce);
            if !is_standard && !folds {
                put_merkle_root(header, &found.parts.merkle_root(prefix.as_slice(), share.extranonce.as_slice()));
            }
            share.extranonce = whole(&prefix, share.extranonce.as_slice());
            // Below the number of places of the list.
            entry.at = *laid_out as u8;
            *laid_out += 1;
            entry.state = if folds { State::Folds } else { State::Ready };
        }
    }
}

/// Coinbase and merkle path of one job, copied so that roots can be worked out outside of the pool's lock. The job is that of the batch's
/// first share; shares of another one, which come with a new job, have their roots worked out one by one.
struct Fold<S: Storage> {
    job: Option<(JobSource, u32)>,
    parts: Parts<S>,
}

impl<S: Storage> Default for Fold<S> {
    fn default() -> Self {
        Self { job: None, parts: Parts::default() }
    }
}

impl<S: Storage> Fold<S> {
    /// Whether this is its job: it is when there was none before.
    fn is_of(&mut self, live: &Live, parts: &Parts<S>) -> bool {
        // Jobs of the book are the same for all channels, custom ones are known by their number.
        let job = (live.source, if live.source == JobSource::Custom { live.id } else { 0 });
        if self.job.is_none() && self.parts.copy(parts).is_ok() {
            self.job = Some(job);
        }
        self.job == Some(job)
    }

    /// D-ALG-1, D-ALG-2.
    fn txid(&self, share: &Submitted) -> [u8; 32] {
        coinbase_txid(self.parts.prefix(), share.extranonce.as_slice(), &[], self.parts.suffix())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::super::Out;
    use super::super::testing::*;
    use super::super::{ANSWER_LEN, Reason};
    use super::*;
    use crate::message::ChannelKind;
    use crate::message::mining::{ToClient, ToServer};
    use crate::mining::lanes;

    #[test]
    fn a_batch_is_bounded() {
        let mut batch = ShareBatch::<crate::storage::Inline>::default();
        let close = crate::message::mining::CloseChannel { channel_id: 1, reason_code: "".into() };
        assert_eq!(Submitted::of(&ToServer::CloseChannel(close)), None);
        for n in 0..SHARE_BATCH_INLINE {
            assert_eq!(batch.len(), n);
            assert_eq!(batch.push(Submitted::from(&share(1, 1, n as u32))), Ok(()));
        }
        assert!(batch.push(Submitted::from(&share(1, 1, 99))).is_err() && batch.len() == batch.bound());
        batch.truncate(3);
        assert_eq!(batch.len(), 3);
        batch.clear();
        assert!(batch.is_empty());
    }

    #[test]
    fn every_answer_has_the_room_that_is_said() {
        let mut bench = Bench::draft();
        let rejections = Reason::ALL.map(|reason| Rejection { channel_id: 1, sequence_number: 1, reason });
        let longest = rejections.map(|rejection| {
            Out::plain(&mut bench.output, bench.revision).send(&rejection.answer()).unwrap();
            let len = bench.output.len();
            bench.output.consume(len).unwrap();
            len
        });
        assert_eq!(longest.iter().max(), Some(&(ANSWER_LEN - 18)), "without a record");
    }

    /// Hashes of the batch before say nothing about this one.
    #[test]
    fn a_share_that_nobody_hashed_is_not_accepted() {
        let mut bench = Bench::draft();
        let (first, job) = bench.ready(ChannelKind::Standard);
        let (second, other) = bench.ready(ChannelKind::Standard);
        let mut batch = ShareBatch::default();
        let mut check = |channel, job, hash| {
            batch.clear();
            batch.push(Submitted::of(&standard(channel, job, 1)).unwrap()).unwrap();
            bench.server.prepare_batch(bench.now, &bench.shared, &mut batch);
            if hash {
                batch.hash(lanes::fold_paths::<4>, lanes::hash_headers::<4>);
            }
            bench.server.conclude_batch(bench.now, &mut bench.shared, &mut batch);
            batch.next_concluded().unwrap().map(|(share, _)| share.ticket).map_err(|rejection| rejection.reason)
        };
        assert_eq!(check(first, job, true), Ok(1));
        assert_eq!(check(second, other, false), Err(Reason::Difficulty));
        assert_eq!(check(second, other, true), Ok(2));
    }

    /// D-MIN-6: what ends between the halves ends its shares, and only those; a share that comes twice in one batch counts once.
    #[test]
    fn what_happens_between_the_halves_counts() {
        for block in [false, true] {
            let mut bench = Bench::draft();
            let (kept, job) = bench.ready(ChannelKind::Extended);
            let (closed, other) = bench.ready(ChannelKind::Standard);
            let shares = [
                extended(kept, job, 1, &[0; 5]),
                standard(closed, other, 1),
                extended(kept, 4_711, 1, &[0; 5]),
                extended(kept, job, 1, &[0; 5]),
                extended(kept, job, 2, &[0; 5]),
            ];
            let mut batch = ShareBatch::default();
            for share in &shares {
                batch.push(Submitted::of(share).unwrap()).unwrap();
            }
            bench.server.prepare_batch(bench.now, &bench.shared, &mut batch);
            batch.hash(lanes::fold_paths::<4>, lanes::hash_headers::<4>);
            if block {
                bench.block(9);
            }
            let close = crate::message::mining::CloseChannel { channel_id: closed, reason_code: "".into() };
            assert!(bench.receive(&ToServer::CloseChannel(close)).is_ok());
            let mut seen = Vec::new();
            bench.server.conclude_batch(bench.now, &mut bench.shared, &mut batch);
            while let Some(next) = batch.next_concluded() {
                seen.push(next.map(|(share, _)| share.ticket).map_err(|rejection| rejection.reason));
            }
            let live = |ticket| if block { Err(Reason::Stale) } else { ticket };
            assert_eq!(
                seen,
                [
                    live(Ok(1)),
                    Err(Reason::InvalidChannel),
                    Err(Reason::InvalidJob),
                    live(Err(Reason::Duplicate)),
                    live(Ok(2))
                ]
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// D-SHARE-4, D-SHARE-6, D-ALG-3: good and bad shares of two channels and two jobs get in a batch of any size what each would have got alone.
        #[test]
        fn a_batch_says_what_each_share_alone_would_have_heard(
            picks in proptest::collection::vec((0_u8..6, 0_u32..20), 1..60), at_once in 1_usize..=SHARE_BATCH_INLINE,
        ) {
            static EXTRANONCES: [[u8; 5]; 6] = [[0; 5], [1; 5], [2; 5], [3; 5], [4; 5], [5; 5]];
            let outcome = |at_once| {
                let mut bench = Bench::draft();
                let (extended_channel, first) = bench.ready(ChannelKind::Extended);
                let (standard_channel, other) = bench.ready(ChannelKind::Standard);
                bench.job(false);
                let second = bench.sent().iter().find_map(|message| match message {
                    ToClient::NewExtendedMiningJob(job) if job.channel_id == extended_channel => Some(job.job_id),
                    _ => None,
                }).unwrap();
                let shares: Vec<_> = picks.iter().map(|(kind, n)| match kind {
                    0 => standard(standard_channel, other, *n),
                    1 => extended(extended_channel, second, *n, &EXTRANONCES[5]),
                    2 => extended(extended_channel, first, *n, &EXTRANONCES[5][..4]),
                    3 => extended(extended_channel, 4_711, *n, &EXTRANONCES[5]),
                    _ => extended(extended_channel, first, *n, &EXTRANONCES[usize::from(*kind)]),
                }).collect();
                let seen = check(&mut bench, &shares, at_once);
                bench.sent();
                (seen, bench.server.channels().map(|channel| *channel.statistics()).collect::<Vec<_>>())
            };
            let alone = outcome(None);
            prop_assert_eq!(outcome(Some(at_once)), alone.clone());
            prop_assert_eq!(outcome(Some(0)), alone);
        }
    }
}
