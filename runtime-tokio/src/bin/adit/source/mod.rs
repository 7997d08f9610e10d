//! Where templates come from and where solved ones go: what the embedded chain ([`crate::chain`]) and a Bitcoin node
//! ([`crate::node`]) have in common.
//!
//! No protocol lives here: a [`Template`] is what a provider turns into messages, a [`Solution`] what it gets back.

mod solved;
mod template;

pub(crate) use solved::{Malformed, Solution, SolvedBlock};
pub(crate) use template::{Parts, Template, Tx, Unbuildable};

/// What tests of the chain and of the node need to solve templates.
#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::solved::tests::{coinbase_of, solve};
}
