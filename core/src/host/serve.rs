//! A server's accept loop: one task for each connection, all of them ended in order. What runs in a task is the owner's.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{
    any::Any,
    fmt,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    task::Poll,
};
use std::collections::HashMap;

use async_channel::{Receiver, Sender};
use futures_lite::{FutureExt, future::or};

use super::{
    Clock, Runtime, Spawn, Stream, Task,
    entropy::{EntropyError, entropy},
    gate::Admission,
    link::{Link, LinkError},
    listen::{Accepted, Listener},
    shutdown::Shutdown,
    wake::{Signal, when},
};
use crate::{
    connection::{Connection, ResponderConfig},
    crypto::Provider,
    link::{LinkSettings, Turn},
    protocol::{Protocol, Responder},
};

/// A server ended before its shutdown.
#[derive(Debug)]
pub struct ServeError {
    panic: String,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a task panicked, and what the others share can't be trusted any more: {}", self.panic)
    }
}

impl core::error::Error for ServeError {}

impl ServeError {
    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self { panic: text.unwrap_or_else(|| "no message".into()) }
    }
}

/// How a task ended: its number, and the payload of its panic.
type End = (u64, Result<(), Box<dyn Any + Send>>);

/// Tasks by number, with what they are told by. Dropping this cancels all of them.
struct Connections<'s, S: Spawn> {
    spawn: &'s S,
    tasks: HashMap<u64, (S::Task, Arc<Signal>)>,
    next: u64,
    to_us: Sender<End>,
    ended: Receiver<End>,
}

impl<'s, S: Spawn> Connections<'s, S> {
    fn new(spawn: &'s S) -> Self {
        let (to_us, ended) = async_channel::unbounded();
        Self { spawn, tasks: HashMap::new(), next: 0, to_us, ended }
    }

    fn spawn(&mut self, signal: Arc<Signal>, future: impl Future<Output = ()> + Send + 'static) {
        let (number, to) = (self.next, self.to_us.clone());
        self.next += 1;
        // In a box of its own, since the compiler would keep it twice in the task.
        let future = Box::pin(AssertUnwindSafe(future).catch_unwind());
        let task = self.spawn.spawn(async move {
            let end = future.await;
            // The server may be gone; this task is about to be, then.
            let _gone = to.try_send((number, end));
        });
        self.tasks.insert(number, (task, signal));
    }

    /// Waits for the next end of a task. Cancel-safe.
    async fn end(&self) -> End {
        match self.ended.recv().await {
            Ok(end) => end,
            // `self` has a sender.
            Err(_) => core::future::pending().await,
        }
    }

    fn check(&mut self, (number, end): End) -> Result<(), ServeError> {
        self.tasks.remove(&number);
        end.map_err(|payload| ServeError::panicked(&*payload))
    }
}

/// What a server wakes up to.
enum Step<R: Runtime> {
    Shutdown,
    Ended(End),
    Accepted(Accepted<R>),
}

