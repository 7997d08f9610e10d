//! One end of a line: a session, what has arrived for it, and its part in the network.

use std::collections::VecDeque;

use adit::buffer::{Input, Output};
use adit::connection::{Connection, Endpoint, Event, Outbound, Progress, State};
use adit::error::Error;
use adit::protocol::Protocol;
use adit::session::Session;
use adit::time::Instant;

use super::net::{Arrival, Direction, LineId, Net, Node, Task};

/// Bytes of each buffer at the start, and what it may grow to.
const BUFFER: (usize, usize) = (2_048, 1 << 20);

pub(super) struct End<S: Endpoint, Pr: Protocol> {
    session: Session<S, Pr, Vec<u8>>,
    node: Node,
    line: LineId,
    /// Of what this end sends.
    direction: Direction,
    arrived: VecDeque<u8>,
    ended: bool,
    /// It is over, in order or with this fault.
    over: Option<Result<(), Error>>,
    armed: Option<Instant>,
}

impl<S: Endpoint, Pr: Protocol> End<S, Pr> {
    pub(super) fn new(connection: Connection<S, Pr>, node: Node, line: LineId, direction: Direction) -> Self {
        let session = Session::new(
            connection,
            Input::growable(vec![0; BUFFER.0], BUFFER.1),
            Output::growable(vec![0; BUFFER.0], BUFFER.1),
        );
        Self { session, node, line, direction, arrived: VecDeque::new(), ended: false, over: None, armed: None }
    }

    pub(super) const fn line(&self) -> LineId {
        self.line
    }

    pub(super) const fn state(&self) -> State {
        self.session.connection().state()
    }

    /// How it ended, once it has.
    pub(super) const fn over(&self) -> Option<Result<(), Error>> {
        self.over
    }

    /// Something arrives.
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Bytes(bytes) => self.arrived.extend(bytes),
            Arrival::End => self.ended = true,
            Arrival::Nothing => {}
        }
    }

    /// Reads, hands every event to `handler`, and sends what comes of it.
    pub(super) fn pump(
        &mut self,
        net: &mut Net,
        mut handler: impl FnMut(Event<'_, S, Pr>, &mut Outbound<'_, S, Pr>) -> Result<(), Error>,
    ) {
        while self.over.is_none() {
            self.read();
            match self.session.advance(net.time(self.node), net.wall(self.node)) {
                Ok(Progress::Event(token)) => {
                    let handled = match self.session.take_event(token) {
                        Ok((event, mut outbound)) => handler(event, &mut outbound),
                        Err(error) => Err(error),
                    };
                    if let Err(error) = handled {
                        self.over = Some(Err(error));
                    }
                }
                Ok(Progress::NeedSpace(bytes)) => {
                    self.session.buffers().0.replace(vec![0; bytes]).expect("larger than before");
                }
                Ok(Progress::NeedInput) if self.arrived.is_empty() => break,
                Ok(Progress::NeedInput) => {}
                Ok(Progress::NeedOutput) => {
                    if !self.make_room(net) {
                        break;
                    }
                }
                Ok(Progress::Closed) => self.over = Some(Ok(())),
                Err(error) => self.over = Some(Err(error)),
            }
        }
        self.flush(net);
    }

    fn read(&mut self) {
        let space = self.session.input_space();
        let n = self.arrived.len().min(space.len());
        for (to, byte) in space.iter_mut().zip(self.arrived.drain(..n)) {
            *to = byte;
        }
        self.session.commit_input(n).expect("no more than there was space for");
        if self.ended && self.arrived.is_empty() {
            self.session.handle_eof();
        }
    }

    /// Sends on behalf of a role, until it has nothing more. False when the link takes no more: try again when something has left.
    pub(super) fn offer(
        &mut self,
        net: &mut Net,
        mut send: impl FnMut(&mut Outbound<'_, S, Pr>) -> Result<(), Error>,
    ) -> bool {
        while self.over.is_none() {
            match send(&mut self.session.outbound()) {
                Ok(()) => break,
                Err(Error::Full) => {
                    if !self.make_room(net) {
                        return false;
                    }
                }
                Err(error) => self.over = Some(Err(error)),
            }
        }
        self.flush(net);
        true
    }

    /// The way to send, for what is not repeated. [`Self::flush`] follows.
    pub(super) fn outbound(&mut self) -> Outbound<'_, S, Pr> {
        self.session.outbound()
    }

    fn make_room(&mut self, net: &mut Net) -> bool {
        let output = self.session.buffers().1;
        let (wanted, capacity) = (output.wanted(), output.capacity());
        if wanted > capacity {
            output.replace(vec![0; wanted]).expect("larger than before");
            return true;
        }
        let before = self.session.output().len();
        self.flush(net);
        self.session.output().len() < before
    }

    /// Gives the link what it takes; closes this direction when the end is over. Sees to time limits.
    pub(super) fn flush(&mut self, net: &mut Net) {
        let taken = net.send(self.line, self.direction, self.session.output());
        self.session.consume_output(taken).expect("no more than was filled");
        if self.over.is_some() && self.session.output().is_empty() {
            net.close(self.line, self.direction);
        }
        let limit = self.session.poll_timeout().map(|deadline| deadline.at);
        net.arm(self.node, &mut self.armed, limit, Task::Limit(self.line, self.direction));
    }

    /// The owner closes in order.
    pub(super) fn close(&mut self, net: &mut Net) {
        self.session.close();
        self.over.get_or_insert(Ok(()));
        self.flush(net);
    }

    pub(super) fn handle_limit(&mut self, net: &mut Net) {
        self.armed = None;
        if let Err(error) = self.session.handle_timeout(net.time(self.node)) {
            self.over.get_or_insert(Err(error));
        }
        self.flush(net);
    }
}
