//! A server's accept loop: one task for each connection, all of them ended in order. What runs in a task is the owner's.

use std::{any::Any, fmt, future::Future, sync::Arc};

use adit::{
    connection::{Connection, ResponderConfig},
    crypto::Provider,
    protocol::{Protocol, Responder},
};
use tokio::{
    net::TcpStream,
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
pub type Responding<Pr, P> = (Link<Responder, Pr, P, TcpStream>, Admission);

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
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        clock::Clock,
        gate::{Gate, GateConfig},
    };

    fn listener() -> Listener {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Listener::bind(any, Gate::new(GateConfig::default()), Clock::start()).unwrap()
    }

    /// Serves with tasks that say when they began, and end when the client sends a byte, which they answer.
    fn started() -> (SocketAddr, Shutdown, mpsc::UnboundedReceiver<()>, tokio::task::JoinHandle<Result<(), ServeError>>)
    {
        let listener = listener();
        let address = listener.address();
        let (began, begun) = mpsc::unbounded_channel();
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let server = tokio::spawn(async move {
            serve(vec![listener], &stop, |mut accepted| {
                began.send(()).unwrap();
                async move {
                    let byte = accepted.stream.read_u8().await.unwrap_or(0);
                    assert_ne!(byte, 13, "thirteen");
                    let _gone = accepted.stream.write_u8(byte).await;
                }
            })
            .await
        });
        (address, shutdown, begun, server)
    }

    #[tokio::test]
    async fn a_shutdown_refuses_new_connections_and_waits_for_the_others() {
        let (address, shutdown, mut begun, server) = started();
        let mut stream = TcpStream::connect(address).await.unwrap();
        begun.recv().await.unwrap();
        shutdown.start(Duration::from_secs(3_600));
        // Connecting fails as soon as the listener is gone.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.is_finished());
        stream.write_u8(7).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        server.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_grace_cuts_off_the_rest() {
        let (address, shutdown, mut begun, server) = started();
        let mut stream = TcpStream::connect(address).await.unwrap();
        begun.recv().await.unwrap();
        shutdown.start(Duration::from_secs(5));
        server.await.unwrap().unwrap();
        assert!(!matches!(stream.read(&mut [0]).await, Ok(1..)));
    }

    #[tokio::test]
    async fn a_panic_ends_the_server_and_is_told() {
        let (address, _shutdown, _begun, server) = started();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_u8(13).await.unwrap();
        let error = server.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("thirteen"), "{error}");
    }
}
