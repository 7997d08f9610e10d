//! Opening a TCP connection to a host by name or address.

use std::{fmt, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout_at},
};

/// Why no connection came about.
#[derive(Debug)]
pub struct ConnectError {
    host: String,
    port: u16,
    cause: ConnectCause,
}

/// What went wrong.
#[derive(Debug)]
pub enum ConnectCause {
    /// The name could not be resolved.
    Resolve(io::Error),
    /// The name resolved to no address.
    NoAddress,
    /// The time limit passed, while resolving when `tried` is `None`, else at this address.
    TimedOut {
        /// The address that did not answer.
        tried: Option<SocketAddr>,
    },
    /// No address took the connection; this is what the last one said.
    Refused {
        /// The last address.
        last: SocketAddr,
        /// How many addresses were tried.
        tried: usize,
        /// What the last one said.
        error: io::Error,
    },
}

impl ConnectError {
    /// What went wrong.
    #[must_use]
    pub fn cause(&self) -> &ConnectCause {
        &self.cause
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection to {}:{}: ", self.host, self.port)?;
        match &self.cause {
            ConnectCause::Resolve(error) => write!(f, "the name does not resolve: {error}"),
            ConnectCause::NoAddress => f.write_str("the name has no address"),
            ConnectCause::TimedOut { tried: None } => f.write_str("no answer to the name look-up in time"),
            ConnectCause::TimedOut { tried: Some(at) } => write!(f, "no answer from {at} in time"),
            ConnectCause::Refused { last, tried: 1, error } => write!(f, "{last}: {error}"),
            ConnectCause::Refused { last, tried, error } => {
                write!(f, "none of {tried} addresses took it, the last one was {last}: {error}")
            }
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            ConnectCause::Resolve(error) | ConnectCause::Refused { error, .. } => Some(error),
            ConnectCause::NoAddress | ConnectCause::TimedOut { .. } => None,
        }
    }
}

/// Connects to `host` (a name, an IPv4 or an IPv6 address, without brackets) within `limit`, name look-up included.
///
/// Every address of the name is tried in the resolver's order; each gets an equal part of the time that is left, so that
/// one silent address does not hide the others. The stream has `TCP_NODELAY` and keep-alive set: frames are small and
/// matter at once, and a peer that vanished should be noticed.
///
/// Cancel-safe: dropping the future drops the attempt.
pub async fn connect(host: &str, port: u16, limit: Duration) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let fail = |cause| ConnectError { host: host.to_owned(), port, cause };
    let now = Instant::now();
    let deadline = now.checked_add(limit).unwrap_or_else(|| now + Duration::from_secs(86_400));
    let addresses: Vec<SocketAddr> = match timeout_at(deadline, tokio::net::lookup_host((host, port))).await {
        Err(_) => return Err(fail(ConnectCause::TimedOut { tried: None })),
        Ok(Err(error)) => return Err(fail(ConnectCause::Resolve(error))),
        Ok(Ok(addresses)) => addresses.collect(),
    };
    let mut cause = ConnectCause::NoAddress;
    for (index, &address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let parts = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        cause = match timeout_at(Instant::now() + left / parts, open(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => ConnectCause::Refused { last: address, tried: index + 1, error },
            Err(_) => ConnectCause::TimedOut { tried: Some(address) },
        };
        tracing::debug!(host, port, %address, "connection attempt failed");
    }
    Err(fail(cause))
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
