//! Where tests that all runtimes have in common run: on tokio, by the system's clock or by one that moves only when nobody has anything
//! to do.

use std::{future::Future, time::Duration};

use tokio::{runtime::Builder, task::JoinHandle};

use super::house::{House, Node, Options};
use crate::{clock::Clock, link::LinkSettings, shutdown::Shutdown};

pub(crate) use tokio::{
    sync::mpsc::{self as queue, Sender, error::TrySendError},
    task::{JoinHandle as Task, yield_now},
};

/// What a test has.
pub(crate) struct Lab {
    pub(crate) clock: Clock,
}

#[allow(clippy::unused_self, reason = "a lab of another runtime has an executor and one clock for all")]
impl Lab {
    pub(crate) fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        tokio::spawn(future)
    }

    /// Spawns what nobody waits for.
    pub(crate) fn go(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.spawn(future));
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub(crate) fn shutdown(&self) -> Shutdown {
        Shutdown::new()
    }

    pub(crate) fn settings(&self) -> LinkSettings {
        LinkSettings::new(self.clock, 16)
    }

    pub(crate) fn node(&self, port: u16, first_id: u64) -> Node {
        Node::start(port, first_id)
    }

    pub(crate) fn house(&self, options: Options) -> House {
        super::house::house(options)
    }

    pub(crate) fn house_at(&self, node: Node, options: Options) -> House {
        super::house::house_at(node, options)
    }
}

/// What a task gave.
pub(crate) async fn join<T>(task: JoinHandle<T>) -> T {
    task.await.unwrap()
}

/// What the first of both gives that is ready.
pub(crate) async fn or<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        outcome = a => outcome,
        outcome = b => outcome,
    }
}

/// Runs a test by the system's clock.
pub(crate) fn run<T>(test: impl AsyncFnOnce(Lab) -> T) -> T {
    run_on(&mut Builder::new_current_thread(), test)
}

/// Runs a test by a clock that moves to the next deadline whenever the test and its tasks wait.
pub(crate) fn run_still<T>(test: impl AsyncFnOnce(Lab) -> T) -> T {
    run_on(Builder::new_current_thread().start_paused(true), test)
}

fn run_on<T>(builder: &mut Builder, test: impl AsyncFnOnce(Lab) -> T) -> T {
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async { test(Lab { clock: super::clock() }).await })
}
