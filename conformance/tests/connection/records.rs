//! Frames and records need not match: several frames in a record, a frame in many, and records without content (D-SEC-17).

use adit::buffer::{Input, Output};
use adit::connection::{Connection, Progress, Security};
use adit::crypto::{Provider, RustCrypto, TAG_LEN};
use adit::error::{Error, PeerError};
use adit::message::mining::SubmitSharesStandard;
use adit::noise::{CipherState, Step, x25519};
use adit::protocol::{Mining, Responder};
use adit::session::Session;
use adit::time::Instant;
use adit::transport::TransportError;
use adit::wire::Revision;
use adit_conformance::pair::{PairConfig, Server, WALL, configs};
use proptest::prelude::*;

use crate::solo::{frame, raw};
use crate::talk::setup;

/// The sending half of a client that seals what it likes.
struct Sealer(CipherState<<RustCrypto as Provider>::Aead>);

impl Sealer {
    /// One record around any bytes, or none.
    fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        let (mut body, mut tag) = (text.to_vec(), [0; TAG_LEN]);
        self.0.encrypt(&[], &mut body, &mut tag).unwrap();
        let length = u16::try_from(body.len() + TAG_LEN).unwrap();
        [&length.to_le_bytes(), &body[..], &tag].concat()
    }
}

/// A server after the handshake, with an input buffer of `input` bytes.
fn sealed(input: usize) -> (Server<Mining>, Sealer) {
    let (client, server) = configs(&PairConfig::default());
    let Security::Noise(noise) = &client.security else { panic!("the default is sealed") };
    let mut client = x25519::Initiator::<RustCrypto>::new(noise, [5; 32]);
    let connection = Connection::<Responder, Mining>::responder(&server, [6; 32], Instant::ORIGIN);
    let mut session = Session::new(connection, Input::new(vec![0; input]), Output::new(vec![0; 8192]));
    let mut to_client = vec![];
    loop {
        let mut out = [0; 512];
        match client.process(WALL, &to_client, &mut out).unwrap() {
            Step::Progress { consumed, written } => {
                to_client.drain(..consumed);
                session.input_space()[..written].copy_from_slice(&out[..written]);
                session.commit_input(written).unwrap();
                assert!(session.advance(Instant::ORIGIN, WALL).is_ok());
                to_client.extend_from_slice(session.output());
                let n = session.output().len();
                session.consume_output(n).unwrap();
            }
            Step::Complete { .. } => return (session, Sealer(client.established().unwrap().send)),
            Step::NeedInput | Step::NeedOutput => panic!("the server has answered, and there is room"),
        }
    }
}

/// Feeds bytes in pieces of `chunk`; the events as text and how it ended.
fn feed(session: &mut Server<Mining>, mut bytes: &[u8], chunk: usize) -> (Vec<String>, Result<Progress, Error>) {
    let mut events = vec![];
    loop {
        let space = session.input_space();
        let n = bytes.len().min(chunk).min(space.len());
        space[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        session.commit_input(n).unwrap();
        let end = loop {
            match session.advance(Instant::ORIGIN, WALL) {
                Ok(Progress::Event(token)) => match session.take_event(token) {
                    Ok((event, _)) => events.push(format!("{event:?}")),
                    Err(error) => break Err(error),
                },
                end => break end,
            }
        };
        let n = session.output().len();
        session.consume_output(n).unwrap();
        if bytes.is_empty() || end != Ok(Progress::NeedInput) {
            return (events, end);
        }
    }
}

fn share(sequence_number: u32) -> Vec<u8> {
    let share = SubmitSharesStandard { channel_id: 1, sequence_number, job_id: 1, nonce: 0, ntime: 0, version: 0 };
    frame(&share, Revision::Draft)
}

/// Setup, then twelve shares.
fn stream() -> Vec<u8> {
    [frame(&setup(), Revision::Draft), (0..12).flat_map(share).collect()].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// D-SEC-9, D-SEC-17: however the stream of frames is cut into records, and those into pieces on the way.
    #[test]
    fn any_cut_into_records_gives_the_same_messages(
        cuts in proptest::collection::vec(0_usize..200, 0..60),
        chunk in 1_usize..300,
        input in 600_usize..2000,
    ) {
        let (mut session, mut sealer) = sealed(input);
        let stream = stream();
        let (mut rest, mut bytes, mut after_empty) = (&stream[..], vec![], false);
        for cut in cuts.into_iter().chain(std::iter::repeat(100)) {
            let cut = if after_empty { cut.max(1) } else { cut }.min(rest.len());
            after_empty = cut == 0;
            bytes.extend(sealer.seal(&rest[..cut]));
            rest = &rest[cut..];
            if rest.is_empty() {
                break;
            }
        }
        let (events, end) = feed(&mut session, &bytes, chunk);
        prop_assert_eq!(end, Ok(Progress::NeedInput));
        prop_assert_eq!(events.len(), 13);
        for (sequence_number, event) in events[1..].iter().enumerate() {
            let expected = format!("sequence_number: {sequence_number},");
            prop_assert!(event.contains(&expected), "{}", event);
        }
        prop_assert!(session.buffers().0.is_empty());
    }

    /// No input can panic a server, or make it hang: random bytes instead of the handshake, and behind it.
    #[test]
    fn noise_of_the_other_kind_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600), chunk in 1_usize..100) {
        let (_, config) = configs(&PairConfig::default());
        let connection = Connection::<Responder, Mining>::responder(&config, [6; 32], Instant::ORIGIN);
        let mut strangers = Session::new(connection, Input::new(vec![0; 1024]), Output::new(vec![0; 1024]));
        let (events, _) = feed(&mut strangers, &bytes, chunk);
        // 32 bytes with their length before them are a key, and so a whole first message of NX: the server has no more to learn.
        let key = bytes.len() >= 34 && bytes.starts_with(&[32, 0]);
        prop_assert!(events.is_empty() || key && events.iter().all(|event| event == "Secured(Some(Anonymous))"), "{events:?}");
        let (mut session, _) = sealed(1024);
        let (events, _) = feed(&mut session, &bytes, chunk);
        prop_assert!(events.is_empty());
    }

    /// The same in plaintext, where every byte is taken for a frame's: events may come, panics and loops may not.
    #[test]
    fn any_bytes_as_frames_are_survived(
        frames in proptest::collection::vec((any::<u16>(), 0_u8..0x30, proptest::collection::vec(any::<u8>(), 0..80)), 0..20),
        chunk in 1_usize..100,
    ) {
        let (mut session, mut sealer) = sealed(1024);
        let (events, _) = feed(&mut session, &sealer.seal(&frame(&setup(), Revision::Draft)), 99);
        prop_assert_eq!(events.len(), 1);
        for (extension, msg_type, payload) in frames {
            let bytes = raw(extension & 0x7fff, extension & 0x8000 != 0, msg_type, &payload);
            let (_, end) = feed(&mut session, &sealer.seal(&bytes), chunk);
            prop_assert!(matches!(end, Ok(Progress::NeedInput) | Err(Error::Peer(_))), "{:?}", end);
        }
    }
}

