//! What the tests of all roles share. All but the [`Lab`] is one text for all runtimes of computers.

#[path = "../../../conformance/roles/testing/ends.rs"]
mod ends;
#[path = "../../../conformance/roles/testing/house.rs"]
pub(crate) mod house;
mod lab;
#[path = "../../../conformance/roles/testing/miner.rs"]
mod miner;
#[path = "../../../conformance/roles/testing/pipe.rs"]
mod pipe;

pub(crate) use crate::stream::Stream;
pub(crate) use adit::host::watch;
pub(crate) use ends::{CLOSING, GRACE, WALL, initiator, server, setup, tcp};
pub(crate) use futures_lite::future::{or, poll_once, zip};
pub(crate) use lab::{Here, Lab, Task, deaf, join, nodelay, run, run_in_memory, run_on_threads, run_still, yield_now};
pub(crate) use pipe::{Duplex, duplex, read, write_all};
