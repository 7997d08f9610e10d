//! From work to headers: nonces are rolled by the engine, then the version, then the time.
//!
//! New work replaces the old at once; what the engine found for a header that was replaced a moment ago is still sent if its job is
//! the same, and refused by the device if it is not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adit::mining::client::{Solution, Work};
use adit_tokio::clock::Clock;
use adit_tokio::{queue, watch};
use tokio::sync::mpsc;

use crate::hash::{Engine, Event, Work as HeaderWork};

/// Headers whose results may still come after another one replaced them.
const REMEMBERED: usize = 8;

/// How often hashes are counted, and time is looked at when every version of a job is used up.
const TICK: Duration = Duration::from_millis(100);

/// A header under search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    work: Work,
    version: u32,
    ntime: u32,
}

/// The engine and what it works on.
pub(crate) struct Rolling {
    engine: Engine,
    clock: Clock,
    hashes: Arc<AtomicU64>,
    counted: u64,
    /// With their tags, newest last.
    headers: VecDeque<(u64, Header)>,
    tag: u64,
    /// Every version of the present time was searched: wait for the next second.
    used_up: bool,
}

impl Rolling {
    /// An engine without work. Its hashes are counted in `hashes`.
    pub(crate) fn new(engine: Engine, clock: Clock, hashes: Arc<AtomicU64>) -> Self {
        Self { engine, clock, hashes, counted: 0, headers: VecDeque::new(), tag: 0, used_up: false }
    }

    /// Searches whatever work there is, until nobody gives work or takes solutions any more. `results` is what the engine reports to.
    pub(crate) async fn run(
        mut self,
        mut work: watch::Receiver<Option<Work>>,
        mut results: mpsc::Receiver<Event>,
        solutions: queue::Sender<Solution>,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        work.mark_changed();
        loop {
            tokio::select! {
                biased;
                changed = work.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let new = *work.borrow_and_update();
                    self.take(new);
                }
                result = results.recv() => match result {
                    Some(Event::Found { tag, nonce, .. }) => {
                        let Some(solution) = self.solution(tag, nonce) else { continue };
                        if solutions.send(solution).await.is_err() {
                            return;
                        }
                    }
                    Some(Event::Exhausted { tag }) => self.exhausted(tag),
                    None => return,
                },
                _ = ticks.tick() => {
                    self.count();
                    self.second_passed();
                }
            }
        }
    }

    /// New work, or none.
    fn take(&mut self, work: Option<Work>) {
        self.used_up = false;
        if let Some(work) = work {
            let ntime = work.max_ntime(self.clock.now());
            self.search(Header { version: work.version, ntime, work });
        } else {
            self.headers.clear();
            self.engine.set_work(None);
        }
    }

    fn search(&mut self, header: Header) {
        self.tag += 1;
        if self.headers.len() == REMEMBERED {
            self.headers.pop_front();
        }
        self.headers.push_back((self.tag, header));
        self.engine.set_work(Some(HeaderWork {
            tag: self.tag,
            header: header.work.header(header.version, header.ntime, 0).to_bytes(),
            target: header.work.target,
            nonces: 0..=u32::MAX,
        }));
    }

    fn solution(&self, tag: u64, nonce: u32) -> Option<Solution> {
        let (_, header) = self.headers.iter().find(|(known, _)| *known == tag)?;
        Some(header.work.solution(header.version, header.ntime, nonce))
    }

    /// Every nonce of the newest header was tried: the next version, or else the next second.
    fn exhausted(&mut self, tag: u64) {
        let Some((newest, header)) = self.headers.back().copied() else { return };
        if tag != newest {
            return;
        }
        if let Some(version) = next_version(header.work.version, header.version, header.work.version_mask) {
            self.search(Header { version, ..header });
        } else {
            self.used_up = true;
            self.second_passed();
        }
    }

    /// Goes on with a later time where all of an earlier one was searched and a later one is allowed (D-SHARE-2).
    fn second_passed(&mut self) {
        let Some((_, header)) = self.headers.back().copied() else { return };
        let latest = header.work.max_ntime(self.clock.now());
        if self.used_up && latest > header.ntime {
            self.used_up = false;
            self.search(Header { version: header.work.version, ntime: latest, ..header });
        }
    }

    fn count(&mut self) {
        let now = self.engine.hashes().fold(0, u64::wrapping_add);
        self.hashes.fetch_add(now.wrapping_sub(self.counted), Ordering::Relaxed);
        self.counted = now;
    }
}

