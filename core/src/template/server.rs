//! A provider's side of one template client. It knows what the client was told and tells it the rest; the templates
//! themselves are the [`TemplateBook`]'s.
//!
//! What is to be sent is state, not a queue: a client that reads slowly gets the newest template only.

#[cfg(test)]
mod tests;

use core::fmt;

use super::book::{Standing, TemplateBook, TipSequence};
use super::solution::{self, NoBlock, Solution};
use super::store::{Constraints, Template};
use crate::connection::Outbound;
use crate::error::Error;
use crate::message::ErrorCode;
use crate::message::template::{
    NewTemplate, RequestTransactionDataError, RequestTransactionDataSuccess, SetNewPrevHash, ToServer,
};
use crate::protocol::{Responder, TemplateDistribution};
use crate::storage::Storage;
use crate::time::Instant;
use crate::wire::{B016M, B064K, B0255, Revision, Seq064K, Seq0255, U256};

/// The way to a template client.
pub type ToTemplateClient<'o> = Outbound<'o, Responder, TemplateDistribution>;

/// A rule that the client broke, so that the connection is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientViolation {
    /// Another message before `CoinbaseOutputDataSize` (D-TDP-1).
    ConstraintsNotFirst,
    /// It announced more than [`Constraints::LARGEST`]. Templates leave all clients the room that any of them needs, so no one may ask for a
    /// block without transactions.
    TooMuchRoom,
}

impl fmt::Display for ClientViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConstraintsNotFirst => "the first message is not CoinbaseOutputDataSize (D-TDP-1)",
            Self::TooMuchRoom => "CoinbaseOutputDataSize is more than a coinbase can be that is sent back",
        })
    }
}

