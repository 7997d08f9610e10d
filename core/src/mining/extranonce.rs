//! Who searches where: extranonce prefixes, unique for every channel of a server.
//!
//! All coinbases of a server have one extranonce length. Its leading bytes are the server's own (optional, for several servers that
//! share a payout), then the channel's number; a standard channel's prefix fills the rest with zeros, an extended channel
//! rolls it. Two channels never have the same number, so their coinbases never coincide.

use core::fmt;

use crate::config::{CHANNEL_NUMBERS_HEAP, CHANNEL_NUMBERS_INLINE};
use crate::storage::{List, Storage};

/// Most bytes of a full extranonce: what the field `extranonce_prefix` can carry.
pub const MAX_EXTRANONCE_LEN: usize = 32;

/// Leading bytes of the extranonce of one channel; at most 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExtranoncePrefix {
    bytes: [u8; MAX_EXTRANONCE_LEN],
    len: u8,
}

impl ExtranoncePrefix {
    /// A prefix of no bytes.
    pub const EMPTY: Self = Self { bytes: [0; MAX_EXTRANONCE_LEN], len: 0 };

    /// None when there are more than 32 bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut prefix = Self::EMPTY;
        prefix.set(bytes).then_some(prefix)
    }

    /// Becomes these bytes, in its place. False, and nothing has changed, when there are more than 32.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn set(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > MAX_EXTRANONCE_LEN {
            return false;
        }
        *self = Self::EMPTY;
        // Pair by pair: no lengths that could differ, and so no panic in firmware.
        self.bytes.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.len = bytes.len() as u8;
        true
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Appends `bytes`, None when the prefix would be longer than 32 bytes.
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Option<Self> {
        let start = usize::from(self.len);
        let end = start.checked_add(bytes.len())?;
        self.bytes.get_mut(start..end)?.copy_from_slice(bytes);
        self.len = u8::try_from(end).ok()?;
        Some(self)
    }
}

impl AsRef<[u8]> for ExtranoncePrefix {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Default for ExtranoncePrefix {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for ExtranoncePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a space cannot be laid out as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// The full length is above 32 bytes.
    TooLong,
    /// The channel number takes 1 to 4 bytes.
    NumberSize,
    /// The server's own bytes and the channel number do not fit into the full length.
    NoRoomForNumber,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "extranonce: more than 32 bytes",
            Self::NumberSize => "extranonce: the channel number takes 1 to 4 bytes",
            Self::NoRoomForNumber => "extranonce: no room for the server's bytes and the channel number",
        })
    }
}

impl core::error::Error for LayoutError {}

/// All numbers are in use or rest until the next prevhash. Channels that are open stay open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no extranonce prefix is free until channels close and the prevhash changes")
    }
}

impl core::error::Error for Exhausted {}

/// A channel's place in the space. Not `Clone`: whoever holds it owns the place, and gives it back to
/// [`ExtranonceSpace::release`] exactly once.
#[derive(Debug, PartialEq, Eq)]
pub struct ChannelNumber {
    number: u32,
    used: bool,
}

impl ChannelNumber {
    /// A share of this place was accepted, so the place rests when it is given back.
    pub const fn mark_used(&mut self) {
        self.used = true;
    }
}

/// Hands out the places of a server's channels (D-CHAN-7).
pub struct ExtranonceSpace<S: Storage> {
    server: ExtranoncePrefix,
    full_len: u8,
    number_len: u8,
    /// Numbers from here on were never used.
    fresh: u32,
    limit: u32,
    /// Freed numbers: first those that may be used again, then those freed before the last prevhash, then those freed since.
    ///
    /// A header that was accepted under a number could be submitted again from a new channel while the same prevhash lasts. One prevhash
    /// more, because a custom job may run ahead of the pool's own prevhash. A number under which nothing was accepted may be used
    /// again at once: else whoever opens and closes channels in a loop would use up all numbers of a pool.
    freed: S::List<u32, CHANNEL_NUMBERS_INLINE, CHANNEL_NUMBERS_HEAP>,
    /// Where the second part begins, and where the third.
    rested: usize,
    recent: usize,
}

impl<S: Storage> fmt::Debug for ExtranonceSpace<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtranonceSpace")
            .field("server", &self.server)
            .field("in_use", &self.in_use())
            .finish_non_exhaustive()
    }
}

