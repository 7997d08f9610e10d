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

struct Pending<S: Storage> {
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
    pending: S::List<Pending<S>, SOLUTIONS_INLINE, SOLUTIONS_HEAP>,
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
            pending: Default::default(),
        }
    }

    /// Announces other constraints, at the next [`Self::poll_outbound`]. The same ones again change nothing.
    pub fn set_constraints(&mut self, constraints: Constraints) {
        if self.constraints != constraints {
            self.constraints = constraints;
            self.announced = false;
        }
    }

    /// The connection is gone: what the provider said counts no more; found blocks that were not sent yet wait for the next one.
    pub fn disconnected(&mut self) {
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
    /// Version and time are taken as they are: whoever checked the share kept them within D-TDP-19 and D-TDP-20.
    /// Fails when more blocks wait than are kept, or the coinbase is longer than a message can carry.
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
        self.pending
            .push(Pending {
                template_id: found.template_id,
                version: found.version,
                header_timestamp: found.header_timestamp,
                header_nonce: found.header_nonce,
                coinbase,
            })
            .map_err(|_| NoRoom)
    }

    /// Whether [`Self::poll_outbound`] has something to send.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.announced || self.wanted.is_some() || !self.pending.is_empty()
    }

    /// Sends what there is, as far as there is room: the constraints before anything else on a new connection (D-TDP-1), then found
    /// blocks. After `Full` call again when the buffer was drained.
    pub fn poll_outbound(&mut self, out: &mut ToProvider<'_>) -> Result<(), Error> {
        if !self.announced {
            out.send(&CoinbaseOutputConstraints {
                coinbase_output_max_additional_size: self.constraints.max_additional_size,
                coinbase_output_max_additional_sigops: self.constraints.max_additional_sigops.into(),
            })?;
            self.announced = true;
        }
        while let Some(found) = self.pending.first() {
            out.send(&SubmitSolution {
                template_id: found.template_id,
                version: found.version,
                header_timestamp: found.header_timestamp,
                header_nonce: found.header_nonce,
                coinbase_tx: B064K::new(&found.coinbase),
            })?;
            self.pending.remove(0);
        }
        if let Some(template_id) = self.wanted {
            out.send(&RequestTransactionData { template_id })?;
            self.wanted = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::protocol::Responder;
    use crate::storage::Inline;
    use crate::template::testing::{OUTPUTS, Wire};
    use crate::wire::{B0255, Revision, Seq0255, U256};

    const WANT: Constraints = Constraints { max_additional_size: 43, max_additional_sigops: 1 };

    fn template(id: u64, future: bool) -> ToClient<'static> {
        ToClient::NewTemplate(NewTemplate {
            template_id: id,
            future_template: future,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: B0255::new(&[1, 7]),
            coinbase_tx_input_sequence: 0,
            coinbase_tx_value_remaining: 50,
            coinbase_tx_outputs_count: 1,
            coinbase_tx_outputs: B064K::new(&OUTPUTS),
            coinbase_tx_locktime: 0,
            merkle_path: Seq0255::new(&[U256([4; 32])]),
        })
    }

    fn tip(id: u64) -> ToClient<'static> {
        ToClient::SetNewPrevHash(SetNewPrevHash {
            template_id: id,
            prev_hash: U256([id as u8; 32]),
            header_timestamp: 77,
            n_bits: 0x207f_ffff,
            target: U256::MAX,
        })
    }

    fn client() -> TemplateClient<Inline> {
        TemplateClient::new(WANT)
    }

    fn handle(
        client: &mut TemplateClient<Inline>,
        message: ToClient<'static>,
    ) -> Result<TemplateEvent<'static>, ProviderViolation> {
        client.handle(Instant::from_secs(1), message)
    }

    /// D-TDP-9, D-TDP-11, D-TDP-12: future templates wait, the named one starts, others are forgotten.
    #[test]
    fn a_tip_starts_its_template_and_ends_the_others() {
        let mut client = client();
        assert_eq!(handle(&mut client, template(1, true)), Ok(TemplateEvent::Template { id: 1, future: true }));
        assert_eq!(handle(&mut client, template(2, true)), Ok(TemplateEvent::Template { id: 2, future: true }));
        assert!(client.best().is_none());
        assert!(client.future().map(Template::id).eq([1, 2]));
        assert_eq!(handle(&mut client, tip(1)), Ok(TemplateEvent::Tip { template_id: 1 }));
        assert_eq!(client.best().map(Template::id), Some(1));
        assert_eq!(client.future().count(), 0);
        let (now, since) = client.tip().expect("there");
        assert_eq!((now.prev_hash, now.header_timestamp, since), ([1; 32], 77, Instant::from_secs(1)));
        assert_eq!(handle(&mut client, template(3, false)), Ok(TemplateEvent::Template { id: 3, future: false }));
        assert_eq!(client.best().map(|best| (best.id(), best.merkle_path().len())), Some((3, 1)));
        assert!(client.template(1).is_some_and(|(_, future)| !future), "solutions for it still count");
    }

    /// D-TDP-7, D-TDP-9, D-TDP-11: ids rise, tips name what was sent, current templates need a tip.
    #[test]
    fn rules_of_the_provider() {
        let mut client = client();
        assert_eq!(handle(&mut client, template(1, false)), Err(ProviderViolation::NoTip));
        assert_eq!(handle(&mut client, tip(1)), Err(ProviderViolation::UnknownTemplate));
        assert!(handle(&mut client, template(5, true)).is_ok());
        assert_eq!(handle(&mut client, template(5, true)), Err(ProviderViolation::TemplateId));
        assert_eq!(handle(&mut client, template(4, true)), Err(ProviderViolation::TemplateId));
        assert_eq!(handle(&mut client, tip(6)), Err(ProviderViolation::UnknownTemplate));
        client.disconnected();
        assert!(handle(&mut client, template(1, true)).is_ok(), "another provider counts anew");
    }

    #[test]
    fn templates_that_can_not_be_used_harm_nothing() {
        let mut client = client();
        let ToClient::NewTemplate(good) = template(1, true) else { unreachable!() };
        let long = NewTemplate { coinbase_prefix: B0255::new(&[0; 9]), ..good };
        let why = TemplateError::ScriptPrefixTooLong(9);
        assert_eq!(handle(&mut client, ToClient::NewTemplate(long)), Ok(TemplateEvent::Unusable { id: 1, why }));
        assert_eq!(handle(&mut client, tip(1)), Ok(TemplateEvent::TipWithoutTemplate { template_id: 1 }));
        assert!(handle(&mut client, template(2, false)).is_ok());
    }

    #[test]
    fn templates_are_bounded_and_the_newest_stay() {
        let mut client = client();
        handle(&mut client, template(1, true)).expect("taken");
        handle(&mut client, tip(1)).expect("taken");
        for id in 2..40 {
            handle(&mut client, template(id, id % 7 == 0)).expect("taken");
        }
        assert_eq!(client.best().map(Template::id), Some(39));
        assert_eq!(client.future().last().map(Template::id), Some(35));
        assert!(client.kept.len() <= CLIENT_TEMPLATES_INLINE);
    }

    const FOUND: Found<'static> = Found {
        template_id: 1,
        version: 2,
        header_timestamp: 3,
        header_nonce: 4,
        coinbase_prefix: b"\x02\0\0\0prefix",
        extranonce: [b"extra", b"nonce"],
        coinbase_suffix: b"suffix\0\0\0\0",
        witness: false,
    };

    /// D-TDP-1, D-TDP-5, D-TDP-17: the constraints open every connection, then found blocks go first.
    #[test]
    fn sends_constraints_then_blocks_then_questions() {
        let mut client = client();
        client.request_transactions(9);
        client.submit(&FOUND).expect("room");
        assert!(client.is_dirty());
        let mut wire = Wire::new(4000, Revision::Current);
        client.poll_outbound(&mut wire.out()).expect("room");
        assert!(!client.is_dirty());
        assert_eq!(
            wire.names::<Responder>(),
            ["CoinbaseOutputConstraints", "SubmitSolution", "RequestTransactionData"]
        );
        client.set_constraints(WANT);
        assert!(!client.is_dirty());
        client.set_constraints(Constraints { max_additional_size: 44, ..WANT });
        client.poll_outbound(&mut wire.out()).expect("room");
        assert_eq!(wire.names::<Responder>(), ["CoinbaseOutputConstraints"]);
    }

    #[test]
    fn found_blocks_wait_for_room_and_for_a_connection() {
        let mut client = client();
        client.submit(&FOUND).expect("room");
        client.submit(&Found { template_id: 2, witness: true, ..FOUND }).expect("room");
        assert_eq!(client.submit(&FOUND), Err(NoRoom));
        client.disconnected();
        let mut small = Wire::new(100, Revision::Draft);
        assert_eq!(client.poll_outbound(&mut small.out()), Err(Error::Full));
        assert_eq!(small.names::<Responder>(), ["CoinbaseOutputDataSize", "SubmitSolution"]);
        let mut wire = Wire::new(4000, Revision::Draft);
        client.poll_outbound(&mut wire.out()).expect("room");
        let mut coinbases = Vec::new();
        wire.drain::<Responder>(|message| {
            let crate::message::template::ToServer::SubmitSolution(message) = message else { panic!("{message:?}") };
            assert_eq!(
                (message.template_id, message.version, message.header_timestamp, message.header_nonce),
                (2, 2, 3, 4)
            );
            coinbases.push(message.coinbase_tx.as_bytes().to_vec());
        });
        let whole = [&b"\x02\0\0\0\0\x01prefixextranoncesuffix\x01\x20"[..], &[0; 32], &[0; 4]].concat();
        assert_eq!(coinbases, [whole]);
    }

    #[test]
    fn a_coinbase_that_no_message_carries_is_refused() {
        let long = std::vec![0; SOLUTION_COINBASE_INLINE];
        assert_eq!(client().submit(&Found { coinbase_suffix: &long, ..FOUND }), Err(NoRoom));
    }

    #[test]
    fn transactions_come_back_borrowed() {
        let mut client = client();
        let answer = RequestTransactionDataSuccess {
            template_id: 4,
            excess_data: B064K::new(b"x"),
            transaction_list: crate::wire::Seq064K::new(&[]),
        };
        let event = handle(&mut client, ToClient::RequestTransactionDataSuccess(answer));
        assert_eq!(event, Ok(TemplateEvent::Transactions(answer)));
    }
}
