//! Bitcoin's consensus bytes, as far as a coinbase needs them: `CompactSize`, lists of outputs, a whole coinbase read back.
//!
//! Reading only, and no judgement of values: what a pool may put into a coinbase is `coinbase`, and whether a block
//! is valid is the node's to say.

use core::fmt;

use crate::hash::sha256d;

/// Length of the witness reserved value: the one item of a coinbase's witness.
pub const WITNESS_RESERVED_LEN: usize = 32;

/// The script of a witness commitment begins with these bytes and 32 bytes of hash follow (BIP141).
const COMMITMENT: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Bytes that are no such piece of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end inside this part.
    Truncated(Part),
    /// A `CompactSize` takes more bytes than its value needs; consensus code refuses it.
    LongCompactSize,
    /// Bytes are left over behind the last part.
    Trailing,
    /// The transaction has not exactly one input with an empty previous output.
    NotCoinbase,
    /// The marker and flag of BIP144 are there with other values, or the witness is not one item of 32 bytes.
    Witness,
    /// The number of outputs differs from the one announced.
    OutputCount,
}

/// Where bytes ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Transaction version.
    Version,
    /// The input, from its count to its sequence number.
    Input,
    /// An output: its value or script.
    Output,
    /// The witness.
    Witness,
    /// Lock time.
    LockTime,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(part) => write!(f, "transaction ends inside its {part}"),
            Self::LongCompactSize => f.write_str("CompactSize is longer than its value needs"),
            Self::Trailing => f.write_str("bytes left over behind the transaction"),
            Self::NotCoinbase => f.write_str("not a coinbase: it has other inputs than the one of a coinbase"),
            Self::Witness => f.write_str("coinbase witness is not one item of 32 bytes"),
            Self::OutputCount => f.write_str("number of outputs differs from the one announced"),
        }
    }
}

impl core::error::Error for Malformed {}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "version",
            Self::Input => "input",
            Self::Output => "outputs",
            Self::Witness => "witness",
            Self::LockTime => "lock time",
        })
    }
}

/// Bytes that `CompactSize` takes for `value`: 1, 3, 5 or 9.
#[must_use]
pub const fn compact_size_len(value: u64) -> usize {
    match value {
        0..=0xfc => 1,
        0xfd..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// `value` as `CompactSize`: the bytes and how many of them count.
#[must_use]
pub fn compact_size(value: u64) -> ([u8; 9], usize) {
    let le = value.to_le_bytes();
    let [a, b, c, d, ..] = le;
    let mut out = [0; 9];
    match compact_size_len(value) {
        1 => out[0] = a,
        3 => [out[0], out[1], out[2]] = [0xfd, a, b],
        5 => [out[0], out[1], out[2], out[3], out[4]] = [0xfe, a, b, c, d],
        _ => {
            out = [0xff, a, b, c, d, le[4], le[5], le[6], le[7]];
        }
    }
    (out, compact_size_len(value))
}

/// What is left of the input.
#[derive(Clone, Copy, Debug)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize, part: Part) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Malformed::Truncated(part))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, part: Part) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.0.split_first_chunk().ok_or(Malformed::Truncated(part))?;
        self.0 = tail;
        Ok(*head)
    }

    fn compact_size(&mut self, part: Part) -> Result<u64, Malformed> {
        let [first] = self.array(part)?;
        let (value, len) = match first {
            0xfd => (u64::from(u16::from_le_bytes(self.array(part)?)), 3),
            0xfe => (u64::from(u32::from_le_bytes(self.array(part)?)), 5),
            0xff => (u64::from_le_bytes(self.array(part)?), 9),
            small => (u64::from(small), 1),
        };
        if len == compact_size_len(value) { Ok(value) } else { Err(Malformed::LongCompactSize) }
    }

    /// A `CompactSize` and that many bytes.
    fn sized(&mut self, part: Part) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.compact_size(part)?).map_err(|_| Malformed::Truncated(part))?;
        self.take(len, part)
    }

    fn output(&mut self) -> Result<TxOut<'a>, Malformed> {
        let value = u64::from_le_bytes(self.array(Part::Output)?);
        Ok(TxOut { value, script_pubkey: self.sized(Part::Output)? })
    }
}

/// A transaction output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxOut<'a> {
    /// Satoshis.
    pub value: u64,
    /// The script that spends it must satisfy.
    pub script_pubkey: &'a [u8],
}

impl TxOut<'_> {
    /// Whether this output commits to the witnesses of the block (BIP141).
    #[must_use]
    pub fn is_witness_commitment(&self) -> bool {
        self.script_pubkey.len() >= COMMITMENT.len() + 32 && self.script_pubkey.starts_with(&COMMITMENT)
    }

    /// Bytes of this output in a transaction.
    #[must_use]
    pub fn len(&self) -> usize {
        8 + compact_size_len(self.script_pubkey.len() as u64) + self.script_pubkey.len()
    }

    /// Never: an output has at least nine bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Outputs one behind the other without a count, as `NewTemplate` carries them; walks the borrowed bytes.
