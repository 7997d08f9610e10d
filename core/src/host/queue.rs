//! A bounded queue with one taker, whose places are taken before there is something to put in: so a thing can be queued under a lock,
//! where nobody may wait.

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::{
    fmt,
    future::poll_fn,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use atomic_waker::AtomicWaker;
use event_listener::Event;
use futures_lite::future::block_on;

/// A queue of at most `places` things (at least one).
#[must_use]
pub fn channel<T>(places: usize) -> (Sender<T>, Receiver<T>) {
    let inner = Arc::new(Inner {
        things: Mutex::default(),
        taker: AtomicWaker::new(),
        free: AtomicUsize::new(places.max(1)),
        freed: Event::new(),
        ended: Event::new(),
        closed: AtomicBool::new(false),
        senders: AtomicUsize::new(1),
    });
    (Sender { inner: Arc::clone(&inner) }, Receiver { inner })
}

struct Inner<T> {
    things: Mutex<VecDeque<T>>,
    /// Who takes things out.
    taker: AtomicWaker,
    /// Places that nobody has.
    free: AtomicUsize,
    /// Told of each place that is given back, and of the end.
    freed: Event,
    /// Nothing more is taken in.
    closed: AtomicBool,
    /// Told of that alone.
    ended: Event,
    senders: AtomicUsize,
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes as many places as there are, up to `most`.
    fn take(&self, most: usize) -> usize {
        let mut free = self.free.load(SeqCst);
        loop {
            let taken = free.min(most);
            if taken == 0 {
                return 0;
            }
            match self.free.compare_exchange_weak(free, free - taken, SeqCst, SeqCst) {
                Ok(_) => return taken,
                Err(now) => free = now,
            }
        }
    }

    fn give_back(&self, places: usize) {
        if places > 0 {
            self.free.fetch_add(places, SeqCst);
            self.freed.notify_additional(places);
        }
    }

    fn close(&self) {
        self.closed.store(true, SeqCst);
        self.freed.notify(usize::MAX);
        self.ended.notify(usize::MAX);
    }

    /// Things in the order in which they came, and their places are free again; 0 when nobody puts things in any more.
    fn poll_many(&self, cx: &mut Context<'_>, to: &mut impl Extend<T>, most: usize) -> Poll<usize> {
        let taken = self.try_many(to, most);
        if taken > 0 || most == 0 {
            return Poll::Ready(taken);
        }
        self.taker.register(cx.waker());
        // Senders first: the last one may put something in and go.
        let over = self.senders.load(SeqCst) == 0 || self.closed.load(SeqCst);
        match self.try_many(to, most) {
            0 if !over => Poll::Pending,
            taken => Poll::Ready(taken),
        }
    }

    fn try_many(&self, to: &mut impl Extend<T>, most: usize) -> usize {
        let mut things = self.lock();
        let taken = things.len().min(most);
        to.extend(things.drain(..taken));
        drop(things);
        self.give_back(taken);
        taken
    }
}

/// The side that puts things in. Clones are handles on the same queue.
pub struct Sender<T> {
    inner: Arc<Inner<T>>,
}

/// The side that takes things out. Dropping it closes the queue.
pub struct Receiver<T> {
    inner: Arc<Inner<T>>,
}

/// Places in the queue. Dropping them gives those back that are left.
pub struct Places<'a, T> {
    inner: &'a Inner<T>,
    left: usize,
}

/// A thing that was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// No place is free.
    Full(T),
    /// Nobody takes things out any more.
    Closed(T),
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::Closed(_) => "nobody takes things out of the queue any more",
        })
    }
}

impl<T: fmt::Debug> core::error::Error for TrySendError<T> {}

