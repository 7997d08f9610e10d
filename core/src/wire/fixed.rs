//! Data types of fixed size: `BOOL`, the numbers, keys, signatures, short transaction ids.

use core::fmt;

use super::{DataType, Decode, DecodeErrorKind, Encode, EncodeError, EncodeErrorKind};
use super::{Layout, Reader, Revision, Writer, write_hex};

/// Implements the codec of types of which every bit pattern of `$size` bytes is a value.
macro_rules! plain {
    ($($type:ty: $name:literal, $size:literal, $to:expr, $from:expr;)*) => {$(
        impl DataType for $type {
            const LAYOUT: Layout = Layout::Fixed { name: $name, size: $size };
        }

        impl Encode for $type {
            #[inline]
            fn encoded_len(&self, _: Revision) -> usize {
                $size
            }

            #[inline]
            fn encode(&self, writer: &mut Writer<'_>, _: Revision) -> Result<(), EncodeError> {
                let to: fn(&Self) -> [u8; $size] = $to;
                writer.array(to(self))
            }
        }

        impl<'a> Decode<'a> for $type {
            #[inline]
            fn read(reader: &mut Reader<'a>, _: Revision) -> Self {
                let from: fn([u8; $size]) -> Self = $from;
                from(reader.read_array())
            }

            #[inline]
            fn check_many(reader: &mut Reader<'a>, count: usize, _: Revision) {
                reader.read_slice(count.saturating_mul($size));
            }
        }
    )*};
}
pub(super) use plain;

// D-TYPE-1: little-endian. D-TYPE-2, C-TYPE-2: of a BOOL only bit 0 counts; D-TYPE-3: the others are written as zero.
plain! {
    bool: "BOOL", 1, |value| [u8::from(*value)], |[byte]| byte & 1 == 1;
    u8: "U8", 1, |value| [*value], |[byte]| byte;
    u16: "U16", 2, |value| value.to_le_bytes(), Self::from_le_bytes;
    U24: "U24", 3, |value| value.to_le_bytes(), Self::from_le_bytes;
    u32: "U32", 4, |value| value.to_le_bytes(), Self::from_le_bytes;
    u64: "U64", 8, |value| value.to_le_bytes(), Self::from_le_bytes;
    PubKey: "PUBKEY", 32, |value| value.0, Self;
    Signature: "SIGNATURE", 64, |value| value.0, Self;
    ShortTxId: "SHORT_TX_ID", 6, |value| value.0, Self;
}

/// An unsigned number of 24 bits (D-TYPE-4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct U24(u32);

impl U24 {
    /// The largest number, 16,777,215.
    pub const MAX: Self = Self(0x00ff_ffff);

    /// `None` when `value` needs more than 24 bits.
    #[must_use]
    #[inline]
    pub const fn new(value: u32) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Three bytes, least significant first.
    #[must_use]
    #[inline]
    pub const fn to_le_bytes(self) -> [u8; 3] {
        let [a, b, c, _] = self.0.to_le_bytes();
        [a, b, c]
    }

    /// The number of three bytes, least significant first.
    #[must_use]
    #[inline]
    pub const fn from_le_bytes([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_le_bytes([a, b, c, 0]))
    }
}

/// A public key: Ed25519 in the draft, x-only secp256k1 in the current revision (D-TYPE-8, C-TYPE-11). Not checked here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PubKey(pub [u8; 32]);

/// A signature: Ed25519 in the draft, BIP 340 in the current revision (D-TYPE-8, C-TYPE-11). Not checked here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// `SipHash-2-4` of a transaction id without its two top bytes, least significant byte first (D-TYPE-9).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortTxId(pub [u8; 6]);

macro_rules! debug_as_hex {
    ($($type:ident)*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "("))?;
                write_hex(f, &self.0)?;
                f.write_str(")")
            }
        }
    )*};
}
debug_as_hex!(PubKey Signature ShortTxId);

impl DataType for f32 {
    const LAYOUT: Layout = Layout::Fixed { name: "F32", size: 4 };
}

/// D-TYPE-7. Zero is a value; negative, infinite and undefined numbers are not, in either direction.
impl Encode for f32 {
    #[inline]
    fn encoded_len(&self, _: Revision) -> usize {
        4
    }

