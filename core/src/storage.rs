//! Where lists and sets live: in the value itself ([`Inline`]) or on the heap (`Heap`, feature `alloc`).
//!
//! A machine is generic over [`Storage`], so that one implementation serves a control board and a pool. Every collection has
//! two bounds: how many places it keeps inline, and how far it may grow on the heap. Both are hard: a full collection says
//! so, and never allocates past its bound. No protocol here.

#[cfg(feature = "alloc")]
mod set;

use core::fmt;
use core::hash::{BuildHasherDefault, Hasher};
use core::ops::DerefMut;

/// A collection is at its bound (or the allocator has no memory left).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the collection is at its bound")
    }
}

impl core::error::Error for NoRoom {}

/// Chooses where collections live.
pub trait Storage {
    /// Whether lists grow past their inline places.
    const GROWS: bool;

    /// A list of at most `INLINE` elements for [`Inline`], of at most `HEAP` elements for `Heap`.
    type List<T, const INLINE: usize, const HEAP: usize>: List<T>;
    /// A set of numbers with the same two bounds. `INLINE` must be a power of two.
    type Set<const INLINE: usize, const HEAP: usize>: Set;
}

/// A bounded list; reads and sorts as the slice that it derefs to.
pub trait List<T>: DerefMut<Target = [T]> + Default {
    /// How many elements the list may hold at most.
    fn bound(&self) -> usize;

    /// Appends `item`, or gives it back when the list is full.
    fn push(&mut self, item: T) -> Result<(), T>;

    /// Appends all of `items`, or nothing when they do not fit.
    fn extend_from_slice(&mut self, items: &[T]) -> Result<(), NoRoom>
    where
        T: Clone;

    /// Takes the element at `index` out and closes the gap; keeps the order.
    fn remove(&mut self, index: usize) -> Option<T>;

    /// Takes the element at `index` out and puts the last one in its place.
    fn swap_remove(&mut self, index: usize) -> Option<T>;

    /// Keeps the elements for which `keep` is true, in order.
    fn retain(&mut self, keep: impl FnMut(&T) -> bool);

    /// Drops all elements from `len` on.
    fn truncate(&mut self, len: usize);

    /// Drops all elements; memory is kept for reuse.
    fn clear(&mut self) {
        self.truncate(0);
    }

    /// True when nothing more fits.
    fn is_full(&self) -> bool {
        self.len() >= self.bound()
    }
}

/// A bounded set of numbers that are uniformly distributed already, such as the low bits of hashes: they are not hashed again.
pub trait Set: Default {
    /// Adds `value`. `Ok(false)` when it was there already; this also holds for a full set.
    fn insert(&mut self, value: u64) -> Result<bool, NoRoom>;

    /// True when `value` is in the set.
    fn contains(&self, value: u64) -> bool;

    /// Has the processor fetch what [`insert`](Self::insert) will look at, for who inserts several values: one behind the other the waits for memory
    /// take longer than all else. Changes nothing.
    fn fetch(&self, _value: u64) {}

    /// Number of values.
    fn len(&self) -> usize;

    /// True when there are no values.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values the set may hold at most.
    fn bound(&self) -> usize;

    /// Drops all values; memory is kept for reuse.
    fn clear(&mut self);
}

/// The values are hash bits, so they are their own hash. The two halves are folded, because a table looks at 16 of them only.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashBits(u64);

impl Hasher for HashBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not reached by u64 keys; kept total for the trait's sake.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value ^ value.rotate_left(32);
    }
}

/// Collections inside the value: no allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inline;

impl Storage for Inline {
    const GROWS: bool = false;

    type List<T, const INLINE: usize, const HEAP: usize> = heapless::Vec<T, INLINE>;
    type Set<const INLINE: usize, const HEAP: usize> = InlineSet<INLINE>;
}

impl<T, const N: usize> List<T> for heapless::Vec<T, N> {
    fn bound(&self) -> usize {
        N
    }

    fn push(&mut self, item: T) -> Result<(), T> {
        heapless::Vec::push(self, item)
    }

    fn extend_from_slice(&mut self, items: &[T]) -> Result<(), NoRoom>
    where
        T: Clone,
    {
        heapless::Vec::extend_from_slice(self, items).map_err(|_| NoRoom)
    }

    fn remove(&mut self, index: usize) -> Option<T> {
        (index < self.len()).then(|| heapless::Vec::remove(self, index))
    }

    fn swap_remove(&mut self, index: usize) -> Option<T> {
        (index < self.len()).then(|| heapless::Vec::swap_remove(self, index))
    }

    fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        heapless::Vec::retain(self, keep);
    }

    fn truncate(&mut self, len: usize) {
        heapless::Vec::truncate(self, len);
    }
}

/// The set of [`Inline`]; `N` is a power of two.
#[derive(Clone, Debug, Default)]
pub struct InlineSet<const N: usize>(heapless::index_set::IndexSet<u64, BuildHasherDefault<HashBits>, N>);

impl<const N: usize> Set for InlineSet<N> {
    fn insert(&mut self, value: u64) -> Result<bool, NoRoom> {
        if self.0.contains(&value) {
            return Ok(false);
        }
        self.0.insert(value).map_err(|_| NoRoom)
    }

