//! The channels of a connection in places that do not move, found by id in one step, and a queue through them.
//!
//! A channel's id is its place and how often the place was used before, so that an id never means another channel later
//! (D-CHAN-1). Group ids are the numbers that no place has.

use super::Channel;
use crate::config::{CHANNELS_HEAP, CHANNELS_INLINE};
use crate::storage::{List, Storage};

/// No place.
const NONE: u16 = u16::MAX;

/// Places are numbered from 1 in the low half of an id, so that 0 is free for group ids.
const _: () = assert!(CHANNELS_INLINE <= CHANNELS_HEAP && CHANNELS_HEAP < NONE as usize);

struct Slot<S: Storage> {
    channel: Option<Channel<S>>,
    /// How many channels this place had before.
    used: u16,
    /// The next one in the queue, or the next free place.
    next: u16,
    /// The one before it in the queue.
    previous: u16,
    queued: bool,
}

/// Where an open channel is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) at: u16,
    /// Whether it is in the queue already.
    pub(super) queued: bool,
}

pub(super) struct Slots<S: Storage> {
    places: S::List<Slot<S>, CHANNELS_INLINE, CHANNELS_HEAP>,
    len: u16,
    /// Places whose channel closed.
    free: u16,
    /// Channels that have something pending, first and last.
    head: u16,
    tail: u16,
    queued: u16,
}

impl<S: Storage> Default for Slots<S> {
    fn default() -> Self {
        Self { places: Default::default(), len: 0, free: NONE, head: NONE, tail: NONE, queued: 0 }
    }
}

/// The id of the `n`th group of a connection, from 1.
pub(super) const fn group_id(n: u16) -> u32 {
    (n as u32) << 16
}

const fn id(index: u16, used: u16) -> u32 {
    (used as u32) << 16 | (index as u32 + 1)
}

/// The place in an id; out of bounds for ids of groups.
const fn index(id: u32) -> u16 {
    ((id & 0xffff) as u16).wrapping_sub(1)
}

impl<S: Storage> Slots<S> {
    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn has_room(&self) -> bool {
        self.free != NONE || !self.places.is_full()
    }

    /// The id that [`Self::insert`] will give next.
    pub(super) fn next_id(&self) -> u32 {
        match self.places.get(usize::from(self.free)) {
            Some(slot) => id(self.free, slot.used),
            None => id(self.places.len() as u16, 0),
        }
    }

    /// Puts a channel into a place; gives it back when there is none.
    #[allow(
        clippy::result_large_err,
        reason = "a channel owns its number in the extranonce space, so it must not get lost"
    )]
    pub(super) fn insert(&mut self, channel: Channel<S>) -> Result<u32, Channel<S>> {
        let new_id = self.next_id();
        if let Some(slot) = self.places.get_mut(usize::from(self.free)) {
            self.free = slot.next;
            slot.next = NONE;
            slot.channel = Some(channel);
        } else {
            let slot = Slot { channel: Some(channel), used: 0, next: NONE, previous: NONE, queued: false };
            if let Err(slot) = self.places.push(slot) {
                // It was filled a line above.
                return slot.channel.map_or(Ok(new_id), Err);
            }
        }
        self.len += 1;
        Ok(new_id)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Channel<S>> {
        let place = index(id);
        self.get(id)?;
        self.unqueue(place);
        let slot = self.places.get_mut(usize::from(place))?;
        let channel = slot.channel.take();
        self.len = self.len.saturating_sub(1);
        // A place that was used 65,536 times is not used again: its ids would mean something else.
        if let Some(used) = slot.used.checked_add(1) {
            slot.used = used;
            slot.next = self.free;
            self.free = place;
        }
        channel
    }

    pub(super) fn id_at(&self, at: u16) -> Option<u32> {
        let slot = self.places.get(usize::from(at))?;
        slot.channel.as_ref().map(|_| id(at, slot.used))
    }

    /// The place of an open channel.
    pub(super) fn index_of(&self, wanted: u32) -> Option<u16> {
        let at = index(wanted);
        (self.id_at(at) == Some(wanted)).then_some(at)
    }

    pub(super) fn get(&self, id: u32) -> Option<&Channel<S>> {
        self.at(self.index_of(id)?)
    }

    pub(super) fn at(&self, at: u16) -> Option<&Channel<S>> {
        self.places.get(usize::from(at))?.channel.as_ref()
    }

    pub(super) fn at_mut(&mut self, at: u16) -> Option<&mut Channel<S>> {
        self.places.get_mut(usize::from(at))?.channel.as_mut()
    }

    /// An open channel with its place.
    pub(super) fn open_mut(&mut self, wanted: u32) -> Option<(Place, &mut Channel<S>)> {
        let at = index(wanted);
        let slot = self.places.get_mut(usize::from(at))?;
        if id(at, slot.used) != wanted {
            return None;
        }
        let place = Place { at, queued: slot.queued };
        slot.channel.as_mut().map(|channel| (place, channel))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel<S>> {
        self.places.iter().filter_map(|slot| slot.channel.as_ref())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel<S>> {
        self.places.iter_mut().filter_map(|slot| slot.channel.as_mut())
    }

    /// All places, used or not.
    pub(super) fn indexes(&self) -> core::ops::Range<u16> {
        0..self.places.len() as u16
    }

    /// Channels in the queue.
    pub(super) const fn queued(&self) -> u16 {
        self.queued
    }

    /// Puts a channel at the end of the queue, unless it is in it.
    pub(super) fn enqueue(&mut self, at: u16) {
        let Some(slot) = self.places.get_mut(usize::from(at)) else { return };
        if slot.channel.is_none() || core::mem::replace(&mut slot.queued, true) {
            return;
        }
        (slot.next, slot.previous) = (NONE, self.tail);
        match self.places.get_mut(usize::from(self.tail)) {
            Some(tail) => tail.next = at,
            None => self.head = at,
        }
        self.tail = at;
        self.queued += 1;
    }

    /// The first channel in the queue, which stays there.
    pub(super) const fn front(&self) -> Option<u16> {
        if self.head == NONE { None } else { Some(self.head) }
    }

    /// Takes the first channel out of the queue.
    pub(super) fn dequeue(&mut self) -> Option<u16> {
        let first = self.front()?;
        self.unqueue(first);
        Some(first)
    }

    /// Takes a channel out, wherever in the queue it is; without a walk, for a client may close thousands of them, each while all have news.
    fn unqueue(&mut self, at: u16) {
        let Some(slot) = self.places.get_mut(usize::from(at)).filter(|slot| slot.queued) else { return };
        slot.queued = false;
        let next = core::mem::replace(&mut slot.next, NONE);
        let previous = core::mem::replace(&mut slot.previous, NONE);
        match self.places.get_mut(usize::from(previous)) {
            Some(slot) => slot.next = next,
            None => self.head = next,
        }
        match self.places.get_mut(usize::from(next)) {
            Some(slot) => slot.previous = previous,
            None => self.tail = previous,
        }
        self.queued = self.queued.saturating_sub(1);
    }
}

#[cfg(feature = "alloc")]
impl Slots<crate::storage::Heap> {
    /// Bytes on the heap, those of the channels included.
    pub(super) fn heap_bytes(&self) -> usize {
        let channels = self.iter().map(|channel| channel.jobs.heap_bytes() + channel.duplicates.heap_bytes());
        self.places.heap_bytes() + channels.sum::<usize>()
    }
}
