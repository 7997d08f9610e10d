//! A bounded queue with one taker, whose places are taken before there is something to put in: so a thing can be queued under a lock,
//! where nobody may wait.

mod line;
#[cfg(test)]
mod tests;

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::{
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Waker},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

use atomic_waker::AtomicWaker;
use event_listener::Event;
use futures_lite::future::block_on;
use line::Line;

/// A queue of at most `places` things (at least one).
#[must_use]
pub fn channel<T>(places: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { things: VecDeque::new(), line: Line::new(places.max(1)), closed: false };
    let inner = Arc::new(Inner {
        state: Mutex::new(state),
        taker: AtomicWaker::new(),
        ended: Event::new(),
        senders: AtomicUsize::new(1),
    });
    (Sender { inner: Arc::clone(&inner) }, Receiver { inner })
}

struct Inner<T> {
    state: Mutex<State<T>>,
    /// Who takes things out.
    taker: AtomicWaker,
    /// Told when nothing more is taken in.
    ended: Event,
    senders: AtomicUsize,
}

struct State<T> {
    things: VecDeque<T>,
    line: Line,
    /// Nothing more is taken in.
    closed: bool,
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, places: usize) {
        if places > 0 {
            let mut state = self.lock();
            state.line.give_back(places);
            self.give_all(state);
        }
    }

    /// Gives free places to those who wait. They are woken outside of the lock, for what a waker does is its own.
    fn give_all<'a>(&'a self, mut state: MutexGuard<'a, State<T>>) {
        while let Some(waker) = state.line.serve() {
            drop(state);
            waker.wake();
            state = self.lock();
        }
    }

    /// Tells everyone of the end, which stands in the state already.
    fn tell_end(&self, mut state: MutexGuard<'_, State<T>>) {
        // They find out by themselves that they have no place in the line any more.
        let waiting = state.line.dissolve();
        drop(state);
        waiting.for_each(Waker::wake);
        self.ended.notify(usize::MAX);
    }

    /// Things in the order in which they came, and their places are free again; 0 when nobody puts things in any more.
    fn poll_many(&self, cx: &mut Context<'_>, mut take: impl FnMut(&mut VecDeque<T>) -> usize) -> Poll<usize> {
        let (taken, _) = self.try_many(&mut take);
        if taken > 0 {
            return Poll::Ready(taken);
        }
        self.taker.register(cx.waker());
        // Senders first: the last one may put something in and go.
        let last_is_gone = self.senders.load(SeqCst) == 0;
        match self.try_many(take) {
            (0, closed) if !closed && !last_is_gone => Poll::Pending,
            (taken, _) => Poll::Ready(taken),
        }
    }

    /// How many things were taken, and whether the queue was closed by then.
    fn try_many(&self, take: impl FnOnce(&mut VecDeque<T>) -> usize) -> (usize, bool) {
        let mut state = self.lock();
        let (taken, closed) = (take(&mut state.things), state.closed);
        if taken > 0 {
            state.line.give_back(taken);
            self.give_all(state);
        }
        (taken, closed)
    }
}

/// Moves one thing, if there is one; gives how many.
fn move_one<T>(things: &mut VecDeque<T>, to: &mut Option<T>) -> usize {
    *to = things.pop_front();
    usize::from(to.is_some())
}

/// Moves up to `most` things; gives how many.
fn move_many<T>(things: &mut VecDeque<T>, to: &mut Vec<T>, most: usize) -> usize {
    let taken = things.len().min(most);
    if to.is_empty() && taken == things.len() {
        // Their buffers change places, so that nothing is moved.
        let all = mem::replace(things, mem::take(to).into());
        *to = all.into();
    } else {
        to.extend(things.drain(..taken));
    }
    taken
}

/// A wait for places. Dropping it leaves the line, and what was given to it is the next one's.
struct Reserve<'a, T> {
    inner: &'a Inner<T>,
    most: usize,
    /// Its number in the line.
    number: Option<u64>,
}

impl<'a, T> Future for Reserve<'a, T> {
    type Output = Option<Places<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { inner, most, number } = *self;
        let mut state = inner.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        let Some(number) = number else {
            let left = state.line.take(most);
            if left > 0 {
                return Poll::Ready(Some(Places::new(inner, left)));
            }
            let number = state.line.join(most, cx.waker());
            drop(state);
            self.number = Some(number);
            return Poll::Pending;
        };
        let left = match state.line.fetch(number, cx.waker()) {
            Some(0) => return Poll::Pending,
            Some(left) => left,
            // Who waits is in the line until it is closed.
            None => return Poll::Ready(None),
        };
        drop(state);
        self.number = None;
        Poll::Ready(Some(Places::new(inner, left)))
    }
}

