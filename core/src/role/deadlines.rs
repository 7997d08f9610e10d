//! The earliest of many deadlines without a walk: a binary heap that knows where each slot's entry is.

use crate::storage::{List, NoRoom, Storage};
use crate::time::Instant;

/// The slot has no deadline.
const NONE: u32 = u32::MAX;

/// One deadline at most for each slot of a table.
pub(super) struct Deadlines<S: Storage, const INLINE: usize, const HEAP: usize> {
    /// A binary heap: the entries at `2n + 1` and `2n + 2` are not before the one at `n`.
    heap: S::List<(Instant, u32), INLINE, HEAP>,
    /// Where in the heap each slot's entry is.
    place: S::List<u32, INLINE, HEAP>,
}

impl<S: Storage, const INLINE: usize, const HEAP: usize> Default for Deadlines<S, INLINE, HEAP> {
    fn default() -> Self {
        Self { heap: Default::default(), place: Default::default() }
    }
}

impl<S: Storage, const INLINE: usize, const HEAP: usize> Deadlines<S, INLINE, HEAP> {
    /// Makes room for one slot more, so that [`Self::set`] never fails.
    pub(super) fn add_slot(&mut self) -> Result<(), NoRoom> {
        self.place.push(NONE).map_err(|_| NoRoom)?;
        // The heap holds an entry for every slot at most; reserve the place by filling and emptying it.
        let len = self.heap.len();
        while self.heap.len() < self.place.len() {
            if self.heap.push((Instant::ORIGIN, NONE)).is_err() {
                self.heap.truncate(len);
                self.remove_last_slot();
                return Err(NoRoom);
            }
        }
        self.heap.truncate(len);
        Ok(())
    }

    /// Takes back [`Self::add_slot`].
    pub(super) fn remove_last_slot(&mut self) {
        let len = self.place.len().saturating_sub(1);
        self.place.truncate(len);
    }

    /// The earliest deadline and its slot.
    pub(super) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// Sets or clears a slot's deadline.
    pub(super) fn set(&mut self, slot: u32, at: Option<Instant>) {
        let Some(place) = self.place.get(slot as usize).copied() else { return };
        match (at, place) {
            (None, NONE) => {}
            (None, place) => {
                if let Some(known) = self.place.get_mut(slot as usize) {
                    *known = NONE;
                }
                let _removed = self.heap.swap_remove(place as usize);
                self.settle(place as usize);
            }
            (Some(at), NONE) => {
                let place = self.heap.len();
                // Room was made when the slot was added.
                let _pushed = self.heap.push((at, slot));
                self.settle(place);
            }
            (Some(at), place) => {
                if let Some(entry) = self.heap.get_mut(place as usize)
                    && entry.0 != at
                {
                    entry.0 = at;
                    self.settle(place as usize);
                }
            }
        }
    }

    fn at(&self, place: usize) -> Option<Instant> {
        self.heap.get(place).map(|(at, _)| *at)
    }

    /// Moves the entry at `place` up or down to where it belongs, and notes where all touched entries are.
    fn settle(&mut self, mut place: usize) {
        while let Some(parent) = place.checked_sub(1).map(|n| n / 2).filter(|parent| self.at(*parent) > self.at(place))
        {
            if self.at(place).is_none() {
                return;
            }
            self.swap(place, parent);
            place = parent;
        }
        loop {
            let children = [2 * place + 1, 2 * place + 2];
            let first = children.into_iter().filter_map(|child| Some((self.at(child)?, child))).min();
            match first {
                Some((at, child)) if Some(at) < self.at(place) => {
                    self.swap(place, child);
                    place = child;
                }
                _ => break,
            }
        }
        self.note(place);
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note(a);
        self.note(b);
    }

    fn note(&mut self, place: usize) {
        if let Some((_, slot)) = self.heap.get(place).copied()
            && let Some(known) = self.place.get_mut(slot as usize)
        {
            *known = place as u32;
        }
    }
}
