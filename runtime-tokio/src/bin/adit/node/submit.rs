//! From a solution to the node's verdict on its block.

use std::io;
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
use crate::source::{Solution, SolvedBlock, Template, Verdict};

/// How long a block is tried to be handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Time for one answer.
    pub(super) answer: Duration,
    /// Time for all attempts.
    pub(super) whole: Duration,
    /// Waits between them.
    pub(super) backoff: BackoffConfig,
}

/// Where solutions go: makes blocks of them and hands these to the node, on connections of their own.
#[derive(Clone)]
pub(super) struct Submitter {
    lanes: Lanes,
    clock: Clock,
    patience: Patience,
    /// Where blocks are until the node has answered.
    folder: Option<Folder>,
}

impl Submitter {
    pub(super) fn new(lanes: Lanes, clock: Clock, patience: Patience, folder: Option<Folder>) -> Self {
        Self { lanes, clock, patience, folder }
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
        let word = self.hand_over(&block).await;
        if let Some(Err(error)) = kept.await {
            tracing::error!(block = %block.hash_hex(), %error, "a found block can't be written to disk, so it would not outlive this program");
        }
        let word = match word {
            Ok(word) => word,
            Err(error) => {
                let (hash, height) = (block.hash_hex(), block.height);
                let kept = self.folder.as_ref().map_or_else(String::new, |folder| {
                    format!(". It is in {} and tried again when the provider starts", folder.path(&block).display())
                });
                return Verdict::Lost(format!(
                    "block {hash} at height {height} could not be handed to the node: {error}{kept}"
                ));
            }
        };
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

    async fn hand_over(&self, block: &SolvedBlock) -> Result<Word, RpcError> {
        let params = json!([hex::encode(&block.bytes)]);
        let give_up_at = Instant::now() + self.patience.whole;
        let mut backoff = Backoff::new(self.patience.backoff);
        loop {
            let answer = {
                let mut lane = self.lanes.take(block.height).await;
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
            if !error.is_passing() || Instant::now() + wait > give_up_at {
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
