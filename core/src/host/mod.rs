//! What the runtimes of servers share: links, listeners and roles as futures, the same on each of them (feature `std`).
//!
//! The only place in the core with mutexes, wakers and tasks. Still no I/O, clock, random numbers or global of its own: what differs between
//! runtimes comes in through the traits here, and nothing below this module knows of it. Firmware has no use for it; `adit-embassy` stands
//! on [`link`](crate::link) and [`role`](crate::role) directly.

pub mod connect;
pub mod device;
pub mod entropy;
pub mod gate;
pub mod link;
pub mod listen;
pub mod pool;
pub mod provider;
pub mod queue;
pub mod serve;
pub mod shutdown;
#[cfg(test)]
mod testing;
pub mod upstream;
pub mod wake;
pub mod watch;

/// News for many, each of whom misses the oldest when it falls behind.
pub use async_broadcast as broadcast;

use core::fmt::Debug;
use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::vec::Vec;

use futures_lite::future::or;

use crate::time::{Instant, UnixTime};

/// Time, as a runtime tells it and waits for it. Clones show the same time.
pub trait Clock: Clone + Debug + Send + Sync + 'static {
    /// A wait.
    type Sleep: Future<Output = ()> + Send;

    /// The monotonic time now.
    fn now(&self) -> Instant;

    /// Wall-clock time now.
    fn wall(&self) -> UnixTime;

    /// Waits until `at`; not at all when that has passed. Cancel-safe.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;

    /// Sees that `sleep` is not over later than at `at`: one that is over already begins anew, one that is sooner stays as it is, because
    /// to move a timer costs and to look too early does not.
    fn bring_forward(&self, sleep: Pin<&mut Self::Sleep>, at: Instant);

    /// Lets all else that is ready go first, a look at the sockets included. A future that only wakes itself may be polled again before
    /// the runtime has seen what arrived.
    fn yield_now(&self) -> impl Future<Output = ()> + Send;
}

/// Waits until `at`; for ever without a deadline. Cancel-safe.
pub async fn sleep_until<C: Clock>(clock: &C, at: Option<Instant>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => core::future::pending().await,
    }
}

/// What `future` gives, or `None` when it takes longer than until `at`.
pub async fn timeout_at<C: Clock, T>(clock: &C, at: Instant, future: impl Future<Output = T>) -> Option<T> {
    let over = async {
        clock.sleep_until(at).await;
        None
    };
    or(async { Some(future.await) }, over).await
}

/// A stream of bytes both ways. Its calls are those of the runtimes' own streams, of which each has other traits.
pub trait Stream: Send + Unpin + 'static {
    /// Reads some bytes into `space`, which is not empty; none at the end of the peer's half.
    fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Waits until a read may find something, or fails as that would. For streams that can tell without room to read to: who was woken to write
    /// need not find room to learn that there is nothing.
    fn poll_readable(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Writes some of `bytes`, which are not empty.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends what was written and is kept by the stream.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Has the next read ask the system, whether or not the stream was told that something has arrived: at an end both count. For streams
    /// that wait to be told, and hear of it later than [`Clock::yield_now`] returns.
    fn look(&mut self) {}

    /// Ends this side's half, and leaves the other one open.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// Starts tasks, on whatever threads the program chose.
pub trait Spawn: Clone + Send + Sync {
    /// A task.
    type Task: Task;

    /// Starts a task that runs without being looked at.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Self::Task;
}

/// A running task. Dropping it cancels its future, soon.
pub trait Task: Send + 'static {
    /// Cancels its future, and waits until that is dropped; a panic of its is not passed on.
    fn cancel(self) -> impl Future<Output = ()> + Send;
}

/// What a runtime has of sockets and of entropy. No value: its types and functions are all there is to it.
pub trait Runtime: Debug + Send + Sync + 'static {
    /// Its clock.
    type Clock: Clock;

    /// A connected stream, which sends small frames without delay and notices a peer that vanished.
    type Stream: Stream + Debug;

    /// A socket that listens.
    type Socket: Debug + Send + Sync;

    /// The addresses of a name, in the resolver's order; of an address itself (without brackets).
    fn look_up(host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects. Cancel-safe: dropping the future drops the attempt.
    fn dial(address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Listens; port 0 lets the system choose. Up to `backlog` connections wait in the system.
    fn listen(address: SocketAddr, backlog: u16) -> io::Result<Self::Socket>;

    /// Where a socket listens.
    fn address(socket: &Self::Socket) -> io::Result<SocketAddr>;

    /// Waits for the next connection. Cancel-safe.
    fn accept(socket: &Self::Socket) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Fills `bytes` with fresh entropy of the operating system's. Nothing is buffered or stretched, so a fork or a restored snapshot
    /// never repeats bytes.
    fn fill(bytes: &mut [u8]) -> io::Result<()>;
}
