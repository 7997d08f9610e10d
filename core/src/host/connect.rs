//! Opening a TCP connection to a host by name or address.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use super::{Clock, Runtime, timeout_at};
use crate::dial::{self, Dial};

/// Why no connection came about.
pub type ConnectError = dial::ConnectError<io::Error>;

/// What went wrong.
pub type ConnectCause = dial::ConnectCause<io::Error>;

/// Connects to `host` (a name, an IPv4 or an IPv6 address, without brackets) within `limit`, name look-up included.
///
/// Every address of the name is tried in the resolver's order; each gets an equal part of the time that is left, so that
/// one silent address does not hide the others. The stream has `TCP_NODELAY` and keep-alive set: frames are small and
/// matter at once, and a peer that vanished should be noticed.
///
/// Cancel-safe: dropping the future drops the attempt.
pub async fn connect<R: Runtime>(
    clock: &R::Clock,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<(R::Stream, SocketAddr), ConnectError> {
    let fail = |cause| ConnectError::new(host, port, cause);
    let deadline = clock.now().saturating_add(limit);
    let addresses = match timeout_at(clock, deadline, R::look_up(host, port)).await {
        None => return Err(fail(ConnectCause::TimedOut { tried: None })),
        Some(Err(error)) => return Err(fail(ConnectCause::Resolve(error))),
        Some(Ok(addresses)) => addresses,
    };
    let mut dial = Dial::new(host, port, addresses);
    while let Some((address, part)) = dial.next(deadline.saturating_since(clock.now())) {
        match timeout_at(clock, clock.now().saturating_add(part), R::dial(address)).await {
            Some(Ok(stream)) => return Ok((stream, address)),
            failed => dial.failed(failed.and_then(Result::err)),
        }
        tracing::debug!(host, port, %address, "connection attempt failed");
    }
    Err(dial.into_error())
}
