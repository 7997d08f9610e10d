//! Streams over embassy-net: TCP, with name look-up.

use core::fmt;
use core::future::{Future, poll_fn};
use core::net::Ipv4Addr;
use core::pin::{Pin, pin};
use core::task::Poll;

use adit::role::device::Endpoint;
use adit::time::Instant;
use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::{TcpReader, TcpSocket, TcpWriter};
use embassy_net::{IpEndpoint, Stack};
use embedded_io_async::Error as _;

use crate::clock::{now, poll_due};
use crate::connect::{Connect, ConnectError};

/// A TCP socket of a stack, used for one connection after the other.
pub struct Tcp<'a> {
    stack: Stack<'a>,
    socket: TcpSocket<'a>,
}

impl fmt::Debug for Tcp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").finish_non_exhaustive()
    }
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

/// Addresses of IPv6, if they can be reached.
const SIXTH: Option<DnsQueryType> = {
    #[cfg(feature = "ipv6")]
    let kind = Some(DnsQueryType::Aaaa);
    #[cfg(not(feature = "ipv6"))]
    let kind = None;
    kind
};

/// What to ask the stack for about this host: it takes an address of that kind for what it is, and asks its name server otherwise.
fn first(host: &str) -> Option<DnsQueryType> {
    if host.bytes().any(|byte| byte == b':') { SIXTH } else { Some(DnsQueryType::A) }
}

/// What to ask for after that.
fn after(kind: DnsQueryType, host: &str) -> Option<DnsQueryType> {
    let more = SIXTH.is_some() && kind == DnsQueryType::A && host.parse::<Ipv4Addr>().is_err();
    if more { SIXTH } else { None }
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

    /// Waits for the stack's configuration, tries every address of the name in turn; each gets half of the time that is left and the last one all, so
    /// that one silent address does not hide the others.
    async fn connect(&mut self, to: &Endpoint, until: Instant) -> Result<(TcpReader<'_>, TcpWriter<'_>), ConnectError> {
        let is_up = {
            let waiting = pin!(self.stack.wait_config_up());
            within(until, waiting).await
        };
        if is_up.is_none() {
            return Err(ConnectError::NetworkDown);
        }
        let mut error = ConnectError::NoAddress;
        let host = to.host();
        #[cfg(feature = "ipv6")]
        let host = host.trim_matches(['[', ']']);
        let Some(mut kind) = first(host) else { return Err(error) };
        loop {
            let found = {
                let asking = pin!(self.stack.dns_query(host, kind));
                within(until, asking).await
            };
            let next = after(kind, host);
            match found {
                // Name servers rotate their answers: the last one is as good as the first.
                Some(Ok(mut found)) => {
                    while let Some(address) = found.pop() {
                        // Whatever an earlier connection left behind.
                        self.socket.abort();
                        let by = if found.is_empty() && next.is_none() {
                            until
                        } else {
                            Instant::from_micros(u64::midpoint(now().as_micros(), until.as_micros()))
                        };
                        let connected = {
                            let connecting = pin!(self.socket.connect(IpEndpoint::new(address, to.port())));
                            within(by, connecting).await
                        };
                        match connected {
                            Some(Ok(())) => return Ok(self.socket.split()),
                            Some(Err(refused)) => error = ConnectError::Refused(refused.kind()),
                            None => error = ConnectError::TimedOut,
                        }
                    }
                }
                Some(Err(_)) if error == ConnectError::NoAddress => error = ConnectError::Resolve,
                Some(Err(_)) => {}
                None => return Err(ConnectError::TimedOut),
            }
            match next {
                Some(next) => kind = next,
                None => break,
            }
        }
        self.socket.abort();
        Err(error)
    }

    async fn close(&mut self, until: Instant) {
        // Without waiting the peer sees a reset instead of our last bytes; and the reset, if there is one, has to leave before the next
        // connection takes the socket.
        self.socket.close();
        let mut aborted = false;
        loop {
            {
                let flushing = pin!(self.socket.flush());
                let _unless_late = within(until, flushing).await;
            }
            if aborted {
                return;
            }
            self.socket.abort();
            aborted = true;
        }
    }
}
