//! Many connections by id: where a role keeps what it knows of each peer, who has something to be sent, who wants to be
//! woken when. Nothing here depends on a protocol, and no call walks all connections unless its name says so.

use core::fmt;

use super::deadlines::Deadlines;
use crate::storage::{List, NoRoom, Storage};
use crate::time::Instant;

/// Names a connection of a role. An id is never used again: after a disconnect it names nothing, however many connections follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    serial: u64,
    slot: u32,
}

impl ConnectionId {
    /// The how-manieth connection of its role this is, from 1 on.
    #[must_use]
    pub const fn serial(self) -> u64 {
        self.serial
    }

    /// Its place, which no other connection has as long as it lives.
    #[cfg(feature = "std")]
    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.serial)
    }
}

/// End of a chain of slots.
const NONE: u32 = u32::MAX;

struct Slot<T> {
    /// Serial number of the present occupant, or of the last one.
    serial: u64,
    value: Option<T>,
    /// Neighbours in the chain this slot is in: dirty ones when occupied, free ones (forward only) when not.
    next: u32,
    previous: u32,
    dirty: bool,
}

/// Connections by id, with a queue of dirty ones and a deadline for each.
pub struct Connections<T, S: Storage, const INLINE: usize, const HEAP: usize> {
    slots: S::List<Slot<T>, INLINE, HEAP>,
    deadlines: Deadlines<S, INLINE, HEAP>,
    last_serial: u64,
    len: usize,
    free: u32,
    dirty_first: u32,
    dirty_last: u32,
}

impl<T, S: Storage, const INLINE: usize, const HEAP: usize> fmt::Debug for Connections<T, S, INLINE, HEAP> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T, S: Storage, const INLINE: usize, const HEAP: usize> Default for Connections<T, S, INLINE, HEAP> {
    fn default() -> Self {
        Self {
            slots: Default::default(),
            deadlines: Deadlines::default(),
            last_serial: 0,
            len: 0,
            free: NONE,
            dirty_first: NONE,
            dirty_last: NONE,
        }
    }
}

impl<T, S: Storage, const INLINE: usize, const HEAP: usize> Connections<T, S, INLINE, HEAP> {
    /// Number of connections.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a connection; `make` gets the id it will have.
    pub fn insert(&mut self, make: impl FnOnce(ConnectionId) -> T) -> Result<ConnectionId, NoRoom> {
        if self.free == NONE {
            let slot = u32::try_from(self.slots.len()).ok().filter(|slot| *slot != NONE).ok_or(NoRoom)?;
            self.deadlines.add_slot()?;
            if self.slots.push(Slot { serial: 0, value: None, next: NONE, previous: NONE, dirty: false }).is_err() {
                self.deadlines.remove_last_slot();
                return Err(NoRoom);
            }
            self.free = slot;
        }
        let id = ConnectionId { serial: self.last_serial + 1, slot: self.free };
        let slot = self.slots.get_mut(self.free as usize).ok_or(NoRoom)?;
        self.free = slot.next;
        slot.next = NONE;
        slot.serial = id.serial;
        slot.value = Some(make(id));
        self.last_serial = id.serial;
        self.len += 1;
        Ok(id)
    }

    fn slot(&self, id: ConnectionId) -> Option<&Slot<T>> {
        self.slots.get(id.slot as usize).filter(|slot| slot.serial == id.serial)
    }

    fn slot_mut(&mut self, id: ConnectionId) -> Option<&mut Slot<T>> {
        self.slots.get_mut(id.slot as usize).filter(|slot| slot.serial == id.serial)
    }

