//! The coinbase that a pool makes of a template: its own outputs, its tag, room for the extranonce.
//!
//! Jobs carry it in two parts without witness (D-ALG-4), a found block carries it whole with the witness that the template asks
//! for. Nothing here chooses payouts or extranonces.

use core::fmt;

use super::transaction::{
    ANY, CoinbaseTx, Malformed, NULL_OUTPOINT, WITNESS_RESERVED_LEN, check_outputs, is_witness_commitment,
    legacy_sigops,
};
use crate::message::{TxOut, TxOuts};
use crate::wire::{CompactSize, Decode, DecodeError, Encode, EncodeError, Reader, Writer};

/// Longest `coinbase_prefix` that a template may give (the field allows 255).
pub const MAX_SCRIPT_PREFIX: usize = 8;
/// Longest extranonce of a job: prefix and rolled part together (`B0_32`).
pub const MAX_EXTRANONCE: usize = 32;
/// Bounds of a coinbase input's script by consensus.
pub const SCRIPT_LEN: core::ops::RangeInclusive<usize> = 2..=100;
/// Longest tag: with a job's number, the longest prefix and extranonce and the two push opcodes the script stays within [`SCRIPT_LEN`].
pub const MAX_TAG: usize = 100 - MAX_SCRIPT_PREFIX - MAX_EXTRANONCE - 2 - JOB_NUMBER_LEN;
/// Bytes behind a tag that tell a pool's jobs apart.
pub const JOB_NUMBER_LEN: usize = 4;
/// All satoshis that there will ever be.
pub const MAX_MONEY: u64 = 2_100_000_000_000_000;
/// The witness reserved value: 32 zero bytes, as providers assume when they compute the commitment.
pub const WITNESS_RESERVED: [u8; WITNESS_RESERVED_LEN] = [0; WITNESS_RESERVED_LEN];

/// Bytes of the longest coinbase part before the extranonce.
pub const MAX_PREFIX_LEN: usize = 4 + 1 + 36 + 1 + 100;

/// Why no coinbase can be made of this template and these payouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoinbaseError {
    /// `coinbase_prefix` of the template has more than 8 bytes; carries its length.
    ScriptPrefixTooLong(usize),
    /// The pool's tag is longer than a script can hold; carries its length.
    TagTooLong(usize),
    /// The extranonce has more than 32 bytes, or none; carries its length.
    ExtranonceLength(usize),
    /// The whole script would leave 2 to 100 bytes; carries its length.
    ScriptLength(usize),
    /// `coinbase_tx_value_remaining` is above all the money there is.
    ValueOutOfRange(u64),
    /// There is no payout, or all weights are zero: the reward would be lost.
    NoPayout,
    /// The template's outputs are not what `coinbase_tx_outputs_count` says, or no outputs at all.
    TemplateOutputs(DecodeError),
    /// The buffer is too short.
    NoRoom,
    /// The parts are too short to hold a version and a lock time.
    Parts,
}

impl fmt::Display for CoinbaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScriptPrefixTooLong(len) => {
                write!(f, "coinbase_prefix of the template has {len} bytes, at most {MAX_SCRIPT_PREFIX} are allowed")
            }
            Self::TagTooLong(len) => write!(f, "pool tag has {len} bytes, at most {MAX_TAG} fit"),
            Self::ExtranonceLength(len) => write!(f, "extranonce of {len} bytes, 1 to {MAX_EXTRANONCE} are possible"),
            Self::ScriptLength(len) => write!(f, "coinbase script would have {len} bytes, 2 to 100 are allowed"),
            Self::ValueOutOfRange(value) => write!(f, "template leaves {value} satoshis, more than there are"),
            Self::NoPayout => f.write_str("no payout with a weight: the reward would be lost"),
            Self::TemplateOutputs(why) => write!(f, "outputs of the template: {why}"),
            Self::NoRoom => f.write_str("buffer too short for the coinbase"),
            Self::Parts => f.write_str("coinbase parts too short for a transaction"),
        }
    }
}

