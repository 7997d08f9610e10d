//! A bounded queue whose places are taken before there is something to put in: so a thing can be queued under a lock, where nobody
//! may wait.

use std::{fmt, sync::Arc};

use async_channel::TryRecvError;
use async_lock::{Semaphore, SemaphoreGuardArc};
use futures_lite::future::or;

/// A queue of at most `places` things (at least one).
#[must_use]
pub fn channel<T>(places: usize) -> (Sender<T>, Receiver<T>) {
    let (queue, things) = async_channel::unbounded();
    let places = Arc::new(Semaphore::new(places.max(1)));
    (Sender { queue, places }, Receiver { things })
}

/// The side that puts things in. Clones are handles on the same queue.
pub struct Sender<T> {
    /// Unbounded by itself: what bounds it are the places.
    queue: async_channel::Sender<(T, SemaphoreGuardArc)>,
    places: Arc<Semaphore>,
}

/// The side that takes things out.
#[derive(Debug)]
pub struct Receiver<T> {
    things: async_channel::Receiver<(T, SemaphoreGuardArc)>,
}

/// A place in the queue. Dropping it gives it back.
#[derive(Debug)]
pub struct Place<'a, T> {
    sender: &'a Sender<T>,
    guard: SemaphoreGuardArc,
}

impl<T> Sender<T> {
    /// Waits for a place; `None` when nobody takes things out any more. Cancel-safe.
    pub async fn reserve(&self) -> Option<Place<'_, T>> {
        if self.queue.is_closed() {
            return None;
        }
        let guard = if let Some(guard) = self.places.try_acquire_arc() {
            guard
        } else {
            let place = async { Some(self.places.acquire_arc().await) };
            let closed = async {
                self.queue.closed().await;
                None
            };
            or(place, closed).await?
        };
        Some(Place { sender: self, guard })
    }

    /// A place, if one is free.
    #[must_use]
    pub fn try_reserve(&self) -> Option<Place<'_, T>> {
        Some(Place { sender: self, guard: self.places.try_acquire_arc()? })
    }

    /// Waits until nobody takes things out any more.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }
}

impl<T> Place<'_, T> {
    /// Puts `thing` in. When nobody takes things out any more it is dropped.
    pub fn send(self, thing: T) {
        let _gone = self.sender.queue.try_send((thing, self.guard));
    }
}

impl<T> Receiver<T> {
    /// The next thing, and its place is free again; `None` when the queue is empty and nobody puts things in any more. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        self.things.recv().await.ok().map(|(thing, _)| thing)
    }

    /// The next thing, if one is there.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.things.try_recv().map(|(thing, _)| thing)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), places: Arc::clone(&self.places) }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("queue::Sender").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn places_are_as_many_as_said_and_come_back() {
        block_on(async {
            let (sender, mut receiver) = channel(2);
            let (a, b) = (sender.reserve().await.unwrap(), sender.reserve().await.unwrap());
            assert!(poll_once(sender.reserve()).await.is_none());
            drop(a);
            let a = sender.reserve().await.unwrap();
            b.send('b');
            a.send('a');
            assert!(poll_once(sender.reserve()).await.is_none(), "full");
            assert_eq!(receiver.recv().await, Some('b'));
            sender.reserve().await.unwrap().send('c');
            assert_eq!((receiver.try_recv(), receiver.recv().await), (Ok('a'), Some('c')));
            drop(sender);
            assert_eq!(receiver.recv().await, None);
        });
    }

    #[test]
    fn who_waits_for_a_place_hears_that_nobody_takes_things_out() {
        block_on(async {
            let (sender, receiver) = channel::<u8>(1);
            let _place = sender.reserve().await;
            let mut waiting = Box::pin(sender.reserve());
            assert!(poll_once(&mut waiting).await.is_none());
            drop(receiver);
            assert!(waiting.await.is_none());
            sender.closed().await;
            assert!(sender.reserve().await.is_none());
        });
    }
}
