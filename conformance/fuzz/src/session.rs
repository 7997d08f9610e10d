//! The session of both sides, plain or sealed, before and after the setup: records and frames of any kind, in any pieces.

use adit::buffer::{Input, Output};
use adit::config::Limits;
use adit::connection::{
    Connection, Endpoint, Event, InitiatorConfig, NoiseServer, Progress, ResponderConfig, Security, SetupPolicy,
};
use adit::crypto::{Aead, Provider, RustCrypto, TAG_LEN};
use adit::error::Error;
use adit::message::common::SetupConnection;
use adit::noise::x25519::{self, Authentication, Policy};
use adit::noise::{CipherState, Established, Step};
use adit::protocol::{Initiator, Mining, Responder};
use adit::session::Session;
use adit::time::Instant;
use adit::wire::Revision;
use std::time::Duration;

use super::handshake::{WALL, identity};
use super::script::Script;

type Bytes = Vec<u8>;

/// What the session's peer writes with.
enum Peer {
    Plain,
    Sealed(CipherState<<RustCrypto as Provider>::Aead>),
}

impl Peer {
    fn seal(&mut self, text: &[u8]) -> Bytes {
        match self {
            Self::Plain => text.to_vec(),
            Self::Sealed(cipher) => {
                let (mut body, mut tag) = (text.to_vec(), [0; TAG_LEN]);
                cipher.encrypt(&[], &mut body, &mut tag).expect("few records");
                let length = u16::try_from(body.len() + TAG_LEN).expect("short records");
                [&length.to_le_bytes(), &body[..], &tag].concat()
            }
        }
    }
}

/// A session under test. What it must keep at every step is checked in [`Bench::advance`].
struct Bench<S: Endpoint> {
    session: Session<S, Mining, Bytes>,
    now: Instant,
    end: Option<Result<Progress, Error>>,
    room: usize,
}

impl<S: Endpoint> Bench<S> {
    fn new(connection: Connection<S, Mining>, room: usize) -> Self {
        let session = Session::new(connection, Input::new(vec![0; room]), Output::new(vec![0; 2_048]));
        Self { session, now: Instant::ORIGIN, end: None, room }
    }

    fn is_over(&self) -> bool {
        self.end.is_some()
    }

    fn advance(&mut self, mut each: impl FnMut(&Event<'_, S, Mining>, &mut adit::connection::Outbound<'_, S, Mining>)) {
        while self.end.is_none() {
            match self.session.advance(self.now, WALL) {
                Ok(Progress::Event(token)) => match self.session.take_event(token) {
                    Ok((event, mut out)) => {
                        let _ = format!("{event:?}");
                        each(&event, &mut out);
                    }
                    Err(error) => self.end = Some(Err(error)),
                },
                Ok(Progress::NeedInput) => {
                    assert!(self.session.input_space().len() <= self.room);
                    assert!(!self.session.input_space().is_empty(), "it waits for bytes that have no place");
                    return;
                }
                Ok(Progress::NeedOutput) => return,
                Ok(Progress::NeedSpace(bytes)) => panic!("{bytes} bytes for a buffer that can't grow"),
                end => self.end = Some(end),
            }
        }
        let connection = self.session.connection();
        assert!(connection.state().is_over() && self.session.poll_timeout().is_none());
        match self.end {
            Some(Err(error)) => {
                assert!(matches!(error, Error::Peer(_)), "{error:?}: the peer's fault and nobody else's");
                assert_eq!(connection.fault(), Some(error), "a fault sticks");
                assert_eq!(self.session.advance(self.now, WALL), Err(error));
            }
            _ => assert_eq!(self.session.advance(self.now, WALL), Ok(Progress::Closed)),
        }
    }

    fn feed(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&Event<'_, S, Mining>, &mut adit::connection::Outbound<'_, S, Mining>),
    ) {
        while !bytes.is_empty() && !self.is_over() {
            let space = self.session.input_space();
            let n = bytes.len().min(space.len());
            space[..n].copy_from_slice(&bytes[..n]);
            self.session.commit_input(n).expect("there was space");
            bytes = &bytes[n..];
            self.advance(&mut each);
            let written = self.session.output().len();
            if n == 0 && written == 0 {
                return;
            }
            self.session.consume_output(written).expect("what is filled");
        }
    }
}

fn configs(selector: u8) -> (InitiatorConfig, ResponderConfig) {
    let revision = if selector & 2 == 0 { Revision::Draft } else { Revision::Current };
    let limits =
        Limits { dropped: 5, idle: Some(Duration::from_secs(60)), strict: selector & 16 != 0, ..Limits::DEFAULT };
    let (client, server) = if selector & 4 == 0 {
        (Security::Plain, Security::Plain)
    } else {
        let (authority, identity) = identity();
        let authentication = Authentication::Authority(*authority.public_key());
        (
            Security::Noise(x25519::InitiatorConfig::new(authentication)),
            Security::Noise(NoiseServer { identity, policy: Policy::default() }),
        )
    };
    (
        InitiatorConfig { security: client, revision, limits },
        ResponderConfig { security: server, setup: SetupPolicy::new(7), revision, limits },
    )
}

