//! A connection with its two buffers: what a runtime drives.
//!
//! A shell. Every call goes to [`Connection`] or to a buffer; there is no second logic, and whoever wants buffers only while
//! bytes are in flight exchanges their storage through [`Session::buffers`], or holds the parts apart.

use crate::buffer::{Input, Output};
use crate::connection::{Answerable, Connection, Deadline, Endpoint, Outbound, Progress, Token};
use crate::crypto::{Provider, RustCrypto};
use crate::error::{Error, Misuse};
use crate::protocol::Protocol;
use crate::time::{Instant, UnixTime};

/// [`Connection`] over input storage `I` and output storage `O`. The order of calls is that of [`connection`](crate::connection).
pub struct Session<S: Endpoint, Pr: Protocol, I, O = I, P: Provider = RustCrypto> {
    connection: Connection<S, Pr, P>,
    input: Input<I>,
    output: Output<O>,
}

impl<S, Pr, I, O, P> Session<S, Pr, I, O, P>
where
    S: Endpoint,
    Pr: Protocol,
    P: Provider,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    /// A connection with its buffers.
    pub const fn new(connection: Connection<S, Pr, P>, input: Input<I>, output: Output<O>) -> Self {
        Self { connection, input, output }
    }

    /// Where to read from the link to; see [`Input::space`].
    pub fn input_space(&mut self) -> &mut [u8] {
        self.input.space()
    }

    /// Announces `n` bytes read; see [`Input::commit`].
    pub fn commit_input(&mut self, n: usize) -> Result<(), Misuse> {
        self.input.commit(n)
    }

    /// What to write to the link; see [`Output::filled`].
    pub fn output(&self) -> &[u8] {
        self.output.filled()
    }

    /// Announces `n` bytes written; see [`Output::consume`].
    pub fn consume_output(&mut self, n: usize) -> Result<(), Misuse> {
        self.output.consume(n)
    }

    /// See [`Connection::advance`].
    pub fn advance(&mut self, now: Instant, wall: UnixTime) -> Result<Progress, Error> {
        self.connection.advance(now, wall, &mut self.input, &mut self.output)
    }

    /// The event of a token, and the way to answer while its message still points into the buffer.
    #[inline]
    pub fn take_event(&mut self, token: Token) -> Result<Answerable<'_, S, Pr>, Error> {
        let event = self.connection.event(token, &self.input)?;
        Ok((event, self.connection.outbound(&mut self.output)))
    }

    /// The way to send; see [`Connection::outbound`].
    pub fn outbound(&mut self) -> Outbound<'_, S, Pr> {
        self.connection.outbound(&mut self.output)
    }

    /// See [`Connection::poll_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.connection.poll_timeout()
    }

    /// See [`Connection::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.connection.handle_timeout(now)
    }

    /// See [`Connection::handle_eof`].
    pub fn handle_eof(&mut self) {
        self.connection.handle_eof();
    }

    /// See [`Connection::close`].
    pub fn close(&mut self) {
        self.connection.close();
    }

    /// The connection, to ask it how it is.
    #[must_use]
    pub const fn connection(&self) -> &Connection<S, Pr, P> {
        &self.connection
    }

    /// Both buffers, to exchange their storage.
    pub const fn buffers(&mut self) -> (&mut Input<I>, &mut Output<O>) {
        (&mut self.input, &mut self.output)
    }
}