    #[inline]
    fn encode(&self, writer: &mut Writer<'_>, _: Revision) -> Result<(), EncodeError> {
        if is_hash_rate(*self) {
            writer.array(self.to_le_bytes())
        } else {
            Err(EncodeError::new(EncodeErrorKind::Invalid))
        }
    }
}

impl<'a> Decode<'a> for f32 {
    #[inline]
    fn read(reader: &mut Reader<'a>, _: Revision) -> Self {
        let offset = reader.offset();
        let value = Self::from_le_bytes(reader.read_array());
        if !is_hash_rate(value) {
            reader.fail(DecodeErrorKind::Float, offset);
        }
        value
    }
}

/// Whether a number can be a hash rate. The text has no bounds for `F32`; zero means no miner yet.
pub(crate) const fn is_hash_rate(value: f32) -> bool {
    // Finite and not below zero, of which there are two.
    matches!(value.to_bits(), 0..0x7f80_0000 | 0x8000_0000)
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use super::*;
    use crate::wire::DecodeError;

    fn decode<'a, T: Decode<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
        T::decode(&mut Reader::new(bytes), Revision::Draft)
    }

    fn encode<T: Encode + Copy>(value: T) -> Result<Vec<u8>, EncodeError> {
        let mut buffer = [0; 80];
        let mut writer = Writer::new(&mut buffer);
        value.encode(&mut writer, Revision::Draft)?;
        let written = writer.written();
        assert_eq!(written, value.encoded_len(Revision::Draft));
        Ok(buffer[..written].to_vec())
    }

    /// D-TYPE-1, D-TYPE-4
    #[test]
    fn numbers_are_little_endian() {
        assert_eq!(encode(0x0102_u16).unwrap(), [2, 1]);
        assert_eq!(encode(U24::new(0x01_02_03).unwrap()).unwrap(), [3, 2, 1]);
        assert_eq!(encode(0x0102_0304_u32).unwrap(), [4, 3, 2, 1]);
        assert_eq!(encode(0x0102_0304_0506_0708_u64).unwrap(), [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(decode::<U24>(&[3, 2, 1]).unwrap().get(), 0x01_02_03);
        assert_eq!(decode::<u64>(&[8, 7, 6, 5, 4, 3, 2, 1]), Ok(0x0102_0304_0506_0708));
        assert_eq!(U24::new(0x0100_0000), None);
    }

    /// D-TYPE-2, D-TYPE-3, C-TYPE-2
    #[test]
    fn only_bit_0_of_a_bool_counts() {
        for byte in 0..=u8::MAX {
            assert_eq!(decode::<bool>(&[byte]), Ok(byte % 2 == 1), "{byte:#04x}");
        }
        assert_eq!((encode(false).unwrap(), encode(true).unwrap()), ([0].to_vec(), [1].to_vec()));
    }

    /// D-TYPE-7, D-OPEN-4
    #[test]
    fn a_hash_rate_is_zero_or_positive_and_finite() {
        for good in [0.0, f32::MIN_POSITIVE, 1.5e12, f32::MAX] {
            assert_eq!(encode(good).unwrap(), good.to_le_bytes());
            assert_eq!(decode::<f32>(&good.to_le_bytes()), Ok(good));
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -f32::MIN_POSITIVE] {
            assert_eq!(encode(bad).unwrap_err().kind(), EncodeErrorKind::Invalid);
            assert_eq!(decode::<f32>(&bad.to_le_bytes()).unwrap_err().kind(), DecodeErrorKind::Float);
        }
    }

    /// D-TYPE-8, D-TYPE-9, C-TYPE-11
    #[test]
    fn keys_signatures_and_short_ids_are_raw_bytes() {
        assert_eq!(encode(PubKey([7; 32])).unwrap(), [7; 32]);
        assert_eq!(encode(Signature([8; 64])).unwrap(), [8; 64]);
        assert_eq!(encode(ShortTxId([1, 2, 3, 4, 5, 6])).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(decode::<ShortTxId>(&[1, 2, 3, 4, 5, 6]), Ok(ShortTxId([1, 2, 3, 4, 5, 6])));
        assert_eq!(decode::<PubKey>(&[0; 31]).unwrap_err().kind(), DecodeErrorKind::Truncated);
        assert_eq!(format!("{:?}", ShortTxId([0xab; 6])), "ShortTxId(abababababab)");
    }
}
