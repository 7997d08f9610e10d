//! Strangers who never finish a handshake, write slowly, or announce more than they have.

use std::time::Duration;

use adit::buffer::{Input, Output};
use adit::config::Limits;
use adit::connection::{Connection, Ending, InitiatorConfig, Progress, Reason, ResponderConfig, Security, SetupPolicy};
use adit::error::{Error, PeerError};
use adit::frame::Header;
use adit::message::Message;
use adit::message::common::SetupConnectionSuccess;
use adit::protocol::{Initiator, Mining, Responder};
use adit::session::Session;
use adit::time::Instant;
use adit::wire::Revision;
use adit_conformance::pair::{Pair, PairConfig, WALL, configs};

use crate::allocator::{allocations, live};
use crate::house::SETUP;

type Server = Connection<Responder, Mining>;

/// What strangers may say before they fall silent: nothing, part of an offer, a whole offer.
const OPENINGS: [&[u8]; 4] = [b"", b"\x0d\0ST", b"\x0d\0STR3\x02AESGCHCH", b"\x0d\0STR3\x02AESGCHCH\x20\0\x01\x02"];

/// Half-open handshakes: each costs its own state, a few hundred bytes without heap, no curve operation before the stranger has sent a key; all end at the
/// same deadline with the same error, and who comes in the middle of it is served.
#[test]
fn half_open_handshakes_cost_their_state_and_end_in_time() {
    let (_, config) = configs(&PairConfig::default());
    let (mut input, mut output) = (Input::new([0; 1_200]), Output::new([0; 600]));
    let mut strangers: Vec<Server> = Vec::with_capacity(4_000);
    let before = live();
    let (count, ()) = allocations(|| {
        for n in 0..4_000_u16 {
            let [low, high] = n.to_le_bytes();
            let mut stranger = Server::responder(&config, [low ^ high; 32], Instant::ORIGIN);
            let opening = OPENINGS[usize::from(n) % OPENINGS.len()];
            input.space()[..opening.len()].copy_from_slice(opening);
            input.commit(opening.len()).expect("there is space");
            let end = stranger.advance(Instant::ORIGIN, WALL, &mut input, &mut output);
            assert_eq!(end, Ok(Progress::NeedInput));
            // A runtime keeps what is unread; here it is dropped, together with the answer.
            (input, output) = (Input::new([0; 1_200]), Output::new([0; 600]));
            strangers.push(stranger);
        }
    });
    assert_eq!((count, live() - before), (0, 0), "a half-open handshake allocates");
    assert!(size_of::<Server>() <= 1_024, "{} bytes", size_of::<Server>());

    let mut honest = Pair::<Mining>::new(&PairConfig::default());
    let mut secured = 0;
    honest.run(&mut |_, _| secured += 1, &mut |_, _| ());
    assert_eq!((secured, honest.server.error), (1, None));

    let deadline = Limits::DEFAULT.handshake.expect("a handshake has a limit");
    let error = Error::Peer(PeerError::TimedOut(Reason::Handshake));
    for stranger in &mut strangers {
        let due = stranger.poll_timeout().expect("a deadline");
        assert_eq!((due.at, due.reason), (Instant::ORIGIN.saturating_add(deadline), Reason::Handshake));
        assert_eq!(stranger.handle_timeout(due.at), Err(error));
        assert_eq!(stranger.poll_timeout(), None);
    }
}

fn plain_server(limits: Limits) -> Session<Responder, Mining, Vec<u8>> {
    let config = ResponderConfig { limits, ..ResponderConfig::new(Security::Plain, SetupPolicy::new(0)) };
    let connection = Connection::responder(&config, [0; 32], Instant::ORIGIN);
    Session::new(connection, Input::new(vec![0; 2_048]), Output::new(vec![0; 2_048]))
}

fn setup() -> Vec<u8> {
    let mut bytes = vec![0; 128];
    let n = SETUP.encode_frame(&mut bytes, Revision::Draft).expect("short");
    bytes.truncate(n);
    bytes
}

/// Feeds bytes; how it ended, and how many events there were.
fn feed(
    session: &mut Session<Responder, Mining, Vec<u8>>,
    now: Instant,
    bytes: &[u8],
) -> (u32, Result<Progress, Error>) {
    session.input_space()[..bytes.len()].copy_from_slice(bytes);
    session.commit_input(bytes.len()).expect("there is space");
    let mut events = 0;
    loop {
        match session.advance(now, WALL) {
            Ok(Progress::Event(token)) => match session.take_event(token) {
                Ok(_) => events += 1,
                Err(error) => return (events, Err(error)),
            },
            end => return (events, end),
        }
    }
}

