//! Streams over embassy-net: TCP, with name look-up.

use core::future::{Future, poll_fn};
use core::net::IpAddr;
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;

use adit::address::Host;
use adit::time::Instant;
use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::{TcpReader, TcpSocket, TcpWriter};
use embassy_net::{IpAddress, IpEndpoint, Stack};
use embedded_io_async::Error as _;

use crate::clock::{now, poll_due};
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
fn within<F: Future>(until: Instant, mut future: Pin<&mut F>) -> impl Future<Output = Option<F::Output>> {
    poll_fn(move |cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => poll_due(Some(until), cx).map(|()| None),
    })
}

/// The addresses of a host: what it is itself, or what the name server says, IPv4 first. If there are none, why.
async fn look_up(stack: Stack<'_>, host: Host<'_>, addresses: &mut heapless::Vec<IpAddress, 4>) -> ConnectError {
    let mut error = ConnectError::NoAddress;
    match host {
        Host::Address(IpAddr::V4(address)) => drop(addresses.push(IpAddress::Ipv4(address))),
        #[cfg(feature = "ipv6")]
        Host::Address(IpAddr::V6(address)) => drop(addresses.push(IpAddress::Ipv6(address))),
        #[cfg(not(feature = "ipv6"))]
        Host::Address(IpAddr::V6(_)) => {}
        Host::Name(name) => {
            // A dot at the end makes a name absolute, which every name here is; the stack does not know the form.
            let name = name.strip_suffix('.').unwrap_or(name);
            for kind in [
                DnsQueryType::A,
                #[cfg(feature = "ipv6")]
                DnsQueryType::Aaaa,
            ] {
                match stack.dns_query(name, kind).await {
                    // Two of each kind: there is room. `extend` would panic without.
                    Ok(found) => {
                        for address in found.iter().take(2) {
                            let _room = addresses.push(*address);
                        }
                    }
                    Err(_) => error = ConnectError::Resolve,
                }
            }
        }
    }
    error
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
        let mut error = ConnectError::NetworkDown;
        let mut addresses = heapless::Vec::new();
        let in_time = {
            let looking = pin!(async {
                self.stack.wait_config_up().await;
                error = ConnectError::TimedOut;
                error = look_up(self.stack, host, &mut addresses).await;
            });
            within(until, looking).await
        };
        if in_time.is_none() {
            return Err(error);
        }
        for (index, address) in addresses.iter().enumerate() {
            // Whatever an earlier connection left behind.
            self.socket.abort();
            let (at, left) = (now().as_micros(), addresses.len().saturating_sub(index));
            let part = until.as_micros().saturating_sub(at).checked_div(left as u64).unwrap_or(0);
            let part = Instant::from_micros(at.saturating_add(part));
            let connected = {
                let connecting = pin!(self.socket.connect(IpEndpoint::new(*address, port)));
                within(part, connecting).await
            };
            match connected {
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
        // Without waiting the peer sees a reset instead of our last bytes; and the reset, if there is one, has to leave before the next
        // connection takes the socket.
        for abort in [false, true] {
            if abort {
                self.socket.abort();
            } else {
                self.socket.close();
            }
            let flushing = pin!(self.socket.flush());
            let _unless_late = within(until, flushing).await;
        }
    }
}
