//! Bitcoin's consensus bytes, as far as a coinbase needs them: a whole coinbase read back, lists of outputs, signature operations.
//!
//! Reading only, and no judgement of values: what a pool may put into a coinbase is `coinbase`, and whether a block
//! is valid is the node's to say.

use core::fmt;

use crate::hash::sha256d;
use crate::message::{TxOut, TxOuts};
use crate::wire::{CompactSize, Decode, DecodeError, DecodeErrorKind, Reader, Revision};

/// Length of the witness reserved value: the one item of a coinbase's witness.
pub const WITNESS_RESERVED_LEN: usize = 32;

/// The script of a witness commitment begins with these bytes and 32 bytes of hash follow (BIP141).
const COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Why bytes are no coinbase transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes are no transaction: what is wrong and where.
    Bytes(DecodeError),
    /// The transaction has not exactly one input with an empty previous output.
    NotCoinbase,
    /// The marker and flag of BIP144 are there with other values, or the witness is not one item of 32 bytes.
    Witness,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(error) => error.fmt(f),
            Self::NotCoinbase => f.write_str("not a coinbase: it has other inputs than the one of a coinbase"),
            Self::Witness => f.write_str("coinbase witness is not one item of 32 bytes"),
        }
    }
}

impl core::error::Error for Malformed {}

impl From<DecodeError> for Malformed {
    fn from(error: DecodeError) -> Self {
        Self::Bytes(error)
    }
}

/// Whether an output commits to the witnesses of its block (BIP141).
#[must_use]
pub fn is_witness_commitment(output: &TxOut<'_>) -> bool {
    output.script_pubkey.len() >= COMMITMENT.len() + 32 && output.script_pubkey.starts_with(&COMMITMENT)
}

/// Checks that `bytes` are exactly `count` outputs, and says whether one of them commits to the witnesses.
pub fn check_outputs(bytes: &[u8], count: u32) -> Result<bool, DecodeError> {
    let mut commitment = false;
    for output in TxOuts::new(bytes, count.into()) {
        commitment |= is_witness_commitment(&output?);
    }
    Ok(commitment)
}

/// Consensus bytes are the same in both revisions; the codec wants one all the same.
pub(super) const ANY: Revision = Revision::Draft;

/// A `CompactSize` and that many bytes.
fn sized<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let CompactSize(len) = CompactSize::decode(reader, ANY)?;
    match usize::try_from(len) {
        Ok(len) => reader.take(len),
        Err(_) => Err(reader.error(DecodeErrorKind::Truncated)),
    }
}

/// A coinbase transaction read back from its consensus bytes, with witness or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoinbaseTx<'a> {
    /// Transaction version.
    pub version: u32,
    /// The input's script: height, tag, extranonce.
    pub script_sig: &'a [u8],
    /// The input's sequence number.
    pub sequence: u32,
    /// Number of outputs.
    pub outputs_count: u64,
    /// The outputs, without their count.
    pub outputs: &'a [u8],
    /// The witness reserved value, when the transaction is in the form with witness.
    pub witness: Option<&'a [u8; WITNESS_RESERVED_LEN]>,
    /// Lock time.
    pub lock_time: u32,
    /// From the input count to the last output: what both forms have in common.
    body: &'a [u8],
}

impl<'a> CoinbaseTx<'a> {
    /// Reads a whole coinbase.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let version = u32::decode(&mut reader, ANY)?;
        let with_witness = match reader.rest() {
            [0, 1, ..] => {
                reader.take(2)?;
                true
            }
            [0, ..] => return Err(Malformed::Witness),
            _ => false,
        };
        let body = reader.rest();
        if CompactSize::decode(&mut reader, ANY)? != CompactSize(1) || reader.array()? != NULL_OUTPOINT {
            return Err(Malformed::NotCoinbase);
        }
        let script_sig = sized(&mut reader)?;
        let sequence = u32::decode(&mut reader, ANY)?;
        let CompactSize(outputs_count) = CompactSize::decode(&mut reader, ANY)?;
        let outputs = reader.rest();
        for _ in 0..outputs_count {
            TxOut::decode(&mut reader, ANY)?;
        }
        // What was read of a slice that still ends where the reader ends.
        let read = |from: &'a [u8]| from.get(..from.len().saturating_sub(reader.rest().len())).unwrap_or_default();
        let (outputs, body) = (read(outputs), read(body));
        let witness = if with_witness {
            let Some(([1, 32, value @ ..], _)) = reader.rest().split_first_chunk::<{ WITNESS_RESERVED_LEN + 2 }>()
            else {
                return Err(Malformed::Witness);
            };
            reader.take(WITNESS_RESERVED_LEN + 2)?;
            Some(value)
        } else {
            None
        };
        let lock_time = u32::decode(&mut reader, ANY)?;
        if !reader.is_empty() {
            return Err(reader.error(DecodeErrorKind::TrailingBytes).into());
        }
        Ok(Self { version, script_sig, sequence, outputs_count, outputs, witness, lock_time, body })
    }

    /// The outputs.
    #[must_use]
    pub const fn outputs(&self) -> TxOuts<'a> {
        TxOuts::new(self.outputs, self.outputs_count)
    }

    /// The transaction's id, in raw SHA-256 order: the hash of the form without witness, whichever form was read.
    #[must_use]
    pub fn txid(&self) -> [u8; 32] {
        sha256d(&[&self.version.to_le_bytes(), self.body, &self.lock_time.to_le_bytes()])
    }
}

