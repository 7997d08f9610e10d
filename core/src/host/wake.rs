//! Waking one task from others.

use alloc::{sync::Arc, vec::Vec};
use core::{
    future::{Future, poll_fn},
    sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire},
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;

use crate::role::ConnectionId;

/// A signal for one task. One that comes while nobody waits is kept.
#[derive(Debug, Default)]
pub struct Signal {
    state: AtomicU8,
    waker: AtomicWaker,
}

/// There is something to look at.
const WOKEN: u8 = 1;
/// The connection is to be closed. Stays.
const CLOSE: u8 = 2;
/// The shutdown has started. Stays.
const SHUTDOWN: u8 = 4;

impl Signal {
    /// Wakes the task, now or when it next waits.
    pub fn wake(&self) {
        self.set(WOKEN);
    }

    /// Has the task close its connection.
    pub(crate) fn close(&self) {
        self.set(WOKEN | CLOSE);
    }

    /// Tells the task that the shutdown has started.
    pub(crate) fn shut_down(&self) {
        self.set(WOKEN | SHUTDOWN);
    }

    fn set(&self, bits: u8) {
        self.state.fetch_or(bits, AcqRel);
        self.waker.wake();
    }

    /// Whether the connection is to be closed.
    #[must_use]
    pub fn is_to_close(&self) -> bool {
        self.state.load(Acquire) & CLOSE != 0
    }

    /// Whether the shutdown has started.
    #[must_use]
    pub fn is_shutdown(&self) -> bool {
        self.state.load(Acquire) & SHUTDOWN != 0
    }

    /// Waits for the signal, which may be any of them. Only one task may. Cancel-safe.
    pub async fn woken(&self) {
        poll_fn(|cx| if self.take() { Poll::Ready(()) } else { self.poll_woken(cx) }).await;
    }

    /// The same for a task that has just seen that it is not woken, and did something else since.
    pub(crate) fn poll_woken(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.take() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether it is woken, which it is no more then. Nobody is registered.
    pub(crate) fn take(&self) -> bool {
        self.state.load(Acquire) & WOKEN != 0 && self.state.fetch_and(!WOKEN, AcqRel) & WOKEN != 0
    }
}

/// The tasks of a role's connections, by id.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// By the ids' slots.
    signals: Vec<Option<(ConnectionId, Arc<Signal>)>>,
}

impl Tasks {
    /// Adds a connection.
    pub(crate) fn add(&mut self, id: ConnectionId, signal: &Arc<Signal>) {
        if self.signals.len() <= id.slot() {
            self.signals.resize(id.slot() + 1, None);
        }
        if let Some(place) = self.signals.get_mut(id.slot()) {
            *place = Some((id, Arc::clone(signal)));
        }
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        if let Some(place) = self.signals.get_mut(id.slot()) {
            place.take_if(|(known, _)| *known == id);
        }
    }

    /// The signal of a connection's task; none for an id that is gone.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Signal> {
        let (known, signal) = self.signals.get(id.slot())?.as_ref()?;
        (*known == id).then_some(signal)
    }
}

/// What `future` gives if it is wanted; else this never ends.
pub(crate) async fn when<T>(wanted: bool, future: impl Future<Output = T>) -> T {
    if wanted { future.await } else { core::future::pending().await }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn a_signal_is_kept_until_somebody_waits_and_counts_once() {
        let signal = Signal::default();
        block_on(async {
            signal.wake();
            signal.close();
            signal.woken().await;
            assert!(signal.is_to_close() && !signal.is_shutdown());
            assert!(poll_once(signal.woken()).await.is_none());
            signal.shut_down();
            signal.woken().await;
            assert!(signal.is_to_close() && signal.is_shutdown());
        });
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "what threads share is tested with threads")]
    fn a_waiting_task_is_woken() {
        let signal = Arc::new(Signal::default());
        let waiter = std::thread::spawn({
            let signal = Arc::clone(&signal);
            move || {
                block_on(async {
                    for _ in 0..2 {
                        signal.woken().await;
                    }
                });
            }
        });
        while !waiter.is_finished() {
            signal.wake();
            std::thread::yield_now();
        }
        waiter.join().unwrap();
    }
}
