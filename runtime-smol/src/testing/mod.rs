//! What the tests of all roles share. All but the [`Lab`] and its streams in memory is one text for all runtimes of computers.

#[path = "../../../conformance/roles/testing/ends.rs"]
mod ends;
#[path = "../../../conformance/roles/testing/house.rs"]
pub(crate) mod house;
mod lab;
pub(crate) mod pipe;

pub(crate) use ends::{WALL, initiator, responder, setup};
pub(crate) use lab::{
    Lab, Sender, Stream, Task, TrySendError, join, or, queue, run, run_in_memory, run_on_threads, run_still, tcp,
    yield_now, zip,
};
