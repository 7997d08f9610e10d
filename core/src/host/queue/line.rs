//! A queue's places, and the line of those who wait for some.

use alloc::collections::VecDeque;
use core::task::Waker;

/// Places that are free, and who waits for some.
pub(super) struct Line {
    /// Places that nobody has.
    free: usize,
    /// In the order in which they came; those that have been given some are in front. As long as the longest line there ever was, so that a wait
    /// allocates nothing of its own.
    waiting: VecDeque<Waiting>,
    /// The number of who came last.
    last: u64,
}

struct Waiting {
    number: u64,
    waker: Waker,
    /// Places that it takes at most.
    most: usize,
    /// Places that were given to it, which it has not fetched yet.
    given: usize,
}

impl Line {
    /// Nobody waits for these.
    pub(super) fn new(free: usize) -> Self {
        Self { free, waiting: VecDeque::new(), last: 0 }
    }

    /// Places that nobody has.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// Takes as many places as there are, up to `most`; none before those who wait.
    pub(super) fn take(&mut self, most: usize) -> usize {
        let taken = if self.first().is_some() { 0 } else { self.free.min(most) };
        self.free -= taken;
        taken
    }

    /// So many places are free again. Call [`Self::serve`] until it has nobody left.
    pub(super) fn give_back(&mut self, places: usize) {
        self.free += places;
    }

    /// Gives free places to the first who waits; who is to be woken then.
    pub(super) fn serve(&mut self) -> Option<Waker> {
        let free = self.free;
        let first = self.first().filter(|_| free > 0)?;
        first.given = first.most.min(free);
        let (given, waker) = (first.given, first.waker.clone());
        self.free -= given;
        Some(waker)
    }

    /// Waits behind the others for up to `most` places; gives the number in the line.
    pub(super) fn join(&mut self, most: usize, waker: &Waker) -> u64 {
        self.last += 1;
        self.waiting.push_back(Waiting { number: self.last, waker: waker.clone(), most, given: 0 });
        self.last
    }

    /// What was given to the one of this number, who leaves the line with it; 0 while it has to wait, and `None` when there is no line any more.
    pub(super) fn fetch(&mut self, number: u64, waker: &Waker) -> Option<usize> {
        let place = self.place(number)?;
        let waiting = self.waiting.get_mut(place)?;
        if waiting.given == 0 {
            waiting.waker.clone_from(waker);
            return Some(0);
        }
        let given = waiting.given;
        self.waiting.remove(place);
        Some(given)
    }

    /// Gives up waiting; what was given is free again.
    pub(super) fn leave(&mut self, number: u64) {
        if let Some(waiting) = self.place(number).and_then(|place| self.waiting.remove(place)) {
            self.free += waiting.given;
        }
    }

    /// Nobody waits any more; who did is to be woken.
    pub(super) fn dissolve(&mut self) -> impl Iterator<Item = Waker> + use<> {
        core::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.waker)
    }

    /// The first who waits and has not been given anything.
    fn first(&mut self) -> Option<&mut Waiting> {
        let given = self.waiting.partition_point(|waiting| waiting.given > 0);
        self.waiting.get_mut(given)
    }

    /// Where in the line the one of this number is.
    fn place(&self, number: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()
    }
}
