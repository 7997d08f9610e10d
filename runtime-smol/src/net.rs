//! What the core's host asks of smol and of the system: sockets, tasks and entropy.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
};

use adit::host;
use async_executor::Executor;
use async_io::Async;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{clock::Clock, stream::Stream};

/// Smol, as the core's host asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl host::Runtime for Smol {
    type Clock = Clock;
    type Stream = Stream;
    type Socket = Async<TcpListener>;

    /// By the system's resolver on a thread of its own, unless it is an address.
    async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let host = host.to_owned();
        blocking::unblock(move || Ok((host, port).to_socket_addrs()?.collect())).await
    }

    async fn dial(address: SocketAddr) -> io::Result<Stream> {
        Stream::new(Async::<TcpStream>::connect(address).await?)
    }

    fn listen(address: SocketAddr, backlog: u16) -> io::Result<Async<TcpListener>> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restarted server takes its port back at once. (Not on Windows, where this would let two servers share the port.)
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog.into())?;
        Async::new(socket.into())
    }

    fn address(socket: &Async<TcpListener>) -> io::Result<SocketAddr> {
        socket.get_ref().local_addr()
    }

    async fn accept(socket: &Async<TcpListener>) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = socket.accept().await?;
        // It fails when the peer is gone already, which is no lack of anything.
        let stream = Stream::new(stream).map_err(|_| io::ErrorKind::ConnectionAborted)?;
        Ok((stream, peer))
    }

    fn fill(bytes: &mut [u8]) -> io::Result<()> {
        Ok(getrandom::fill(bytes)?)
    }
}

/// Starts tasks on an executor, which someone must run.
#[derive(Clone, Copy, Debug)]
pub struct Spawn<'e>(pub &'e Executor<'static>);

impl host::Spawn for Spawn<'_> {
    type Task = Task;

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(self.0.spawn(future))
    }
}

/// A task of smol's.
#[derive(Debug)]
pub struct Task(async_executor::Task<()>);

impl host::Task for Task {
    async fn cancel(self) {
        self.0.cancel().await;
    }
}

#[cfg(test)]
#[path = "../../conformance/roles/entropy.rs"]
mod tests;