impl<S: Storage> ExtranonceSpace<S> {
    /// Lays the space out: `full_len` bytes, of which the first are `server` and the next `number_len` the channel's number.
    pub fn new(server: &[u8], number_len: u8, full_len: u8) -> Result<Self, LayoutError> {
        if usize::from(full_len) > MAX_EXTRANONCE_LEN {
            return Err(LayoutError::TooLong);
        }
        if !(1..=4).contains(&number_len) {
            return Err(LayoutError::NumberSize);
        }
        let server = ExtranoncePrefix::new(server).ok_or(LayoutError::NoRoomForNumber)?;
        if server.as_slice().len() + usize::from(number_len) > usize::from(full_len) {
            return Err(LayoutError::NoRoomForNumber);
        }
        let freed: S::List<u32, CHANNEL_NUMBERS_INLINE, CHANNEL_NUMBERS_HEAP> = Default::default();
        // No more numbers than the list of freed ones can hold, so that none is ever lost.
        let limit = u32::try_from(freed.bound()).unwrap_or(u32::MAX);
        let limit = if number_len < 4 { limit.min(1 << (8 * u32::from(number_len))) } else { limit };
        Ok(Self { server, full_len, number_len, fresh: 0, limit, freed, rested: 0, recent: 0 })
    }

    /// Length of the full extranonce in bytes: what coinbases leave room for.
    #[must_use]
    pub fn full_len(&self) -> usize {
        usize::from(self.full_len)
    }

    /// Bytes that an extended channel rolls (D-OPEN-7).
    #[must_use]
    pub fn rollable_len(&self) -> usize {
        self.full_len().saturating_sub(self.server.as_slice().len() + usize::from(self.number_len))
    }

    /// Numbers held by channels now.
    #[must_use]
    pub fn in_use(&self) -> usize {
        (self.fresh as usize).saturating_sub(self.freed.len())
    }

    /// A number that no other channel has, and whose former channels' shares can't be accepted any more.
    pub fn allocate(&mut self) -> Result<ChannelNumber, Exhausted> {
        if let Some(last) = self.rested.checked_sub(1)
            && let Some(number) = self.freed.get(last).copied()
        {
            // The gap is filled from the end of the second part, and the gap there from the end of the third.
            let middle = self.recent.saturating_sub(1);
            self.freed.swap(last, middle);
            self.freed.swap_remove(middle);
            self.rested = last;
            self.recent = middle;
            return Ok(ChannelNumber { number, used: false });
        }
        if self.fresh >= self.limit {
            return Err(Exhausted);
        }
        let number = self.fresh;
        self.fresh += 1;
        Ok(ChannelNumber { number, used: false })
    }

    /// Takes a number back. It rests until the prevhash changed twice, unless no share was accepted under it
    /// ([`ChannelNumber::mark_used`]).
    #[allow(clippy::needless_pass_by_value, reason = "taking the value is what makes giving it back twice impossible")]
    pub fn release(&mut self, number: ChannelNumber) {
        // Never full: there are no more numbers than places.
        let last = self.freed.len();
        if self.freed.push(number.number).is_err() || number.used {
            return;
        }
        // To the end of the first part: the first of the third makes room for it, and the first of the second.
        self.freed.swap(last, self.recent);
        self.freed.swap(self.recent, self.rested);
        self.recent += 1;
        self.rested += 1;
    }

    /// The network moved on. Numbers that rested for a whole prevhash may be used: no share of theirs can be accepted again.
    pub fn prev_hash_changed(&mut self) {
        self.rested = self.recent;
        self.recent = self.freed.len();
    }

