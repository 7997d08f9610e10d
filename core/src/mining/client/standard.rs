//! A client of [`StandardMining`] beside one that asks for standard jobs when it runs: the same bytes, the same state machine. What the type leaves out,
//! a server may send all the same.

use std::vec::Vec;

use proptest::prelude::*;

use super::hostile::message;
use super::testing::*;
use super::tests::*;
use super::*;
use crate::buffer::Output;
use crate::frame::Header;
use crate::message::mining::{
    OpenStandardMiningChannelSuccess, SetCustomMiningJobError, SetCustomMiningJobSuccess, ToClient, ToStandardClient,
};
use crate::message::{ErrorCode, JobStart, MessageSet, Unread};
use crate::protocol::{StandardMining, decode_incoming};
use crate::time::Instant;
use crate::wire::{DecodeErrorKind, Encode, Writer};

type Standard = MiningClient<Inline, 1, 0, 0, StandardMining>;

/// The message as it goes over the wire; none when it cannot in this revision.
fn frame(message: &ToClient<'_>, revision: Revision) -> Option<(Header, Vec<u8>)> {
    let mut payload = std::vec![0; message.encoded_len(revision)];
    message.encode(&mut Writer::new(&mut payload), revision).ok()?;
    let number = message.entry(revision)?.number();
    Some((Header::new(0, number.channel_msg, number.msg_type, payload.len())?, payload))
}

/// Both clients, each of which has asked for its channel.
fn pair(revision: Revision) -> (Small, Standard, Output<Vec<u8>>) {
    let terms = terms(revision, SetupFlags::REQUIRES_STANDARD_JOBS);
    let mut whole = Small::new(terms, crate::mining::server::ServerConfig::default());
    let mut standard = Standard::new(terms);
    let mut output = Output::new(std::vec![0; 65_536]);
    ask(&mut whole, &mut standard, &mut output);
    (whole, standard, output)
}

/// As long as there is room each asks for a channel; they agree on whether there is.
fn ask(whole: &mut Small, standard: &mut Standard, output: &mut Output<Vec<u8>>) {
    let revision = whole.client.terms().revision;
    let asked = whole.client.open_standard(&OPEN, &mut Out::plain(&mut whole.output, revision));
    assert_eq!(standard.open_standard(&OPEN, &mut Out::plain(output, revision)), asked);
}

/// D-FLAG-1, D-MIN-10, D-OPEN-3, D-CUST-1, D-GRP-2: what a server sends although it must not is judged, and never read.
#[test]
fn what_only_others_may_get_is_refused_or_means_nothing() {
    let code = ErrorCode::new("no");
    let start = JobStart::Now { min_ntime: Some(7) };
    for revision in [Revision::Draft, Revision::Current] {
        let (.., mut client, _output) = pair(revision);
        let opened = opened(1, 3);
        let hear = |client: &mut Standard, message: &ToClient<'_>| {
            let (header, payload) = frame(message, revision).unwrap();
            let message = decode_incoming::<Initiator, StandardMining>(header, &payload, revision).unwrap();
            client.handle(Instant::ORIGIN, &message).map(|event| std::format!("{event:?}"))
        };
        assert_eq!(hear(&mut client, &opened).unwrap(), "Opened { request_id: 1, channel_id: 3 }");
        let ignored = |what: &str| Ok(std::format!("Ignored({what})"));
        assert_eq!(hear(&mut client, &extended_job(3, 1, start)), Err(ServerViolation::JobKind));
        assert_eq!(hear(&mut client, &extended_job(GROUP, 1, start)), ignored("UnknownChannel(100)"));
        assert_eq!(hear(&mut client, &opened_extended(1, 4, 8, true)), Err(ServerViolation::Request));
        let group = crate::message::mining::SetGroupChannel { group_channel_id: 7, channel_ids: (&[3]).into() };
        assert_eq!(hear(&mut client, &ToClient::SetGroupChannel(group)), ignored("Group"));
        let success = SetCustomMiningJobSuccess {
            channel_id: 3,
            request_id: 1,
            job_id: 1,
            coinbase_tx_prefix: crate::wire::B064K::new(&[1]).into(),
            coinbase_tx_suffix: crate::wire::B064K::new(&[2]).into(),
        };
        assert_eq!(hear(&mut client, &ToClient::SetCustomMiningJobSuccess(success)), ignored("CustomJob"));
        let error = SetCustomMiningJobError { channel_id: 3, request_id: 1, error_code: code };
        assert_eq!(hear(&mut client, &ToClient::SetCustomMiningJobError(error)), ignored("CustomJob"));
        assert_eq!((client.len(), client.work(3)), (1, None), "nothing of it had an effect");
    }
}

/// What is not read is passed on whole, and is the same message by its number; a payload without a channel id has the id 0.
#[test]
fn an_unread_message_keeps_its_payload() {
    let (header, payload) = frame(&extended_job(3, 1, NOW), Revision::Draft).unwrap();
    let message = decode_incoming::<Initiator, StandardMining>(header, &payload, Revision::Draft).unwrap();
    let ToStandardClient::NewExtendedMiningJob(unread) = message else { panic!("{message:?}") };
    assert_eq!((unread.payload(), unread.channel_id()), (&payload[..], 3));
    let mut again = std::vec![0; message.encoded_len(Revision::Draft)];
    message.encode(&mut Writer::new(&mut again), Revision::Draft).unwrap();
    assert_eq!(again, payload);
    assert_eq!(Unread::<OpenStandardMiningChannelSuccess<'_>>::new(&[1, 2, 3]).channel_id(), 0);
    let unknown = Header::new(0, true, 0x7f, 0).unwrap();
    let error = decode_incoming::<Initiator, StandardMining>(unknown, &[], Revision::Draft).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::UnknownMessage(0x7f));
}

proptest! {
    /// D-FLAG-1: whatever a server says, both clients hear the same and mine the same.
    #[test]
    fn one_state_machine_serves_both(messages in prop::collection::vec(message(), 1..80), current: bool) {
        let revision = if current { Revision::Current } else { Revision::Draft };
        let (mut whole, mut standard, mut output) = pair(revision);
        for message in messages {
            let Some((header, payload)) = frame(&message, revision) else { continue };
            let message = decode_incoming::<Initiator, Mining>(header, &payload, revision).unwrap();
            let narrow = decode_incoming::<Initiator, StandardMining>(header, &payload, revision).unwrap();
            let heard = whole.client.handle(Instant::ORIGIN, &message);
            prop_assert_eq!(standard.handle(Instant::ORIGIN, &narrow), heard, "{:?}", message);
            prop_assert_eq!(standard.statistics(), whole.client.statistics());
            for id in 1..4 {
                // Serials are only compared with each other.
                let same = |work: Option<Work>| work.map(|work| Work { serial: 0, ..work });
                prop_assert_eq!(same(standard.work(id)), same(whole.client.work(id)));
                let Some((one, other)) = standard.work(id).zip(whole.client.work(id)) else { continue };
                let solution = other.solution(other.version, other.min_ntime, 1);
                let sent = whole.client.submit(Instant::ORIGIN, &solution, &mut Out::plain(&mut whole.output, revision));
                let solution = one.solution(one.version, one.min_ntime, 1);
                prop_assert_eq!(standard.submit(Instant::ORIGIN, &solution, &mut Out::plain(&mut output, revision)), sent);
            }
            ask(&mut whole, &mut standard, &mut output);
            prop_assert_eq!(whole.output.filled(), output.filled(), "the same bytes go out");
            for output in [&mut whole.output, &mut output] {
                output.consume(output.len()).unwrap();
            }
        }
    }
}
