//! One side alone on a plain link, fed frame by frame: for peers that no honest implementation is.

use adit::buffer::{Input, Output};
use adit::config::Limits;
use adit::connection::{Connection, Endpoint, InitiatorConfig, Progress, ResponderConfig, Security, SetupPolicy};
use adit::error::Error;
use adit::frame::Header;
use adit::message::Message;
use adit::message::common::SetupConnectionSuccess;
use adit::protocol::{Initiator, Mining, Responder};
use adit::session::Session;
use adit::time::Instant;
use adit::wire::Revision;
use adit_conformance::pair::WALL;

use crate::talk::setup;

/// A session of one side, and the clock that it is told.
pub(crate) struct Solo<S: Endpoint> {
    pub(crate) session: Session<S, Mining, Vec<u8>>,
    pub(crate) now: Instant,
}

/// A frame of a message.
pub(crate) fn frame<M: Message>(message: &M, revision: Revision) -> Vec<u8> {
    let mut bytes = vec![0; 2048];
    let n = message.encode_frame(&mut bytes, revision).unwrap();
    bytes.truncate(n);
    bytes
}

/// A frame of anything.
pub(crate) fn raw(extension: u16, channel_msg: bool, msg_type: u8, payload: &[u8]) -> Vec<u8> {
    let header = Header::new(extension, channel_msg, msg_type, payload.len()).unwrap();
    [&header.encode(), payload].concat()
}

/// What became of the bytes that were fed: events as text, then how `advance` ended.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<String>,
    pub(crate) end: Result<Progress, Error>,
}

impl Outcome {
    pub(crate) fn error(&self) -> Error {
        self.end.as_ref().err().copied().unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

impl<S: Endpoint> Solo<S> {
    pub(crate) fn new(connection: Connection<S, Mining>) -> Self {
        let session = Session::new(connection, Input::new(vec![0; 4096]), Output::new(vec![0; 4096]));
        Self { session, now: Instant::ORIGIN }
    }

    /// Advances as far as possible.
    pub(crate) fn advance(&mut self) -> Outcome {
        let mut events = vec![];
        loop {
            let end = self.session.advance(self.now, WALL);
            let Ok(Progress::Event(token)) = end else { return Outcome { events, end } };
            match self.session.take_event(token) {
                Ok((event, _)) => events.push(format!("{event:?}")),
                Err(error) => return Outcome { events, end: Err(error) },
            }
        }
    }

    /// Feeds bytes that fit, and advances.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Outcome {
        self.session.input_space()[..bytes.len()].copy_from_slice(bytes);
        self.session.commit_input(bytes.len()).unwrap();
        self.advance()
    }

    /// What was sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        let bytes = self.session.output().to_vec();
        self.session.consume_output(bytes.len()).unwrap();
        bytes
    }
}

/// A server in the state in which `SetupConnection` is due.
pub(crate) fn server_before_setup(policy: SetupPolicy, limits: Limits, revision: Revision) -> Solo<Responder> {
    let config = ResponderConfig { revision, limits, ..ResponderConfig::new(Security::Plain, policy) };
    let mut server = Solo::new(Connection::responder(&config, [0; 32], Instant::ORIGIN));
    assert_eq!(server.advance().events, ["Secured(None)"]);
    server
}

/// A server after setup.
pub(crate) fn server(limits: Limits, revision: Revision) -> Solo<Responder> {
    let mut server = server_before_setup(SetupPolicy::new(u32::MAX), limits, revision);
    assert_eq!(server.feed(&frame(&setup(), revision)).events.len(), 1);
    server.sent();
    server
}

/// A client that has yet to send `SetupConnection`.
pub(crate) fn client_before_setup(limits: Limits, revision: Revision) -> Solo<Initiator> {
    let config = InitiatorConfig { revision, limits, ..InitiatorConfig::new(Security::Plain) };
    let mut client = Solo::new(Connection::initiator(&config, [0; 32], Instant::ORIGIN));
    assert_eq!(client.advance().events, ["Secured(None)"]);
    client
}

/// A client that waits for the answer to its `SetupConnection`.
pub(crate) fn client_asking(limits: Limits, revision: Revision) -> Solo<Initiator> {
    let mut client = client_before_setup(limits, revision);
    client.session.outbound().send(&setup()).unwrap();
    client.sent();
    client
}

/// A client after setup.
pub(crate) fn client(limits: Limits, revision: Revision) -> Solo<Initiator> {
    let mut client = client_asking(limits, revision);
    let outcome = client.feed(&frame(&SetupConnectionSuccess { used_version: 2, flags: 0 }, revision));
    assert_eq!(outcome.events.len(), 1);
    client
}
