//! Which address of a name is tried for how long, and what is said when none takes the connection. No sockets and no look-ups.
//! `E` is the stream's error.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::{IntoIter, Vec};
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

/// Why no connection came about.
#[derive(Debug)]
pub struct ConnectError<E> {
    host: String,
    port: u16,
    cause: ConnectCause<E>,
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectCause<E> {
    /// The name could not be resolved.
    Resolve(E),
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
        error: E,
    },
}

impl<E> ConnectError<E> {
    /// No connection to `host:port`.
    #[must_use]
    pub fn new(host: &str, port: u16, cause: ConnectCause<E>) -> Self {
        Self { host: host.to_owned(), port, cause }
    }

    /// What went wrong.
    #[must_use]
    pub const fn cause(&self) -> &ConnectCause<E> {
        &self.cause
    }
}

impl<E: fmt::Display> fmt::Display for ConnectError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection to {}:{}: ", self.host, self.port)?;
        // Of a name it is worth saying which address it was; an address needs not be said twice.
        let is_host = |at: &SocketAddr| self.host.parse() == Ok(at.ip());
        match &self.cause {
            ConnectCause::Resolve(error) => write!(f, "the name does not resolve: {error}"),
            ConnectCause::NoAddress => f.write_str("the name has no address"),
            ConnectCause::TimedOut { tried: None } => f.write_str("no answer to the name look-up in time"),
            ConnectCause::TimedOut { tried: Some(at) } if is_host(at) => f.write_str("no answer in time"),
            ConnectCause::TimedOut { tried: Some(at) } => write!(f, "no answer from {at} in time"),
            ConnectCause::Refused { last, tried: 1, error } if is_host(last) => write!(f, "{error}"),
            ConnectCause::Refused { last, tried: 1, error } => write!(f, "{last}: {error}"),
            ConnectCause::Refused { last, tried, error } => {
                write!(f, "none of {tried} addresses took it, the last one was {last}: {error}")
            }
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for ConnectError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.cause {
            ConnectCause::Resolve(error) | ConnectCause::Refused { error, .. } => Some(error),
            ConnectCause::NoAddress | ConnectCause::TimedOut { .. } => None,
        }
    }
}

/// The addresses of a name, tried in the resolver's order. Each gets an equal part of the time that is left, so that one silent
/// address does not hide the others.
#[derive(Debug)]
pub struct Dial<'a, E> {
    host: &'a str,
    port: u16,
    addresses: IntoIter<SocketAddr>,
    tried: usize,
    last: Option<SocketAddr>,
    cause: ConnectCause<E>,
}

impl<'a, E> Dial<'a, E> {
    /// `addresses` are those of `host`.
    #[must_use]
    pub fn new(host: &'a str, port: u16, addresses: Vec<SocketAddr>) -> Self {
        Self { host, port, addresses: addresses.into_iter(), tried: 0, last: None, cause: ConnectCause::NoAddress }
    }

    /// The next address, and how long it may take when so much time is left for all; the last failure when there is none.
    pub fn next(&mut self, left: Duration) -> Option<(SocketAddr, Duration)> {
        let parts = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let address = self.addresses.next()?;
        self.last = Some(address);
        self.tried += 1;
        Some((address, left.checked_div(parts).unwrap_or(left)))
    }

    /// The last address did not take the connection; it said why, or nothing in time.
    pub fn failed(&mut self, error: Option<E>) {
        self.cause = match (error, self.last) {
            (Some(error), Some(last)) => ConnectCause::Refused { last, tried: self.tried, error },
            (_, tried) => ConnectCause::TimedOut { tried },
        };
    }

    /// No address is left: what the last one said.
    #[must_use]
    pub fn into_error(self) -> ConnectError<E> {
        ConnectError::new(self.host, self.port, self.cause)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;

    #[test]
    fn each_address_gets_its_part_of_the_time_that_is_left() {
        let address = |n| SocketAddr::from(([192, 0, 2, n], 1));
        let mut dial = Dial::<String>::new("pool", 1, vec![address(1), address(2), address(3)]);
        assert_eq!(dial.next(Duration::from_secs(9)), Some((address(1), Duration::from_secs(3))));
        dial.failed(Some("refused".to_owned()));
        assert_eq!(dial.next(Duration::from_secs(9)), Some((address(2), Duration::from_millis(4_500))));
        dial.failed(None);
        assert_eq!(dial.next(Duration::from_secs(1)), Some((address(3), Duration::from_secs(1))));
        dial.failed(Some("gone".to_owned()));
        assert_eq!(dial.next(Duration::from_secs(1)), None);
        let error = dial.into_error().to_string();
        assert_eq!(error, "no connection to pool:1: none of 3 addresses took it, the last one was 192.0.2.3:1: gone");
    }

    #[test]
    fn silence_and_no_address_are_told_apart() {
        let mut dial = Dial::<String>::new("pool", 1, vec![SocketAddr::from(([192, 0, 2, 1], 1))]);
        dial.next(Duration::ZERO);
        dial.failed(None);
        assert_eq!(dial.into_error().to_string(), "no connection to pool:1: no answer from 192.0.2.1:1 in time");
        let mut dial = Dial::<String>::new("pool", 1, Vec::new());
        assert_eq!(dial.next(Duration::ZERO), None);
        assert_eq!(dial.into_error().to_string(), "no connection to pool:1: the name has no address");
    }

    #[test]
    fn a_host_that_is_an_address_is_said_once() {
        let said = |host: &str, error: Option<&str>| {
            let mut dial = Dial::new(host, 7, vec![SocketAddr::from(([192, 0, 2, 1], 7))]);
            dial.next(Duration::ZERO);
            dial.failed(error);
            dial.into_error().to_string()
        };
        assert_eq!(said("192.0.2.1", Some("refused")), "no connection to 192.0.2.1:7: refused");
        assert_eq!(said("192.0.2.1", None), "no connection to 192.0.2.1:7: no answer in time");
        assert_eq!(said("pool", Some("refused")), "no connection to pool:7: 192.0.2.1:7: refused");
    }
}
