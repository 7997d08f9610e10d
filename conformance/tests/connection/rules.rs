//! What an open connection does with each kind of frame: extensions, directions, channel bits, Reconnect.

use adit::config::Limits;
use adit::connection::{Event, Progress, reconnect_target};
use adit::error::{Error, Misuse, PeerError, Rule};
use adit::frame::Header;
use adit::message::common::Reconnect;
use adit::message::mining::{CloseChannel, SetTarget, SubmitSharesStandard};
use adit::protocol::Mining;
use adit::wire::{Revision, U256};
use adit_conformance::pair::{Pair, PairConfig};

use crate::solo::{client, frame, raw, server};
use crate::talk::setup;

const DRAFT: Revision = Revision::Draft;
const BOTH: [Revision; 2] = [Revision::Draft, Revision::Current];
const LIMITS: Limits = Limits::DEFAULT;

fn rule(rule: Rule, msg_type: u8) -> Error {
    Error::Peer(PeerError::Rule { rule, msg_type })
}

fn share(sequence_number: u32) -> SubmitSharesStandard {
    SubmitSharesStandard { channel_id: 1, sequence_number, job_id: 1, nonce: 0, ntime: 0, version: 0 }
}

/// D-EXT-4, D-EXT-5: a message of an unknown extension for us is dropped without a word.
#[test]
fn local_messages_of_unknown_extensions_are_dropped() {
    for revision in BOTH {
        let mut server = server(LIMITS, revision);
        let stream = [raw(0x4000, false, 0x1a, &[1; 24]), raw(1, false, 0, &[]), frame(&share(5), revision)].concat();
        let outcome = server.feed(&stream);
        assert_eq!(outcome.events.len(), 1);
        assert!(outcome.events[0].contains("sequence_number: 5"), "{outcome:?}");
        assert_eq!((outcome.end, server.sent()), (Ok(Progress::NeedInput), vec![]));
    }
}

/// D-EXT-2, D-EXT-3, D-FRAME-3, D-FRAME-4: a channel message of one is handed over whole, and can be passed on untouched.
#[test]
fn channel_messages_of_unknown_extensions_are_handed_over_whole() {
    let mut pair = Pair::<Mining>::new(&PairConfig::default());
    let header = Header::new(0x4abc, true, 0x33, 7).unwrap();
    let payload = [9, 0, 0, 0, 0xaa, 0xbb, 0xcc];
    let mut seen = vec![];
    pair.run(
        &mut |event, outbound| match event {
            Event::Secured(_) => outbound.send(&setup()).unwrap(),
            Event::Opened(_) => outbound.send_extension(header, &payload).unwrap(),
            Event::Extension(header, payload) => seen.push((header, payload.to_vec())),
            other => panic!("{other:?}"),
        },
        // The server sends it back as it came.
        &mut |event, outbound| {
            if let Event::Extension(header, payload) = event {
                assert_eq!(header.channel_id(payload), Some(9));
                outbound.send_extension(header, payload).unwrap();
            }
        },
    );
    assert_eq!(seen, [(header, payload.to_vec())]);
}

/// D-FRAME-4, on both sides of the call.
#[test]
fn a_channel_message_has_a_channel_id() {
    for extension in [0, 0x4000] {
        let mut server = server(LIMITS, DRAFT);
        assert_eq!(server.feed(&raw(extension, true, 0x77, &[1, 2, 3])).error(), rule(Rule::ChannelId, 0x77));
    }
    let mut server = server(LIMITS, DRAFT);
    let mut outbound = server.session.outbound();
    let misuse = Err(Error::Misuse(Misuse::NotAnExtension));
    let header = |extension, length| Header::new(extension, true, 1, length).unwrap();
    assert_eq!(outbound.send_extension(header(0x4000, 3), &[1, 2, 3]), misuse);
    assert_eq!(outbound.send_extension(header(0, 4), &[1, 2, 3, 4]), misuse);
    assert_eq!(outbound.send_extension(header(0x4000, 5), &[1, 2, 3, 4]), misuse);
    assert!(server.sent().is_empty());
}

/// Numbers that the protocol does not know, or that belong to another sub-protocol, are dropped.
#[test]
fn unknown_numbers_are_dropped() {
    for revision in BOTH {
        let mut server = server(LIMITS, revision);
        for number in [0x05, 0x0f, 0x2f, 0x50, 0x70, 0x76, 0xff] {
            let outcome = server.feed(&raw(0, false, number, &[0; 8]));
            assert_eq!((outcome.events.len(), outcome.end), (0, Ok(Progress::NeedInput)), "0x{number:02x}");
        }
        assert_eq!(server.feed(&frame(&share(1), revision)).events.len(), 1);
    }
}

