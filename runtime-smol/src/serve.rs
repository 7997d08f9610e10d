//! A server's accept loop: one task for each connection, all of them ended in order. What runs in a task is the owner's.

use std::{any::Any, collections::HashMap, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc};

use adit::{
    connection::{Connection, ResponderConfig},
    crypto::Provider,
    protocol::{Protocol, Responder},
};
use async_channel::{Receiver, Sender};
use async_executor::{Executor, Task};
use futures_lite::{FutureExt, future::or};

use crate::{
    entropy::{EntropyError, entropy},
    gate::Admission,
    link::{Link, LinkError, LinkSettings},
    listen::{Accepted, Listener},
    shutdown::Shutdown,
    stream::Stream,
};

/// A server ended before its shutdown.
#[derive(Debug)]
pub struct ServeError {
    panic: String,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a connection's task panicked, and what the others share can't be trusted any more: {}", self.panic)
    }
}

impl std::error::Error for ServeError {}

impl ServeError {
    fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self { panic: text.unwrap_or_else(|| "no message".into()) }
    }
}

/// How a task ended: its number, and the payload of its panic.
type End = (u64, Result<(), Box<dyn Any + Send>>);

/// Tasks by number. Dropping this cancels all of them.
struct Connections<'e> {
    executor: &'e Executor<'static>,
    tasks: HashMap<u64, Task<()>>,
    next: u64,
    to_us: Sender<End>,
    ended: Receiver<End>,
}

impl<'e> Connections<'e> {
    fn new(executor: &'e Executor<'static>) -> Self {
        let (to_us, ended) = async_channel::unbounded();
        Self { executor, tasks: HashMap::new(), next: 0, to_us, ended }
    }

    fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        let (number, to) = (self.next, self.to_us.clone());
        self.next += 1;
        // In a box of its own, since the compiler would keep it twice in the task.
        let future = Box::pin(AssertUnwindSafe(future).catch_unwind());
        let task = self.executor.spawn(async move {
            let end = future.await;
            // The server may be gone; this task is about to be, then.
            let _gone = to.try_send((number, end));
        });
        self.tasks.insert(number, task);
    }

    /// Waits for the next end of a task. Cancel-safe.
    async fn end(&self) -> End {
        match self.ended.recv().await {
            Ok(end) => end,
            // `self` has a sender.
            Err(_) => std::future::pending().await,
        }
    }

    fn check(&mut self, (number, end): End) -> Result<(), ServeError> {
        self.tasks.remove(&number);
        end.map_err(|payload| ServeError::panicked(&*payload))
    }
}

/// What a server wakes up to.
enum Step {
    Shutdown,
    Ended(End),
    Accepted(Accepted),
}

/// Accepts connections and spawns what `start` makes of each on `executor`, until the shutdown starts; then waits for all tasks, and cuts
/// off those that are not done when the grace is over.
///
/// A panic in a task ends everything with an error: panics are bugs, and a role that was left in the middle of a change would lie to
/// everybody else.
///
/// Someone must run the executor, on as many threads as there are cores to use. Dropping the future drops the listeners and all
/// connections.
pub async fn serve<F, C>(
    executor: &Executor<'static>,
    listeners: Vec<Listener>,
    shutdown: &Shutdown,
    mut start: F,
) -> Result<(), ServeError>
where
    F: FnMut(Accepted) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    let mut connections = Connections::new(executor);
    let (to_us, accepted) = async_channel::bounded(1);
    let mut accepting = Vec::new();
    for listener in listeners {
        tracing::info!(address = %listener.address(), "listening");
        accepting.push(executor.spawn(accept(listener, to_us.clone())));
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
                    Err(_) => std::future::pending().await,
                }
            }),
        );
        match step.await {
            Step::Shutdown => break,
            Step::Ended(end) => connections.check(end)?,
            Step::Accepted(accepted) => connections.spawn(start(accepted)),
        }
    }
    for task in accepting {
        task.cancel().await;
    }
    drop(accepted);
    tracing::info!(connections = connections.tasks.len(), "no longer listening");
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
    for (_, task) in connections.tasks.drain() {
        task.cancel().await;
    }
    Ok(())
}

async fn accept(mut listener: Listener, to: Sender<Accepted>) {
    // Nobody receives only when the accepting is about to end.
    while to.send(listener.accept().await).await.is_ok() {}
}

/// A server's link, and its place at the gate, which is to be kept as long.
pub type Responding<Pr, P> = (Link<Responder, Pr, P, Stream>, Admission);

/// Joins an accepted stream with a fresh connection.
pub fn respond<Pr: Protocol, P: Provider>(
    accepted: Accepted,
    config: &ResponderConfig,
    settings: &Arc<LinkSettings>,
) -> Result<Responding<Pr, P>, EntropyError> {
    let Accepted { stream, peer, admission } = accepted;
    let connection = Connection::responder(config, entropy()?, settings.clock.now());
    Ok((Link::new(connection, stream, peer, Arc::clone(settings)), admission))
}

/// Writes the end of a client's link to the log: what strangers do on a level that is off by default, what this side did wrong as an
/// error.
pub(crate) fn log_failure(error: &LinkError) {
    if error.is_ours() {
        tracing::error!(%error, "connection failed");
    } else {
        tracing::debug!(%error, "connection failed");
    }
}

#[cfg(test)]
#[path = "../../conformance/roles/serve.rs"]
mod tests;
