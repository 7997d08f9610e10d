//! Limits: time, length, meaningless messages, room for answers; and what they do not touch.

use std::time::Duration;

use adit::buffer::{Input, Output};
use adit::config::{ANSWER_ROOM, Limits};
use adit::connection::{Connection, Deadline, Ending, Progress, Reason, ResponderConfig, Security, SetupPolicy, State};
use adit::error::{Error, Misuse, Part, PeerError, Rule};
use adit::frame::Header;
use adit::message::mining::{SubmitSharesStandard, SubmitSharesSuccess};
use adit::protocol::{Initiator, Mining, Responder};
use adit::session::Session;
use adit::time::Instant;
use adit::wire::Revision;
use adit_conformance::conversation::Had;
use adit_conformance::pair::{Pair, PairConfig, WALL, configs};

use crate::solo::{client_asking, frame, raw, server, server_before_setup};

const DRAFT: Revision = Revision::Draft;
const LIMITS: Limits = Limits {
    handshake: Some(Duration::from_secs(5)),
    setup: Some(Duration::from_secs(7)),
    idle: Some(Duration::from_secs(60)),
    ..Limits::DEFAULT
};

fn share() -> SubmitSharesStandard {
    SubmitSharesStandard { channel_id: 1, sequence_number: 0, job_id: 1, nonce: 0, ntime: 0, version: 0 }
}

fn timed_out(reason: Reason) -> Error {
    Error::Peer(PeerError::TimedOut(reason))
}

/// A half-open handshake does not last, however slowly its bytes come.
#[test]
fn the_handshake_has_a_limit() {
    let (client, server) = configs(&PairConfig { limits: (LIMITS, LIMITS), ..PairConfig::default() });
    let at = Instant::from_secs(100);
    let mut server: Connection<Responder, Mining> = Connection::responder(&server, [1; 32], at);
    let mut client: Connection<Initiator, Mining> = Connection::initiator(&client, [2; 32], at);
    let deadline = Some(Deadline { at: Instant::from_secs(105), reason: Reason::Handshake });
    assert_eq!((server.poll_timeout(), client.poll_timeout()), (deadline, deadline));
    let (mut input, mut output) = (Input::new([0; 64]), Output::new([0; 512]));
    for (second, byte) in [0x0d, 0x00, b'S', b'T', b'R'].into_iter().enumerate() {
        let now = Instant::from_secs(100 + second as u64);
        input.space()[0] = byte;
        input.commit(1).unwrap();
        assert_eq!(server.advance(now, WALL, &mut input, &mut output), Ok(Progress::NeedInput));
        assert_eq!((server.handle_timeout(now), server.poll_timeout()), (Ok(()), deadline));
    }
    for connection in [server.handle_timeout(Instant::from_secs(105)), client.handle_timeout(Instant::from_secs(105))] {
        assert_eq!(connection, Err(timed_out(Reason::Handshake)));
    }
    // A limit that fired is not handed out again.
    assert_eq!((server.poll_timeout(), server.state()), (None, State::Failed));
}

/// Counted from the end of the handshake; both sides.
#[test]
fn setup_has_a_limit() {
    let mut server = server_before_setup(SetupPolicy::new(0), LIMITS, DRAFT);
    let deadline = Some(Deadline { at: Instant::from_secs(7), reason: Reason::Setup });
    assert_eq!(server.session.poll_timeout(), deadline);
    assert_eq!(server.session.handle_timeout(Instant::from_secs(7)), Err(timed_out(Reason::Setup)));
    let mut client = client_asking(LIMITS, DRAFT);
    assert_eq!(client.session.poll_timeout(), deadline);
    assert_eq!(client.session.handle_timeout(Instant::from_secs(8)), Err(timed_out(Reason::Setup)));
}

/// Whole frames count; bytes and messages without meaning do not.
#[test]
fn silence_has_a_limit_that_only_meaning_breaks() {
    let mut server = server(LIMITS, DRAFT);
    server.now = Instant::from_secs(10);
    assert_eq!(server.feed(&frame(&share(), DRAFT)).events.len(), 1);
    let deadline = Some(Deadline { at: Instant::from_secs(70), reason: Reason::Idle });
    assert_eq!(server.session.poll_timeout(), deadline);
    server.now = Instant::from_secs(50);
    assert_eq!(server.feed(&raw(0x4000, false, 1, &[])).events.len(), 0);
    assert_eq!(server.feed(&frame(&share(), DRAFT)[..20]).events.len(), 0);
    assert_eq!(server.session.poll_timeout(), deadline);
    assert_eq!(server.session.handle_timeout(Instant::from_secs(69)), Ok(()));
    assert_eq!(server.session.handle_timeout(Instant::from_secs(70)), Err(timed_out(Reason::Idle)));
}

