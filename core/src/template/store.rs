//! Templates and tips as both sides of the protocol keep them.

use core::fmt;

use super::coinbase::{MAX_SCRIPT_PREFIX, TemplateCoinbase};
use super::transaction::check_outputs;
use crate::config::{MERKLE_PATH_HEAP, MERKLE_PATH_INLINE, TEMPLATE_OUTPUTS_HEAP, TEMPLATE_OUTPUTS_INLINE};
use crate::mining::target::Target;
use crate::storage::{List, Storage};
use crate::wire::{DecodeError, U256};

/// Why a template can't be used or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateError {
    /// `coinbase_prefix` has more than 8 bytes; carries its length.
    ScriptPrefixTooLong(usize),
    /// `coinbase_tx_outputs` are not what `coinbase_tx_outputs_count` says, or no outputs at all.
    Outputs(DecodeError),
    /// The outputs or the merkle path take more room than there is.
    TooLarge,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScriptPrefixTooLong(len) => {
                write!(f, "coinbase_prefix has {len} bytes, at most {MAX_SCRIPT_PREFIX} are allowed")
            }
            Self::Outputs(why) => write!(f, "coinbase_tx_outputs: {why}"),
            Self::TooLarge => f.write_str("coinbase_tx_outputs or merkle_path too large to be kept"),
        }
    }
}

impl core::error::Error for TemplateError {}

/// A template that is kept: what is needed to build its coinbase and header.
#[derive(Debug)]
pub struct Template<S: Storage> {
    id: u64,
    version: u32,
    tx_version: u32,
    script_prefix: heapless::Vec<u8, MAX_SCRIPT_PREFIX>,
    input_sequence: u32,
    value_remaining: u64,
    outputs_count: u32,
    outputs: S::List<u8, TEMPLATE_OUTPUTS_INLINE, TEMPLATE_OUTPUTS_HEAP>,
    lock_time: u32,
    merkle_path: S::List<U256, MERKLE_PATH_INLINE, MERKLE_PATH_HEAP>,
    witness: bool,
}

impl<S: Storage> Template<S> {
    /// Keeps a copy of these fields. `version` is the header's, `merkle_path` is deepest first.
    pub fn new(
        id: u64,
        version: u32,
        coinbase: &TemplateCoinbase<'_>,
        merkle_path: impl IntoIterator<Item = U256>,
    ) -> Result<Self, TemplateError> {
        let script_prefix = heapless::Vec::from_slice(coinbase.script_prefix)
            .map_err(|_| TemplateError::ScriptPrefixTooLong(coinbase.script_prefix.len()))?;
        let witness = check_outputs(coinbase.outputs, coinbase.outputs_count).map_err(TemplateError::Outputs)?;
        let mut template = Self {
            id,
            version,
            tx_version: coinbase.tx_version,
            script_prefix,
            input_sequence: coinbase.input_sequence,
            value_remaining: coinbase.value_remaining,
            outputs_count: coinbase.outputs_count,
            outputs: Default::default(),
            lock_time: coinbase.lock_time,
            merkle_path: Default::default(),
            witness,
        };
        template.outputs.extend_from_slice(coinbase.outputs).map_err(|_| TemplateError::TooLarge)?;
        for hash in merkle_path {
            template.merkle_path.push(hash).map_err(|_| TemplateError::TooLarge)?;
        }
        Ok(template)
    }

    /// The template's id.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The header's version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What the template says about its coinbase.
    #[must_use]
    pub fn coinbase(&self) -> TemplateCoinbase<'_> {
        TemplateCoinbase {
            tx_version: self.tx_version,
            script_prefix: &self.script_prefix,
            input_sequence: self.input_sequence,
            value_remaining: self.value_remaining,
            outputs_count: self.outputs_count,
            outputs: &self.outputs,
            lock_time: self.lock_time,
        }
    }

    /// Hashes beside the coinbase's way to the root, deepest first (D-ALG-3).
    #[must_use]
    pub fn merkle_path(&self) -> &[U256] {
        &self.merkle_path
    }

    /// Whether an output commits to witnesses, so that a block must carry the coinbase with one.
    #[must_use]
    pub const fn has_witness(&self) -> bool {
        self.witness
    }
}

/// What `SetNewPrevHash` says: the block to build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Hash of the block to build on, in raw SHA-256 order.
    pub prev_hash: [u8; 32],
    /// Where header times start, in seconds since 1970 (D-TDP-12).
    pub header_timestamp: u32,
    /// The header's `nBits`.
    pub n_bits: u32,
    /// Largest hash that makes a block; may be below what `n_bits` says (D-TDP-12).
    pub target: Target,
}

/// What a client adds to a coinbase at most: what it announces and what a provider reserves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Bytes of outputs.
    pub max_additional_size: u32,
    /// Signature operations of outputs; the draft does not say them, 0 then.
    pub max_additional_sigops: u16,
}

impl Constraints {
    /// The most that a client can use: a solution's coinbase has at most 65,535 bytes, and as many signature operations as there fit
    /// shortest outputs with one (10 bytes). A block has room for that whatever else is in it.
    pub const LARGEST: Self = Self { max_additional_size: 65_535, max_additional_sigops: 6_553 };

    /// Whether what is reserved for these is enough for `need`.
    #[must_use]
    pub const fn covers(self, need: Self) -> bool {
        self.max_additional_size >= need.max_additional_size && self.max_additional_sigops >= need.max_additional_sigops
    }

    /// What is enough for both (D-TDP-5).
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            max_additional_size: self.max_additional_size.max(other.max_additional_size),
            max_additional_sigops: self.max_additional_sigops.max(other.max_additional_sigops),
        }
    }
}
