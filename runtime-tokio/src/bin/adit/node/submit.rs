//! From a solution to the node's verdict on its block.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_tokio::backoff::{Backoff, BackoffConfig};
use adit_tokio::clock::Clock;
use adit_tokio::entropy::jitter;
use adit_tokio::net::Tokio;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::error::{RpcError, code, said};
use super::folder::Folder;
use super::lanes::Lanes;
use super::shared::Shared;
use crate::source::{Solution, SolvedBlock, Template, Verdict};

/// How long a block is tried to be handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Time for one answer.
    pub(super) answer: Duration,
    /// Time for all attempts before the owner is told that there was no answer.
    pub(super) whole: Duration,
    /// Waits between them.
    pub(super) backoff: BackoffConfig,
    /// The longest wait between those that follow.
    pub(super) then: Duration,
}

/// Blocks by which the chain has grown above one that cannot matter any more: no reorganisation is as deep.
const BURIED: u32 = 100;

/// Where solutions go: makes blocks of them and hands these to the node, on connections of their own.
#[derive(Clone)]
pub(super) struct Submitter {
    lanes: Lanes,
    clock: Clock,
    patience: Patience,
    /// Where blocks are until the node has answered.
    folder: Option<Folder>,
    /// Knows how far the chain has grown.
    shared: Arc<Shared>,
}

impl Submitter {
    pub(super) fn new(
        lanes: Lanes,
        clock: Clock,
        patience: Patience,
        folder: Option<Folder>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { lanes, clock, patience, folder, shared }
    }

    /// Blocks of an earlier run that the node has not answered.
    pub(super) async fn left(&self) -> Vec<SolvedBlock> {
        let Some(folder) = self.folder.clone() else { return Vec::new() };
        spawn_blocking(move || folder.left()).await.unwrap_or_default()
    }

    /// Makes a block of a solution and hands it to the node.
    pub(super) async fn submit(&self, template: &Template, solution: &Solution) -> Verdict {
        match SolvedBlock::new(template, solution) {
            Ok(block) => self.submit_block(block).await,
            Err(why) => Verdict::Rejected(why.to_string()),
        }
    }

    /// Hands a block to the node. It goes to the disk at the same time: neither waits for the other, and it leaves the disk when the node has answered.
    pub(super) async fn submit_block(&self, block: SolvedBlock) -> Verdict {
        let kept = self.with_folder(&block, Folder::keep);
        let give_up_at = Instant::now() + self.patience.whole;
        let word =
            self.hand_over(&block, self.patience.backoff, |error, at| error.is_passing() && at <= give_up_at).await;
        if let Some(Err(error)) = kept.await {
            tracing::error!(block = %block.hash_hex(), %error, "a found block can't be written to disk, so it would not outlive this program");
        }
        let error = match word {
            Ok(word) => return self.answered(block, word).await,
            Err(error) => error,
        };
        let (hash, height) = (block.hash_hex(), block.height);
        let kept = self.folder.as_ref().map_or_else(String::new, |folder| {
            format!(". It is in {}, for the next run if this one hears nothing", folder.path(&block).display())
        });
        let reason = format!(
            "block {hash} at height {height} could not be handed to the node: {error}. The node is asked on{kept}"
        );
        Verdict::Unanswered(block, reason)
    }

    /// Goes on with a block that was not answered, whatever the reason: until it is, or cannot matter any more.
    pub(super) async fn insist(&self, block: SolvedBlock) -> Verdict {
        let matters = |_: &RpcError, _| self.shared.height() <= block.height.saturating_add(BURIED);
        let Patience { backoff, then, .. } = self.patience;
        match self.hand_over(&block, BackoffConfig { cap: then, ..backoff }, matters).await {
            Ok(word) => self.answered(block, word).await,
            Err(error) => Verdict::Lost(format!(
                "block {} at height {} is given up: the chain is more than {BURIED} blocks above it, and the node never answered: {error}",
                block.hash_hex(),
                block.height
            )),
        }
    }

    async fn answered(&self, block: SolvedBlock, word: Word) -> Verdict {
        if let Some(Err(error)) = self.with_folder(&block, Folder::forget).await {
            tracing::warn!(block = %block.hash_hex(), %error, "the file of a block that the node has answered can't be removed");
        }
        match word {
            Word::Accepted => Verdict::Accepted(block),
            Word::NotBest => Verdict::NotBest(block),
            Word::Rejected(reason) => Verdict::Rejected(reason),
        }
    }

    /// Does something with the block's file, beginning at once, on a thread that may wait; `None` without a folder.
    fn with_folder(
        &self,
        block: &SolvedBlock,
        work: fn(&Folder, &SolvedBlock) -> io::Result<()>,
    ) -> impl Future<Output = Option<io::Result<()>>> + use<> {
        let working = self.folder.clone().map(|folder| {
            let block = block.clone();
            spawn_blocking(move || work(&folder, &block))
        });
        async move {
            match working {
                Some(working) => Some(working.await.unwrap_or_else(|error| Err(io::Error::other(error)))),
                None => None,
            }
        }
    }

    /// Asks until there is an answer, as long as `may_go_on` with another attempt at that time.
    async fn hand_over(
        &self,
        block: &SolvedBlock,
        waits: BackoffConfig,
        may_go_on: impl Fn(&RpcError, Instant) -> bool,
    ) -> Result<Word, RpcError> {
        let mut backoff = Backoff::new(waits);
        loop {
            let answer = {
                let mut lane = self.lanes.take(block.height).await;
                // Of those that wait there is one copy.
                let params = json!([hex::encode(&block.bytes)]);
                lane.connection().call("submitblock", &params, Some(self.patience.answer)).await
            };
            let error = match answer.and_then(|answer| answer.result::<String>()) {
                Ok(answer) => return Ok(Word::of(answer.as_deref())),
                Err(RpcError::Node {
                    code: code::DESERIALIZATION | code::VERIFY_ERROR | code::VERIFY_REJECTED,
                    message,
                }) => {
                    return Ok(Word::Rejected(message));
                }
                Err(error) => error,
            };
            let wait = backoff.down(self.clock.now(), jitter::<Tokio>().unwrap_or(0));
            if !may_go_on(&error, Instant::now() + wait) {
                return Err(error);
            }
            tracing::warn!(block = %block.hash_hex(), %error, ?wait, "a found block waits for the node");
            sleep(wait).await;
        }
    }
}

/// The node's answer to `submitblock`.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// The block is valid; also when the node had it already.
    Accepted,
    /// It is kept but not checked in full, for it does not extend the best chain.
    NotBest,
    /// It is invalid; why.
    Rejected(String),
}

impl Word {
    /// BIP22: `null` is yes, a word says why not.
    fn of(answer: Option<&str>) -> Self {
        // bcoin puts a word before the word.
        match answer.map(|answer| answer.strip_prefix("rejected: ").unwrap_or(answer)) {
            None | Some("duplicate") => Self::Accepted,
            Some("inconclusive" | "duplicate-inconclusive") => Self::NotBest,
            Some(reason) => Self::Rejected(said(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(Word::of(None), Word::Accepted);
        assert_eq!(Word::of(Some("duplicate")), Word::Accepted);
        assert_eq!(Word::of(Some("rejected: duplicate")), Word::Accepted);
        assert_eq!(Word::of(Some("inconclusive")), Word::NotBest);
        assert_eq!(Word::of(Some("duplicate-invalid")), Word::Rejected("duplicate-invalid".into()));
        assert_eq!(Word::of(Some("rejected: high-hash")), Word::Rejected("high-hash".into()));
        assert_eq!(Word::of(Some("")), Word::Rejected(String::new()));
    }
}