/// Accepts connections and spawns what `start` makes of each, until the shutdown starts; then waits for all tasks, and cuts off those that
/// are not done when the grace is over. A task hears of the shutdown by the [`Signal`] that `start` gets for it.
///
/// A panic in a task ends everything with an error: panics are bugs, and a role that was left in the middle of a change would lie to
/// everybody else.
///
/// Dropping the future drops the listeners and all connections.
pub async fn serve<R, S, F, C>(
    spawn: &S,
    listeners: Vec<Listener<R>>,
    shutdown: &Shutdown<impl Clock>,
    mut start: F,
) -> Result<(), ServeError>
where
    R: Runtime,
    S: Spawn,
    F: FnMut(Accepted<R>, Arc<Signal>) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    let mut connections = Connections::new(spawn);
    let (to_us, accepted) = async_channel::bounded(1);
    let mut accepting = Vec::new();
    for listener in listeners {
        tracing::info!(address = %listener.address(), "listening");
        accepting.push(spawn.spawn(accept(listener, to_us.clone())));
    }
    loop {
        let step = or(
            async {
                shutdown.started().await;
                Step::Shutdown
            },
            or(async { Step::Ended(connections.end().await) }, async {
                match accepted.recv().await {
                    Ok(accepted) => Step::Accepted(accepted),
                    // `to_us` is here.
                    Err(_) => core::future::pending().await,
                }
            }),
        );
        match step.await {
            Step::Shutdown => break,
            Step::Ended(end) => connections.check(end)?,
            Step::Accepted(accepted) => {
                let signal = Arc::<Signal>::default();
                connections.spawn(Arc::clone(&signal), start(accepted, signal));
            }
        }
    }
    for task in accepting {
        task.cancel().await;
    }
    drop(accepted);
    tracing::info!(connections = connections.tasks.len(), "no longer listening");
    for (_, signal) in connections.tasks.values() {
        signal.shut_down();
    }
    while !connections.tasks.is_empty() {
        let end = or(async { Some(connections.end().await) }, async {
            shutdown.over().await;
            None
        });
        match end.await {
            Some(end) => connections.check(end)?,
            None => break,
        }
    }
    if !connections.tasks.is_empty() {
        tracing::warn!(connections = connections.tasks.len(), "cutting off connections that did not end in time");
    }
    for (_, (task, _)) in connections.tasks.drain() {
        task.cancel().await;
    }
    Ok(())
}

async fn accept<R: Runtime>(mut listener: Listener<R>, to: Sender<Accepted<R>>) {
    // Nobody receives only when the accepting is about to end.
    while to.send(listener.accept().await).await.is_ok() {}
}

/// A server's link, and its place at the gate, which is to be kept as long.
pub type Responding<Pr, P, R> = (Link<Responder, Pr, P, <R as Runtime>::Stream, <R as Runtime>::Clock>, Admission);

/// Joins an accepted stream with a fresh connection.
pub fn respond<Pr: Protocol, P: Provider, R: Runtime>(
    accepted: Accepted<R>,
    config: &ResponderConfig,
    settings: &Arc<LinkSettings<R::Clock>>,
) -> Result<Responding<Pr, P, R>, EntropyError> {
    let Accepted { stream, peer, admission } = accepted;
    let connection = Connection::responder(config, entropy::<R>()?, settings.clock.now());
    Ok((Link::new(connection, stream, peer, Arc::clone(settings)), admission))
}

/// What the task of a server's connection wakes up to.
pub(super) enum Next {
    /// Its signal: there is something to send, or to end.
    Woken,
    /// The link.
    Turn(Result<Turn, LinkError>),
    /// Nothing else was there to do, while `settling`: all that had arrived before the end began is dealt with.
    Settled,
}

/// Waits for the next of them. Cancel-safe.
pub(super) async fn next<Pr, P, S, C>(
    link: &mut Link<Responder, Pr, P, S, C>,
    signal: &Signal,
    clock: &C,
    settling: bool,
) -> Next
where
    Pr: Protocol,
    P: Provider,
    S: Stream,
    C: Clock,
{
    // The signal goes first, but nobody is registered with it while the link has something.
    let woken_or_turn = poll_fn(|cx| {
        if signal.take() {
            return Poll::Ready(Next::Woken);
        }
        match link.poll_next(cx) {
            Poll::Ready(turn) => Poll::Ready(Next::Turn(turn)),
            Poll::Pending => signal.poll_woken(cx).map(|()| Next::Woken),
        }
    });
    let settled = async {
        when(settling, clock.yield_now()).await;
        Next::Settled
    };
    or(woken_or_turn, settled).await
}

/// Writes the end of a client's link to the log: what strangers do on a level that is off by default, what this side did wrong as an
/// error.
pub(super) fn log_failure(error: &LinkError) {
    if error.is_ours() {
        tracing::error!(%error, "connection failed");
    } else {
        tracing::debug!(%error, "connection failed");
    }
}
