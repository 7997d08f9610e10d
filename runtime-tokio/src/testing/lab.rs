//! Where tests that all runtimes have in common run: on tokio, by the system's clock or by one that moves only when nobody has anything
//! to do. What differs from runtime to runtime in a role's test stands here, and nothing else.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use adit::{connection::ResponderConfig, crypto::RustCrypto};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Builder,
    task::JoinError,
};

use super::ends::WALL;
use crate::{
    clock::Clock,
    link::LinkSettings,
    listen::{Accepted, Listener},
    net::Tokio,
    pool::{AcceptedShare, PoolHandle, PoolServeError, PoolSetup, serve_pool},
    provider::{ProviderEvent, ProviderHandle, serve_provider},
    serve::{ServeError, serve},
    shutdown::Shutdown,
};

pub(crate) use crate::{
    net::Tokio as Here,
    queue::{self, Sender, TrySendError},
    stream::Stream,
    watch,
};
pub(crate) use tokio::task::{JoinHandle as Task, yield_now};

/// What a provider's owner hears.
pub(crate) type Events = queue::Receiver<ProviderEvent>;

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

    pub(crate) async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// `None` when the time was up first.
    pub(crate) async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(limit, future).await.ok()
    }

    pub(crate) fn shutdown(&self) -> Shutdown {
        Shutdown::new(self.clock)
    }

    pub(crate) fn serve<C: Future<Output = ()> + Send + 'static>(
        &self,
        listener: Listener,
        shutdown: Shutdown,
        mut start: impl FnMut(Accepted) -> C + Send + 'static,
    ) -> Task<Result<(), ServeError>> {
        self.spawn(async move { serve(&Tokio, vec![listener], &shutdown, move |accepted, _| start(accepted)).await })
    }

    pub(crate) fn serve_provider(
        &self,
        listener: Listener,
        responder: watch::Receiver<Arc<ResponderConfig>>,
        links: Arc<LinkSettings>,
        handle: ProviderHandle,
        shutdown: Shutdown,
    ) -> Task<Result<(), ServeError>> {
        self.spawn(serve_provider::<RustCrypto, _>(Tokio, vec![listener], responder, links, handle, shutdown))
    }

    pub(crate) fn serve_pool(
        &self,
        setup: PoolSetup,
        handle: PoolHandle,
        shares: Sender<AcceptedShare>,
        shutdown: Shutdown,
    ) -> Task<Result<(), PoolServeError>> {
        self.spawn(serve_pool::<RustCrypto, AcceptedShare>(Tokio, setup, handle, shares, shutdown))
    }
}

/// A TCP connection to there, without delay on small frames.
pub(crate) async fn tcp(address: SocketAddr) -> io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Stream::new(stream))
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

/// What a future gives if it need not wait.
pub(crate) async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        })
    })
    .await
}

/// What the first of both gives that is ready.
pub(crate) async fn or<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        outcome = a => outcome,
        outcome = b => outcome,
    }
}

/// What both give.
pub(crate) async fn zip<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
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
