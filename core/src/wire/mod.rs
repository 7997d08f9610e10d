//! The data types of the specification (§3.1), and the reader and writer that carry them.
//!
//! Here live values that know nothing about messages: numbers, byte strings, sequences. All numbers are little-endian
//! (D-TYPE-1). What is decoded borrows from the input; what is built borrows from the caller.

mod bytes;
mod compact_size;
mod cursor;
mod error;
mod fixed;
mod layout;
mod sequence;
mod u256;

pub use bytes::{B016M, B032, B064K, B0255, Bytes, Str0255};
pub use compact_size::CompactSize;
pub use cursor::{Reader, Writer};
pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Place};
pub(crate) use fixed::is_hash_rate;
pub use fixed::{PubKey, ShortTxId, Signature, U24};
pub use layout::{DataType, Layout};
pub use sequence::{Seq, Seq064K, Seq0255, SeqIter};
pub use u256::U256;

/// Which text of the protocol both ends speak. An argument of all encoding and decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// sv2-spec at 157b9c2 (September 2022) with the seeds.
    Draft,
    /// sv2-spec at 0f38d51 (August 2026).
    Current,
}

/// A value that can be written to the wire.
pub trait Encode {
    /// Bytes that [`encode`](Self::encode) writes; saturates at the end of the range.
    fn encoded_len(&self, revision: Revision) -> usize;

    /// Writes the value. After an error the writer holds an incomplete value and must be thrown away.
    fn encode(&self, writer: &mut Writer<'_>, revision: Revision) -> Result<(), EncodeError>;
}

/// A value that can be read from the wire, borrowing what is variable in length.
pub trait Decode<'a>: Sized {
    /// Reads one value and moves the reader behind it. When it cannot be read the reader [keeps](Reader::fail) why, and what is returned
    /// means nothing.
    fn read(reader: &mut Reader<'a>, revision: Revision) -> Self;

    /// Reads one value and moves the reader behind it.
    #[inline]
    fn decode(reader: &mut Reader<'a>, revision: Revision) -> Result<Self, DecodeError> {
        let field = *reader.field();
        let value = Self::read(reader, revision);
        *reader.field() = field;
        reader.outcome().map(|()| value)
    }

    /// Checks `count` values in a row and moves the reader behind them, as [`read`](Self::read) does. Types of which every bit pattern is
    /// a value do it without a look at the bytes.
    #[inline]
    fn check_many(reader: &mut Reader<'a>, count: usize, revision: Revision) {
        for _ in 0..count {
            if reader.has_failed() {
                break;
            }
            Self::read(reader, revision);
        }
    }
}

/// Bytes as lowercase hexadecimal digits; long strings are cut, so that a log line stays a line.
pub(crate) fn write_hex(f: &mut core::fmt::Formatter<'_>, bytes: &[u8]) -> core::fmt::Result {
    const SHOWN: usize = 64;
    for byte in bytes.iter().take(SHOWN) {
        write!(f, "{byte:02x}")?;
    }
    if bytes.len() > SHOWN {
        write!(f, "... {} bytes", bytes.len())?;
    }
    Ok(())
}
