//! Bitcoin's own variable-length number, which counts outputs and script bytes inside transaction parts.

use super::{Decode, DecodeErrorKind, Encode, EncodeError, Reader, Revision, Writer};

/// Bitcoin's `CompactSize`: one byte up to 252, else a mark (253, 254, 255) and 2, 4 or 8 bytes, little-endian. Only the
/// shortest form is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompactSize(pub u64);

impl Encode for CompactSize {
    #[inline]
    fn encoded_len(&self, _: Revision) -> usize {
        match self.0 {
            0..=252 => 1,
            253..=0xffff => 3,
            0x1_0000..=0xffff_ffff => 5,
            _ => 9,
        }
    }

    #[inline]
    fn encode(&self, writer: &mut Writer<'_>, _: Revision) -> Result<(), EncodeError> {
        match self.0 {
            small @ 0..=252 => writer.array([small as u8]),
            medium @ 253..=0xffff => {
                writer.array([253])?;
                writer.array((medium as u16).to_le_bytes())
            }
            large @ 0x1_0000..=0xffff_ffff => {
                writer.array([254])?;
                writer.array((large as u32).to_le_bytes())
            }
            huge => {
                writer.array([255])?;
                writer.array(huge.to_le_bytes())
            }
        }
    }
}

impl<'a> Decode<'a> for CompactSize {
    #[inline]
    fn read(reader: &mut Reader<'a>, _: Revision) -> Self {
        let offset = reader.offset();
        let [first] = reader.read_array();
        let (value, least) = match first {
            253 => (u64::from(u16::from_le_bytes(reader.read_array())), 253),
            254 => (u64::from(u32::from_le_bytes(reader.read_array())), 0x1_0000),
            255 => (u64::from_le_bytes(reader.read_array()), 0x1_0000_0000),
            small => (u64::from(small), 0),
        };
        if value < least {
            // Not said of a number that ends too early: that failure was first.
            reader.fail(DecodeErrorKind::CompactSize, offset);
        }
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(value: u64, buffer: &mut [u8; 9]) -> usize {
        let mut writer = Writer::new(buffer);
        CompactSize(value).encode(&mut writer, Revision::Draft).unwrap();
        let written = writer.written();
        assert_eq!(written, CompactSize(value).encoded_len(Revision::Draft));
        written
    }

    #[test]
    fn each_size_ends_where_the_next_begins() {
        let mut buffer = [0; 9];
        for (value, len) in [
            (0, 1),
            (252, 1),
            (253, 3),
            (0xffff, 3),
            (0x1_0000, 5),
            (0xffff_ffff, 5),
            (0x1_0000_0000, 9),
            (u64::MAX, 9),
        ] {
            assert_eq!(encode(value, &mut buffer), len, "{value}");
        }
    }

    #[test]
    fn a_longer_form_than_needed_is_malformed() {
        for bytes in [&[253, 252, 0][..], &[254, 0xff, 0xff, 0, 0], &[255, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]] {
            let error = CompactSize::decode(&mut Reader::new(bytes), Revision::Draft).unwrap_err();
            assert_eq!(error.kind(), DecodeErrorKind::CompactSize);
        }
    }

    proptest! {
        #[test]
        fn numbers_round_trip(value: u64, shift in 0_u32..64) {
            let mut buffer = [0; 9];
            let written = encode(value >> shift, &mut buffer);
            let mut reader = Reader::new(&buffer[..written]);
            prop_assert_eq!(CompactSize::decode(&mut reader, Revision::Draft), Ok(CompactSize(value >> shift)));
            prop_assert!(reader.is_empty());
        }
    }
}