/// A byte a second keeps nothing alive: not the setup, and with a limit for silence not an open connection either.
#[test]
fn slow_writers_are_cut() {
    let limits = Limits { idle: Some(Duration::from_secs(20)), ..Limits::DEFAULT };
    let at = Instant::from_secs;

    let mut session = plain_server(limits);
    assert_eq!(feed(&mut session, at(0), b""), (1, Ok(Progress::NeedInput)));
    let bytes = setup();
    for (second, byte) in bytes[..14].iter().enumerate() {
        let now = at(second as u64 + 1);
        assert_eq!(session.handle_timeout(now), Ok(()));
        assert_eq!(feed(&mut session, now, &[*byte]), (0, Ok(Progress::NeedInput)));
    }
    assert_eq!(session.handle_timeout(at(15)), Err(Error::Peer(PeerError::TimedOut(Reason::Setup))));

    let mut session = plain_server(limits);
    assert_eq!(feed(&mut session, at(0), &setup()).0, 2);
    let frame = [&Header::new(0, true, 0x1a, 24).expect("a header").encode()[..], &[0; 24]].concat();
    for (second, byte) in frame[..19].iter().enumerate() {
        let now = at(second as u64 + 1);
        assert_eq!(session.handle_timeout(now), Ok(()));
        assert_eq!(feed(&mut session, now, &[*byte]), (0, Ok(Progress::NeedInput)));
    }
    assert_eq!(session.handle_timeout(at(20)), Err(Error::Peer(PeerError::TimedOut(Reason::Idle))));
}

/// D-FRAME-2: sixteen megabytes announced: refused at the header, in every state and on both sides, before a byte is asked for or kept for it.
#[test]
fn huge_lengths_are_refused_at_their_header() {
    let header = Header::new(0, true, 0x1f, Header::MAX_PAYLOAD).expect("a header").encode();
    let refused = |end: Result<Progress, Error>| matches!(end, Err(Error::Peer(PeerError::TooLong { .. })));

    let mut session = plain_server(Limits::DEFAULT);
    let (count, (_, end)) = allocations(|| feed(&mut session, Instant::ORIGIN, &header));
    assert!(refused(end) && count == 0, "{count} allocations");

    let mut session = plain_server(Limits::DEFAULT);
    assert_eq!(feed(&mut session, Instant::ORIGIN, &setup()).0, 2);
    let (count, (_, end)) = allocations(|| feed(&mut session, Instant::ORIGIN, &header));
    assert!(refused(end) && count == 0, "{count} allocations");

    let config = InitiatorConfig::new(Security::Plain);
    let mut client: Connection<Initiator, Mining> = Connection::initiator(&config, [0; 32], Instant::ORIGIN);
    let (mut input, mut output) = (Input::new([0; 1_024]), Output::new([0; 512]));
    assert!(matches!(client.advance(Instant::ORIGIN, WALL, &mut input, &mut output), Ok(Progress::Event(_))));
    client.outbound(&mut output).send(&SETUP).expect("room");
    let mut success = [0; 32];
    let n = SetupConnectionSuccess { used_version: 2, flags: 0 }
        .encode_frame(&mut success, Revision::Draft)
        .expect("short");
    let bytes = [&success[..n], &header].concat();
    input.space()[..bytes.len()].copy_from_slice(&bytes);
    input.commit(bytes.len()).expect("there is space");
    assert!(matches!(client.advance(Instant::ORIGIN, WALL, &mut input, &mut output), Ok(Progress::Event(_))));
    assert!(refused(client.advance(Instant::ORIGIN, WALL, &mut input, &mut output)));
}

/// A fault ends the connection for good: whatever comes afterwards, good frames too, the answer is the same fault, and nothing is sent.
#[test]
fn after_a_fault_nothing_is_taken_and_nothing_is_sent() {
    let mut session = plain_server(Limits::DEFAULT);
    assert_eq!(feed(&mut session, Instant::ORIGIN, &setup()).0, 2);
    let answered = session.output().len();
    let malformed = [&Header::new(0, true, 0x1a, 3).expect("a header").encode()[..], &[0; 3]].concat();
    let (_, end) = feed(&mut session, Instant::ORIGIN, &malformed);
    let Err(error) = end else { panic!("{end:?}") };
    let good = [&Header::new(0, true, 0x1a, 24).expect("a header").encode()[..], &[0; 24]].concat();
    for _ in 0..3 {
        assert_eq!(feed(&mut session, Instant::ORIGIN, &good), (0, Err(error)));
    }
    let late = Instant::from_secs(1_000_000);
    assert_eq!(session.handle_timeout(late), Err(error));
    session.close();
    session.handle_eof();
    assert_eq!(session.advance(late, WALL), Err(error));
    assert_eq!(session.output().len(), answered);
    assert_ne!(session.connection().ending(), Some(Ending::Local), "a fault is no orderly end");
}
