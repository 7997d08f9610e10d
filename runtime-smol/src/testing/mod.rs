//! What the tests of all roles share. All but the [`Lab`] and its streams in memory is one text for all runtimes of computers.

#[path = "../../../conformance/roles/testing/ends.rs"]
mod ends;
#[path = "../../../conformance/roles/testing/house.rs"]
pub(crate) mod house;
mod lab;
mod pipe;

pub(crate) use ends::{WALL, initiator, responder, server, setup};
pub(crate) use lab::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Duplex, Lab, Sender, Stream, Task, TrySendError, deaf, duplex,
    join, nodelay, or, poll_once, queue, run, run_in_memory, run_on_threads, run_still, split, tcp, watch, yield_now,
    zip,
};
