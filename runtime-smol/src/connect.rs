//! Opening a TCP connection to a host by name or address.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use async_io::Async;

use crate::{clock::Clock, stream::Stream};

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
pub async fn connect(
    clock: &Clock,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<(Stream, SocketAddr), ConnectError> {
    let fail = |cause| ConnectError { host: host.to_owned(), port, cause };
    let deadline = clock.now().saturating_add(limit);
    let addresses = match clock.timeout_at(deadline, look_up(host, port)).await {
        None => return Err(fail(ConnectCause::TimedOut { tried: None })),
        Some(Err(error)) => return Err(fail(ConnectCause::Resolve(error))),
        Some(Ok(addresses)) => addresses,
    };
    let mut cause = ConnectCause::NoAddress;
    for (index, &address) in addresses.iter().enumerate() {
        let left = deadline.saturating_since(clock.now());
        let parts = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        cause = match clock.timeout(left / parts, open(address)).await {
            Some(Ok(stream)) => return Ok((stream, address)),
            Some(Err(error)) => ConnectCause::Refused { last: address, tried: index + 1, error },
            None => ConnectCause::TimedOut { tried: Some(address) },
        };
        tracing::debug!(host, port, %address, "connection attempt failed");
    }
    Err(fail(cause))
}

/// The addresses of a name, by the system's resolver on a thread of its own; an address is its own.
async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    blocking::unblock(move || Ok((host, port).to_socket_addrs()?.collect())).await
}

async fn open(address: SocketAddr) -> io::Result<Stream> {
    Stream::new(Async::<TcpStream>::connect(address).await?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::testing::{run, run_on_threads, run_still};

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_listener_by_name_is_reached_without_delay_on_small_frames() {
        // The resolver has a thread of its own, so time must not stand still for it.
        run_on_threads(0, async |lab| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            // `localhost` may resolve to ::1 first, where nobody listens: the next address is tried.
            let (stream, address) = connect(&lab.clock, "localhost", port, LIMIT).await.unwrap();
            assert_eq!(address, listener.local_addr().unwrap());
            assert!(stream.get_ref().nodelay().unwrap());
        });
    }

    #[test]
    fn nobody_there_is_said_with_the_address() {
        run(async |lab| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            let error = connect(&lab.clock, "127.0.0.1", address.port(), LIMIT).await.unwrap_err();
            assert!(
                matches!(error.cause(), ConnectCause::Refused { last, tried: 1, .. } if *last == address),
                "{error}"
            );
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        });
    }

    #[test]
    fn a_silent_address_costs_the_time_limit_and_no_more() {
        run_still(async |lab| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            // Nobody accepts, so after a few connections the kernel stops answering.
            socket.listen(1).unwrap();
            let address = socket.local_addr().unwrap().as_socket().unwrap();
            let mut streams = Vec::new();
            let error = loop {
                match connect(&lab.clock, "127.0.0.1", address.port(), LIMIT).await {
                    Ok(stream) => streams.push(stream),
                    Err(error) => break error,
                }
                assert!(streams.len() < 64, "the kernel answers for ever");
            };
            assert!(matches!(error.cause(), ConnectCause::TimedOut { tried: Some(at) } if *at == address), "{error}");
        });
    }
}
