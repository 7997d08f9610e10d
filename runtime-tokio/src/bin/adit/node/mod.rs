//! A Bitcoin node over JSON-RPC as a source of templates: `getblocktemplate` with long polling, `submitblock`.
//!
//! | module | holds |
//! |---|---|
//! | `endpoint` | URL, user and password, cookie |
//! | `rpc` | one HTTP connection, calls and answers |
//! | `block_template` | the node's answer made a template's parts |
//! | `follow` | the task that keeps up with the node |
//! | `shared` | the newest templates, and those that may still be solved |
//! | `submit` | solutions made blocks, and the node's verdict on them |
//! | `lanes` | the connections for that, side by side |
//! | `folder` | blocks on disk until the node has answered |
//! | `error` | what goes wrong, and what to do about it |
//!
//! No Stratum lives here. Connections to the node: a long poll occupies one for minutes, a template of megabytes another for a while, and a found
//! block must wait for neither, nor for one that the node is slow to judge.

mod block_template;
mod endpoint;
mod error;
mod folder;
mod follow;
mod lanes;
mod rpc;
#[cfg(test)]
mod script;
mod shared;
mod submit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use adit::template::Constraints;
use adit_tokio::backoff::BackoffConfig;
use adit_tokio::clock::Clock;
use tokio::sync::watch;
use tokio::task::{self, JoinHandle};

use self::endpoint::Endpoint;
pub(crate) use self::error::NodeError;
use self::folder::Folder;
use self::follow::{Follower, Pace};
use self::lanes::Lanes;
use self::rpc::{Connection, Limits};
pub(crate) use self::shared::Health;
use self::shared::Shared;
use self::submit::{Patience, Submitter};
use crate::config::{ConfigError, NodeConfig};
use crate::source::{Solution, SolvedBlock, Template, Verdict};

/// All time limits and bounds.
#[derive(Clone, Copy, Debug)]
struct Settings {
    limits: Limits,
    pace: Pace,
    patience: Patience,
}

/// Waits between attempts: short ones, since the node is near and nothing is mined on news that nobody hears.
const BACKOFF: BackoffConfig =
    BackoffConfig { first: Duration::from_millis(500), cap: Duration::from_secs(10), stable: Duration::from_secs(30) };

const SETTINGS: Settings = Settings {
    limits: Limits {
        connect: Duration::from_secs(5),
        // A full block is 8 MB of hexadecimal at most, with some hundred bytes beside each of its transactions.
        answer: 32 << 20,
    },
    pace: Pace {
        // The first template after a new block takes Bitcoin Core seconds on a small machine.
        answer: Duration::from_secs(30),
        look: Duration::from_secs(10),
        look_without_long_poll: Duration::from_secs(1),
        refresh: Duration::from_secs(60),
        least: Duration::from_secs(1),
        backoff: BACKOFF,
    },
    // The node checks the block before it answers. What it hasn't taken after a block interval is most likely worth nothing any more, but nobody knows.
    patience: Patience {
        answer: Duration::from_secs(60),
        whole: Duration::from_secs(600),
        backoff: BACKOFF,
        then: Duration::from_secs(60),
    },
};

/// A node that is followed; copies are the same one. Following ends with the last copy.
#[derive(Clone)]
pub(crate) struct Node(Arc<Following>);

struct Following {
    shared: Arc<Shared>,
    submitter: Submitter,
    task: JoinHandle<()>,
    /// Proves that there is a first template.
    templates: watch::Receiver<Arc<Template>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A node that is asked for its first template.
pub(crate) struct Starting {
    shared: Arc<Shared>,
    submitter: Submitter,
    /// None once it was handed on.
    task: Option<JoinHandle<()>>,
    health: watch::Receiver<Health>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("health", &*self.0.shared.health().borrow()).finish_non_exhaustive()
    }
}

impl Node {
    /// Begins to follow the node that `config` names. Fails for settings that can't work; whether the node answers shows in
    /// [`Starting::ready`]. Needs a tokio runtime.
    pub(crate) fn follow(config: &NodeConfig, clock: Clock) -> Result<Starting, ConfigError> {
        Self::follow_with(config, clock, SETTINGS)
    }

