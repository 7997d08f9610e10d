//! Where tests run: on one thread or on several, by the system's clock or by one that moves only when nobody has anything to do. What
//! differs from runtime to runtime in a role's test stands here, and nothing else.

use std::{
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use adit::host;
use async_executor::Executor;
use async_io::Timer;
use atomic_waker::AtomicWaker;
use futures_lite::future::{or, poll_fn};
use socket2::{Domain, Socket, Type};

use super::ends::WALL;
use crate::{clock::Clock, net::Spawn, stream::Stream};

pub(crate) use crate::net::Smol as Here;
pub(crate) use async_executor::Task;
pub(crate) use futures_lite::future::yield_now;

/// How long, by the system's clock, nothing must happen before a still clock moves on: what is on its way through a socket arrives
/// meanwhile, also on a busy machine.
const MOMENT: Duration = Duration::from_millis(30);

/// What a test has.
#[derive(Clone)]
pub(crate) struct Lab {
    clock: Clock,
    executor: Arc<Executor<'static>>,
}

impl Lab {
    /// The one clock of the test.
    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        self.executor.spawn(future)
    }

    /// Spawns what nobody waits for.
    pub(crate) fn go(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn(future).detach();
    }
}

impl host::Spawn for Lab {
    type Task = crate::net::Task;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Self::Task {
        Spawn(&self.executor).spawn(future)
    }
}

pub(crate) fn nodelay(stream: &Stream) -> bool {
    stream.get_ref().nodelay().unwrap()
}

/// Listens with the shortest queue there is, and never accepts.
pub(crate) fn deaf() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// What a task gave.
pub(crate) async fn join<T>(task: impl Future<Output = T>) -> T {
    task.await
}

/// Whether the test itself was woken.
#[derive(Default)]
struct Woken {
    woken: AtomicBool,
    waker: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.waker.wake();
    }
}

/// Runs a test and its tasks by the system's clock.
pub(crate) fn run<T>(test: impl AsyncFnOnce(Lab) -> T) -> T {
    let lab = Lab { clock: Clock::start_at(WALL), executor: Arc::default() };
    let executor = Arc::clone(&lab.executor);
    async_io::block_on(executor.run(test(lab)))
}

/// Runs a test without sockets by a still clock: whenever the test and its tasks wait, the clock moves to the next deadline.
pub(crate) fn run_in_memory<T>(test: impl AsyncFnOnce(Lab) -> T) -> T {
    run_with(Duration::ZERO, test)
}

/// As [`run_in_memory`], for a test with sockets.
pub(crate) fn run_still<T>(test: impl AsyncFnOnce(Lab) -> T) -> T {
    run_with(MOMENT, test)
}

fn run_with<T>(quiet: Duration, test: impl AsyncFnOnce(Lab) -> T) -> T {
    let lab = Lab { clock: Clock::still(WALL), executor: Arc::default() };
    let (clock, executor) = (lab.clock.clone(), Arc::clone(&lab.executor));
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(Arc::clone(&woken));
    async_io::block_on(async {
        let mut test = pin!(test(lab));
        let mut test = poll_fn(|cx| {
            woken.waker.register(cx.waker());
            test.as_mut().poll(&mut Context::from_waker(&waker))
        });
        loop {
            woken.woken.store(false, SeqCst);
            let step = or(
                async { Some(Some((&mut test).await)) },
                or(
                    async {
                        executor.tick().await;
                        Some(None)
                    },
                    async {
                        Timer::after(quiet).await;
                        None
                    },
                ),
            );
            match step.await {
                Some(Some(outcome)) => return outcome,
                Some(None) => {}
                None => {
                    if !woken.woken.load(SeqCst) {
                        // Without a sleeper only a socket can go on.
                        let _nobody_sleeps = clock.advance_to_next();
                    }
                }
            }
        }
    })
}

/// Runs a test on this thread and its tasks on several others, by the system's clock.
pub(crate) fn run_on_threads<T>(threads: usize, test: impl AsyncFnOnce(Lab) -> T) -> T {
    let lab = Lab { clock: Clock::start_at(WALL), executor: Arc::default() };
    let (stop, stopped) = async_channel::bounded::<()>(1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (executor, stopped) = (Arc::clone(&lab.executor), stopped.clone());
            scope.spawn(move || async_io::block_on(executor.run(stopped.recv())).is_err());
        }
        let outcome = async_io::block_on(test(lab));
        drop(stop);
        outcome
    })
}
