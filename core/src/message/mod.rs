//! Every message as a struct with the meaning of its fields, declared so that the files read like the specification's
//! tables; and the catalogue that comes out of the same declarations.
//!
//! One struct serves both revisions. Where they differ, a field's type knows it ([`JobStart`], [`DraftOnly`],
//! [`CurrentOnly`], [`CoinbaseOutputs`]). No state lives here.

#[macro_use]
mod declare;
mod catalogue;
mod field;
mod names;
mod numbers;
mod outputs;
mod unread;

pub mod common;
pub mod mining;
pub mod template;

use core::fmt::Debug;

pub use catalogue::{Direction, Entry, Family, Field, FieldInfo, MessageInfo, Slot, Spec, catalogue};
pub use field::{ChannelKind, CurrentOnly, DraftOnly, ErrorCode, FieldType, JobStart};
pub use numbers::{Number, Numbers, Row, Rows};
pub use outputs::{CoinbaseOutputs, CoinbaseOutputsIter, TxOut, TxOuts};
pub use unread::Unread;

use crate::frame::Header;
use crate::wire::{Decode, DecodeError, DecodeErrorKind, Encode, EncodeError};
use crate::wire::{Reader, Revision, Writer};

/// A message: its place in the catalogue, and the codec of its payload (by [`Encode`] and [`Decode`]).
pub trait Message: Encode {
    /// Where the message stands in the catalogues of both revisions.
    const SPEC: &'static Spec;

    /// Its numbers, all that the codec needs of it.
    const NUMBERS: Numbers = Numbers::of(Self::SPEC);

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
    fn number(&self, revision: Revision) -> Option<Number> {
        Self::NUMBERS.number(self.variant(), revision)
    }

    /// The same with the name that goes with it.
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
        Self::NUMBERS.variant_of(msg_type, revision)
    }

    /// Whether `header` announces this message.
    #[must_use]
    #[inline]
    fn is(header: Header, revision: Revision) -> bool {
        header.is_core()
            && match const { Self::NUMBERS.only() } {
                Some(number) => header.msg_type() == number.msg_type,
                None => Self::variant_of(header.msg_type(), revision).is_some(),
            }
    }

    /// The header of this value's frame (D-FRAME-2, D-FRAME-7).
    #[inline]
    fn header(&self, revision: Revision) -> Result<Header, EncodeError> {
        Self::NUMBERS.header(self.variant(), self.encoded_len(revision), revision)
    }

    /// Writes header and payload to the front of `buffer` and says how many bytes they take. On an error the bytes of
    /// `buffer` are unspecified.
    #[inline]
    fn encode_frame(&self, buffer: &mut [u8], revision: Revision) -> Result<usize, EncodeError> {
        let header = self.header(revision)?;
        let mut writer = Writer::new(buffer);
        match writer.array(header.encode()).and_then(|()| self.encode(&mut writer, revision)) {
            Ok(()) => Ok(writer.written()),
            Err(error) => Err(error.in_message(revision, header.msg_type())),
        }
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
        decode_as(msg_type, variant, payload, revision)
    }
}

/// Reads a whole payload as an `M`; that it is one is known from its number.
#[inline]
pub(crate) fn decode_as<'a, M: Message + Decode<'a>>(
    msg_type: u8,
    variant: usize,
    payload: &'a [u8],
    revision: Revision,
) -> Result<M, DecodeError> {
    let mut reader = Reader::new(payload);
    let mut message = M::read(&mut reader, revision);
    message.set_variant(variant);
    finish(&mut reader, msg_type, revision).map(|()| message)
}

/// Judges how the reading of a message went, and what is left behind its last field; see [`Message::from_payload`].
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline)]
pub(crate) fn finish(reader: &mut Reader<'_>, msg_type: u8, revision: Revision) -> Result<(), DecodeError> {
    // Nothing of what is left is a field.
    *reader.field() = 0;
    if revision == Revision::Draft && !reader.is_empty() {
        reader.fail(DecodeErrorKind::TrailingBytes, reader.offset());
    }
    reader.outcome().map_err(|error| error.in_message(revision, msg_type))
}

