//! What the tests of both sides share: a template, a tip with the easiest target, a buffer whose frames read back.

use core::marker::PhantomData;
use std::vec;
use std::vec::Vec;

use super::book::{Basis, TemplateBook};
use super::coinbase::{Coinbase, Payout, TemplateCoinbase, assemble, assembled_len};
use super::store::{Constraints, Tip};
use crate::buffer::Output;
use crate::connection::Outbound;
use crate::frame::Header;
use crate::message::MessageSet;
use crate::mining::target::Target;
use crate::protocol::{Protocol, Side, TemplateDistribution, decode_incoming};
use crate::storage::Inline;
use crate::wire::{Revision, U256};

/// Room that the templates of these tests leave.
pub(crate) const ROOM: Constraints = Constraints { max_additional_size: 100, max_additional_sigops: 4 };

/// One output of nine bytes and no witness.
pub(crate) const OUTPUTS: [u8; 9] = [0; 9];

pub(crate) fn coinbase(height: u8) -> [u8; 2] {
    [1, height]
}

pub(crate) fn fields(script_prefix: &[u8]) -> TemplateCoinbase<'_> {
    TemplateCoinbase {
        tx_version: 2,
        script_prefix,
        input_sequence: u32::MAX,
        value_remaining: 5000,
        outputs_count: 1,
        outputs: &OUTPUTS,
        lock_time: 0,
    }
}

/// A coinbase for the templates of these tests.
pub(crate) fn coinbase_tx(script: &[u8]) -> Vec<u8> {
    let prefix = coinbase(7);
    let payouts = [Payout { script_pubkey: script, weight: 1 }];
    let plan = Coinbase::new(fields(&prefix), payouts, b"", 4).expect("plan");
    let (mut prefix, mut suffix) = (vec![0; plan.prefix_len()], vec![0; plan.suffix_len()]);
    plan.write_prefix(&mut prefix).expect("room");
    plan.write_suffix(&mut suffix).expect("room");
    let mut tx = vec![0; assembled_len(prefix.len(), 4, suffix.len(), false)];
    assemble(&prefix, &[&[1, 2, 3, 4]], &suffix, false, &mut tx).expect("room");
    tx
}

pub(crate) fn tip(n: u8) -> Tip {
    Tip { prev_hash: [n; 32], header_timestamp: 1_000_000, n_bits: 0x207f_ffff, target: Target::MAX }
}

/// Adds a template with a merkle path of one hash.
pub(crate) fn add(book: &mut TemplateBook<Inline>, basis: Basis, room: Constraints) -> u64 {
    book.add(basis, 0x2000_0000, &fields(&coinbase(7)), &[U256([3; 32])], room).expect("taken")
}

/// An output buffer, and what was written to it.
pub(crate) struct Wire<Pr = TemplateDistribution> {
    output: Output<Vec<u8>>,
    revision: Revision,
    protocol: PhantomData<Pr>,
}

impl<Pr: Protocol> Wire<Pr> {
    pub(crate) fn new(room: usize, revision: Revision) -> Self {
        Self { output: Output::new(vec![0; room]), revision, protocol: PhantomData }
    }

    pub(crate) fn out<S: Side>(&mut self) -> Outbound<'_, S, Pr> {
        Outbound::plain(&mut self.output, self.revision)
    }

    /// Empties the buffer; hands each message of the protocol to `each`.
    pub(crate) fn drain<S: Side>(&mut self, mut each: impl FnMut(S::Incoming<'_, Pr>)) {
        let bytes = self.bytes();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (head, tail) = rest.split_first_chunk().expect("a whole header");
            let header = Header::decode(*head);
            let (payload, tail) = tail.split_at(header.msg_length());
            each(decode_incoming::<S, Pr>(header, payload, self.revision).expect("well formed"));
            rest = tail;
        }
    }

    /// What waits, as bytes; empties the buffer.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let bytes = self.output.filled().to_vec();
        self.output.consume(bytes.len()).expect("that many");
        bytes
    }

    /// The names of the messages, in order; empties the buffer.
    pub(crate) fn names<S: Side>(&mut self) -> Vec<&'static str> {
        let (mut names, revision) = (Vec::new(), self.revision);
        self.drain::<S>(|message| names.push(message.entry(revision).expect("known").name));
        names
    }
}
