//! A pool's side of template distribution: templates and tips come in, requests for transactions and found blocks go out.
//!
//! It keeps what came since the last `SetNewPrevHash`, within bounds. Making jobs of templates is the pool's.

use core::fmt;

use super::coinbase::{TemplateCoinbase, assemble, assembled_len};
use super::store::{Constraints, Template, TemplateError, Tip};
use crate::config::{
    CLIENT_TEMPLATES_HEAP, CLIENT_TEMPLATES_INLINE, SOLUTION_COINBASE_HEAP, SOLUTION_COINBASE_INLINE, SOLUTIONS_HEAP,
    SOLUTIONS_INLINE,
};
use crate::connection::Outbound;
use crate::error::Error;
use crate::message::template::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionData, RequestTransactionDataError,
    RequestTransactionDataSuccess, SetNewPrevHash, SubmitSolution, ToClient,
};
use crate::mining::target::Target;
use crate::protocol::{Initiator, TemplateDistribution};
use crate::storage::{List, NoRoom, Storage};
use crate::time::Instant;
use crate::wire::B064K;

/// The way to a template provider.
pub type ToProvider<'o> = Outbound<'o, Initiator, TemplateDistribution>;

/// A rule that the provider broke, so that the connection is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderViolation {
    /// A template id is not above the last one (D-TDP-7).
    TemplateId,
    /// `SetNewPrevHash` names a template that was never sent (D-TDP-11).
    UnknownTemplate,
    /// A template for the present tip before the first `SetNewPrevHash` (D-TDP-9).
    NoTip,
}

impl fmt::Display for ProviderViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TemplateId => "template_id does not rise (D-TDP-7)",
            Self::UnknownTemplate => "SetNewPrevHash names a template that was not sent (D-TDP-11)",
            Self::NoTip => "template for the present tip before the first SetNewPrevHash (D-TDP-9)",
        })
    }
}

impl core::error::Error for ProviderViolation {}

/// What a message of the provider means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TemplateEvent<'m> {
    /// A template came and is kept. With `future` it waits for a tip, else it is to be mined at once (D-TDP-9).
    Template {
        /// Its id.
        id: u64,
        /// It waits for a tip.
        future: bool,
    },
    /// A template came that can't be used.
    Unusable {
        /// Its id.
        id: u64,
        /// What is wrong with it.
        why: TemplateError,
    },
    /// A new tip; this template is to be mined at once. All others are forgotten.
    Tip {
        /// The template's id.
        template_id: u64,
    },
    /// A new tip, but the template that it names was not usable, so there is nothing to mine until the next one comes.
    TipWithoutTemplate {
        /// The template's id.
        template_id: u64,
    },
    /// Transactions that were asked for.
    Transactions(RequestTransactionDataSuccess<'m>),
    /// The provider does not have them.
    NoTransactions(RequestTransactionDataError<'m>),
}

/// A found block, in the parts in which a job carries its coinbase.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The template that the job was made of.
    pub template_id: u64,
    /// The block that it builds on, in raw SHA-256 order.
    pub prev_hash: [u8; 32],
    /// The header's version as found.
    pub version: u32,
    /// The header's time as found.
    pub header_timestamp: u32,
    /// The header's nonce as found.
    pub header_nonce: u32,
    /// `coinbase_tx_prefix` of the job.
    pub coinbase_prefix: &'a [u8],
    /// The extranonce in pieces: prefix and rolled part.
    pub extranonce: [&'a [u8]; 2],
    /// `coinbase_tx_suffix` of the job.
    pub coinbase_suffix: &'a [u8],
    /// Whether the template commits to witnesses.
    pub witness: bool,
}

/// A found block as a provider is told of it, and what it builds on: all that is needed to tell it after a restart of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBlock<'a> {
    /// The template that it was made of, as the provider counted.
    pub template_id: u64,
    /// The block that it builds on, in raw SHA-256 order.
    pub prev_hash: [u8; 32],
    /// The header's version.
    pub version: u32,
    /// The header's time.
    pub header_timestamp: u32,
    /// The header's nonce.
    pub header_nonce: u32,
    /// The coinbase transaction, as it opens the block.
    pub coinbase_tx: &'a [u8],
    /// It was written to some connection: the provider may have it.
    pub told: bool,
}

/// A found block that is held while it may be of use.
struct Held<S: Storage> {
    /// What it builds on.
    prev_hash: [u8; 32],
    /// It was written to the present connection.
    sent: bool,
    /// It was written to some connection: the provider may have it.
    told: bool,
    template_id: u64,
    version: u32,
    header_timestamp: u32,
    header_nonce: u32,
    coinbase: S::List<u8, SOLUTION_COINBASE_INLINE, SOLUTION_COINBASE_HEAP>,
}

