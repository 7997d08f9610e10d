//! Accepting connections: through the gate, and never in a spin.

use core::{fmt, net::SocketAddr, time::Duration};
use std::io;

use super::{
    Clock, Runtime,
    gate::{Admission, Gate},
};
use crate::{
    backoff::{Backoff, BackoffConfig},
    rate::{Rate, Throttle},
    time::Instant,
};

/// Connections that the kernel keeps for us while we wait for a handshake slot.
const BACKLOG: u16 = 1_024;
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

impl core::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Accepted<R: Runtime> {
    /// The stream, with `TCP_NODELAY` and keep-alive set.
    pub stream: R::Stream,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// To be kept as long as the connection lives.
    pub admission: Admission,
}

/// A listening socket behind a [`Gate`].
#[derive(Debug)]
pub struct Listener<R: Runtime> {
    socket: R::Socket,
    address: SocketAddr,
    gate: Gate,
    clock: R::Clock,
    /// A connection that waits for a slot, so that a dropped `accept` loses nothing.
    waiting: Option<(R::Stream, SocketAddr)>,
    pauses: Backoff,
    /// Until when nothing is accepted.
    pause: Option<Instant>,
    log: Throttle,
}

impl<R: Runtime> Listener<R> {
    /// Listens at `address`; port 0 lets the system choose. On tokio it must be called within a runtime.
    pub fn bind(address: SocketAddr, gate: Gate, clock: R::Clock) -> Result<Self, ListenError> {
        let socket = R::listen(address, BACKLOG).map_err(|error| ListenError { address, error })?;
        let address = R::address(&socket).unwrap_or(address);
        let log = Throttle::new(LOG_RATE, clock.now());
        Ok(Self { socket, address, gate, clock, waiting: None, pauses: Backoff::new(PAUSES), pause: None, log })
    }

    /// The address it listens at, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next connection that is let in.
    ///
    /// While all handshake slots are taken, one connection waits here and the others wait in the kernel; so a listener to which nobody comes
    /// keeps no slot from another one. A connection that the gate refuses is closed at once and counted there. Out of file descriptors or memory, it pauses, longer each time up to a
    /// second; it never gives up, so there is no error.
    ///
    /// Cancel-safe: a dropped future has accepted nothing that it did not return.
    pub async fn accept(&mut self) -> Accepted<R> {
        loop {
            if let Some(until) = self.pause {
                self.clock.sleep_until(until).await;
                self.pause = None;
            }
            if self.waiting.is_some() {
                let slot = self.gate.handshake_slot().await;
                let now = self.clock.now();
                // There is one since the line above the wait.
                let Some((stream, peer)) = self.waiting.take() else { continue };
                match self.gate.admit(peer.ip(), slot, now) {
                    Ok(admission) => return Accepted { stream, peer, admission },
                    Err(refusal) => {
                        if let Some(held_back) = self.log.pass(now) {
                            tracing::warn!(%peer, %refusal, held_back, "connection refused");
                        }
                        // There may be another one at once, again and again: a flood must not keep the thread.
                        self.clock.yield_now().await;
                    }
                }
            }
            let accepted = R::accept(&self.socket).await;
            let now = self.clock.now();
            match accepted {
                Ok(accepted) => {
                    self.pauses.up(now);
                    self.waiting = Some(accepted);
                }
                Err(error) if is_want(&error) => {
                    self.pause = Some(now.saturating_add(self.pauses.down(now, 0)));
                    if let Some(held_back) = self.log.pass(now) {
                        tracing::error!(address = %self.address, %error, held_back, "cannot accept connections");
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection died before it was accepted");
                    self.clock.yield_now().await;
                }
            }
        }
    }
}

/// Whether the system is short of something. Otherwise the connection died while it waited, which is the peer's doing and says nothing
/// about the next one.
fn is_want(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_pauses_longer_each_time_and_a_dead_connection_never() {
        assert!(is_want(&io::Error::from_raw_os_error(24)), "EMFILE");
        assert!(!is_want(&io::ErrorKind::ConnectionAborted.into()));
        let mut pauses = Backoff::new(PAUSES);
        let waits = [(); 9].map(|()| pauses.down(Instant::ORIGIN, 0).as_millis());
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        pauses.up(Instant::ORIGIN);
        assert_eq!(pauses.down(Instant::ORIGIN, 0).as_millis(), 10, "anew after a success");
    }
}
