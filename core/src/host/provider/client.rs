//! One template client's connection.

use alloc::{
    boxed::Box,
    collections::VecDeque,
    string::{String, ToString},
    sync::Arc,
};

use super::{Heard, ProviderEvent, Shared, Transactions};
use crate::{
    connection::{Event, ResponderConfig, State as Phase, Token},
    crypto::Provider as Crypto,
    error::Error,
    host::{
        Clock, Runtime,
        link::{Link, LinkError},
        listen::Accepted,
        serve::{Next, log_failure, next, respond},
        wake::Signal,
    },
    link::{LinkSettings, Turn},
    protocol::{Responder, TemplateDistribution},
    role::ConnectionId,
    template::server::Request,
    wire::Revision,
};

/// Questions for transactions that a client may have open; each answer may be megabytes.
const MOST_OWED: usize = 8;

/// A client that has finished its setup. Dropping it, however that comes about, takes it from the provider.
struct Registered {
    shared: Arc<Shared>,
    id: ConnectionId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.disconnect(self.id);
    }
}

/// Why a client's connection ends early.
enum Broken {
    Link(LinkError),
    /// A rule of the sub-protocol, or a limit of ours.
    Rule(String),
}

impl From<LinkError> for Broken {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

struct Client<P: Crypto, R: Runtime> {
    link: Link<Responder, TemplateDistribution, P, R::Stream, R::Clock>,
    signal: Arc<Signal>,
    registered: Option<Registered>,
    /// Templates whose transactions are still to be sent.
    owed: VecDeque<u64>,
    ending: Ending,
}

/// The way to an orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Not yet.
    No,
    /// What has arrived is still taken, a found block say, but not what the peer goes on to send.
    Arrived,
    /// The link is closing.
    Closing,
}

pub(super) async fn run<P: Crypto, R: Runtime>(
    accepted: Accepted<R>,
    signal: Arc<Signal>,
    config: Arc<ResponderConfig>,
    settings: Arc<LinkSettings<R::Clock>>,
    shared: Arc<Shared>,
) {
    let (peer, revision) = (accepted.peer, config.revision);
    let (link, mut admission) = match respond::<TemplateDistribution, P, R>(accepted, &config, &settings) {
        Ok(joined) => joined,
        Err(error) => return tracing::error!(%peer, %error, "connection dropped"),
    };
    drop(config);
    let mut client = Client::<P, R> { link, signal, registered: None, owed: VecDeque::new(), ending: Ending::No };
    loop {
        let may_go_on = client.hold_back(&shared);
        let Client { link, signal, ending, .. } = &mut client;
        let settling = *ending == Ending::Arrived && may_go_on;
        let turn = match next(link, signal, &settings.clock, settling).await {
            Next::Woken => {
                if client.signal.is_shutdown() && client.ending == Ending::No {
                    client.ending = Ending::Arrived;
                    client.link.read_what_arrived();
                }
                client.send(&shared)
            }
            Next::Turn(turn) => match turn {
                Ok(Turn::Event(token)) => match client.handle(token, revision, &shared) {
                    Ok(Some(heard)) => {
                        if matches!(heard.event, ProviderEvent::Connected(_)) {
                            admission.established();
                        }
                        shared.tell(heard).await;
                        Ok(())
                    }
                    Ok(None) => Ok(()),
                    Err(broken) => Err(broken),
                },
                Ok(Turn::Room) => client.send(&shared),
                Ok(Turn::Closed) => break,
                Err(error) => Err(error.into()),
            },
            Next::Settled => {
                client.ending = Ending::Closing;
                client.send(&shared).map(|()| client.link.close())
            }
        };
        match turn {
            Ok(()) => {}
            Err(Broken::Link(error)) => {
                log_failure(&error);
                break;
            }
            Err(Broken::Rule(rule)) => {
                tracing::debug!(%peer, %rule, "connection closed");
                break;
            }
        }
    }
    let known = client.registered.is_some();
    drop(client);
    if known {
        shared.tell(Box::new(ProviderEvent::Disconnected(peer).into())).await;
    }
}

