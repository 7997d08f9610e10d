//! How many solutions of one client wait for their verdicts.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::{config::SOLUTIONS_HEAP, host::wake::Signal};

/// Solutions of one client that wait for their verdicts at most: as many as a pool holds. Where blocks cost work nobody finds so many on one tip;
/// where they cost none, on a test network, a client can make as many as it likes.
pub const PLACES: usize = SOLUTIONS_HEAP;

/// A client's places, as its task has them.
#[derive(Debug)]
pub(super) struct Places {
    places: Arc<Shared>,
    /// That all were taken was said before.
    told: bool,
}

#[derive(Debug)]
struct Shared {
    taken: AtomicUsize,
    /// Of the client's task.
    signal: Arc<Signal>,
}

/// A solution's place among those of its client that wait for their verdicts. Dropping it makes room for the next one.
#[derive(Debug)]
#[must_use = "a place is given back when it is dropped"]
pub struct Place(Arc<Shared>);

impl Places {
    pub(super) fn new(signal: &Arc<Signal>) -> Self {
        Self { places: Arc::new(Shared { taken: AtomicUsize::new(0), signal: Arc::clone(signal) }), told: false }
    }

    /// One more, whether or not there is one: what was read is handed on.
    pub(super) fn take(&self) -> Place {
        self.places.taken.fetch_add(1, SeqCst);
        Place(Arc::clone(&self.places))
    }

    /// Whether nothing more is to be read.
    pub(super) fn are_taken(&self) -> bool {
        self.places.taken.load(SeqCst) >= PLACES
    }

    /// Says yes once.
    pub(super) fn is_first_time(&mut self) -> bool {
        !core::mem::replace(&mut self.told, true)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, SeqCst);
        self.0.signal.wake();
    }
}