impl<T> Sender<T> {
    /// Waits for a place, and takes as many as are free then, up to `most` (at least one). `None` when nobody takes things out any more.
    /// Cancel-safe, though a dropped wait loses its turn.
    pub async fn reserve(&self, most: usize) -> Option<Places<'_, T>> {
        wait_for(&self.inner.freed, || if self.is_closed() { Some(None) } else { self.try_reserve(most).map(Some) })
            .await
    }

    /// As many places as are free, up to `most` (at least one); `None` if none is.
    #[must_use]
    pub fn try_reserve(&self, most: usize) -> Option<Places<'_, T>> {
        let left = self.inner.take(most.max(1));
        (left > 0).then_some(Places { inner: &self.inner, left })
    }

    /// Puts `thing` in when there is a place; gives it back when nobody takes things out any more. A dropped wait drops it.
    pub async fn send(&self, thing: T) -> Result<(), T> {
        match self.reserve(1).await {
            Some(mut place) => place.send(thing),
            None => Err(thing),
        }
    }

    /// [`send`](Self::send) for a thread that has nothing else to do: it blocks.
    pub fn send_blocking(&self, thing: T) -> Result<(), T> {
        block_on(self.send(thing))
    }

    /// Puts `thing` in if there is a place.
    pub fn try_send(&self, thing: T) -> Result<(), TrySendError<T>> {
        if self.is_closed() {
            return Err(TrySendError::Closed(thing));
        }
        match self.try_reserve(1) {
            Some(mut place) => place.send(thing).map_err(TrySendError::Closed),
            None => Err(TrySendError::Full(thing)),
        }
    }

    /// Places that are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.inner.free.load(SeqCst)
    }

    /// Whether nobody takes things out any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.closed.load(SeqCst)
    }

    /// Waits until nobody takes things out any more. Cancel-safe.
    pub async fn closed(&self) {
        wait_for(&self.inner.ended, || self.is_closed().then_some(())).await;
    }
}

impl<T> Places<'_, T> {
    /// How many there are. Never 0 to begin with.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether all were used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Puts `thing` in; gives it back when nobody takes things out any more, or all places were used.
    pub fn send(&mut self, thing: T) -> Result<(), T> {
        let mut things = Some(thing);
        self.send_all(core::iter::from_fn(|| things.take()));
        things.map_or(Ok(()), Err)
    }

    /// Puts as many things in as there are places, one behind the other and with nobody else's between them. When nobody takes things out
    /// any more none is taken of `things`.
    pub fn send_all(&mut self, things: impl Iterator<Item = T>) {
        let mut queue = self.inner.lock();
        // Looked at under the lock, so that nothing is put in behind the end.
        if self.inner.closed.load(SeqCst) {
            return;
        }
        let before = queue.len();
        queue.extend(things.take(self.left));
        let sent = queue.len() - before;
        drop(queue);
        self.left -= sent;
        if sent > 0 {
            self.inner.taker.wake();
        }
    }
}

impl<T> Drop for Places<'_, T> {
    fn drop(&mut self) {
        self.inner.give_back(self.left);
    }
}

impl<T> Receiver<T> {
    /// The next thing, and its place is free again; `None` when the queue is empty and nobody puts things in any more. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| {
            let mut one = None;
            self.inner.poll_many(cx, &mut One(&mut one), 1).map(|_| one.take())
        })
        .await
    }

    /// Waits for something and takes all that is there, up to `most`; gives how many, 0 when the queue is empty and nobody puts things in
    /// any more. Cancel-safe.
    pub async fn recv_many(&mut self, to: &mut Vec<T>, most: usize) -> usize {
        poll_fn(|cx| self.inner.poll_many(cx, to, most)).await
    }

    /// [`recv_many`](Self::recv_many) for a thread that has nothing else to do: it blocks.
    pub fn recv_many_blocking(&mut self, to: &mut Vec<T>, most: usize) -> usize {
        block_on(self.recv_many(to, most))
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.lock().is_empty()
    }

    /// The next thing, if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        let mut one = None;
        self.inner.try_many(&mut One(&mut one), 1);
        one
    }

    /// Takes nothing more in. What is there still comes out.
    pub fn close(&mut self) {
        let _no_send_is_under_way = self.inner.lock();
        self.inner.close();
    }
}

/// Waits until `look` finds something, looking whenever there was such an event. Cancel-safe.
async fn wait_for<R>(event: &Event, mut look: impl FnMut() -> Option<R>) -> R {
    loop {
        if let Some(found) = look() {
            return found;
        }
        let listener = event.listen();
        // Between the look and the listening something may have happened.
        if let Some(found) = look() {
            return found;
        }
        listener.await;
    }
}

/// A place for the one thing that is asked for.
struct One<'a, T>(&'a mut Option<T>);

