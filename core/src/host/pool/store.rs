//! Where accepted shares go.

use alloc::sync::Arc;
use core::fmt;

use crate::host::queue::{self, Places};

/// Who takes accepted shares, in the order of their tickets. A [`queue::Sender`] is one.
pub enum Store<T> {
    /// Takes them out of a queue when it can, and says then that they are stored
    /// ([`PoolHandle::stored`](super::PoolHandle::stored)). While the queue is full, connections wait, and their peers with them.
    Queue(queue::Sender<T>),
    /// Takes them at once: what it was called with is stored when it returns, and acknowledged in the same go. It is called under the
    /// pool's lock, so it has to be quick, and may not call the pool: for books in memory, not for a disk.
    AtOnce(Arc<dyn Fn(T) + Send + Sync>),
}

impl<T> Store<T> {
    /// Waits until nobody takes shares any more.
    pub(super) async fn closed(&self) {
        match self {
            Self::Queue(queue) => queue.closed().await,
            Self::AtOnce(_) => core::future::pending().await,
        }
    }

    /// Room for as many shares as there is room for, up to `most`; `None` when there is none.
    pub(super) fn try_reserve(&self, most: usize) -> Option<Room<'_, T>> {
        Some(match self {
            Self::Queue(queue) => Room::Places(queue.try_reserve(most)?),
            Self::AtOnce(take) => Room::Any(&**take, most),
        })
    }

    /// Waits for as much; `None` when nobody takes shares any more.
    pub(super) async fn reserve(&self, most: usize) -> Option<Room<'_, T>> {
        Some(match self {
            Self::Queue(queue) => Room::Places(queue.reserve(most).await?),
            Self::AtOnce(take) => Room::Any(&**take, most),
        })
    }
}

/// Room for shares.
pub(super) enum Room<'a, T> {
    Places(Places<'a, T>),
    Any(&'a (dyn Fn(T) + Send + Sync), usize),
}

impl<T> Room<'_, T> {
    /// For how many.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Places(places) => places.len(),
            Self::Any(_, most) => *most,
        }
    }

    /// Hands shares over, under the lock that gave them their tickets; nobody is woken for that before the room is dropped. Whether they are
    /// stored already.
    pub(super) fn put(&mut self, shares: impl Iterator<Item = T>) -> bool {
        match self {
            Self::Places(places) => {
                // If the store is gone the pool is about to end.
                places.send_all(shares);
                false
            }
            Self::Any(take, _) => {
                shares.for_each(take);
                true
            }
        }
    }
}

impl<T> From<queue::Sender<T>> for Store<T> {
    fn from(queue: queue::Sender<T>) -> Self {
        Self::Queue(queue)
    }
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Queue(queue) => Self::Queue(queue.clone()),
            Self::AtOnce(take) => Self::AtOnce(Arc::clone(take)),
        }
    }
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue) => f.debug_tuple("Queue").field(queue).finish(),
            Self::AtOnce(_) => f.write_str("AtOnce"),
        }
    }
}
