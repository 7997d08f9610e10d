//! Accepting TCP connections: through the gate, and never in a spin.

use std::{fmt, io, net::SocketAddr, time::Duration};

use adit::{
    backoff::{Backoff, BackoffConfig},
    time::Instant,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::sleep_until,
};

use crate::{
    clock::Clock,
    gate::{Admission, Gate, HandshakeSlot},
    rate::{Rate, Throttle},
    stream::Stream,
};

/// Connections that the kernel keeps for us while we wait for a handshake slot.
const BACKLOG: u32 = 1_024;
/// Pauses after accepting failed for want of a system resource: from ten milliseconds up to a second, anew after each success.
const PAUSES: BackoffConfig =
    BackoffConfig { first: Duration::from_millis(20), cap: Duration::from_secs(2), stable: Duration::ZERO };
/// How often what strangers do is written to the log.
const LOG_RATE: Rate = Rate { per_second: 1, burst: 10 };

/// No listener at an address.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at {}: {}", self.address, self.error)
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Accepted {
    /// The stream, with `TCP_NODELAY` and keep-alive set.
    pub stream: Stream,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// To be kept as long as the connection lives.
    pub admission: Admission,
}

/// A listening socket behind a [`Gate`].
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    gate: Gate,
    clock: Clock,
    /// A slot that was waited for and not used yet, so that a dropped `accept` loses nothing.
    slot: Option<HandshakeSlot>,
    pauses: Backoff,
    /// Until when nothing is accepted.
    pause: Option<Instant>,
    log: Throttle,
}

impl Listener {
    /// Listens at `address`; port 0 lets the system choose. Must be called within a tokio runtime.
    pub fn bind(address: SocketAddr, gate: Gate, clock: Clock) -> Result<Self, ListenError> {
        let socket = bind(address).map_err(|error| ListenError { address, error })?;
        let address = socket.local_addr().unwrap_or(address);
        let log = Throttle::new(LOG_RATE, clock.now());
        Ok(Self { socket, address, gate, clock, slot: None, pauses: Backoff::new(PAUSES), pause: None, log })
    }

    /// The address it listens at, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next connection that is let in.
    ///
    /// First a handshake slot, then the socket: while all slots are taken connections wait in the kernel. One that the gate
    /// refuses is closed at once and counted there. Out of file descriptors or memory, it pauses, longer each time up to a
    /// second; it never gives up, so there is no error.
    ///
    /// Cancel-safe: a dropped future has accepted nothing that it did not return.
    pub async fn accept(&mut self) -> Accepted {
        loop {
            if let Some(until) = self.pause {
                sleep_until(self.clock.to_tokio(until)).await;
                self.pause = None;
            }
            if self.slot.is_none() {
                self.slot = Some(self.gate.handshake_slot().await);
            }
            let accepted = self.socket.accept().await;
            let now = self.clock.now();
            match (accepted, self.slot.take()) {
                (Ok((stream, peer)), Some(slot)) => {
                    self.pauses.up(now);
                    match self.gate.admit(peer.ip(), slot, now) {
                        Ok(admission) => {
                            if let Err(error) = stream.set_nodelay(true) {
                                // The peer is gone already.
                                tracing::debug!(%peer, %error, "no TCP_NODELAY");
                                continue;
                            }
                            return Accepted { stream: Stream::new(stream), peer, admission };
                        }
                        Err(refusal) => {
                            if let Some(held_back) = self.log.pass(now) {
                                tracing::warn!(%peer, %refusal, held_back, "connection refused");
                            }
                        }
                    }
                }
                (Ok(_), None) => unreachable!("the slot was filled a few lines above"),
                (Err(error), slot) => {
                    self.slot = slot;
                    if !is_want(&error) {
                        continue;
                    }
                    self.pause = Some(now.saturating_add(self.pauses.down(now, 0)));
                    if let Some(held_back) = self.log.pass(now) {
                        tracing::error!(address = %self.address, %error, held_back, "cannot accept connections");
                    }
                }
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted server takes its port back at once. (Not on Windows, where this would let two servers share the port.)
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the system is short of something. Otherwise the connection died while it waited, which is the peer's doing and says nothing
/// about the next one.
fn is_want(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
#[path = "../../conformance/roles/listen.rs"]
mod tests;