#[test]
fn without_a_limit_there_is_no_deadline() {
    let none = Limits { handshake: None, setup: None, idle: None, ..Limits::DEFAULT };
    let mut server = server(none, DRAFT);
    assert_eq!(server.session.poll_timeout(), None);
    assert_eq!(server.session.handle_timeout(Instant::from_micros(u64::MAX)), Ok(()));
    assert_eq!(server_before_setup(SetupPolicy::new(0), none, DRAFT).session.poll_timeout(), None);
}

/// One that means something starts the count anew.
#[test]
fn messages_without_meaning_are_limited_in_a_row() {
    let limits = Limits { dropped: 3, ..Limits::DEFAULT };
    let nothing = raw(0x4000, false, 0x42, &[]);
    let mut server = server(limits, DRAFT);
    for _ in 0..5 {
        let outcome = server.feed(&[nothing.repeat(3), frame(&share(), DRAFT)].concat());
        assert_eq!((outcome.events.len(), outcome.end), (1, Ok(Progress::NeedInput)));
    }
    let error = Error::Peer(PeerError::Rule { rule: Rule::Dropped, msg_type: 0x42 });
    assert_eq!(server.feed(&nothing.repeat(4)).error(), error);
    assert_eq!(server.advance().error(), error);
}

/// D-FRAME-2: a length is judged as soon as the header is there, before anything is buffered for it.
#[test]
fn a_frame_that_is_too_long_is_refused_at_its_header() {
    let header = |length| Header::new(0, true, 0x1f, length).unwrap().encode();
    let too_long = |length, limit| Error::Peer(PeerError::TooLong { length, limit });
    // Our own limit.
    let limits = Limits { frame: 1000, ..Limits::DEFAULT };
    assert_eq!(server(limits, DRAFT).feed(&header(994)).end, Ok(Progress::NeedInput));
    assert_eq!(server(limits, DRAFT).feed(&header(995)).error(), too_long(1001, 1000));
    // The buffer's.
    assert_eq!(server(Limits::DEFAULT, DRAFT).feed(&header(4090)).end, Ok(Progress::NeedInput));
    assert_eq!(server(Limits::DEFAULT, DRAFT).feed(&header(4091)).error(), too_long(4097, 4096));
    // Before setup is over a stranger gets no more than SetupConnection can need.
    let before = || server_before_setup(SetupPolicy::new(0), Limits::DEFAULT, DRAFT);
    assert_eq!(before().feed(&Header::new(0, false, 0, 1291).unwrap().encode()).end, Ok(Progress::NeedInput));
    assert_eq!(before().feed(&Header::new(0, false, 0, 1292).unwrap().encode()).error(), too_long(1298, 1297));
}

/// An end between two frames is in order, inside of one it is not; frames that wait are handed over first.
#[test]
fn the_end_of_the_stream_comes_after_what_was_sent() {
    let bytes = frame(&share(), DRAFT);
    for cut in 0..=bytes.len() {
        let mut server = server(Limits::DEFAULT, DRAFT);
        server.session.handle_eof();
        let outcome = server.feed(&[&bytes[..], &bytes[..cut]].concat());
        let whole = cut == 0 || cut == bytes.len();
        assert_eq!(outcome.events.len(), 1 + usize::from(cut == bytes.len()));
        if whole {
            assert_eq!(outcome.end, Ok(Progress::Closed));
            assert_eq!(server.session.connection().ending(), Some(Ending::Peer));
        } else {
            assert_eq!(outcome.error(), Error::Peer(PeerError::Truncated(Part::Frame)));
        }
    }
}

