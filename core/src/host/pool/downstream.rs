//! One device's or proxy's connection.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::net::SocketAddr;

use concurrent_queue::ConcurrentQueue;

use super::{
    AcceptedShare, PoolNews,
    shared::Shared,
    store::{Room, Store},
};
use crate::{
    config::{ANSWER_ROOM, SHARE_BATCH_HEAP},
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
    message::mining::SetupFlags,
    mining::{
        lanes::Hasher,
        server::{ANSWER_LEN, ShareBatch, Submitted},
    },
    protocol::{Mining, Responder},
    role::{
        ConnectionId,
        pool::{PoolError, PoolEvent},
    },
    storage::Heap,
    time::Instant,
    wire::Revision,
};

/// Benches that are kept while nobody is at them. More than there are threads are never in use.
const BENCHES: usize = 64;

/// What all downstream connections have in common.
pub(super) struct Port<C, T> {
    shared: Arc<Shared>,
    store: Store<T>,
    links: Arc<LinkSettings<C>>,
    reconnect: Option<(String, u16)>,
    hasher: Arc<dyn Hasher>,
    /// Where shares are checked, between two waits only: so each thread has one in use at most.
    benches: ConcurrentQueue<Box<Bench<T>>>,
}

impl<C, T> Port<C, T> {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Store<T>,
        links: Arc<LinkSettings<C>>,
        reconnect: Option<(String, u16)>,
        hasher: Arc<dyn Hasher>,
    ) -> Self {
        Self { shared, store, links, reconnect, hasher, benches: ConcurrentQueue::bounded(BENCHES) }
    }
}

struct Bench<T> {
    batch: ShareBatch<Heap>,
    /// On their way to the store.
    accepted: Vec<T>,
    /// What is to be told when the lock is free again.
    news: Vec<PoolNews>,
}

impl<T> Default for Bench<T> {
    fn default() -> Self {
        Self { batch: ShareBatch::default(), accepted: Vec::new(), news: Vec::new() }
    }
}

