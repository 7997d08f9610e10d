//! Sequences, `SEQ0_255[T]` and `SEQ0_64K[T]` (D-TYPE-10), and `OPTION[T]` (C-TYPE-10).

use core::fmt;

use super::{DataType, Decode, DecodeErrorKind, Encode, EncodeError};
use super::{Layout, Reader, Revision, Writer};

/// Items after a count of `PREFIX` bytes. Use it by its names: [`Seq0255`] and [`Seq064K`].
///
/// Borrowed both ways: from the wire's bytes when it was decoded, then each item is read when it is asked for (all were
/// checked before); from a slice of items when it was built. Both compare by their items.
#[derive(Clone, Copy)]
pub struct Seq<'a, T, const PREFIX: usize>(Source<'a, T>);

/// `SEQ0_255[T]`: up to 255 items after a count of one byte.
pub type Seq0255<'a, T> = Seq<'a, T, 1>;
/// `SEQ0_64K[T]`: up to 65,535 items after a count of two bytes.
pub type Seq064K<'a, T> = Seq<'a, T, 2>;

#[derive(Clone, Copy)]
enum Source<'a, T> {
    Items(&'a [T]),
    /// `count` checked items of `revision`.
    Wire {
        bytes: &'a [u8],
        count: u16,
        revision: Revision,
    },
}

impl<'a, T, const PREFIX: usize> Seq<'a, T, PREFIX> {
    /// Most items that it holds on the wire.
    pub const MAX_COUNT: usize = if PREFIX == 1 { 0xff } else { 0xffff };

    /// A sequence of `items`; more than [`MAX_COUNT`](Self::MAX_COUNT) fail when they are encoded.
    #[must_use]
    #[inline]
    pub const fn new(items: &'a [T]) -> Self {
        Self(Source::Items(items))
    }

    /// How many items.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Items(items) => items.len(),
            Source::Wire { count, .. } => count as usize,
        }
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, T: Decode<'a> + Copy, const PREFIX: usize> Seq<'a, T, PREFIX> {
    /// The items in their order.
    #[must_use]
    #[inline]
    pub fn iter(&self) -> SeqIter<'a, T> {
        SeqIter(match self.0 {
            Source::Items(items) => Cursor::Items(items.iter()),
            Source::Wire { bytes, count, revision } => Cursor::Wire { reader: Reader::new(bytes), count, revision },
        })
    }
}

/// The items of a sequence, each decoded when it is asked for.
#[derive(Clone, Debug)]
pub struct SeqIter<'a, T>(Cursor<'a, T>);

#[derive(Clone, Debug)]
enum Cursor<'a, T> {
    Items(core::slice::Iter<'a, T>),
    Wire { reader: Reader<'a>, count: u16, revision: Revision },
}

impl<'a, T: Decode<'a> + Copy> Iterator for SeqIter<'a, T> {
    type Item = T;

    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Cursor::Items(items) => items.next().copied(),
            Cursor::Wire { reader, count, revision } => {
                *count = count.checked_sub(1)?;
                // All items were checked when the sequence was decoded, so this never ends the iteration early.
                let item = T::read(reader, *revision);
                if reader.has_failed() { None } else { Some(item) }
            }
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Cursor::Items(items) => items.len(),
            Cursor::Wire { count, .. } => usize::from(*count),
        };
        (left, Some(left))
    }
}

impl<'a, T: Decode<'a> + Copy> ExactSizeIterator for SeqIter<'a, T> {}

impl<'a, T: Decode<'a> + Copy, const PREFIX: usize> IntoIterator for Seq<'a, T, PREFIX> {
    type Item = T;
    type IntoIter = SeqIter<'a, T>;

    fn into_iter(self) -> SeqIter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Decode<'a> + Copy, const PREFIX: usize> IntoIterator for &Seq<'a, T, PREFIX> {
    type Item = T;
    type IntoIter = SeqIter<'a, T>;

    fn into_iter(self) -> SeqIter<'a, T> {
        self.iter()
    }
}

impl<T, const PREFIX: usize> Default for Seq<'_, T, PREFIX> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<'a, T, const PREFIX: usize> From<&'a [T]> for Seq<'a, T, PREFIX> {
    fn from(items: &'a [T]) -> Self {
        Self::new(items)
    }
}

impl<'a, T, const PREFIX: usize, const N: usize> From<&'a [T; N]> for Seq<'a, T, PREFIX> {
    fn from(items: &'a [T; N]) -> Self {
        Self::new(items)
    }
}

impl<'a, T: Decode<'a> + Copy + PartialEq, const PREFIX: usize> PartialEq for Seq<'a, T, PREFIX> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Decode<'a> + Copy + fmt::Debug, const PREFIX: usize> fmt::Debug for Seq<'a, T, PREFIX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: DataType, const PREFIX: usize> DataType for Seq<'_, T, PREFIX> {
    const LAYOUT: Layout = Layout::Sequence {
        name: if PREFIX == 1 { "SEQ0_255" } else { "SEQ0_64K" },
        prefix: PREFIX as u32,
        max: Self::MAX_COUNT as u32,
        item: &T::LAYOUT,
    };
}

impl<'a, T: Decode<'a> + Encode + Copy, const PREFIX: usize> Encode for Seq<'a, T, PREFIX> {
    #[inline]
    fn encoded_len(&self, revision: Revision) -> usize {
        let items = match self.0 {
            Source::Wire { bytes, revision: stored, .. } if stored == revision => bytes.len(),
            _ => self.iter().fold(0_usize, |sum, item| sum.saturating_add(item.encoded_len(revision))),
        };
        items.saturating_add(PREFIX)
    }

    #[inline]
    fn encode(&self, writer: &mut Writer<'_>, revision: Revision) -> Result<(), EncodeError> {
        writer.length::<PREFIX>(self.len(), Self::MAX_COUNT)?;
        match self.0 {
            Source::Wire { bytes, revision: stored, .. } if stored == revision => writer.bytes(bytes),
            _ => self.iter().try_for_each(|item| item.encode(writer, revision)),
        }
    }
}

