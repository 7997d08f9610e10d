//! Waking the one task that serves a connection of a role.

use std::{
    collections::HashMap,
    future::{pending, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::AcqRel, Ordering::Acquire, Ordering::Release},
    },
    task::Poll,
};

use adit::role::ConnectionId;
use atomic_waker::AtomicWaker;

/// A signal for one task. One that comes while nobody waits is kept.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    set: AtomicBool,
    waker: AtomicWaker,
}

impl Notify {
    /// Wakes the task, now or when it next waits.
    pub(crate) fn notify(&self) {
        self.set.store(true, Release);
        self.waker.wake();
    }

    /// Waits for the signal. Only one task may. Cancel-safe.
    pub(crate) async fn notified(&self) {
        poll_fn(|cx| {
            if self.set.swap(false, AcqRel) {
                return Poll::Ready(());
            }
            self.waker.register(cx.waker());
            if self.set.swap(false, AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The task of a connection, as others reach it.
#[derive(Debug, Default)]
pub(crate) struct Task {
    notify: Notify,
    close: AtomicBool,
}

impl Task {
    /// Whether the connection is to be closed.
    pub(crate) fn is_to_close(&self) -> bool {
        self.close.load(Acquire)
    }
}

/// Waits until the connection's task is woken; for ever while the role does not know the connection yet. Cancel-safe: a wake that
/// nobody waited for is kept.
pub(crate) async fn woken(task: Option<&Task>) {
    match task {
        Some(task) => task.notify.notified().await,
        None => pending().await,
    }
}

/// What `future` gives if it is wanted; else this never ends.
pub(crate) async fn when<T>(wanted: bool, future: impl Future<Output = T>) -> T {
    if wanted { future.await } else { pending().await }
}

/// The tasks of a role's connections, by id.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    tasks: HashMap<ConnectionId, Arc<Task>>,
}

impl Tasks {
    /// Adds a connection.
    pub(crate) fn add(&mut self, id: ConnectionId) -> Arc<Task> {
        let task = Arc::<Task>::default();
        self.tasks.insert(id, Arc::clone(&task));
        task
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        self.tasks.remove(&id);
    }

    /// Wakes the task of a connection, now or when it next waits. Nothing happens for an id that is gone.
    pub(crate) fn wake(&self, id: ConnectionId) {
        if let Some(task) = self.tasks.get(&id) {
            task.notify.notify();
        }
    }

    /// Has a connection closed by its task.
    pub(crate) fn close(&self, id: ConnectionId) {
        if let Some(task) = self.tasks.get(&id) {
            task.close.store(true, Release);
            task.notify.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn a_signal_is_kept_until_somebody_waits_and_counts_once() {
        let notify = Notify::default();
        block_on(async {
            notify.notify();
            notify.notify();
            notify.notified().await;
            assert!(poll_once(notify.notified()).await.is_none());
        });
    }

    #[test]
    fn a_waiting_task_is_woken() {
        let notify = Arc::new(Notify::default());
        let waiter = std::thread::spawn({
            let notify = Arc::clone(&notify);
            move || {
                block_on(async {
                    for _ in 0..2 {
                        notify.notified().await;
                    }
                });
            }
        });
        while !waiter.is_finished() {
            notify.notify();
            std::thread::yield_now();
        }
        waiter.join().unwrap();
    }
}
