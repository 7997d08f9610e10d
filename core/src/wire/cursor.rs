//! [`Reader`] and [`Writer`]: positions in a slice. No state beyond that.

use super::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};

/// Reads values from the front of a slice and knows how far it came.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Length of the whole input, so that the offset costs nothing while reading.
    total: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, total: bytes.len() }
    }

    /// Bytes read so far.
    #[must_use]
    #[inline]
    pub const fn offset(&self) -> u32 {
        // The difference cannot wrap: `rest` is always a tail of the input. A payload has at most 2^24 bytes.
        self.total.saturating_sub(self.rest.len()) as u32
    }

    /// Bytes not read yet.
    #[must_use]
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all bytes were read.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error of `kind` at the present position.
    #[must_use]
    #[cold]
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(kind, self.offset())
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.error(DecodeErrorKind::Truncated));
        };
        self.rest = tail;
        Ok(*head)
    }

    /// The next `len` bytes, borrowed.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            return Err(self.error(DecodeErrorKind::Truncated));
        };
        self.rest = tail;
        Ok(head)
    }

    /// A little-endian length of `PREFIX` bytes (1 to 3).
    #[inline]
    pub(super) fn length<const PREFIX: usize>(&mut self) -> Result<usize, DecodeError> {
        let bytes = self.array::<PREFIX>()?;
        Ok(bytes.iter().rev().fold(0, |length, &byte| (length << 8) | usize::from(byte)))
    }
}

/// Writes values to the front of a slice and knows how far it came.
#[derive(Debug)]
pub struct Writer<'a> {
    rest: &'a mut [u8],
    total: usize,
}

impl<'a> Writer<'a> {
    /// A writer at the start of `buffer`.
    #[must_use]
    #[inline]
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        let total = buffer.len();
        Self { rest: buffer, total }
    }

    /// Bytes written so far.
    #[must_use]
    #[inline]
    pub const fn written(&self) -> usize {
        self.total.saturating_sub(self.rest.len())
    }

    /// Bytes that still fit.
    #[must_use]
    #[inline]
    pub const fn room(&self) -> usize {
        self.rest.len()
    }

    /// A writer over exactly the next `len` bytes; this one moves behind them. One check here makes those inside free.
    #[inline]
    pub fn split(&mut self, len: usize) -> Result<Writer<'a>, EncodeError> {
        if self.rest.len() < len {
            return Err(EncodeError::new(EncodeErrorKind::NoRoom));
        }
        let Some((head, tail)) = core::mem::take(&mut self.rest).split_at_mut_checked(len) else {
            return Err(EncodeError::new(EncodeErrorKind::NoRoom));
        };
        self.rest = tail;
        Ok(Writer::new(head))
    }

    /// Writes `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), EncodeError> {
        if self.rest.len() < N {
            return Err(EncodeError::new(EncodeErrorKind::NoRoom));
        }
        let Some((head, tail)) = core::mem::take(&mut self.rest).split_first_chunk_mut::<N>() else {
            return Err(EncodeError::new(EncodeErrorKind::NoRoom));
        };
        *head = bytes;
        self.rest = tail;
        Ok(())
    }

    /// Writes all of `bytes`.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let head = self.split(bytes.len())?;
        // Both have the same length, so that the zip covers them; `copy_from_slice` would carry a panic.
        for (to, from) in head.rest.iter_mut().zip(bytes) {
            *to = *from;
        }
        Ok(())
    }

    /// A little-endian length of `PREFIX` bytes (1 to 3), at most `max`.
    #[inline]
    pub(super) fn length<const PREFIX: usize>(&mut self, length: usize, max: usize) -> Result<(), EncodeError> {
        if length > max {
            return Err(EncodeError::new(EncodeErrorKind::TooLong));
        }
        let mut bytes = [0; PREFIX];
        for (to, from) in bytes.iter_mut().zip((length as u64).to_le_bytes()) {
            *to = from;
        }
        self.array(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_counts_and_stays_where_it_failed() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5]);
        assert_eq!(reader.array::<2>(), Ok([1, 2]));
        assert_eq!(reader.take(2), Ok(&[3, 4][..]));
        assert_eq!(reader.array::<2>(), Err(DecodeError::new(DecodeErrorKind::Truncated, 4)));
        assert_eq!((reader.offset(), reader.rest()), (4, &[5][..]));
    }

    #[test]
    fn the_writer_fills_exactly_what_it_was_given() {
        let mut buffer = [0; 5];
        let mut writer = Writer::new(&mut buffer);
        writer.array([1, 2]).unwrap();
        writer.bytes(&[3, 4]).unwrap();
        assert_eq!((writer.written(), writer.room()), (4, 1));
        assert_eq!(writer.array([5, 6]).unwrap_err().kind(), EncodeErrorKind::NoRoom);
        assert_eq!(writer.split(2).unwrap_err().kind(), EncodeErrorKind::NoRoom);
        writer.bytes(&[5]).unwrap();
        assert_eq!(buffer, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn lengths_are_little_endian_and_bounded() {
        let mut buffer = [0; 3];
        Writer::new(&mut buffer).length::<3>(0x01_02_03, 0xff_ff_ff).unwrap();
        assert_eq!(buffer, [3, 2, 1]);
        assert_eq!(Reader::new(&buffer).length::<3>(), Ok(0x01_02_03));
        let error = Writer::new(&mut buffer).length::<1>(33, 32).unwrap_err();
        assert_eq!(error.kind(), EncodeErrorKind::TooLong);
    }
}
