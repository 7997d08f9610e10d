//! Both ends of a connection, as all role tests configure them: keys, settings, a listener on loopback, a client's link.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use adit::{
    connection::{Connection, InitiatorConfig, NoiseServer, ResponderConfig, Security, SetupPolicy},
    crypto::{RustCrypto, Secret},
    host::{self, Runtime, watch},
    message::common::SetupConnection,
    noise::x25519::{self, Authentication, Authority, Identity},
    protocol::{Initiator, Protocol},
    time::{Instant, UnixTime},
};

use super::lab::{Here, Lab};
use crate::{
    connect::{ConnectError, connect},
    gate::{Gate, GateConfig},
    link::{Link, LinkSettings},
    listen::Listener,
    shutdown::Shutdown,
    stream::Stream,
};

/// How long a device that is stopped may wait for answers.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

/// How much longer than its grace a device may take to close its stream: here that costs no time.
pub(crate) const CLOSING: Duration = Duration::ZERO;

/// The wall clock of all tests at their start.
pub(crate) const WALL: UnixTime = UnixTime::from_secs(1_800_000_000);

fn authority() -> Authority<RustCrypto> {
    Authority::from_seed(Secret::from_bytes([1; 32]))
}

/// A client that wants the test authority's certificate.
pub(crate) fn initiator() -> InitiatorConfig {
    let authority = Authentication::Authority(*authority().public_key());
    InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(authority)))
}

/// A server that has it.
pub(crate) fn server(setup: SetupPolicy) -> ResponderConfig {
    let (from, until) = (UnixTime::from_secs(WALL.as_secs() - 10), UnixTime::from_secs(WALL.as_secs() + 1_000_000));
    let identity = Identity::issue(Secret::from_bytes([2; 32]), &authority(), from, until).unwrap();
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    ResponderConfig::new(Security::Noise(noise), setup)
}

/// As the roles take it.
pub(crate) fn responder(setup: SetupPolicy) -> watch::Receiver<Arc<ResponderConfig>> {
    watch::channel(Arc::new(server(setup))).1
}

/// A plain setup.
pub(crate) fn setup<Pr: Protocol>() -> SetupConnection<'static> {
    SetupConnection {
        protocol: Pr::NUMBER,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: "127.0.0.1".into(),
        endpoint_port: 3333,
        vendor: "test".into(),
        hardware_version: "".into(),
        firmware: "".into(),
        device_id: "".into(),
    }
}

/// A TCP connection to there, without delay on small frames.
pub(crate) async fn tcp(address: SocketAddr) -> io::Result<Stream> {
    Here::dial(address).await
}

impl Lab {
    pub(crate) fn now(&self) -> Instant {
        self.clock().now()
    }

    /// So far from now.
    pub(crate) fn after(&self, time: Duration) -> Instant {
        self.now().saturating_add(time)
    }

    /// How long ago that was.
    pub(crate) fn since(&self, begin: Instant) -> Duration {
        self.now().saturating_since(begin)
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        host::sleep_until(&self.clock(), Some(self.after(time))).await;
    }

    /// `None` when the time was up first.
    pub(crate) async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        host::timeout_at(&self.clock(), self.after(limit), future).await
    }

    pub(crate) fn shutdown(&self) -> Shutdown {
        Shutdown::new(self.clock())
    }

    /// Link settings by the test's clock.
    pub(crate) fn settings(&self) -> LinkSettings {
        LinkSettings::new(self.clock(), 16)
    }

    /// A listener on loopback, at a port of the system's choice (0) or at this one.
    pub(crate) fn listener(&self, port: u16, config: GateConfig) -> (Listener, Gate) {
        let gate = Gate::new(config);
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], port)), gate.clone(), self.clock());
        (listener.unwrap(), gate)
    }

    /// As a client does it.
    pub(crate) async fn dial(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<(Stream, SocketAddr), ConnectError> {
        connect::<Here>(&self.clock(), host, port, limit).await
    }

    /// A client's link to `address`, with nothing sent yet.
    pub(crate) async fn connect<Pr: Protocol>(
        &self,
        address: SocketAddr,
        settings: LinkSettings,
    ) -> Link<Initiator, Pr, RustCrypto, Stream> {
        let stream = tcp(address).await.unwrap();
        let connection = Connection::initiator(&initiator(), [3; 32], self.now());
        Link::new(connection, stream, address, Arc::new(settings))
    }
}
