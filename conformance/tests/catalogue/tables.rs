//! The declarations in the core against the tables of the specification, in both directions.

use std::collections::{BTreeMap, BTreeSet};

use adit::frame::Header;
use adit::message::mining::{SetupFlags, SuccessFlags};
use adit::message::{Direction, Family, MessageInfo, catalogue};
use adit::protocol::{Mining, Protocol, TemplateDistribution};
use adit::wire::{
    B016M, B032, B064K, B0255, DataType, Layout, PubKey, Seq064K, Seq0255, ShortTxId, Signature, Str0255,
};
use adit::wire::{Revision, U24, U256};
use serde_json::Value;

use crate::{list, number, revisions, text};

/// The parts of the specification that the core has messages of.
const FAMILIES: [&str; 3] = ["common", "mining", "template_distribution"];

fn key(family: &str, name: &str) -> (String, String) {
    (family.to_owned(), name.to_owned())
}

fn ours(revision: Revision) -> BTreeMap<(String, String), MessageInfo> {
    let rows: Vec<_> = catalogue(revision).collect();
    let map: BTreeMap<_, _> = rows.iter().map(|row| (key(row.family().as_str(), row.name()), *row)).collect();
    assert_eq!(map.len(), rows.len(), "a message is in the catalogue once");
    map
}

fn specified(spec: &Value) -> BTreeMap<(String, String), &Value> {
    list(spec, "messages")
        .iter()
        .filter(|message| FAMILIES.contains(&text(message, "protocol")))
        .map(|message| (key(text(message, "protocol"), text(message, "name")), message))
        .collect()
}

/// Nothing is missing on either side.
#[test]
fn the_same_messages_are_in_both() {
    for (revision, spec) in revisions() {
        let ours: BTreeSet<_> = ours(revision).into_keys().collect();
        let specified: BTreeSet<_> = specified(&spec).into_keys().collect();
        assert_eq!(ours, specified, "{revision:?}");
    }
}

/// D-FRAME-7, D-OPEN-6: numbers, channel bits, directions, fields in their order with their types, sizes.
#[test]
fn each_message_is_as_its_table_says() {
    for (revision, spec) in revisions() {
        let ours = ours(revision);
        for (key, message) in specified(&spec) {
            let row = ours[&key];
            let at = format!("{} in {revision:?}", key.1);
            assert_eq!(u64::from(row.msg_type()), number(message, "msg_type"), "number of {at}");
            assert_eq!(row.channel_msg(), message["channel_msg"], "channel bit of {at}");
            assert_eq!(row.direction().to_string(), text(message, "direction"), "direction of {at}");
            assert_eq!(number(message, "extension_type"), 0, "extension of {at}");
            let fields: Vec<_> = row.fields().map(|field| (field.name, field.layout.to_string())).collect();
            let expected: Vec<_> = list(message, "fields")
                .iter()
                .map(|field| (text(field, "name"), text(field, "type").to_owned()))
                .collect();
            assert_eq!(fields, expected, "fields of {at}");
            assert_eq!(row.min_payload() as u64, number(message, "min_payload"), "smallest payload of {at}");
            assert_eq!(row.max_payload() as u64, number(message, "max_payload"), "largest payload of {at}");
        }
    }
}

/// D-FRAME-4, D-FRAME-6: a channel message opens with its channel; template distribution has none.
#[test]
fn channel_messages_open_with_the_channel() {
    for (revision, _) in revisions() {
        for row in catalogue(revision).filter(MessageInfo::channel_msg) {
            let first = row.fields().next().expect("a channel message has fields");
            assert_eq!((first.name, first.layout), ("channel_id", <u32 as DataType>::LAYOUT), "{}", row.name());
            assert_ne!(row.family(), Family::TemplateDistribution, "{}", row.name());
        }
    }
}

