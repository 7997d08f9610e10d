//! The machine alone: streams are queues of bytes, time is a number. How a link ends is in `ends`.

mod ends;

use core::time::Duration;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::buffer::{Input, Output};
use crate::config::{DEVICE_INPUT, DEVICE_OUTPUT};
use crate::connection::{
    Ending, Event, InitiatorConfig, NoiseServer, Reason, ResponderConfig, Security, SetupPolicy, State,
};
use crate::crypto::{RustCrypto, Secret};
use crate::error::{Part, PeerError};
use crate::message::common::SetupConnection;
use crate::message::mining::{SetTarget, SubmitSharesStandard, SubmitSharesSuccess, ToClient, ToServer};
use crate::noise::x25519::{self, Authentication, Authority, Identity};
use crate::protocol::{Initiator, Mining, Responder};
use crate::rate::Rate;
use crate::time::UnixTime;
use crate::wire::{Revision, U256};

const WALL: UnixTime = UnixTime::from_secs(1_800_000_000);
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// Bytes of a share's frame and of an acknowledgement's on a plain link.
const SHARE: usize = 30;
const SUCCESS: usize = 26;

/// Leases vectors and counts those that are out.
#[derive(Clone, Debug)]
struct Lender {
    input: usize,
    output: usize,
    frames: Option<Rate>,
    leases: Rc<Cell<u32>>,
}

impl Lender {
    fn new(input: usize, output: usize) -> Self {
        Self { input, output, frames: None, leases: Rc::default() }
    }

    fn lease(&self, length: usize, at_least: usize) -> Vec<u8> {
        if length == 0 {
            return Vec::new();
        }
        self.leases.set(self.leases.get() + 1);
        vec![0; length.max(at_least)]
    }
}

impl Terms<Vec<u8>, Vec<u8>> for Lender {
    const LEASED: bool = true;
    const PACED: bool = true;
    const ENDS: bool = true;

    fn limits(&self) -> Limits {
        Limits::DEFAULT
    }

    fn linger(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn frames(&self) -> Option<Rate> {
        self.frames
    }

    fn input(&self, length: usize) -> Option<Vec<u8>> {
        Some(self.lease(length, self.input))
    }

    fn output(&self, length: usize) -> Option<Vec<u8>> {
        Some(self.lease(length, self.output))
    }

    fn output_length(&self) -> usize {
        self.output
    }
}

type Client<T> = Link<Initiator, Mining, RustCrypto, Vec<u8>, Vec<u8>, T>;
type Server<T> = Link<Responder, Mining, RustCrypto, Vec<u8>, Vec<u8>, T>;

/// One way of a stream.
#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// Bytes that pass at once.
    piece: usize,
    ended: bool,
    broken: bool,
    /// Flushing and ending do not get done.
    slow: bool,
    writes: u32,
    /// All bytes that were ever written.
    passed: usize,
}

