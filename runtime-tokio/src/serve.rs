//! A server's accept loop: one task for each connection, all of them ended in order. What runs in a task is the owner's.

use std::{any::Any, fmt, future::Future, sync::Arc};

use adit::{
    connection::{Connection, ResponderConfig},
    crypto::Provider,
    protocol::{Protocol, Responder},
};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

use crate::{
    entropy::{EntropyError, entropy},
    gate::Admission,
    link::{Link, LinkError, LinkSettings},
    listen::{Accepted, Listener},
    shutdown::Shutdown,
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
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self { panic: text.unwrap_or_else(|| "no message".into()) }
    }
}

/// Accepts connections and spawns what `start` makes of each, until the shutdown starts; then waits for all tasks, and cuts off
/// those that are not done when the grace is over.
///
/// A panic in a task ends everything with an error: panics are bugs, and a role that was left in the middle of a change would lie to
/// everybody else.
///
/// Dropping the future drops the listeners and all connections.
pub async fn serve<F, C>(listeners: Vec<Listener>, shutdown: &Shutdown, mut start: F) -> Result<(), ServeError>
where
    F: FnMut(Accepted) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    let (mut accepting, mut connections) = (JoinSet::new(), JoinSet::new());
    let (to_us, mut accepted) = mpsc::channel(1);
    for listener in listeners {
        tracing::info!(address = %listener.address(), "listening");
        accepting.spawn(accept(listener, to_us.clone()));
    }
    loop {
        tokio::select! {
            biased;
            () = shutdown.started() => break,
            Some(ended) = connections.join_next() => check(ended)?,
            Some(ended) = accepting.join_next() => check(ended)?,
            Some(accepted) = accepted.recv() => {
                connections.spawn(start(accepted));
            }
        }
    }
    accepting.shutdown().await;
    drop(accepted);
    tracing::info!(connections = connections.len(), "no longer listening");
    loop {
        tokio::select! {
            biased;
            ended = connections.join_next() => match ended {
                Some(ended) => check(ended)?,
                None => return Ok(()),
            },
            () = shutdown.over() => break,
        }
    }
    tracing::warn!(connections = connections.len(), "cutting off connections that did not end in time");
    connections.shutdown().await;
    Ok(())
}

async fn accept(mut listener: Listener, to: mpsc::Sender<Accepted>) {
    // Nobody receives only when the accepting is about to end.
    while to.send(listener.accept().await).await.is_ok() {}
}

/// A server's link, and its place at the gate, which is to be kept as long.
pub type Responding<Pr, P> = (Link<Responder, Pr, P>, Admission);

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

fn check(ended: Result<(), JoinError>) -> Result<(), ServeError> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(()) | Err(Err(_)) => Ok(()),
        Err(Ok(payload)) => Err(ServeError::panicked(&*payload)),
    }
}

#[cfg(test)]
#[path = "../../conformance/roles/serve.rs"]
mod tests;
