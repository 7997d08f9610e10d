//! Payloads of every row of the catalogue, made from the row's own fields.

use adit::frame::Header;
use adit::message::{Direction, Family, Field, MessageInfo, catalogue};
use adit::wire::{DecodeErrorKind, EncodeErrorKind, Layout, Revision};
use proptest::prelude::*;

use crate::recode::{Recoded, recode, recode_row};
use crate::{list, revisions, text};

/// Random bytes from which values are drawn; zeros behind the end, so that what proptest shrinks gets simpler.
struct Tape<'t>(std::slice::Iter<'t, u8>);

impl Tape<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// A value of `layout`.
    fn value(&mut self, layout: &Layout, printable: bool) -> Vec<u8> {
        match *layout {
            Layout::Fixed { name: "BOOL", .. } => vec![self.byte() & 1],
            Layout::Fixed { name: "F32", .. } => {
                let rate = f32::from(self.byte()) * 10_f32.powi(i32::from(self.byte() % 30));
                rate.to_le_bytes().to_vec()
            }
            Layout::Fixed { size, .. } => self.bytes(size as usize),
            Layout::Bytes { prefix, max, .. } => {
                let length = usize::from(self.byte()).min(max as usize);
                let mut bytes = self.bytes(length);
                if printable {
                    for byte in &mut bytes {
                        *byte = b' ' + *byte % 95;
                    }
                }
                [length.to_le_bytes()[..prefix as usize].to_vec(), bytes].concat()
            }
            Layout::Sequence { prefix, max, item, .. } => {
                let count = usize::from(self.byte() % 6).min(max as usize);
                let mut bytes = count.to_le_bytes()[..prefix as usize].to_vec();
                for _ in 0..count {
                    bytes.extend(self.value(item, printable));
                }
                bytes
            }
        }
    }

    /// The fields of a payload of `row`, each with its bytes. Codes are printable, for others are not sent (D-ERR-3).
    fn fields(&mut self, row: &MessageInfo) -> Vec<(Field, Vec<u8>)> {
        row.fields().map(|field| (field, self.value(&field.layout, field.name.ends_with("_code")))).collect()
    }
}

fn joined(fields: &[(Field, Vec<u8>)]) -> Vec<u8> {
    fields.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
}