/// Where both sets are looked through, a number means one message only.
#[test]
fn a_number_means_one_message() {
    for (revision, spec) in revisions() {
        let reserved = list(&spec, "reserved_msg_types");
        for protocol in [Family::Mining, Family::TemplateDistribution] {
            for side in [Direction::ToServer, Direction::ToClient] {
                let mut seen = BTreeMap::new();
                for row in catalogue(revision) {
                    let here = [Family::Common, protocol].contains(&row.family());
                    if here && [side, Direction::Both].contains(&row.direction()) {
                        let other = seen.insert(row.msg_type(), row.name());
                        assert_eq!(other, None, "{} in {revision:?}", row.name());
                    }
                }
                for number in reserved.iter().filter(|row| text(row, "protocol") == protocol.as_str()) {
                    let number = crate::number(number, "msg_type") as u8;
                    assert_eq!(seen.get(&number), None, "a reserved number is used in {revision:?}");
                }
            }
        }
    }
}

/// D-TYPE-4 to D-TYPE-10: sizes, prefixes and limits of the data types.
#[test]
fn data_types_are_as_their_table_says() {
    let types: [Layout; 19] = [
        bool::LAYOUT,
        u8::LAYOUT,
        u16::LAYOUT,
        U24::LAYOUT,
        u32::LAYOUT,
        u64::LAYOUT,
        U256::LAYOUT,
        f32::LAYOUT,
        Str0255::LAYOUT,
        B032::LAYOUT,
        B0255::LAYOUT,
        B064K::LAYOUT,
        B016M::LAYOUT,
        PubKey::LAYOUT,
        Signature::LAYOUT,
        ShortTxId::LAYOUT,
        Seq0255::<'_, u8>::LAYOUT,
        Seq064K::<'_, u8>::LAYOUT,
        Option::<u8>::LAYOUT,
    ];
    // BYTES is what a frame holds, MAC belongs to the records, B32 is another name of U256 in the draft's text.
    let elsewhere = ["BYTES", "MAC", "B32"];
    for (revision, spec) in revisions() {
        for row in list(&spec, "data_types") {
            let name = text(row, "name").trim_end_matches("[T]");
            if elsewhere.contains(&name) {
                continue;
            }
            let found = types.iter().find(|layout| match layout {
                Layout::Fixed { name: ours, .. }
                | Layout::Bytes { name: ours, .. }
                | Layout::Sequence { name: ours, .. } => *ours == name,
            });
            match *found.unwrap_or_else(|| panic!("{name} of {revision:?} is missing")) {
                Layout::Fixed { size, .. } => assert_eq!(u64::from(size), number(row, "size"), "{name}"),
                Layout::Bytes { prefix, max, .. } => {
                    assert_eq!(u64::from(prefix), number(row, "prefix_bytes"), "{name}");
                    assert_eq!(u64::from(max), number(row, "max_len"), "{name}");
                }
                Layout::Sequence { prefix, max, .. } => {
                    assert_eq!(u64::from(prefix), number(row, "prefix_bytes"), "{name}");
                    assert_eq!(u64::from(max), number(row, "max_count"), "{name}");
                }
            }
        }
    }
}

/// D-FRAME-1, D-FRAME-3, D-EXT-1
#[test]
fn the_frame_is_as_its_table_says() {
    for (_, spec) in revisions() {
        let framing = &spec["framing"];
        assert_eq!(Header::LEN as u64, number(framing, "header_bytes"));
        assert_eq!(Header::MAX_PAYLOAD as u64, number(framing, "max_payload"));
        let mask = number(framing, "channel_msg_mask") as u16;
        let header =
            Header::new(number(framing, "extension_id_mask") as u16, true, 0, 0).expect("the mask is in range");
        assert_eq!(u16::from_le_bytes([header.encode()[0], header.encode()[1]]), header.extension_type() | mask);
        let range = list(framing, "experimental_extension_range");
        for (extension, experimental) in [(0x3fff, false), (0x4000, true), (0x7fff, true)] {
            let header = Header::new(extension, false, 0, 0).expect("15 bits");
            assert_eq!(header.is_experimental(), experimental);
            let inside = (range[0].as_u64()..=range[1].as_u64()).contains(&Some(u64::from(extension)));
            assert_eq!(inside, experimental);
        }
    }
}

