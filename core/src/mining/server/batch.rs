//! Shares that are checked together, so that their hashes are worked out in lanes.
//!
//! A batch holds shares of one connection in the order in which they came, and everything happens to them in that order: what is said of each
//! is what would have been said had it come alone. The hashing itself is the owner's: outside of locks, in as many lanes as its processor has.

use super::channel::JobSource;
use super::shares::{Prepared, Rejection, Submitted};
use super::{MiningServer, Shared};
use crate::config::{SHARE_BATCH_HEAP, SHARE_BATCH_INLINE};
use crate::mining::job::Parts;
use crate::mining::merkle::coinbase_txid;
use crate::storage::{List, Storage};
use crate::time::Instant;
use crate::wire::U256;

/// A list with a place for each share of a batch.
type Each<T, S> = <S as Storage>::List<T, SHARE_BATCH_INLINE, SHARE_BATCH_HEAP>;

/// Shares of one connection that are checked together. Reuses its memory.
///
/// In this order: [`push`](Self::push) what came, [`MiningServer::prepare_batch`], [`hash`](Self::hash), [`next_hashed`](Self::next_hashed)
/// until there is none, [`clear`](Self::clear).
pub struct ShareBatch<S: Storage> {
    shares: Each<Submitted, S>,
    prepared: Each<Result<Prepared, Rejection>, S>,
    roots: Each<[u8; 32], S>,
    headers: Each<[u8; 80], S>,
    hashes: Each<[u8; 32], S>,
    fold: Fold<S>,
    /// How many were taken out, and how many of them were hashed.
    taken: usize,
    hashed: usize,
}

impl<S: Storage> Default for ShareBatch<S> {
    fn default() -> Self {
        Self {
            shares: Default::default(),
            prepared: Default::default(),
            roots: Default::default(),
            headers: Default::default(),
            hashes: Default::default(),
            fold: Fold::default(),
            taken: 0,
            hashed: 0,
        }
    }
}

impl<S: Storage> core::fmt::Debug for ShareBatch<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ShareBatch").field("shares", &self.shares.len()).finish_non_exhaustive()
    }
}

impl<S: Storage> ShareBatch<S> {
    /// Most shares of one batch.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.shares.bound()
    }

    /// Shares in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Takes a share in; gives it back when the batch is full.
    pub fn push(&mut self, share: Submitted) -> Result<(), Submitted> {
        self.shares.push(share)
    }

    /// Keeps the first `len` shares.
    pub fn truncate(&mut self, len: usize) {
        self.shares.truncate(len);
    }

    /// Empties it for the next shares.
    pub fn clear(&mut self) {
        self.shares.clear();
        self.prepared.clear();
        self.headers.clear();
        (self.taken, self.hashed) = (0, 0);
    }

    /// Works out all hashes. `fold` puts merkle paths onto coinbase ids (D-ALG-3): a path, deepest hash first, and the ids, each of which
    /// becomes its root. `hash` puts the SHA-256d of each header into the place beside it. [`lanes`](crate::mining::lanes) has both.
    pub fn hash(
        &mut self,
        fold: impl FnOnce(&[U256], &mut [[u8; 32]]),
        hash: impl FnOnce(&[[u8; 80]], &mut [[u8; 32]]),
    ) {
        self.roots.clear();
        for share in self.prepared.iter().flatten().filter(|share| share.folds) {
            // There is a place for each share.
            let _ = self.roots.push(self.fold.txid(share));
        }
        if !self.roots.is_empty() {
            fold(self.fold.parts.path(), &mut self.roots);
        }
        let folding = self.prepared.iter_mut().flatten().filter(|share| share.folds);
        for (share, root) in folding.zip(self.roots.iter()) {
            share.set_merkle_root(root);
            share.folds = false;
        }
        self.headers.clear();
        for share in self.prepared.iter().flatten() {
            let _ = self.headers.push(*share.header_bytes());
        }
        // Without memory for it a share goes unhashed, and meets no target.
        while self.hashes.len() < self.headers.len() && self.hashes.push([0; 32]).is_ok() {}
        hash(&self.headers, &mut self.hashes);
    }

    /// The next share with its hash, for [`MiningServer::conclude`]; or why it is bad without one.
    pub fn next_hashed(&mut self) -> Option<Result<(&Prepared, &[u8; 32]), Rejection>> {
        let next = self.prepared.get(self.taken)?;
        self.taken += 1;
        Some(match next {
            Err(rejection) => Err(*rejection),
            Ok(share) => {
                let hash = self.hashes.get(self.hashed);
                self.hashed += 1;
                // A share that nobody hashed meets no target.
                Ok((share, hash.unwrap_or(&[0xff; 32])))
            }
        })
    }
}

