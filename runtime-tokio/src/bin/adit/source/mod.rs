//! Where templates come from and where solved ones go: what the embedded chain ([`crate::chain`]) and a Bitcoin node
//! ([`crate::node`]) have in common.
//!
//! No protocol lives here: a [`Template`] is what a provider turns into messages, a [`Solution`] what it gets back.

mod solved;
mod template;
mod wishes;

use std::sync::Arc;

use adit::template::Constraints;
use tokio::sync::watch;

pub(crate) use solved::{Malformed, Solution, SolvedBlock};
pub(crate) use template::{Parts, Template, Tx, Unbuildable};
pub(crate) use wishes::Wishes;

use crate::chain::Embedded;
use crate::node::Node;

/// What became of a solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The block is the new tip.
    Accepted(SolvedBlock),
    /// The block is valid, but another one is the tip.
    NotBest(SolvedBlock),
    /// It came after another block of its height, and nobody looked further at it; in the words of who said so.
    Stale(String),
    /// There is no such block, or it breaks a rule; in the words of who rejected it.
    Rejected(String),
    /// The node has not said what it thinks, for this reason. It is to be asked on ([`TemplateSource::insist`]).
    Unanswered(SolvedBlock, String),
    /// Nobody could judge or keep it: a full disk, a node that never answered.
    Lost(String),
}

/// Where templates come from. Copies of it are the same source.
#[derive(Clone)]
pub(crate) enum TemplateSource {
    /// The embedded chain.
    Chain(Embedded),
    /// A Bitcoin node.
    Node(Node),
}

impl TemplateSource {
    /// The newest template, and those that follow: a new one at once on every new tip, and when fees rise (D-TDP-3). Ends with the source.
    pub(crate) fn templates(&self) -> watch::Receiver<Arc<Template>> {
        match self {
            Self::Chain(chain) => chain.templates(),
            Self::Node(node) => node.templates(),
        }
    }

    /// Asks for templates that leave this much to the client's outputs: one comes at once when this is more than before, else the next ones do.
    /// What no block has room for changes nothing. Never waits; rooms are set in the order of the calls.
    pub(crate) fn set_room(&self, room: Constraints) {
        match self {
            Self::Chain(chain) => chain.set_room(room),
            Self::Node(node) => node.set_room(room),
        }
    }

    /// Blocks that an earlier run found and of which it was not heard what became: to be handed in again ([`Self::resubmit`]). The embedded chain judges
    /// at once, so there are none.
    pub(crate) async fn left(&self) -> Vec<SolvedBlock> {
        match self {
            Self::Chain(_) => Vec::new(),
            Self::Node(node) => node.left().await,
        }
    }

    /// Hands one of them in.
    pub(crate) async fn resubmit(&self, block: SolvedBlock) -> Verdict {
        match self {
            Self::Chain(_) => Verdict::Stale("the embedded chain keeps no blocks that were not judged".into()),
            Self::Node(node) => node.resubmit(block).await,
        }
    }

    /// Goes on to hand in a block that was not answered, with pauses, until it is or cannot matter any more.
    pub(crate) async fn insist(&self, block: SolvedBlock) -> Verdict {
        match self {
            Self::Chain(_) => Verdict::Stale("the embedded chain keeps no blocks that were not judged".into()),
            Self::Node(node) => node.insist(block).await,
        }
    }

    /// Hands a solution in (D-TDP-18). Dropping the future does not take it back.
    pub(crate) async fn submit(&self, solution: Solution) -> Verdict {
        match self {
            Self::Chain(chain) => chain.submit(solution).await,
            Self::Node(node) => node.submit(solution).await,
        }
    }
}

/// What tests of the chain and of the node need to solve templates.
#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::solved::tests::{coinbase_of, solve};
}
