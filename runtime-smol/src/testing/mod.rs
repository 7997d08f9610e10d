//! What the tests of all roles share: keys, configurations, a server on loopback.

pub(crate) mod house;
mod lab;
pub(crate) mod pipe;

use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use adit::{
    connection::{Connection, InitiatorConfig, NoiseServer, ResponderConfig, Security, SetupPolicy},
    crypto::{RustCrypto, Secret},
    message::common::SetupConnection,
    noise::x25519::{self, Authentication, Authority, Identity},
    protocol::{Initiator, Protocol},
    time::UnixTime,
};
use async_io::Async;

use crate::{
    gate::{Gate, GateConfig},
    link::{Link, LinkSettings},
    listen::Listener,
    stream::Stream,
    watch,
};

pub(crate) use crate::queue;
pub(crate) use async_channel::{Sender, TrySendError};
pub(crate) use async_executor::Task;
pub(crate) use futures_lite::future::{or, yield_now};
pub(crate) use lab::{Lab, WALL, join, run, run_in_memory, run_on_threads, run_still};

/// Link settings by the test's clock.
pub(crate) fn settings(lab: &Lab) -> LinkSettings {
    LinkSettings::new(lab.clock.clone(), 16)
}

fn authority() -> Authority<RustCrypto> {
    Authority::from_seed(Secret::from_bytes([1; 32]))
}

/// A client that wants the test authority's certificate.
pub(crate) fn initiator() -> InitiatorConfig {
    let authority = Authentication::Authority(*authority().public_key());
    InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(authority)))
}

/// A server that has it.
pub(crate) fn responder(setup: SetupPolicy) -> watch::Receiver<Arc<ResponderConfig>> {
    let (from, until) = (UnixTime::from_secs(WALL.as_secs() - 10), UnixTime::from_secs(WALL.as_secs() + 1_000_000));
    let identity = Identity::issue(Secret::from_bytes([2; 32]), &authority(), from, until).unwrap();
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    watch::channel(Arc::new(ResponderConfig::new(Security::Noise(noise), setup))).1
}

/// A listener on loopback, at a port of the system's choice or at this one.
pub(crate) fn listener(lab: &Lab, port: u16, config: GateConfig) -> (Listener, Gate) {
    let gate = Gate::new(config);
    (Listener::bind(SocketAddr::from(([127, 0, 0, 1], port)), gate.clone(), lab.clock.clone()).unwrap(), gate)
}

/// A client's link to `address`, with nothing sent yet.
pub(crate) async fn connect<Pr: Protocol>(
    address: SocketAddr,
    settings: LinkSettings,
) -> Link<Initiator, Pr, RustCrypto, Stream> {
    let stream = Stream::new(Async::<TcpStream>::connect(address).await.unwrap()).unwrap();
    let connection = Connection::initiator(&initiator(), [3; 32], settings.clock.now());
    Link::new(connection, stream, address, Arc::new(settings))
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
