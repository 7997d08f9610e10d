//! A bounded queue with one taker, whose places are taken before there is something to put in: so a thing can be queued under a lock,
//! where nobody may wait.

mod line;

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

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, vec};

    use alloc::task::Wake;

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
    fn places_that_are_dropped_wake_the_taker_and_those_left_are_the_next_ones() {
        block_on(async {
            let (sender, mut receiver) = channel(3);
            let told = Arc::new(Told::default());
            let waker = Waker::from(Arc::clone(&told));
            let mut out = Vec::new();
            let mut taking = Box::pin(receiver.recv_many(&mut out, 9));
            assert!(taking.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let mut places = sender.reserve(3).await.unwrap();
            let mut waiting = Box::pin(sender.reserve(1));
            assert!(poll_once(&mut waiting).await.is_none());
            places.send_all(0..2);
            assert_eq!((places.send(7), told.0.load(SeqCst)), (Err(7), 0), "no place is left, and nobody is told yet");
            assert_eq!(poll_once(&mut waiting).await.unwrap().unwrap().len(), 1);
            drop(places);
            assert_eq!(told.0.load(SeqCst), 1);
            assert_eq!(taking.await, 2);
            // Nothing was sent, so nobody is told.
            let mut taking = Box::pin(receiver.recv_many(&mut out, 9));
            assert!(taking.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop(sender.reserve(3).await.unwrap());
            assert_eq!(told.0.load(SeqCst), 1);
        });
    }

    /// Counts how often it is told.
    #[derive(Default)]
    struct Told(AtomicUsize);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// All at once or in parts, behind what is there already or not: in their order.
    #[test]
    fn what_is_taken_out_stands_behind_what_is_there() {
        block_on(async {
            let (sender, mut receiver) = channel(8);
            let mut out = Vec::new();
            for (most, sent, expected) in [(9, 0..3, vec![0, 1, 2]), (9, 3..5, vec![0, 1, 2, 3, 4]), (1, 5..7, vec![5])]
            {
                if most == 1 {
                    out.clear();
                }
                sender.reserve(8).await.unwrap().send_all(sent);
                receiver.recv_many(&mut out, most).await;
                assert_eq!(out, expected);
            }
            assert_eq!((receiver.try_recv(), sender.free()), (Some(6), 8));
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
            assert!(sender.reserve(1).await.is_none() && sender.try_reserve(1).is_none());
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

    /// Nobody who comes later, or asks without waiting, takes what is free before who waits; a wait that is given up is passed over, and what
    /// it had been given is the next one's.
    #[test]
    fn first_come_first_served() {
        block_on(async {
            let (sender, mut receiver) = channel(2);
            sender.try_send(1).unwrap();
            sender.try_send(2).unwrap();
            let mut waits: Vec<_> = (0..4).map(|_| Box::pin(sender.reserve(2))).collect();
            for wait in &mut waits {
                assert!(poll_once(wait).await.is_none());
            }
            assert_eq!(receiver.recv().await, Some(1));
            // It is the first one's, whoever looks first.
            assert!(sender.try_reserve(1).is_none());
            assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
            let mut late = Box::pin(sender.reserve(1));
            assert!(poll_once(&mut late).await.is_none());
            let mut waits = waits.into_iter();
            let [first, mut second, mut third, mut fourth] = core::array::from_fn(|_| waits.next().unwrap());
            assert!(poll_once(&mut fourth).await.is_none() && poll_once(&mut second).await.is_none());
            // Given up before it was fetched.
            drop(first);
            assert!(poll_once(&mut third).await.is_none());
            let mut place = poll_once(&mut second).await.unwrap().unwrap();
            assert_eq!(place.len(), 1);
            drop(third);
            place.send(3).unwrap();
            let mut out = Vec::new();
            assert_eq!(receiver.recv_many(&mut out, 9).await, 2);
            assert!(poll_once(&mut late).await.is_none(), "two of two are before it");
            assert_eq!(poll_once(&mut fourth).await.unwrap().map(|places| places.len()), Some(2));
            assert!(poll_once(&mut late).await.unwrap().is_some());
            assert_eq!((sender.free(), out), (2, vec![2, 3]));
        });
    }

    /// Who is served by others' hands again and again does not keep one who waits from its turn.
    #[test]
    fn a_busy_sender_starves_nobody() {
        block_on(async {
            let (sender, mut receiver) = channel(1);
            sender.try_send(0).unwrap();
            let mut patient = Box::pin(sender.send(100));
            assert!(poll_once(&mut patient).await.is_none());
            let mut out = Vec::new();
            for n in 1..10 {
                out.extend(receiver.try_recv());
                // The busy one is always there first.
                let _full = sender.try_send(n);
                let _sent = poll_once(&mut patient).await.is_some() && {
                    patient = Box::pin(sender.send(100 + n));
                    true
                };
            }
            assert!(out.contains(&100), "{out:?}");
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
