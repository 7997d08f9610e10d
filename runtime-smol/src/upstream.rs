//! A client's side of keeping a connection: connect, wait, again; until shutdown. What runs on the connection is the owner's.

use std::{fmt, io, sync::Arc, time::Duration};

pub use adit::role::upstream::{Server, UpstreamConfig, UpstreamState};
use adit::{
    connection::{Connection, InitiatorConfig},
    crypto::Provider,
    protocol::{Initiator, Protocol},
    role::upstream::Keeper,
    time::Instant,
};
use futures_lite::future::or;

use crate::{
    connect::{ConnectError, connect},
    entropy::{EntropyError, entropy, jitter},
    link::{Link, LinkSettings},
    shutdown::Shutdown,
    stream::Stream,
    watch,
};

/// Why a connection ended, as far as the one who ran it knows.
pub type Ended = adit::role::upstream::Ended<io::Error>;

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
pub type Software = adit::role::upstream::Software<String>;

/// A link to a server, fresh: the handshake and setup are to come.
#[derive(Debug)]
pub struct Connected<Pr: Protocol, P: Provider> {
    /// The link.
    pub link: Link<Initiator, Pr, P, Stream>,
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
pub struct Upstream {
    keeper: Keeper,
    settings: Arc<LinkSettings>,
    state: watch::Sender<UpstreamState>,
    /// Until when no attempt is made.
    wait: Option<Instant>,
}

impl Upstream {
    /// Nothing is done before the first [`connect`](Self::connect).
    #[must_use]
    pub fn new(config: UpstreamConfig, settings: Arc<LinkSettings>) -> Self {
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
    pub async fn connect<Pr: Protocol, P: Provider>(&mut self, shutdown: &Shutdown) -> Option<Connected<Pr, P>> {
        let started = async {
            shutdown.started().await;
            None
        };
        let connected = or(started, self.attempts()).await;
        if connected.is_none() {
            self.state.send_replace(UpstreamState::Stopped);
        }
        connected
    }

    /// As [`connect`](Self::connect) during a shutdown, for what can't wait for another run: only who drops this ends it.
    pub async fn insist<Pr: Protocol, P: Provider>(&mut self) -> Option<Connected<Pr, P>> {
        let connected = self.attempts().await;
        if connected.is_none() {
            self.state.send_replace(UpstreamState::Stopped);
        }
        connected
    }

    /// The next attempt does not wait.
    pub fn hurry(&mut self) {
        self.wait = None;
    }

    async fn attempts<Pr: Protocol, P: Provider>(&mut self) -> Option<Connected<Pr, P>> {
        loop {
            if let Some(until) = self.wait {
                self.settings.clock.sleep_until(until).await;
                self.wait = None;
            }
            let (host, port, config) = self.keeper.next()?;
            self.state.send_replace(UpstreamState::Connecting { server: format!("{host}:{port}") });
            match attempt(&host, port, &config, self.keeper.connect_limit(), &self.settings).await {
                Ok(link) => return Some(Connected { link, host, port }),
                Err(failure) => {
                    let waits = self.keeper.failed(&failure, self.settings.clock.now(), spread());
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
        let waits = self.keeper.ended(&why, self.settings.clock.now(), spread());
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

/// Without entropy the wait is the shortest of its range, which is still a wait.
fn spread() -> u64 {
    jitter().unwrap_or(0)
}

async fn attempt<Pr: Protocol, P: Provider>(
    host: &str,
    port: u16,
    config: &InitiatorConfig,
    limit: Duration,
    settings: &Arc<LinkSettings>,
) -> Result<Link<Initiator, Pr, P, Stream>, Failure> {
    let (stream, peer) = connect(&settings.clock, host, port, limit).await.map_err(Failure::Connect)?;
    let entropy = entropy().map_err(Failure::Entropy)?;
    let connection = Connection::initiator(config, entropy, settings.clock.now());
    Ok(Link::new(connection, stream, peer, Arc::clone(settings)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use adit::{
        backoff::BackoffConfig,
        connection::{Event, ResponderConfig, Security, SetupPolicy, reconnect_target},
        crypto::RustCrypto,
        message::common::Reconnect,
        protocol::{Mining, Responder},
    };
    use async_channel::{Receiver, Sender};
    use async_executor::Task;
    use async_io::Async;

    use super::*;
    use crate::{
        link::Turn,
        testing::{Lab, run_still},
    };

    type ServerLink = Link<Responder, Mining, RustCrypto, Stream>;

    const BACKOFF: BackoffConfig =
        BackoffConfig { first: Duration::from_secs(2), cap: Duration::from_secs(16), stable: Duration::from_secs(100) };

    fn bind(port: u16) -> (Async<TcpListener>, u16) {
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], port)).unwrap();
        let port = listener.get_ref().local_addr().unwrap().port();
        (listener, port)
    }

    fn server(port: u16) -> Server {
        Server { host: "127.0.0.1".into(), port, connection: InitiatorConfig::new(Security::Plain) }
    }

    /// Accepts one connection and brings it up.
    async fn accept(lab: &Lab, listener: &Async<TcpListener>) -> ServerLink {
        let (stream, peer) = listener.accept().await.unwrap();
        let (stream, clock) = (Stream::new(stream).unwrap(), lab.clock());
        let connection =
            Connection::responder(&ResponderConfig::new(Security::Plain, SetupPolicy::new(0)), [0; 32], clock.now());
        let mut link = Link::new(connection, stream, peer, Arc::new(LinkSettings::new(clock, 1)));
        loop {
            let Turn::Event(token) = link.next().await.unwrap() else { panic!("no event") };
            if let (Event::Opened(_), _) = link.event(token).unwrap() {
                // The answer leaves.
                link.want_room();
                assert!(matches!(link.next().await, Ok(Turn::Room)));
                return link;
            }
        }
    }

    /// A client that opens and then only listens; it reports the port of each connection that opened.
    fn client(lab: &Lab, servers: Vec<Server>) -> (Task<()>, Receiver<u16>, watch::Receiver<UpstreamState>, Shutdown) {
        let (report, reports) = async_channel::unbounded();
        let shutdown = Shutdown::new(lab.clock());
        let config = UpstreamConfig { servers, connect_limit: Duration::from_secs(1), backoff: BACKOFF };
        let settings = Arc::new(LinkSettings::new(lab.clock(), 1));
        let mut upstream = Upstream::new(config, settings);
        let state = upstream.watch();
        let watching = shutdown.clone();
        let task = lab.spawn(async move {
            while let Some(connected) = upstream.connect(&watching).await {
                let ended = listen(connected, &mut upstream, &report, &watching).await;
                upstream.ended(ended);
            }
        });
        (task, reports, state, shutdown)
    }

    async fn listen(
        mut connected: Connected<Mining, RustCrypto>,
        upstream: &mut Upstream,
        report: &Sender<u16>,
        shutdown: &Shutdown,
    ) -> Ended {
        loop {
            let started = async {
                shutdown.started().await;
                Ok(Turn::Closed)
            };
            let token = match or(connected.link.next(), started).await {
                Ok(Turn::Event(token)) => token,
                Ok(Turn::Room) => continue,
                Ok(Turn::Closed) => return Ended::Closed,
                Err(error) => return error.into(),
            };
            match connected.link.event(token).unwrap() {
                (Event::Secured(_), mut outbound) => {
                    outbound.send(&Software::default().setup(0, 0, &connected.host, connected.port)).unwrap();
                }
                (Event::Opened(_), _) => {
                    upstream.opened();
                    report.try_send(connected.port).unwrap();
                }
                (Event::Reconnect(message), _) => {
                    let (host, port) = reconnect_target(&message, &connected.host, connected.port).unwrap();
                    return Ended::Elsewhere { host: host.into(), port };
                }
                _ => panic!("unexpected event"),
            }
        }
    }

    #[test]
    fn a_restarted_server_is_found_again_with_growing_waits() {
        run_still(async |lab| {
            let (listener, port) = bind(0);
            let (task, opened, mut state, shutdown) = client(&lab, vec![server(port)]);
            let link = accept(&lab, &listener).await;
            assert_eq!(opened.recv().await, Ok(port));
            drop((link, listener));
            let mut waits = Vec::new();
            while waits.len() < 5 {
                state.changed().await.unwrap();
                if let UpstreamState::Waiting { wait, why, .. } = &*state.borrow_and_update() {
                    assert!(!why.is_empty());
                    waits.push(*wait);
                }
            }
            for (wait, longest) in waits.iter().zip([2, 4, 8, 16, 16]) {
                let longest = Duration::from_secs(longest);
                assert!(longest / 2 <= *wait && *wait <= longest, "{waits:?}");
            }
            let (listener, _) = bind(port);
            let _link = accept(&lab, &listener).await;
            assert_eq!(opened.recv().await, Ok(port));
            shutdown.start(Duration::ZERO);
            task.await;
            assert_eq!(*state.borrow(), UpstreamState::Stopped);
        });
    }

    /// A server that accepts and closes at once is not asked in a tight loop.
    #[test]
    fn brief_connections_do_not_reset_the_waits() {
        run_still(async |lab| {
            let (listener, port) = bind(0);
            let (_task, opened, _, _) = client(&lab, vec![server(port)]);
            let begin = lab.clock().now();
            for _ in 0..6 {
                drop(accept(&lab, &listener).await);
                opened.recv().await.unwrap();
            }
            assert!(
                lab.clock().now().saturating_since(begin) >= Duration::from_secs(1 + 2 + 4 + 8 + 8),
                "{:?}",
                lab.clock().now().saturating_since(begin)
            );
        });
    }

    /// D-RECON-1, D-RECON-2
    #[test]
    fn a_client_that_is_sent_elsewhere_goes_there_and_comes_back_when_nobody_is() {
        run_still(async |lab| {
            let (here, here_port) = bind(0);
            let (there, there_port) = bind(0);
            let (_task, opened, _, _) = client(&lab, vec![server(here_port)]);
            let mut link = accept(&lab, &here).await;
            link.outbound().unwrap().send(&Reconnect { new_host: "".into(), new_port: there_port }).unwrap();
            // Sent, and ended by the client.
            while !matches!(link.next().await, Ok(Turn::Closed)) {}
            let second = accept(&lab, &there).await;
            assert_eq!((opened.recv().await, opened.recv().await), (Ok(here_port), Ok(there_port)));
            drop((second, there));
            let _third = accept(&lab, &here).await;
            assert_eq!(opened.recv().await, Ok(here_port));
        });
    }

    #[test]
    fn the_next_server_is_tried_and_the_first_one_preferred() {
        run_still(async |lab| {
            let (first, first_port) = bind(0);
            let (second, second_port) = bind(0);
            drop(first);
            let (_task, opened, _, _) = client(&lab, vec![server(first_port), server(second_port)]);
            let link = accept(&lab, &second).await;
            assert_eq!(opened.recv().await, Ok(second_port));
            let (first, _) = bind(first_port);
            drop(link);
            let _link = accept(&lab, &first).await;
            assert_eq!(opened.recv().await, Ok(first_port));
        });
    }

    /// The wait counts from the failure, not from the last call.
    #[test]
    fn a_connect_that_is_dropped_again_and_again_waits_no_longer() {
        run_still(async |lab| {
            let (listener, port) = bind(0);
            drop(listener);
            let config = UpstreamConfig { backoff: BACKOFF, ..UpstreamConfig::new(server(port)) };
            let mut upstream = Upstream::new(config, Arc::new(LinkSettings::new(lab.clock(), 1)));
            let (mut state, shutdown) = (upstream.watch(), Shutdown::new(lab.clock()));
            let mut waits = Vec::new();
            let begin = lab.clock().now();
            while waits.len() < 3 {
                let connect = upstream.connect::<Mining, RustCrypto>(&shutdown);
                assert!(lab.clock().timeout(Duration::from_millis(10), connect).await.is_none(), "nobody is there");
                if state.has_changed().unwrap()
                    && let UpstreamState::Waiting { wait, .. } = &*state.borrow_and_update()
                {
                    waits.push(*wait);
                }
            }
            let waited: Duration = waits[..2].iter().sum();
            let off = lab.clock().now().saturating_since(begin).abs_diff(waited);
            assert!(
                off <= Duration::from_millis(100),
                "{waits:?} took {:?}",
                lab.clock().now().saturating_since(begin)
            );
        });
    }

    #[test]
    fn a_shutdown_ends_the_wait() {
        run_still(async |lab| {
            let (listener, port) = bind(0);
            drop(listener);
            let (task, _, mut state, shutdown) = client(&lab, vec![server(port)]);
            state.wait_for(|state| matches!(state, UpstreamState::Waiting { .. })).await.unwrap();
            let begin = lab.clock().now();
            shutdown.start(Duration::ZERO);
            task.await;
            assert_eq!(lab.clock().now().saturating_since(begin), Duration::ZERO);
        });
    }
}
