//! Ending in an orderly way: one handle that starts it, everyone else waits for it.
//!
//! What each role does when it starts is the role's business; here is only when, and until when.

use alloc::sync::Arc;
use core::time::Duration;

use super::{Clock, timeout_at, watch};
use crate::time::Instant;

/// A cloneable handle on one shutdown. Anyone who holds it may start it, everyone who holds it hears of it.
///
/// After [`start`](Self::start) listeners stop accepting, roles say goodbye and drain what they have to send; whoever is
/// not done when the grace is over is cut off.
#[derive(Clone, Debug)]
pub struct Shutdown<C> {
    clock: C,
    /// The moment when the grace is over; `None` while running.
    until: Arc<watch::Sender<Option<Instant>>>,
}

impl<C: Clock> Shutdown<C> {
    /// A shutdown that nobody has started. The grace is measured by `clock`.
    #[must_use]
    pub fn new(clock: C) -> Self {
        Self { clock, until: Arc::new(watch::Sender::new(None)) }
    }

    /// Starts it, with `grace` for draining. Called again it can only make the grace shorter: a second Ctrl-C with no
    /// grace ends everything at once.
    pub fn start(&self, grace: Duration) {
        let wanted = self.clock.now().saturating_add(grace);
        self.until.send_if_modified(|until| {
            let earlier = until.is_none_or(|old| wanted < old);
            if earlier {
                *until = Some(wanted);
            }
            earlier
        });
    }

    /// Whether it was started.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.until.borrow().is_some()
    }

    /// When the grace is over, once it was started.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        *self.until.borrow()
    }

    /// What is left of the grace; nothing before the start and after the end.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline().map_or(Duration::ZERO, |deadline| deadline.saturating_since(self.clock.now()))
    }

    /// Waits until it is started; at once if it was. Cancel-safe.
    pub async fn started(&self) {
        let mut until = self.until.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = until.wait_for(Option::is_some).await;
    }

    /// Waits until it was started and its grace is over, also when the grace is made shorter meanwhile. Cancel-safe.
    pub async fn over(&self) {
        let mut until = self.until.subscribe();
        loop {
            let deadline = *until.borrow_and_update();
            let changed = until.changed();
            match deadline {
                None => {
                    let _ = changed.await;
                }
                Some(deadline) => {
                    if timeout_at(&self.clock, deadline, changed).await.is_none() {
                        return;
                    }
                }
            }
        }
    }
}