    /// The connection named `id`; none after its end.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<&T> {
        self.slot(id)?.value.as_ref()
    }

    /// The connection named `id`, to change it.
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut T> {
        self.slot_mut(id)?.value.as_mut()
    }

    /// Takes the connection out; its id names nothing from now on.
    pub fn remove(&mut self, id: ConnectionId) -> Option<T> {
        let slot = self.slot_mut(id)?;
        let value = slot.value.take()?;
        self.deadlines.set(id.slot, None);
        self.len -= 1;
        self.unchain(id.slot);
        if let Some(slot) = self.slots.get_mut(id.slot as usize) {
            slot.next = core::mem::replace(&mut self.free, id.slot);
        }
        Some(value)
    }

    /// All connections, oldest slot first: walks every slot.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &T)> {
        self.slots
            .iter()
            .zip(0..)
            .filter_map(|(slot, index)| Some((ConnectionId { serial: slot.serial, slot: index }, slot.value.as_ref()?)))
    }

    /// All connections, to change them: walks every slot.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut T)> {
        self.slots
            .iter_mut()
            .zip(0..)
            .filter_map(|(slot, index)| Some((ConnectionId { serial: slot.serial, slot: index }, slot.value.as_mut()?)))
    }

    /// Notes that the connection has something to be sent.
    pub fn mark_dirty(&mut self, id: ConnectionId) {
        if self.get(id).is_some() {
            self.chain(id.slot);
        }
    }

    /// Notes that the connection has nothing to be sent.
    pub fn mark_clean(&mut self, id: ConnectionId) {
        if self.get(id).is_some() {
            self.unchain(id.slot);
        }
    }

    /// Notes the same of every connection: walks every slot.
    pub fn mark_all_dirty(&mut self) {
        for index in 0..self.slots.len() as u32 {
            if self.slots.get(index as usize).is_some_and(|slot| slot.value.is_some()) {
                self.chain(index);
            }
        }
    }

    fn chain(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        if core::mem::replace(&mut slot.dirty, true) {
            return;
        }
        slot.next = NONE;
        slot.previous = self.dirty_last;
        match self.slots.get_mut(self.dirty_last as usize) {
            Some(last) => last.next = index,
            None => self.dirty_first = index,
        }
        self.dirty_last = index;
    }

    fn unchain(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index as usize).filter(|slot| slot.dirty) else { return };
        slot.dirty = false;
        let next = core::mem::replace(&mut slot.next, NONE);
        let previous = core::mem::replace(&mut slot.previous, NONE);
        match self.slots.get_mut(previous as usize) {
            Some(slot) => slot.next = next,
            None => self.dirty_first = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.previous = previous,
            None => self.dirty_last = previous,
        }
    }

    /// The next connection with something to be sent, in the order in which they were marked. It is no longer marked then.
    pub fn pop_dirty(&mut self) -> Option<ConnectionId> {
        let slot = self.dirty_first;
        let serial = self.slots.get(slot as usize)?.serial;
        self.unchain(slot);
        Some(ConnectionId { serial, slot })
    }

    /// Sets or clears when the connection wants to be woken.
    pub fn set_deadline(&mut self, id: ConnectionId, at: Option<Instant>) {
        if self.get(id).is_some() {
            self.deadlines.set(id.slot, at);
        }
    }

    /// The earliest deadline of all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| at)
    }

    /// The next connection whose deadline has come; the deadline is cleared.
    pub fn pop_due(&mut self, now: Instant) -> Option<ConnectionId> {
        let (_, slot) = self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.deadlines.set(slot, None);
        let serial = self.slots.get(slot as usize)?.serial;
        Some(ConnectionId { serial, slot })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::{BTreeMap, VecDeque};
    use std::vec::Vec;

    use super::*;
    use crate::storage::Inline;

    type Few = Connections<u32, Inline, 4, 4>;

    #[test]
    fn an_id_outlives_its_connection_without_naming_another() {
        let mut few = Few::default();
        let first = few.insert(|_| 1).expect("room");
        assert_eq!(few.remove(first), Some(1));
        let second = few.insert(|_| 2).expect("room");
        assert_eq!((first.slot, first.serial(), second.serial()), (second.slot, 1, 2));
        assert_eq!(few.get(first), None);
        assert_eq!(few.remove(first), None);
        few.mark_dirty(first);
        few.set_deadline(first, Some(Instant::ORIGIN));
        assert_eq!((few.pop_dirty(), few.next_deadline()), (None, None));
        assert_eq!(few.get(second), Some(&2));
    }

    #[test]
    fn a_full_slab_refuses_and_recovers() {
        let mut few = Few::default();
        let ids: Vec<_> = (0..4).map(|n| few.insert(|_| n).expect("room")).collect();
        assert!(few.insert(|_| 9).is_err());
        few.remove(ids[2]);
        assert!(few.insert(|_| 9).is_ok());
        assert!(few.insert(|_| 9).is_err());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert,
        Remove(usize),
        Dirty(usize),
        AllDirty,
        PopDirty,
        Deadline(usize, Option<u64>),
        PopDue(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Insert),
            2 => any::<usize>().prop_map(Step::Remove),
            3 => any::<usize>().prop_map(Step::Dirty),
            1 => Just(Step::AllDirty),
            3 => Just(Step::PopDirty),
            3 => (any::<usize>(), proptest::option::of(0..50_u64)).prop_map(|(n, at)| Step::Deadline(n, at)),
            2 => (0..50_u64).prop_map(Step::PopDue),
        ]
    }

    proptest! {
        /// Against a model of std collections.
        #[test]
        fn behaves_like_its_model(steps in proptest::collection::vec(step(), 0..200)) {
            let mut real: Connections<u64, Inline, 8, 8> = Connections::default();
            let mut model: BTreeMap<ConnectionId, Option<u64>> = BTreeMap::new();
            let mut dirty: VecDeque<ConnectionId> = VecDeque::new();
            let mut ever: Vec<ConnectionId> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert => {
                        prop_assert_eq!(real.len(), model.len());
                        if let Ok(id) = real.insert(ConnectionId::serial) {
                            prop_assert!(!ever.contains(&id));
                            ever.push(id);
                            model.insert(id, None);
                        } else {
                            prop_assert_eq!(model.len(), 8);
                        }
                    }
                    Step::Remove(n) if !ever.is_empty() => {
                        let id = ever[n % ever.len()];
                        prop_assert_eq!(real.remove(id).is_some(), model.remove(&id).is_some());
                    }
                    Step::Dirty(n) if !ever.is_empty() => {
                        let id = ever[n % ever.len()];
                        real.mark_dirty(id);
                        if model.contains_key(&id) && !dirty.contains(&id) {
                            dirty.push_back(id);
                        }
                    }
                    Step::AllDirty => {
                        real.mark_all_dirty();
                        let mut all: Vec<_> = model.keys().copied().filter(|id| !dirty.contains(id)).collect();
                        all.sort_by_key(|id| id.slot);
                        dirty.extend(all);
                    }
                    Step::PopDirty => {
                        dirty.retain(|id| model.contains_key(id));
                        prop_assert_eq!(real.pop_dirty(), dirty.pop_front());
                    }
                    Step::Deadline(n, at) if !ever.is_empty() => {
                        let id = ever[n % ever.len()];
                        real.set_deadline(id, at.map(Instant::from_secs));
                        if let Some(deadline) = model.get_mut(&id) {
                            *deadline = at;
                        }
                    }
                    Step::PopDue(now) => {
                        let earliest = model.values().flatten().min().copied();
                        prop_assert_eq!(real.next_deadline(), earliest.map(Instant::from_secs));
                        match real.pop_due(Instant::from_secs(now)) {
                            Some(id) => {
                                prop_assert_eq!(model[&id], earliest);
                                prop_assert!(earliest.is_some_and(|at| at <= now));
                                model.insert(id, None);
                            }
                            None => prop_assert!(earliest.is_none_or(|at| at > now)),
                        }
                    }
                    Step::Remove(_) | Step::Dirty(_) | Step::Deadline(..) => {}
                }
                prop_assert_eq!(real.len(), model.len());
                for (id, value) in real.iter() {
                    prop_assert!(model.contains_key(&id) && *value == id.serial());
                }
            }
        }
    }
}