/// The one back-pressure signal: no frame without room for its answer, and nothing is lost meanwhile.
#[test]
fn frames_wait_until_there_is_room_for_an_answer() {
    let config = ResponderConfig::new(Security::Plain, SetupPolicy::new(u32::MAX));
    let connection: Connection<Responder, Mining> = Connection::responder(&config, [0; 32], Instant::ORIGIN);
    let mut session = Session::new(connection, Input::new(vec![0; 4096]), Output::new(vec![0; ANSWER_ROOM + 50]));
    let bytes = [frame(&crate::talk::setup(), DRAFT), frame(&share(), DRAFT).repeat(20)].concat();
    session.input_space()[..bytes.len()].copy_from_slice(&bytes);
    session.commit_input(bytes.len()).unwrap();
    let (mut shares, mut stalls, mut sent) = (0, 0, vec![]);
    loop {
        match session.advance(Instant::ORIGIN, WALL).unwrap() {
            Progress::Event(token) => {
                let (event, mut outbound) = session.take_event(token).unwrap();
                if format!("{event:?}").contains("SubmitShares") {
                    shares += 1;
                    let success = SubmitSharesSuccess {
                        channel_id: 1,
                        last_sequence_number: shares,
                        new_submits_accepted_count: 1,
                        new_shares_sum: 1,
                    };
                    assert!(outbound.room() >= ANSWER_ROOM);
                    outbound.send(&success).unwrap();
                }
            }
            Progress::NeedOutput => {
                stalls += 1;
                // A slow reader: ten bytes at a time.
                let n = session.output().len().min(10);
                sent.extend_from_slice(&session.output()[..n]);
                session.consume_output(n).unwrap();
            }
            Progress::NeedInput => break,
            other => panic!("{other:?}"),
        }
    }
    sent.extend_from_slice(session.output());
    assert_eq!((shares, sent.len()), (20, 12 + 20 * 26));
    assert!(stalls > 20);
}

/// A buffer in which no answer can ever fit is the caller's mistake, and said to be.
#[test]
fn an_output_buffer_that_is_too_small_is_misuse() {
    let config = ResponderConfig::new(Security::Plain, SetupPolicy::new(u32::MAX));
    let connection: Connection<Responder, Mining> = Connection::responder(&config, [0; 32], Instant::ORIGIN);
    let mut session = Session::new(connection, Input::new([0; 512]), Output::new([0; ANSWER_ROOM - 1]));
    assert!(matches!(session.advance(Instant::ORIGIN, WALL), Ok(Progress::Event(_))));
    let bytes = frame(&crate::talk::setup(), DRAFT);
    session.input_space()[..bytes.len()].copy_from_slice(&bytes);
    session.commit_input(bytes.len()).unwrap();
    for _ in 0..2 {
        assert_eq!(session.advance(Instant::ORIGIN, WALL), Err(Error::Misuse(Misuse::OutputTooSmall)));
    }
    // Nothing is lost by it: a larger buffer goes on.
    assert_eq!(session.connection().state(), State::Setup);
}

/// A token is good for its event and until the next `advance`.
#[test]
fn an_old_token_names_nothing() {
    let mut server = server(Limits::DEFAULT, DRAFT);
    let bytes = frame(&share(), DRAFT).repeat(2);
    server.session.input_space()[..bytes.len()].copy_from_slice(&bytes);
    server.session.commit_input(bytes.len()).unwrap();
    let Ok(Progress::Event(old)) = server.session.advance(server.now, WALL) else { panic!() };
    let Ok(Progress::Event(new)) = server.session.advance(server.now, WALL) else { panic!() };
    assert_eq!(server.session.take_event(old).err(), Some(Error::Misuse(Misuse::StaleToken)));
    assert!(server.session.take_event(new).is_ok());

    // Of the one event that comes without a frame, too.
    let config = ResponderConfig::new(Security::Plain, SetupPolicy::new(u32::MAX));
    let connection: Connection<Responder, Mining> = Connection::responder(&config, [0; 32], Instant::ORIGIN);
    let mut session = Session::new(connection, Input::new([0; 512]), Output::new([0; 512]));
    let Ok(Progress::Event(old)) = session.advance(Instant::ORIGIN, WALL) else { panic!() };
    assert_eq!(session.advance(Instant::ORIGIN, WALL), Ok(Progress::NeedInput));
    assert_eq!(session.take_event(old).err(), Some(Error::Misuse(Misuse::StaleToken)));
}

/// Nor of one that was closed meanwhile: it has forgotten who the peer is.
#[test]
fn an_event_is_not_had_of_a_connection_that_was_closed() {
    let config = ResponderConfig::new(Security::Plain, SetupPolicy::new(u32::MAX));
    let connection: Connection<Responder, Mining> = Connection::responder(&config, [0; 32], Instant::ORIGIN);
    let mut session = Session::new(connection, Input::new([0; 512]), Output::new([0; 512]));
    let Ok(Progress::Event(token)) = session.advance(Instant::ORIGIN, WALL) else { panic!() };
    session.close();
    assert_eq!(session.take_event(token).err(), Some(Error::Misuse(Misuse::StaleToken)));
}

