//! Opening a TCP connection to a host by name or address.

use std::{io, net::SocketAddr, time::Duration};

use adit::dial::{self, Dial};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout, timeout_at},
};

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
pub async fn connect(host: &str, port: u16, limit: Duration) -> Result<(TcpStream, SocketAddr), ConnectError> {
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

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_keepalive(true)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_listener_by_name_is_reached_without_delay_on_small_frames() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // `localhost` may resolve to ::1 first, where nobody listens: the next address is tried.
        let (stream, address) = connect("localhost", port, LIMIT).await.unwrap();
        assert_eq!(address, listener.local_addr().unwrap());
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = connect("127.0.0.1", address.port(), LIMIT).await.unwrap_err();
        assert!(matches!(error.cause(), ConnectCause::Refused { last, tried: 1, .. } if *last == address), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_costs_the_time_limit_and_no_more() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        // Nobody accepts, so after a few connections the kernel stops answering.
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut streams = Vec::new();
        let error = loop {
            match connect("127.0.0.1", address.port(), LIMIT).await {
                Ok(stream) => streams.push(stream),
                Err(error) => break error,
            }
            assert!(streams.len() < 64, "the kernel answers for ever");
        };
        assert!(matches!(error.cause(), ConnectCause::TimedOut { tried: Some(at) } if *at == address), "{error}");
    }
}
