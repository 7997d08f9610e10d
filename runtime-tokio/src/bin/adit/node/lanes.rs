//! Connections on which found blocks go to the node side by side: few at a time, the newest height first.
//!
//! A node that is slow over one block, or over several of one height, does not keep one of the next height waiting.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::rpc::Connection;

/// Calls at once, blocks of all heights together.
const AT_ONCE: usize = 8;

/// Calls at once for blocks of one height: only one of them can become the tip, most likely the first.
const AT_ONCE_OF_HEIGHT: usize = 2;

/// The connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    open: Box<dyn Fn() -> Connection + Send + Sync>,
}

#[derive(Default)]
struct Inner {
    idle: Vec<Connection>,
    /// Calls by height.
    busy: BTreeMap<u32, usize>,
    /// Who comes first is first here: the higher block, then the one that came earlier.
    waiting: BTreeMap<(Reverse<u32>, u64), oneshot::Sender<Lane>>,
    arrivals: u64,
}

/// A connection that is in one block's use until this is dropped.
pub(super) struct Lane {
    shared: Arc<Shared>,
    height: u32,
    /// None once it was given back.
    connection: Option<Connection>,
}

impl Lanes {
    /// `open` makes a connection; nothing is sent on it before it is used.
    pub(super) fn new(open: impl Fn() -> Connection + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared { inner: Mutex::default(), open: Box::new(open) }))
    }

    /// Waits for a connection for a block of this height. Cancel-safe: who gives up has no place any more.
    pub(super) async fn take(&self, height: u32) -> Lane {
        let granted = {
            let mut inner = self.0.inner();
            let (sender, granted) = oneshot::channel();
            let place = (Reverse(height), inner.arrivals);
            inner.arrivals += 1;
            inner.waiting.insert(place, sender);
            granted
        };
        self.0.grant();
        match granted.await {
            Ok(lane) => lane,
            // Nobody drops a sender that waits; a connection of its own is right in any case.
            Err(_) => Lane { shared: Arc::clone(&self.0), height, connection: None },
        }
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives connections to those who wait, as far as there may be more.
    fn grant(self: &Arc<Self>) {
        while let Some((sender, lane)) = self.next() {
            // Who has given up gives it back by dropping it, outside of the lock.
            drop(sender.send(lane));
        }
    }

    fn next(self: &Arc<Self>) -> Option<(oneshot::Sender<Lane>, Lane)> {
        let mut inner = self.inner();
        if inner.busy.values().sum::<usize>() >= AT_ONCE {
            return None;
        }
        let may = |height: &u32| inner.busy.get(height).is_none_or(|busy| *busy < AT_ONCE_OF_HEIGHT);
        let place = inner.waiting.keys().copied().find(|(Reverse(height), _)| may(height))?;
        let sender = inner.waiting.remove(&place)?;
        let (Reverse(height), _) = place;
        *inner.busy.entry(height).or_default() += 1;
        let connection = Some(inner.idle.pop().unwrap_or_else(|| (self.open)()));
        Some((sender, Lane { shared: Arc::clone(self), height, connection }))
    }
}

impl Lane {
    /// The connection.
    pub(super) fn connection(&mut self) -> &mut Connection {
        self.connection.get_or_insert_with(|| (self.shared.open)())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        {
            let mut inner = self.shared.inner();
            if let Some(busy) = inner.busy.get_mut(&self.height) {
                *busy -= 1;
                if *busy == 0 {
                    inner.busy.remove(&self.height);
                }
            }
            inner.idle.extend(self.connection.take());
        }
        self.shared.grant();
    }
}