/// The type table: who sends what.
#[test]
fn a_message_in_the_wrong_direction_is_a_fault() {
    let target = SetTarget { channel_id: 1, maximum_target: U256::MAX };
    for revision in BOTH {
        assert_eq!(server(LIMITS, revision).feed(&frame(&target, revision)).error(), rule(Rule::Direction, 0x21));
        assert_eq!(client(LIMITS, revision).feed(&frame(&share(0), revision)).error(), rule(Rule::Direction, 0x1a));
        let setup = frame(&setup(), revision);
        assert_eq!(client(LIMITS, revision).feed(&setup).error(), rule(Rule::Direction, 0));
        assert_eq!(server(LIMITS, revision).feed(&raw(0, true, 3, &[0; 4])).error(), rule(Rule::Direction, 3));
        // Both sides close channels.
        let close = frame(&CloseChannel { channel_id: 1, reason_code: "done".into() }, revision);
        assert_eq!(server(LIMITS, revision).feed(&close).events.len(), 1);
        assert_eq!(client(LIMITS, revision).feed(&close).events.len(), 1);
    }
}

/// D-FRAME-5, D-FRAME-7: by number unless strict.
#[test]
fn a_wrong_channel_bit_matters_in_strict_mode() {
    let mut bytes = frame(&share(3), DRAFT);
    bytes[1] ^= 0x80;
    let mut lenient = server(LIMITS, DRAFT);
    assert!(lenient.feed(&bytes).events[0].contains("sequence_number: 3"));
    let mut strict = server(Limits { strict: true, ..LIMITS }, DRAFT);
    assert_eq!(strict.feed(&frame(&share(2), DRAFT)).events.len(), 1);
    assert_eq!(strict.feed(&bytes).error(), rule(Rule::ChannelBit, 0x1a));
}

/// D-RECON-2, D-RECON-3: the number is the revision's own; what it means there in the other revision stays what it is.
#[test]
fn reconnect_comes_under_its_revisions_number() {
    let message = Reconnect { new_host: "other.example".into(), new_port: 0 };
    for (revision, number) in [(Revision::Draft, 0x25), (Revision::Current, 0x04)] {
        let bytes = frame(&message, revision);
        assert_eq!(bytes[2], number);
        let outcome = client(LIMITS, revision).feed(&bytes);
        assert_eq!(outcome.events, [format!("Reconnect({message:?})")]);
        assert_eq!(server(LIMITS, revision).feed(&bytes).error(), rule(Rule::Direction, number));
    }
    assert_eq!(reconnect_target(&message, "pool.example", 34_254), Some(("other.example", 34_254)));
    // 0x04 is unknown to the draft; 0x25 is SetGroupChannel in the current revision.
    let outcome = client(LIMITS, Revision::Draft).feed(&frame(&message, Revision::Current));
    assert_eq!((outcome.events.len(), outcome.end), (0, Ok(Progress::NeedInput)));
    let group = raw(0, false, 0x25, &[1, 0, 0, 0, 1, 0, 7, 0, 0, 0]);
    assert!(client(LIMITS, Revision::Current).feed(&group).events[0].contains("SetGroupChannel"));
}

/// D-EXT-8, D-EXT-9
#[test]
fn a_changed_endpoint_is_reported_with_its_channel() {
    let outcome = client(LIMITS, DRAFT).feed(&raw(0, true, 3, &[7, 0, 0, 0]));
    assert_eq!(outcome.events, ["EndpointChanged(7)"]);
}

/// A malformed payload is found when the event is taken, and ends the connection.
#[test]
fn a_malformed_message_is_a_fault_with_its_place() {
    let mut server = server(LIMITS, DRAFT);
    let error = server.feed(&raw(0, true, 0x1a, &[0; 23])).error();
    let Error::Peer(PeerError::Message(decode)) = error else { panic!("{error:?}") };
    assert_eq!((decode.message(), decode.field()), (Some("SubmitSharesStandard"), Some("version")));
    assert_eq!(server.advance().error(), error);
    // Bytes behind the last field: an error in the draft, an extension's in the current revision (C-TLV-6).
    let longer = raw(0, true, 0x1a, &[0; 25]);
    assert!(matches!(self::server(LIMITS, DRAFT).feed(&longer).error(), Error::Peer(PeerError::Message(_))));
    assert_eq!(self::server(LIMITS, Revision::Current).feed(&longer).events.len(), 1);
}