/// The messages that travel in one direction of one protocol, as an enum that borrows from the payload.
pub trait MessageSet<'a>: Encode + Copy + Debug + PartialEq + Sized {
    /// The catalogue's rows of all messages of the set.
    const SPECS: &'static [&'static Spec];

    /// Their numbers, frequent messages first.
    const ROWS: Rows;

    /// Decodes the payload that `header` announced.
    ///
    /// A number that is not in the set, or an extension's message, is an error for which
    /// [`DecodeError::is_unknown_message`] holds: it is dropped, the connection lives. The channel bit is not looked at here;
    /// who is strict compares it with [`entry`](Self::entry). The caller has cut `payload` to the header's length.
    #[inline]
    fn decode(header: Header, payload: &'a [u8], revision: Revision) -> Result<Self, DecodeError> {
        let row = if header.is_core() { Self::ROWS.find(header.msg_type(), revision) } else { None };
        match row {
            Some(row) => Self::decode_row(row, payload, revision),
            None => Err(DecodeError::new(DecodeErrorKind::UnknownMessage(header.msg_type()), 0)),
        }
    }

    /// Decodes the payload of the message that `row` of [`ROWS`](Self::ROWS) names.
    fn decode_row(row: Row, payload: &'a [u8], revision: Revision) -> Result<Self, DecodeError>;

    /// Number, name and channel bit of the message in `revision`; `None` when the revision lacks it.
    fn entry(&self, revision: Revision) -> Option<&'static Entry>;
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::common::{SetupConnection, ToClient};
    use super::mining::{CloseChannel, OpenMiningChannelError, SubmitSharesStandard};
    use super::template::NewTemplate;
    use super::*;
    use crate::protocol::{Initiator, Mining, Responder, TemplateDistribution, decode_incoming};
    use crate::wire::{EncodeErrorKind, Seq0255, Str0255, U256};

    const SHARE: SubmitSharesStandard =
        SubmitSharesStandard { channel_id: 1, sequence_number: 2, job_id: 3, nonce: 4, ntime: 5, version: 0x2000_0000 };

    /// D-FRAME-1, D-FRAME-2, D-FRAME-4, D-FRAME-7: the header counts the channel id and leaves itself out.
    #[test]
    fn a_frame_is_a_header_and_its_payload() {
        let mut buffer = [0xff; 64];
        let written = SHARE.encode_frame(&mut buffer, Revision::Draft).unwrap();
        let expected =
            [0x00, 0x80, 0x1a, 24, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0x20];
        assert_eq!(buffer[..written], expected);
        let header = Header::decode(*buffer.first_chunk().unwrap());
        assert!(SubmitSharesStandard::is(header, Revision::Draft));
        let message = decode_incoming::<Responder, Mining>(header, &buffer[6..written], Revision::Draft).unwrap();
        assert_eq!(message, mining::ToServer::SubmitSharesStandard(SHARE));
        for room in 0..written {
            let error = SHARE.encode_frame(&mut buffer[..room], Revision::Draft).unwrap_err();
            assert_eq!((error.kind(), error.message()), (EncodeErrorKind::NoRoom, Some("SubmitSharesStandard")));
        }
    }

    /// D-OPEN-6: the draft's number says what was asked for; both are taken. The current revision has one number.
    #[test]
    fn the_open_error_goes_by_the_number_of_the_request() {
        for (kind, draft, name) in [
            (ChannelKind::Standard, 0x12, "OpenStandardMiningChannel.Error"),
            (ChannelKind::Extended, 0x15, "OpenExtendedMiningChannel.Error"),
        ] {
            let error =
                OpenMiningChannelError { kind, request_id: 7, error_code: OpenMiningChannelError::UNKNOWN_USER.into() };
            assert_eq!(error.header(Revision::Draft).unwrap().msg_type(), draft);
            assert_eq!(error.entry(Revision::Draft).unwrap().name, name);
            assert_eq!(error.header(Revision::Current).unwrap().msg_type(), 0x12);
            let mut buffer = [0; 64];
            let written = error.encode_frame(&mut buffer, Revision::Draft).unwrap();
            let header = Header::decode(*buffer.first_chunk().unwrap());
            let message = decode_incoming::<Initiator, Mining>(header, &buffer[6..written], Revision::Draft).unwrap();
            assert_eq!(message, mining::ToClient::OpenMiningChannelError(error));
        }
        // In the current revision 0x15 is a job.
        assert_eq!(OpenMiningChannelError::variant_of(0x15, Revision::Current), None);
    }

    /// Current open question 24: an unknown number is dropped, a malformed message is not. D-EXT-4: nor is another extension's.
    #[test]
    fn unknown_is_not_malformed() {
        let decode = |header: Header, payload| decode_incoming::<Responder, Mining>(header, payload, Revision::Draft);
        let malformed = decode(Header::new(0, true, 0x1a, 3).unwrap(), &[1, 2, 3]).unwrap_err();
        assert_eq!(malformed.to_string(), "SubmitSharesStandard.channel_id: payload ends inside the value (at byte 0)");
        assert!(!malformed.is_unknown_message());
        for header in [
            Header::new(0, true, 0x7f, 0),       // no such message
            Header::new(0, true, 0x1c, 0),       // a server's message
            Header::new(0x4000, true, 0x1a, 24), // an extension's message
        ] {
            assert!(decode(header.unwrap(), &[0; 24]).unwrap_err().is_unknown_message());
        }
        let template = decode_incoming::<Responder, TemplateDistribution>(
            SHARE.header(Revision::Draft).unwrap(),
            &[0; 24],
            Revision::Draft,
        );
        assert!(template.unwrap_err().is_unknown_message());
    }

    /// A wrong channel bit is not malformed either: who is strict compares it.
    #[test]
    fn the_channel_bit_can_be_compared() {
        let header = Header::new(0, false, 0x1a, 24).unwrap();
        let message = decode_incoming::<Responder, Mining>(header, &[0; 24], Revision::Draft).unwrap();
        assert_ne!(message.entry(Revision::Draft).unwrap().channel_msg, header.channel_msg());
    }

    #[test]
    fn errors_name_the_field_as_the_revision_does() {
        let payload = [0; 8];
        let field = |revision| {
            let number = mining::NewMiningJob::SPEC.entries(revision)[0].msg_type;
            mining::NewMiningJob::from_payload(number, &payload, revision).unwrap_err().field()
        };
        assert_eq!(field(Revision::Draft), Some("future_job"));
        assert_eq!(field(Revision::Current), Some("min_ntime"));
        let code = CloseChannel { channel_id: 1, reason_code: "line\nbreak".into() };
        let error = code.encode_frame(&mut [0; 64], Revision::Draft).unwrap_err();
        assert_eq!(error.to_string(), "CloseChannel.reason_code: value has no valid form on the wire");
    }

    /// A payload that no frame can announce is refused before a byte is written.
    #[test]
    fn more_than_a_frame_holds_is_refused() {
        let transaction = std::vec![0; 0x00ff_fff0];
        let list = [crate::wire::B016M::new(&transaction)];
        let message = template::RequestTransactionDataSuccess {
            template_id: 1,
            excess_data: crate::wire::B064K::default(),
            transaction_list: (&list).into(),
        };
        assert_eq!(message.encoded_len(Revision::Draft), 0x00ff_ffff);
        assert!(message.header(Revision::Draft).is_ok());
        let message = template::RequestTransactionDataSuccess { excess_data: (&[0]).into(), ..message };
        assert_eq!(message.header(Revision::Draft).unwrap_err().kind(), EncodeErrorKind::TooLong);
    }

    /// D-CONN-3, D-CONN-5: a payload that sv2-tp publishes, field by field.
    #[test]
    fn a_known_setup_has_the_known_fields() {
        let payload = b"\x02\x02\x00\x02\x00\x01\x00\x00\x00\x070.0.0.0\x61\x21\x07Bitmain\x08S9i 13.5\
            \x1cbraiins-os-2018-09-22-1-hash\x10some-device-uuid";
        let message = SetupConnection::from_payload(0, payload, Revision::Draft).unwrap();
        let expected = SetupConnection {
            protocol: 2,
            min_version: 2,
            max_version: 2,
            flags: 1,
            endpoint_host: Str0255::new("0.0.0.0"),
            endpoint_port: 8545,
            vendor: Str0255::new("Bitmain"),
            hardware_version: Str0255::new("S9i 13.5"),
            firmware: Str0255::new("braiins-os-2018-09-22-1-hash"),
            device_id: Str0255::new("some-device-uuid"),
        };
        assert_eq!(message, expected);
    }

    /// D-TDP-8: outputs stand one after the other, without a count.
    #[test]
    fn outputs_of_a_template_are_read_by_their_count() {
        let outputs = [100, 0, 0, 0, 0, 0, 0, 0, 2, 0x6a, 0x51, 200, 0, 0, 0, 0, 0, 0, 0, 0];
        let path = [U256([7; 32])];
        let mut template = NewTemplate {
            template_id: 1,
            future_template: false,
            version: 0x3000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: (&[3, 1, 0x21, 0]).into(),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 50,
            coinbase_tx_outputs_count: 2,
            coinbase_tx_outputs: (&outputs).into(),
            coinbase_tx_locktime: 0,
            merkle_path: Seq0255::new(&path),
        };
        let read: std::vec::Vec<_> = template.outputs().map(Result::unwrap).collect();
        assert_eq!(read[0], TxOut { value: 100, script_pubkey: &[0x6a, 0x51] });
        assert_eq!(read[1], TxOut { value: 200, script_pubkey: &[] });
        template.coinbase_tx_outputs_count = 3;
        assert_eq!(template.outputs().filter(Result::is_err).count(), 1);
        template.coinbase_tx_outputs_count = 1;
        assert_eq!(template.outputs().last().unwrap().unwrap_err().kind(), DecodeErrorKind::TrailingBytes);
    }

    /// D-RECON-2: in the mining range in the draft, common to all protocols in the current revision.
    #[test]
    fn reconnect_goes_by_two_numbers() {
        let reconnect = common::Reconnect { new_host: Str0255::new("b.example"), new_port: 3336 };
        for (revision, number) in [(Revision::Draft, 0x25), (Revision::Current, 0x04)] {
            let mut buffer = [0; 64];
            let written = reconnect.encode_frame(&mut buffer, revision).unwrap();
            let header = Header::decode(*buffer.first_chunk().unwrap());
            assert_eq!(header.msg_type(), number);
            let message = ToClient::decode(header, &buffer[6..written], revision).unwrap();
            assert_eq!(message, ToClient::Reconnect(reconnect));
        }
    }

    /// Messages live on small stacks: none holds more than references and numbers.
    #[test]
    fn messages_are_small() {
        assert_eq!(size_of::<SubmitSharesStandard>(), 24);
        assert!(size_of::<mining::ToServer<'_>>() <= 264, "{}", size_of::<mining::ToServer<'_>>());
        assert!(size_of::<mining::ToClient<'_>>() <= 120, "{}", size_of::<mining::ToClient<'_>>());
    }
}
