//! One device's or proxy's connection.

use std::{net::SocketAddr, pin::pin, sync::Arc};

use adit::{
    connection::{Event, ResponderConfig, State as Phase, Token},
    crypto::Provider as Crypto,
    error::Error,
    message::mining::SetupFlags,
    protocol::{Mining, Responder},
    role::{
        ConnectionId,
        pool::{Begun, PendingShare, PoolError, PoolEvent},
    },
    wire::Revision,
};
use futures_lite::future::{or, yield_now};

use super::{AcceptedShare, PoolNews, shared::Shared};
use crate::{
    link::{Link, LinkError, LinkSettings, Turn},
    listen::Accepted,
    queue,
    serve::{log_failure, respond},
    shutdown::Shutdown,
    stream::Stream,
    wake::{Task, when, woken},
};

/// What all downstream connections have in common.
pub(super) struct Port<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) shares: queue::Sender<T>,
    pub(super) links: Arc<LinkSettings>,
    pub(super) shutdown: Shutdown,
    pub(super) reconnect: Option<(String, u16)>,
}

/// A client that has finished its setup. Dropping it, however that comes about, takes it from the pool.
struct Registered {
    shared: Arc<Shared>,
    id: ConnectionId,
    task: Arc<Task>,
    peer: SocketAddr,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.disconnect(self.id);
        self.shared.tell(|| PoolNews::Disconnected { connection: self.id, peer: self.peer });
    }
}

/// Why a connection ends early.
enum Broken {
    Link(LinkError),
    /// A limit of the pool's.
    Pool(PoolError),
    /// The share store is gone; the pool is about to end.
    Store,
}

impl From<LinkError> for Broken {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// What the task of a connection wakes up to.
enum Step {
    Shutdown,
    Woken,
    Turn(Result<Turn, LinkError>),
    /// Nothing else was there to do.
    Settled,
}

struct Downstream<P: Crypto, T> {
    link: Link<Responder, Mining, P, Stream>,
    revision: Revision,
    port: Arc<Port<T>>,
    registered: Option<Registered>,
    /// Of the last share that was accepted here.
    ticket: u64,
    ending: Ending,
}

/// The way to an orderly end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Not yet.
    No,
    /// What has arrived is still taken.
    Arrived,
    /// Nothing more is taken; accepted shares wait for the store and their acknowledgement.
    Acknowledging,
    /// The link is closing.
    Closing,
}

pub(super) async fn run<P, T>(accepted: Accepted, responder: Arc<ResponderConfig>, port: Arc<Port<T>>)
where
    P: Crypto,
    T: From<AcceptedShare>,
{
    let (peer, revision) = (accepted.peer, responder.revision);
    let (link, mut admission) = match respond::<Mining, P>(accepted, &responder, &port.links) {
        Ok(joined) => joined,
        Err(error) => return tracing::error!(%peer, %error, "connection dropped"),
    };
    drop(responder);
    let mut downstream = Downstream { link, revision, port, registered: None, ticket: 0, ending: Ending::No };
    // One for all turns, so that turns do not queue for the shutdown.
    let port = Arc::clone(&downstream.port);
    let mut started = pin!(port.shutdown.started());
    let broken = loop {
        let Downstream { link, registered, ending, .. } = &mut downstream;
        let task = registered.as_ref().map(|registered| &*registered.task);
        let step = or(
            async {
                when(*ending == Ending::No, &mut started).await;
                Step::Shutdown
            },
            or(
                async {
                    woken(task).await;
                    Step::Woken
                },
                or(async { Step::Turn(link.next().await) }, async {
                    when(*ending == Ending::Arrived, yield_now()).await;
                    Step::Settled
                }),
            ),
        );
        let done = match step.await {
            Step::Shutdown => {
                downstream.leave();
                Ok(())
            }
            Step::Woken => downstream.send(),
            Step::Turn(turn) => match turn {
                Ok(Turn::Event(token)) => {
                    let done = downstream.take(token).await;
                    if downstream.registered.is_some() {
                        admission.established();
                    }
                    done
                }
                Ok(Turn::Room) => downstream.send(),
                Ok(Turn::Closed) => return,
                Err(error) => Err(error.into()),
            },
            Step::Settled => {
                downstream.link.stop_listening();
                downstream.ending = Ending::Acknowledging;
                downstream.send()
            }
        };
        if let Err(broken) = done {
            break broken;
        }
    };
    match broken {
        Broken::Link(error) => log_failure(&error),
        Broken::Pool(error) => tracing::debug!(%peer, %error, "connection closed"),
        Broken::Store => {}
    }
}