    fn numbered(&self, number: &ChannelNumber) -> ExtranoncePrefix {
        // Highest byte first, so that prefixes sort as numbers do; the layout was checked, so everything fits.
        let unused = 4_u8.saturating_sub(self.number_len);
        let digits = number.number.checked_shl(8 * u32::from(unused)).unwrap_or_default().to_be_bytes();
        let start = usize::from(self.server.len);
        let mut prefix = self.server;
        // All four bytes where there is room: what is behind the number is zero, and each share asks for a prefix.
        if let Some(place) = prefix.bytes.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
            *place = digits;
            prefix.len = self.server.len + self.number_len;
            return prefix;
        }
        let digits = digits.get(..usize::from(self.number_len)).unwrap_or_default();
        self.server.with(digits).unwrap_or_default()
    }

    /// The prefix of a standard channel: it fills the whole length (D-ALG-1).
    #[must_use]
    pub fn standard_prefix(&self, number: &ChannelNumber) -> ExtranoncePrefix {
        ExtranoncePrefix { len: self.full_len, ..self.numbered(number) }
    }

    /// The prefix of an extended channel, which rolls [`Self::rollable_len`] bytes behind it (D-ALG-2).
    #[must_use]
    pub fn extended_prefix(&self, number: &ChannelNumber) -> ExtranoncePrefix {
        self.numbered(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Inline;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn layouts_are_checked() {
        let layout = |server: &[u8], number, full| ExtranonceSpace::<Inline>::new(server, number, full).map(|_| ());
        assert_eq!(layout(&[], 4, 33), Err(LayoutError::TooLong));
        assert_eq!(layout(&[], 0, 8), Err(LayoutError::NumberSize));
        assert_eq!(layout(&[], 5, 8), Err(LayoutError::NumberSize));
        assert_eq!(layout(&[1, 2], 3, 4), Err(LayoutError::NoRoomForNumber));
        assert_eq!(layout(&[0; 33], 3, 32), Err(LayoutError::NoRoomForNumber));
        assert_eq!(layout(&[1, 2], 2, 4), Ok(()));
    }

    /// D-CHAN-7, D-OPEN-7: a standard prefix fills the length, an extended one leaves room to roll.
    #[test]
    fn prefixes_begin_with_server_and_number() {
        let mut space = ExtranonceSpace::<Inline>::new(&[0xaa, 0xbb], 2, 8).unwrap();
        let _zero = space.allocate().unwrap();
        let one = space.allocate().unwrap();
        assert_eq!(space.standard_prefix(&one).as_slice(), [0xaa, 0xbb, 0, 1, 0, 0, 0, 0]);
        assert_eq!(space.extended_prefix(&one).as_slice(), [0xaa, 0xbb, 0, 1]);
        assert_eq!(space.rollable_len(), 4);
        assert_eq!(space.in_use(), 2);
    }

    #[test]
    fn running_out_is_an_error_and_ends_when_the_prevhash_changes() {
        let mut space = ExtranonceSpace::<Inline>::new(&[], 4, 8).unwrap();
        let mut held: Vec<_> = (0..CHANNEL_NUMBERS_INLINE).map(|_| space.allocate().unwrap()).collect();
        assert_eq!(space.allocate(), Err(Exhausted));
        let mut number = held.pop().unwrap();
        number.mark_used();
        space.release(number);
        assert_eq!(space.allocate(), Err(Exhausted), "a freed number rests");
        space.prev_hash_changed();
        assert_eq!(space.allocate(), Err(Exhausted), "for a whole prevhash");
        space.prev_hash_changed();
        assert!(space.allocate().is_ok());
        assert_eq!(space.allocate(), Err(Exhausted));
    }

    #[test]
    fn a_number_under_which_nothing_was_accepted_does_not_rest() {
        let mut space = ExtranonceSpace::<Inline>::new(&[], 4, 8).unwrap();
        let held: Vec<_> = (1..CHANNEL_NUMBERS_INLINE).map(|_| space.allocate().unwrap()).collect();
        for _ in 0..1_000 {
            let number = space.allocate().unwrap();
            space.release(number);
        }
        assert_eq!(space.in_use(), held.len());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Open,
        /// Which, and whether a share of it was accepted.
        Close(usize, bool),
        NewPrevHash,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            5 => Just(Step::Open),
            4 => (any::<usize>(), any::<bool>()).prop_map(|(which, used)| Step::Close(which, used)),
            1 => Just(Step::NewPrevHash),
        ];
        proptest::collection::vec(step, 0..300)
    }

    proptest! {
        /// D-CHAN-7: whatever opens and closes, no prefix is held twice, none with accepted shares is used twice within two prevhashes, and
        /// no number gets lost.
        #[test]
        fn prefixes_are_unique_within_two_prevhashes(steps in steps()) {
            let mut space = ExtranonceSpace::<Inline>::new(&[7], 1, 6).unwrap();
            let mut open = Vec::new();
            // Prefixes that somebody used since the last prevhash, and since the one before.
            let mut used = BTreeSet::new();
            let mut before = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Open => {
                        if let Ok(number) = space.allocate() {
                            let prefix = space.standard_prefix(&number);
                            prop_assert!(used.insert(prefix.as_slice().to_vec()));
                            prop_assert!(!before.contains(prefix.as_slice()));
                            prop_assert!(prefix.as_slice().starts_with(space.extended_prefix(&number).as_slice()));
                            open.push(number);
                        } else {
                            prop_assert_eq!(used.union(&before).count(), CHANNEL_NUMBERS_INLINE);
                        }
                    }
                    Step::Close(which, with_shares) if !open.is_empty() => {
                        let mut number = open.swap_remove(which % open.len());
                        if with_shares {
                            number.mark_used();
                        } else {
                            used.remove(space.standard_prefix(&number).as_slice());
                            before.remove(space.standard_prefix(&number).as_slice());
                        }
                        space.release(number);
                    }
                    Step::Close(..) => {}
                    Step::NewPrevHash => {
                        space.prev_hash_changed();
                        before = used;
                        used = open.iter().map(|number| space.standard_prefix(number).as_slice().to_vec()).collect();
                    }
                }
                prop_assert_eq!(space.in_use(), open.len());
            }
        }

        #[test]
        fn prefixes_hold_at_most_32_bytes(a in any::<Vec<u8>>(), b in any::<Vec<u8>>()) {
            let prefix = ExtranoncePrefix::new(&a);
            prop_assert_eq!(prefix.is_some(), a.len() <= MAX_EXTRANONCE_LEN);
            if let Some(prefix) = prefix {
                prop_assert_eq!(prefix.as_slice(), &a[..]);
                let joined = prefix.with(&b);
                prop_assert_eq!(joined.is_some(), a.len() + b.len() <= MAX_EXTRANONCE_LEN);
                if let Some(joined) = joined {
                    prop_assert_eq!(joined.as_slice(), &[a, b].concat()[..]);
                }
            }
        }
    }
}
