//! `U256`: hashes and targets.

use core::cmp::Ordering;
use core::fmt;

use super::fixed::plain;
use super::{DataType, Decode, Encode, EncodeError, Layout, Reader, Revision, Writer, write_hex};

/// A number of 256 bits, least significant byte first: a target, or a hash in the order that SHA-256 yields it (D-TYPE-4).
///
/// It compares as a number, so that `hash <= target` is the proof-of-work check, and prints as Bitcoin shows
/// hashes: in hexadecimal, most significant byte first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct U256(pub [u8; 32]);

plain! {
    U256: "U256", 32, |value| value.0, Self;
}

impl U256 {
    /// Zero.
    pub const ZERO: Self = Self([0; 32]);
    /// The largest number; as a target, every hash meets it.
    pub const MAX: Self = Self([0xff; 32]);

    /// From 32 bytes, most significant first.
    #[must_use]
    pub fn from_be_bytes(mut bytes: [u8; 32]) -> Self {
        bytes.reverse();
        Self(bytes)
    }

    /// 32 bytes, most significant first.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 32] {
        let mut bytes = self.0;
        bytes.reverse();
        bytes
    }

    /// From four words, least significant first.
    #[must_use]
    pub fn from_words(words: [u64; 4]) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(words.iter().flat_map(|word| word.to_le_bytes())) {
            *to = from;
        }
        Self(bytes)
    }

    /// Four words, least significant first.
    #[must_use]
    #[inline]
    pub fn to_words(self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }
}

impl Ord for U256 {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.to_words(), other.to_words());
        a.iter().rev().cmp(b.iter().rev())
    }
}

impl PartialOrd for U256 {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.to_be_bytes())
    }
}

impl fmt::Debug for U256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U256({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    /// D-TYPE-4
    #[test]
    fn it_prints_as_hashes_are_shown() {
        let mut bytes = [0; 32];
        bytes[0] = 0x6f;
        bytes[31] = 0x01;
        assert_eq!(U256(bytes).to_string(), "010000000000000000000000000000000000000000000000000000000000006f");
        assert_eq!(U256::from_be_bytes(U256(bytes).to_be_bytes()), U256(bytes));
    }

    proptest! {
        #[test]
        fn it_compares_as_a_number(a: [u8; 32], b: [u8; 32], equal_top in 0_usize..=32) {
            let mut b = b;
            b[32 - equal_top..].copy_from_slice(&a[32 - equal_top..]);
            let (a, b) = (U256(a), U256(b));
            prop_assert_eq!(a.cmp(&b), a.to_be_bytes().cmp(&b.to_be_bytes()));
        }

        #[test]
        fn words_round_trip(bytes: [u8; 32]) {
            prop_assert_eq!(U256::from_words(U256(bytes).to_words()), U256(bytes));
        }
    }
}