impl<T> Drop for Reserve<'_, T> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.inner.lock();
        state.line.leave(number);
        self.inner.give_all(state);
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

/// Places in the queue. Dropping them gives those back that are left, and wakes who takes things out if there is something: so what is queued
/// under a lock wakes nobody who would wait for that lock next.
pub struct Places<'a, T> {
    inner: &'a Inner<T>,
    left: usize,
    sent: bool,
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
    ///
    /// First come, first served: nobody gets a place, by [`try_reserve`](Self::try_reserve) neither, before those who wait already. Cancel-safe,
    /// though a dropped wait loses its turn.
    pub async fn reserve(&self, most: usize) -> Option<Places<'_, T>> {
        Reserve { inner: &self.inner, most: most.max(1), number: None }.await
    }

    /// As many places as are free, up to `most` (at least one); `None` if none is, somebody waits for it, or nobody takes things out any more.
    #[must_use]
    pub fn try_reserve(&self, most: usize) -> Option<Places<'_, T>> {
        let mut state = self.inner.lock();
        let left = if state.closed { 0 } else { state.line.take(most.max(1)) };
        drop(state);
        (left > 0).then_some(Places::new(&self.inner, left))
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
        self.inner.lock().line.free()
    }

    /// Whether nobody takes things out any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Waits until nobody takes things out any more. Cancel-safe.
    pub async fn closed(&self) {
        while !self.is_closed() {
            let ended = self.inner.ended.listen();
            // Between the look and the listening it may have come.
            if !self.is_closed() {
                ended.await;
            }
        }
    }
}

impl<'a, T> Places<'a, T> {
    fn new(inner: &'a Inner<T>, left: usize) -> Self {
        Self { inner, left, sent: false }
    }

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
        let mut state = self.inner.lock();
        if state.closed || self.left == 0 {
            return Err(thing);
        }
        state.things.push_back(thing);
        drop(state);
        self.left -= 1;
        self.sent = true;
        Ok(())
    }

    /// Puts as many things in as there are places, one behind the other and with nobody else's between them, and gives the other places back. When
    /// nobody takes things out any more none is taken of `things`.
    pub fn send_all(&mut self, things: impl Iterator<Item = T>) {
        let mut state = self.inner.lock();
        if state.closed {
            return;
        }
        let before = state.things.len();
        state.things.extend(things.take(self.left));
        let sent = state.things.len() - before;
        let rest = mem::take(&mut self.left) - sent;
        self.sent |= sent > 0;
        if rest > 0 {
            state.line.give_back(rest);
            self.inner.give_all(state);
        }
    }
}

impl<T> Drop for Places<'_, T> {
    fn drop(&mut self) {
        self.inner.give_back(self.left);
        if self.sent {
            self.inner.taker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The next thing, and its place is free again; `None` when the queue is empty and nobody puts things in any more. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| {
            let mut one = None;
            self.inner.poll_many(cx, |things| move_one(things, &mut one)).map(|_| one.take())
        })
        .await
    }

    /// Waits for something and takes all that is there, up to `most`; gives how many, 0 when the queue is empty and nobody puts things in
    /// any more. Cancel-safe.
    pub async fn recv_many(&mut self, to: &mut Vec<T>, most: usize) -> usize {
        if most == 0 {
            return 0;
        }
        poll_fn(|cx| self.inner.poll_many(cx, |things| move_many(things, to, most))).await
    }

    /// [`recv_many`](Self::recv_many) for a thread that has nothing else to do: it blocks.
    pub fn recv_many_blocking(&mut self, to: &mut Vec<T>, most: usize) -> usize {
        block_on(self.recv_many(to, most))
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.lock().things.is_empty()
    }

    /// The next thing, if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        let mut one = None;
        self.inner.try_many(|things| move_one(things, &mut one));
        one
    }

    /// Takes nothing more in. What is there still comes out.
    pub fn close(&mut self) {
        let mut state = self.inner.lock();
        state.closed = true;
        self.inner.tell_end(state);
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
        let mut state = self.inner.lock();
        state.closed = true;
        // Not under the lock: what they do when they are dropped is theirs.
        let rest = mem::take(&mut state.things);
        self.inner.tell_end(state);
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
