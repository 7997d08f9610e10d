//! A template provider: many template clients, one [`Provider`] of the core, an owner who has the node.

mod client;
mod places;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    Clock, Runtime, Spawn,
    listen::Listener,
    queue,
    serve::{ServeError, serve},
    shutdown::Shutdown,
    wake::Tasks,
    watch,
};
pub use crate::role::news::{FoundBlock, ProviderEvent, Transactions};
use crate::{
    connection::ResponderConfig,
    crypto::Provider as Crypto,
    link::LinkSettings,
    role::{
        ConnectionId,
        provider::{NewTemplate, Provider},
    },
    storage::Heap,
    template::{Constraints, Tip, book::BookError},
};
use places::Places;
pub use places::{PLACES, PLACES_OF_ALL, Place};

/// The owner's side of a provider: clones are handles on the same one.
#[derive(Clone)]
pub struct ProviderHandle<C> {
    clock: C,
    shared: Arc<Shared>,
}

/// What the owner of a provider hears.
#[derive(Debug)]
pub struct Heard {
    /// What happened.
    pub event: ProviderEvent,
    /// Of a solution: its place among those that wait. Dropping it says that there is a verdict, or that nobody looks for one.
    pub place: Option<Place>,
}

impl From<ProviderEvent> for Heard {
    fn from(event: ProviderEvent) -> Self {
        Self { event, place: None }
    }
}

struct Shared {
    state: Mutex<State>,
    wanted: watch::Sender<Option<Constraints>>,
    events: queue::Sender<Heard>,
    places: Arc<Places>,
}

struct State {
    provider: Provider<Heap>,
    tasks: Tasks,
    transactions: HashMap<u64, Arc<Transactions>>,
}

impl<C> fmt::Debug for ProviderHandle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderHandle").field("provider", &self.shared.lock().provider).finish_non_exhaustive()
    }
}

impl<C: Clock> ProviderHandle<C> {
    /// A provider without clients or templates, and where its events come out. `clock` is the one that its links have. `first_id` is above every template id that
    /// the provider used before, see [`Provider::starting_at`]. `events` is how many events wait at most; while as many
    /// do, the clients that cause them wait too, and are served in the order in which they came.
    ///
    /// Solutions take time to be judged. Who keeps the [`Place`] of each until then has [`PLACES`] of a connection at most and [`PLACES_OF_ALL`] in
    /// all, of which each address has its share, also when it comes again: nothing more is read of a client before there is a place for it. So no
    /// solution is lost, and who floods waits for himself alone.
    #[must_use]
    pub fn new(clock: C, first_id: u64, events: usize) -> (Self, queue::Receiver<Heard>) {
        let (events, receiver) = queue::channel(events);
        let state =
            State { provider: Provider::starting_at(first_id), tasks: Tasks::default(), transactions: HashMap::new() };
        let (state, wanted, places) = (Mutex::new(state), watch::Sender::new(None), Arc::default());
        let shared = Shared { state, wanted, events, places };
        (Self { clock, shared: Arc::new(shared) }, receiver)
    }

    /// A new template with its transactions; gives its id. All clients that it suits are told.
    pub fn new_template(&self, template: &NewTemplate<'_>, transactions: Transactions) -> Result<u64, BookError> {
        self.shared.with(|state| {
            let id = state.provider.new_template(template)?;
            state.transactions.insert(id, Arc::new(transactions));
            // What the book gave up for this one.
            state.transactions.retain(|id, _| state.provider.template(*id).is_some());
            Ok(id)
        })
    }

    /// A new best block: all clients are told to go on with `template_id`, a template that was added for a block to come.
    pub fn new_tip(&self, template_id: u64, tip: Tip) -> Result<(), BookError> {
        let now = self.clock.now();
        self.shared.with(|state| {
            state.provider.new_tip(now, template_id, tip)?;
            state.transactions.retain(|id, _| state.provider.template(*id).is_some());
            Ok(())
        })
    }

    /// The transactions of a template that is still known.
    #[must_use]
    pub fn transactions(&self, template_id: u64) -> Option<Arc<Transactions>> {
        self.shared.lock().transactions.get(&template_id).cloned()
    }

    /// What every template should leave room for: what is enough for each present client.
    #[must_use]
    pub fn constraints(&self) -> Constraints {
        self.shared.lock().provider.constraints()
    }

    /// What a template must leave room for that a client waits for; `None` while all are served.
    #[must_use]
    pub fn wanted(&self) -> watch::Receiver<Option<Constraints>> {
        self.shared.wanted.subscribe()
    }

    /// Number of clients.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().provider.connections()
    }
}

impl Shared {
    /// A panic under the lock left the provider in the middle of a change; whoever comes next must not go on with it.
    fn lock(&self) -> MutexGuard<'_, State> {
        match self.state.lock() {
            Ok(state) => state,
            Err(poisoned) => {
                drop(poisoned);
                panic!("the provider's state is not to be trusted after a panic")
            }
        }
    }

    /// Does something with the state, then wakes whom it concerns.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        while let Some(id) = state.provider.poll_dirty() {
            if let Some(signal) = state.tasks.get(id) {
                signal.wake();
            }
        }
        drop(state);
        self.tell_wanted();
        outcome
    }

    /// Waits for a place for the news among those that are to be heard. An owner who is gone needs none; the shutdown follows. They are boxed, or the
    /// task of each connection would have room for them at all times.
    async fn tell(&self, news: Box<Heard>) {
        if let Some(mut place) = self.events.reserve(1).await {
            let _gone = place.send(*news);
        }
    }

    /// Tells what room is wanted now. It is looked at with the value in hand, so that of two who tell, whoever is last tells what is newest.
    fn tell_wanted(&self) {
        self.wanted.send_if_modified(|known| {
            let wanted = self.state.lock().unwrap_or_else(PoisonError::into_inner).provider.wanted();
            core::mem::replace(known, wanted) != wanted
        });
    }

    /// The connection is gone. Also called while a panic unwinds, hence no panic of its own.
    fn disconnect(&self, id: ConnectionId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tasks.remove(id);
        state.provider.disconnect(id);
        drop(state);
        self.places.forget(id);
        // The room that it alone waited for is wanted no more.
        self.tell_wanted();
    }
}

/// Serves template clients at all listeners until the shutdown is over, each in a task of its own. Each connection takes the newest configuration when it is
/// accepted, so that certificates are renewed while it serves.
///
/// When it starts, clients are told what they were not told yet, then each link is closed in order. Dropping the future drops
/// all connections.
pub async fn serve_provider<P: Crypto, R: Runtime>(
    spawn: impl Spawn,
    listeners: Vec<Listener<R>>,
    responder: watch::Receiver<Arc<ResponderConfig>>,
    settings: Arc<LinkSettings<R::Clock>>,
    handle: ProviderHandle<impl Clock>,
    shutdown: Shutdown<impl Clock>,
) -> Result<(), ServeError> {
    serve(&spawn, listeners, &shutdown, |accepted, signal| {
        client::run::<P, R>(
            accepted,
            signal,
            Arc::clone(&responder.borrow()),
            Arc::clone(&settings),
            Arc::clone(&handle.shared),
        )
    })
    .await
}
