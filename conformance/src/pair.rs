//! Two real sessions joined by a link that a test controls: how it cuts the stream into pieces, where it ends it, which bit
//! it flips. Time is virtual, entropy comes from a seed.

use std::collections::VecDeque;

use adit::buffer::{Input, Output};
use adit::config::Limits;
use adit::connection::{
    Connection, Endpoint, Event, InitiatorConfig, NoiseServer, Outbound, Progress, ResponderConfig, Security,
    SetupPolicy,
};
use adit::crypto::{RustCrypto, Secret};
use adit::error::Error;
use adit::noise::x25519::{self, Authentication, Authority, CipherList, Identity, Policy, Profile};
use adit::protocol::{Initiator, Protocol, Responder};
use adit::session::Session;
use adit::time::{Instant, UnixTime};
use adit::wire::Revision;

use crate::entropy::Entropy;

/// The client's side of a pair.
pub type Client<Pr> = Session<Initiator, Pr, Vec<u8>>;
/// The server's side of a pair.
pub type Server<Pr> = Session<Responder, Pr, Vec<u8>>;

/// How a pair is made.
#[derive(Clone, Debug)]
pub struct PairConfig {
    /// What all keys and ephemeral secrets come from.
    pub seed: u64,
    /// The Noise profile and ciphers that the client offers; `None` for a plain link.
    pub noise: Option<(Profile, CipherList)>,
    /// What the server serves.
    pub policy: Policy,
    /// The revision that both speak.
    pub revision: Revision,
    /// The server's answer to `SetupConnection`.
    pub setup: SetupPolicy,
    /// Limits of the client and of the server.
    pub limits: (Limits, Limits),
    /// Bytes of each input buffer, and what it may grow to.
    pub input: (usize, usize),
    /// Bytes of each output buffer, and what it may grow to.
    pub output: (usize, usize),
    /// Bytes that the link delivers at a time, and that it takes at a time.
    pub chunk: usize,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            noise: Some((Profile::Str3, CipherList::CHACHAPOLY_FIRST)),
            policy: Policy { serve_str2: true, serve_legacy: true, ..Policy::default() },
            revision: Revision::Draft,
            setup: SetupPolicy::new(u32::MAX),
            limits: (Limits::DEFAULT, Limits::DEFAULT),
            input: (4096, 4096),
            output: (4096, 4096),
            chunk: usize::MAX,
        }
    }
}

impl PairConfig {
    /// The default over a plain link.
    #[must_use]
    pub fn plain() -> Self {
        Self { noise: None, ..Self::default() }
    }
}

/// One direction of the link.
#[derive(Clone, Debug, Default)]
pub struct Link {
    in_flight: VecDeque<u8>,
    /// Everything that was put in, before alterations.
    pub sent: Vec<u8>,
    /// The bit of the stream, counted from its start, that arrives flipped.
    pub flip: Option<usize>,
    /// Bytes after which the stream ends; what comes later is lost.
    pub cut: Option<usize>,
    closed: bool,
    end_told: bool,
}

impl Link {
    /// Puts bytes in, as the sender would.
    pub fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let position = self.sent.len();
            self.sent.push(*byte);
            if self.cut.is_some_and(|cut| position >= cut) {
                self.closed = true;
                continue;
            }
            let mask = self.flip.filter(|bit| bit / 8 == position).map_or(0, |bit| 1 << (bit % 8));
            self.in_flight.push_back(byte ^ mask);
        }
    }

    /// Ends the stream after what is in flight.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Bytes in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

/// What a handler of events is given: the event and the way to answer it.
pub type Handler<'h, S, Pr> = dyn FnMut(Event<'_, S, Pr>, &mut Outbound<'_, S, Pr>) + 'h;

/// One end: its session and how it fared.
#[derive(Debug)]
pub struct End<S: Endpoint, Pr: Protocol> {
    /// The session.
    pub session: Session<S, Pr, Vec<u8>>,
    /// The fault that it reported.
    pub error: Option<Error>,
    /// It said that it is over.
    pub closed: bool,
    /// How often it said that it needs room in its output buffer.
    pub stalls: usize,
}

impl<S: Endpoint, Pr: Protocol> End<S, Pr> {
    fn new(connection: Connection<S, Pr>, config: &PairConfig) -> Self {
        let input = Input::growable(vec![0; config.input.0], config.input.1);
        let output = Output::growable(vec![0; config.output.0], config.output.1);
        Self { session: Session::new(connection, input, output), error: None, closed: false, stalls: 0 }
    }

