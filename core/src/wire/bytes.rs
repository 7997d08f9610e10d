//! Byte strings with a length before them: `STR0_255`, `B0_32`, `B0_255`, `B0_64K`, `B0_16M` (D-TYPE-5, D-TYPE-6).

use core::fmt;
use core::str::Utf8Error;

use super::write_hex;
use super::{DataType, Decode, Encode, EncodeError, Layout, Reader, Revision, Writer};

/// Up to `MAX` bytes after a length of `PREFIX` bytes. Use it by its names: [`B032`], [`B0255`], [`B064K`], [`B016M`].
///
/// Any slice can be put in; one that is too long fails when it is encoded.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Bytes<'a, const PREFIX: usize, const MAX: usize>(&'a [u8]);

/// `B0_32`: up to 32 bytes after a length of one byte. A longer one is malformed (D-TYPE-6, C-TYPE-7).
pub type B032<'a> = Bytes<'a, 1, 32>;
/// `B0_255`: up to 255 bytes after a length of one byte.
pub type B0255<'a> = Bytes<'a, 1, 255>;
/// `B0_64K`: up to 65,535 bytes after a length of two bytes.
pub type B064K<'a> = Bytes<'a, 2, 0xffff>;
/// `B0_16M`: up to 16,777,215 bytes after a length of three bytes (the text says 16 bits, the layout is `U24`).
pub type B016M<'a> = Bytes<'a, 3, 0x00ff_ffff>;

impl<'a, const PREFIX: usize, const MAX: usize> Bytes<'a, PREFIX, MAX> {
    /// Most bytes that it holds on the wire.
    pub const MAX_LEN: usize = MAX;

    /// `bytes` as a value of this type.
    #[must_use]
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes, without the length.
    #[must_use]
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// How many bytes, without the length.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a, const PREFIX: usize, const MAX: usize> From<&'a [u8]> for Bytes<'a, PREFIX, MAX> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a, const PREFIX: usize, const MAX: usize, const N: usize> From<&'a [u8; N]> for Bytes<'a, PREFIX, MAX> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self(bytes)
    }
}

impl<const PREFIX: usize, const MAX: usize> AsRef<[u8]> for Bytes<'_, PREFIX, MAX> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl<const PREFIX: usize, const MAX: usize> fmt::Debug for Bytes<'_, PREFIX, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        write_hex(f, self.0)?;
        f.write_str("]")
    }
}

impl<const PREFIX: usize, const MAX: usize> DataType for Bytes<'_, PREFIX, MAX> {
    const LAYOUT: Layout = Layout::Bytes {
        name: match (PREFIX, MAX) {
            (1, 32) => "B0_32",
            (1, _) => "B0_255",
            (2, _) => "B0_64K",
            _ => "B0_16M",
        },
        prefix: PREFIX as u32,
        max: MAX as u32,
    };
}

impl<const PREFIX: usize, const MAX: usize> Encode for Bytes<'_, PREFIX, MAX> {
    #[inline]
    fn encoded_len(&self, _: Revision) -> usize {
        self.0.len().saturating_add(PREFIX)
    }

    #[inline]
    fn encode(&self, writer: &mut Writer<'_>, _: Revision) -> Result<(), EncodeError> {
        writer.length::<PREFIX>(self.0.len(), MAX)?;
        writer.bytes(self.0)
    }
}

impl<'a, const PREFIX: usize, const MAX: usize> Decode<'a> for Bytes<'a, PREFIX, MAX> {
    #[inline]
    fn read(reader: &mut Reader<'a>, _: Revision) -> Self {
        Self(reader.read_prefixed(PREFIX, MAX))
    }
}

/// `STR0_255`: up to 255 bytes of text after a length of one byte; no terminator.
///
/// A peer may send anything, so the bytes are kept as they are; [`as_str`](Self::as_str) says whether they are text. `Debug`
/// escapes what is not printable ASCII, so that no peer writes to a log what it likes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Str0255<'a>(&'a [u8]);

impl<'a> Str0255<'a> {
    /// Most bytes that it holds on the wire.
    pub const MAX_LEN: usize = 255;

    /// `text` as a value of this type; longer than 255 bytes fails when it is encoded.
    #[must_use]
    #[inline]
    pub const fn new(text: &'a str) -> Self {
        Self(text.as_bytes())
    }

