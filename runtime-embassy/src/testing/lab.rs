//! Where the role tests that all runtimes have in common run: two joined stacks, and tasks beside the test.

use core::cell::Cell;
use core::time::Duration;
use std::future::Future;
use std::rc::Rc;

use adit::time::Instant;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;

use super::net::Net;
use super::time::{Spawner, Tasks, block_on};
use crate::clock::{now, sleep_until};

/// How long a device that is stopped waits for answers.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How much longer than its grace a device may take to close its stream, which has to be acknowledged.
pub(crate) const CLOSING: Duration = Duration::from_secs(3);

/// What a test has.
pub(crate) struct Lab {
    pub(crate) net: Net,
    spawner: Spawner<'static>,
    /// The next port that no pool had.
    port: Cell<u16>,
}

/// What a task is going to give.
pub(crate) type Task<T> = Rc<Signal<NoopRawMutex, T>>;

impl Lab {
    pub(crate) fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let done = Task::default();
        let outcome = Rc::clone(&done);
        self.spawner.spawn(async move { outcome.signal(future.await) });
        done
    }

    #[allow(clippy::unused_self, reason = "a lab of another runtime has a clock")]
    pub(crate) async fn sleep(&self, time: Duration) {
        wait(time).await;
    }

    #[allow(clippy::unused_self, reason = "a lab of another runtime has a clock")]
    pub(crate) fn now(&self) -> Instant {
        now()
    }

    /// How long ago that was.
    pub(crate) fn since(&self, begin: Instant) -> Duration {
        self.now().saturating_since(begin)
    }

    /// A port that no pool had.
    pub(crate) fn free_port(&self) -> u16 {
        self.port.replace(self.port.get() + 1)
    }
}

/// Virtual time passes.
pub(crate) async fn wait(time: Duration) {
    sleep_until(Some(now().saturating_add(time))).await;
}

/// Looks every millisecond of virtual time whether that is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        wait(Duration::from_millis(1)).await;
    }
}

/// What the first of both gives that is ready.
pub(crate) async fn or<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    match select(a, b).await {
        Either::First(outcome) | Either::Second(outcome) => outcome,
    }
}

/// Runs a test and its tasks.
pub(crate) fn run<T>(test: impl AsyncFnOnce(Lab) -> T) -> T {
    block_on(async {
        let mut tasks = Tasks::default();
        let lab = Lab { net: Net::new(&mut tasks), spawner: tasks.spawner(), port: Cell::new(3_333) };
        tasks.run(test(lab)).await
    })
}