impl<P: Crypto, T: From<AcceptedShare>> Downstream<P, T> {
    /// The shutdown has started.
    fn leave(&mut self) {
        self.ending = Ending::Arrived;
        if let Some((host, port)) = &self.port.reconnect {
            self.port.shared.leave(host, *port);
        }
        if self.registered.is_none() {
            // Nothing is owed to someone who has not finished the setup.
            self.ending = Ending::Closing;
            self.link.close();
        }
    }

    /// Takes an event of the link. Only a share waits for the store, and only while its queue is full.
    async fn take(&mut self, token: Token) -> Result<(), Broken> {
        let Some(pending) = self.begin(token)? else { return Ok(()) };
        let port = Arc::clone(&self.port);
        let place = port.shares.reserve().await.ok_or(Broken::Store)?;
        let event = self.conclude(&pending, place)?;
        port.shared.tell(|| PoolNews::Downstream(event));
        Ok(())
    }

    /// All that can be done of an event without the store; what is left is a share whose header is to be hashed.
    fn begin(&mut self, token: Token) -> Result<Option<PendingShare>, Broken> {
        let shared = &self.port.shared;
        let (peer, now) = (self.link.peer(), self.link.clock().now());
        match self.link.event(token)? {
            (Event::Opened(setup), _) => {
                let (revision, flags) = (self.revision, SetupFlags::from_bits(setup.flags));
                let registered = shared.with(|state| {
                    let id = state.pool.connect(now, revision, flags)?;
                    let task = state.tasks.add(id);
                    Ok(Registered { shared: Arc::clone(shared), id, task, peer })
                });
                let registered = self.registered.insert(registered.map_err(Broken::Pool)?);
                shared.tell(|| PoolNews::Connected { connection: registered.id, peer });
                Ok(None)
            }
            (Event::Message(message), mut out) => {
                let Some(registered) = &self.registered else { return Ok(None) };
                let begun = shared
                    .with(|state| state.pool.begin(now, registered.id, &message, &mut state.policy, &mut out))
                    .map_err(Broken::Pool)?;
                match begun {
                    Begun::Share(pending) => Ok(Some(pending)),
                    Begun::Done(event) => {
                        if event != PoolEvent::Nothing {
                            shared.tell(|| PoolNews::Downstream(event));
                        }
                        Ok(None)
                    }
                }
            }
            _ => Ok(None),
        }
    }

    /// The second half of a share: hashed outside of the lock; an accepted one is queued for the store under the lock that gave it its
    /// ticket, so that tickets rise in the queue.
    fn conclude(&mut self, pending: &PendingShare, place: queue::Place<'_, T>) -> Result<PoolEvent, Broken> {
        let clock = self.link.clock().clone();
        let hash = pending.header().hash();
        let mut out = self.link.answer();
        let concluded = self.port.shared.with(|state| {
            let event = state.pool.conclude(clock.now(), pending, &hash, &mut out)?;
            if let PoolEvent::Share(share) = event {
                let user = state.name(share.account);
                place.send(AcceptedShare { share, user, at: clock.wall() }.into());
            }
            Ok(event)
        });
        let event = concluded.map_err(Broken::Pool)?;
        if let PoolEvent::Share(share) = &event {
            self.ticket = share.ticket;
        }
        Ok(event)
    }

    /// Sends what there is, and goes on with the end when that is due.
    fn send(&mut self) -> Result<(), Broken> {
        let Some(registered) = &self.registered else { return Ok(()) };
        if registered.task.is_to_close() && self.ending != Ending::Closing {
            self.ending = Ending::Closing;
            self.link.close();
        }
        if self.link.connection().state() != Phase::Open {
            return Ok(());
        }
        // Without room for anything unasked `Turn::Room` brings us back.
        let Some(mut out) = self.link.outbound() else { return Ok(()) };
        let (sent, settled) = self.port.shared.with(|state| {
            let sent = state.pool.poll_outbound(registered.id, &mut out);
            (sent, state.is_stored(self.ticket))
        });
        match sent {
            Ok(()) if settled && self.ending == Ending::Acknowledging => {
                self.ending = Ending::Closing;
                self.link.close();
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(Error::Full) => {
                self.link.want_room();
                Ok(())
            }
            Err(error) => Err(Broken::Pool(error.into())),
        }
    }
}
