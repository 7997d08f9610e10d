//! Types of fields that know how the revisions differ, so that state machines never look at the revision.

use core::fmt;

use super::Slot;
use crate::wire::{DataType, Decode, Encode, EncodeError, EncodeErrorKind, Layout};
use crate::wire::{Reader, Revision, Str0255, Writer};

/// What a field of this type is in each revision; `None` where it is not on the wire.
pub trait FieldType {
    /// In the draft.
    const DRAFT: Option<Slot>;
    /// In the current revision.
    const CURRENT: Option<Slot>;
}

impl<T: DataType> FieldType for T {
    const DRAFT: Option<Slot> = Some(Slot { name: None, layout: T::LAYOUT });
    const CURRENT: Option<Slot> = Some(Slot { name: None, layout: T::LAYOUT });
}

macro_rules! only_in {
    ($(#[$meta:meta])* $name:ident, $revision:ident, $draft:expr, $current:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name<T>(Option<T>);

        impl<T: Copy> $name<T> {
            /// A value for the revision that has the field; the other leaves it out.
            #[must_use]
            pub const fn new(value: T) -> Self {
                Self(Some(value))
            }

            /// No value. Encoding it in the revision that has the field fails.
            #[must_use]
            pub const fn absent() -> Self {
                Self(None)
            }

            /// The value, if the peer's revision has the field.
            #[must_use]
            pub const fn get(&self) -> Option<T> {
                self.0
            }
        }

        impl<T> From<T> for $name<T> {
            fn from(value: T) -> Self {
                Self(Some(value))
            }
        }

        impl<T: fmt::Debug> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match &self.0 {
                    Some(value) => value.fmt(f),
                    None => f.write_str("absent"),
                }
            }
        }

        impl<T: DataType> FieldType for $name<T> {
            const DRAFT: Option<Slot> = $draft;
            const CURRENT: Option<Slot> = $current;
        }

        impl<T: Encode> Encode for $name<T> {
            #[inline]
            fn encoded_len(&self, revision: Revision) -> usize {
                match (&self.0, revision) {
                    (Some(value), Revision::$revision) => value.encoded_len(revision),
                    _ => 0,
                }
            }

            #[inline]
            fn encode(&self, writer: &mut Writer<'_>, revision: Revision) -> Result<(), EncodeError> {
                match (&self.0, revision) {
                    (Some(value), Revision::$revision) => value.encode(writer, revision),
                    (None, Revision::$revision) => Err(EncodeError::new(EncodeErrorKind::Missing)),
                    _ => Ok(()),
                }
            }
        }

        impl<'a, T: Decode<'a>> Decode<'a> for $name<T> {
            #[inline]
            fn read(reader: &mut Reader<'a>, revision: Revision) -> Self {
                Self(match revision {
                    Revision::$revision => Some(T::read(reader, revision)),
                    #[allow(unreachable_patterns, reason = "the other revision, whichever that is")]
                    _ => None,
                })
            }
        }
    };
}

only_in! {
    /// A field that only the draft has. Give a value when building a message, so that it can be sent in either revision.
    DraftOnly, Draft, <T as FieldType>::DRAFT, None
}
only_in! {
    /// A field that only the current revision has. Give a value when building a message, so that it can be sent in either
    /// revision.
    CurrentOnly, Current, None, <T as FieldType>::CURRENT
}

/// When work on a job begins: `future_job: BOOL` in the draft, `min_ntime: OPTION[U32]` in the current revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStart {
    /// The job waits for a `SetNewPrevHash` that names it (D-MIN-2).
    Future,
    /// The job begins at once, on the last `SetNewPrevHash` (D-MIN-1).
    Now {
        /// Lowest `ntime` that the job allows, in seconds since 1970. The draft does not carry it (there the `SetNewPrevHash`
        /// has it); the current revision needs it.
        min_ntime: Option<u32>,
    },
}

impl JobStart {
    /// Whether the job waits for its `SetNewPrevHash`.
    #[must_use]
    pub const fn is_future(self) -> bool {
        matches!(self, Self::Future)
    }
}

