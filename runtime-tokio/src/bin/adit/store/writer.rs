//! The thread that owns the store, and the bounded queue in front of it.
//!
//! Commits form by themselves: while one is being flushed, shares queue up, and the next takes all of them. A lone share
//! waits for one flush, a flood shares it.

use std::io;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::error::{Problem, StoreError};
use super::file::Store;
use super::share::Share;

/// Shares in one commit at most; bounds the memory of a transaction and the time until the first of them is acknowledged.
const BATCH: usize = 4_096;

/// Told after each commit, on the writer's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit<'a> {
    /// Every share with this ticket or a lower one is on disk, or was a duplicate.
    pub(crate) ticket: u64,
    /// Tickets of this commit that were not counted, since their share was stored before under another ticket.
    pub(crate) duplicates: &'a [u64],
}

/// Why a share was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue is full. Here is the share back: wait for [`Queue::room`] and take no more from the miners until then.
    Full(Box<Share>),
    /// The writer has ended; [`Writer::ended`] says why. Nothing may be acknowledged any more.
    Stopped,
}

enum Command {
    Append(Share),
    Close,
}

/// The way into the store. Cheap to clone, though tickets have to rise in the order in which shares enter the queue: whoever
/// hands out tickets queues the shares under the same lock.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Command>,
}

impl Queue {
    /// Queues a share, if there is room.
    pub(crate) fn try_append(&self, share: Share) -> Result<(), Refused> {
        self.sender.try_send(Command::Append(share)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(Command::Append(share)) => Refused::Full(Box::new(share)),
            _ => Refused::Stopped,
        })
    }

    /// Waits until there is room for a share, or the writer has ended. Holds no place: try again after it. May be dropped at any time.
    pub(crate) async fn room(&self) -> Result<(), Refused> {
        self.sender.reserve().await.map(drop).map_err(|_| Refused::Stopped)
    }

    /// How many shares fit in right now.
    pub(crate) fn free(&self) -> usize {
        self.sender.capacity()
    }
}

/// The running writer.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: mpsc::Sender<Command>,
    outcome: oneshot::Receiver<Result<Store, StoreError>>,
    path: std::sync::Arc<std::path::Path>,
}

impl Writer {
    /// Starts the thread. At most `capacity` shares (at least one) wait for it. `on_commit` is called after each commit and has to be
    /// quick: the next commit waits for it.
    pub(crate) fn start(
        store: Store,
        capacity: usize,
        on_commit: impl FnMut(Commit<'_>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let (report, outcome) = oneshot::channel();
        let path = store.reader().path.clone();
        thread::Builder::new().name("share store".to_owned()).spawn(move || {
            // Nobody may be left to hear it; the store is closed all the same.
            let _ = report.send(write(store, receiver, on_commit));
        })?;
        Ok(Self { sender, outcome, path })
    }

    /// A way into the store.
    pub(crate) fn queue(&self) -> Queue {
        Queue { sender: self.sender.clone() }
    }

    /// Waits until the writer has ended: with the store after [`Self::finish`] was asked for, else with the error that stopped it.
    /// May be dropped and called again at any time before it has returned once.
    pub(crate) async fn ended(&mut self) -> Result<Store, StoreError> {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Problem::WriterPanicked.at(&self.path)),
        }
    }

    /// Commits what is queued, refuses what comes later, and gives the store back. When this future is dropped, the writer may or may not
    /// go on; drop all queues then to end it.
    pub(crate) async fn finish(mut self) -> Result<Store, StoreError> {
        // A failure means that it has ended already; then `ended` says why.
        let _ = self.sender.send(Command::Close).await;
        self.ended().await
    }
}

