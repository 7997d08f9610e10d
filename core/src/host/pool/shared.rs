//! The pool behind its mutex, and who is to be woken after each look at it.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_broadcast::InactiveReceiver;
use futures_lite::future::or;

use super::{AcceptedShare, PoolNews};
use crate::{
    host::{
        Clock,
        wake::{Signal, Tasks},
    },
    role::{
        ConnectionId,
        pool::{Policy, Pool, PoolEvent},
    },
    storage::Heap,
    time::{Instant, UnixTime},
};

/// What the mutex guards.
pub(super) struct State {
    pub(super) pool: Pool<Heap>,
    pub(super) policy: Box<dyn Policy + Send>,
    pub(super) tasks: Tasks,
    /// Names by account, which is a place in the pool's list, so that a share takes its user's along without an allocation.
    names: Vec<Option<Arc<[u8]>>>,
    /// All tickets up to this one are stored.
    stored: u64,
    /// Clients were sent elsewhere.
    left: bool,
    /// When the task of timers wakes by itself.
    armed: Option<Instant>,
}

impl State {
    pub(super) fn new(pool: Pool<Heap>, policy: Box<dyn Policy + Send>) -> Self {
        let stored = pool.shared().last_ticket();
        let (tasks, names) = (Tasks::default(), Vec::new());
        Self { pool, policy, tasks, names, stored, left: false, armed: None }
    }

    /// All shares up to this ticket are stored.
    pub(super) fn stored(&mut self, ticket: u64) {
        self.pool.stored(ticket);
        self.stored = self.stored.max(ticket);
    }

    /// Whether the share with this ticket is stored, and everybody told who waits for it.
    pub(super) fn is_stored(&self, ticket: u64) -> bool {
        ticket <= self.stored
    }

    /// The name of an account, as it is at present: a place may have gone to someone else.
    pub(super) fn name(&mut self, account: u64) -> Arc<[u8]> {
        let Some(user) = self.pool.user(account) else { return Arc::default() };
        // There is a user, so the account is below their bound.
        let place = usize::try_from(account).unwrap_or_default();
        if self.names.len() <= place {
            self.names.resize(place + 1, None);
        }
        match self.names.get_mut(place) {
            Some(Some(known)) if **known == *user.name() => Arc::clone(known),
            Some(other) => Arc::clone(other.insert(user.name().into())),
            None => user.name().into(),
        }
    }

    /// What is told of a client's message.
    pub(super) fn news(&mut self, event: PoolEvent, at: UnixTime) -> PoolNews {
        match event {
            PoolEvent::Share(share) => {
                let user = self.name(share.account);
                PoolNews::Share(AcceptedShare::new(&self.pool, share, user, at))
            }
            PoolEvent::Rejected { connection, rejection } => {
                let server = self.pool.connection(connection);
                let account =
                    server.and_then(|server| server.channel(rejection.channel_id)).map(|channel| channel.account());
                let user = account.map_or_else(Arc::default, |account| self.name(account));
                PoolNews::Rejected { connection, rejection, user }
            }
            event => PoolNews::Downstream(event),
        }
    }
}

/// What all tasks of a pool share.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) news: async_broadcast::Sender<PoolNews>,
    /// Keeps the news going while nobody listens.
    _no_listener: InactiveReceiver<PoolNews>,
    /// Tells the provider's task that there is something to send.
    pub(super) provider: Signal,
    /// Tells the task of timers that an earlier deadline has come up.
    timers: Signal,
}

impl Shared {
    pub(super) fn new(state: State, news: usize) -> Self {
        let (mut sender, listener) = async_broadcast::broadcast(news.max(1));
        // Who falls behind misses the oldest.
        sender.set_overflow(true);
        Self {
            state: Mutex::new(state),
            news: sender,
            _no_listener: listener.deactivate(),
            provider: Signal::default(),
            timers: Signal::default(),
        }
    }

    /// A panic under the lock left the pool in the middle of a change; whoever comes next must not go on with it.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        match self.state.lock() {
            Ok(state) => state,
            Err(poisoned) => {
                drop(poisoned);
                panic!("the pool's state is not to be trusted after a panic")
            }
        }
    }

    /// Does something with the state, then wakes whom it concerns.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        self.wake(&mut state);
        outcome
    }

    fn wake(&self, state: &mut State) {
        if state.pool.provider_wants_outbound() {
            self.provider.wake();
        }
        while let Some(id) = state.pool.poll_dirty() {
            if let Some(signal) = state.tasks.get(id) {
                signal.wake();
            }
        }
        let next = state.pool.poll_timeout();
        if next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            state.armed = next;
            self.timers.wake();
        }
    }

    /// The connection is gone. Also called while a panic unwinds, hence no panic of its own.
    pub(super) fn disconnect(&self, id: ConnectionId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tasks.remove(id);
        state.pool.disconnect(id);
    }

    /// The provider's link is gone. As for [`Self::disconnect`].
    pub(super) fn provider_lost(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pool.provider_lost();
    }

    pub(super) fn stored(&self, ticket: u64) {
        self.with(|state| state.stored(ticket));
    }

    /// Sends all clients elsewhere, once.
    pub(super) fn leave(&self, host: &str, port: u16) {
        self.with(|state| {
            if !core::mem::replace(&mut state.left, true) && !state.pool.reconnect_all(host, port) {
                tracing::error!(host, "clients can't be sent to a host with a name of more than 255 bytes");
            }
        });
    }

    /// Whether anybody listens.
    pub(super) fn is_heard(&self) -> bool {
        self.news.receiver_count() > 0
    }

    /// Tells everybody who listens; costs nothing when nobody does.
    pub(super) fn tell(&self, news: impl FnOnce() -> PoolNews) {
        if self.is_heard() {
            // The last one may have left meanwhile.
            let _nobody = self.news.try_broadcast(news());
        }
    }

    /// Serves the pool's time limits. Cancel-safe.
    pub(super) async fn run_timers<C: Clock>(&self, clock: &C) -> Infallible {
        loop {
            let next = {
                let mut state = self.lock();
                let now = clock.now();
                while let Some(idle) = state.pool.handle_timeout(now) {
                    if let Some(signal) = state.tasks.get(idle) {
                        signal.close();
                    }
                }
                self.wake(&mut state);
                state.armed = state.pool.poll_timeout();
                state.armed
            };
            match next {
                None => self.timers.woken().await,
                Some(at) => or(clock.sleep_until(at), self.timers.woken()).await,
            }
        }
    }
}