/// The previous output of a coinbase input: an id of zeros and the highest index.
pub const NULL_OUTPOINT: [u8; 36] = {
    let mut bytes = [0; 36];
    bytes[32] = 0xff;
    bytes[33] = 0xff;
    bytes[34] = 0xff;
    bytes[35] = 0xff;
    bytes
};

/// Signature operations of a script by the legacy count, which consensus applies to coinbase scripts: a check of one signature
/// counts 1, of several 20. Counting ends where the script stops being a script, as in consensus code.
#[must_use]
pub fn legacy_sigops(script: &[u8]) -> u32 {
    let mut reader = Reader::new(script);
    let mut count = 0_u32;
    while let Ok([op]) = reader.array() {
        let pushed = match op {
            0x01..=0x4b => Ok(u32::from(op)),
            0x4c => reader.array().map(|[len]| u32::from(len)),
            0x4d => reader.array().map(|len| u32::from(u16::from_le_bytes(len))),
            0x4e => reader.array().map(u32::from_le_bytes),
            0xac | 0xad => {
                count = count.saturating_add(1);
                continue;
            }
            0xae | 0xaf => {
                count = count.saturating_add(20);
                continue;
            }
            _ => continue,
        };
        if pushed.and_then(|len| reader.take(usize::try_from(len).unwrap_or(usize::MAX))).is_err() {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    /// The genesis block's coinbase, by its published bytes.
    const GENESIS: &str = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000";

    #[test]
    fn the_genesis_coinbase_reads_back_and_hashes_to_its_id() {
        let bytes = hex::decode(GENESIS).expect("hex");
        let tx = CoinbaseTx::parse(&bytes).expect("a coinbase");
        assert_eq!((tx.version, tx.sequence, tx.lock_time, tx.outputs_count), (1, u32::MAX, 0, 1));
        assert_eq!(tx.script_sig.len(), 0x4d);
        assert_eq!(tx.witness, None);
        let output = tx.outputs().next().expect("one").expect("whole");
        assert_eq!(output.value, 50 * 100_000_000);
        assert_eq!(legacy_sigops(output.script_pubkey), 1);
        let mut id = tx.txid();
        id.reverse();
        assert_eq!(hex::encode(id), "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b");
    }

    #[test]
    fn every_truncation_and_a_longer_one_are_refused() {
        let mut bytes = hex::decode(GENESIS).expect("hex");
        for len in 0..bytes.len() {
            assert!(CoinbaseTx::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
        bytes.push(0);
        let Err(Malformed::Bytes(error)) = CoinbaseTx::parse(&bytes) else { panic!("no error") };
        assert_eq!(error.kind(), DecodeErrorKind::TrailingBytes);
    }

    #[test]
    fn other_inputs_are_not_a_coinbase() {
        let mut bytes = hex::decode(GENESIS).expect("hex");
        bytes[10] = 1;
        assert_eq!(CoinbaseTx::parse(&bytes), Err(Malformed::NotCoinbase));
        bytes[4] = 2;
        assert_eq!(CoinbaseTx::parse(&bytes), Err(Malformed::NotCoinbase));
    }

    #[test]
    fn sigops_skip_pushed_bytes() {
        assert_eq!(legacy_sigops(&[0xac, 0xad, 0xae, 0xaf]), 42);
        assert_eq!(legacy_sigops(&[0x03, 0xac, 0xae, 0xaf, 0xac]), 1);
        assert_eq!(legacy_sigops(&[0x4c, 1, 0xac, 0x4d, 1, 0, 0xac, 0x4e, 1, 0, 0, 0, 0xac, 0xac]), 1);
        assert_eq!(legacy_sigops(&[0xac, 0x4b, 0xac]), 1);
    }

    #[test]
    fn output_lists_are_checked_to_their_count() {
        let mut bytes = Vec::from(7_u64.to_le_bytes());
        bytes.extend([1, 0x51]);
        let kind = |bytes: &[u8], count| check_outputs(bytes, count).map_err(DecodeError::kind);
        assert_eq!(kind(&bytes, 1), Ok(false));
        assert_eq!(kind(&bytes, 2), Err(DecodeErrorKind::Truncated));
        assert_eq!(kind(&bytes, 0), Err(DecodeErrorKind::TrailingBytes));
        assert_eq!(kind(&bytes[..9], 1), Err(DecodeErrorKind::Truncated));
        assert_eq!(kind(&[], 0), Ok(false));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = CoinbaseTx::parse(&bytes);
            prop_assert!(TxOuts::new(&bytes, u64::MAX).count() <= bytes.len() + 1);
            prop_assert!(legacy_sigops(&bytes) <= 20 * 200);
        }

        #[test]
        fn one_flipped_byte_never_panics(at in 0..204_usize, value in any::<u8>()) {
            let mut bytes = hex::decode(GENESIS).expect("hex");
            bytes[at] = value;
            if let Ok(tx) = CoinbaseTx::parse(&bytes) {
                prop_assert_eq!(tx.outputs_count, 1);
            }
        }
    }
}
