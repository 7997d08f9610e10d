//! An executor whose time is virtual, and each test thread's own: it advances a little with every round, and jumps when everybody waits.

use std::boxed::Box;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::vec::Vec;

use embassy_time_driver::{Driver, TICK_HZ, time_driver_impl};

/// Ticks that a round of polls takes: ten microseconds.
const ROUND: u64 = TICK_HZ / 100_000;

#[derive(Default)]
struct Time {
    now: u64,
    alarms: Vec<(u64, Waker)>,
}

std::thread_local! {
    static TIME: RefCell<Time> = RefCell::default();
}

struct Virtual;

impl Driver for Virtual {
    fn now(&self) -> u64 {
        TIME.with_borrow(|time| time.now)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        TIME.with_borrow_mut(|time| match time.alarms.iter_mut().find(|(_, known)| known.will_wake(waker)) {
            // One alarm for each task, as embassy has it: whoever wakes early looks at the time and asks again.
            Some((known, _)) => *known = at.min(*known),
            None => time.alarms.push((at, waker.clone())),
        });
    }
}

time_driver_impl!(static DRIVER: Virtual = Virtual);

/// Advances to `to`, and wakes who waits for that.
fn advance(to: u64) {
    let due = TIME.with_borrow_mut(|time| {
        time.now = time.now.max(to);
        let now = time.now;
        time.alarms.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>()
    });
    for (_, waker) in due {
        waker.wake();
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// Runs a future to its end, from time 0 on. Panics when everybody waits for each other.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    TIME.set(Time::default());
    let mut future = pin!(future);
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut cx = Context::from_waker(&waker);
    loop {
        flag.0.store(false, SeqCst);
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        let now = TIME.with_borrow(|time| time.now);
        advance(now + ROUND);
        if !flag.0.load(SeqCst) {
            let next = TIME.with_borrow(|time| time.alarms.iter().map(|(at, _)| *at).min());
            advance(next.expect("everybody waits for each other"));
        }
    }
}

/// A future that is polled when it was woken itself, and not whenever anybody was.
struct Task<'t> {
    future: Pin<Box<dyn Future<Output = ()> + 't>>,
    woken: Arc<Woken>,
    waker: Waker,
}

/// Says which task was woken, and passes that on to the executor.
struct Woken {
    this: AtomicBool,
    executor: Mutex<Waker>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.this.store(true, SeqCst);
        self.executor.lock().unwrap().wake_by_ref();
    }
}

impl<'t> Task<'t> {
    fn new(future: impl Future<Output = ()> + 't) -> Self {
        let woken = Woken { this: AtomicBool::new(true), executor: Mutex::new(Waker::noop().clone()) };
        let woken = Arc::new(woken);
        Self { future: Box::pin(future), waker: Waker::from(Arc::clone(&woken)), woken }
    }

    /// True when it is done.
    fn poll(&mut self, cx: &Context<'_>) -> bool {
        self.woken.executor.lock().unwrap().clone_from(cx.waker());
        if !self.woken.this.swap(false, SeqCst) {
            return false;
        }
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready()
    }
}

/// Futures that run beside each other until one of them is done.
#[derive(Default)]
pub(crate) struct Tasks<'t> {
    running: Vec<Task<'t>>,
    spawner: Spawner<'t>,
}

/// Adds to [`Tasks`] that run already.
#[derive(Clone, Default)]
pub(crate) struct Spawner<'t>(Rc<RefCell<Vec<Task<'t>>>>);

impl<'t> Spawner<'t> {
    /// One more.
    pub(crate) fn spawn<T>(&self, future: impl Future<Output = T> + 't) {
        self.0.borrow_mut().push(Task::new(async {
            future.await;
        }));
    }
}

impl<'t> Tasks<'t> {
    /// One more.
    pub(crate) fn spawn<T>(&mut self, future: impl Future<Output = T> + 't) {
        self.spawner.spawn(future);
    }

    pub(crate) fn spawner(&self) -> Spawner<'t> {
        self.spawner.clone()
    }

    /// Runs all until `main` is done; a task that ends before is forgotten.
    pub(crate) async fn run<F: Future>(&mut self, main: F) -> F::Output {
        let mut value = None;
        let mut main = Task::new(async { value = Some(main.await) });
        poll_fn(|cx| {
            if main.poll(cx) {
                return Poll::Ready(());
            }
            self.running.extend(self.spawner.0.take());
            self.running.retain_mut(|task| !task.poll(cx));
            if !self.spawner.0.borrow().is_empty() {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        drop(main);
        value.expect("it is done")
    }
}

/// Calls `begin` anew whenever its future waits, dropping the one that waits: so it is dropped at every await that it ever comes to.
pub(crate) async fn chopped<T>(mut begin: impl AsyncFnMut() -> T) -> T {
    loop {
        let mut waits = pin!(begin());
        let once = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx)));
        if let Poll::Ready(value) = once.await {
            return value;
        }
        // What woke the old future wakes the new one.
        let mut slept = false;
        poll_fn(|_| if std::mem::replace(&mut slept, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}
