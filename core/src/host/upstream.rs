//! A client's side of keeping a connection: connect, wait, again; until shutdown. What runs on the connection is the owner's.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;
use std::io;

use futures_lite::future::or;

use super::connect::{ConnectError, connect};
use super::entropy::{EntropyError, entropy, jitter};
use super::link::Link;
use super::shutdown::Shutdown;
use super::{Clock, Runtime, watch};
use crate::connection::{Connection, InitiatorConfig};
use crate::crypto::Provider;
use crate::link::LinkSettings;
use crate::protocol::{Initiator, Protocol};
use crate::role::upstream::Keeper;
pub use crate::role::upstream::{Server, ServerUrlError, UpstreamConfig, UpstreamState};
use crate::time::Instant;

/// Why a connection ended, as far as the one who ran it knows.
pub type Ended = crate::role::upstream::Ended<io::Error>;

/// What an attempt ended with.
#[derive(Debug)]
enum Failure {
    Connect(ConnectError),
    Entropy(EntropyError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Entropy(error) => error.fmt(f),
        }
    }
}

/// What a client says about itself in `SetupConnection`, for the operator of the server.
pub type Software = crate::role::upstream::Software<String>;

/// A link to a server, fresh: the handshake and setup are to come.
#[derive(Debug)]
pub struct Connected<Pr: Protocol, P: Provider, R: Runtime> {
    /// The link.
    pub link: Link<Initiator, Pr, P, R::Stream, R::Clock>,
    /// The host that was connected to, for `SetupConnection.endpoint_host`.
    pub host: String,
    /// The port that was connected to.
    pub port: u16,
}

/// A client's connection, one after the other.
///
/// Call [`connect`](Self::connect), run the link that it returns, tell [`opened`](Self::opened) when its setup succeeded and
/// [`ended`](Self::ended) why it ended, and begin anew.
#[derive(Debug)]
pub struct Upstream<R: Runtime> {
    keeper: Keeper,
    settings: Arc<LinkSettings<R::Clock>>,
    state: watch::Sender<UpstreamState>,
    /// Until when no attempt is made.
    wait: Option<Instant>,
}

impl<R: Runtime> Upstream<R> {
    /// Nothing is done before the first [`connect`](Self::connect).
    #[must_use]
    pub fn new(config: UpstreamConfig, settings: Arc<LinkSettings<R::Clock>>) -> Self {
        Self { keeper: Keeper::new(config), settings, state: watch::Sender::default(), wait: None }
    }

    /// Where the connection stands, now and from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<UpstreamState> {
        self.state.subscribe()
    }

    /// The next connection, after the wait that is due and as many attempts as it takes. `None` when `shutdown` has started (it
    /// interrupts this call; a link that is running its owner ends) or there is no server.
    ///
    /// Cancel-safe: a dropped future loses an attempt under way, not the wait before it.
    pub async fn connect<Pr: Protocol, P: Provider>(
        &mut self,
        shutdown: &Shutdown<R::Clock>,
    ) -> Option<Connected<Pr, P, R>> {
        let started = async {
            shutdown.started().await;
            None
        };
        let connected = or(started, self.attempts()).await;
        if connected.is_none() {
            self.stopped();
        }
        connected
    }

    /// As [`connect`](Self::connect) during a shutdown, for what can't wait for another run: only who drops this ends it.
    pub async fn insist<Pr: Protocol, P: Provider>(&mut self) -> Option<Connected<Pr, P, R>> {
        let connected = self.attempts().await;
        if connected.is_none() {
            self.stopped();
        }
        connected
    }

    /// Told once, however often it is said.
    fn stopped(&self) {
        self.state
            .send_if_modified(|state| core::mem::replace(state, UpstreamState::Stopped) != UpstreamState::Stopped);
    }

    /// The next attempt does not wait.
    pub fn hurry(&mut self) {
        self.wait = None;
    }

    async fn attempts<Pr: Protocol, P: Provider>(&mut self) -> Option<Connected<Pr, P, R>> {
        loop {
            if let Some(until) = self.wait {
                self.settings.clock.sleep_until(until).await;
                self.wait = None;
            }
            let (host, port, config) = self.keeper.next()?;
            self.state.send_replace(UpstreamState::Connecting { server: format!("{host}:{port}") });
            match attempt::<Pr, P, R>(&host, port, &config, self.keeper.connect_limit(), &self.settings).await {
                Ok(link) => return Some(Connected { link, host, port }),
                Err(failure) => {
                    let waits = self.keeper.failed(&failure, self.settings.clock.now(), spread::<R>());
                    self.wait(waits);
                }
            }
        }
    }

    /// The setup has succeeded: from now on the connection counts as up.
    pub fn opened(&mut self) {
        let state = self.keeper.opened(self.settings.clock.now());
        tracing::info!(server = %self.keeper.server(), "connection open");
        self.state.send_replace(state);
    }

    /// The connection has ended; the next one waits accordingly.
    #[allow(clippy::needless_pass_by_value, reason = "the end of a connection is told once")]
    pub fn ended(&mut self, why: Ended) {
        let waits = self.keeper.ended(&why, self.settings.clock.now(), spread::<R>());
        self.wait(waits);
    }

    fn wait(&mut self, (until, state): (Instant, UpstreamState)) {
        if let UpstreamState::Waiting { server, wait, why } = &state {
            tracing::warn!(%server, %why, ?wait, "no connection");
        }
        self.state.send_replace(state);
        self.wait = Some(until);
    }
}

impl<R: Runtime> Drop for Upstream<R> {
    /// Nobody keeps the connection any more, however that came about: who watches hears it.
    fn drop(&mut self) {
        self.stopped();
    }
}

/// Without entropy the wait is the shortest of its range, which is still a wait.
fn spread<R: Runtime>() -> u64 {
    jitter::<R>().unwrap_or(0)
}

async fn attempt<Pr: Protocol, P: Provider, R: Runtime>(
    host: &str,
    port: u16,
    config: &InitiatorConfig,
    limit: Duration,
    settings: &Arc<LinkSettings<R::Clock>>,
) -> Result<Link<Initiator, Pr, P, R::Stream, R::Clock>, Failure> {
    let (stream, peer) = connect::<R>(&settings.clock, host, port, limit).await.map_err(Failure::Connect)?;
    let entropy = entropy::<R>().map_err(Failure::Entropy)?;
    let connection = Connection::initiator(config, entropy, settings.clock.now());
    Ok(Link::new(connection, stream, peer, Arc::clone(settings)))
}