struct Kept<S: Storage> {
    template: Template<S>,
    future: bool,
}

/// A pool's side of one provider. It outlives the connection: see [`Self::disconnected`].
pub struct TemplateClient<S: Storage> {
    constraints: Constraints,
    announced: bool,
    kept: S::List<Kept<S>, CLIENT_TEMPLATES_INLINE, CLIENT_TEMPLATES_HEAP>,
    tip: Option<(Tip, Instant)>,
    last_id: Option<u64>,
    /// The last template that came and was not usable.
    unusable: Option<u64>,
    wanted: Option<u64>,
    held: S::List<Held<S>, SOLUTIONS_INLINE, SOLUTIONS_HEAP>,
}

impl<S: Storage> fmt::Debug for TemplateClient<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateClient").field("tip", &self.tip).field("last_id", &self.last_id).finish_non_exhaustive()
    }
}

impl<S: Storage> TemplateClient<S> {
    /// A client that will announce `constraints` (D-TDP-5).
    #[must_use]
    pub fn new(constraints: Constraints) -> Self {
        Self {
            constraints,
            announced: false,
            kept: Default::default(),
            tip: None,
            last_id: None,
            unusable: None,
            wanted: None,
            held: Default::default(),
        }
    }

    /// Announces other constraints, at the next [`Self::poll_outbound`]. The same ones again change nothing.
    pub fn set_constraints(&mut self, constraints: Constraints) {
        if self.constraints != constraints {
            self.constraints = constraints;
            self.announced = false;
        }
    }

    /// The connection is gone: what the provider said counts no more. Found blocks wait for the next one, those that were written to this one
    /// too: nothing is acknowledged, so what the provider has of them is not known. See [`Self::submit`].
    pub fn disconnected(&mut self) {
        self.held.iter_mut().for_each(|found| found.sent = false);
        self.announced = false;
        self.kept.clear();
        self.tip = None;
        self.last_id = None;
        self.unusable = None;
        self.wanted = None;
    }

    /// The present tip and when it came.
    #[must_use]
    pub fn tip(&self) -> Option<(&Tip, Instant)> {
        self.tip.as_ref().map(|(tip, at)| (tip, *at))
    }

    /// A template that is kept, and whether it waits for a tip.
    #[must_use]
    pub fn template(&self, id: u64) -> Option<(&Template<S>, bool)> {
        self.kept.iter().find(|kept| kept.template.id() == id).map(|kept| (&kept.template, kept.future))
    }

    /// The newest template for the present tip.
    #[must_use]
    pub fn best(&self) -> Option<&Template<S>> {
        self.kept.iter().rev().find(|kept| !kept.future).map(|kept| &kept.template)
    }

    /// Templates that wait for a tip, oldest first.
    pub fn future(&self) -> impl Iterator<Item = &Template<S>> {
        self.kept.iter().filter(|kept| kept.future).map(|kept| &kept.template)
    }

