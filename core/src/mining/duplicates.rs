//! Which shares a channel has accepted already, within a memory bound that forgets none of them.
//!
//! A channel remembers the low 64 bits of every accepted header hash. When the set is three quarters full the channel moves: the owner
//! gives it a new extranonce prefix and the same job anew, so that all work from then on differs from all work before. Shares of the
//! old prefix are still accepted, and remembered, until the client uses the new one or the bound is reached; then the old work
//! is stale and its hashes are dropped. A set that is full and cannot move refuses new shares as stale. So a duplicate is never
//! accepted, no channel is closed, and memory is bounded.

use crate::config::{SHARES_HEAP, SHARES_INLINE};
use crate::storage::{Set, Storage};

/// Which extranonce prefix of a channel a job was made with: counts the channel's moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u8);

/// Why a share was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The same header was accepted before.
    Duplicate,
    /// The work is of a prefix that the channel left, or the set is full.
    Stale,
}

/// What changed with an accepted share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The share is remembered.
    Remembered,
    /// The share is the first of the new prefix: work of the old one is stale from now on.
    Switched,
}

/// The accepted shares of one channel since its last prevhash or move.
#[derive(Debug)]
pub struct Duplicates<S: Storage> {
    seen: S::Set<SHARES_INLINE, SHARES_HEAP>,
    generation: Generation,
    /// Work of the previous generation still counts.
    moving: bool,
}

impl<S: Storage> Default for Duplicates<S> {
    fn default() -> Self {
        Self { seen: Default::default(), generation: Generation::default(), moving: false }
    }
}

/// The 64 bits of a hash that say nothing about its difficulty.
#[inline]
fn key(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |low| u64::from_le_bytes(*low))
}

impl<S: Storage> Duplicates<S> {
    /// The generation of new jobs.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether work of this generation can be accepted.
    #[inline]
    #[must_use]
    pub fn is_live(&self, generation: Generation) -> bool {
        generation == self.generation || (self.moving && generation.0.wrapping_add(1) == self.generation.0)
    }

    /// Several hashes are about to be [taken](Self::take): each is to be passed here before, see [`Set::fetch`].
    #[inline]
    pub fn expect(&self, hash: &[u8; 32]) {
        self.seen.fetch(key(hash));
    }

    /// Remembers an accepted share's hash, or says why the share can't be accepted.
    #[allow(clippy::inline_always, reason = "between two hashes each call is waited for")]
    #[inline(always)]
    pub fn take(&mut self, hash: &[u8; 32], generation: Generation) -> Result<Taken, NotTaken> {
        // As it nearly always is.
        if generation == self.generation && !self.moving {
            return match self.seen.insert(key(hash)) {
                Ok(true) => Ok(Taken::Remembered),
                Ok(false) => Err(NotTaken::Duplicate),
                Err(_) => Err(NotTaken::Stale),
            };
        }
        self.take_otherwise(hash, generation)
    }

    #[cold]
    fn take_otherwise(&mut self, hash: &[u8; 32], generation: Generation) -> Result<Taken, NotTaken> {
        if !self.is_live(generation) {
            return Err(NotTaken::Stale);
        }
        let switched = self.moving && generation == self.generation;
        if switched {
            self.leave();
        }
        match self.seen.insert(key(hash)) {
            Ok(true) if switched => Ok(Taken::Switched),
            Ok(true) => Ok(Taken::Remembered),
            Ok(false) => Err(NotTaken::Duplicate),
            Err(_) => {
                if self.moving {
                    self.leave();
                }
                Err(NotTaken::Stale)
            }
        }
    }

    /// Ends the old generation.
    fn leave(&mut self) {
        self.moving = false;
        self.seen.clear();
    }

    /// Whether the owner should give the channel a new prefix: the set is three quarters full and no move is under way.
    #[must_use]
    pub fn wants_move(&self) -> bool {
        !self.moving && self.seen.len() >= self.seen.bound() - self.seen.bound() / 4
    }

    /// The channel has a new prefix: jobs are of the next generation from now on. False, and nothing happens, while the last move is under way.
    pub fn begin_move(&mut self) -> bool {
        if self.moving {
            return false;
        }
        self.moving = true;
        self.generation.0 = self.generation.0.wrapping_add(1);
        true
    }

    /// Whether both generations count at the moment.
    #[must_use]
    pub const fn is_moving(&self) -> bool {
        self.moving
    }