/// Each byte of a frame in a record of its own.
#[test]
fn a_frame_in_as_many_records_as_bytes() {
    let (mut session, mut sealer) = sealed(600);
    let bytes: Vec<u8> = stream().iter().flat_map(|byte| sealer.seal(&[*byte])).collect();
    let (events, end) = feed(&mut session, &bytes, usize::MAX);
    assert_eq!((events.len(), end), (13, Ok(Progress::NeedInput)));
}

/// Two records without content in a row bring no frame closer: a fault, so that a peer cannot keep us busy for nothing.
#[test]
fn empty_records_are_limited() {
    let (mut session, mut sealer) = sealed(600);
    let setup = frame(&setup(), Revision::Draft);
    let bytes = [sealer.seal(&[]), sealer.seal(&setup), sealer.seal(&[])].concat();
    let (events, end) = feed(&mut session, &bytes, usize::MAX);
    assert_eq!((events.len(), end), (1, Ok(Progress::NeedInput)));
    let (events, end) = feed(&mut session, &sealer.seal(&[]), usize::MAX);
    assert_eq!((events.len(), end), (0, Err(Error::Peer(PeerError::Record(TransportError::Empty)))));
}

/// Records replayed, reordered or left out do not open, and what is behind them is not looked at.
#[test]
fn replayed_and_reordered_records_are_faults() {
    for order in [&[0, 0][..], &[1], &[0, 2, 1], &[0, 1, 3]] {
        let (mut session, mut sealer) = sealed(2048);
        let frames = [frame(&setup(), Revision::Draft), share(0), share(1), share(2)];
        let records: Vec<_> = frames.iter().map(|frame| sealer.seal(frame)).collect();
        let good = order.iter().enumerate().take_while(|(at, record)| at == *record).count();
        let bytes: Vec<u8> = order.iter().flat_map(|record| records[*record].clone()).collect();
        let (events, end) = feed(&mut session, &bytes, usize::MAX);
        let error = Err(Error::Peer(PeerError::Record(TransportError::Decrypt)));
        assert_eq!((events.len(), &end), (good, &error), "{order:?}");
        assert_eq!(feed(&mut session, &records[3], usize::MAX), (vec![], end));
    }
}

/// A record that the buffer can never hold is refused at its length, one too short for a tag as well.
#[test]
fn records_of_impossible_lengths_are_refused_at_their_prefix() {
    let prefix = |length: u16| length.to_le_bytes();
    let (mut session, _) = sealed(600);
    assert_eq!(feed(&mut session, &prefix(598), 9).1, Ok(Progress::NeedInput));
    let (mut session, _) = sealed(600);
    let too_long = Error::Peer(PeerError::TooLong { length: 601, limit: 600 });
    assert_eq!(feed(&mut session, &prefix(599), 9).1, Err(too_long));
    let (mut session, _) = sealed(600);
    let too_short = Error::Peer(PeerError::Record(TransportError::TooShort { got: 15 }));
    assert_eq!(feed(&mut session, &prefix(15), 9).1, Err(too_short));
}
