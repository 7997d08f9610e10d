//! A value that one side changes and others watch: they see the newest, and may miss what was in between.

use alloc::sync::Arc;
use core::{
    fmt,
    ops::Deref,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use event_listener::{Event, EventListener};

struct Inner<T> {
    /// With the number of changes.
    value: RwLock<(T, u64)>,
    changed: Event,
    senders: AtomicUsize,
}

impl<T> Inner<T> {
    fn read(&self) -> RwLockReadGuard<'_, (T, u64)> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_changed(&self, seen: u64) -> Result<bool, Closed> {
        // Senders first: the last one may change the value and go.
        let closed = self.senders.load(SeqCst) == 0;
        let changed = self.read().1 != seen;
        if closed && !changed { Err(Closed) } else { Ok(changed) }
    }
}

/// A look at the value. Changes wait as long as it lives, so it must not be held across an await point.
#[derive(Debug)]
pub struct Ref<'a, T>(RwLockReadGuard<'a, (T, u64)>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}

/// Nobody is left who could change the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody is left who could change the value")
    }
}

impl core::error::Error for Closed {}

/// The side that changes the value.
pub struct Sender<T> {
    inner: Arc<Inner<T>>,
}

/// A side that watches. It remembers the last change that it has seen.
pub struct Receiver<T> {
    inner: Arc<Inner<T>>,
    seen: u64,
    /// A wait that was given up: the next one goes on with it, so that waiting among other things, again and again, allocates once.
    listening: Option<EventListener>,
}

/// Both sides of a value.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// A value that nobody watches yet.
    #[must_use]
    pub fn new(value: T) -> Self {
        let inner = Inner { value: RwLock::new((value, 0)), changed: Event::new(), senders: AtomicUsize::new(1) };
        Self { inner: Arc::new(inner) }
    }

    /// The value now.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.inner.read())
    }

    /// Another value, known to all who watch; gives the old one.
    pub fn send_replace(&self, value: T) -> T {
        let mut value = value;
        self.send_if_modified(|old| {
            core::mem::swap(old, &mut value);
            true
        });
        value
    }

    /// Looks at the value and changes it perhaps; those who watch hear of it when `change` says `true`, which is passed on.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut value = self.inner.value.write().unwrap_or_else(PoisonError::into_inner);
        let (now, changes) = &mut *value;
        let modified = change(now);
        *changes += u64::from(modified);
        drop(value);
        if modified {
            self.inner.changed.notify(usize::MAX);
        }
        modified
    }

    /// Someone who watches from now on; the value as it is counts as seen.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.inner.read().1;
        Receiver { inner: Arc::clone(&self.inner), seen, listening: None }
    }
}

impl<T: Default> Default for Sender<T> {
    fn default() -> Self {
        Self::new(T::default())
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
            self.inner.changed.notify(usize::MAX);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("watch::Sender").field(&*self.borrow()).finish()
    }
}

impl<T> Receiver<T> {
    /// The value now.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.inner.read())
    }

    /// The value now, which counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.inner.read();
        self.seen = value.1;
        Ref(value)
    }

    /// The value as it is counts as a change that was not seen.
    pub fn mark_changed(&mut self) {
        self.seen = u64::MAX;
    }

    /// Whether there was a change since the last one seen.
    pub fn has_changed(&self) -> Result<bool, Closed> {
        self.inner.has_changed(self.seen)
    }

    /// Waits for a change since the last one seen, which then counts as seen. Cancel-safe.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        while !self.has_changed()? {
            match &mut self.listening {
                Some(listening) => {
                    listening.await;
                    self.listening = None;
                }
                // Before it is waited for comes another look: something may have happened in between.
                none => *none = Some(self.inner.changed.listen()),
            }
        }
        self.seen = self.inner.read().1;
        Ok(())
    }

    /// Waits until the value is as wanted; at once if it is. Cancel-safe.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<(), Closed> {
        while !wanted(&self.borrow_and_update()) {
            self.changed().await?;
        }
        Ok(())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), seen: self.seen, listening: None }
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("watch::Receiver").field(&*self.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn who_watches_sees_the_newest_and_each_change_once() {
        let (sender, mut receiver) = channel(1);
        assert_eq!((*receiver.borrow(), receiver.has_changed()), (1, Ok(false)));
        assert_eq!((sender.send_replace(2), sender.send_replace(3)), (1, 2));
        block_on(async {
            receiver.changed().await.unwrap();
            assert_eq!(*receiver.borrow(), 3);
            assert!(poll_once(receiver.changed()).await.is_none(), "both changes were seen");
            receiver.mark_changed();
            receiver.changed().await.unwrap();
        });
        assert!(!sender.send_if_modified(|_| false));
        assert_eq!(receiver.has_changed(), Ok(false));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "what threads share is tested with threads")]
    fn who_waits_is_woken_by_a_change_and_by_the_end() {
        let (sender, mut receiver) = channel(0);
        let second = sender.clone();
        let waiter = std::thread::spawn(move || {
            block_on(async {
                receiver.wait_for(|value| *value == 5).await.unwrap();
                receiver.changed().await
            })
        });
        for value in 1..=5 {
            sender.send_replace(value);
        }
        drop((sender, second));
        assert_eq!(waiter.join().unwrap(), Err(Closed));
    }

    /// Each registration is an allocation.
    #[test]
    fn a_wait_that_was_given_up_is_not_registered_anew() {
        let (sender, mut receiver) = channel(0);
        let registered = |receiver: &Receiver<i32>| alloc::format!("{:?}", receiver.inner.changed);
        block_on(async {
            assert!(poll_once(receiver.changed()).await.is_none());
            let once = registered(&receiver);
            assert!(once.contains("listeners_total: 1"), "{once}");
            for _ in 0..3 {
                assert!(poll_once(receiver.changed()).await.is_none());
                assert_eq!(registered(&receiver), once);
            }
            // It hears of a change all the same, and of the next one.
            for value in 1..3 {
                sender.send_replace(value);
                assert_eq!(receiver.changed().await, Ok(()));
                assert!(poll_once(receiver.changed()).await.is_none());
            }
            drop(sender);
            assert_eq!(receiver.changed().await, Err(Closed));
        });
    }

    #[test]
    fn the_last_value_outlives_its_sender() {
        let (sender, mut receiver) = channel(0);
        sender.send_replace(1);
        drop(sender);
        block_on(async {
            assert_eq!(receiver.changed().await, Ok(()));
            assert_eq!(*receiver.borrow(), 1);
            assert_eq!(receiver.changed().await, Err(Closed));
            assert!(receiver.wait_for(|value| *value == 2).await.is_err());
            assert_eq!(receiver.wait_for(|value| *value == 1).await, Ok(()));
        });
    }
}
