//! Decoding a payload as the message of a row of the catalogue, and encoding what came out.

use adit::frame::Header;
use adit::message::{Direction, Family, MessageInfo, MessageSet, common, mining, template};
use adit::wire::{DecodeError, Encode, EncodeError, Revision, Writer};

/// What became of a payload.
#[derive(Debug, PartialEq)]
pub(crate) enum Recoded {
    /// The same message, encoded again.
    Bytes(Vec<u8>),
    /// It decodes but must not be sent: an error code with control characters.
    NotSendable(EncodeError),
}

/// Decodes `payload` as every message that `number` is in `family` and `direction`, encodes it and decodes that once more: the
/// second value must equal the first.
pub(crate) fn recode(
    family: Family,
    direction: Direction,
    number: u8,
    payload: &[u8],
    revision: Revision,
) -> Result<Recoded, DecodeError> {
    // A connection looks among the common messages first: the draft's Reconnect has its number in the mining range.
    let common = match direction {
        Direction::ToServer => set::<common::ToServer<'_>>(number, payload, revision),
        Direction::ToClient | Direction::Both => set::<common::ToClient<'_>>(number, payload, revision),
    };
    if !common.as_ref().is_err_and(|error| error.is_unknown_message()) {
        return common;
    }
    match (family, direction) {
        (Family::Common, _) => common,
        (Family::Mining, Direction::ToServer) => set::<mining::ToServer<'_>>(number, payload, revision),
        (Family::Mining, Direction::ToClient) => set::<mining::ToClient<'_>>(number, payload, revision),
        (Family::Mining, Direction::Both) => {
            let to_server = set::<mining::ToServer<'_>>(number, payload, revision);
            assert_eq!(to_server, set::<mining::ToClient<'_>>(number, payload, revision));
            to_server
        }
        (Family::TemplateDistribution, Direction::ToServer) => set::<template::ToServer<'_>>(number, payload, revision),
        (Family::TemplateDistribution, _) => set::<template::ToClient<'_>>(number, payload, revision),
    }
}

/// As [`recode`], for a row of the catalogue.
pub(crate) fn recode_row(row: &MessageInfo, payload: &[u8], revision: Revision) -> Result<Recoded, DecodeError> {
    recode(row.family(), row.direction(), row.msg_type(), payload, revision)
}

fn set<'a, M: MessageSet<'a>>(number: u8, payload: &'a [u8], revision: Revision) -> Result<Recoded, DecodeError> {
    let header = Header::new(0, false, number, payload.len()).expect("test payloads fit a frame");
    let message = M::decode(header, payload, revision)?;
    let entry = message.entry(revision).expect("what was decoded has a number");
    assert_eq!(entry.msg_type, number, "a message keeps the number by which it came");
    let _ = format!("{message:?}");
    Ok(match encode(&message, revision) {
        Ok(bytes) => {
            // Leaked so that the second value can have the first one's lifetime; tests are short.
            let again = M::decode(header, bytes.clone().leak(), revision).expect("what was encoded decodes");
            assert_eq!(again, message);
            Recoded::Bytes(bytes)
        }
        Err(error) => Recoded::NotSendable(error),
    })
}

/// Encodes into a buffer of exactly the announced length, after seeing that one byte less is refused.
fn encode(message: &impl Encode, revision: Revision) -> Result<Vec<u8>, EncodeError> {
    let mut buffer = vec![0xa5; message.encoded_len(revision)];
    let mut writer = Writer::new(&mut buffer);
    message.encode(&mut writer, revision)?;
    assert_eq!(writer.room(), 0, "encoded_len is what encode writes");
    let mut short = vec![0; buffer.len() - 1];
    assert!(message.encode(&mut Writer::new(&mut short), revision).is_err(), "a short buffer is refused");
    Ok(buffer)
}
