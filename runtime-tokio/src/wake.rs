//! Waking the one task that serves a connection of a role.

use std::{collections::HashMap, future::pending, sync::Arc};

use adit::role::ConnectionId;
use tokio::sync::Notify;

/// Waits until the connection's task is woken; for ever while the role does not know the connection yet. Cancel-safe: a wake that
/// nobody waited for is kept.
pub(crate) async fn woken(notify: Option<&Notify>) {
    match notify {
        Some(notify) => notify.notified().await,
        None => pending().await,
    }
}

/// The tasks of a role's connections, by id.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    tasks: HashMap<ConnectionId, Arc<Notify>>,
}

impl Wakers {
    /// Adds a connection; its task waits on the result.
    pub(crate) fn add(&mut self, id: ConnectionId) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        self.tasks.insert(id, Arc::clone(&notify));
        notify
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        self.tasks.remove(&id);
    }

    /// Wakes the task of a connection, now or when it next waits. Nothing happens for an id that is gone.
    pub(crate) fn wake(&self, id: ConnectionId) {
        if let Some(notify) = self.tasks.get(&id) {
            notify.notify_one();
        }
    }
}
