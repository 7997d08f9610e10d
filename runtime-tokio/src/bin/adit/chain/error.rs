//! Why a block is refused, in the words that nodes use.

use std::fmt;

use bitcoin::{Amount, BlockHash, OutPoint};

/// A rule that a block breaks. [`BlockError::reason`] is Bitcoin Core's reject reason for it, the text says what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockError {
    /// The bytes are no block.
    Undecodable,
    /// The block is known already.
    Known,
    /// The block before it is not known.
    UnknownPrevious(BlockHash),
    /// The block before it is known but not the tip. This chain never reorganises: the first block at a height stays.
    NotOnTip { height: u32, tip: u32 },
    /// Header: `bits` is not what this height asks for.
    Bits { found: u32, required: u32 },
    /// Header: hash above the target of `bits`.
    HighHash,
    /// Header: not above the median of the eleven blocks before.
    TimeTooOld { time: u32, median: u32 },
    /// Header: more than two hours ahead.
    TimeTooNew { time: u32, latest: u32 },
    /// Header: a version that soft forks have retired.
    Version(i32),
    /// The merkle root is not that of the transactions.
    MerkleRoot,
    /// Transactions are repeated at the end such that the merkle root stays the same (CVE-2012-2459).
    RepeatedTransactions,
    /// No transaction, or too many bytes before weighing.
    Length,
    /// The first transaction is no coinbase.
    NoCoinbase,
    /// Another transaction is a coinbase too.
    ManyCoinbases,
    /// The coinbase's script does not begin with the height (BIP34).
    CoinbaseHeight { expected: u32 },
    /// The coinbase's script has not 2 to 100 bytes.
    CoinbaseScript(usize),
    /// The coinbase pays more than subsidy and fees.
    CoinbaseValue { paid: Amount, allowed: Amount },
    /// A commitment to witnesses, but no reserved value of 32 bytes as the coinbase's only witness item.
    WitnessReserved,
    /// The commitment is not that of the witnesses.
    WitnessCommitment,
    /// A witness without a commitment to it.
    UnexpectedWitness,
    /// More than 4,000,000 weight units.
    Weight(u64),
    /// More than 80,000 in signature operations.
    SigopsCost(u64),
    /// A transaction on its own breaks a rule.
    Transaction { index: usize, error: TransactionError },
    /// An input of a transaction must not be spent, or not so.
    Input { transaction: usize, input: usize, error: InputError },
}

/// A rule that a transaction breaks, whatever it spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionError {
    NoInputs,
    NoOutputs,
    Oversized,
    OutputValue,
    RepeatedInput,
    NullInput,
    /// Lock time not reached.
    NotFinal,
    /// An output of an equal transaction is still unspent (BIP30).
    Exists,
    /// Pays out more than it spends.
    BelowOutputs {
        inputs: Amount,
        outputs: Amount,
    },
}

/// Why an input cannot be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputError {
    /// No such output, or it is spent.
    MissingOrSpent(OutPoint),
    /// A coinbase's output before 100 blocks are on top of it.
    Immature { height: u32 },
    /// Relative lock time not reached (BIP68).
    SequenceLock,
    /// The sum of the inputs is out of range.
    Value,
    /// The witness does not prove the right to spend.
    Script(ScriptError),
}

/// Why a witness does not prove the right to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptError {
    /// Neither P2WPKH nor a P2TR key path: this chain has no script interpreter, so it refuses what it cannot check.
    Unsupported,
    /// A script beside the witness.
    ScriptSig,
    /// Not the number of witness items that the program asks for.
    Items(usize),
    /// The public key is not the one that the output names.
    PublicKey,
    /// The signature's form, or its hash type.
    SignatureForm,
    /// The signature is not by this key over this transaction.
    Signature,
}

