//! Where tests that all runtimes have in common run: on tokio, by the system's clock or by one that moves only when nobody has anything
//! to do. What differs from runtime to runtime in a role's test stands here, and nothing else.

use std::{future::Future, net::SocketAddr};

use adit::host::Spawn;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Builder,
    task::JoinError,
};

use super::ends::WALL;
use crate::{clock::Clock, net::Tokio, stream::Stream};

pub(crate) use crate::net::Tokio as Here;
pub(crate) use tokio::task::{JoinHandle as Task, yield_now};

/// What a test has.
#[derive(Clone)]
pub(crate) struct Lab {
    clock: Clock,
}

#[allow(clippy::unused_self, reason = "a lab of another runtime has an executor and one clock for all")]
impl Lab {
    /// The one clock of the test.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        tokio::spawn(future)
    }

    /// Spawns what nobody waits for.
    pub(crate) fn go(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.spawn(future));
    }
}

impl Spawn for Lab {
    type Task = crate::net::Task;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Self::Task {
        Tokio.spawn(future)
    }
}

pub(crate) fn nodelay(stream: &Stream) -> bool {
    stream.get_ref().nodelay().unwrap()
}

/// Listens with the shortest queue there is, and never accepts.
pub(crate) fn deaf() -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// What a task gave.
pub(crate) async fn join<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    task.await.unwrap()
}

/// Runs a test by the system's clock.
pub(crate) fn run<T>(test: impl AsyncFnOnce(Lab) -> T) -> T {
    run_on(&mut Builder::new_current_thread(), test)
}

/// Runs a test by a clock that moves to the next deadline whenever the test and its tasks wait.
pub(crate) fn run_still<T>(test: impl AsyncFnOnce(Lab) -> T) -> T {
    run_on(Builder::new_current_thread().start_paused(true), test)
}

/// As [`run_still`], for a test without sockets.
pub(crate) fn run_in_memory<T>(test: impl AsyncFnOnce(Lab) -> T) -> T {
    run_still(test)
}

/// Runs a test on this thread and its tasks on several others, by the system's clock.
pub(crate) fn run_on_threads<T>(threads: usize, test: impl AsyncFnOnce(Lab) -> T) -> T {
    run_on(Builder::new_multi_thread().worker_threads(threads), test)
}

fn run_on<T>(builder: &mut Builder, test: impl AsyncFnOnce(Lab) -> T) -> T {
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async { test(Lab { clock: Clock::start_at(WALL) }).await })
}
