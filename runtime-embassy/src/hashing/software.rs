//! An engine in software: for emulators, tests and bring-up of a board before its chips are there.

use core::convert::Infallible;
use core::future::poll_fn;
use core::mem;
use core::task::Poll;
use core::time::Duration;

use adit::mining::client::Work;
use adit::mining::lanes::Midstate;

use super::{Engine, Found};
use crate::clock::{now, poll_due};

/// Hashes on the processor, a few at a time, and lets other tasks run between.
#[derive(Debug)]
pub struct SoftwareEngine {
    /// Hashes between two looks at other tasks.
    batch: u32,
    search: Option<Search>,
    hashes: u64,
}

/// Where in the space of a work's headers the search is: nonces first, then version bits, then seconds.
#[derive(Debug)]
struct Search {
    work: Work,
    version: u32,
    ntime: u32,
    midstate: Midstate,
    nonce: u32,
    /// All nonces of this version and time are used up.
    exhausted: bool,
}

impl Search {
    fn new(work: &Work) -> Self {
        // Bits that may change have no settled value: they begin at none.
        let (version, ntime) = (work.version & !work.version_mask, work.min_ntime);
        Self { work: *work, version, ntime, midstate: midstate(work, version, ntime), nonce: 0, exhausted: false }
    }

    /// Goes to the next version, or the next second when all versions are used up. False when that second is yet to come (D-SHARE-2).
    fn roll(&mut self) -> bool {
        let mask = self.work.version_mask;
        // Adding one with all other bits set carries over them.
        let rolled = (self.version | !mask).wrapping_add(1) & mask;
        if rolled == 0 {
            if self.ntime >= self.work.max_ntime(now()) {
                return false;
            }
            self.ntime = self.ntime.saturating_add(1);
        }
        self.version = (self.work.version & !mask) | rolled;
        self.midstate = midstate(&self.work, self.version, self.ntime);
        (self.nonce, self.exhausted) = (0, false);
        true
    }

    /// Tries up to `count` nonces.
    fn search(&mut self, count: u32, hashes: &mut u64) -> Option<Found> {
        for _ in 0..count {
            if self.exhausted {
                break;
            }
            let nonce = self.nonce;
            (self.nonce, self.exhausted) = nonce.overflowing_add(1);
            *hashes = hashes.wrapping_add(1);
            if self.work.target.is_met_by(&self.midstate.hash(nonce)) {
                let Self { version, ntime, .. } = *self;
                return Some(Found { serial: self.work.serial, version, ntime, nonce });
            }
        }
        None
    }
}

/// What all nonces of a version and a second have in common.
#[cfg_attr(target_os = "none", inline(never))]
fn midstate(work: &Work, version: u32, ntime: u32) -> Midstate {
    Midstate::new(&work.header(version, ntime, 0).to_bytes())
}

impl SoftwareEngine {
    /// An engine that does `batch` hashes between two looks at other tasks: each is some ten thousand instructions, so 16 keep a Cortex-M4 at
    /// 100 MHz from its network for under 2 ms. 0 is 1.
    #[must_use]
    pub const fn new(batch: u32) -> Self {
        Self { batch: if batch == 0 { 1 } else { batch }, search: None, hashes: 0 }
    }

    /// Hashes since the start; it wraps around.
    #[must_use]
    pub const fn hashes(&self) -> u64 {
        self.hashes
    }
}

impl Engine for SoftwareEngine {
    type Error = Infallible;

    async fn start(&mut self, work: &Work) -> Result<(), Infallible> {
        self.search = Some(Search::new(work));
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), Infallible> {
        self.search = None;
        Ok(())
    }

    async fn next(&mut self) -> Result<Found, Infallible> {
        let mut begun = false;
        poll_fn(|cx| {
            let Some(search) = &mut self.search else { return Poll::Pending };
            if search.exhausted && !search.roll() {
                // Asked again when the next second has come.
                let _later = poll_due(Some(now().saturating_add(Duration::from_secs(1))), cx);
                return Poll::Pending;
            }
            // First the others, so that a run of lucky nonces does not keep them waiting either.
            if mem::replace(&mut begun, true)
                && let Some(found) = search.search(self.batch, &mut self.hashes)
            {
                return Poll::Ready(Ok(found));
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::sleep_until;
    use crate::testing::{block_on, work};
    use adit::mining::target::Target;
    use adit::time::Instant;

    /// D-ALG-8, D-SHARE-2: nonces, then version bits within the mask, then seconds that have come; nothing twice.
    #[test]
    fn the_whole_space_is_rolled_and_nothing_else() {
        block_on(async {
            let mask = 0x0000_a000;
            let work = Work { version_mask: mask, version: 0x2000_2001, since: now(), ..work(1, Target::MAX) };
            let mut search = Search::new(&work);
            let mut seen = std::collections::BTreeSet::new();
            loop {
                assert_eq!((search.version ^ work.version) & !mask, 0);
                assert!(seen.insert((search.ntime, search.version)));
                if !search.roll() {
                    assert_eq!(seen.len(), 4, "two bits: four versions in the first second");
                    break;
                }
            }
            sleep_until(Some(Instant::from_secs(2))).await;
            while search.roll() {
                assert!(seen.insert((search.ntime, search.version)));
            }
            assert_eq!(seen.len(), 4 * 3);
        });
    }

    #[test]
    fn the_last_nonce_is_tried_and_none_after_it() {
        block_on(async {
            let mut search = Search::new(&work(1, Target::MAX));
            let mut hashes = 0;
            search.nonce = u32::MAX - 1;
            assert_eq!(search.search(9, &mut hashes).map(|found| found.nonce), Some(u32::MAX - 1));
            assert_eq!(search.search(9, &mut hashes).map(|found| found.nonce), Some(u32::MAX));
            assert_eq!(search.search(9, &mut hashes), None);
            assert_eq!(hashes, 2);
        });
    }
}
