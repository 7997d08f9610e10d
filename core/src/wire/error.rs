//! What can go wrong between bytes and values: small, `Copy`, without borrowed data.

use core::fmt;

/// The message and the field that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name as in the specification, `SubmitShares.Error` for one.
    pub message: &'static str,
    /// Name as in the specification; `None` when the error is about the message as a whole.
    pub field: Option<&'static str>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "{}.{}", self.message, field),
            None => f.write_str(self.message),
        }
    }
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

/// Received bytes that are not what they should be: what, in which field, where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    offset: u32,
    place: Option<&'static Place>,
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
    pub const fn at(mut self, place: &'static Place) -> Self {
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

    /// The message, where known.
    #[must_use]
    pub fn message(self) -> Option<&'static str> {
        self.place.map(|place| place.message)
    }

    /// The field, where known.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        self.place.and_then(|place| place.field)
    }

    /// Whether the message is merely unknown, and to be dropped, rather than malformed.
    #[must_use]
    pub const fn is_unknown_message(self) -> bool {
        matches!(self.kind, DecodeErrorKind::UnknownMessage(_))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        match self.kind {
            DecodeErrorKind::Truncated => f.write_str("payload ends inside the value")?,
            DecodeErrorKind::TooLong => f.write_str("length is larger than the type allows")?,
            DecodeErrorKind::OptionCount => f.write_str("count of an optional value is neither 0 nor 1")?,
            DecodeErrorKind::Float => f.write_str("number is negative, infinite or not a number")?,
            DecodeErrorKind::CompactSize => f.write_str("compact size is not in its shortest form")?,
            DecodeErrorKind::TrailingBytes => f.write_str("bytes follow the last field")?,
            DecodeErrorKind::UnknownMessage(number) => {
                return write!(f, "no message 0x{number:02x} in this direction");
            }
        }
        write!(f, " (at byte {})", self.offset)
    }
}

impl core::error::Error for DecodeError {}

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
    place: Option<&'static Place>,
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
    pub const fn at(mut self, place: &'static Place) -> Self {
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

    /// The message, where known.
    #[must_use]
    pub fn message(self) -> Option<&'static str> {
        self.place.map(|place| place.message)
    }

    /// The field, where known.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        self.place.and_then(|place| place.field)
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(match self.kind {
            EncodeErrorKind::NoRoom => "no room in the buffer",
            EncodeErrorKind::TooLong => "value is longer than its type allows",
            EncodeErrorKind::Missing => "this revision needs a value here",
            EncodeErrorKind::Invalid => "value has no valid form on the wire",
            EncodeErrorKind::NotInRevision => "message does not exist in this revision",
        })
    }
}

impl core::error::Error for EncodeError {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn errors_say_what_and_where_and_stay_small() {
        static PLACE: Place = Place { message: "SubmitSharesStandard", field: Some("nonce") };
        let error = DecodeError::new(DecodeErrorKind::Truncated, 12).at(&PLACE);
        assert_eq!(error.to_string(), "SubmitSharesStandard.nonce: payload ends inside the value (at byte 12)");
        assert_eq!((error.message(), error.field()), (Some("SubmitSharesStandard"), Some("nonce")));
        assert!(size_of::<DecodeError>() <= 16 && size_of::<EncodeError>() <= 16);
    }

    #[test]
    fn the_innermost_place_is_kept() {
        static INNER: Place = Place { message: "A", field: Some("b") };
        static OUTER: Place = Place { message: "C", field: None };
        let error = EncodeError::new(EncodeErrorKind::NoRoom).at(&INNER).at(&OUTER);
        assert_eq!(error.to_string(), "A.b: no room in the buffer");
    }

    #[test]
    fn an_unknown_number_is_not_a_malformed_message() {
        let error = DecodeError::new(DecodeErrorKind::UnknownMessage(0x7f), 0);
        assert!(error.is_unknown_message());
        assert_eq!(error.to_string(), "no message 0x7f in this direction");
    }
}