impl Pipe {
    fn new(capacity: usize, piece: usize) -> Self {
        Self { bytes: VecDeque::new(), capacity, piece, ended: false, broken: false, slow: false, writes: 0, passed: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> Option<Result<usize, Broken>> {
        let n = bytes.len().min(self.piece).min(self.capacity - self.bytes.len());
        if self.broken {
            return Some(Err(Broken));
        }
        self.bytes.extend(&bytes[..n]);
        self.passed += n;
        self.writes += u32::from(n > 0);
        (n > 0).then_some(Ok(n))
    }

    fn read(&mut self, space: &mut [u8]) -> Option<Result<usize, Broken>> {
        assert!(!space.is_empty(), "there is space to read to");
        let n = space.len().min(self.piece).min(self.bytes.len());
        for (to, from) in space.iter_mut().zip(self.bytes.drain(..n)) {
            *to = from;
        }
        match n {
            0 if self.broken => Some(Err(Broken)),
            0 if !self.ended => None,
            n => Some(Ok(n)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

/// What came of driving a link as far as it goes.
#[derive(Debug, PartialEq, Eq)]
enum Driven {
    Turn(Turn),
    Waits(Option<Instant>),
}

/// A runtime, in the order that the module's documentation gives.
fn drive<S: Endpoint, T: Terms<Vec<u8>, Vec<u8>>>(
    link: &mut Link<S, Mining, RustCrypto, Vec<u8>, Vec<u8>, T>,
    from: &mut Pipe,
    to: &mut Pipe,
    now: Instant,
) -> Result<Driven, LinkCause<Broken>> {
    loop {
        let io = match link.step(now, WALL)? {
            Step::Turn(turn) => return Ok(Driven::Turn(turn)),
            Step::Io(io) => io,
        };
        let mut moved = false;
        loop {
            match link.outgoing() {
                Outgoing::Bytes => match to.write(link.output()) {
                    Some(result) => link.written(result)?,
                    None => break,
                },
                Outgoing::Flush if !to.slow => link.flushed::<Broken>(Ok(()))?,
                Outgoing::End if !to.slow => {
                    to.ended = true;
                    link.shut_down(true, now);
                }
                Outgoing::Nothing | Outgoing::Flush | Outgoing::End => break,
            }
            moved = true;
        }
        if moved {
            continue;
        }
        if io.read
            && let Some(result) = from.read(link.space())
        {
            link.read(result, now)?;
            continue;
        }
        if io.wake.is_none_or(|wake| now < wake) {
            link.rest();
            return Ok(Driven::Waits(io.wake));
        }
        link.handle_timeout(now)?;
    }
}

struct Pair<C, T> {
    client: Client<C>,
    server: Server<T>,
    up: Pipe,
    down: Pipe,
    now: Instant,
}

impl<C, T> Pair<C, T>
where
    C: Terms<Vec<u8>, Vec<u8>>,
    T: Terms<Vec<u8>, Vec<u8>>,
{
    fn new(client: (C, usize), server: (T, usize), plain: bool, pipe: (usize, usize)) -> Self {
        let now = Instant::from_secs(1);
        let authority = Authority::<RustCrypto>::from_seed(Secret::from_bytes([1; 32]));
        let (from, until) = (UnixTime::from_secs(WALL.as_secs() - 9), UnixTime::from_secs(WALL.as_secs() + 9));
        let identity = Identity::issue(Secret::from_bytes([2; 32]), &authority, from, until).unwrap();
        let ours = Security::Noise(x25519::InitiatorConfig::new(Authentication::Authority(*authority.public_key())));
        let theirs = Security::Noise(NoiseServer { identity, policy: x25519::Policy::default() });
        let ours = InitiatorConfig::new(if plain { Security::Plain } else { ours });
        let setup = SetupPolicy::new(u32::MAX);
        let theirs = ResponderConfig::new(if plain { Security::Plain } else { theirs }, setup);
        let client = Link::new(
            session::<_, C>(Connection::initiator(&ours, [3; 32], now), client.1, DEVICE_OUTPUT),
            client.0,
            now,
        );
        let server = Link::new(
            session::<_, T>(Connection::responder(&theirs, [4; 32], now), server.1, DEVICE_OUTPUT),
            server.0,
            now,
        );
        Self { client, server, up: Pipe::new(pipe.0, pipe.1), down: Pipe::new(pipe.0, pipe.1), now }
    }

    fn client(&mut self) -> Result<Driven, LinkCause<Broken>> {
        drive(&mut self.client, &mut self.down, &mut self.up, self.now)
    }

    fn server(&mut self) -> Result<Driven, LinkCause<Broken>> {
        drive(&mut self.server, &mut self.up, &mut self.down, self.now)
    }

    /// Both to the opened connection, with nothing on the way.
    fn opened(mut self) -> Self {
        while self.client.connection().state() != State::Open || self.server.connection().state() != State::Open {
            if let Driven::Turn(Turn::Event(token)) = self.client().unwrap()
                && let (Event::Secured(_), mut out) = self.client.event(token).unwrap()
            {
                out.send(&setup()).unwrap();
            }
            if let Driven::Turn(Turn::Event(token)) = self.server().unwrap() {
                let _ = self.server.event(token).unwrap();
            }
        }
        assert!(matches!(self.server().unwrap(), Driven::Waits(None)));
        assert!(matches!(self.client().unwrap(), Driven::Waits(None)));
        self.down.writes = 0;
        self
    }

    /// Puts shares into the stream to the server, behind the client's back.
    fn shares(&mut self, numbers: core::ops::Range<u32>) {
        let mut frame = Output::new([0; SHARE]);
        for n in numbers {
            Outbound::<Initiator, Mining>::plain(&mut frame, Revision::Draft).send(&share(n)).unwrap();
            self.up.bytes.extend(frame.filled());
            frame.consume(SHARE).unwrap();
        }
    }

    /// Lets the server acknowledge what comes until it waits. How many, and until when it waits.
    fn serve(&mut self) -> Result<(u32, Option<Instant>), LinkCause<Broken>> {
        let mut seen = 0;
        loop {
            match self.server()? {
                Driven::Turn(Turn::Event(token)) => {
                    acknowledge(&mut self.server, token);
                    seen += 1;
                }
                Driven::Turn(Turn::Room) => {}
                Driven::Turn(Turn::Closed) => return Ok((seen, None)),
                Driven::Waits(wake) => return Ok((seen, wake)),
            }
        }
    }

    /// Sets the clock to what the server waits for.
    fn pass(&mut self, seconds: u64) {
        self.now = self.now.saturating_add(Duration::from_secs(seconds));
    }
}

/// A session with buffers of its own, or with ones that grow out of nothing.
fn session<S: Endpoint, T: Terms<Vec<u8>, Vec<u8>>>(
    connection: Connection<S, Mining>,
    input: usize,
    output: usize,
) -> Session<S, Mining, Vec<u8>, Vec<u8>> {
    if T::LEASED {
        Session::new(connection, Input::growable(Vec::new(), input), Output::growable(Vec::new(), 65_536))
    } else {
        Session::new(connection, Input::new(vec![0; input]), Output::new(vec![0; output]))
    }
}

/// A board's client and a server with a pool, over a stream that takes all at once.
fn plain() -> Pair<Limits, Lender> {
    with(Lender::new(4096, 4096))
}

fn with(lender: Lender) -> Pair<Limits, Lender> {
    Pair::new((Limits::DEFAULT, DEVICE_INPUT), (lender, 131_072), true, (1 << 20, usize::MAX)).opened()
}

fn setup() -> SetupConnection<'static> {
    SetupConnection {
        protocol: 0,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: "pool.example".into(),
        endpoint_port: 3333,
        vendor: "test".into(),
        hardware_version: "".into(),
        firmware: "".into(),
        device_id: "".into(),
    }
}

fn share(sequence_number: u32) -> SubmitSharesStandard {
    SubmitSharesStandard { channel_id: 1, sequence_number, job_id: 1, nonce: 0, ntime: 0, version: 0 }
}

fn acknowledge<T: Terms<Vec<u8>, Vec<u8>>>(server: &mut Server<T>, token: Token) -> Option<u32> {
    match server.event(token).unwrap() {
        (Event::Message(ToServer::SubmitSharesStandard(share)), mut out) => {
            let success = SubmitSharesSuccess {
                channel_id: share.channel_id,
                last_sequence_number: share.sequence_number,
                new_submits_accepted_count: 1,
                new_shares_sum: 1,
            };
            out.send(&success).expect("an answer always has room");
            Some(share.sequence_number)
        }
        (Event::Secured(_) | Event::Opened(_), _) => None,
        (event, _) => panic!("{event:?}"),
    }
}

/// The client sends shares as fast as they go and closes when all are acknowledged; both take turns. Nobody waits for ever.
fn converse<C, T>(mut pair: Pair<C, T>, shares: u32)
where
    C: Terms<Vec<u8>, Vec<u8>>,
    T: Terms<Vec<u8>, Vec<u8>>,
{
    let (mut sent, mut acknowledged, mut seen) = (0, 0, 0);
    let (mut ours_over, mut theirs_over) = (false, false);
    while !(ours_over && theirs_over) {
        let before = (sent, acknowledged, seen, pair.up.passed, pair.down.passed);
        let ours = pair.client().unwrap();
        let theirs = pair.server().unwrap();
        let both_wait = matches!((&ours, &theirs), (Driven::Waits(_), Driven::Waits(_)));
        match ours {
            Driven::Turn(Turn::Event(token)) => match pair.client.event(token).unwrap() {
                (Event::Secured(_), mut out) => out.send(&setup()).unwrap(),
                (Event::Message(ToClient::SubmitSharesSuccess(success)), _) => {
                    assert_eq!(success.last_sequence_number, acknowledged, "in order, none twice, none lost");
                    acknowledged += 1;
                    if acknowledged == shares {
                        pair.client.close();
                    }
                }
                _ => {}
            },
            // A board's owner ends the stream itself.
            Driven::Turn(Turn::Closed) => (ours_over, pair.up.ended) = (true, true),
            Driven::Turn(Turn::Room) | Driven::Waits(_) => {}
        }
        while sent < shares && pair.client.connection().state() == State::Open {
            let Some(mut out) = pair.client.outbound() else { break };
            if out.send(&share(sent)).is_err() {
                pair.client.want_room();
                break;
            }
            sent += 1;
        }
        match theirs {
            Driven::Turn(Turn::Event(token)) => {
                if let Some(number) = acknowledge(&mut pair.server, token) {
                    assert_eq!(number, seen);
                    seen += 1;
                }
            }
            Driven::Turn(Turn::Closed) => (theirs_over, pair.down.ended) = (true, true),
            Driven::Turn(Turn::Room) | Driven::Waits(_) => {}
        }
        let after = (sent, acknowledged, seen, pair.up.passed, pair.down.passed);
        assert!(!both_wait || before != after, "both wait for each other: {after:?}");
    }
    assert_eq!((acknowledged, seen, pair.server.connection().ending()), (shares, shares, Some(Ending::Peer)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the stream does to the bytes, and however small the buffers are: all arrives, in order, and both ends are in order.
    #[test]
    fn every_chunking_gives_the_same_conversation(
        capacity in 1_usize..5_000, piece in 1_usize..300, input in 1_usize..2_000, output in 320_usize..2_000, sealed: bool
    ) {
        let stream = (capacity, piece);
        let board = (Limits::DEFAULT, DEVICE_INPUT);
        let pool = (Lender::new(input, output), 131_072);
        converse(Pair::new(board, pool.clone(), !sealed, stream), 60);
        converse(Pair::new(pool.clone(), pool, !sealed, stream), 60);
        converse(Pair::new(board, board, !sealed, stream), 60);
    }
}

#[test]
fn a_burst_is_answered_with_one_write_and_all_buffers_go_back() {
    let mut pair = plain();
    pair.shares(0..100);
    assert_eq!(pair.serve().unwrap(), (100, None));
    assert_eq!((pair.down.writes, pair.down.bytes.len()), (1, 100 * SUCCESS));
    assert_eq!(pair.server.held(), (0, 0), "at rest there is no buffer");
    assert!(pair.server.terms().leases.get() > 0);
}

/// An owner who always wants room hears the peer all the same, and one whose peer never stops gets room all the same.
#[test]
fn neither_reading_nor_room_starves_the_other() {
    let mut pair = plain();
    for n in 0..200 {
        pair.server.want_room();
        pair.shares(n..n + 1);
        let Driven::Turn(Turn::Event(token)) = pair.server().unwrap() else { panic!("no event") };
        acknowledge(&mut pair.server, token);
        pair.shares(1000..1001);
        assert_eq!(pair.server().unwrap(), Driven::Turn(Turn::Room));
        let Driven::Turn(Turn::Event(_)) = pair.server().unwrap() else { panic!("no event") };
    }
}

#[test]
fn room_is_told_when_all_has_left_and_not_before() {
    let mut pair = plain();
    pair.down.capacity = SUCCESS - 1;
    pair.shares(0..1);
    let Driven::Turn(Turn::Event(token)) = pair.server().unwrap() else { panic!("no event") };
    acknowledge(&mut pair.server, token);
    pair.server.want_room();
    assert_eq!(pair.server().unwrap(), Driven::Waits(Some(pair.now.saturating_add(HALF_A_MINUTE))));
    pair.down.capacity = SUCCESS;
    assert_eq!(pair.server().unwrap(), Driven::Turn(Turn::Room));
    assert_eq!(pair.server().unwrap(), Driven::Waits(None), "told once");
}

/// Unasked messages use the room of one buffer only, the second is for answers; when that is full too, reading stops.
#[test]
fn a_peer_that_does_not_read_costs_two_buffers_and_is_given_up() {
    let mut pair = with(Lender::new(4096, 512));
    pair.down.capacity = 0;
    let mut out = pair.server.outbound().unwrap();
    while out.send(&SetTarget { channel_id: 1, maximum_target: U256::MAX }).is_ok() {}
    pair.shares(0..1_000);
    let (seen, wake) = pair.serve().unwrap();
    assert_eq!(wake, Some(pair.now.saturating_add(HALF_A_MINUTE)));
    assert_eq!(pair.server.held().1, 2 * 512);
    assert!(seen > 0 && seen < 20, "{seen}");
    assert!(pair.server.outbound().is_none(), "no unasked message may take that room");
    pair.pass(29);
    assert_eq!(pair.serve().unwrap().0, 0);
    pair.pass(1);
    assert_eq!(pair.serve(), Err(LinkCause::Stalled(Stall::Reading)));
}

/// A stream that takes a byte now and then is slow, not stalled.
#[test]
fn every_byte_that_leaves_starts_the_time_anew() {
    let mut pair = plain();
    pair.down.capacity = 1;
    pair.shares(0..1);
    assert_eq!(pair.serve().unwrap().0, 1);
    for taken in 1..SUCCESS {
        pair.pass(20);
        assert_eq!(pair.server().unwrap(), Driven::Waits(Some(pair.now.saturating_add(Duration::from_secs(10)))));
        pair.down.bytes.clear();
        assert!(matches!(pair.server(), Ok(Driven::Waits(_))), "{taken}");
    }
    pair.down.bytes.clear();
    assert_eq!(pair.server().unwrap(), Driven::Waits(None));
}

/// With buffers that do not grow, unasked messages leave the room for an answer alone.
#[test]
fn a_board_keeps_room_for_answers() {
    let board = (Limits::DEFAULT, DEVICE_INPUT);
    let mut pair = Pair::new(board, board, true, (1 << 20, usize::MAX)).opened();
    pair.up.capacity = 0;
    let mut sent = 0;
    while let Some(mut out) = pair.client.outbound() {
        out.send(&share(sent)).unwrap();
        sent += 1;
    }
    let waits = pair.client.output().len();
    assert_eq!(waits, sent as usize * SHARE);
    assert!(DEVICE_OUTPUT - waits >= ANSWER_ROOM, "{waits}");
    pair.up.capacity = waits;
    assert_eq!(pair.client().unwrap(), Driven::Turn(Turn::Room));
    assert!(pair.client.outbound().is_some());
}

/// On a board the end of the stream is the owner's: what waits leaves, and that is all.
#[test]
fn a_board_leaves_the_streams_end_to_its_owner() {
    let board = (Limits::DEFAULT, DEVICE_INPUT);
    let mut pair = Pair::new(board, board, true, (10, 10)).opened();
    pair.client.outbound().unwrap().send(&share(0)).unwrap();
    pair.client.close();
    for _ in 1..SHARE / 10 {
        assert!(matches!(pair.client().unwrap(), Driven::Waits(Some(_))));
        pair.up.bytes.clear();
    }
    assert_eq!(pair.client().unwrap(), Driven::Turn(Turn::Closed));
    assert_eq!(pair.client().unwrap(), Driven::Turn(Turn::Closed), "and stays so");
    assert!(!pair.up.ended);
}

#[test]
fn a_frame_that_is_begun_must_go_on() {
    let mut pair = plain();
    // A frame of 9,000 bytes that nobody knows.
    pair.up.bytes.extend([0x01, 0x40, 0x01, 0x28, 0x23, 0x00]);
    assert_eq!(pair.serve().unwrap(), (0, Some(pair.now.saturating_add(HALF_A_MINUTE))));
    for _ in 0..2 {
        // 4,096 bytes are progress, however slowly they come.
        for part in [1, 4_000, 95] {
            pair.pass(9);
            pair.up.bytes.extend(vec![0; part]);
            assert_eq!(pair.serve().unwrap().0, 0, "{part}");
        }
        assert_eq!(pair.serve().unwrap().1, Some(pair.now.saturating_add(HALF_A_MINUTE)));
    }
    // A byte is none.
    pair.pass(29);
    pair.up.bytes.push_back(0);
    assert_eq!(pair.serve().unwrap().0, 0);
    pair.pass(1);
    assert_eq!(pair.serve(), Err(LinkCause::Stalled(Stall::Writing)));
}

/// Frames above the rate stay in the stream; nobody is blamed for the half one in the buffer.
#[test]
fn frames_above_the_rate_wait_and_are_not_lost() {
    let rate = Rate { per_second: 1, burst: 5 };
    let mut pair = with(Lender { frames: Some(rate), ..Lender::new(4096, 4096) });
    pair.shares(0..45);
    pair.up.bytes.truncate(45 * SHARE - 1);
    assert_eq!(pair.serve().unwrap(), (5, Some(pair.now.saturating_add(Duration::from_secs(1)))));
    for _ in 0..39 {
        pair.pass(1);
        assert_eq!(pair.serve().unwrap().0, 1);
    }
    pair.up.bytes.push_back(0);
    pair.pass(1);
    assert_eq!(pair.serve().unwrap().0, 1);
}

/// A shutdown: shares that wait are not taken, answers that wait leave, and nobody is blamed.
#[test]
fn a_link_that_stopped_listening_only_delivers() {
    let mut pair = plain();
    pair.shares(0..2);
    let Driven::Turn(Turn::Event(token)) = pair.server().unwrap() else { panic!("no event") };
    acknowledge(&mut pair.server, token);
    pair.server.stop_listening();
    pair.server.want_room();
    assert_eq!(pair.server().unwrap(), Driven::Turn(Turn::Room));
    assert_eq!((pair.down.bytes.len(), pair.server().unwrap()), (SUCCESS, Driven::Waits(None)));
    pair.server.close();
    assert!(matches!(pair.server().unwrap(), Driven::Waits(Some(_))), "lingers");
    assert!(pair.down.ended);
}