/// The version after this one, when the bits of the mask count upwards from those of the job's version; none after the last.
fn next_version(first: u32, version: u32, mask: u32) -> Option<u32> {
    // Adding to a number whose other bits are all set carries across them.
    let next = (version | !mask).wrapping_add(1) & mask | version & !mask;
    (next != first).then_some(next)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use adit::mining::extranonce::ExtranoncePrefix;
    use adit::mining::header::VERSION_MASK_BIP320;
    use adit::mining::target::Target;
    use adit::time::{Instant, UnixTime};
    use proptest::prelude::*;

    use super::*;
    use crate::hash::Method;

    fn work(serial: u64, target: Target) -> Work {
        Work {
            serial,
            channel_id: 1,
            job_id: 7,
            version: 0x2000_0000,
            version_mask: VERSION_MASK_BIP320,
            prev_hash: [3; 32],
            merkle_root: [4; 32],
            min_ntime: 1_800_000_000,
            since: Instant::ORIGIN,
            nbits: 0x207f_ffff,
            target,
            extranonce: ExtranoncePrefix::default(),
        }
    }

    fn rolling() -> (Rolling, mpsc::Receiver<Event>) {
        let (sender, results) = mpsc::channel(16);
        let engine = Engine::start(NonZeroUsize::MIN, Method::Portable, &sender).unwrap();
        (Rolling::new(engine, Clock::start_at(UnixTime::from_secs(1_800_000_000)), Arc::default()), results)
    }

    #[tokio::test]
    async fn what_is_found_meets_the_target_of_its_work() {
        let (rolling, results) = rolling();
        let hashes = Arc::clone(&rolling.hashes);
        let target = Target::from_expected_hashes(4_096.0).unwrap();
        let (work_sender, work_receiver) = watch::channel(Some(work(1, target)));
        let (sender, mut solutions) = queue::channel(4);
        let running = tokio::spawn(rolling.run(work_receiver, results, sender));
        for serial in 1..=3 {
            let work = work(serial, target);
            work_sender.send_replace(Some(work));
            let found = loop {
                let found = solutions.recv().await.unwrap();
                if found.serial == serial {
                    break found;
                }
            };
            let header = work.header(found.version, found.ntime, found.nonce);
            assert!(target.is_met_by(&header.hash()));
            assert!(found.ntime >= work.min_ntime);
        }
        drop(work_sender);
        running.await.unwrap();
        drop(hashes);
    }

    /// D-ALG-9, D-SHARE-2
    #[tokio::test(start_paused = true)]
    async fn versions_come_before_time_and_time_waits_for_the_clock() {
        let (mut rolling, _results) = rolling();
        rolling.take(Some(Work { version_mask: 0x2000, ..work(1, Target::ZERO) }));
        let newest =
            |rolling: &Rolling| rolling.headers.back().map(|(tag, header)| (*tag, header.version, header.ntime));
        let (tag, version, ntime) = newest(&rolling).unwrap();
        assert_eq!((version, ntime), (0x2000_0000, 1_800_000_000));
        rolling.exhausted(tag - 1);
        assert_eq!(newest(&rolling).unwrap().0, tag, "only the newest header's end matters");
        rolling.exhausted(tag);
        let (tag, version, ntime) = newest(&rolling).unwrap();
        assert_eq!((version, ntime), (0x2000_2000, 1_800_000_000));
        rolling.exhausted(tag);
        assert!(rolling.used_up, "no second has passed yet");
        tokio::time::advance(Duration::from_secs(2)).await;
        rolling.second_passed();
        let (_, version, ntime) = newest(&rolling).unwrap();
        assert_eq!((version, ntime), (0x2000_0000, 1_800_000_002));
    }

    #[tokio::test(start_paused = true)]
    async fn without_work_nothing_is_remembered() {
        let (mut rolling, _results) = rolling();
        for serial in 0..20 {
            rolling.take(Some(work(serial, Target::ZERO)));
        }
        assert_eq!(rolling.headers.len(), REMEMBERED);
        assert!(rolling.solution(rolling.tag, 5).is_some());
        assert!(rolling.solution(1, 5).is_none());
        rolling.take(None);
        assert!(rolling.solution(rolling.tag, 5).is_none());
    }

    proptest! {
        /// D-ALG-9: every version of the mask comes once, and nothing else changes.
        #[test]
        fn each_version_comes_once(first: u32, bits in proptest::collection::vec(0_u32..32, 0..7)) {
            let mask = bits.iter().fold(0_u32, |mask, bit| mask | 1 << bit);
            let mut seen = std::collections::HashSet::from([first]);
            let mut version = first;
            while let Some(next) = next_version(first, version, mask) {
                prop_assert_eq!(next & !mask, first & !mask);
                prop_assert!(seen.insert(next));
                version = next;
            }
            prop_assert_eq!(seen.len(), 1 << mask.count_ones());
        }
    }
}