    fn contains(&self, value: u64) -> bool {
        self.0.contains(&value)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn bound(&self) -> usize {
        N
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(feature = "alloc")]
pub use heap::{Heap, HeapList};
#[cfg(feature = "alloc")]
pub use set::HeapSet;

#[cfg(feature = "alloc")]
mod heap {
    use super::{HeapSet, List, NoRoom, Storage};
    use alloc::vec::Vec;
    use core::ops::{Deref, DerefMut};

    /// Collections on the heap, growing on demand up to their bound.
    ///
    /// A full list grows by an eighth, a short one by what is needed: a connection with one channel pays for one, and a pool's lists never
    /// hold more than an eighth of their length ahead. Memory is kept when a collection is cleared, so that a machine in steady state does not allocate.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Heap;

    impl Storage for Heap {
        const GROWS: bool = true;

        type List<T, const INLINE: usize, const HEAP: usize> = HeapList<T, HEAP>;
        type Set<const INLINE: usize, const HEAP: usize> = HeapSet<HEAP>;
    }

    /// The list of [`Heap`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct HeapList<T, const N: usize>(Vec<T>);

    impl<T, const N: usize> HeapList<T, N> {
        /// Bytes that the list holds on the heap now, without what its elements hold themselves.
        #[must_use]
        pub fn heap_bytes(&self) -> usize {
            self.0.capacity().saturating_mul(size_of::<T>())
        }

        fn make_room(&mut self, more: usize) -> Result<(), NoRoom> {
            let needed = self.0.len().checked_add(more).filter(|n| *n <= N).ok_or(NoRoom)?;
            if needed <= self.0.capacity() {
                return Ok(());
            }
            let wanted = needed.max(self.0.capacity().saturating_add(self.0.capacity() / 8)).min(N);
            self.0.try_reserve_exact(wanted.saturating_sub(self.0.len())).map_err(|_| NoRoom)
        }
    }

    impl<T, const N: usize> Default for HeapList<T, N> {
        fn default() -> Self {
            Self(Vec::new())
        }
    }

    impl<T, const N: usize> Deref for HeapList<T, N> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }

    impl<T, const N: usize> DerefMut for HeapList<T, N> {
        fn deref_mut(&mut self) -> &mut [T] {
            &mut self.0
        }
    }

    impl<T, const N: usize> List<T> for HeapList<T, N> {
        fn bound(&self) -> usize {
            N
        }

        fn push(&mut self, item: T) -> Result<(), T> {
            if self.make_room(1).is_err() {
                return Err(item);
            }
            self.0.push(item);
            Ok(())
        }

        fn extend_from_slice(&mut self, items: &[T]) -> Result<(), NoRoom>
        where
            T: Clone,
        {
            self.make_room(items.len())?;
            self.0.extend_from_slice(items);
            Ok(())
        }

        fn remove(&mut self, index: usize) -> Option<T> {
            (index < self.0.len()).then(|| self.0.remove(index))
        }

        fn swap_remove(&mut self, index: usize) -> Option<T> {
            (index < self.0.len()).then(|| self.0.swap_remove(index))
        }

        fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
            self.0.retain(keep);
        }

        fn truncate(&mut self, len: usize) {
            self.0.truncate(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_list_is_bounded_by<S: Storage>(bound: usize) {
        let mut list: S::List<u32, 4, 6> = Default::default();
        assert_eq!(list.bound(), bound);
        for n in 0..bound {
            assert!(!list.is_full());
            assert_eq!(list.push(u32::try_from(n).unwrap()), Ok(()));
        }
        assert!(list.is_full());
        assert_eq!(list.push(9), Err(9));
        assert_eq!(list.extend_from_slice(&[9]), Err(NoRoom));
        assert_eq!(list.remove(bound), None);
        assert_eq!(list.swap_remove(bound), None);
        assert_eq!(list.remove(1), Some(1));
        assert_eq!(list.swap_remove(0), Some(0));
        assert_eq!(list[0], u32::try_from(bound).unwrap() - 1);
        list.retain(|n| *n == 2);
        assert_eq!(*list, [2]);
        assert_eq!(list.extend_from_slice(&[7; 7]), Err(NoRoom));
        assert_eq!(*list, [2], "an extension that does not fit leaves the list alone");
        list.clear();
        assert!(list.is_empty());
    }

    fn a_set_is_bounded_by<S: Storage>(bound: usize) {
        let mut set: S::Set<4, 6> = Default::default();
        assert_eq!(set.bound(), bound);
        for n in 0..bound as u64 {
            assert_eq!(set.insert(n << 40), Ok(true));
            assert_eq!(set.insert(n << 40), Ok(false));
        }
        assert_eq!(set.insert(u64::MAX), Err(NoRoom));
        assert_eq!(set.insert(0), Ok(false), "a full set still knows what it holds");
        assert!(set.contains(1 << 40) && !set.contains(u64::MAX));
        set.clear();
        assert!(set.is_empty() && !set.contains(0));
    }

    #[test]
    fn inline_collections_keep_their_bounds() {
        a_list_is_bounded_by::<Inline>(4);
        a_set_is_bounded_by::<Inline>(4);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn heap_collections_keep_their_bounds() {
        a_list_is_bounded_by::<Heap>(6);
        a_set_is_bounded_by::<Heap>(6);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn the_heap_grows_by_an_eighth_and_never_past_the_bound() {
        let mut list: HeapList<u64, 19> = HeapList::default();
        assert_eq!(list.heap_bytes(), 0);
        let mut seen = std::vec::Vec::new();
        for n in 0..19 {
            list.push(n).unwrap();
            seen.push(list.heap_bytes() / 8);
        }
        assert_eq!(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 18, 19]);
        let before = list.heap_bytes();
        list.clear();
        assert_eq!(list.heap_bytes(), before);
    }
}