    /// Bytes of unchecked encoding, as a proxy passes them on.
    #[must_use]
    #[inline]
    pub const fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes, without the length.
    #[must_use]
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The text, when it is UTF-8.
    pub const fn as_str(&self) -> Result<&'a str, Utf8Error> {
        core::str::from_utf8(self.0)
    }

    /// How many bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of it is printable ASCII (D-ERR-2).
    #[must_use]
    pub fn is_printable_ascii(&self) -> bool {
        self.0.iter().all(|byte| matches!(byte, b' '..=b'~'))
    }

    /// Whether it holds an ASCII control character (D-ERR-3).
    #[must_use]
    pub fn has_control_characters(&self) -> bool {
        self.0.iter().any(u8::is_ascii_control)
    }
}

impl<'a> From<&'a str> for Str0255<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text)
    }
}

impl PartialEq<str> for Str0255<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Str0255<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

/// Escaped, as `Debug`, without the quotes.
impl fmt::Display for Str0255<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Str0255<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl DataType for Str0255<'_> {
    const LAYOUT: Layout = Layout::Bytes { name: "STR0_255", prefix: 1, max: Self::MAX_LEN as u32 };
}

impl Encode for Str0255<'_> {
    #[inline]
    fn encoded_len(&self, revision: Revision) -> usize {
        B0255::new(self.0).encoded_len(revision)
    }

    #[inline]
    fn encode(&self, writer: &mut Writer<'_>, revision: Revision) -> Result<(), EncodeError> {
        B0255::new(self.0).encode(writer, revision)
    }
}

impl<'a> Decode<'a> for Str0255<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>, revision: Revision) -> Self {
        Self(B0255::read(reader, revision).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec;

    use super::*;
    use crate::wire::{DecodeErrorKind, EncodeErrorKind};

    /// D-TYPE-5
    #[test]
    fn the_length_comes_first_and_little_endian() {
        let mut buffer = [0; 8];
        B064K::new(&[7, 8]).encode(&mut Writer::new(&mut buffer), Revision::Draft).unwrap();
        assert_eq!(buffer[..4], [2, 0, 7, 8]);
        B016M::new(&[7, 8]).encode(&mut Writer::new(&mut buffer), Revision::Draft).unwrap();
        assert_eq!(buffer[..5], [2, 0, 0, 7, 8]);
        Str0255::new("abc").encode(&mut Writer::new(&mut buffer), Revision::Draft).unwrap();
        assert_eq!(buffer[..4], *b"\x03abc");
        let mut reader = Reader::new(b"\x03abcd");
        assert_eq!(Str0255::decode(&mut reader, Revision::Draft).unwrap(), "abc");
        assert_eq!(reader.rest(), b"d");
    }

    /// D-TYPE-6, C-TYPE-7: a `B0_32` of 33 bytes is malformed, not cut.
    #[test]
    fn too_long_is_an_error_both_ways() {
        let bytes = [33; 34];
        let error = B032::decode(&mut Reader::new(&bytes), Revision::Draft).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (DecodeErrorKind::TooLong, 0));
        let long = vec![0; 0x0100_0000];
        let mut buffer = vec![0; 0x0100_0010];
        let mut fails = |value: &dyn Encode| {
            value.encode(&mut Writer::new(&mut buffer), Revision::Draft).unwrap_err().kind() == EncodeErrorKind::TooLong
        };
        assert!(fails(&B032::new(&long[..33])));
        assert!(fails(&B0255::new(&long[..256])));
        assert!(fails(&Str0255::from_bytes(&long[..256])));
        assert!(fails(&B064K::new(&long[..0x1_0000])));
        assert!(fails(&B016M::new(&long)));
    }

    #[test]
    fn debug_escapes_what_a_peer_should_not_print() {
        let text = Str0255::from_bytes(b"a\x1b[2J\n\xff\"");
        assert_eq!(format!("{text:?}"), r#""a\x1b[2J\n\xff\"""#);
        assert!(text.as_str().is_err() && text.has_control_characters() && !text.is_printable_ascii());
        assert_eq!(format!("{:?}", B032::new(&[0xab, 1])), "[ab01]");
        assert_eq!(format!("{:?}", B0255::new(&[0; 65])).len(), 1 + 128 + "... 65 bytes".len() + 1);
    }
}