impl FieldType for JobStart {
    const DRAFT: Option<Slot> = Some(Slot { name: Some("future_job"), layout: <bool as DataType>::LAYOUT });
    const CURRENT: Option<Slot> = Some(Slot { name: Some("min_ntime"), layout: <Option<u32> as DataType>::LAYOUT });
}

impl Encode for JobStart {
    #[inline]
    fn encoded_len(&self, revision: Revision) -> usize {
        match (revision, self) {
            (Revision::Draft, _) | (Revision::Current, Self::Future) => 1,
            (Revision::Current, Self::Now { .. }) => 5,
        }
    }

    #[inline]
    fn encode(&self, writer: &mut Writer<'_>, revision: Revision) -> Result<(), EncodeError> {
        match (revision, *self) {
            (Revision::Draft, start) => start.is_future().encode(writer, revision),
            (Revision::Current, Self::Future) => None::<u32>.encode(writer, revision),
            (Revision::Current, Self::Now { min_ntime: None }) => Err(EncodeError::new(EncodeErrorKind::Missing)),
            (Revision::Current, Self::Now { min_ntime }) => min_ntime.encode(writer, revision),
        }
    }
}

impl<'a> Decode<'a> for JobStart {
    #[inline]
    fn read(reader: &mut Reader<'a>, revision: Revision) -> Self {
        match revision {
            Revision::Draft if bool::read(reader, revision) => Self::Future,
            Revision::Draft => Self::Now { min_ntime: None },
            Revision::Current => match Option::read(reader, revision) {
                None => Self::Future,
                min_ntime => Self::Now { min_ntime },
            },
        }
    }
}

/// Which kind of channel a message is about, where the draft tells it by the message's number: not on the wire otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// A standard channel: one merkle root, no extranonce to roll.
    #[default]
    Standard,
    /// An extended channel: its owner rolls an extranonce.
    Extended,
}

impl ChannelKind {
    #[inline]
    pub(super) const fn variant(self) -> usize {
        match self {
            Self::Standard => 0,
            Self::Extended => 1,
        }
    }

    #[inline]
    pub(super) const fn from_variant(variant: usize) -> Self {
        match variant {
            0 => Self::Standard,
            _ => Self::Extended,
        }
    }
}

impl FieldType for ChannelKind {
    const DRAFT: Option<Slot> = None;
    const CURRENT: Option<Slot> = None;
}

impl Encode for ChannelKind {
    #[inline]
    fn encoded_len(&self, _: Revision) -> usize {
        0
    }

    #[inline]
    fn encode(&self, _: &mut Writer<'_>, _: Revision) -> Result<(), EncodeError> {
        Ok(())
    }
}

impl<'a> Decode<'a> for ChannelKind {
    #[inline]
    fn read(_: &mut Reader<'a>, _: Revision) -> Self {
        Self::default()
    }
}

/// `STR0_255` with a reason for machines: `error_code` and `reason_code`.
///
/// Senders use printable ASCII and no control characters (D-ERR-2, D-ERR-3, C-ERR-4): encoding a code with a control character
/// fails. Receivers take whatever comes, log it, and do not act on it (D-ERR-1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ErrorCode<'a>(Str0255<'a>);

impl<'a> ErrorCode<'a> {
    /// `code` as an error code; see the constants beside each message.
    #[must_use]
    pub const fn new(code: &'a str) -> Self {
        Self(Str0255::new(code))
    }

    /// The string as it came or goes.
    #[must_use]
    pub const fn as_str0255(&self) -> Str0255<'a> {
        self.0
    }

    /// The code's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// Whether it is what senders should send: printable ASCII only (D-ERR-2).
    #[must_use]
    pub fn is_printable_ascii(&self) -> bool {
        self.0.is_printable_ascii()
    }

    /// Whether a sender may send it: no control characters (D-ERR-3).
    #[must_use]
    pub fn is_sendable(&self) -> bool {
        !self.0.has_control_characters()
    }
}

impl<'a> From<&'a str> for ErrorCode<'a> {
    fn from(code: &'a str) -> Self {
        Self::new(code)
    }
}

impl<'a> From<Str0255<'a>> for ErrorCode<'a> {
    fn from(code: Str0255<'a>) -> Self {
        Self(code)
    }
}

