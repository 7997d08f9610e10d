//! The set of [`Heap`](super::Heap): numbers that are uniformly distributed already, in buckets as large as a line of the processor's cache.
//!
//! A server asks it once for each share, between two hashes, so what counts is how few branches depend on what is in it: all places of a
//! bucket are compared at once, and the first free one is known by a count. There is no removing one by one, and so nothing to mend.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint::black_box;

use super::{NoRoom, Set};

/// Values of one bucket: seven and their count make 64 bytes.
const PLACES: usize = 7;

/// Values of a bucket on average at which the set grows. With more of them more buckets are full, and whether one is can't be foreseen.
const FILLING: usize = 4;

/// On a line's border, or the values would lie on two.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    used: u64,
    values: [u64; PLACES],
}

const _: () = assert!(size_of::<Bucket>() == 64, "one line");

impl Bucket {
    const EMPTY: Self = Self { used: 0, values: [0; PLACES] };

    #[inline]
    fn contains(&self, value: u64) -> bool {
        // All places, without a branch that depends on how many are in use. One that is not may look like a hit, which is asked again.
        self.values.contains(&value) && self.taken().contains(&value)
    }

    fn taken(&self) -> &[u64] {
        self.values.get(..self.used as usize).unwrap_or_default()
    }

    /// False when it is full.
    #[inline]
    fn put(&mut self, value: u64) -> bool {
        let Some(place) = self.values.get_mut(self.used as usize) else { return false };
        *place = value;
        self.used += 1;
        true
    }
}

/// The set of [`Heap`](super::Heap). A value's bucket is the one that its highest bits name, or the next with a free place.
#[derive(Clone, Debug, Default)]
pub struct HeapSet<const N: usize> {
    buckets: Box<[Bucket]>,
    len: u32,
    /// Values that may be put in before it has to grow, or is at its bound.
    room: u32,
}

/// The bucket of a value among so many.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "below `count`")]
const fn home(value: u64, count: usize) -> usize {
    ((value as u128 * count as u128) >> 64) as usize
}

/// Puts a value in that is not there yet. False when all is full, which [`FILLING`] rules out.
#[inline]
fn put(buckets: &mut [Bucket], value: u64) -> bool {
    let home = home(value, buckets.len());
    buckets.get_mut(home).is_some_and(|bucket| bucket.put(value)) || put_behind(buckets, home, value)
}

/// The same for a value whose own bucket is full.
#[cold]
fn put_behind(buckets: &mut [Bucket], home: usize, value: u64) -> bool {
    let (before, after) = buckets.split_at_mut_checked(home).unwrap_or_default();
    after.iter_mut().chain(before).any(|bucket| bucket.put(value))
}

impl<const N: usize> HeapSet<N> {
    /// Bytes that the set holds on the heap now.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }

    /// Twice the buckets, or as many as the bound needs.
    fn grow(&mut self) -> Result<(), NoRoom> {
        let count = (2 * self.buckets.len()).clamp(1, N.div_ceil(FILLING));
        let mut buckets = Vec::new();
        buckets.try_reserve_exact(count).map_err(|_| NoRoom)?;
        buckets.resize(count, Bucket::EMPTY);
        for value in self.buckets.iter().flat_map(Bucket::taken) {
            put(&mut buckets, *value);
        }
        self.buckets = buckets.into_boxed_slice();
        self.room = self.most() - self.len;
        Ok(())
    }

    /// Values that it may hold before it has to grow.
    #[allow(clippy::cast_possible_truncation, reason = "a bound is far below")]
    fn most(&self) -> u32 {
        N.min(FILLING * self.buckets.len()) as u32
    }

    /// For a value for which there is no room, unless it is there.
    #[cold]
    fn insert_into_full(&mut self, value: u64) -> Result<bool, NoRoom> {
        if self.contains(value) {
            return Ok(false);
        }
        if self.len() >= N {
            return Err(NoRoom);
        }
        self.grow()?;
        self.insert(value)
    }
}

impl<const N: usize> Set for HeapSet<N> {
    #[allow(clippy::inline_always, reason = "between two hashes each call is waited for")]
    #[inline(always)]
    fn insert(&mut self, value: u64) -> Result<bool, NoRoom> {
        if self.room == 0 {
            return self.insert_into_full(value);
        }
        let count = self.buckets.len();
        let mut at = home(value, count);
        // Ends, because not all buckets are full.
        while let Some(bucket) = self.buckets.get_mut(at) {
            if bucket.contains(value) {
                return Ok(false);
            }
            if bucket.put(value) {
                self.len += 1;
                self.room -= 1;
                return Ok(true);
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        Err(NoRoom)
    }

    fn fetch(&self, value: u64) {
        // What is read need not be known before anything else is done, so many of these wait at once.
        black_box(self.buckets.get(home(value, self.buckets.len())).map_or(0, |bucket| bucket.used));
    }

    fn contains(&self, value: u64) -> bool {
        let (before, after) = self.buckets.split_at_checked(home(value, self.buckets.len())).unwrap_or_default();
        for bucket in after.iter().chain(before) {
            if bucket.contains(value) {
                return true;
            }
            if bucket.taken().len() < PLACES {
                break;
            }
        }
        false
    }

    fn len(&self) -> usize {
        self.len as usize
    }

    fn bound(&self) -> usize {
        N
    }

    fn clear(&mut self) {
        if self.len > 0 {
            self.buckets.fill(Bucket::EMPTY);
            self.len = 0;
            self.room = self.most();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Spread as hashes are, crowded at either end and in the middle, and such as an empty place holds.
    fn value() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            0_u64..10,
            (0_u64..40).prop_map(|n| u64::MAX - n),
            (0_u64..40).prop_map(|n| (1 << 63) + n)
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_an_ordered_set_holds(values in proptest::collection::vec(value(), 0..400)) {
            let mut set = HeapSet::<100>::default();
            let mut expected = BTreeSet::new();
            for (n, value) in values.iter().enumerate() {
                let outcome = if expected.contains(value) {
                    Ok(false)
                } else if expected.len() < 100 {
                    expected.insert(*value);
                    Ok(true)
                } else {
                    Err(NoRoom)
                };
                set.fetch(*value);
                prop_assert_eq!(set.insert(*value), outcome);
                prop_assert_eq!(set.len(), expected.len());
                if n == 250 {
                    set.clear();
                    expected.clear();
                }
            }
            prop_assert!(values.iter().all(|value| set.contains(*value) == expected.contains(value)));
            prop_assert!(set.heap_bytes() <= 64 * 100_usize.div_ceil(FILLING));
        }
    }

    #[test]
    fn it_grows_to_its_bound_and_keeps_its_memory() {
        let mut set = HeapSet::<1_000>::default();
        assert_eq!((set.heap_bytes(), set.contains(0)), (0, false));
        let values: Vec<u64> = (0..1_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        for (n, value) in values.iter().enumerate() {
            assert_eq!(set.insert(*value), Ok(true));
            assert!(set.heap_bytes() <= 64.max(32 * (n + 1)), "{} bytes for {n} values", set.heap_bytes());
        }
        let bytes = set.heap_bytes();
        assert_eq!(bytes, 64 * 250);
        set.clear();
        assert!(set.is_empty() && set.heap_bytes() == bytes);
        assert!(values.iter().all(|value| !set.contains(*value)));
    }
}
