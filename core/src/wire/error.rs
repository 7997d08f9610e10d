//! What can go wrong between bytes and values: small, `Copy`, without borrowed data.

use core::fmt;
use core::num::{NonZeroU8, NonZeroU32};

use super::Revision;

/// The message and the field that an error is about, by their numbers. The names stand in the catalogue, so that who never prints
/// them does not link them: [`DecodeError::message`], [`DecodeError::field`] and `Display` look them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The revision whose numbers these are.
    pub revision: Revision,
    /// The message's number.
    pub msg_type: u8,
    /// How many fields of its struct stand before; `None` when the error is about the message as a whole.
    pub field: Option<u8>,
}

/// Kind and place in one word, so that the results of small reads and writes travel in registers: a decoder takes half the code.
///
/// Bits 0 to 7: the kind's code and one, so never 0. 8 to 15: the field's position and one, 0 for none. 16 to 23: a message's number.
/// 24: the current revision. 25: revision and number are known.
#[derive(Clone, Copy, PartialEq, Eq)]
struct What(NonZeroU32);

impl What {
    const CURRENT: u32 = 1 << 24;
    const KNOWN: u32 = 1 << 25;

    #[inline]
    fn new(code: u8, number: u8) -> Self {
        Self(NonZeroU32::from(NonZeroU8::MIN.saturating_add(code)) | u32::from(number) << 16)
    }

    const fn code(self) -> u8 {
        (self.0.get() as u8).wrapping_sub(1)
    }

    const fn number(self) -> u8 {
        (self.0.get() >> 16) as u8
    }

    /// The first field that is set stays.
    #[inline]
    fn in_field(self, field: u8) -> Self {
        if self.0.get() & 0xff00 == 0 { Self(self.0 | u32::from(field.saturating_add(1)) << 8) } else { self }
    }

    /// The first message that is set stays.
    fn in_message(self, revision: Revision, msg_type: u8) -> Self {
        if self.0.get() & Self::KNOWN != 0 {
            return self;
        }
        let current = if revision == Revision::Current { Self::CURRENT } else { 0 };
        Self(self.0 | (u32::from(msg_type) << 16 | current | Self::KNOWN))
    }

    fn place(self) -> Option<Place> {
        let bits = self.0.get();
        (bits & Self::KNOWN != 0).then(|| Place {
            revision: if bits & Self::CURRENT == 0 { Revision::Draft } else { Revision::Current },
            msg_type: self.number(),
            field: ((bits >> 8) as u8).checked_sub(1),
        })
    }
}

/// What is wrong with received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The payload ends inside a value.
    Truncated,
    /// A length prefix is larger than its type allows (`B0_32`, D-TYPE-6).
    TooLong,
    /// The count of an `OPTION` is neither 0 nor 1 (C-TYPE-10).
    OptionCount,
    /// An `F32` is negative, infinite or not a number.
    Float,
    /// A Bitcoin `CompactSize` number uses more bytes than it needs.
    CompactSize,
    /// Bytes follow the last field.
    TrailingBytes,
    /// No message with this number travels in this direction. Not malformed: the caller drops it.
    UnknownMessage(u8),
}

impl DecodeErrorKind {
    /// See [`Error::code`](crate::error::Error::code).
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Truncated => 0,
            Self::TooLong => 1,
            Self::OptionCount => 2,
            Self::Float => 3,
            Self::CompactSize => 4,
            Self::TrailingBytes => 5,
            Self::UnknownMessage(_) => 6,
        }
    }
}

/// Received bytes that are not what they should be: what, in which field, where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    what: What,
    offset: u32,
}

impl DecodeError {
    /// An error at `offset` bytes from the start of the payload, not yet assigned to a field.
    #[must_use]
    #[cold]
    pub fn new(kind: DecodeErrorKind, offset: u32) -> Self {
        let number = if let DecodeErrorKind::UnknownMessage(number) = kind { number } else { 0 };
        Self { what: What::new(kind.code(), number), offset }
    }

    /// The same error in the field that stands behind so many others; the first field that is set stays.
    #[must_use]
    #[cold]
    pub fn in_field(self, field: u8) -> Self {
        Self { what: self.what.in_field(field), ..self }
    }