impl<'a, T: Decode<'a>, const PREFIX: usize> Decode<'a> for Seq<'a, T, PREFIX> {
    #[inline]
    fn read(reader: &mut Reader<'a>, revision: Revision) -> Self {
        let count = reader.read_length(PREFIX);
        let start = reader.rest();
        T::check_many(reader, count, revision);
        let bytes = start.get(..start.len().saturating_sub(reader.rest().len())).unwrap_or_default();
        // A prefix has one or two bytes, so the count fits.
        Self(Source::Wire { bytes, count: count as u16, revision })
    }
}

impl<T: DataType> DataType for Option<T> {
    const LAYOUT: Layout = Layout::Sequence { name: "OPTION", prefix: 1, max: 1, item: &T::LAYOUT };
}

/// `OPTION[T]`: a count of 0 or 1, then the value if there is one (C-TYPE-10).
impl<T: Encode> Encode for Option<T> {
    #[inline]
    fn encoded_len(&self, revision: Revision) -> usize {
        self.as_ref().map_or(1, |value| value.encoded_len(revision).saturating_add(1))
    }

    #[inline]
    fn encode(&self, writer: &mut Writer<'_>, revision: Revision) -> Result<(), EncodeError> {
        match self {
            None => writer.array([0]),
            Some(value) => {
                writer.array([1])?;
                value.encode(writer, revision)
            }
        }
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Option<T> {
    #[inline]
    fn read(reader: &mut Reader<'a>, revision: Revision) -> Self {
        let offset = reader.offset();
        match reader.read_array() {
            [0] => None,
            [1] => Some(T::read(reader, revision)),
            [_] => {
                reader.fail(DecodeErrorKind::OptionCount, offset);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::{B064K, EncodeErrorKind, U256};

    /// D-TYPE-10: the count is of items, not bytes.
    #[test]
    fn built_and_decoded_sequences_are_equal_and_encode_alike() {
        let items = [B064K::new(b"ab"), B064K::new(b""), B064K::new(b"c")];
        let built = Seq064K::new(&items);
        let mut buffer = [0; 11];
        assert_eq!(built.encoded_len(Revision::Draft), 11);
        built.encode(&mut Writer::new(&mut buffer), Revision::Draft).unwrap();
        assert_eq!(buffer, *b"\x03\0\x02\0ab\0\0\x01\0c");
        let decoded = Seq064K::<B064K<'_>>::decode(&mut Reader::new(&buffer), Revision::Draft).unwrap();
        assert_eq!(decoded, built);
        assert_eq!(decoded.iter().len(), 3);
        for revision in [Revision::Draft, Revision::Current] {
            let mut again = [0; 11];
            assert_eq!(decoded.encoded_len(revision), 11);
            decoded.encode(&mut Writer::new(&mut again), revision).unwrap();
            assert_eq!(again, buffer);
        }
        assert_eq!(format!("{decoded:?}"), "[[6162], [], [63]]");
    }

    #[test]
    fn items_are_checked_before_they_are_handed_out() {
        let error =
            Seq064K::<B064K<'_>>::decode(&mut Reader::new(b"\x02\0\x01\0a\x02\0b"), Revision::Draft).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (DecodeErrorKind::Truncated, 7));
        let error = Seq0255::<U256>::decode(&mut Reader::new(&[1; 32]), Revision::Draft).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (DecodeErrorKind::Truncated, 1));
    }

    #[test]
    fn too_many_items_fail_to_encode() {
        let items = vec![0_u8; 0x1_0000];
        let mut buffer = vec![0; 0x2_0000];
        let error = Seq0255::new(&items[..256]).encode(&mut Writer::new(&mut buffer), Revision::Draft).unwrap_err();
        assert_eq!(error.kind(), EncodeErrorKind::TooLong);
        let error = Seq064K::new(&items).encode(&mut Writer::new(&mut buffer), Revision::Draft).unwrap_err();
        assert_eq!(error.kind(), EncodeErrorKind::TooLong);
    }

    /// C-TYPE-10
    #[test]
    fn an_option_is_a_count_of_zero_or_one() {
        let decode = |bytes: &[u8]| Option::<u16>::decode(&mut Reader::new(bytes), Revision::Current);
        assert_eq!(decode(&[0]), Ok(None));
        assert_eq!(decode(&[1, 2, 3]), Ok(Some(0x0302)));
        assert_eq!(decode(&[2, 2, 3]).unwrap_err().kind(), DecodeErrorKind::OptionCount);
        assert_eq!(decode(&[1, 2]).unwrap_err().offset(), 1);
        let mut buffer = [9; 3];
        Some(0x0302_u16).encode(&mut Writer::new(&mut buffer), Revision::Current).unwrap();
        assert_eq!(buffer, [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn sequences_round_trip(items: Vec<Vec<u8>>) {
            let items: Vec<_> = items.iter().map(|item| B064K::new(item)).collect();
            let built = Seq064K::new(&items);
            let mut buffer = vec![0; built.encoded_len(Revision::Draft)];
            let mut writer = Writer::new(&mut buffer);
            built.encode(&mut writer, Revision::Draft).unwrap();
            prop_assert_eq!(writer.room(), 0);
            let decoded = Seq064K::decode(&mut Reader::new(&buffer), Revision::Draft).unwrap();
            prop_assert_eq!(decoded, built);
            prop_assert!(decoded.into_iter().eq(items.iter().copied()));
        }
    }
}