/// D-NET-3, D-FLAG-1: numbers of the protocols; names and bits of their flags, bit 0 the least significant.
#[test]
fn protocols_and_flags_are_as_their_tables_say() {
    fn flags(table: &Value) -> Vec<(&str, u32)> {
        table
            .as_array()
            .expect("flags are a list")
            .iter()
            .map(|flag| (text(flag, "name"), number(flag, "bit") as u32))
            .collect()
    }
    for (_, spec) in revisions() {
        assert_eq!(u64::from(Mining::NUMBER), number(&spec["protocols"], "mining"));
        assert_eq!(u64::from(TemplateDistribution::NUMBER), number(&spec["protocols"], "template_distribution"));
        let mining = &spec["setup_flags"]["mining"];
        assert_eq!(flags(&mining["setup_connection"]), SetupFlags::NAMES);
        assert_eq!(flags(&mining["setup_connection_success"]), SuccessFlags::NAMES);
        let template = &spec["setup_flags"]["template_distribution"];
        assert_eq!(flags(&template["setup_connection"]), []);
        assert_eq!(flags(&template["setup_connection_success"]), []);
    }
    assert_eq!((Mining::SETUP_FLAGS, Mining::SUCCESS_FLAGS), (0b111, 0b11));
    assert_eq!((TemplateDistribution::SETUP_FLAGS, TemplateDistribution::SUCCESS_FLAGS), (0, 0));
    assert_eq!(SetupFlags::REQUIRES_VERSION_ROLLING.bits(), 4);
    let some = SetupFlags::from(0x8000_0001);
    assert!(some.contains(SetupFlags::REQUIRES_STANDARD_JOBS) && !some.contains(SetupFlags::ALL));
    assert_eq!(some.unknown(), 0x8000_0000);
}

/// D-ERR-2: a message's codes are those that either revision lists for it, and all of them.
#[test]
fn error_codes_are_those_that_the_revisions_list() {
    // The draft lists the codes of the one open error under two names.
    let canonical = |name: &str| match name {
        "OpenStandardMiningChannel.Error" | "OpenExtendedMiningChannel.Error" => "OpenMiningChannel.Error".to_owned(),
        other => other.to_owned(),
    };
    let (mut listed, mut known) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeMap::<_, BTreeSet<_>>::new());
    for (revision, spec) in revisions() {
        for ((_, name), message) in specified(&spec) {
            let codes = ["error_codes", "suggested_error_codes"].into_iter().filter_map(|key| message[key].as_array());
            let codes =
                codes.flatten().map(|code| code.as_str().expect("codes are strings").trim_end_matches("{}").to_owned());
            listed.entry(canonical(&name)).or_default().extend(codes);
        }
        for row in catalogue(revision) {
            let codes = row.error_codes().iter().map(|code| (*code).to_owned());
            known.entry(canonical(row.name())).or_default().extend(codes);
        }
        // Lists that the current revision keeps beside the messages.
        for list in spec["suggested_error_codes"].as_object().into_iter().flat_map(serde_json::Map::values) {
            for (name, codes) in list.as_object().expect("by message") {
                if let Some(listed) = listed.get_mut(name) {
                    listed.extend(
                        codes
                            .as_array()
                            .expect("a list")
                            .iter()
                            .filter_map(Value::as_str)
                            .map(|code| code.trim_end_matches("{}").to_owned()),
                    );
                }
            }
        }
    }
    assert_eq!(known, listed);
    let all = known.values().flatten();
    assert!(
        all.clone().count() > 30 && all.into_iter().all(|code| code.bytes().all(|byte| matches!(byte, b'!'..=b'~')))
    );
}
