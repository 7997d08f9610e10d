//! What can go wrong between bytes and values: small, `Copy`, without borrowed data.

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

/// What is wrong with received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    offset: u32,
    place: Option<Place>,
}

impl DecodeError {
    /// An error at `offset` bytes from the start of the payload, not yet assigned to a field.
    #[must_use]
    #[cold]
    pub const fn new(kind: DecodeErrorKind, offset: u32) -> Self {
        Self { kind, offset, place: None }
    }

    /// The same error in a known place; the first place that is set stays.
    #[must_use]
    #[cold]
    pub const fn at(mut self, place: Place) -> Self {
        if self.place.is_none() {
            self.place = Some(place);
        }
        self
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(self) -> DecodeErrorKind {
        self.kind
    }

    /// Bytes from the start of the payload to the value that is wrong.
    #[must_use]
    pub const fn offset(self) -> u32 {
        self.offset
    }

    /// The message and field, where known.
    #[must_use]
    pub const fn place(self) -> Option<Place> {
        self.place
    }

    /// Whether the message is merely unknown, and to be dropped, rather than malformed.
    #[must_use]
    pub const fn is_unknown_message(self) -> bool {
        matches!(self.kind, DecodeErrorKind::UnknownMessage(_))
    }
}

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A value that cannot be written: why, and which field it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    kind: EncodeErrorKind,
    place: Option<Place>,
}

impl EncodeError {
    /// An error not yet assigned to a field.
    #[must_use]
    #[cold]
    pub const fn new(kind: EncodeErrorKind) -> Self {
        Self { kind, place: None }
    }

    /// The same error in a known place; the first place that is set stays.
    #[must_use]
    #[cold]
    pub const fn at(mut self, place: Place) -> Self {
        if self.place.is_none() {
            self.place = Some(place);
        }
        self
    }

    /// Why.
    #[must_use]
    pub const fn kind(self) -> EncodeErrorKind {
        self.kind
    }

    /// The message and field, where known.
    #[must_use]
    pub const fn place(self) -> Option<Place> {
        self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { revision: Revision::Draft, msg_type: 0x1a, field: Some(3) };

    #[test]
    fn errors_stay_small() {
        assert!(size_of::<DecodeError>() <= 12 && size_of::<EncodeError>() <= 8);
    }

    #[test]
    fn the_innermost_place_is_kept() {
        let outer = Place { field: None, ..PLACE };
        assert_eq!(EncodeError::new(EncodeErrorKind::NoRoom).at(PLACE).at(outer).place(), Some(PLACE));
        assert_eq!(DecodeError::new(DecodeErrorKind::Truncated, 0).at(PLACE).at(outer).place(), Some(PLACE));
    }

    #[test]
    fn an_unknown_number_is_not_a_malformed_message() {
        assert!(DecodeError::new(DecodeErrorKind::UnknownMessage(0x7f), 0).is_unknown_message());
    }
}