/// A client that has finished its setup. Dropping it, however that comes about, takes it from the pool.
struct Registered {
    shared: Arc<Shared>,
    id: ConnectionId,
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

struct Downstream<P: Crypto, R: Runtime> {
    link: Link<Responder, Mining, P, R::Stream, R::Clock>,
    revision: Revision,
    signal: Arc<Signal>,
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
    /// What has arrived is still taken, but not what the peer goes on to send.
    Arrived,
    /// Nothing more is taken; accepted shares wait for the store and their acknowledgement.
    Acknowledging,
    /// The link is closing.
    Closing,
}

pub(super) async fn run<P, R, T>(
    accepted: Accepted<R>,
    signal: Arc<Signal>,
    responder: Arc<ResponderConfig>,
    port: Arc<Port<R::Clock, T>>,
) where
    P: Crypto,
    R: Runtime,
    T: From<AcceptedShare>,
{
    let (peer, revision) = (accepted.peer, responder.revision);
    let (link, mut admission) = match respond::<Mining, P, R>(accepted, &responder, &port.links) {
        Ok(joined) => joined,
        Err(error) => return tracing::error!(%peer, %error, "connection dropped"),
    };
    drop(responder);
    let mut downstream = Downstream::<P, R> { link, revision, signal, registered: None, ticket: 0, ending: Ending::No };
    let broken = loop {
        let Downstream { link, signal, ending, .. } = &mut downstream;
        let done = match next(link, signal, &port.links.clock, *ending == Ending::Arrived).await {
            Next::Woken => {
                downstream.leave(&port);
                downstream.send(&port)
            }
            Next::Turn(turn) => match turn {
                Ok(Turn::Event(token)) => {
                    let done = downstream.take(&port, token).await;
                    if downstream.registered.is_some() {
                        admission.established();
                    }
                    done
                }
                Ok(Turn::Room) => downstream.send(&port),
                Ok(Turn::Closed) => return,
                Err(error) => Err(error.into()),
            },
            Next::Settled => {
                downstream.link.stop_listening();
                downstream.ending = Ending::Acknowledging;
                downstream.send(&port)
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

impl<P: Crypto, R: Runtime> Downstream<P, R> {
    /// Begins to end when the shutdown has started.
    fn leave<T>(&mut self, port: &Port<R::Clock, T>) {
        if self.ending != Ending::No || !self.signal.is_shutdown() {
            return;
        }
        self.ending = Ending::Arrived;
        self.link.read_what_arrived();
        if let Some((host, number)) = &port.reconnect {
            port.shared.leave(host, *number);
        }
        if self.registered.is_none() {
            // Nothing is owed to someone who has not finished the setup.
            self.ending = Ending::Closing;
            self.link.close();
        }
    }

    /// Takes an event of the link, and with a share those that are there behind it. Only shares wait for the store, and only while its
    /// queue is full.
    async fn take<T: From<AcceptedShare>>(&mut self, port: &Port<R::Clock, T>, token: Token) -> Result<(), Broken> {
        let now = self.link.now();
        let Some(share) = self.handle(now, port, token)? else { return Ok(()) };
        // What comes behind a share that had to wait is as late as the share.
        let (room, now) = if let Some(room) = port.store.try_reserve(SHARE_BATCH_HEAP) {
            (room, now)
        } else {
            let room = port.store.reserve(SHARE_BATCH_HEAP).await.ok_or(Broken::Store)?;
            (room, port.links.clock.now())
        };
        let mut bench = port.benches.pop().unwrap_or_default();
        let behind = self.check(now, port, share, room, &mut bench);
        let _enough = port.benches.push(bench);
        match behind? {
            Some(token) => self.handle(now, port, token).map(drop),
            None => Ok(()),
        }
    }

    /// All that can be done of an event without the store; gives what is a share.
    fn handle<T>(&mut self, now: Instant, port: &Port<R::Clock, T>, token: Token) -> Result<Option<Submitted>, Broken> {
        let (shared, links, peer) = (&port.shared, &port.links, self.link.peer());
        match self.link.event(token)? {
            (Event::Opened(setup), _) => {
                let (revision, flags) = (self.revision, SetupFlags::from_bits(setup.flags));
                let registered = shared.with(|state| {
                    let id = state.pool.connect(now, revision, flags)?;
                    state.tasks.add(id, &self.signal);
                    Ok(Registered { shared: Arc::clone(shared), id, peer })
                });
                let registered = self.registered.insert(registered.map_err(Broken::Pool)?);
                shared.tell(|| PoolNews::Connected { connection: registered.id, peer });
            }
            (Event::Message(message), mut out) => {
                let Some(registered) = &self.registered else { return Ok(None) };
                if let Some(share) = Submitted::of(&message) {
                    return Ok(Some(share.detached()));
                }
                let (at, heard) = (links.clock.wall(), shared.is_heard());
                let news = shared.with(|state| {
                    let event = state.pool.handle(now, registered.id, &message, &mut state.policy, &mut out)?;
                    Ok((heard && event != PoolEvent::Nothing).then(|| state.news(event, at)))
                });
                if let Some(news) = news.map_err(Broken::Pool)? {
                    shared.tell(|| news);
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Checks a share and those that are there behind it, in as few locks, and gives what came behind them. Their hashes are worked out in
    /// lanes outside of the lock; accepted ones are queued for the store under the lock that gave them their tickets, so that tickets
    /// rise in the queue.
    fn check<T: From<AcceptedShare>>(
        &mut self,
        now: Instant,
        port: &Port<R::Clock, T>,
        first: Submitted,
        mut room: Room<'_, T>,
        bench: &mut Bench<T>,
    ) -> Result<Option<Token>, Broken> {
        let Some(registered) = &self.registered else { return Ok(None) };
        let id = registered.id;
        let Bench { batch, accepted, news } = bench;
        batch.clear();
        let _empty = batch.push(first);
        let (mut behind, mut failed) = (None, None);
        // What comes behind them must have room for its answer, too.
        let most = room.len().min(self.link.answer().room().saturating_sub(ANSWER_ROOM) / ANSWER_LEN);
        while batch.len() < most
            && let Some(token) = self.link.next_buffered()
        {
            if !self.link.connection().header().is_some_and(|header| Submitted::is(header, self.revision)) {
                behind = Some(token);
                break;
            }
            match self.link.event(token) {
                Ok((Event::Message(message), _)) => {
                    // There is room: `most` is not above the batch's bound.
                    let _full = Submitted::of(&message).map(|share| batch.push(share).is_err());
                }
                Ok(_) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let (shared, hasher) = (&port.shared, &*port.hasher);
        // Nobody is to be woken by this half.
        let begun = shared.lock().pool.begin_batch(now, id, batch);
        batch.hash(|path, ids| hasher.fold_paths(path, ids), |headers, hashes| hasher.hash_headers(headers, hashes));
        let mut outcome = Ok(());
        // News that the store makes have no claim to the room that is left for answers: else a peer that sends before it reads would be kept from
        // sending. What came behind the shares needs the room for its answer, too.
        let may_tell = behind.is_none() && self.link.outbound().is_some();
        let (mut out, ticket, heard) = (self.link.answer(), &mut self.ticket, shared.is_heard());
        let at = port.links.clock.wall();
        shared.with(|state| {
            while let Some(concluded) = state.pool.conclude_next(now, id, batch, &mut out) {
                match concluded {
                    Ok(event) => {
                        if let PoolEvent::Share(share) = event {
                            *ticket = share.ticket;
                            let user = state.name(share.account);
                            let share = AcceptedShare::new(&state.pool, share, user, at);
                            if heard {
                                news.push(PoolNews::Share(share.clone()));
                            }
                            accepted.push(share.into());
                        } else if heard {
                            news.push(state.news(event, at));
                        }
                    }
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
            if !accepted.is_empty() && room.put(accepted.drain(..)) {
                state.stored(*ticket);
                if may_tell {
                    // For want of room the rest is sent when all of this has left: it stays wanted, which wakes us.
                    let _full = state.pool.poll_outbound(id, &mut out);
                }
            }
        });
        // The store hears of them.
        drop(room);
        for news in news.drain(..) {
            shared.tell(|| news);
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        begun.and(outcome).map_err(Broken::Pool)?;
        Ok(behind)
    }

    /// Sends what there is, and goes on with the end when that is due.
    fn send<T>(&mut self, port: &Port<R::Clock, T>) -> Result<(), Broken> {
        let Some(registered) = &self.registered else { return Ok(()) };
        if self.signal.is_to_close() && self.ending != Ending::Closing {
            self.ending = Ending::Closing;
            self.link.close();
        }
        if self.link.connection().state() != Phase::Open {
            return Ok(());
        }
        // Without room for anything unasked `Turn::Room` brings us back.
        let Some(mut out) = self.link.outbound() else { return Ok(()) };
        let (sent, settled) = port.shared.with(|state| {
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
