//! The thread that owns the store, and the bounded queue in front of it.
//!
//! Commits form by themselves: while one is being flushed, shares queue up, and the next takes all of them. A lone share
//! waits for one flush, a flood shares it.

use std::io;
use std::sync::Arc;
use std::thread;

use adit_tokio::pool::KeptBlock;
use adit_tokio::queue;
use tokio::sync::oneshot;

use super::error::{Problem, StoreError};
use super::file::{Batch, Store};
use super::held::Settled;
use super::share::Share;

/// Shares in one commit at most; bounds the memory of a transaction and the time until the first of them is acknowledged.
const BATCH: usize = 4_096;

/// Told after each commit, on the writer's thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit<'a> {
    /// Every share with this ticket or a lower one is on disk, or was a duplicate.
    pub(crate) ticket: u64,
    /// Tickets of this commit that were not counted, since their share was stored before under another ticket.
    pub(crate) duplicates: &'a [u64],
    /// What was committed.
    pub(crate) batch: Batch<'a>,
}

impl<'a> Commit<'a> {
    /// The blocks among its shares that were not stored before, each with what there is to hand over.
    pub(crate) fn blocks(self) -> impl Iterator<Item = (&'a Share, Option<&'a KeptBlock>)> {
        let new = self.batch.shares.iter().filter(move |share| share.block && !self.duplicates.contains(&share.ticket));
        new.map(move |share| {
            let found = self.batch.found.iter().find(|(ticket, _)| *ticket == share.ticket);
            (share, found.map(|(_, block)| &**block))
        })
    }
}

/// What the queue in front of the store holds: a share mostly.
#[derive(Debug)]
pub(crate) struct Queued(Command);

#[derive(Debug)]
enum Command {
    Append(Share, Option<Arc<KeptBlock>>),
    Settle(Settled),
    Close,
}

impl From<Share> for Queued {
    fn from(share: Share) -> Self {
        Self(Command::Append(share, None))
    }
}

impl From<Settled> for Queued {
    fn from(settled: Settled) -> Self {
        Self(Command::Settle(settled))
    }
}

impl Queued {
    /// A share with the block that it is.
    pub(crate) fn found(share: Share, block: Arc<KeptBlock>) -> Self {
        Self(Command::Append(share, Some(block)))
    }
}

/// The running writer.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: queue::Sender<Queued>,
    outcome: oneshot::Receiver<Result<Store, StoreError>>,
    path: Arc<std::path::Path>,
}

impl Writer {
    /// Starts the thread. At most `capacity` shares (at least one) wait for it. `on_commit` is called after each commit and has to be
    /// quick: the next commit waits for it.
    pub(crate) fn start(
        store: Store,
        capacity: usize,
        on_commit: impl FnMut(Commit<'_>) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = queue::channel(capacity);
        let (report, outcome) = oneshot::channel();
        let path = store.reader().path.clone();
        thread::Builder::new().name("share store".to_owned()).spawn(move || {
            // Nobody may be left to hear it; the store is closed all the same.
            let _ = report.send(write(store, receiver, on_commit));
        })?;
        Ok(Self { sender, outcome, path })
    }

    /// A way into the store. Tickets have to rise in the order in which shares enter the queue: whoever hands out tickets queues the
    /// shares under the same lock. A full queue says that no more is to be taken from the miners; a closed one that the writer has
    /// ended, and nothing may be acknowledged any more.
    pub(crate) fn queue(&self) -> queue::Sender<Queued> {
        self.sender.clone()
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
        let _ = self.sender.send(Queued(Command::Close)).await;
        self.ended().await
    }
}

/// The thread's body. It ends when it is told to, when every sender is gone, or at the first failure.
fn write(
    mut store: Store,
    mut receiver: queue::Receiver<Queued>,
    mut on_commit: impl FnMut(Commit<'_>),
) -> Result<Store, StoreError> {
    let mut commands = Vec::new();
    let (mut shares, mut found) = (Vec::new(), Vec::new());
    while receiver.recv_many_blocking(&mut commands, BATCH) > 0 {
        // Each knows all that the one before it knew.
        let mut settled: Option<Settled> = None;
        for Queued(command) in commands.drain(..) {
            match command {
                Command::Append(share, block) => {
                    found.extend(block.map(|block| (share.ticket, block)));
                    shares.push(share);
                }
                Command::Settle(mut newest) => {
                    // Only fates are told once.
                    let before = settled.take().map_or_else(Vec::new, |before| before.fates);
                    newest.fates.splice(..0, before);
                    settled = Some(newest);
                }
                // What was queued before this is still received; `recv_many` returns 0 after it.
                Command::Close => receiver.close(),
            }
        }
        let batch = Batch { shares: &shares, found: &found, settled: settled.as_ref() };
        let appended = store.append(batch)?;
        if let (Some(ticket), false) = (appended.last, shares.is_empty()) {
            on_commit(Commit { ticket, duplicates: &appended.duplicates, batch });
        }
        shares.clear();
        found.clear();
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::super::file::Retention;
    use super::super::share::tests::sample;
    use super::*;
    use std::sync::mpsc as sync;

    use adit_tokio::queue::TrySendError;

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
            queue.send(sample(ticket).into()).await.unwrap();
        }
        let store = writer.finish().await.unwrap();
        assert_eq!(store.reader().recent(usize::MAX).unwrap().len(), 1_000);
        let tickets: Vec<_> = hear.iter().collect();
        assert!(tickets.is_sorted_by(|a, b| a < b));
        assert_eq!(tickets.last(), Some(&999));
        assert!(matches!(queue.try_send(sample(1_000).into()), Err(TrySendError::Closed(_))));
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
        queue.try_send(sample(0).into()).unwrap();
        assert_eq!(hear.recv().unwrap(), (0, vec![]));
        // The writer now stands in the callback: these wait.
        queue.try_send(sample(1).into()).unwrap();
        queue.try_send(Share { ticket: 2, ..sample(0) }.into()).unwrap();
        queue.try_send(sample(3).into()).unwrap();
        assert_eq!(queue.free(), 1);
        queue.try_send(sample(4).into()).unwrap();
        assert!(matches!(queue.try_send(sample(5).into()), Err(TrySendError::Full(_))));
        go.send(()).unwrap();
        assert_eq!(hear.recv().unwrap(), (4, vec![2]), "one commit for all four");
        queue.send(sample(5).into()).await.unwrap();
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
        queue.try_send(sample(3).into()).unwrap();
        assert_eq!(hear.recv().unwrap(), 3);
        queue.try_send(sample(2).into()).unwrap();
        let error = writer.ended().await.unwrap_err();
        assert!(matches!(error.problem, Problem::TicketOrder { last: 3, got: 2 }), "{error}");
        assert!(matches!(queue.try_send(sample(4).into()), Err(TrySendError::Closed(_))));
        assert!(hear.recv().is_err(), "no further commit");
    }

    #[tokio::test]
    async fn a_panic_in_the_callback_is_an_error_not_silence() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::start(store(&directory), 4, |_| panic!("deliberate")).unwrap();
        writer.queue().try_send(sample(0).into()).unwrap();
        assert!(matches!(writer.ended().await.unwrap_err().problem, Problem::WriterPanicked));
    }
}