/// A byte for the side and the link, then operations.
pub fn session(data: &[u8]) {
    let mut script = Script::new(data);
    let selector = script.byte();
    let (client, server) = configs(selector);
    let room = if selector & 8 == 0 { 2_048 } else { 600 };
    if selector & 1 == 0 {
        let mut bench = Bench::new(Connection::<Responder, Mining>::responder(&server, [4; 32], Instant::ORIGIN), room);
        let peer = match &client.security {
            Security::Plain => Peer::Plain,
            Security::Noise(noise) => {
                let mut side = x25519::Initiator::<RustCrypto>::new(noise, [3; 32]);
                shake_hands(&mut bench, |input, out| {
                    let step = side.process(WALL, input, out).expect("genuine");
                    (step, side.established())
                })
            }
        };
        play(bench, peer, script, |_, _| {});
    } else {
        let mut bench = Bench::new(Connection::<Initiator, Mining>::initiator(&client, [4; 32], Instant::ORIGIN), room);
        let peer = match &server.security {
            Security::Plain => Peer::Plain,
            Security::Noise(noise) => {
                let mut side = x25519::Responder::<RustCrypto>::new(&noise.identity, &noise.policy, [3; 32]);
                shake_hands(&mut bench, |input, out| {
                    let step = side.process(input, out).expect("genuine");
                    (step, side.established())
                })
            }
        };
        play(bench, peer, script, |event, out| {
            if matches!(event, Event::Secured(_)) {
                out.send(&SetupConnection { flags: 1, ..SETUP }).expect("room for the setup");
            }
        });
    }
}

pub(crate) const SETUP: SetupConnection<'static> = SetupConnection {
    protocol: 0,
    min_version: 2,
    max_version: 2,
    flags: 0,
    endpoint_host: adit::wire::Str0255::new("pool.example"),
    endpoint_port: 34_254,
    vendor: adit::wire::Str0255::new("adit"),
    hardware_version: adit::wire::Str0255::new("fuzz"),
    firmware: adit::wire::Str0255::new(""),
    device_id: adit::wire::Str0255::new(""),
};

/// A genuine handshake up to the point where the session has its keys. Its own part of it comes with the first operation.
fn shake_hands<S: Endpoint>(
    bench: &mut Bench<S>,
    mut process: impl FnMut(&[u8], &mut [u8]) -> (Step, Option<Established<RustCrypto>>),
) -> Peer {
    let (mut to_peer, mut out) = (vec![], [0; 512]);
    loop {
        // An initiator speaks first; the setup that it owes is sent later, at the event.
        if bench.session.connection().state() == adit::connection::State::Handshake {
            assert!(matches!(bench.session.advance(bench.now, WALL), Ok(Progress::NeedInput | Progress::Event(_))));
        }
        let n = bench.session.output().len();
        to_peer.extend_from_slice(bench.session.output());
        bench.session.consume_output(n).expect("what is filled");
        let (step, established) = process(&to_peer, &mut out);
        match step {
            Step::Progress { consumed, written } => {
                to_peer.drain(..consumed);
                bench.session.input_space()[..written].copy_from_slice(&out[..written]);
                bench.session.commit_input(written).expect("there is space");
            }
            Step::Complete { consumed, written } => {
                assert_eq!(consumed, to_peer.len());
                bench.session.input_space()[..written].copy_from_slice(&out[..written]);
                bench.session.commit_input(written).expect("there is space");
                return Peer::Sealed(established.expect("complete").send);
            }
            Step::NeedInput | Step::NeedOutput => {}
        }
    }
}

fn play<S: Endpoint>(
    mut bench: Bench<S>,
    mut peer: Peer,
    mut script: Script<'_>,
    mut each: impl FnMut(&Event<'_, S, Mining>, &mut adit::connection::Outbound<'_, S, Mining>),
) {
    bench.advance(&mut each);
    while !script.is_empty() && !bench.is_over() {
        match script.byte() % 8 {
            0 | 1 => {
                let frame = script.frame();
                bench.feed(&peer.seal(&frame), &mut each);
            }
            2 => {
                // A frame in two records, the first of any length.
                let (cut, frame) = (usize::from(script.byte()), script.frame());
                let (head, tail) = frame.split_at(cut.min(frame.len()));
                let bytes = [peer.seal(head), peer.seal(tail)].concat();
                bench.feed(&bytes, &mut each);
            }
            3 => {
                let len = usize::from(script.byte());
                let bytes = script.take(len);
                bench.feed(bytes, &mut each);
            }
            4 => {
                let len = usize::from(script.byte());
                let text = script.take(len);
                bench.feed(&peer.seal(text), &mut each);
            }
            5 => {
                bench.now = bench.now.saturating_add(Duration::from_secs(u64::from(script.byte())));
                if let Err(error) = bench.session.handle_timeout(bench.now) {
                    assert_eq!(bench.session.connection().fault(), Some(error));
                    bench.end = Some(Err(error));
                }
            }
            6 => {
                bench.session.handle_eof();
                bench.advance(&mut each);
            }
            _ => {
                bench.session.close();
                bench.advance(&mut each);
                assert!(bench.is_over());
            }
        }
    }
}

/// Every cipher has this tag.
const _: () = assert!(<<RustCrypto as Provider>::Aead as Aead>::CIPHERS.len() == 2);
