//! What the runtimes take for a share's bytes alone: a server that sends back what it receives, and a device that drives it as one drives a pool.
//!
//! The limit of the pools' rows. The server's two system calls, and the runtime's way from one to the other, are what any pool on that
//! runtime does for a share that comes alone; Noise, the share itself and its way through the store are what ours adds.

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::Arc,
};

use adit::{crypto::Cipher, transport::Transport};
use adit_native::crypto::AwsLc;
use async_executor::Executor;
use async_io::{Async, block_on};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, future::pending};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::{Client, Failure, THREADS};
use crate::{codec::frame, handshake::our_pair};

/// Room for what comes at once.
const BUFFER: usize = 2_048;

/// One that seals its share as a device does, and opens what comes back: between two writes it takes the time that a device takes.
pub(super) struct Device {
    stream: TcpStream,
    near: Transport<AwsLc>,
    far: Transport<AwsLc>,
    buffer: [u8; BUFFER],
    sealed: usize,
    /// Bytes that have yet to come back.
    waits: usize,
}

impl Device {
    pub(super) fn new(address: SocketAddr) -> Result<Self, Failure> {
        let stream = super::device::connect(address)?;
        let (near, far) = our_pair::<AwsLc>(Cipher::ChaChaPoly);
        Ok(Self { stream, near, far, buffer: [0; BUFFER], sealed: 0, waits: 0 })
    }
}

impl Client for Device {
    fn submit(&mut self) -> Result<(), Failure> {
        let (share, head) = (frame(), self.near.head_room());
        let space = self.buffer.get_mut(self.sealed..).ok_or("no room")?;
        space.get_mut(head..head + share.len()).ok_or("no room")?.copy_from_slice(&share);
        self.sealed += self.near.seal_frame(space, share.len()).map_err(|error| format!("{error:?}"))?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.stream.write_all(&self.buffer[..self.sealed])?;
        self.waits += std::mem::take(&mut self.sealed);
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let mut rest = self.buffer.get_mut(..std::mem::take(&mut self.waits)).ok_or("no room")?;
        self.stream.read_exact(rest)?;
        while !rest.is_empty() {
            let len = self.far.record_len(rest).map_err(|error| format!("{error:?}"))?.ok_or("a part of a record")?;
            let (record, after) = rest.split_at_mut(len);
            self.far.open_record(record).map_err(|error| format!("{error:?}"))?;
            rest = after;
        }
        Ok(())
    }
}

fn listener() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The server on tokio, on as many threads as a pool.
pub(super) fn on_tokio(until_end: fn(SocketAddr)) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let listener = listener()?;
    let address = listener.local_addr()?;
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("within the runtime");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo_on_tokio(stream));
        }
    });
    until_end(address);
    runtime.shutdown_background();
    Ok(())
}

async fn echo_on_tokio(mut stream: tokio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        let mut space = ReadBuf::new(&mut buffer);
        poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut space)).await?;
        let mut rest = space.filled();
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let written = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, rest)).await?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}

/// The same on smol.
pub(super) fn on_smol(until_end: fn(SocketAddr)) -> Result<(), Failure> {
    let executor = Arc::new(Executor::new());
    for _ in 0..THREADS {
        let executor = Arc::clone(&executor);
        std::thread::spawn(move || block_on(executor.run(pending::<()>())));
    }
    let listener = listener()?;
    let address = listener.local_addr()?;
    let listener = Async::new_nonblocking(listener)?;
    let on = Arc::clone(&executor);
    let accept = async move {
        while let Ok((stream, _)) = listener.accept().await {
            on.spawn(echo_on_smol(stream)).detach();
        }
    };
    executor.spawn(accept).detach();
    until_end(address);
    // The threads end with the process.
    Ok(())
}

async fn echo_on_smol(mut stream: Async<TcpStream>) -> io::Result<()> {
    stream.get_ref().set_nodelay(true)?;
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => stream.write_all(buffer.get(..length).unwrap_or_default()).await?,
        }
    }
}
