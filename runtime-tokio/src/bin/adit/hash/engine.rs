//! Threads that look for nonces.
//!
//! Work is handed over in a mutex that a thread takes once for each new piece of work; between batches of [`BATCH`] nonces it only
//! reads one atomic, so new work preempts old within a millisecond or so, and threads share a range by adding to another atomic.

use std::io;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Atomic};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use adit::mining::lanes::Midstate;
use adit::mining::target::Target;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::Method;

/// Nonces that a thread tries before it looks whether there is something better to do: 0.05 ms with AVX-512, 1.2 ms with the slowest method.
const BATCH: u32 = 1_024;
/// How long a thread with a result waits before it tries a full channel again.
const FULL: Duration = Duration::from_millis(1);

/// A header to find nonces for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Chosen by the owner and given back with everything that comes of this work.
    pub(crate) tag: u64,
    /// The 80 bytes as they are hashed; the nonce in the last four is replaced.
    pub(crate) header: [u8; 80],
    /// The highest hash that counts.
    pub(crate) target: Target,
    /// Nonces to try.
    pub(crate) nonces: RangeInclusive<u32>,
}

/// What comes of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A nonce whose hash is at or below the target.
    Found {
        /// [`Work::tag`].
        tag: u64,
        /// The nonce.
        nonce: u32,
        /// SHA-256d of the header with it, little-endian.
        hash: [u8; 32],
    },
    /// Every nonce is handed out; said once for each work. The last batches may still be running: what they find comes after this.
    Exhausted {
        /// [`Work::tag`].
        tag: u64,
    },
}

/// Work that runs: what its threads share.
struct Running {
    tag: u64,
    midstate: Midstate,
    target: Target,
    /// The target's most significant 32 bits.
    top: u32,
    /// The next nonce that nobody tries yet; beyond `last` when there is none. Wider than a nonce, so that adding never wraps.
    next: AtomicU64,
    last: u32,
    exhausted: AtomicBool,
}

#[derive(Default)]
struct Current {
    work: Option<Arc<Running>>,
    stop: bool,
}

/// A counter with a cache line of its own, so that threads that count do not slow each other down.
#[derive(Default)]
#[repr(align(64))]
struct Counter(AtomicU64);

struct Shared {
    method: Method,
    current: Mutex<Current>,
    changed: Condvar,
    /// Rises with each change of `current`.
    generation: AtomicU64,
    hashes: Box<[Counter]>,
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Current> {
        // Nothing panics while it holds the lock, and what it guards is whole at any moment.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Current)) {
        let mut current = self.current();
        change(&mut current);
        self.generation.fetch_add(1, Atomic::Release);
        drop(current);
        self.changed.notify_all();
    }
}

/// Mining threads. They end when this is dropped.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Starts `threads` threads that report to `events` and wait for work. A full channel makes them wait with what they found.
    pub(crate) fn start(threads: NonZeroUsize, method: Method, events: &Sender<Event>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            method,
            current: Mutex::default(),
            changed: Condvar::new(),
            generation: AtomicU64::new(0),
            hashes: (0..threads.get()).map(|_| Counter::default()).collect(),
        });
        // Built up in place: when one thread cannot be started, dropping this ends those that could.
        let mut engine = Self { shared, threads: Vec::with_capacity(threads.get()) };
        for index in 0..threads.get() {
            let worker = Worker { shared: Arc::clone(&engine.shared), index, events: events.clone() };
            engine.threads.push(thread::Builder::new().name(format!("hash-{index}")).spawn(move || worker.run())?);
        }
        Ok(engine)
    }

    /// Replaces what the threads work on; `None` makes them rest.
    pub(crate) fn set_work(&self, work: Option<Work>) {
        let running = work.map(|work| {
            let [.., a, b, c, d] = work.target.to_le_bytes();
            Arc::new(Running {
                tag: work.tag,
                midstate: Midstate::new(&work.header),
                target: work.target,
                top: u32::from_le_bytes([a, b, c, d]),
                next: AtomicU64::new(u64::from(*work.nonces.start())),
                last: *work.nonces.end(),
                exhausted: AtomicBool::new(false),
            })
        });
        self.shared.change(|current| current.work = running);
    }

    /// Nonces tried so far by each thread; their rise over time is the hash rate.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = u64> {
        self.shared.hashes.iter().map(|counter| counter.0.load(Atomic::Relaxed))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.change(|current| current.stop = true);
        for thread in self.threads.drain(..) {
            // It could only have failed by a panic, which it has reported itself.
            let _ = thread.join();
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    index: usize,
    events: Sender<Event>,
}

/// The owner has gone, or wants the threads to end.
struct Stopped;

impl Worker {
    fn run(self) {
        let mut seen = None;
        let mut found = Vec::new();
        while let Ok((generation, work)) = self.next_work(seen) {
            seen = Some(generation);
            if self.mine(generation, &work, &mut found).is_err() {
                return;
            }
        }
    }

