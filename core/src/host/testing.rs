//! A runtime for tests of the host: a clock that stands still, streams in memory, no threads. Tests poll the futures themselves.

use std::{
    cell::Cell,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec::Vec,
};

use super::{
    Clock, Runtime,
    gate::{Gate, GateConfig},
    link::Link,
    listen::Accepted,
};
use crate::{
    connection::{Connection, Event, InitiatorConfig, ResponderConfig, Security, SetupPolicy, State},
    crypto::RustCrypto,
    link::{LinkSettings, Turn},
    message::common::SetupConnection,
    protocol::{Initiator, Protocol},
    time::{Instant, UnixTime},
};

#[path = "../../../conformance/roles/testing/pipe.rs"]
#[allow(dead_code, reason = "each place uses some of it")]
mod pipe;

pub(super) use pipe::{Duplex, duplex};

/// The time at which everything happens.
pub(super) const WALL: UnixTime = UnixTime::from_secs(1_800_000_000);

std::thread_local! {
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Lets time pass for this test, whose thread is its own.
pub(super) fn pass(time: Duration) {
    PASSED.set(PASSED.get() + time);
}

/// A clock that stands still unless a test [moves it on](pass), so that no time limit ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Still;

impl Clock for Still {
    type Sleep = std::future::Pending<()>;

    fn now(&self) -> Instant {
        Instant::from_secs(1_000).saturating_add(PASSED.get())
    }

    fn wall(&self) -> UnixTime {
        WALL
    }

    fn sleep_until(&self, _at: Instant) -> Self::Sleep {
        std::future::pending()
    }

    fn bring_forward(&self, _sleep: Pin<&mut Self::Sleep>, _at: Instant) {}

    fn yield_now(&self) -> impl Future<Output = ()> + Send {
        futures_lite::future::yield_now()
    }
}

/// The runtime. Its peers are at hand already, so it neither connects nor accepts.
#[derive(Debug)]
pub(super) struct Memory;

impl Runtime for Memory {
    type Clock = Still;
    type Stream = Duplex;
    type Socket = ();

    async fn look_up(_host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn dial(_address: SocketAddr) -> io::Result<Duplex> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn listen(_address: SocketAddr, _backlog: u16) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn address(_socket: &()) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept(_socket: &()) -> io::Result<(Duplex, SocketAddr)> {
        std::future::pending().await
    }

    fn fill(bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(7);
        Ok(())
    }
}

/// A client's link without encryption.
pub(super) type Client<Pr> = Link<Initiator, Pr, RustCrypto, Duplex, Still>;

pub(super) fn settings() -> Arc<LinkSettings<Still>> {
    Arc::new(LinkSettings::new(Still, 16))
}

pub(super) fn responder(setup: SetupPolicy) -> Arc<ResponderConfig> {
    Arc::new(ResponderConfig::new(Security::Plain, setup))
}

/// A connection, both ends: `capacity` bytes wait in either direction.
pub(super) fn connection<Pr: Protocol>(capacity: usize) -> (Accepted<Memory>, Client<Pr>) {
    connection_of(Ipv4Addr::LOCALHOST, capacity)
}

/// A connection of a client at this address.
pub(super) fn connection_of<Pr: Protocol>(address: Ipv4Addr, capacity: usize) -> (Accepted<Memory>, Client<Pr>) {
    let (near, far) = duplex(capacity);
    let peer = SocketAddr::from((address, 7));
    let gate = Gate::new(GateConfig::default());
    let slot = futures_lite::future::block_on(gate.handshake_slot());
    let admission = gate.admit(IpAddr::from(address), slot, Still.now()).unwrap();
    let connection = Connection::initiator(&InitiatorConfig::new(Security::Plain), [3; 32], Still.now());
    (Accepted { stream: near, peer, admission }, Link::new(connection, far, peer, settings()))
}

impl<Pr: Protocol> Client<Pr> {
    /// Sets the connection up, beside the server that `server` is.
    pub(super) fn open(&mut self, cx: &mut Context<'_>, mut server: Pin<&mut (dyn Future<Output = ()> + Send)>) {
        while self.connection().state() != State::Open {
            assert!(server.as_mut().poll(cx).is_pending(), "the server ended");
            while let Poll::Ready(turn) = self.poll_next(cx) {
                let Turn::Event(token) = turn.unwrap() else { continue };
                if let (Event::Secured(_), mut out) = self.event(token).unwrap() {
                    let setup = SetupConnection {
                        protocol: Pr::NUMBER,
                        min_version: 2,
                        max_version: 2,
                        flags: 0,
                        endpoint_host: "127.0.0.1".into(),
                        endpoint_port: 7,
                        vendor: "".into(),
                        hardware_version: "".into(),
                        firmware: "".into(),
                        device_id: "".into(),
                    };
                    out.send(&setup).unwrap();
                }
            }
        }
    }
}
