//! The order of what clients want room for, where setting it takes a thread that may wait.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use adit::template::Constraints;

/// Rooms that are still to be set, oldest first: threads that run at the same time take them in the order in which they were wished for, whichever
/// thread comes first.
#[derive(Debug, Default)]
pub(crate) struct Wishes(Mutex<VecDeque<Constraints>>);

impl Wishes {
    /// Another one. For each, somebody calls [`Self::next`] later.
    pub(crate) fn add(&self, room: Constraints) {
        self.queue().push_back(room);
    }

    /// The oldest. Ask under the lock that guards what is set by it, or the order is lost again.
    pub(crate) fn next(&self) -> Option<Constraints> {
        self.queue().pop_front()
    }

    /// Whether nothing waits.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Constraints>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
