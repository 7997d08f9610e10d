//! What the core's host asks of tokio and of the system: sockets, tasks and entropy.

use std::{io, net::SocketAddr};

use adit::host;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};

use crate::{clock::Clock, stream::Stream};

/// Tokio, as the core's host asks for it. All of it must be called within a tokio runtime.
#[derive(Clone, Copy, Debug)]
pub struct Tokio;

impl host::Runtime for Tokio {
    type Clock = Clock;
    type Stream = Stream;
    type Socket = TcpListener;

    async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    async fn dial(address: SocketAddr) -> io::Result<Stream> {
        let stream = socket(address)?.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Stream::new(stream))
    }

    fn listen(address: SocketAddr, backlog: u16) -> io::Result<TcpListener> {
        let socket = socket(address)?;
        // A restarted server takes its port back at once. (Not on Windows, where this would let two servers share the port.)
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(backlog.into())
    }

    fn address(socket: &TcpListener) -> io::Result<SocketAddr> {
        socket.local_addr()
    }

    async fn accept(socket: &TcpListener) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = socket.accept().await?;
        // It fails when the peer is gone already, which is no lack of anything.
        stream.set_nodelay(true).map_err(|_| io::ErrorKind::ConnectionAborted)?;
        Ok((Stream::new(stream), peer))
    }

    fn fill(bytes: &mut [u8]) -> io::Result<()> {
        Ok(getrandom::fill(bytes)?)
    }
}

/// With keep-alive, which accepted sockets inherit.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_keepalive(true)?;
    Ok(socket)
}

impl host::Spawn for Tokio {
    type Task = Task;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(tokio::spawn(future))
    }
}

/// A task of tokio's that ends when this is dropped.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl host::Task for Task {
    async fn cancel(mut self) {
        self.0.abort();
        let _ended = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
#[path = "../../conformance/roles/entropy.rs"]
mod tests;
