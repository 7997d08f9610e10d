//! A connection with its two buffers: what a runtime drives.
//!
//! A shell. Every call goes to [`Connection`] or to a buffer; there is no second logic, and whoever wants buffers only while
//! bytes are in flight exchanges their storage through [`Session::buffers`], or holds the parts apart.

use core::fmt;

use crate::buffer::{Input, Output};
use crate::connection::{Answerable, Connection, Deadline, Endpoint, Event, Outbound, Progress, Token};
use crate::crypto::{Provider, RustCrypto};
use crate::error::{Error, Misuse};
use crate::protocol::Protocol;
use crate::time::{Instant, UnixTime};

/// What [`Session::until_event`] asks of a link.
#[derive(Debug, PartialEq, Eq)]
pub enum Io<'b> {
    /// Wait for bytes and put them here; say how many. 0 is the end of the link.
    Read(&'b mut [u8]),
    /// Take of these bytes as many as there is room for, at least one; say how many.
    Write(&'b [u8]),
}

/// Why no further event comes from [`Session::until_event`].
#[derive(Debug, PartialEq, Eq)]
pub enum Stopped<E> {
    /// The link failed.
    Link(E),
    /// The connection failed.
    Connection(Error),
    /// It is closed, or wants another buffer, which only owners of growable ones hear.
    At(Progress),
}

impl<E: fmt::Display> fmt::Display for Stopped<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Connection(error) => error.fmt(f),
            Self::At(Progress::Closed) => f.write_str("the connection is closed"),
            Self::At(progress) => write!(f, "the connection stops at {progress:?}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Stopped<E> {}

impl<E> From<Misuse> for Stopped<E> {
    fn from(error: Misuse) -> Self {
        Self::Connection(error.into())
    }
}

/// [`Connection`] over input storage `I` and output storage `O`. The order of calls is that of [`connection`](crate::connection).
pub struct Session<S: Endpoint, Pr: Protocol, I, O = I, P: Provider = RustCrypto> {
    connection: Connection<S, Pr, P>,
    input: Input<I>,
    output: Output<O>,
}

impl<S: Endpoint, Pr: Protocol, I, O, P: Provider> fmt::Debug for Session<S, Pr, I, O, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("connection", &self.connection).finish_non_exhaustive()
    }
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

    /// Reads and writes until something has happened: the loop of a link that blocks. What there is to write goes out before more is read. Nothing
    /// serves time limits meanwhile ([`Self::poll_timeout`]): give the link its own.
    ///
    /// `io` does what it is asked and says how many bytes that were; `clock` says what time it is whenever bytes have moved.
    pub fn until_event<E>(
        &mut self,
        mut clock: impl FnMut() -> (Instant, UnixTime),
        mut io: impl FnMut(Io<'_>) -> Result<usize, E>,
    ) -> Result<Token, Stopped<E>> {
        loop {
            let (now, wall) = clock();
            let progress = self.advance(now, wall).map_err(Stopped::Connection)?;
            if let Progress::Event(token) = progress {
                return Ok(token);
            }
            if !self.output().is_empty() {
                let written = io(Io::Write(self.output())).map_err(Stopped::Link)?;
                self.consume_output(written)?;
            } else if progress == Progress::NeedInput {
                match io(Io::Read(self.input_space())).map_err(Stopped::Link)? {
                    0 => self.handle_eof(),
                    read => self.commit_input(read)?,
                }
            } else {
                return Err(Stopped::At(progress));
            }
        }
    }

    /// The event of a token, and the way to answer while its message still points into the buffer.
    #[inline]
    pub fn take_event(&mut self, token: Token) -> Result<Answerable<'_, S, Pr>, Error> {
        let (event, out) = self.event_beside(token);
        Ok((event?, out))
    }

    /// As [`take_event`](Self::take_event), with both beside each other: so an event, which is large, stays where it was decoded.
    #[inline]
    pub fn event_beside(&mut self, token: Token) -> (Result<Event<'_, S, Pr>, Error>, Outbound<'_, S, Pr>) {
        (self.connection.event(token, &self.input), self.connection.outbound(&mut self.output))
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