impl<S: Storage> MiningServer<S> {
    /// The first half of checking a batch: everything but the hashes. What is bad is answered in its turn, so nothing is sent here.
    pub fn prepare_batch(&mut self, now: Instant, shared: &Shared<S>, batch: &mut ShareBatch<S>) {
        batch.prepared.clear();
        batch.fold.job = None;
        for share in batch.shares.iter() {
            let prepared = self.prepare(now, shared, share, Some(&mut batch.fold));
            let _ = batch.prepared.push(prepared);
        }
    }
}

/// Coinbase and merkle path of one job, copied so that roots can be worked out outside of the pool's lock. The job is that of the batch's
/// first share; shares of another one, which come with a new job, have their roots worked out one by one.
pub(super) struct Fold<S: Storage> {
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
    pub(super) fn is_of(&mut self, source: JobSource, id: u32, parts: &Parts<S>) -> bool {
        // Jobs of the book are the same for all channels, custom ones are known by their number.
        let job = (source, if source == JobSource::Custom { id } else { 0 });
        if self.job.is_none() && self.parts.copy(parts).is_ok() {
            self.job = Some(job);
        }
        self.job == Some(job)
    }

    /// D-ALG-1, D-ALG-2.
    fn txid(&self, share: &Prepared) -> [u8; 32] {
        coinbase_txid(self.parts.prefix(), share.extranonce().as_slice(), &[], self.parts.suffix())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::super::Out;
    use super::super::testing::*;
    use super::super::{ANSWER_LEN, Accepted, Reason, Received};
    use super::*;
    use crate::message::ChannelKind;
    use crate::message::mining::{ToClient, ToServer};
    use crate::mining::lanes;

    /// All shares in batches of `at_once`, or each alone for 0.
    fn check(bench: &mut Bench, shares: &[ToServer<'static>], at_once: usize) -> Vec<Result<Accepted, Rejection>> {
        let mut seen = Vec::new();
        if at_once == 0 {
            for share in shares {
                seen.push(match bench.receive(share).unwrap() {
                    Received::Share(share) => {
                        bench.server.conclude(bench.now, &mut bench.shared, &share, &share.hash())
                    }
                    Received::Rejected(rejection) => Err(rejection),
                    other => panic!("{other:?}"),
                });
            }
            return seen;
        }
        let mut batch = ShareBatch::default();
        for some in shares.chunks(at_once) {
            batch.clear();
            for share in some {
                batch.push(Submitted::of(share).unwrap()).unwrap();
            }
            bench.server.prepare_batch(bench.now, &bench.shared, &mut batch);
            batch.hash(lanes::fold_paths::<4>, lanes::hash_headers::<4>);
            while let Some(next) = batch.next_hashed() {
                seen.push(next.and_then(|(share, hash)| {
                    assert_eq!(share.hash(), *hash);
                    bench.server.conclude(bench.now, &mut bench.shared, share, hash)
                }));
            }
        }
        seen
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut batch = ShareBatch::<crate::storage::Inline>::default();
        let close = crate::message::mining::CloseChannel { channel_id: 1, reason_code: "".into() };
        assert_eq!(Submitted::of(&ToServer::CloseChannel(close)), None);
        for n in 0..SHARE_BATCH_INLINE {
            assert_eq!(batch.len(), n);
            assert_eq!(batch.push((&share(1, 1, n as u32)).into()), Ok(()));
        }
        assert!(batch.push((&share(1, 1, 99)).into()).is_err() && batch.len() == batch.bound());
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
            while let Some(next) = batch.next_hashed() {
                let concluded =
                    next.and_then(|(share, hash)| bench.server.conclude(bench.now, &mut bench.shared, share, hash));
                seen.push(concluded.map(|share| share.ticket).map_err(|rejection| rejection.reason));
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
            let alone = outcome(0);
            prop_assert_eq!(outcome(at_once), alone);
        }
    }
}
