//! A pool: many devices and proxies downstream, a template provider upstream, one [`Pool`] of the core behind a mutex.
//!
//! The mutex is held for microseconds: handshakes, opening of records and hashing of shares go on outside of it, on as many
//! cores as there are. Accepted shares leave for the [`Store`] in the order of their tickets, and are acknowledged when they are stored.

mod downstream;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod upstream;

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{fmt, panic::AssertUnwindSafe};

pub use crate::role::{
    news::{AcceptedShare, KeptBlock, PoolNews},
    pool::TemplateNews,
};
use futures_lite::{
    FutureExt,
    future::{or, try_zip},
};

use super::{
    Clock, Runtime, Spawn,
    listen::Listener,
    serve::{ServeError, serve},
    shutdown::Shutdown,
    upstream::{Software, Upstream},
    watch,
};
use crate::{
    connection::{ResponderConfig, SetupPolicy},
    crypto::Provider as Crypto,
    link::LinkSettings,
    mining::lanes::Hasher,
    role::pool::{Policy, Pool, PoolStatistics},
    storage::Heap,
    time::Instant,
};
use shared::{Shared, State};
pub use store::Store;

/// The owner's side of a pool: clones are handles on the same one.
#[derive(Clone)]
pub struct PoolHandle {
    shared: Arc<Shared>,
}

impl fmt::Debug for PoolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolHandle").field("pool", &self.shared.lock().pool).finish()
    }
}

impl PoolHandle {
    /// Takes a pool that is configured and has its users restored. `news` is how many news a subscriber may be behind before it misses
    /// some.
    #[must_use]
    pub fn new(pool: Pool<Heap>, policy: impl Policy + Send + 'static, news: usize) -> Self {
        Self { shared: Arc::new(Shared::new(State::new(pool, Box::new(policy)), news)) }
    }

    /// All shares up to this ticket are stored, so that their devices are told. Quick; may be called from any thread.
    pub fn stored(&self, ticket: u64) {
        self.shared.stored(ticket);
    }

    /// What happens from now on, for logs and views. A subscriber that falls behind misses the oldest news and hears how many; shares for
    /// the books come through the store's channel instead.
    #[must_use]
    pub fn subscribe(&self) -> async_broadcast::Receiver<PoolNews> {
        self.shared.news.new_receiver()
    }

    /// Counts of this run; `now` is for the hash rate.
    #[must_use]
    pub fn statistics(&self, now: Instant) -> PoolStatistics {
        self.shared.lock().pool.statistics(now)
    }

    /// Looks at the pool, or changes its settings. All connections wait meanwhile, so `look` must be quick.
    pub fn with<T>(&self, look: impl FnOnce(&mut Pool<Heap>) -> T) -> T {
        self.shared.with(|state| look(&mut state.pool))
    }

    /// How the mining port answers `SetupConnection`, for its [`ResponderConfig`].
    #[must_use]
    pub fn setup_policy(&self) -> SetupPolicy {
        let state = self.shared.lock();
        let config = state.pool.config();
        SetupPolicy::new(config.supported_flags().bits()).answering(config.success_flags().bits())
    }
}

/// All that [`serve_pool`] joins.
pub struct PoolSetup<R: Runtime> {
    /// Where devices connect.
    pub listeners: Vec<Listener<R>>,
    /// How the pool answers them; its `setup` is [`PoolHandle::setup_policy`]. Each connection takes the newest when it is accepted,
    /// so that certificates are renewed while the pool serves.
    pub responder: watch::Receiver<Arc<ResponderConfig>>,
    /// Clock, buffers and limits of their links.
    pub links: Arc<LinkSettings<R::Clock>>,
    /// How shares are hashed.
    pub hasher: Arc<dyn Hasher>,
    /// The template provider's link. Its settings take large messages if transactions are asked for.
    pub provider: Upstream<R>,
    /// What the pool says about itself to the provider.
    pub software: Software,
    /// Where clients are sent at the shutdown: host and port, either may be empty for "as it is". `None`: nowhere, they find out
    /// by themselves.
    pub reconnect: Option<(String, u16)>,
}

impl<R: Runtime> fmt::Debug for PoolSetup<R> {
    /// Without the responder's configuration, which holds a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolSetup")
            .field("listeners", &self.listeners)
            .field("links", &self.links)
            .field("provider", &self.provider)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}

/// Why a pool ended before its shutdown.
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolServeError {
    /// A task panicked.
    Serve(ServeError),
    /// Nobody takes shares any more, so none can be acknowledged.
    StoreGone,
}

impl fmt::Display for PoolServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serve(error) => error.fmt(f),
            Self::StoreGone => f.write_str("the share store has ended, so no share can be acknowledged"),
        }
    }
}

impl core::error::Error for PoolServeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Serve(error) => Some(error),
            Self::StoreGone => None,
        }
    }
}

impl From<ServeError> for PoolServeError {
    fn from(error: ServeError) -> Self {
        Self::Serve(error)
    }
}

/// Serves devices, each in a task of its own, and follows the template provider until the shutdown is over.
///
/// Accepted shares go to `store` in the order of their tickets. When a queue's receiver is gone the pool ends. `T` is what the store takes.
///
/// At the shutdown nobody new is accepted, clients are sent elsewhere if [`PoolSetup::reconnect`] says so, what has arrived is dealt with, and each link
/// is closed in order as soon as the store has confirmed its shares and they are acknowledged. The provider's link goes last, so that a block that
/// was found at the end still gets there. Then `store` is closed by dropping it.
///
/// Dropping the future drops all connections.
pub async fn serve_pool<P, T>(
    spawn: impl Spawn,
    setup: PoolSetup<impl Runtime>,
    handle: PoolHandle,
    store: impl Into<Store<T>>,
    shutdown: Shutdown<impl Clock>,
) -> Result<(), PoolServeError>
where
    P: Crypto,
    T: From<AcceptedShare> + Send + 'static,
{
    let PoolSetup { listeners, responder, links, hasher, provider, software, reconnect } = setup;
    let shared = &handle.shared;
    let without_downstreams = Shutdown::new(links.clock.clone());
    let (store, links) = (store.into(), &links);
    let port = Arc::new(downstream::Port::new(Arc::clone(shared), store.clone(), Arc::clone(links), reconnect, hasher));
    let downstreams = async {
        let start = |accepted, signal| {
            downstream::run::<P, _, T>(accepted, signal, Arc::clone(&responder.borrow()), Arc::clone(&port))
        };
        let served = serve(&spawn, listeners, &shutdown, start).await;
        // What is left of the grace is the provider's.
        without_downstreams.start(shutdown.remaining());
        served
    };
    let provider = async {
        let follow = upstream::follow::<P, _>(provider, shared, &software, &without_downstreams);
        or(follow, without_downstreams.over()).await;
        Ok(())
    };
    // A server that failed ends at once: the provider's side would come upon the same state.
    let both = async { Ok(try_zip(downstreams, provider).await.map(drop)?) };
    let store = async {
        store.closed().await;
        Err(PoolServeError::StoreGone)
    };
    let timers = async { match shared.run_timers(&links.clock).await {} };
    // A panic under the lock is noticed by whoever comes next, which may be one of these.
    let served = AssertUnwindSafe(or(or(both, store), timers)).catch_unwind().await;
    served.unwrap_or_else(|payload| Err(ServeError::panicked(&*payload).into()))
}
