//! The pool's link to its template provider.

use alloc::{borrow::ToOwned, string::ToString, sync::Arc};

use futures_lite::future::or;

use super::{PoolNews, shared::Shared};
use crate::{
    connection::{Event, State as Phase, Token, reconnect_target},
    crypto::Provider as Crypto,
    error::Error,
    host::{
        Clock, Runtime,
        link::LinkError,
        shutdown::Shutdown,
        upstream::{Connected, Ended, Software, Upstream},
        wake::when,
    },
    link::Turn,
    protocol::{Protocol, TemplateDistribution},
};

/// What the task of the link wakes up to.
enum Step {
    Shutdown,
    Woken,
    Turn(Result<Turn, LinkError>),
}

/// Keeps the link until `shutdown` starts; then sends what there is, a found block say, and closes it in order.
pub(super) async fn follow<P: Crypto, R: Runtime>(
    mut upstream: Upstream<R>,
    shared: &Arc<Shared>,
    software: &Software,
    shutdown: &Shutdown<R::Clock>,
) {
    let mut insisted = false;
    while let Some(connected) = connect::<P, R>(&mut upstream, shared, shutdown, &mut insisted).await {
        let mut provider = Provider { connected, shared, software };
        let ended = provider.run(&mut upstream, shutdown).await;
        drop(provider);
        if !shutdown.is_started() || shared.lock().pool.owes_a_block() {
            upstream.ended(ended);
        }
    }
}

/// The next connection. A shutdown ends the search, but not while there is a found block that no connection has taken: then it goes on for
/// what is left of the grace, beginning with an attempt at once.
async fn connect<P: Crypto, R: Runtime>(
    upstream: &mut Upstream<R>,
    shared: &Arc<Shared>,
    shutdown: &Shutdown<R::Clock>,
    insisted: &mut bool,
) -> Option<Connected<TemplateDistribution, P, R>> {
    let connected = upstream.connect(shutdown).await;
    if connected.is_some() || !shutdown.is_started() || !shared.lock().pool.owes_a_block() {
        return connected;
    }
    if !core::mem::replace(insisted, true) {
        upstream.hurry();
    }
    upstream.insist().await
}

/// One connection to the provider. Dropping it, however that comes about, tells the pool.
struct Provider<'a, P: Crypto, R: Runtime> {
    connected: Connected<TemplateDistribution, P, R>,
    shared: &'a Arc<Shared>,
    software: &'a Software,
}

impl<P: Crypto, R: Runtime> Drop for Provider<'_, P, R> {
    fn drop(&mut self) {
        self.shared.provider_lost();
    }
}

impl<P: Crypto, R: Runtime> Provider<'_, P, R> {
    async fn run(&mut self, upstream: &mut Upstream<R>, shutdown: &Shutdown<R::Clock>) -> Ended {
        let mut closing = false;
        loop {
            if shutdown.is_started() && !closing && !self.is_owed() {
                closing = true;
                self.connected.link.close();
            }
            let link = &mut self.connected.link;
            let step = or(
                async {
                    when(!shutdown.is_started(), shutdown.started()).await;
                    Step::Shutdown
                },
                or(
                    async {
                        self.shared.provider.woken().await;
                        Step::Woken
                    },
                    async { Step::Turn(link.next().await) },
                ),
            );
            let done = match step.await {
                Step::Shutdown => Ok(()),
                Step::Woken | Step::Turn(Ok(Turn::Room)) => self.send(),
                Step::Turn(Ok(Turn::Event(token))) => self.take(token, upstream),
                Step::Turn(Ok(Turn::Closed)) => return Ended::Closed,
                Step::Turn(Err(error)) => return error.into(),
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    /// Whether the provider has something to get from us, and can or soon will: a found block waits for the connection to open, and for its tip.
    fn is_owed(&self) -> bool {
        let is_open = self.connected.link.connection().state() == Phase::Open;
        let state = self.shared.lock();
        state.pool.owes_a_block() || is_open && state.pool.provider_wants_outbound()
    }

    fn take(&mut self, token: Token, upstream: &mut Upstream<R>) -> Result<(), Ended> {
        let Connected { link, host, port } = &mut self.connected;
        let now = link.clock().now();
        let (event, mut out) = link.event(token)?;
        match event {
            Event::Secured(_) => {
                let setup = self.software.setup(TemplateDistribution::NUMBER, 0, host, *port);
                out.send(&setup).map_err(|error| Ended::Broken(error.to_string()))?;
            }
            Event::Opened(_) => {
                upstream.opened();
                self.shared.with(|state| state.pool.provider_connected());
                self.send()?;
            }
            Event::Refused(refusal) => {
                return Err(Ended::Refused(refusal.error_code.to_string()));
            }
            Event::Reconnect(message) => {
                return Err(match reconnect_target(&message, host, *port) {
                    Some((host, port)) => Ended::Elsewhere { host: host.to_owned(), port },
                    None => Ended::Broken("Reconnect to a host that is not text".into()),
                });
            }
            Event::Message(message) => {
                let handled = self.shared.with(|state| state.pool.handle_provider(now, message));
                let event = handled.map_err(|violation| Ended::Broken(violation.to_string()))?;
                if let Some(news) = event.news() {
                    self.shared.tell(|| PoolNews::Template(news));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Ended> {
        let link = &mut self.connected.link;
        if link.connection().state() != Phase::Open {
            return Ok(());
        }
        let Some(mut out) = link.outbound() else { return Ok(()) };
        // Not `with`: what is left after this stays wanted, and would wake us again at once.
        let sent = self.shared.lock().pool.poll_provider_outbound(&mut out);
        match sent {
            Ok(()) => Ok(()),
            Err(Error::Full) => {
                link.want_room();
                Ok(())
            }
            Err(error) => Err(Ended::Broken(error.to_string())),
        }
    }
}
