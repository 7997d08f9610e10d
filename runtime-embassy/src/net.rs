//! Streams over embassy-net: TCP, with name look-up.

use core::net::IpAddr;
use core::time::Duration;

use adit::address::Host;
use adit::time::Instant;
use embassy_futures::select::{Either, select};
use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::{State, TcpReader, TcpSocket, TcpWriter};
use embassy_net::{IpAddress, IpEndpoint, Stack};
use embedded_io_async::Error as _;

use crate::clock::{now, sleep_until};
use crate::connect::{Connect, ConnectError};

/// A TCP socket of a stack, used for one connection after the other.
pub struct Tcp<'a> {
    stack: Stack<'a>,
    socket: TcpSocket<'a>,
}

impl<'a> Tcp<'a> {
    /// A socket over these buffers. Mining frames are small: 1 KiB to receive and 512 bytes to send do; more only helps where round trips are long.
    ///
    /// It takes one of the places of the stack's `StackResources`; the look-up of names takes another.
    pub fn new(stack: Stack<'a>, receive: &'a mut [u8], send: &'a mut [u8]) -> Self {
        let mut socket = TcpSocket::new(stack, receive, send);
        // Frames matter at once, and a peer that vanished should be noticed.
        socket.set_nagle_enabled(false);
        socket.set_keep_alive(Some(embassy_time::Duration::from_secs(60)));
        Self { stack, socket }
    }
}

/// `future`, unless the time is up before.
async fn within<T>(until: Instant, future: impl Future<Output = T>) -> Option<T> {
    let expired = async {
        while now() < until {
            sleep_until(Some(until)).await;
        }
    };
    match select(future, expired).await {
        Either::First(value) => Some(value),
        Either::Second(()) => None,
    }
}

/// The addresses of a host: what it is itself, or what the name server says, IPv4 first.
async fn addresses(stack: Stack<'_>, host: Host<'_>) -> Result<heapless::Vec<IpAddress, 4>, ConnectError> {
    let mut addresses = heapless::Vec::new();
    match host {
        Host::Address(IpAddr::V4(address)) => drop(addresses.push(IpAddress::Ipv4(address))),
        #[cfg(feature = "ipv6")]
        Host::Address(IpAddr::V6(address)) => drop(addresses.push(IpAddress::Ipv6(address))),
        #[cfg(not(feature = "ipv6"))]
        Host::Address(IpAddr::V6(_)) => return Err(ConnectError::NoAddress),
        Host::Name(name) => {
            // A dot at the end makes a name absolute, which every name here is; the stack does not know the form.
            let name = name.strip_suffix('.').unwrap_or(name);
            let mut failed = false;
            for kind in [
                DnsQueryType::A,
                #[cfg(feature = "ipv6")]
                DnsQueryType::Aaaa,
            ] {
                match stack.dns_query(name, kind).await {
                    Ok(found) => {
                        for address in found.into_iter().take(2) {
                            // Two of each kind: there is room. `extend` would panic without.
                            let _room = addresses.push(address);
                        }
                    }
                    Err(_) => failed = true,
                }
            }
            if addresses.is_empty() && failed {
                return Err(ConnectError::Resolve);
            }
        }
    }
    if addresses.is_empty() { Err(ConnectError::NoAddress) } else { Ok(addresses) }
}

impl Connect for Tcp<'_> {
    type Reader<'s>
        = TcpReader<'s>
    where
        Self: 's;
    type Writer<'s>
        = TcpWriter<'s>
    where
        Self: 's;

    /// Waits for the stack's configuration, tries every address of the name in turn; each gets an equal part of the time that is left, so that
    /// one silent address does not hide the others.
    async fn connect(
        &mut self,
        host: Host<'_>,
        port: u16,
        limit: Duration,
    ) -> Result<(TcpReader<'_>, TcpWriter<'_>), ConnectError> {
        let until = now().saturating_add(limit);
        within(until, self.stack.wait_config_up()).await.ok_or(ConnectError::NetworkDown)?;
        let addresses = within(until, addresses(self.stack, host)).await.ok_or(ConnectError::TimedOut)??;
        let mut error = ConnectError::NoAddress;
        let mut left = addresses.len();
        for address in addresses {
            let part = until.saturating_since(now()) / u32::try_from(left.max(1)).unwrap_or(1);
            left = left.saturating_sub(1);
            // Whatever an earlier connection left behind.
            self.socket.abort();
            let part = now().saturating_add(part);
            match within(part, self.socket.connect(IpEndpoint::new(address, port))).await {
                Some(Ok(())) => return Ok(self.socket.split()),
                Some(Err(refused)) => error = ConnectError::Refused(refused.kind()),
                None => error = ConnectError::TimedOut,
            }
        }
        self.socket.abort();
        Err(error)
    }

    async fn close(&mut self, limit: Duration) {
        let until = now().saturating_add(limit);
        if self.socket.state() != State::Closed {
            self.socket.close();
            // Without this the peer sees a reset instead of our last bytes.
            let _unless_late = within(until, self.socket.flush()).await;
        }
        self.socket.abort();
        // The reset, if there is one, has to leave before the next connection takes the socket.
        let _unless_late = within(until, self.socket.flush()).await;
    }
}
