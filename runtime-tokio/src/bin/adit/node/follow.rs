//! Keeping up with a node: a task that asks for templates, by long polling and by looking from time to time.
//!
//! A long poll has no time limit, and a pending one is not dropped to start it anew: Bitcoin Core keeps one of its few RPC threads in it
//! until there is news, whether or not anyone still listens. Whether the node is still there is found out on a second connection.

use std::sync::Arc;
use std::time::Duration;

use adit_tokio::backoff::{Backoff, BackoffConfig};
use adit_tokio::clock::Clock;
use adit_tokio::entropy::jitter;
use adit_tokio::net::Tokio;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::block_template::{BlockTemplate, Offer, Seen};
use super::error::{NodeError, RpcError};
use super::rpc::{Answer, Connection};
use super::shared::Shared;

/// How a node is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Time for an answer, long polls excepted.
    pub(super) answer: Duration,
    /// Time between two looks at the tip: how late a lost node or an unanswered long poll shows.
    pub(super) look: Duration,
    /// The same with a node that does no long polling.
    pub(super) look_without_long_poll: Duration,
    /// Time between two templates on the same tip, for fresher transactions and for chains whose target changes with time.
    pub(super) refresh: Duration,
    /// Least time between two long polls on the same tip.
    pub(super) least: Duration,
    /// Waits after failures.
    pub(super) backoff: BackoffConfig,
}

/// The task's state.
pub(super) struct Follower {
    /// For long polls alone.
    pub(super) polling: Connection,
    /// For everything else.
    pub(super) looking: Connection,
    pub(super) pace: Pace,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
}

impl Follower {
    /// Runs until it is aborted.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.pace.backoff);
        loop {
            let error = self.follow(&mut backoff).await;
            let wait = backoff.down(self.clock.now(), jitter::<Tokio>().unwrap_or(0));
            tracing::debug!(%error, ?wait, "lost the node");
            self.shared.is_bad(error);
            sleep(wait).await;
        }
    }

    /// Follows the node until something fails.
    async fn follow(&mut self, backoff: &mut Backoff) -> NodeError {
        match self.try_follow(backoff).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn try_follow(&mut self, backoff: &mut Backoff) -> Result<std::convert::Infallible, NodeError> {
        let Self { polling, looking, pace, clock, shared } = self;
        let mut seen = Seen::default();
        let mut refresh_at = Instant::now() + pace.refresh;
        let answer = looking.call("getblocktemplate", &request(None), Some(pace.answer)).await?;
        let (offer, kept) = read(shared, answer, seen).await?;
        backoff.up(clock.now());
        seen = kept;
        let mut newest = offer;
        loop {
            let tip = newest.parts.prev_hash;
            let id = newest.long_poll_id.clone();
            let asked_at = Instant::now();
            let look_every = if id.is_some() { pace.look } else { pace.look_without_long_poll };
            let long_poll = async {
                match id {
                    Some(id) => polling.call("getblocktemplate", &request(Some(&id)), None).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(long_poll);
            // Until the long poll is answered, or has nothing to wait for any more.
            loop {
                let answer = tokio::select! {
                    biased;
                    answer = &mut long_poll => Some(answer?),
                    looked = look(looking, tip, look_every, refresh_at, pace.answer) => {
                        looked?;
                        None
                    }
                };
                let is_answered = answer.is_some();
                let answer = match answer {
                    Some(answer) => answer,
                    None => looking.call("getblocktemplate", &request(None), Some(pace.answer)).await?,
                };
                let (offer, kept) = read(shared, answer, seen).await?;
                seen = kept;
                newest = offer;
                refresh_at = Instant::now() + pace.refresh;
                if is_answered || newest.parts.prev_hash != tip {
                    break;
                }
            }
            if newest.parts.prev_hash == tip {
                // A node that answers at once with nothing new must not be asked in a tight loop.
                sleep_until(asked_at + pace.least).await;
            }
        }
    }
}

/// Waits until there is reason to ask for a template: another tip, or `refresh_at`.
async fn look(
    connection: &mut Connection,
    tip: [u8; 32],
    every: Duration,
    refresh_at: Instant,
    limit: Duration,
) -> Result<(), RpcError> {
    loop {
        let next = Instant::now() + every;
        if next >= refresh_at {
            sleep_until(refresh_at).await;
            return Ok(());
        }
        sleep_until(next).await;
        let answer = connection.call("getbestblockhash", &json!([]), Some(limit)).await?;
        let mut hash = [0; 32];
        let is_hash = hex::decode_to_slice(answer.some::<String>()?, &mut hash).is_ok();
        hash.reverse();
        if !is_hash {
            return Err(RpcError::Unanswered("getbestblockhash"));
        }
        if hash != tip {
            return Ok(());
        }
    }
}

/// The parameters of `getblocktemplate`.
fn request(long_poll_id: Option<&str>) -> serde_json::Value {
    let mut request = json!({ "rules": ["segwit"], "capabilities": ["coinbasevalue", "longpoll"] });
    if let (Some(id), Some(fields)) = (long_poll_id, request.as_object_mut()) {
        fields.insert("longpollid".into(), id.into());
    }
    json!([request])
}

/// Reads a template and shows it, which takes some ten milliseconds when the block is full: beside the tasks that serve miners.
async fn read(shared: &Arc<Shared>, answer: Answer, mut seen: Seen) -> Result<(Arc<Offer>, Seen), NodeError> {
    let shared = Arc::clone(shared);
    let reading = tokio::task::spawn_blocking(move || {
        let offer = Arc::new(answer.some::<BlockTemplate<'_>>()?.offer(&mut seen)?);
        shared.take_offer(Arc::clone(&offer))?;
        Ok((offer, seen))
    });
    match reading.await {
        Ok(read) => read,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