/// A row of the catalogue of either revision, and a payload of it field by field.
fn row_and_fields() -> impl Strategy<Value = (Revision, MessageInfo, Vec<(Field, Vec<u8>)>)> {
    let rows: Vec<_> = [Revision::Draft, Revision::Current]
        .into_iter()
        .flat_map(|revision| catalogue(revision).map(move |row| (revision, row)))
        .collect();
    (proptest::sample::select(rows), proptest::collection::vec(any::<u8>(), 0..600)).prop_map(
        |((revision, row), tape)| {
            let fields = Tape(tape.iter()).fields(&row);
            (revision, row, fields)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    /// Every message in both revisions: decoded and encoded again, the payload is the same.
    #[test]
    fn payloads_round_trip((revision, row, fields) in row_and_fields()) {
        let payload = joined(&fields);
        prop_assert_eq!(recode_row(&row, &payload, revision), Ok(Recoded::Bytes(payload)));
    }

    /// A tail is dropped in the current revision, for extensions append fields (C-TLV-6); the draft knows none.
    #[test]
    fn a_tail_is_an_error_in_the_draft_only((revision, row, fields) in row_and_fields(), tail in 1_usize..20) {
        let payload = joined(&fields);
        let continued = [&payload[..], &vec![0xee; tail]].concat();
        let outcome = recode_row(&row, &continued, revision);
        match revision {
            Revision::Draft => {
                let error = outcome.unwrap_err();
                prop_assert_eq!(error.kind(), DecodeErrorKind::TrailingBytes);
                prop_assert_eq!(error.offset() as usize, payload.len());
                prop_assert!(error.message().is_some() && error.field().is_none());
            }
            Revision::Current => prop_assert_eq!(outcome, Ok(Recoded::Bytes(payload))),
        }
    }

    /// One byte changed anywhere: an error with its place, or another message that is stable.
    #[test]
    fn a_changed_byte_is_no_disaster((revision, row, fields) in row_and_fields(), at: prop::sample::Index, byte: u8) {
        let mut payload = joined(&fields);
        let at = at.index(payload.len());
        payload[at] = byte;
        match recode_row(&row, &payload, revision) {
            Ok(Recoded::Bytes(_)) => {}
            Ok(Recoded::NotSendable(error)) => prop_assert_eq!(error.kind(), EncodeErrorKind::Invalid),
            Err(error) => prop_assert!(error.message().is_some() && error.offset() as usize <= payload.len()),
        }
    }

    /// Any bytes under any number: a message, an error in a known place, or an unknown number.
    #[test]
    fn arbitrary_bytes_never_panic(number: u8, payload in proptest::collection::vec(any::<u8>(), 0..400), current: bool) {
        let revision = if current { Revision::Current } else { Revision::Draft };
        for family in [Family::Common, Family::Mining, Family::TemplateDistribution] {
            for direction in [Direction::ToServer, Direction::ToClient] {
                if let Err(error) = recode(family, direction, number, &payload, revision) {
                    prop_assert_eq!(error.is_unknown_message(), error.message().is_none());
                    let known = catalogue(revision).any(|row| {
                        [direction, Direction::Both].contains(&row.direction())
                            && (row.family() == family || row.family() == Family::Common || row.name() == "Reconnect")
                            && row.msg_type() == number
                    });
                    prop_assert_eq!(error.is_unknown_message(), !known);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Cut short anywhere, a payload is refused, and the error names the field that the cut went through.
    #[test]
    fn every_truncation_names_its_field((revision, row, fields) in row_and_fields()) {
        let payload = joined(&fields);
        let mut start = 0;
        for (field, bytes) in &fields {
            for cut in start..start + bytes.len() {
                let error = recode_row(&row, &payload[..cut], revision).unwrap_err();
                prop_assert_eq!(error.kind(), DecodeErrorKind::Truncated);
                prop_assert_eq!(error.field(), Some(field.name), "{} cut at {}", row.name(), cut);
                prop_assert!((start..=cut).contains(&(error.offset() as usize)));
            }
            start += bytes.len();
        }
    }
}

/// The smallest payload is all zeros: no text, no items, nothing optional.
#[test]
fn smallest_payloads_are_taken_and_encoded() {
    for (revision, _) in revisions() {
        for row in catalogue(revision) {
            let payload = vec![0; row.min_payload()];
            assert_eq!(recode_row(&row, &payload, revision), Ok(Recoded::Bytes(payload)), "{}", row.name());
        }
    }
}

/// A value of `layout` of `len` bytes; sequences hold as few items as possible.
fn filled(layout: &Layout, len: usize) -> Vec<u8> {
    match *layout {
        Layout::Fixed { .. } => vec![0; len],
        Layout::Bytes { prefix, .. } => {
            let prefix = prefix as usize;
            let length = len - prefix;
            [length.to_le_bytes()[..prefix].to_vec(), vec![b'x'; length]].concat()
        }
        Layout::Sequence { prefix, item, .. } => {
            let (mut items, mut count, mut left) = (Vec::new(), 0_usize, len - prefix as usize);
            while left > 0 {
                let most = left.min(item.max_len() as usize);
                // What remains must be enough for another item, or nothing.
                let remaining = left - most;
                let size = if remaining > 0 && remaining < item.min_len() as usize {
                    most - item.min_len() as usize
                } else {
                    most
                };
                items.extend(filled(item, size));
                (count, left) = (count + 1, left - size);
            }
            [count.to_le_bytes()[..prefix as usize].to_vec(), items].concat()
        }
    }
}

/// D-FRAME-1, D-TYPE-5, D-TYPE-6, D-TYPE-10: what the table calls the largest payload is one, and not a byte more fits.
#[test]
fn largest_payloads_are_taken_and_encoded() {
    for (revision, _) in revisions() {
        for row in catalogue(revision) {
            let fields: Vec<_> = row.fields().collect();
            let mut left = row.max_payload();
            // Where the frame is the limit, one sequence takes what the other fields leave.
            let others: u64 = fields.iter().map(|field| field.layout.max_len()).filter(|len| *len <= 0x00ff_ffff).sum();
            let mut payload = Vec::new();
            for field in fields {
                let most = field.layout.max_len();
                let len = if most <= 0x00ff_ffff { most as usize } else { row.max_payload() - others as usize };
                payload.extend(filled(&field.layout, len));
                left -= len;
            }
            assert_eq!((left, payload.len()), (0, row.max_payload()), "{}", row.name());
            assert!(Header::new(0, false, row.msg_type(), payload.len()).is_some());
            match recode_row(&row, &payload, revision) {
                Ok(Recoded::Bytes(bytes)) => assert!(bytes == payload, "{}", row.name()),
                other => panic!("{} in {revision:?}: {other:?}", row.name()),
            }
        }
    }
}

/// Payloads that other implementations publish.
#[test]
fn known_payloads_decode_and_encode_to_the_same_bytes() {
    for (revision, spec) in revisions() {
        let mut count = 0;
        for vector in list(&spec, "test_vectors").iter().filter(|vector| vector["name"] == "payload") {
            let (family, name) = (text(vector, "protocol"), text(vector, "message"));
            let row = catalogue(revision)
                .find(|row| row.family().as_str() == family && row.name() == name)
                .unwrap_or_else(|| panic!("{family} {name} is in the catalogue"));
            let payload = hex::decode(text(vector, "payload_hex")).expect("hexadecimal");
            assert_eq!(recode_row(&row, &payload, revision), Ok(Recoded::Bytes(payload)), "{name}");
            count += 1;
        }
        assert_eq!(count, 6, "vectors of {revision:?}");
    }
}
