//! Opening a TCP connection to a host by name or address.

use std::{io, net::SocketAddr, time::Duration};

use adit::dial::{self, Dial};
use tokio::{
    net::TcpSocket,
    time::{Instant, timeout, timeout_at},
};

use crate::stream::Stream;

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
pub async fn connect(host: &str, port: u16, limit: Duration) -> Result<(Stream, SocketAddr), ConnectError> {
    let fail = |cause| ConnectError::new(host, port, cause);
    let now = Instant::now();
    let deadline = now.checked_add(limit).unwrap_or_else(|| now + Duration::from_secs(86_400));
    let addresses: Vec<SocketAddr> = match timeout_at(deadline, tokio::net::lookup_host((host, port))).await {
        Err(_) => return Err(fail(ConnectCause::TimedOut { tried: None })),
        Ok(Err(error)) => return Err(fail(ConnectCause::Resolve(error))),
        Ok(Ok(addresses)) => addresses.collect(),
    };
    let mut dial = Dial::new(host, port, addresses);
    while let Some((address, part)) = dial.next(deadline.saturating_duration_since(Instant::now())) {
        match timeout(part, open(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            failed => dial.failed(failed.ok().and_then(Result::err)),
        }
        tracing::debug!(host, port, %address, "connection attempt failed");
    }
    Err(dial.into_error())
}

async fn open(address: SocketAddr) -> io::Result<Stream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_keepalive(true)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Stream::new(stream))
}

#[cfg(test)]
#[path = "../../conformance/roles/connect.rs"]
mod tests;