    /// Takes a message of the provider.
    pub fn handle<'m>(&mut self, now: Instant, message: ToClient<'m>) -> Result<TemplateEvent<'m>, ProviderViolation> {
        match message {
            ToClient::NewTemplate(message) => self.new_template(&message),
            ToClient::SetNewPrevHash(message) => self.new_prev_hash(now, &message),
            ToClient::RequestTransactionDataSuccess(message) => Ok(TemplateEvent::Transactions(message)),
            ToClient::RequestTransactionDataError(message) => Ok(TemplateEvent::NoTransactions(message)),
        }
    }

    fn new_template<'m>(&mut self, message: &NewTemplate<'_>) -> Result<TemplateEvent<'m>, ProviderViolation> {
        let (id, future) = (message.template_id, message.future_template);
        if self.last_id.is_some_and(|last| id <= last) {
            return Err(ProviderViolation::TemplateId);
        }
        if !future && self.tip.is_none() {
            return Err(ProviderViolation::NoTip);
        }
        self.last_id = Some(id);
        let coinbase = TemplateCoinbase {
            tx_version: message.coinbase_tx_version,
            script_prefix: message.coinbase_prefix.as_bytes(),
            input_sequence: message.coinbase_tx_input_sequence,
            value_remaining: message.coinbase_tx_value_remaining,
            outputs_count: message.coinbase_tx_outputs_count,
            outputs: message.coinbase_tx_outputs.as_bytes(),
            lock_time: message.coinbase_tx_locktime,
        };
        let kept = Template::new(id, message.version, &coinbase, message.merkle_path.iter()).and_then(|template| {
            if self.kept.is_full() {
                self.make_room();
            }
            self.kept.push(Kept { template, future }).map_err(|_| TemplateError::TooLarge)
        });
        Ok(match kept {
            Ok(()) => TemplateEvent::Template { id, future },
            Err(why) => {
                self.unusable = Some(id);
                TemplateEvent::Unusable { id, why }
            }
        })
    }

    /// Forgets the oldest template that a newer one of its kind replaces.
    fn make_room(&mut self) {
        let several = |future| self.kept.iter().filter(|kept| kept.future == future).count() > 1;
        let kind = !several(false);
        if let Some(index) = self.kept.iter().position(|kept| kept.future == kind) {
            self.kept.remove(index);
        }
    }

    fn new_prev_hash<'m>(
        &mut self,
        now: Instant,
        message: &SetNewPrevHash,
    ) -> Result<TemplateEvent<'m>, ProviderViolation> {
        let template_id = message.template_id;
        if self.last_id.is_none_or(|last| template_id > last) {
            return Err(ProviderViolation::UnknownTemplate);
        }
        let tip = Tip {
            prev_hash: message.prev_hash.0,
            header_timestamp: message.header_timestamp,
            n_bits: message.n_bits,
            target: Target::from_le_bytes(message.target.0),
        };
        // Where the network has moved on, what was told is a block by now or never will be; what nobody was told is worth the node's judgement,
        // if it can have the template.
        let known = |found: &Held<S>| self.last_id.is_some_and(|last| found.template_id <= last);
        self.held.retain(|found| found.prev_hash == tip.prev_hash || !found.told && known(found));
        self.tip = Some((tip, now));
        self.kept.retain(|kept| kept.template.id() == template_id);
        match self.kept.first_mut() {
            Some(kept) => {
                kept.future = false;
                Ok(TemplateEvent::Tip { template_id })
            }
            // Not kept: it was unusable, or pushed out by newer ones.
            None => Ok(TemplateEvent::TipWithoutTemplate { template_id }),
        }
    }

    /// Asks for the transactions of a template at the next [`Self::poll_outbound`]; a later question replaces one that was not sent yet.
    pub fn request_transactions(&mut self, template_id: u64) {
        self.wanted = Some(template_id);
    }

    /// Queues a found block; [`Self::poll_outbound`] sends it before anything else (D-TDP-17).
    ///
    /// `SubmitSolution` has no answer, so a block is held when it was sent, until a tip comes that it does not build on. When the connection
    /// breaks before, it is sent once more on each next connection whose first tip is still its own; one that was never sent goes out
    /// whatever that tip is. Template ids are the provider's own count, and nothing in the protocol tells one that restarted from
    /// one that did not. To a provider that kept running the id means the same on every connection, so it has the
    /// transactions and builds the block. One that restarted does not have them: if it counts on from above its earlier ids, as
    /// [`TemplateBook::starting_at`](super::TemplateBook::starting_at) asks for, the id is unknown to it; if it counts from the beginning, a block whose
    /// id is above all that this connection was told is left unsent, and a lower one names another template, where its hash is too high. Either
    /// way nothing false comes into being, and the block can be made only by who has its transactions.
    ///
    /// Version and time are taken as they are: whoever checked the share kept them within D-TDP-19 and D-TDP-20.
    /// When there is no place, the oldest block that was ever sent makes one, or else one that can't be. Fails when more blocks wait to be sent than are
    /// kept, or the coinbase is longer than a message can carry.
    pub fn submit(&mut self, found: &Found<'_>) -> Result<(), NoRoom> {
        let extranonce = found.extranonce.iter().map(|piece| piece.len()).sum();
        let len = assembled_len(found.coinbase_prefix.len(), extranonce, found.coinbase_suffix.len(), found.witness);
        let mut coinbase: S::List<u8, SOLUTION_COINBASE_INLINE, SOLUTION_COINBASE_HEAP> = Default::default();
        if len > coinbase.bound() {
            return Err(NoRoom);
        }
        for _ in 0..len {
            coinbase.push(0).map_err(|_| NoRoom)?;
        }
        assemble(found.coinbase_prefix, &found.extranonce, found.coinbase_suffix, found.witness, &mut coinbase)
            .map_err(|_| NoRoom)?;
        self.hold(Held {
            prev_hash: found.prev_hash,
            sent: false,
            told: false,
            template_id: found.template_id,
            version: found.version,
            header_timestamp: found.header_timestamp,
            header_nonce: found.header_nonce,
            coinbase,
        })
    }

    /// Queues a block of an earlier run of the pool ([`Self::held`]): one that was told goes out if the provider's tip is still its own, another one in
    /// any case. Fails as [`Self::submit`] does.
    pub fn restore(&mut self, block: &HeldBlock<'_>) -> Result<(), NoRoom> {
        let mut coinbase: S::List<u8, SOLUTION_COINBASE_INLINE, SOLUTION_COINBASE_HEAP> = Default::default();
        for byte in block.coinbase_tx {
            coinbase.push(*byte).map_err(|_| NoRoom)?;
        }
        self.hold(Held {
            prev_hash: block.prev_hash,
            sent: false,
            told: block.told,
            template_id: block.template_id,
            version: block.version,
            header_timestamp: block.header_timestamp,
            header_nonce: block.header_nonce,
            coinbase,
        })
    }

    fn hold(&mut self, block: Held<S>) -> Result<(), NoRoom> {
        if self.held.is_full() {
            let is_idle = |found: &Held<S>| self.tip.is_some() && !self.is_due(found);
            let told = self.held.iter().position(|found| found.told);
            if let Some(index) = told.or_else(|| self.held.iter().position(is_idle)) {
                self.held.remove(index);
            }
        }
        self.held.push(block).map_err(|_| NoRoom)
    }

    /// Found blocks that no connection has taken yet, oldest first. Whoever ends a pool while there are some keeps them, for nobody else has them.
    pub fn unsent(&self) -> impl Iterator<Item = HeldBlock<'_>> {
        self.held().filter(|found| !found.told)
    }

    /// All blocks that may still be of use, oldest first. Whoever wants to lose none in a crash keeps each on disk from the moment when it is found until
    /// it is not among these any more.
    pub fn held(&self) -> impl DoubleEndedIterator<Item = HeldBlock<'_>> {
        self.held.iter().map(|found| HeldBlock {
            template_id: found.template_id,
            prev_hash: found.prev_hash,
            version: found.version,
            header_timestamp: found.header_timestamp,
            header_nonce: found.header_nonce,
            coinbase_tx: &found.coinbase,
            told: found.told,
        })
    }

    /// Whether there are blocks that no connection has taken that the provider may yet take: at once, or when it has told its tip.
    #[must_use]
    pub fn owes_a_block(&self) -> bool {
        self.held.iter().any(|found| !found.told && (self.tip.is_none() || self.is_due(found)))
    }

    /// Whether [`Self::poll_outbound`] has something to send.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.announced || self.wanted.is_some() || self.held.iter().any(|found| self.is_due(found))
    }

    /// Whether a held block is to be sent now: what the provider builds on has to be known first, and an id above all that it told is not of
    /// its count (D-TDP-7).
    fn is_due(&self, found: &Held<S>) -> bool {
        !found.sent && self.tip.is_some() && self.last_id.is_some_and(|last| found.template_id <= last)
    }

    /// The block to send next: one on the present tip before those that come too late in all likelihood, the oldest first among equals.
    fn next_due(&self) -> Option<usize> {
        let is_on_tip = |found: &Held<S>| self.tip.as_ref().is_some_and(|(tip, _)| tip.prev_hash == found.prev_hash);
        let on_tip = self.held.iter().position(|found| self.is_due(found) && is_on_tip(found));
        on_tip.or_else(|| self.held.iter().position(|found| self.is_due(found)))
    }

    /// Sends what there is, as far as there is room: the constraints before anything else on a new connection (D-TDP-1), then found
    /// blocks, once the provider has told its tip. After `Full` call again when the buffer was drained.
    pub fn poll_outbound(&mut self, out: &mut ToProvider<'_>) -> Result<(), Error> {
        if !self.announced {
            out.send(&CoinbaseOutputConstraints {
                coinbase_output_max_additional_size: self.constraints.max_additional_size,
                coinbase_output_max_additional_sigops: self.constraints.max_additional_sigops.into(),
            })?;
            self.announced = true;
        }
        while let Some(index) = self.next_due() {
            let Some(found) = self.held.get_mut(index) else { break };
            out.send(&SubmitSolution {
                template_id: found.template_id,
                version: found.version,
                header_timestamp: found.header_timestamp,
                header_nonce: found.header_nonce,
                coinbase_tx: B064K::new(&found.coinbase),
            })?;
            (found.sent, found.told) = (true, true);
        }
        if let Some(template_id) = self.wanted {
            out.send(&RequestTransactionData { template_id })?;
            self.wanted = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