impl core::error::Error for ClientViolation {}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// The client broke a rule: close the connection.
    Rule(ClientViolation),
    /// The answer could not be sent.
    Send(Error),
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "peer: {rule}"),
            Self::Send(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for HandleError {}

impl From<Error> for HandleError {
    fn from(error: Error) -> Self {
        Self::Send(error)
    }
}

/// What a client's message asks of the owner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Request<'m> {
    /// The client announced what it adds to a coinbase: templates must leave that much room (D-TDP-6).
    Constraints(Constraints),
    /// The client wants the transactions of this known template: answer with [`TemplateServer::send_transactions`].
    Transactions(u64),
    /// The client found a block: build and broadcast it at once (D-TDP-18).
    Solution(Solution<'m>),
    /// The client believes so, but its solution is no block; carries the template's id.
    NoBlock(u64, NoBlock),
}

/// One template client, seen from the provider.
#[derive(Debug)]
pub struct TemplateServer {
    revision: Revision,
    constraints: Option<Constraints>,
    /// The tip that the client was told last.
    told_tip: TipSequence,
    /// Ids below this one were sent or passed over: they can't be sent any more (D-TDP-7).
    next_id: u64,
    /// The last template that was sent as a future one.
    told_future: Option<u64>,
}

impl TemplateServer {
    /// A client that just finished its setup and was told nothing yet.
    #[must_use]
    pub const fn new(revision: Revision) -> Self {
        Self { revision, constraints: None, told_tip: 0, next_id: 0, told_future: None }
    }

    /// What the client announced; none before its first message.
    #[must_use]
    pub const fn constraints(&self) -> Option<Constraints> {
        self.constraints
    }

    /// Takes a message of the client. An unknown template id is answered here (D-TDP-16), hence `out`.
    ///
    /// Call [`Self::poll_outbound`] afterwards: the first template goes out at once (D-TDP-2).
    pub fn handle<'m, S: Storage>(
        &mut self,
        now: Instant,
        message: ToServer<'m>,
        book: &TemplateBook<S>,
        out: &mut ToTemplateClient<'_>,
    ) -> Result<Option<Request<'m>>, HandleError> {
        if let ToServer::CoinbaseOutputConstraints(message) = message {
            let constraints = Constraints {
                max_additional_size: message.coinbase_output_max_additional_size,
                // The draft does not say them.
                max_additional_sigops: message.coinbase_output_max_additional_sigops.get().unwrap_or_default(),
            };
            if !Constraints::LARGEST.covers(constraints) {
                return Err(HandleError::Rule(ClientViolation::TooMuchRoom));
            }
            self.constraints = Some(constraints);
            return Ok(Some(Request::Constraints(constraints)));
        }
        let constraints = self.constraints.ok_or(HandleError::Rule(ClientViolation::ConstraintsNotFirst))?;
        match message {
            ToServer::CoinbaseOutputConstraints(_) => Ok(None),
            ToServer::RequestTransactionData(message) => {
                let id = message.template_id;
                let code = match book.get(id).filter(|_| id < self.next_id).map(|known| known.standing) {
                    None => RequestTransactionDataError::TEMPLATE_ID_NOT_FOUND,
                    Some(Standing::Stale) if self.revision == Revision::Current => {
                        RequestTransactionDataError::STALE_TEMPLATE_ID
                    }
                    Some(_) => return Ok(Some(Request::Transactions(id))),
                };
                self.refuse_transactions(id, code, out)?;
                Ok(None)
            }
            ToServer::SubmitSolution(message) => {
                // Of any template that is known, not only of what this connection was told: the client may have heard of it on an earlier one.
                let id = message.template_id;
                let since_tip = now.saturating_since(book.tip_since());
                let sender = solution::Sender { constraints, since_tip, revision: self.revision };
                Ok(Some(match solution::check(book, &message, sender) {
                    Ok(solution) => Request::Solution(solution),
                    Err(why) => Request::NoBlock(id, why),
                }))
            }
        }
    }

    /// Sends what the client has yet to be told, as far as there is room. After `Full` call again when the buffer was drained.
    pub fn poll_outbound<S: Storage>(
        &mut self,
        book: &TemplateBook<S>,
        out: &mut ToTemplateClient<'_>,
    ) -> Result<(), Error> {
        let (Some(need), Some(tip)) = (self.constraints, book.tip()) else { return Ok(()) };
        if self.told_tip != book.sequence() {
            // D-TDP-11: a future template that the client has already goes first; else the best one goes out as one (D-TDP-2).
            let had =
                self.told_future.filter(|id| book.get(*id).is_some_and(|known| known.standing == Standing::Current));
            let template_id = match had {
                Some(id) => id,
                None => match book.best(need).filter(|best| best.id() >= self.next_id) {
                    Some(best) => {
                        self.send_template(best, true, out)?;
                        best.id()
                    }
                    None => return Ok(()),
                },
            };
            // D-TDP-10
            out.send(&SetNewPrevHash {
                template_id,
                prev_hash: U256(tip.prev_hash),
                header_timestamp: tip.header_timestamp,
                n_bits: tip.n_bits,
                target: U256(tip.target.to_le_bytes()),
            })?;
            self.told_tip = book.sequence();
            self.told_future = None;
        }
        loop {
            let news = [(book.best(need), false), (book.future(need), true)];
            let next = news
                .into_iter()
                .filter_map(|(template, future)| template.map(|template| (template, future)))
                .filter(|(template, _)| template.id() >= self.next_id)
                .min_by_key(|(template, _)| template.id());
            let Some((template, future)) = next else { return Ok(()) };
            self.send_template(template, future, out)?;
        }
    }

    /// Whether the client waits for a template that the book does not have: none on the tip leaves the room it needs, or the newest does not.
    #[must_use]
    pub fn is_starved<S: Storage>(&self, book: &TemplateBook<S>) -> bool {
        let Some(need) = self.constraints else { return false };
        let newest = book.best(Constraints::default()).map(Template::id);
        let Some(best) = book.best(need).map(Template::id) else { return true };
        newest.is_some_and(|newest| best < newest) || book.sequence() != self.told_tip && best < self.next_id
    }

    /// Answers [`Request::Transactions`]: all transactions of the template but the coinbase, in block order, with their witness
    /// (D-TDP-14). This may take megabytes of room; after `Full` call again with a larger or drained buffer.
    pub fn send_transactions(
        &self,
        template_id: u64,
        excess_data: &[u8],
        transactions: &[B016M<'_>],
        out: &mut ToTemplateClient<'_>,
    ) -> Result<(), Error> {
        out.send(&RequestTransactionDataSuccess {
            template_id,
            excess_data: B064K::new(excess_data),
            transaction_list: Seq064K::new(transactions),
        })
    }

    /// Answers [`Request::Transactions`] with an error, when the transactions are gone.
    pub fn refuse_transactions(
        &self,
        template_id: u64,
        error_code: &str,
        out: &mut ToTemplateClient<'_>,
    ) -> Result<(), Error> {
        out.send(&RequestTransactionDataError { template_id, error_code: ErrorCode::new(error_code) })
    }

    fn send_template<S: Storage>(
        &mut self,
        template: &Template<S>,
        future: bool,
        out: &mut ToTemplateClient<'_>,
    ) -> Result<(), Error> {
        let coinbase = template.coinbase();
        out.send(&NewTemplate {
            template_id: template.id(),
            future_template: future,
            version: template.version(),
            coinbase_tx_version: coinbase.tx_version,
            coinbase_prefix: B0255::new(coinbase.script_prefix),
            coinbase_tx_input_sequence: coinbase.input_sequence,
            coinbase_tx_value_remaining: coinbase.value_remaining,
            coinbase_tx_outputs_count: coinbase.outputs_count,
            coinbase_tx_outputs: B064K::new(coinbase.outputs),
            coinbase_tx_locktime: coinbase.lock_time,
            merkle_path: Seq0255::new(template.merkle_path()),
        })?;
        self.next_id = template.id().saturating_add(1);
        if future {
            self.told_future = Some(template.id());
        }
        Ok(())
    }
}