    fn follow_with(config: &NodeConfig, clock: Clock, settings: Settings) -> Result<Starting, ConfigError> {
        let endpoint = Arc::new(Endpoint::new(config)?);
        let connection = move || Connection::new(Arc::clone(&endpoint), settings.limits);
        // D-TDP-7: above what an earlier run used, which gave out fewer than a million templates a second.
        let shared = Arc::new(Shared::new(u64::from(clock.wall().as_secs()) * 1_000_000));
        let follower = Follower {
            polling: connection(),
            looking: connection(),
            pace: settings.pace,
            clock,
            shared: Arc::clone(&shared),
        };
        let folder = config.blocks_directory.clone().map(Folder::new);
        let submitter = Submitter::new(Lanes::new(connection), clock, settings.patience, folder, Arc::clone(&shared));
        // Before the task could change it.
        let health = shared.health();
        let task = Some(tokio::spawn(follower.run()));
        Ok(Starting { shared, submitter, task, health })
    }

    /// See [`TemplateSource::templates`](crate::source::TemplateSource::templates).
    pub(crate) fn templates(&self) -> watch::Receiver<Arc<Template>> {
        let mut templates = self.0.templates.clone();
        templates.mark_unchanged();
        templates
    }

    /// See [`TemplateSource::set_room`](crate::source::TemplateSource::set_room).
    pub(crate) fn set_room(&self, room: Constraints) {
        let shared = Arc::clone(&self.0.shared);
        shared.wish(room);
        task::spawn_blocking(move || shared.set_next_room());
    }

    /// See [`TemplateSource::submit`](crate::source::TemplateSource::submit). A node that can't be reached is tried again for ten minutes: a
    /// block that was found is not given up because the node restarts. So other work must not wait for this.
    pub(crate) async fn submit(&self, solution: Solution) -> Verdict {
        let Some(template) = self.0.shared.template(solution.template_id) else {
            return Verdict::Rejected(format!("template {} is unknown or too old", solution.template_id));
        };
        let submitter = self.0.submitter.clone();
        let work = tokio::spawn(async move { submitter.submit(&template, &solution).await });
        work.await.unwrap_or_else(|error| Verdict::Lost(format!("the block was not handed over: {error}")))
    }

    /// See [`TemplateSource::left`](crate::source::TemplateSource::left).
    pub(crate) async fn left(&self) -> Vec<SolvedBlock> {
        self.0.submitter.left().await
    }

    /// See [`TemplateSource::resubmit`](crate::source::TemplateSource::resubmit).
    pub(crate) async fn resubmit(&self, block: SolvedBlock) -> Verdict {
        let submitter = self.0.submitter.clone();
        let work = tokio::spawn(async move { submitter.submit_block(block).await });
        work.await.unwrap_or_else(|error| Verdict::Lost(format!("the block was not handed over: {error}")))
    }

    /// See [`TemplateSource::insist`](crate::source::TemplateSource::insist).
    pub(crate) async fn insist(&self, block: SolvedBlock) -> Verdict {
        let submitter = self.0.submitter.clone();
        let work = tokio::spawn(async move { submitter.insist(block).await });
        work.await.unwrap_or_else(|error| Verdict::Lost(format!("the block was not handed over: {error}")))
    }

    /// Whether the node gives templates, and if not, why: worth telling whenever it changes.
    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.0.shared.health()
    }
}

impl Starting {
    /// Waits for the first template. An error is why there is none yet; each is told once, and the node is asked on and on: so call again,
    /// or give up. Cancel-safe.
    pub(crate) async fn ready(&mut self) -> Result<Node, Arc<NodeError>> {
        loop {
            // Both ends live in `self`.
            let _lives = self.health.changed().await;
            let health = self.health.borrow_and_update().clone();
            if let Health::Bad(problem) = health {
                return Err(problem);
            }
            if let (Some(templates), Some(task)) = (self.shared.templates(), self.task.take()) {
                let (shared, submitter) = (Arc::clone(&self.shared), self.submitter.clone());
                return Ok(Node(Arc::new(Following { shared, submitter, task, templates })));
            }
        }
    }
}
