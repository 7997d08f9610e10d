//! Every message as a struct with the meaning of its fields, declared so that the files read like the specification's
//! tables; and the catalogue that comes out of the same declarations.
//!
//! One struct serves both revisions. Where they differ, a field's type knows it ([`JobStart`], [`DraftOnly`],
//! [`CurrentOnly`], [`CoinbaseOutputs`]). No state lives here.

#[macro_use]
mod declare;
mod catalogue;
mod field;
mod outputs;

pub mod common;
pub mod mining;
pub mod template;

use core::fmt::Debug;

pub use catalogue::{Direction, Entry, Family, Field, FieldInfo, MessageInfo, Slot, Spec, catalogue};
pub use field::{ChannelKind, CurrentOnly, DraftOnly, ErrorCode, FieldType, JobStart};
pub use outputs::{CoinbaseOutputs, CoinbaseOutputsIter, TxOut, TxOuts};

use crate::frame::Header;
use crate::wire::{Decode, DecodeError, DecodeErrorKind, Encode, EncodeError, EncodeErrorKind};
use crate::wire::{Reader, Revision, Writer};

/// A message: its place in the catalogue, and the codec of its payload (by [`Encode`] and [`Decode`]).
pub trait Message: Encode {
    /// Where the message stands in the catalogues of both revisions.
    const SPEC: &'static Spec;

    /// Which of several numbers this value goes by. Only the draft's open error has two.
    #[inline]
    fn variant(&self) -> usize {
        0
    }

    /// Notes by which of several numbers this value came.
    #[inline]
    fn set_variant(&mut self, variant: usize) {
        let _ = variant;
    }

    /// Number and channel bit of this value in `revision`; `None` when the revision lacks the message.
    #[must_use]
    #[inline]
    fn entry(&self, revision: Revision) -> Option<&'static Entry> {
        let entries = Self::SPEC.entries(revision);
        entries.get(self.variant()).or(entries.first())
    }

    /// Which of the message's numbers in `revision` is `msg_type`; `None` when it is none of them.
    #[must_use]
    #[inline]
    fn variant_of(msg_type: u8, revision: Revision) -> Option<usize> {
        Self::SPEC.entries(revision).iter().position(|entry| entry.msg_type == msg_type)
    }

    /// Whether `header` announces this message.
    #[must_use]
    #[inline]
    fn is(header: Header, revision: Revision) -> bool {
        header.is_core() && Self::variant_of(header.msg_type(), revision).is_some()
    }

    /// The header of this value's frame (D-FRAME-2, D-FRAME-7).
    #[inline]
    fn header(&self, revision: Revision) -> Result<Header, EncodeError> {
        let Some(entry) = self.entry(revision) else {
            return Err(EncodeError::new(EncodeErrorKind::NotInRevision).at(&Self::SPEC.place));
        };
        match Header::new(0, entry.channel_msg, entry.msg_type, self.encoded_len(revision)) {
            Some(header) => Ok(header),
            None => Err(EncodeError::new(EncodeErrorKind::TooLong).at(&Self::SPEC.place)),
        }
    }

    /// Writes header and payload to the front of `buffer` and says how many bytes they take. On an error the bytes of
    /// `buffer` are unspecified.
    #[inline]
    fn encode_frame(&self, buffer: &mut [u8], revision: Revision) -> Result<usize, EncodeError> {
        let header = self.header(revision)?;
        let mut writer = Writer::new(buffer);
        writer.array(header.encode()).map_err(|error| error.at(&Self::SPEC.place))?;
        self.encode(&mut writer, revision)?;
        Ok(writer.written())
    }

    /// Reads a whole payload that came under the number `msg_type`.
    ///
    /// Bytes behind the last field are an error in the draft. In the current revision an extension may have appended fields to
    /// any message, so they are dropped (C-TLV-6).
    #[inline]
    fn from_payload<'a>(msg_type: u8, payload: &'a [u8], revision: Revision) -> Result<Self, DecodeError>
    where
        Self: Decode<'a>,
    {
        let Some(variant) = Self::variant_of(msg_type, revision) else {
            return Err(DecodeError::new(DecodeErrorKind::UnknownMessage(msg_type), 0));
        };
        let mut reader = Reader::new(payload);
        let mut message = Self::decode(&mut reader, revision)?;
        if revision == Revision::Draft && !reader.is_empty() {
            return Err(reader.error(DecodeErrorKind::TrailingBytes).at(&Self::SPEC.place));
        }
        message.set_variant(variant);
        Ok(message)
    }
}

/// The messages that travel in one direction of one protocol, as an enum that borrows from the payload.
pub trait MessageSet<'a>: Encode + Copy + Debug + PartialEq + Sized {
    /// The catalogue's rows of all messages of the set.
    const SPECS: &'static [&'static Spec];

    /// Decodes the payload that `header` announced.
    ///
    /// A number that is not in the set, or an extension's message, is an error for which
    /// [`DecodeError::is_unknown_message`] holds: it is dropped, the connection lives. The channel bit is not looked at here;
    /// who is strict compares it with [`entry`](Self::entry). The caller has cut `payload` to the header's length.
    fn decode(header: Header, payload: &'a [u8], revision: Revision) -> Result<Self, DecodeError>;

    /// Number, name and channel bit of the message in `revision`; `None` when the revision lacks it.
    fn entry(&self, revision: Revision) -> Option<&'static Entry>;
}
