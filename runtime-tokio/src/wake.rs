//! Waking the one task that serves a connection of a role.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use adit::role::ConnectionId;
use tokio::sync::Notify;

/// The task of a connection, as others reach it.
#[derive(Debug, Default)]
pub(crate) struct Task {
    notify: Notify,
    close: AtomicBool,
}

impl Task {
    /// Whether the connection is to be closed.
    pub(crate) fn is_to_close(&self) -> bool {
        self.close.load(Relaxed)
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
            task.notify.notify_one();
        }
    }

    /// Has a connection closed by its task.
    pub(crate) fn close(&self, id: ConnectionId) {
        if let Some(task) = self.tasks.get(&id) {
            task.close.store(true, Relaxed);
            task.notify.notify_one();
        }
    }
}