/// The thread's body. It ends when it is told to, when every sender is gone, or at the first failure.
fn write(
    mut store: Store,
    mut receiver: mpsc::Receiver<Command>,
    mut on_commit: impl FnMut(Commit<'_>),
) -> Result<Store, StoreError> {
    let mut commands = Vec::new();
    let mut shares = Vec::new();
    while receiver.blocking_recv_many(&mut commands, BATCH) > 0 {
        for command in commands.drain(..) {
            match command {
                Command::Append(share) => shares.push(share),
                // What was queued before this is still received; `recv_many` returns 0 after it.
                Command::Close => receiver.close(),
            }
        }
        let appended = store.append(&shares)?;
        if let (Some(ticket), false) = (appended.last, shares.is_empty()) {
            on_commit(Commit { ticket, duplicates: &appended.duplicates });
        }
        shares.clear();
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::super::file::Retention;
    use super::super::share::tests::sample;
    use super::*;
    use std::sync::mpsc as sync;

    fn store(directory: &tempfile::TempDir) -> Store {
        Store::open(&directory.path().join("shares"), Retention::default()).unwrap()
    }

    #[tokio::test]
    async fn every_queued_share_is_stored_and_tickets_are_reported_rising() {
        let directory = tempfile::tempdir().unwrap();
        let (told, hear) = sync::channel();
        let writer = Writer::start(store(&directory), 8, move |commit| told.send(commit.ticket).unwrap()).unwrap();
        let queue = writer.queue();
        for ticket in 0..1_000 {
            let mut share = sample(ticket);
            while let Err(refused) = queue.try_append(share) {
                let Refused::Full(back) = refused else { panic!("the writer ended") };
                share = *back;
                queue.room().await.unwrap();
            }
        }
        let store = writer.finish().await.unwrap();
        assert_eq!(store.reader().recent(usize::MAX).unwrap().len(), 1_000);
        let tickets: Vec<_> = hear.iter().collect();
        assert!(tickets.is_sorted_by(|a, b| a < b));
        assert_eq!(tickets.last(), Some(&999));
        assert_eq!(queue.try_append(sample(1_000)), Err(Refused::Stopped));
        assert_eq!(queue.room().await, Err(Refused::Stopped));
    }

    #[tokio::test]
    async fn shares_that_wait_are_committed_together_and_a_full_queue_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let (told, hear) = sync::channel();
        let (go, gate) = sync::channel::<()>();
        let on_commit = move |commit: Commit<'_>| {
            told.send((commit.ticket, commit.duplicates.to_vec())).unwrap();
            gate.recv().unwrap();
        };
        let writer = Writer::start(store(&directory), 4, on_commit).unwrap();
        let queue = writer.queue();
        queue.try_append(sample(0)).unwrap();
        assert_eq!(hear.recv().unwrap(), (0, vec![]));
        // The writer now stands in the callback: these wait.
        queue.try_append(sample(1)).unwrap();
        queue.try_append(Share { ticket: 2, ..sample(0) }).unwrap();
        queue.try_append(sample(3)).unwrap();
        assert_eq!(queue.free(), 1);
        queue.try_append(sample(4)).unwrap();
        assert_eq!(queue.try_append(sample(5)), Err(Refused::Full(Box::new(sample(5)))));
        go.send(()).unwrap();
        assert_eq!(hear.recv().unwrap(), (4, vec![2]), "one commit for all four");
        queue.room().await.unwrap();
        queue.try_append(sample(5)).unwrap();
        go.send(()).unwrap();
        assert_eq!(hear.recv().unwrap(), (5, vec![]));
        go.send(()).unwrap();
        let store = writer.finish().await.unwrap();
        assert_eq!(store.next_ticket(), 6);
    }

    #[tokio::test]
    async fn a_failure_ends_the_writer_and_nothing_is_acknowledged_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let (told, hear) = sync::channel();
        let mut writer = Writer::start(store(&directory), 4, move |commit| told.send(commit.ticket).unwrap()).unwrap();
        let queue = writer.queue();
        queue.try_append(sample(3)).unwrap();
        assert_eq!(hear.recv().unwrap(), 3);
        queue.try_append(sample(2)).unwrap();
        let error = writer.ended().await.unwrap_err();
        assert!(matches!(error.problem, Problem::TicketOrder { last: 3, got: 2 }), "{error}");
        assert_eq!(queue.try_append(sample(4)), Err(Refused::Stopped));
        assert!(hear.recv().is_err(), "no further commit");
    }

    #[tokio::test]
    async fn a_panic_in_the_callback_is_an_error_not_silence() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::start(store(&directory), 4, |_| panic!("deliberate")).unwrap();
        writer.queue().try_append(sample(0)).unwrap();
        assert!(matches!(writer.ended().await.unwrap_err().problem, Problem::WriterPanicked));
    }
}
