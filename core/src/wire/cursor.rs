//! [`Reader`] and [`Writer`]: positions in a slice, and what went wrong on the way there.

use super::{Decode, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Revision};

/// Reads values from the front of a slice and knows how far it came.
///
/// The methods whose name begins with `read` do not say whether they could: the first failure is kept, nothing can be read behind it, and
/// [`outcome`](Self::outcome) tells it at the end. So a message of ten fields has one place where it fails, and not ten.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Length of the whole input, so that the offset costs nothing while reading.
    total: usize,
    failure: Option<DecodeError>,
    /// Which field of a message is read or was read last, counted from 1; 0 outside of messages.
    field: u8,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, total: bytes.len(), failure: None, field: 0 }
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

    /// Whether something could not be read.
    #[must_use]
    #[inline]
    pub const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// What could not be read, if anything. The reader stands at the end of its input then, and has forgotten it.
    #[inline]
    pub const fn outcome(&mut self) -> Result<(), DecodeError> {
        match self.failure.take() {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Notes that the value at `offset` cannot be read, unless another one could not before. Nothing is left to be read.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn fail(&mut self, kind: DecodeErrorKind, offset: u32) {
        if self.failure.is_none() {
            let error = DecodeError::new(kind, offset);
            self.failure = Some(self.field.checked_sub(1).map_or(error, |field| error.in_field(field)));
        }
        self.rest = &[];
    }

    /// The next `N` bytes; zeros when they are not there.
    #[inline]
    pub fn read_array<const N: usize>(&mut self) -> [u8; N] {
        self.read_slice(N).first_chunk().copied().unwrap_or([0; N])
    }

    /// The next `len` bytes, borrowed; none when they are not there.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn read_slice(&mut self, len: usize) -> &'a [u8] {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            self.fail(DecodeErrorKind::Truncated, self.offset());
            return &[];
        };
        self.rest = tail;
        head
    }

    /// A little-endian length of `prefix` bytes (1 to 3).
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub(super) fn read_length(&mut self, prefix: usize) -> usize {
        self.read_slice(prefix).iter().rev().fold(0, |length, &byte| (length << 8) | usize::from(byte))
    }

    /// Bytes behind a length of `prefix` bytes, at most `max` of them.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub(super) fn read_prefixed(&mut self, prefix: usize, max: usize) -> &'a [u8] {
        let offset = self.offset();
        let length = self.read_length(prefix);
        if length > max {
            self.fail(DecodeErrorKind::TooLong, offset);
            return &[];
        }
        self.read_slice(length)
    }

    /// A field of a message, which is named by its position when it cannot be read.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub(crate) fn read_field<T: Decode<'a>>(&mut self, revision: Revision) -> T {
        self.field = self.field.wrapping_add(1);
        T::read(self, revision)
    }

    /// Which field was read last, counted from 1.
    #[inline]
    pub(crate) const fn field(&mut self) -> &mut u8 {
        &mut self.field
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
        assert_eq!(Reader::new(&buffer).read_length(3), 0x01_02_03);
        let error = Writer::new(&mut buffer).length::<1>(33, 32).unwrap_err();
        assert_eq!(error.kind(), EncodeErrorKind::TooLong);
    }
}