impl PartialEq<str> for ErrorCode<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<&str> for ErrorCode<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// Escaped: safe to log.
impl fmt::Display for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl DataType for ErrorCode<'_> {
    const LAYOUT: Layout = <Str0255<'_> as DataType>::LAYOUT;
}

impl Encode for ErrorCode<'_> {
    #[inline]
    fn encoded_len(&self, revision: Revision) -> usize {
        self.0.encoded_len(revision)
    }

    #[inline]
    fn encode(&self, writer: &mut Writer<'_>, revision: Revision) -> Result<(), EncodeError> {
        if self.is_sendable() {
            self.0.encode(writer, revision)
        } else {
            Err(EncodeError::new(EncodeErrorKind::Invalid))
        }
    }
}

impl<'a> Decode<'a> for ErrorCode<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>, revision: Revision) -> Self {
        Self(Str0255::read(reader, revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode<T: Encode + Copy>(value: T, revision: Revision) -> Result<std::vec::Vec<u8>, EncodeErrorKind> {
        let mut buffer = std::vec![0; value.encoded_len(revision)];
        let mut writer = Writer::new(&mut buffer);
        value.encode(&mut writer, revision).map_err(EncodeError::kind)?;
        assert_eq!(writer.room(), 0);
        Ok(buffer)
    }

    /// D-MIN-1, D-MIN-2
    #[test]
    fn a_job_start_is_a_bool_or_an_option() {
        let now = JobStart::Now { min_ntime: Some(0x0102_0304) };
        assert_eq!(encode(JobStart::Future, Revision::Draft).unwrap(), [1]);
        assert_eq!(encode(now, Revision::Draft).unwrap(), [0]);
        assert_eq!(encode(JobStart::Future, Revision::Current).unwrap(), [0]);
        assert_eq!(encode(now, Revision::Current).unwrap(), [1, 4, 3, 2, 1]);
        assert_eq!(encode(JobStart::Now { min_ntime: None }, Revision::Current), Err(EncodeErrorKind::Missing));
        let decode = |bytes: &[u8], revision| JobStart::decode(&mut Reader::new(bytes), revision).unwrap();
        assert_eq!(decode(&[3], Revision::Draft), JobStart::Future);
        assert_eq!(decode(&[2], Revision::Draft), JobStart::Now { min_ntime: None });
        assert_eq!(decode(&[0], Revision::Current), JobStart::Future);
        assert_eq!(decode(&[1, 4, 3, 2, 1], Revision::Current), now);
    }

    #[test]
    fn a_field_of_one_revision_is_absent_in_the_other() {
        assert_eq!(encode(DraftOnly::new(7_u16), Revision::Draft).unwrap(), [7, 0]);
        assert_eq!(encode(DraftOnly::new(7_u16), Revision::Current).unwrap(), []);
        assert_eq!(encode(CurrentOnly::new(7_u16), Revision::Draft).unwrap(), []);
        assert_eq!(encode(CurrentOnly::new(7_u16), Revision::Current).unwrap(), [7, 0]);
        assert_eq!(encode(CurrentOnly::<u16>::absent(), Revision::Current), Err(EncodeErrorKind::Missing));
        let mut reader = Reader::new(&[7, 0]);
        assert_eq!(CurrentOnly::<u16>::decode(&mut reader, Revision::Draft).unwrap().get(), None);
        assert_eq!(CurrentOnly::<u16>::decode(&mut reader, Revision::Current).unwrap().get(), Some(7));
    }

    /// D-ERR-2, D-ERR-3
    #[test]
    fn codes_with_control_characters_are_taken_but_not_sent() {
        let mut reader = Reader::new(b"\x04a\nb\x7f");
        let code = ErrorCode::decode(&mut reader, Revision::Draft).unwrap();
        assert!(!code.is_sendable() && !code.is_printable_ascii());
        assert_eq!(encode(code, Revision::Draft), Err(EncodeErrorKind::Invalid));
        assert_eq!(encode(ErrorCode::new("stale-share"), Revision::Draft).unwrap(), b"\x0bstale-share");
        assert!(ErrorCode::new("größe").is_sendable() && !ErrorCode::new("größe").is_printable_ascii());
    }
}
