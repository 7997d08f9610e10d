//! Which number goes with which message: all that decoding and sending need of the catalogue, without its names.

use super::catalogue::{Entry, Spec};
use crate::frame::Header;
use crate::wire::{EncodeError, EncodeErrorKind, Revision};

/// What a message goes by in a frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Number in the frame header.
    pub msg_type: u8,
    /// The channel bit in the frame header.
    pub channel_msg: bool,
}

/// The numbers of one message in both revisions; the draft's open error has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    draft: [Option<Number>; 2],
    current: [Option<Number>; 2],
}

impl Numbers {
    /// Those of a declaration.
    pub(super) const fn of(spec: &Spec) -> Self {
        Self { draft: Self::rows(spec.draft), current: Self::rows(spec.current) }
    }

    const fn rows(entries: &[Entry]) -> [Option<Number>; 2] {
        match entries {
            [] => [None, None],
            [one] => [Some(one.number()), None],
            [one, two] => [Some(one.number()), Some(two.number())],
            // A declaration that says so does not compile: this is evaluated in `Message::NUMBERS`, and by nobody else.
            _ => panic!("a message with more than two numbers"),
        }
    }

    /// Those of one revision, in the order of the declaration.
    #[must_use]
    #[inline]
    pub const fn in_revision(&self, revision: Revision) -> &[Option<Number>; 2] {
        match revision {
            Revision::Draft => &self.draft,
            Revision::Current => &self.current,
        }
    }

    /// The number, where both revisions have one and the same.
    pub(super) const fn only(self) -> Option<Number> {
        match (self.draft, self.current) {
            ([Some(draft), None], [Some(current), None]) if draft.msg_type == current.msg_type => Some(draft),
            _ => None,
        }
    }

    /// The number of this variant of the message, else its first; `None` when the revision lacks the message.
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn number(&self, variant: usize, revision: Revision) -> Option<Number> {
        let numbers = self.in_revision(revision);
        numbers.get(variant).copied().flatten().or(numbers[0])
    }

    /// Which of the numbers in `revision` is `msg_type`; `None` when it is none of them.
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn variant_of(&self, msg_type: u8, revision: Revision) -> Option<usize> {
        let is = |number: &Option<Number>| number.is_some_and(|number| number.msg_type == msg_type);
        self.in_revision(revision).iter().position(is)
    }

    /// The header of a frame with this variant of the message in a payload of `length` bytes (D-FRAME-2, D-FRAME-7).
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn header(&self, variant: usize, length: usize, revision: Revision) -> Result<Header, EncodeError> {
        let refused = |kind, number: Option<Number>, revision| {
            let error = EncodeError::new(kind);
            Err(number.map_or(error, |number| error.in_message(revision, number.msg_type)))
        };
        let Some(number) = self.number(variant, revision) else {
            // It goes by the other's number.
            let other = match revision {
                Revision::Draft => Revision::Current,
                Revision::Current => Revision::Draft,
            };
            return refused(EncodeErrorKind::NotInRevision, self.number(variant, other), other);
        };
        match Header::new(0, number.channel_msg, number.msg_type, length) {
            Some(header) => Ok(header),
            None => refused(EncodeErrorKind::TooLong, Some(number), revision),
        }
    }
}

/// A number that belongs to a set of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number and its channel bit.
    pub number: Number,
    /// Position of the message in the set.
    pub(super) at: u8,
    /// Which of the message's numbers it is.
    pub(super) variant: u8,
}

/// The numbers of a set of messages, as [`MessageSet::ROWS`](super::MessageSet::ROWS) has them.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// In the draft.
    pub draft: &'static [Row],
    /// In the current revision.
    pub current: &'static [Row],
}

impl Rows {
    /// The row of a number.
    #[must_use]
    #[inline]
    pub fn find(&self, msg_type: u8, revision: Revision) -> Option<Row> {
        let rows = match revision {
            Revision::Draft => self.draft,
            Revision::Current => self.current,
        };
        rows.iter().find(|row| row.number.msg_type == msg_type).copied()
    }
}

/// How many numbers the messages have in `revision`.
pub(super) const fn count(specs: &[&Spec], revision: Revision) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < specs.len() {
        count += specs[at].entries(revision).len();
        at += 1;
    }
    count
}

/// The rows of a set; `COUNT` is [`count`]. Only called by the compiler, so its panics are errors of the build.
pub(super) const fn rows<const COUNT: usize>(specs: &[&Spec], revision: Revision) -> [Row; COUNT] {
    let mut rows = [Row { number: Number { msg_type: 0, channel_msg: false }, at: 0, variant: 0 }; COUNT];
    let (mut filled, mut at) = (0, 0);
    while at < specs.len() {
        let entries = specs[at].entries(revision);
        let mut variant = 0;
        while variant < entries.len() {
            rows[filled] = Row { number: entries[variant].number(), at: at as u8, variant: variant as u8 };
            filled += 1;
            variant += 1;
        }
        at += 1;
    }
    assert!(filled == COUNT && at <= 0xff, "the count of the same specifications");
    rows
}