impl BlockError {
    /// The reject reason that Bitcoin Core gives.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Known => "duplicate",
            Self::UnknownPrevious(_) => "prev-blk-not-found",
            Self::NotOnTip { .. } => "stale-prevblk",
            Self::Bits { .. } => "bad-diffbits",
            Self::HighHash => "high-hash",
            Self::TimeTooOld { .. } => "time-too-old",
            Self::TimeTooNew { .. } => "time-too-new",
            Self::Version(_) => "bad-version",
            Self::MerkleRoot => "bad-txnmrklroot",
            Self::RepeatedTransactions => "bad-txns-duplicate",
            Self::Length => "bad-blk-length",
            Self::NoCoinbase => "bad-cb-missing",
            Self::ManyCoinbases => "bad-cb-multiple",
            Self::CoinbaseHeight { .. } => "bad-cb-height",
            Self::CoinbaseScript(_) => "bad-cb-length",
            Self::CoinbaseValue { .. } => "bad-cb-amount",
            Self::WitnessReserved => "bad-witness-nonce-size",
            Self::WitnessCommitment => "bad-witness-merkle-match",
            Self::UnexpectedWitness => "unexpected-witness",
            Self::Weight(_) => "bad-blk-weight",
            Self::SigopsCost(_) => "bad-blk-sigops",
            Self::Transaction { error, .. } => match error {
                TransactionError::NoInputs => "bad-txns-vin-empty",
                TransactionError::NoOutputs => "bad-txns-vout-empty",
                TransactionError::Oversized => "bad-txns-oversize",
                TransactionError::OutputValue => "bad-txns-vout-toolarge",
                TransactionError::RepeatedInput => "bad-txns-inputs-duplicate",
                TransactionError::NullInput => "bad-txns-prevout-null",
                TransactionError::NotFinal => "bad-txns-nonfinal",
                TransactionError::Exists => "bad-txns-BIP30",
                TransactionError::BelowOutputs { .. } => "bad-txns-in-belowout",
            },
            Self::Input { error, .. } => match error {
                InputError::MissingOrSpent(_) => "bad-txns-inputs-missingorspent",
                InputError::Immature { .. } => "bad-txns-premature-spend-of-coinbase",
                InputError::SequenceLock => "bad-txns-nonfinal",
                InputError::Value => "bad-txns-inputvalues-outofrange",
                InputError::Script(_) => "mandatory-script-verify-flag-failed",
            },
        }
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.reason())?;
        match self {
            Self::Undecodable => f.write_str("the bytes are no block"),
            Self::Known => f.write_str("the block is known already"),
            Self::UnknownPrevious(hash) => write!(f, "no block {hash} to build on"),
            Self::NotOnTip { height, tip } => {
                write!(f, "it builds on height {height} while the tip is at {tip}; the first block at a height stays")
            }
            Self::Bits { found, required } => write!(f, "bits are {found:08x} instead of {required:08x}"),
            Self::HighHash => f.write_str("hash above the target of its bits"),
            Self::TimeTooOld { time, median } => write!(f, "time {time} is not above {median}, the median before it"),
            Self::TimeTooNew { time, latest } => write!(f, "time {time} is above {latest}, two hours ahead of now"),
            Self::Version(version) => write!(f, "version {version:#x} was retired, at least 4 is asked for"),
            Self::MerkleRoot => f.write_str("merkle root is not that of the transactions"),
            Self::RepeatedTransactions => f.write_str("transactions repeated at the end of the block"),
            Self::Length => f.write_str("no transaction, or more bytes than a block can have"),
            Self::NoCoinbase => f.write_str("first transaction is not a coinbase"),
            Self::ManyCoinbases => f.write_str("more than one coinbase"),
            Self::CoinbaseHeight { expected } => write!(f, "coinbase script does not begin with height {expected}"),
            Self::CoinbaseScript(len) => write!(f, "coinbase script has {len} bytes, 2 to 100 are allowed"),
            Self::CoinbaseValue { paid, allowed } => {
                write!(f, "coinbase pays {} satoshis, {} are allowed", paid.to_sat(), allowed.to_sat())
            }
            Self::WitnessReserved => f.write_str("coinbase witness is not one item of 32 bytes"),
            Self::WitnessCommitment => f.write_str("witness commitment is not that of the transactions"),
            Self::UnexpectedWitness => f.write_str("a witness without a commitment to it"),
            Self::Weight(weight) => write!(f, "weight {weight} is above 4000000"),
            Self::SigopsCost(cost) => write!(f, "signature operations cost {cost}, more than 80000"),
            Self::Transaction { index, error } => write!(f, "transaction {index}: {error}"),
            Self::Input { transaction, input, error } => {
                write!(f, "transaction {transaction}, input {input}: {error}")
            }
        }
    }
}

impl std::error::Error for BlockError {}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInputs => f.write_str("no inputs"),
            Self::NoOutputs => f.write_str("no outputs"),
            Self::Oversized => f.write_str("larger than a block"),
            Self::OutputValue => f.write_str("outputs above all the money there is"),
            Self::RepeatedInput => f.write_str("an input twice"),
            Self::NullInput => f.write_str("a null input outside a coinbase"),
            Self::NotFinal => f.write_str("lock time not reached"),
            Self::Exists => f.write_str("an equal transaction has unspent outputs"),
            Self::BelowOutputs { inputs, outputs } => {
                write!(f, "spends {} satoshis and pays out {}", inputs.to_sat(), outputs.to_sat())
            }
        }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingOrSpent(output) => write!(f, "{output} does not exist or is spent"),
            Self::Immature { height } => write!(f, "coinbase of height {height} needs 100 blocks on top of it"),
            Self::SequenceLock => f.write_str("relative lock time not reached"),
            Self::Value => f.write_str("inputs above all the money there is"),
            Self::Script(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => {
                f.write_str("neither P2WPKH nor a P2TR key path, which is all that this chain can check")
            }
            Self::ScriptSig => f.write_str("a script beside the witness"),
            Self::Items(count) => write!(f, "{count} witness items"),
            Self::PublicKey => f.write_str("public key is not the output's"),
            Self::SignatureForm => f.write_str("malformed signature"),
            Self::Signature => f.write_str("wrong signature"),
        }
    }
}