impl core::error::Error for CoinbaseError {}

impl From<EncodeError> for CoinbaseError {
    fn from(_: EncodeError) -> Self {
        // Raw bytes and numbers only: there is nothing else that can go wrong.
        Self::NoRoom
    }
}

/// What a template (or a custom job) says about its coinbase. Numbers as in the message, outputs in consensus bytes without a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateCoinbase<'a> {
    /// Transaction version.
    pub tx_version: u32,
    /// What the input's script begins with (the block's height, BIP34); at most 8 bytes.
    pub script_prefix: &'a [u8],
    /// Sequence number of the input.
    pub input_sequence: u32,
    /// Satoshis that the payouts share.
    pub value_remaining: u64,
    /// Number of outputs in `outputs`.
    pub outputs_count: u32,
    /// Outputs that come last, unchanged (D-TDP-8).
    pub outputs: &'a [u8],
    /// Lock time.
    pub lock_time: u32,
}

/// One of the pool's own outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout<'a> {
    /// Where the money goes.
    pub script_pubkey: &'a [u8],
    /// Its part of the reward, relative to the weights of the others. What division leaves over goes to the first one.
    pub weight: u64,
}

impl<'a> Payout<'a> {
    const fn output(&self, value: u64) -> TxOut<'a> {
        TxOut { value, script_pubkey: self.script_pubkey }
    }
}