    /// Waits for work of another generation than `seen`.
    fn next_work(&self, seen: Option<u64>) -> Result<(u64, Arc<Running>), Stopped> {
        let mut current = self.shared.current();
        loop {
            // Changed only under the lock that is held here.
            let generation = self.shared.generation.load(Atomic::Acquire);
            match &current.work {
                _ if current.stop => return Err(Stopped),
                Some(work) if seen != Some(generation) => return Ok((generation, Arc::clone(work))),
                _ => current = self.shared.changed.wait(current).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn mine(&self, generation: u64, work: &Running, found: &mut Vec<u32>) -> Result<(), Stopped> {
        while self.shared.generation.load(Atomic::Acquire) == generation {
            let first = work.next.fetch_add(u64::from(BATCH), Atomic::Relaxed);
            let Some(left) = u64::from(work.last).checked_sub(first) else {
                if !work.exhausted.swap(true, Atomic::Relaxed) {
                    self.report(Event::Exhausted { tag: work.tag })?;
                }
                return Ok(());
            };
            // Both fit: `first` is at most `last`, and a batch has few nonces.
            let (first, count) = (first as u32, (left + 1).min(u64::from(BATCH)) as u32);
            self.shared.method.search(&work.midstate, work.top, first, count, found);
            if let Some(counter) = self.shared.hashes.get(self.index) {
                counter.0.fetch_add(u64::from(count), Atomic::Relaxed);
            }
            for nonce in found.drain(..) {
                let hash = work.midstate.hash(nonce);
                if work.target.is_met_by(&hash) {
                    self.report(Event::Found { tag: work.tag, nonce, hash })?;
                }
            }
        }
        Ok(())
    }

    /// Hands an event to the owner. Waits while there is no room, but never in the way of the engine's end.
    fn report(&self, mut event: Event) -> Result<(), Stopped> {
        loop {
            match self.events.try_send(event) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => return Err(Stopped),
                Err(TrySendError::Full(back)) => event = back,
            }
            let current = self.shared.current();
            if current.stop {
                return Err(Stopped);
            }
            drop(self.shared.changed.wait_timeout(current, FULL));
        }
    }
}

#[cfg(test)]
mod tests {
    use adit::hash::sha256d_header;
    use std::collections::BTreeSet;
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    const HIGHEST: Target = Target::MAX;
    const IMPOSSIBLE: Target = Target::ZERO;

    fn engine(threads: usize, room: usize) -> (Engine, Receiver<Event>) {
        let (sender, receiver) = channel(room);
        (Engine::start(threads.try_into().expect("not zero"), Method::fastest(), &sender).expect("threads"), receiver)
    }

    fn work(tag: u64, target: Target, nonces: RangeInclusive<u32>) -> Work {
        Work { tag, header: [tag as u8; 80], target, nonces }
    }

    #[test]
    fn every_nonce_is_tried_once_by_many_threads_and_their_number_counted() {
        let (engine, mut events) = engine(3, 4);
        let nonces = u32::MAX - 5_000..=u32::MAX;
        engine.set_work(Some(work(7, HIGHEST, nonces.clone())));
        let (mut found, mut ends) = (BTreeSet::new(), 0);
        while found.len() < 5_001 || ends == 0 {
            match events.blocking_recv().expect("threads run") {
                Event::Found { tag: 7, nonce, hash } => {
                    assert!(found.insert(nonce), "{nonce} came twice");
                    let mut header = [7; 80];
                    header[76..].copy_from_slice(&nonce.to_le_bytes());
                    assert_eq!(hash, sha256d_header(&header));
                }
                Event::Exhausted { tag: 7 } => ends += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(found.into_iter().eq(nonces));
        assert_eq!(ends, 1);
        assert_eq!(engine.hashes().sum::<u64>(), 5_001);
        assert_eq!(engine.hashes().count(), 3);
        drop(engine);
        assert_eq!(events.blocking_recv(), None);
    }

    #[test]
    fn only_hashes_at_or_below_the_full_target_are_reported() {
        let hash = |nonce: u32| {
            let mut header = [1; 80];
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            sha256d_header(&header)
        };
        let target = Target::from_le_bytes(hash(77));
        let expected: BTreeSet<u32> = (0..2_000).filter(|nonce| target.is_met_by(&hash(*nonce))).collect();
        assert!(expected.contains(&77), "the bound itself counts");
        let (engine, mut events) = engine(2, 1);
        engine.set_work(Some(work(1, target, 0..=1_999)));
        let mut found = BTreeSet::new();
        let mut exhausted = false;
        while !exhausted || found.len() < expected.len() {
            match events.blocking_recv().expect("threads run") {
                Event::Found { nonce, .. } => assert!(found.insert(nonce)),
                Event::Exhausted { .. } => exhausted = true,
            }
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn new_work_preempts_old_and_no_work_rests() {
        let (engine, mut events) = engine(2, 8);
        engine.set_work(Some(work(1, IMPOSSIBLE, 0..=u32::MAX)));
        engine.set_work(None);
        engine.set_work(Some(work(2, IMPOSSIBLE, 0..=u32::MAX)));
        engine.set_work(Some(work(3, HIGHEST, 9..=9)));
        // Either may come first: one thread hashes the nonce while the other sees that none is left.
        let both = [events.blocking_recv(), events.blocking_recv()].map(|event| event.expect("threads run"));
        assert!(both.contains(&Event::Exhausted { tag: 3 }), "{both:?}");
        assert!(both.iter().any(|event| matches!(event, Event::Found { tag: 3, nonce: 9, .. })), "{both:?}");
    }

    #[test]
    fn an_engine_ends_while_nobody_reads_its_events() {
        let (engine, events) = engine(2, 1);
        engine.set_work(Some(work(1, HIGHEST, 0..=u32::MAX)));
        while events.is_empty() {
            thread::yield_now();
        }
        drop(engine);
        let (engine, events) = self::engine(2, 1);
        drop(events);
        engine.set_work(Some(work(1, HIGHEST, 0..=u32::MAX)));
    }
}
