//! What a device's owner hears: for logs, lights and counters. Nothing has to be done about it.

use core::fmt;
use core::time::Duration;

use adit::error::Error;
use adit::mining::client::{NotSent, Solution};
use adit::noise::PeerIdentity;
use adit::role::device::{Endpoint, Fatal, Outcome};
use adit::time::UnixTime;

use crate::connect::ConnectError;
use crate::entropy::NoEntropy;
use crate::link::{LinkError, Stall};

/// Something happened.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// An attempt to connect there begins.
    Connecting(&'a Endpoint),
    /// The stream is open; the handshake begins.
    Connected,
    /// The handshake is over. Who the server is, and what was known about its certificate's period; `None` on a plain link.
    Secured(Option<&'a PeerIdentity>, Period),
    /// What an event meant for the device.
    Outcome(&'a Outcome<'a>),
    /// The hasher's share is about to be sent.
    Submitting(&'a Solution),
    /// It stands in the output buffer, sealed, under this sequence number.
    Submitted(u32),
    /// It is not sent, as it could not count any more.
    NotSent(&'a NotSent),
    /// The connection, or the attempt, ended for this reason. The next attempt comes after this time.
    Ended(&'a Ended, Duration),
}

/// What was known about the period of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Checked against the wall clock.
    Checked,
    /// Not checked but for its end, since the board has no time: see [`WithoutClock::SignatureOnly`](crate::clock::WithoutClock::SignatureOnly).
    Unchecked,
}

/// Why a connection ended, or did not come about.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Ended {
    /// There is no server to connect to, or its host has more than 255 bytes: the settings are wrong.
    NoServer,
    /// Nobody has set the wall clock, and the settings say to wait for that.
    NoClock,
    /// No random numbers.
    NoEntropy(NoEntropy),
    /// No stream.
    Connect(ConnectError),
    /// The certificate ran out before the firmware was made. Told when the board has no clock; with one, the handshake fails instead.
    Expired(UnixTime),
    /// The server refused the setup; its code came as an [`Outcome`].
    Refused,
    /// The server asked to connect elsewhere; where came as an [`Outcome`].
    Elsewhere,
    /// The link failed.
    Link(LinkError),
    /// The server is of no use to this device.
    Device(Fatal),
    /// A message could not be sent.
    Send(Error),
    /// Either side closed the connection in order.
    Closed,
}

impl Ended {
    /// The reason in a word, and a number that says more: of an error [`Error::code`], of a stream's failure its
    /// [`ErrorKind`](embedded_io_async::ErrorKind), of an expired certificate the second of its end.
    ///
    /// For firmware that logs little: `Display` says it in sentences, which with the names of messages take 20 KB.
    #[must_use]
    pub fn brief(&self) -> (&'static str, u32) {
        match *self {
            Self::NoServer => ("no server", 0),
            Self::NoClock => ("no clock", 0),
            Self::NoEntropy(NoEntropy) => ("no entropy", 0),
            Self::Connect(ConnectError::NetworkDown) => ("network down", 0),
            Self::Connect(ConnectError::Resolve) => ("unknown host", 0),
            Self::Connect(ConnectError::NoAddress) => ("no address", 0),
            Self::Connect(ConnectError::TimedOut) => ("no answer", 0),
            Self::Connect(ConnectError::Refused(kind)) => ("refused", kind as u32),
            Self::Expired(until) => ("expired", until.as_secs()),
            Self::Refused => ("setup refused", 0),
            Self::Elsewhere => ("sent elsewhere", 0),
            Self::Link(LinkError::Connection(error)) | Self::Send(error) => ("error", error.code()),
            Self::Link(LinkError::Read(kind)) => ("read failed", kind as u32),
            Self::Link(LinkError::Write(kind)) => ("write failed", kind as u32),
            Self::Link(LinkError::Stalled(Stall::Reading)) => ("peer not reading", 0),
            Self::Link(LinkError::Stalled(Stall::Writing)) => ("frame not ended", 0),
            Self::Device(Fatal::ExtendedChannelsOnly) => ("extended channels only", 0),
            Self::Device(Fatal::FixedVersion) => ("fixed version", 0),
            Self::Device(Fatal::Server(violation)) => ("server violation", violation as u32),
            Self::Device(Fatal::NoAnswer) => ("no channel", 0),
            Self::Closed => ("closed", 0),
        }
    }
}

impl From<LinkError> for Ended {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoServer => "no server to connect to in the settings",
            Self::NoClock => "the time is not known yet, so no certificate can be checked",
            Self::NoEntropy(error) => return error.fmt(f),
            Self::Connect(error) => return error.fmt(f),
            Self::Expired(until) => {
                return write!(
                    f,
                    "the certificate expired at {} (unix time), before this firmware was made",
                    until.as_secs()
                );
            }
            Self::Refused => "the server refused the setup",
            Self::Elsewhere => "sent elsewhere",
            Self::Link(error) => return error.fmt(f),
            Self::Device(fatal) => return fatal.fmt(f),
            Self::Send(error) => return error.fmt(f),
            Self::Closed => "closed",
        })
    }
}