impl<T> Extend<T> for One<'_, T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, things: I) {
        for thing in things {
            *self.0 = Some(thing);
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.inner.senders.fetch_add(1, SeqCst);
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.inner.senders.fetch_sub(1, SeqCst) == 1 {
            self.inner.taker.wake();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut things = self.inner.lock();
        self.inner.close();
        // Not under the lock: what they do when they are dropped is theirs.
        let rest = core::mem::take(&mut *things);
        drop(things);
        drop(rest);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("queue::Sender").field("free", &self.free()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("queue::Receiver").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Places<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("queue::Places").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, vec};

    use futures_lite::future::poll_once;

    use super::*;

    #[test]
    fn places_are_as_many_as_said_and_come_back() {
        block_on(async {
            let (sender, mut receiver) = channel(2);
            let (mut a, mut b) = (sender.reserve(1).await.unwrap(), sender.reserve(5).await.unwrap());
            assert_eq!((a.len(), b.len(), sender.free()), (1, 1, 0));
            assert!(poll_once(sender.reserve(1)).await.is_none());
            drop(a);
            a = sender.reserve(1).await.unwrap();
            b.send('b').unwrap();
            a.send('a').unwrap();
            assert_eq!(a.send('-'), Err('-'), "its place was used");
            assert!(poll_once(sender.reserve(1)).await.is_none(), "full");
            assert_eq!(sender.try_send('-'), Err(TrySendError::Full('-')));
            assert_eq!(receiver.recv().await, Some('b'));
            sender.send('c').await.unwrap();
            assert_eq!((receiver.try_recv(), receiver.recv().await), (Some('a'), Some('c')));
            assert!(receiver.is_empty() && receiver.try_recv().is_none());
            drop((a, b));
            drop(sender);
            assert_eq!(receiver.recv().await, None);
        });
    }

    #[test]
    fn many_go_in_and_out_at_once_and_no_more_than_there_are_places() {
        block_on(async {
            let (sender, mut receiver) = channel(4);
            let mut out = Vec::new();
            {
                let mut places = sender.reserve(3).await.unwrap();
                let mut things = 1..9;
                places.send_all(&mut things);
                assert_eq!((things.next(), places.is_empty(), sender.free()), (Some(4), true, 1));
            }
            assert_eq!((receiver.recv_many(&mut out, 2).await, sender.free()), (2, 3));
            assert_eq!(receiver.recv_many(&mut out, 9).await, 1);
            assert_eq!(out, [1, 2, 3]);
            let mut waiting = Box::pin(receiver.recv_many(&mut out, 9));
            assert!(poll_once(&mut waiting).await.is_none());
            sender.try_send(7).unwrap();
            drop(sender);
            assert_eq!(waiting.await, 1);
            assert_eq!((receiver.recv_many(&mut out, 9).await, out), (0, vec![1, 2, 3, 7]));
        });
    }

    #[test]
    fn who_waits_for_a_place_hears_that_nobody_takes_things_out() {
        block_on(async {
            let (sender, receiver) = channel::<u8>(1);
            let mut place = sender.reserve(1).await.unwrap();
            let mut waiting = Box::pin(sender.reserve(1));
            assert!(poll_once(&mut waiting).await.is_none());
            drop(receiver);
            assert!(waiting.await.is_none());
            sender.closed().await;
            assert!(sender.reserve(1).await.is_none());
            assert_eq!((place.send(1), sender.send(2).await), (Err(1), Err(2)));
            assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
        });
    }

    #[test]
    fn what_is_there_comes_out_of_a_closed_queue() {
        block_on(async {
            let (sender, mut receiver) = channel(2);
            sender.try_send(1).unwrap();
            receiver.close();
            assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
            assert_eq!((receiver.recv().await, receiver.recv().await), (Some(1), None));
        });
    }

    /// Every place that comes back wakes one who waits, whatever the order.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "what threads share is tested with threads")]
    fn all_who_wait_get_their_places() {
        let (sender, mut receiver) = channel(2);
        let senders: Vec<_> = (0..8_u64)
            .map(|n| {
                let sender = sender.clone();
                std::thread::spawn(move || (0..100).all(|at| sender.send_blocking(n * 100 + at).is_ok()))
            })
            .collect();
        drop(sender);
        let mut out = Vec::new();
        while receiver.recv_many_blocking(&mut out, 3) > 0 {}
        assert!(senders.into_iter().all(|sender| sender.join().unwrap()));
        for n in 0..8 {
            assert!(
                out.iter().filter(|thing| **thing / 100 == n).copied().eq(n * 100..(n + 1) * 100),
                "in their order"
            );
        }
    }
}