/// Bytes that the payouts add to a coinbase: what `CoinbaseOutputDataSize` announces (D-TDP-5). The count's growth is the provider's to reserve (D-TDP-6).
#[must_use]
pub fn payouts_size<'a, I: IntoIterator<Item = Payout<'a>>>(payouts: I) -> u32 {
    let size = payouts.into_iter().map(|payout| payout.output(0).encoded_len(ANY)).sum::<usize>();
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Signature operations that the payouts add, by the legacy count.
#[must_use]
pub fn payouts_sigops<'a, I: IntoIterator<Item = Payout<'a>>>(payouts: I) -> u16 {
    let count = payouts.into_iter().fold(0, |sum: u32, payout| sum.saturating_add(legacy_sigops(payout.script_pubkey)));
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// A checked plan of a coinbase. The input's script is the template's prefix, the tag and the extranonce, both as pushes: raw
/// bytes there could be read as opcodes and count as signature operations.
#[derive(Clone, Copy, Debug)]
pub struct Coinbase<'a, P> {
    template: TemplateCoinbase<'a>,
    payouts: P,
    payouts_count: u32,
    total_weight: u128,
    tag: &'a [u8],
    extranonce_len: usize,
    witness: bool,
}

impl<'a, P> Coinbase<'a, P>
where
    P: IntoIterator<Item = Payout<'a>> + Clone,
{
    /// Plans a coinbase whose extranonce (prefix and rolled part together) has `extranonce_len` bytes. `tag` is the pool's tag with a job's
    /// number ([`JOB_NUMBER_LEN`]) behind it, or without; an empty one leaves it out.
    pub fn new(
        template: TemplateCoinbase<'a>,
        payouts: P,
        tag: &'a [u8],
        extranonce_len: usize,
    ) -> Result<Self, CoinbaseError> {
        if template.script_prefix.len() > MAX_SCRIPT_PREFIX {
            return Err(CoinbaseError::ScriptPrefixTooLong(template.script_prefix.len()));
        }
        if tag.len() > MAX_TAG + JOB_NUMBER_LEN {
            return Err(CoinbaseError::TagTooLong(tag.len()));
        }
        if extranonce_len == 0 || extranonce_len > MAX_EXTRANONCE {
            return Err(CoinbaseError::ExtranonceLength(extranonce_len));
        }
        if template.value_remaining > MAX_MONEY {
            return Err(CoinbaseError::ValueOutOfRange(template.value_remaining));
        }
        let witness =
            check_outputs(template.outputs, template.outputs_count).map_err(CoinbaseError::TemplateOutputs)?;
        let (mut payouts_count, mut total_weight) = (0_u32, 0_u128);
        for payout in payouts.clone() {
            payouts_count = payouts_count.saturating_add(1);
            total_weight += u128::from(payout.weight);
        }
        if total_weight == 0 {
            return Err(CoinbaseError::NoPayout);
        }
        let plan = Self { template, payouts, payouts_count, total_weight, tag, extranonce_len, witness };
        let script_len = plan.script_len();
        if SCRIPT_LEN.contains(&script_len) { Ok(plan) } else { Err(CoinbaseError::ScriptLength(script_len)) }
    }

    /// Whether the template commits to witnesses, so that a block must carry the coinbase with one.
    #[must_use]
    pub const fn has_witness(&self) -> bool {
        self.witness
    }

    fn tag_len(&self) -> usize {
        if self.tag.is_empty() { 0 } else { 1 + self.tag.len() }
    }

    fn script_len(&self) -> usize {
        self.template.script_prefix.len() + self.tag_len() + 1 + self.extranonce_len
    }

    /// Bytes of [`Self::write_prefix`].
    #[must_use]
    pub fn prefix_len(&self) -> usize {
        4 + 1 + NULL_OUTPOINT.len() + 1 + self.script_len() - self.extranonce_len
    }

    /// Bytes of [`Self::write_suffix`].
    #[must_use]
    pub fn suffix_len(&self) -> usize {
        let payouts = self.payouts.clone().into_iter().map(|payout| payout.output(0).encoded_len(ANY)).sum::<usize>();
        4 + CompactSize(self.outputs_count()).encoded_len(ANY) + payouts + self.template.outputs.len() + 4
    }

    fn outputs_count(&self) -> u64 {
        u64::from(self.payouts_count) + u64::from(self.template.outputs_count)
    }

    /// Writes `coinbase_tx_prefix`, everything before the extranonce without witness (D-ALG-4), and gives its length.
    pub fn write_prefix(&self, out: &mut [u8]) -> Result<usize, CoinbaseError> {
        let mut out = Writer::new(out);
        out.bytes(&self.template.tx_version.to_le_bytes())?;
        out.bytes(&[1])?;
        out.bytes(&NULL_OUTPOINT)?;
        CompactSize(self.script_len() as u64).encode(&mut out, ANY)?;
        out.bytes(self.template.script_prefix)?;
        if !self.tag.is_empty() {
            // At most 58 and 32 bytes are pushed, so the length is the opcode.
            out.bytes(&[self.tag.len() as u8])?;
            out.bytes(self.tag)?;
        }
        out.bytes(&[self.extranonce_len as u8])?;
        Ok(out.written())
    }

    /// Writes `coinbase_tx_suffix`, everything behind the extranonce without witness (D-ALG-4), and gives its length. The payouts
    /// come first and the template's outputs last (D-TDP-8).
    pub fn write_suffix(&self, out: &mut [u8]) -> Result<usize, CoinbaseError> {
        let mut out = Writer::new(out);
        out.bytes(&self.template.input_sequence.to_le_bytes())?;
        CompactSize(self.outputs_count()).encode(&mut out, ANY)?;
        let part = |weight: u64| {
            let part = u128::from(self.template.value_remaining) * u128::from(weight) / self.total_weight;
            // At most value_remaining: no weight is above the total.
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        let shared =
            self.payouts.clone().into_iter().fold(0_u64, |sum, payout| sum.saturating_add(part(payout.weight)));
        let mut left_over = self.template.value_remaining.saturating_sub(shared);
        for payout in self.payouts.clone() {
            let value = part(payout.weight) + core::mem::take(&mut left_over);
            payout.output(value).encode(&mut out, ANY)?;
        }
        out.bytes(self.template.outputs)?;
        out.bytes(&self.template.lock_time.to_le_bytes())?;
        Ok(out.written())
    }
}

/// Joins a job's coinbase parts with the extranonce to the whole transaction, as `SubmitSolution` carries it, and gives its length.
///
/// `extranonce` are the bytes between the parts, in pieces (prefix, rolled part). With `witness` the form of BIP144 is written,
/// with [`WITNESS_RESERVED`] as the only item. Fails when `out` is too short, or when the parts are too short for a transaction.
pub fn assemble(
    prefix: &[u8],
    extranonce: &[&[u8]],
    suffix: &[u8],
    witness: bool,
    out: &mut [u8],
) -> Result<usize, CoinbaseError> {
    let (version, head) = prefix.split_at_checked(4).ok_or(CoinbaseError::Parts)?;
    let (tail, lock_time) = suffix.split_last_chunk::<4>().ok_or(CoinbaseError::Parts)?;
    let mut out = Writer::new(out);
    out.bytes(version)?;
    if witness {
        out.bytes(&[0, 1])?;
    }
    out.bytes(head)?;
    for piece in extranonce {
        out.bytes(piece)?;
    }
    out.bytes(tail)?;
    if witness {
        out.bytes(&[1, WITNESS_RESERVED_LEN as u8])?;
        out.bytes(&WITNESS_RESERVED)?;
    }
    out.bytes(lock_time)?;
    Ok(out.written())
}

/// Whether the outputs in a job's `coinbase_tx_suffix` commit to witnesses, so that a block must carry the coinbase with one.
#[must_use]
pub fn suffix_commits_to_witness(suffix: &[u8]) -> bool {
    // Sequence number, count, outputs, lock time.
    let mut reader = Reader::new(suffix);
    let Ok(CompactSize(count)) = u32::decode(&mut reader, ANY).and_then(|_| CompactSize::decode(&mut reader, ANY))
    else {
        return false;
    };
    let Some((outputs, _)) = reader.rest().split_last_chunk::<4>() else { return false };
    TxOuts::new(outputs, count).flatten().any(|output| is_witness_commitment(&output))
}

/// Bytes that [`assemble`] writes for parts of these lengths.
#[must_use]
pub const fn assembled_len(prefix: usize, extranonce: usize, suffix: usize, witness: bool) -> usize {
    prefix + extranonce + suffix + if witness { 2 + 2 + WITNESS_RESERVED_LEN } else { 0 }
}

/// What a submitted coinbase does that its template does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoinbaseFault {
    /// The bytes are no coinbase.
    Malformed(Malformed),
    /// Version, sequence or lock time differ from the template's.
    Field,
    /// The input's script does not begin with the template's prefix, or leaves 2 to 100 bytes.
    Script,
    /// The outputs do not end with the template's, unchanged (D-TDP-8).
    Outputs,
    /// The client's outputs take more bytes than it announced (D-TDP-5).
    OutputSize,
    /// The client's outputs pay more than the template leaves.
    Value,
    /// A witness where the template commits to none, or none where it does.
    Witness,
}

impl fmt::Display for CoinbaseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "coinbase: {why}"),
            Self::Field => f.write_str("coinbase version, sequence or lock time differ from the template's"),
            Self::Script => {
                f.write_str("coinbase script does not begin with the template's prefix, or has not 2 to 100 bytes")
            }
            Self::Outputs => f.write_str("coinbase does not end with the template's outputs"),
            Self::OutputSize => f.write_str("coinbase outputs take more room than announced"),
            Self::Value => f.write_str("coinbase pays more than the template leaves"),
            Self::Witness => f.write_str("coinbase witness where the template has none, or none where it has"),
        }
    }
}

