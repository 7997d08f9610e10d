//! From a solution to the node's verdict on its block.

use std::sync::Arc;
use std::time::Duration;

use adit_tokio::backoff::{Backoff, BackoffConfig};
use adit_tokio::clock::Clock;
use adit_tokio::entropy::jitter;
use adit_tokio::net::Tokio;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::error::{RpcError, code, said};
use super::rpc::Connection;
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

/// Where solutions go: makes blocks of them and hands these to the node, on a connection of its own.
#[derive(Clone)]
pub(super) struct Submitter {
    connection: Arc<Mutex<Connection>>,
    clock: Clock,
    patience: Patience,
}

impl Submitter {
    pub(super) fn new(connection: Connection, clock: Clock, patience: Patience) -> Self {
        Self { connection: Arc::new(Mutex::new(connection)), clock, patience }
    }

    /// Makes a block of a solution and hands it to the node.
    pub(super) async fn submit(&self, template: &Template, solution: &Solution) -> Verdict {
        let block = match SolvedBlock::new(template, solution) {
            Ok(block) => block,
            Err(why) => return Verdict::Refused(why.to_string()),
        };
        match self.hand_over(&block).await {
            Ok(Word::Accepted) => Verdict::Accepted(block),
            Ok(Word::NotBest) => Verdict::NotBest(block),
            Ok(Word::Refused(reason)) => Verdict::Refused(reason),
            Err(error) => {
                let (hash, height) = (block.hash_hex(), block.height);
                Verdict::Lost(format!("block {hash} at height {height} could not be handed to the node: {error}"))
            }
        }
    }

    async fn hand_over(&self, block: &SolvedBlock) -> Result<Word, RpcError> {
        let params = json!([hex::encode(&block.bytes)]);
        let give_up_at = Instant::now() + self.patience.whole;
        let mut backoff = Backoff::new(self.patience.backoff);
        loop {
            let answer = {
                let mut connection = self.connection.lock().await;
                connection.call("submitblock", &params, Some(self.patience.answer)).await
            };
            let error = match answer.and_then(|answer| answer.result::<String>()) {
                Ok(answer) => return Ok(Word::of(answer.as_deref())),
                Err(RpcError::Node {
                    code: code::DESERIALIZATION | code::VERIFY_ERROR | code::VERIFY_REJECTED,
                    message,
                }) => {
                    return Ok(Word::Refused(message));
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
    Refused(String),
}

impl Word {
    /// BIP22: `null` is yes, a word says why not.
    fn of(answer: Option<&str>) -> Self {
        // bcoin puts a word before the word.
        match answer.map(|answer| answer.strip_prefix("rejected: ").unwrap_or(answer)) {
            None | Some("duplicate") => Self::Accepted,
            Some("inconclusive" | "duplicate-inconclusive") => Self::NotBest,
            Some(reason) => Self::Refused(said(reason)),
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
        assert_eq!(Word::of(Some("duplicate-invalid")), Word::Refused("duplicate-invalid".into()));
        assert_eq!(Word::of(Some("rejected: high-hash")), Word::Refused("high-hash".into()));
        assert_eq!(Word::of(Some("")), Word::Refused(String::new()));
    }
}