/// The fault that ended the connection, and not an event as if nothing had been: the end of the handshake would say that nobody proved anything.
#[test]
fn an_event_is_not_had_of_a_connection_that_failed() {
    let (_, config) = configs(&PairConfig { limits: (LIMITS, LIMITS), ..PairConfig::plain() });
    let connection: Connection<Responder, Mining> = Connection::responder(&config, [0; 32], Instant::ORIGIN);
    let mut session = Session::new(connection, Input::new([0; 512]), Output::new([0; 512]));
    let Ok(Progress::Event(token)) = session.advance(Instant::ORIGIN, WALL) else { panic!() };
    let fault = timed_out(Reason::Setup);
    assert_eq!(session.handle_timeout(Instant::from_secs(7)), Err(fault));
    assert_eq!(session.take_event(token).err(), Some(fault));
}

/// D-SEC-1, D-SEC-3: a side that is to encrypt does not talk to one that does not.
#[test]
fn plain_and_sealed_never_meet() {
    let sealed = configs(&PairConfig::default());
    let plain = configs(&PairConfig::plain());
    for ((client, _), (_, server)) in [(&sealed, &plain), (&plain, &sealed)] {
        let mut client: Connection<Initiator, Mining> = Connection::initiator(client, [1; 32], Instant::ORIGIN);
        let mut server: Connection<Responder, Mining> = Connection::responder(server, [2; 32], Instant::ORIGIN);
        let (mut input, mut output) = (Input::new([0; 2048]), Output::new([0; 2048]));
        assert!(client.advance(Instant::ORIGIN, WALL, &mut input, &mut output).is_ok());
        if client.state() == State::Setup {
            client.outbound(&mut output).send(&crate::talk::setup()).unwrap();
        }
        let bytes = output.filled().to_vec();
        let (mut input, mut output) = (Input::new([0; 2048]), Output::new([0; 2048]));
        input.space()[..bytes.len()].copy_from_slice(&bytes);
        input.commit(bytes.len()).unwrap();
        let mut end = server.advance(Instant::ORIGIN, WALL, &mut input, &mut output);
        while matches!(end, Ok(Progress::Event(_))) {
            end = server.advance(Instant::ORIGIN, WALL, &mut input, &mut output);
        }
        assert!(matches!(end, Err(Error::Peer(_))), "{end:?}");
        assert_eq!(output.filled(), []);
    }
}

/// D-SEC-14: who the server is can be asked while the keys are there; they go with the connection's end, however it comes.
#[test]
fn keys_and_identity_end_with_the_connection() {
    let run = |end: fn(&mut Pair<Mining>)| {
        let pair = Pair::new(&PairConfig { limits: (LIMITS, LIMITS), ..PairConfig::default() });
        let mut had = Had::begin(crate::talk::Talk::default(), pair);
        had.run();
        assert!(had.pair.client.session.connection().peer().is_some_and(|peer| peer.is_authenticated()));
        assert!(had.pair.server.session.connection().peer().is_some_and(|peer| !peer.is_authenticated()));
        end(&mut had.pair);
        had.run();
        assert_eq!(had.pair.client.session.connection().peer(), None);
        assert_eq!(had.pair.server.session.connection().peer(), None);
    };
    run(|pair| pair.client.session.close());
    run(|pair| {
        let late = Instant::from_secs(1000);
        assert!(pair.client.session.handle_timeout(late).is_err() && pair.server.session.handle_timeout(late).is_err());
    });
    run(|pair| {
        pair.to_server.put(&[16, 0]);
        pair.to_server.put(&[0; 16]);
        pair.to_client.put(&[16, 0]);
        pair.to_client.put(&[0; 16]);
    });
}

/// D-SEC-14, D-RECON-4: a server of another authority is not accepted, and gets no `SetupConnection`.
#[test]
fn another_authority_is_not_accepted() {
    let mut pair = Pair::<Mining>::new(&PairConfig::default());
    let (other, _) = configs(&PairConfig { seed: 2, ..PairConfig::default() });
    let (input, output) = (Input::new(vec![0; 4096]), Output::new(vec![0; 4096]));
    pair.client.session = Session::new(Connection::initiator(&other, [3; 32], Instant::ORIGIN), input, output);
    let mut secured = 0;
    pair.run(&mut |event, _| panic!("{event:?}"), &mut |_, _| secured += 1);
    assert!(matches!(pair.client.error, Some(Error::Peer(PeerError::Handshake(_)))), "{:?}", pair.client.error);
    // In this pattern the server's part is over before the client's check: it sees only that nobody talks.
    assert_eq!((secured, pair.server.closed, pair.server.error), (1, true, None));
}