    /// The same error in the message that goes by this number; the first message that is set stays.
    #[must_use]
    #[cold]
    pub fn in_message(self, revision: Revision, msg_type: u8) -> Self {
        Self { what: self.what.in_message(revision, msg_type), ..self }
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(self) -> DecodeErrorKind {
        match self.what.code() {
            0 => DecodeErrorKind::Truncated,
            1 => DecodeErrorKind::TooLong,
            2 => DecodeErrorKind::OptionCount,
            3 => DecodeErrorKind::Float,
            4 => DecodeErrorKind::CompactSize,
            5 => DecodeErrorKind::TrailingBytes,
            _ => DecodeErrorKind::UnknownMessage(self.what.number()),
        }
    }

    /// Bytes from the start of the payload to the value that is wrong.
    #[must_use]
    pub const fn offset(self) -> u32 {
        self.offset
    }

    /// The message and field, where known.
    #[must_use]
    pub fn place(self) -> Option<Place> {
        self.what.place()
    }

    /// Whether the message is merely unknown, and to be dropped, rather than malformed.
    #[must_use]
    pub const fn is_unknown_message(self) -> bool {
        matches!(self.kind(), DecodeErrorKind::UnknownMessage(_))
    }
}

#[allow(clippy::missing_fields_in_debug, reason = "`what` is kind and place")]
impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError")
            .field("kind", &self.kind())
            .field("offset", &self.offset)
            .field("place", &self.place())
            .finish()
    }
}

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// The buffer is too small. The same value fits into a larger one.
    NoRoom,
    /// The value is longer than its type can say.
    TooLong,
    /// This revision needs a value that was not given.
    Missing,
    /// The value has no valid form: a float that is not a hash rate, an error code with control characters (D-ERR-3), outputs
    /// that do not parse.
    Invalid,
    /// The message does not exist in this revision.
    NotInRevision,
}

impl EncodeErrorKind {
    const fn code(self) -> u8 {
        match self {
            Self::NoRoom => 0,
            Self::TooLong => 1,
            Self::Missing => 2,
            Self::Invalid => 3,
            Self::NotInRevision => 4,
        }
    }
}

/// A value that cannot be written: why, and which field it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EncodeError(What);

impl EncodeError {
    /// An error not yet assigned to a field.
    #[must_use]
    #[cold]
    pub fn new(kind: EncodeErrorKind) -> Self {
        Self(What::new(kind.code(), 0))
    }

    /// The same error in the field that stands behind so many others; the first field that is set stays.
    #[must_use]
    #[cold]
    pub fn in_field(self, field: u8) -> Self {
        Self(self.0.in_field(field))
    }

    /// The same error in the message that goes by this number; the first message that is set stays.
    #[must_use]
    #[cold]
    pub fn in_message(self, revision: Revision, msg_type: u8) -> Self {
        Self(self.0.in_message(revision, msg_type))
    }

    /// Why.
    #[must_use]
    pub const fn kind(self) -> EncodeErrorKind {
        match self.0.code() {
            0 => EncodeErrorKind::NoRoom,
            1 => EncodeErrorKind::TooLong,
            2 => EncodeErrorKind::Missing,
            3 => EncodeErrorKind::Invalid,
            _ => EncodeErrorKind::NotInRevision,
        }
    }

    /// The message and field, where known.
    #[must_use]
    pub fn place(self) -> Option<Place> {
        self.0.place()
    }
}

impl fmt::Debug for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodeError").field("kind", &self.kind()).field("place", &self.place()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_small_results_stay_small() {
        assert_eq!((size_of::<DecodeError>(), size_of::<EncodeError>()), (8, 4));
        assert_eq!((size_of::<Result<u32, DecodeError>>(), size_of::<Result<(), EncodeError>>()), (8, 4));
    }

    #[test]
    fn the_innermost_place_is_kept() {
        let place = Place { revision: Revision::Current, msg_type: 0xff, field: Some(254) };
        let error = EncodeError::new(EncodeErrorKind::NoRoom).in_field(254).in_field(0);
        assert_eq!(error.place(), None);
        let error = error.in_message(Revision::Current, 0xff).in_message(Revision::Draft, 1);
        assert_eq!(error.place(), Some(place));
        let error = DecodeError::new(DecodeErrorKind::Truncated, 9).in_message(Revision::Draft, 0);
        assert_eq!(error.place(), Some(Place { revision: Revision::Draft, msg_type: 0, field: None }));
        assert_eq!(error.in_field(0).place().and_then(|place| place.field), Some(0));
    }

    #[test]
    fn kinds_come_out_as_they_went_in() {
        use {DecodeErrorKind as D, EncodeErrorKind as E};
        for kind in [
            D::Truncated,
            D::TooLong,
            D::OptionCount,
            D::Float,
            D::CompactSize,
            D::TrailingBytes,
            D::UnknownMessage(0xff),
        ] {
            let error = DecodeError::new(kind, 7);
            assert_eq!((error.kind(), error.offset(), error.place()), (kind, 7, None));
            assert_eq!(error.is_unknown_message(), matches!(kind, D::UnknownMessage(_)));
        }
        for kind in [E::NoRoom, E::TooLong, E::Missing, E::Invalid, E::NotInRevision] {
            assert_eq!(EncodeError::new(kind).kind(), kind);
        }
    }
}
