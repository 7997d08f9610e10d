//! Errors of the codec in words: what they call by number gets its name from the catalogue. Nothing else may need the names.

use core::fmt;

use super::catalogue::{Spec, catalogue};
use crate::wire::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, Place};

fn spec(place: Place) -> Option<&'static Spec> {
    catalogue(place.revision).find(|message| message.msg_type() == place.msg_type).map(|message| message.spec())
}

fn message(place: Option<Place>) -> Option<&'static str> {
    place.and_then(spec).map(|spec| spec.name)
}

fn field(place: Option<Place>) -> Option<&'static str> {
    let place = place?;
    let field = spec(place)?.fields.get(usize::from(place.field?))?;
    Some(field.name(place.revision))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match message(Some(*self)) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "message 0x{:02x}", self.msg_type)?,
        }
        field(Some(*self)).map_or(Ok(()), |field| write!(f, ".{field}"))
    }
}

impl DecodeError {
    /// The message's name as in the specification, `SubmitShares.Error` for one, where known.
    #[must_use]
    pub fn message(self) -> Option<&'static str> {
        message(self.place())
    }

    /// The field's name as in the specification, where known.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        field(self.place())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(f, "{place}: ")?;
        }
        match self.kind() {
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
        write!(f, " (at byte {})", self.offset())
    }
}

impl core::error::Error for DecodeError {}

impl EncodeError {
    /// The message's name as in the specification, where known.
    #[must_use]
    pub fn message(self) -> Option<&'static str> {
        message(self.place())
    }

    /// The field's name as in the specification, where known.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        field(self.place())
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(f, "{place}: ")?;
        }
        f.write_str(match self.kind() {
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
    use crate::wire::Revision;

    #[test]
    fn errors_say_what_and_where() {
        let place = Place { revision: Revision::Draft, msg_type: 0x1a, field: Some(3) };
        let error = DecodeError::new(DecodeErrorKind::Truncated, 12).in_field(3).in_message(Revision::Draft, 0x1a);
        assert_eq!(error.place(), Some(place));
        assert_eq!(error.to_string(), "SubmitSharesStandard.nonce: payload ends inside the value (at byte 12)");
        assert_eq!((error.message(), error.field()), (Some("SubmitSharesStandard"), Some("nonce")));
        let error = EncodeError::new(EncodeErrorKind::NoRoom).in_field(3).in_message(Revision::Draft, 0x1a);
        assert_eq!(error.to_string(), "SubmitSharesStandard.nonce: no room in the buffer");
        let error = DecodeError::new(DecodeErrorKind::UnknownMessage(0x7f), 0);
        assert_eq!(error.to_string(), "no message 0x7f in this direction");
        assert_eq!(Place { msg_type: 0xff, ..place }.to_string(), "message 0xff");
    }
}
