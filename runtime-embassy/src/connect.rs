//! How a stream to a server comes to be: what a board's network has to offer.

use core::fmt;

use adit::role::device::Endpoint;
use adit::time::Instant;
use embedded_io_async::{ErrorKind, Read, Write};

/// Opens streams, one at a time. [`net::Tcp`](crate::net::Tcp) does so over embassy-net; for a modem with its own TCP, write one.
///
/// Reader and writer are used at the same time, and both their futures are dropped as soon as either is ready: they must be
/// free of side effects then, as those of embassy-net are. A reader that is not (DMA straight into the caller's memory) needs a ring buffer
/// between.
#[allow(async_fn_in_trait, reason = "tasks of embassy are not sent between threads")]
pub trait Connect {
    /// The stream's reading half.
    type Reader<'s>: Read
    where
        Self: 's;
    /// The stream's writing half.
    type Writer<'s>: Write
    where
        Self: 's;

    /// Opens a stream before `until` (of [`clock::now`](crate::clock::now)), name look-up included. A stream that was open before is gone when this is
    /// called.
    ///
    /// The endpoint's host is a name, or an address as text; of IPv6 with brackets or without, as servers write it that send devices elsewhere.
    ///
    /// May be dropped at any await; the next call begins anew.
    async fn connect(
        &mut self,
        to: &Endpoint,
        until: Instant,
    ) -> Result<(Self::Reader<'_>, Self::Writer<'_>), ConnectError>;

    /// Ends the stream: what was written still goes out, then this side's half is ended; is over at `until`. Does nothing when no stream
    /// is open.
    ///
    /// May be dropped at any await; the stream is then cut off when the next one is opened.
    async fn close(&mut self, until: Instant);
}

/// Why no stream came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The board has no network yet: no link, or no address.
    NetworkDown,
    /// The name could not be resolved.
    Resolve,
    /// The name has no address of a kind that the board can reach.
    NoAddress,
    /// No answer in time.
    TimedOut,
    /// The last address that was tried refused, or there is no way to it.
    Refused(ErrorKind),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkDown => "the network is down, or has given no address yet",
            Self::Resolve => "the name does not resolve",
            Self::NoAddress => "the name has no address that can be reached from here",
            Self::TimedOut => "no answer in time",
            Self::Refused(kind) => return write!(f, "refused: {kind}"),
        })
    }
}

impl core::error::Error for ConnectError {}