impl core::error::Error for CoinbaseFault {}

/// Reads a submitted coinbase and checks it against its template: a provider's side of D-TDP-8 and D-TDP-6.
/// `max_additional_size` is what the client announced for its own outputs.
///
/// Gives the transaction, whose [`CoinbaseTx::txid`] starts the merkle root.
pub fn check<'b>(
    template: &TemplateCoinbase<'_>,
    max_additional_size: u32,
    bytes: &'b [u8],
) -> Result<CoinbaseTx<'b>, CoinbaseFault> {
    let tx = CoinbaseTx::parse(bytes).map_err(CoinbaseFault::Malformed)?;
    if (tx.version, tx.sequence, tx.lock_time) != (template.tx_version, template.input_sequence, template.lock_time) {
        return Err(CoinbaseFault::Field);
    }
    if !tx.script_sig.starts_with(template.script_prefix) || !SCRIPT_LEN.contains(&tx.script_sig.len()) {
        return Err(CoinbaseFault::Script);
    }
    let own_count = tx.outputs_count.checked_sub(u64::from(template.outputs_count)).ok_or(CoinbaseFault::Outputs)?;
    let (mut own_len, mut paid, mut seen) = (0_usize, 0_u64, 0);
    // All of them were read before, so none is an error.
    for output in tx.outputs().flatten() {
        if seen == own_count {
            break;
        }
        seen += 1;
        own_len += output.encoded_len(ANY);
        paid = paid.saturating_add(output.value);
    }
    if tx.outputs.get(own_len..) != Some(template.outputs) {
        return Err(CoinbaseFault::Outputs);
    }
    if own_len as u64 > u64::from(max_additional_size) {
        return Err(CoinbaseFault::OutputSize);
    }
    if paid > template.value_remaining {
        return Err(CoinbaseFault::Value);
    }
    let commits = check_outputs(template.outputs, template.outputs_count)
        .map_err(|error| CoinbaseFault::Malformed(error.into()))?;
    if tx.witness.is_some() == commits { Ok(tx) } else { Err(CoinbaseFault::Witness) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::hash::sha256d;

    const COMMITMENT: [u8; 47] = {
        let mut bytes = [0xcc; 47];
        let head = [0, 0, 0, 0, 0, 0, 0, 0, 38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
        let mut i = 0;
        while i < head.len() {
            bytes[i] = head[i];
            i += 1;
        }
        bytes
    };

    fn template(outputs: &[u8], outputs_count: u32) -> TemplateCoinbase<'_> {
        TemplateCoinbase {
            tx_version: 2,
            script_prefix: &[3, 0x40, 0x0d, 0x03],
            input_sequence: 0xffff_fffe,
            value_remaining: 5_000_000_001,
            outputs_count,
            outputs,
            lock_time: 77,
        }
    }

    fn parts<'a, P: IntoIterator<Item = Payout<'a>> + Clone>(plan: &Coinbase<'a, P>) -> (Vec<u8>, Vec<u8>) {
        let (mut prefix, mut suffix) = (vec![0; plan.prefix_len()], vec![0; plan.suffix_len()]);
        assert_eq!(plan.write_prefix(&mut prefix), Ok(prefix.len()));
        assert_eq!(plan.write_suffix(&mut suffix), Ok(suffix.len()));
        (prefix, suffix)
    }

    const HALVES: [Payout<'static>; 2] =
        [Payout { script_pubkey: &[0x51], weight: 1 }, Payout { script_pubkey: &[0x52, 0x53], weight: 1 }];

    /// D-ALG-4, D-TDP-8: the parts are the form without witness; the whole has one exactly when the template commits to it.
    #[test]
    fn both_forms_have_the_id_of_the_parts() {
        let plain = [9, 0, 0, 0, 0, 0, 0, 0, 1, 0x6a];
        for (outputs, witness) in [(&COMMITMENT[..], true), (&plain[..], false)] {
            let template = template(outputs, 1);
            let plan = Coinbase::new(template, HALVES, b"/adit/", 16).expect("plan");
            assert_eq!(plan.has_witness(), witness);
            let (prefix, suffix) = parts(&plan);
            assert_eq!(suffix_commits_to_witness(&suffix), witness);
            assert!(!suffix_commits_to_witness(&suffix[..20]));
            let extranonce: [&[u8]; 2] = [&[1; 6], &[2; 10]];
            let mut whole = vec![0; assembled_len(prefix.len(), 16, suffix.len(), witness)];
            assert_eq!(assemble(&prefix, &extranonce, &suffix, witness, &mut whole), Ok(whole.len()));
            let tx = check(&template, payouts_size(HALVES), &whole).expect("right");
            assert_eq!(tx.txid(), sha256d(&[&prefix, &[1; 6], &[2; 10], &suffix]));
            assert_eq!(tx.script_sig, [&[3, 0x40, 0x0d, 0x03, 6][..], b"/adit/", &[16], &[1; 6], &[2; 10]].concat());
            assert_eq!(tx.witness, witness.then_some(&WITNESS_RESERVED));
            let values: Vec<_> = tx.outputs().map(|output| output.expect("whole").value).collect();
            // 5,000,000,001 in halves: the odd satoshi goes to the first.
            assert_eq!(values[..2], [2_500_000_001, 2_500_000_000]);
            assert!(tx.outputs.ends_with(outputs));
        }
    }

    #[test]
    fn what_cannot_be_a_coinbase_is_refused_with_its_reason() {
        let good = template(&[], 0);
        let missing = check_outputs(&[], 1).err().map(CoinbaseError::TemplateOutputs);
        assert!(missing.is_some());
        let plan = |template: TemplateCoinbase<'static>, tag: &'static [u8], extranonce| {
            Coinbase::new(template, HALVES, tag, extranonce).map(|_| ()).err()
        };
        assert_eq!(plan(good, b"", 16), None);
        assert_eq!(
            plan(TemplateCoinbase { script_prefix: &[1; 9], ..good }, b"", 16),
            Some(CoinbaseError::ScriptPrefixTooLong(9))
        );
        assert_eq!(plan(good, &[b'a'; MAX_TAG + 5], 16), Some(CoinbaseError::TagTooLong(MAX_TAG + 5)));
        assert_eq!(
            plan(TemplateCoinbase { script_prefix: &[1; 8], ..good }, &[b'a'; MAX_TAG + JOB_NUMBER_LEN], 32),
            None
        );
        assert_eq!(plan(good, b"", 0), Some(CoinbaseError::ExtranonceLength(0)));
        assert_eq!(plan(good, b"", 33), Some(CoinbaseError::ExtranonceLength(33)));
        assert_eq!(
            plan(TemplateCoinbase { value_remaining: MAX_MONEY + 1, ..good }, b"", 16),
            Some(CoinbaseError::ValueOutOfRange(MAX_MONEY + 1))
        );
        assert_eq!(plan(TemplateCoinbase { outputs_count: 1, ..good }, b"", 16), missing);
        let nobody: [Payout<'_>; 0] = [];
        assert_eq!(Coinbase::new(good, nobody, b"", 16).map(|_| ()), Err(CoinbaseError::NoPayout));
        assert_eq!(
            Coinbase::new(good, [Payout { script_pubkey: &[], weight: 0 }], b"", 16).map(|_| ()),
            Err(CoinbaseError::NoPayout)
        );
        // The shortest script there is: no prefix, no tag, one byte of extranonce and its push.
        assert_eq!(plan(TemplateCoinbase { script_prefix: &[], ..good }, b"", 1), None);
    }

    #[test]
    fn a_short_buffer_is_no_room() {
        let plan = Coinbase::new(template(&COMMITMENT, 1), HALVES, b"tag", 16).expect("plan");
        let (prefix, suffix) = parts(&plan);
        for len in 0..prefix.len() {
            assert_eq!(plan.write_prefix(&mut vec![0; len]), Err(CoinbaseError::NoRoom));
        }
        for len in 0..suffix.len() {
            assert_eq!(plan.write_suffix(&mut vec![0; len]), Err(CoinbaseError::NoRoom));
        }
        let whole = assembled_len(prefix.len(), 16, suffix.len(), true);
        assert_eq!(assemble(&prefix, &[&[0; 16]], &suffix, true, &mut vec![0; whole - 1]), Err(CoinbaseError::NoRoom));
    }

    /// The count of outputs takes one byte up to 252 and three from 253 on.
    #[test]
    fn the_output_count_grows_at_253() {
        for (count, len) in [(252_u32, 1), (253, 3)] {
            let one = [5, 0, 0, 0, 0, 0, 0, 0, 0];
            let outputs = one.repeat(count as usize - 2);
            let template = template(&outputs, count - 2);
            let plan = Coinbase::new(template, HALVES, b"", 8).expect("plan");
            let (prefix, suffix) = parts(&plan);
            assert_eq!(suffix.len(), 4 + len + 10 + 11 + outputs.len() + 4);
            let whole = [&prefix[..], &[0; 8], &suffix].concat();
            assert_eq!(check(&template, 21, &whole).expect("right").outputs_count, u64::from(count));
        }
    }

    /// D-TDP-5, D-TDP-8: a provider sees what a client changed that it must not.
    #[test]
    fn submitted_coinbases_are_checked_against_their_template() {
        let template = template(&COMMITMENT, 1);
        let plan = Coinbase::new(template, HALVES, b"tag", 16).expect("plan");
        let (prefix, suffix) = parts(&plan);
        let mut whole = vec![0; assembled_len(prefix.len(), 16, suffix.len(), true)];
        assemble(&prefix, &[&[0; 16]], &suffix, true, &mut whole).expect("room");
        let size = payouts_size(HALVES);
        assert!(check(&template, size, &whole).is_ok());
        assert_eq!(check(&template, size - 1, &whole), Err(CoinbaseFault::OutputSize));
        assert_eq!(check(&TemplateCoinbase { tx_version: 1, ..template }, size, &whole), Err(CoinbaseFault::Field));
        assert_eq!(check(&TemplateCoinbase { lock_time: 1, ..template }, size, &whole), Err(CoinbaseFault::Field));
        assert_eq!(
            check(&TemplateCoinbase { script_prefix: &[4], ..template }, size, &whole),
            Err(CoinbaseFault::Script)
        );
        assert_eq!(
            check(&TemplateCoinbase { value_remaining: template.value_remaining - 1, ..template }, size, &whole),
            Err(CoinbaseFault::Value)
        );
        let mut other = COMMITMENT;
        other[46] ^= 1;
        assert_eq!(check(&TemplateCoinbase { outputs: &other, ..template }, size, &whole), Err(CoinbaseFault::Outputs));
        let bare = [&prefix[..], &[0; 16], &suffix].concat();
        assert_eq!(check(&template, size, &bare), Err(CoinbaseFault::Witness));
        assert!(matches!(check(&template, size, &whole[1..]), Err(CoinbaseFault::Malformed(_))));
    }

    proptest! {
        /// No satoshi is lost or made, whatever the weights.
        #[test]
        fn payouts_share_exactly_what_is_there(
            weights in proptest::collection::vec(any::<u64>(), 1..12),
            value in 0..=MAX_MONEY,
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let payouts: Vec<_> = weights.iter().map(|weight| Payout { script_pubkey: &[0x51], weight: *weight }).collect();
            let template = TemplateCoinbase { value_remaining: value, ..template(&COMMITMENT, 1) };
            let plan = Coinbase::new(template, payouts.iter().copied(), b"", 32).expect("plan");
            let (prefix, suffix) = parts(&plan);
            let whole = [&prefix[..], &[0; 32], &suffix].concat();
            let tx = CoinbaseTx::parse(&whole).expect("right");
            let sum: u64 = tx.outputs().map(|output| output.expect("whole").value).sum();
            prop_assert_eq!(sum, value);
        }
    }
}