    /// Whether it is over, one way or the other.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.closed || self.error.is_some()
    }

    /// Reads at most `chunk` bytes, advances as far as possible, writes at most `chunk` bytes. Says whether anything happened.
    fn turn(
        &mut self,
        (now, wall): (Instant, UnixTime),
        (from, to): (&mut Link, &mut Link),
        chunk: usize,
        handler: &mut Handler<'_, S, Pr>,
    ) -> bool {
        let mut moved = self.read(from, chunk);
        if !self.is_over() {
            moved |= self.advance(now, wall, handler);
        }
        let n = self.session.output().len().min(chunk);
        to.put(&self.session.output()[..n]);
        self.session.consume_output(n).expect("no more than was filled");
        if self.is_over() && self.session.output().is_empty() {
            to.close();
        }
        moved || n > 0
    }

    fn read(&mut self, from: &mut Link, chunk: usize) -> bool {
        if self.is_over() {
            let lost = !from.in_flight.is_empty();
            from.in_flight.clear();
            return lost;
        }
        let space = self.session.input_space();
        let n = from.in_flight.len().min(chunk).min(space.len());
        for (to, byte) in space.iter_mut().zip(from.in_flight.drain(..n)) {
            *to = byte;
        }
        self.session.commit_input(n).expect("no more than there was space for");
        let ended = from.closed && from.in_flight.is_empty() && !from.end_told;
        if ended {
            from.end_told = true;
            self.session.handle_eof();
        }
        n > 0 || ended
    }

    fn advance(&mut self, now: Instant, wall: UnixTime, handler: &mut Handler<'_, S, Pr>) -> bool {
        let mut events = false;
        loop {
            match self.session.advance(now, wall) {
                Ok(Progress::Event(token)) => match self.session.take_event(token) {
                    Ok((event, mut outbound)) => {
                        handler(event, &mut outbound);
                        events = true;
                    }
                    Err(error) => self.error = Some(error),
                },
                Ok(Progress::NeedSpace(bytes)) => {
                    self.session.buffers().0.replace(vec![0; bytes]).expect("larger than before");
                    events = true;
                }
                Ok(Progress::NeedOutput) => {
                    self.stalls += 1;
                    return events;
                }
                Ok(Progress::NeedInput) => return events,
                Ok(Progress::Closed) => {
                    self.closed = true;
                    return true;
                }
                Err(error) => self.error = Some(error),
            }
            if self.error.is_some() {
                return true;
            }
        }
    }
}

/// A client and a server of protocol `Pr`, and the link between them.
#[derive(Debug)]
pub struct Pair<Pr: Protocol> {
    /// The side that connects.
    pub client: End<Initiator, Pr>,
    /// The side that is connected to.
    pub server: End<Responder, Pr>,
    /// Bytes from client to server.
    pub to_server: Link,
    /// Bytes from server to client.
    pub to_client: Link,
    /// The monotonic clock.
    pub now: Instant,
    /// The wall-clock.
    pub wall: UnixTime,
    chunk: usize,
}

/// The wall-clock at a pair's start; certificates are good for a day around it.
pub const WALL: UnixTime = UnixTime::from_secs(1_790_000_000);

/// The configurations of both sides: keys from the seed, one authority.
#[must_use]
#[allow(clippy::missing_panics_doc, reason = "the certificate's period is a constant that is not empty")]
pub fn configs(config: &PairConfig) -> (InitiatorConfig, ResponderConfig) {
    let mut entropy = Entropy::seeded(config.seed);
    let authority = Authority::<RustCrypto>::from_seed(Secret::from_bytes(entropy.bytes32()));
    let key = Secret::from_bytes(entropy.bytes32());
    let (from, to) = (UnixTime::from_secs(WALL.as_secs() - 43_200), UnixTime::from_secs(WALL.as_secs() + 43_200));
    let (client, server) = match config.noise {
        None => (Security::Plain, Security::Plain),
        Some((profile, ciphers)) => {
            let authentication = Authentication::Authority(*authority.public_key());
            let identity = Identity::issue(key, &authority, from, to).expect("a period that is not empty");
            (
                Security::Noise(x25519::InitiatorConfig {
                    profile,
                    ciphers,
                    ..x25519::InitiatorConfig::new(authentication)
                }),
                Security::Noise(NoiseServer { identity, policy: config.policy }),
            )
        }
    };
    let (revision, setup) = (config.revision, config.setup);
    (
        InitiatorConfig { security: client, revision, limits: config.limits.0 },
        ResponderConfig { security: server, setup, revision, limits: config.limits.1 },
    )
}

impl<Pr: Protocol> Pair<Pr> {
    /// A pair at the origin of its clock, with nothing sent yet.
    #[must_use]
    pub fn new(config: &PairConfig) -> Self {
        let (client, server) = configs(config);
        let mut entropy = Entropy::seeded(!config.seed);
        let now = Instant::ORIGIN;
        Self {
            client: End::new(Connection::initiator(&client, entropy.bytes32(), now), config),
            server: End::new(Connection::responder(&server, entropy.bytes32(), now), config),
            to_server: Link::default(),
            to_client: Link::default(),
            now,
            wall: WALL,
            chunk: config.chunk,
        }
    }

    /// Lets both sides take turns until neither has anything to do.
    pub fn run(&mut self, client: &mut Handler<'_, Initiator, Pr>, server: &mut Handler<'_, Responder, Pr>) {
        let clocks = (self.now, self.wall);
        loop {
            let mut moved = self.client.turn(clocks, (&mut self.to_client, &mut self.to_server), self.chunk, client);
            moved |= self.server.turn(clocks, (&mut self.to_server, &mut self.to_client), self.chunk, server);
            if !moved {
                return;
            }
        }
    }

    /// Ends both streams after what is in flight, and lets both sides see it.
    pub fn hang_up(&mut self, client: &mut Handler<'_, Initiator, Pr>, server: &mut Handler<'_, Responder, Pr>) {
        self.to_server.close();
        self.to_client.close();
        self.run(client, server);
    }
}