///
/// Yields an error once, then ends.
#[derive(Clone, Debug)]
pub struct Outputs<'a>(Rest<'a>);

impl<'a> Outputs<'a> {
    /// The outputs in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(Rest(bytes))
    }

    /// Checks that `bytes` are exactly `count` outputs, and says whether one of them commits to the witnesses.
    pub fn check(bytes: &'a [u8], count: u32) -> Result<bool, Malformed> {
        let (mut seen, mut commitment) = (0_u32, false);
        for output in Self::new(bytes) {
            commitment |= output?.is_witness_commitment();
            seen = seen.saturating_add(1);
        }
        if seen == count { Ok(commitment) } else { Err(Malformed::OutputCount) }
    }
}

impl<'a> Iterator for Outputs<'a> {
    type Item = Result<TxOut<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let output = self.0.output();
        if output.is_err() {
            self.0 = Rest(&[]);
        }
        Some(output)
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
        let mut rest = Rest(bytes);
        let version = u32::from_le_bytes(rest.array(Part::Version)?);
        let with_witness = match rest.0 {
            [0, 1, tail @ ..] => {
                rest = Rest(tail);
                true
            }
            [0, ..] => return Err(Malformed::Witness),
            _ => false,
        };
        let body = rest.0;
        if rest.compact_size(Part::Input)? != 1 {
            return Err(Malformed::NotCoinbase);
        }
        let previous: [u8; 36] = rest.array(Part::Input)?;
        if previous != NULL_OUTPOINT {
            return Err(Malformed::NotCoinbase);
        }
        let script_sig = rest.sized(Part::Input)?;
        let sequence = u32::from_le_bytes(rest.array(Part::Input)?);
        let outputs_count = rest.compact_size(Part::Output)?;
        let outputs = rest.0;
        for _ in 0..outputs_count {
            rest.output()?;
        }
        let outputs = outputs.get(..outputs.len() - rest.0.len()).unwrap_or_default();
        let body = body.get(..body.len() - rest.0.len()).unwrap_or_default();
        let witness = if with_witness {
            let (head, tail) = rest
                .0
                .split_first_chunk::<{ WITNESS_RESERVED_LEN + 2 }>()
                .ok_or(Malformed::Truncated(Part::Witness))?;
            let [1, 32, value @ ..] = head else { return Err(Malformed::Witness) };
            rest = Rest(tail);
            Some(value)
        } else {
            None
        };
        let lock_time = u32::from_le_bytes(rest.array(Part::LockTime)?);
        if !rest.0.is_empty() {
            return Err(Malformed::Trailing);
        }
        Ok(Self { version, script_sig, sequence, outputs_count, outputs, witness, lock_time, body })
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
    let mut rest = Rest(script);
    let mut count = 0_u32;
    // The part is of no interest: an end inside a push only ends the count.
    while let Ok([op]) = rest.array(Part::Output) {
        let pushed = match op {
            0x01..=0x4b => Ok(usize::from(op)),
            0x4c => rest.array(Part::Output).map(|[len]: [u8; 1]| usize::from(len)),
            0x4d => rest.array(Part::Output).map(|len| usize::from(u16::from_le_bytes(len))),
            0x4e => rest.array(Part::Output).map(|len| usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX)),
            0xac | 0xad => {
                count = count.saturating_add(1);
                Ok(0)
            }
            0xae | 0xaf => {
                count = count.saturating_add(20);
                Ok(0)
            }
            _ => Ok(0),
        };
        if pushed.and_then(|len| rest.take(len, Part::Output)).is_err() {
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
        let output = Outputs::new(tx.outputs).next().expect("one").expect("whole");
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
        assert_eq!(CoinbaseTx::parse(&bytes), Err(Malformed::Trailing));
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
        assert_eq!(Outputs::check(&bytes, 1), Ok(false));
        assert_eq!(Outputs::check(&bytes, 2), Err(Malformed::OutputCount));
        assert_eq!(Outputs::check(&bytes[..9], 1), Err(Malformed::Truncated(Part::Output)));
        assert_eq!(Outputs::check(&[], 0), Ok(false));
        let mut long = Vec::from(7_u64.to_le_bytes());
        long.extend([0xfd, 1, 0, 0x51]);
        assert_eq!(Outputs::check(&long, 1), Err(Malformed::LongCompactSize));
    }

    proptest! {
        #[test]
        fn compact_size_reads_back(value in prop_oneof![any::<u64>(), 0..0x2_0000_u64, 250..256_u64]) {
            let (bytes, len) = compact_size(value);
            prop_assert_eq!(len, compact_size_len(value));
            let mut rest = Rest(&bytes[..len]);
            prop_assert_eq!(rest.compact_size(Part::Output), Ok(value));
            prop_assert!(rest.0.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = CoinbaseTx::parse(&bytes);
            prop_assert!(Outputs::new(&bytes).count() <= bytes.len());
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