impl<P: Crypto, R: Runtime> Client<P, R> {
    /// Takes nothing more of a client while no place is left to its solutions; what it sends meanwhile waits in its socket. A place that comes free wakes
    /// this task. Whether more is taken.
    fn hold_back(&mut self, shared: &Shared) -> bool {
        let Some(Registered { id, .. }) = self.registered else { return true };
        if self.ending == Ending::Closing || self.link.connection().state() != Phase::Open {
            return true;
        }
        let peer = self.link.peer();
        let may_take = shared.places.may_take(id, peer.ip(), &self.signal);
        if may_take {
            self.link.listen_again();
        } else {
            self.link.stop_listening();
            if shared.places.is_first_time(peer.ip()) {
                tracing::warn!(
                    %peer,
                    "a template client's solutions come faster than they are judged; nothing more is read of its address before some are"
                );
            }
        }
        may_take
    }

    /// Takes an event of the link, and says what the owner is to be told.
    fn handle(&mut self, token: Token, revision: Revision, shared: &Arc<Shared>) -> Result<Option<Box<Heard>>, Broken> {
        let (peer, now) = (self.link.peer(), self.link.clock().now());
        let (event, mut out) = self.link.event(token)?;
        match event {
            Event::Opened(_) => {
                let registered = shared.with(|state| {
                    let id = state.provider.connect(revision).ok()?;
                    state.tasks.add(id, &self.signal);
                    Some(Registered { shared: Arc::clone(shared), id })
                });
                self.registered = Some(registered.ok_or_else(|| Broken::Rule("too many clients".into()))?);
                Ok(Some(Box::new(ProviderEvent::Connected(peer).into())))
            }
            Event::Message(message) => {
                let Some(registered) = &self.registered else { return Ok(None) };
                let request = shared.with(|state| state.provider.handle(now, registered.id, message, &mut out));
                match request {
                    Ok(Some(Request::Transactions(template_id))) => {
                        if self.owed.len() >= MOST_OWED {
                            return Err(Broken::Rule("too many open questions for transactions".into()));
                        }
                        self.owed.push_back(template_id);
                        self.link.want_room();
                        Ok(None)
                    }
                    Ok(request) => Ok(request.and_then(|request| ProviderEvent::of(peer, request)).map(|event| {
                        let is_solution = matches!(event, ProviderEvent::Solution(_));
                        let place = is_solution.then(|| shared.places.take(registered.id, peer.ip()));
                        Box::new(Heard { event, place })
                    })),
                    Err(error) => Err(Broken::Rule(error.to_string())),
                }
            }
            _ => Ok(None),
        }
    }

    /// Sends what there is, templates and tips before transactions.
    fn send(&mut self, shared: &Shared) -> Result<(), Broken> {
        let Some(registered) = &self.registered else { return Ok(()) };
        if self.link.connection().state() != Phase::Open {
            return Ok(());
        }
        // Without room for anything unasked `Turn::Room` brings us back.
        let Some(mut out) = self.link.outbound() else { return Ok(()) };
        let mut sent = shared.with(|state| state.provider.poll_outbound(registered.id, &mut out));
        while sent.is_ok()
            && let Some(template_id) = self.owed.front().copied()
        {
            let transactions = shared.lock().transactions.get(&template_id).cloned();
            // Outside of the lock.
            sent = Transactions::answer(transactions.as_deref(), template_id, &mut out);
            if sent.is_ok() {
                self.owed.pop_front();
            }
        }
        match sent {
            Ok(()) => Ok(()),
            Err(Error::Full) => {
                self.link.want_room();
                Ok(())
            }
            Err(error) => Err(Broken::Rule(error.to_string())),
        }
    }
}