    /// All work so far became invalid by a new prevhash. Generations stay, for a future job of the old one may have been activated.
    pub fn prev_hash_changed(&mut self) {
        self.seen.clear();
    }

    /// Forgets everything: the place is for another channel now.
    pub fn reset(&mut self) {
        self.seen.clear();
        self.moving = false;
        self.generation = Generation::default();
    }

    /// Shares remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// True when no share is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

#[cfg(feature = "alloc")]
impl Duplicates<crate::storage::Heap> {
    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.seen.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Inline;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn hash(n: u64, generation: Generation) -> [u8; 32] {
        // Different prefixes never give the same header.
        crate::hash::sha256d(&[&n.to_le_bytes(), &[generation.0]])
    }

    /// A client that keeps to its old job until the bound, then goes on with the new one: nothing is refused before, nothing forgotten.
    #[test]
    fn a_slow_client_may_use_the_whole_bound() {
        let mut set = Duplicates::<Inline>::default();
        let old = set.generation();
        for n in 0..SHARES_INLINE as u64 {
            assert_eq!(set.wants_move(), n >= 192 && !set.is_moving());
            if n == 200 {
                assert!(set.begin_move());
                assert!(!set.begin_move(), "one move at a time");
            }
            assert_eq!(set.take(&hash(n, old), old), Ok(Taken::Remembered));
            assert_eq!(set.take(&hash(n, old), old), Err(NotTaken::Duplicate));
        }
        assert_eq!(set.take(&hash(999, old), old), Err(NotTaken::Stale), "the bound ends the old work");
        assert_eq!(set.take(&hash(0, old), old), Err(NotTaken::Stale), "and what was dropped can't come back");
        let new = set.generation();
        assert_eq!(set.take(&hash(0, new), new), Ok(Taken::Remembered));
    }

    #[test]
    fn the_first_share_of_the_new_prefix_ends_the_old_one() {
        let mut set = Duplicates::<Inline>::default();
        let old = set.generation();
        set.take(&hash(1, old), old).unwrap();
        assert!(set.begin_move());
        let new = set.generation();
        assert_eq!(set.take(&hash(2, old), old), Ok(Taken::Remembered));
        assert_eq!(set.take(&hash(3, new), new), Ok(Taken::Switched));
        assert_eq!(set.take(&hash(4, old), old), Err(NotTaken::Stale));
        assert_eq!(set.take(&hash(3, new), new), Err(NotTaken::Duplicate));
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn a_full_set_that_cannot_move_refuses() {
        let mut set = Duplicates::<Inline>::default();
        let only = set.generation();
        for n in 0..SHARES_INLINE as u64 {
            set.take(&hash(n, only), only).unwrap();
        }
        assert_eq!(set.take(&hash(999, only), only), Err(NotTaken::Stale));
        assert_eq!(set.take(&hash(0, only), only), Err(NotTaken::Duplicate), "what it holds it still knows");
        set.prev_hash_changed();
        assert_eq!(set.take(&hash(999, only), only), Ok(Taken::Remembered));
    }

    proptest! {
        /// Under any interleaving of shares of both generations, moves and moves that come late, no share is accepted twice within
        /// a prevhash, and an honest client that follows its jobs is never refused.
        #[test]
        fn no_share_counts_twice(steps in proptest::collection::vec((0_u64..700, 0_u8..8), 0..4_000)) {
            let mut set = Duplicates::<Inline>::default();
            let mut accepted = BTreeSet::new();
            let mut generations = Vec::from([set.generation()]);
            for (n, what) in steps {
                let last = generations.len() - 1;
                // Mostly the newest work, sometimes the one before, seldom something ancient.
                let which = match what { 0 | 1 => last.saturating_sub(1), 2 => 0, _ => last };
                let generation = generations[which];
                let before = set.len();
                let outcome = set.take(&hash(n, generation), generation);
                if outcome.is_ok() {
                    prop_assert!(accepted.insert((which, n)), "accepted twice");
                } else if which == last && before < SHARES_INLINE {
                    prop_assert_eq!(outcome, Err(NotTaken::Duplicate));
                    prop_assert!(accepted.contains(&(which, n)));
                }
                if set.wants_move() && what == 7 && generations.len() < 200 {
                    prop_assert!(set.begin_move());
                    generations.push(set.generation());
                }
                prop_assert!(set.len() <= SHARES_INLINE);
            }
        }
    }
}
