//! The coinbase of a custom job as its request describes it: what a pool stores is what its client mines. Whether the pool takes it is
//! [`server`](super::server)'s affair.

use crate::message::mining::SetCustomMiningJob;
use crate::mining::job::Parts;
use crate::storage::Storage;
use crate::wire::{CompactSize, Encode, Revision, Writer};

/// C-CUST-4: most bytes that the coinbase's script may begin with.
pub(crate) const MAX_SCRIPT_PREFIX: usize = 8;

/// The input of every coinbase refers to nothing.
const NULL_OUTPOINT: [u8; 36] = {
    let mut outpoint = [0; 36];
    let mut at = 32;
    while at < 36 {
        outpoint[at] = 0xff;
        at += 1;
    }
    outpoint
};

/// Why a request describes no coinbase that could be mined here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoinbaseFault {
    /// Its outputs do not parse.
    Outputs,
    /// It is longer than is kept.
    TooLong,
}

/// C-CUST-5: version, one null input whose script is the given prefix and the full extranonce, outputs and lock time as given.
pub(crate) fn write_coinbase<S: Storage, const COINBASE: usize, const PATH: usize>(
    message: &SetCustomMiningJob<'_>,
    extranonce_len: usize,
    parts: &mut Parts<S, COINBASE, PATH>,
) -> Result<(), CoinbaseFault> {
    let script = message.coinbase_prefix.as_bytes();
    let script_len = script.len().saturating_add(extranonce_len);
    // 8 and 32 bytes are allowed.
    let script_len = u8::try_from(script_len).map_err(|_| CoinbaseFault::TooLong)?;
    let version = message.coinbase_tx_version.to_le_bytes();
    let sequence = message.coinbase_tx_input_n_sequence.to_le_bytes();
    let count = compact_size(message.coinbase_tx_outputs.iter().count() as u64);
    for bytes in [&version[..], &[1], &NULL_OUTPOINT, &[script_len], script] {
        parts.push_prefix(bytes).map_err(|_| CoinbaseFault::TooLong)?;
    }
    for bytes in [&sequence[..], &count] {
        parts.push_suffix(bytes).map_err(|_| CoinbaseFault::TooLong)?;
    }
    for output in &message.coinbase_tx_outputs {
        let output = output.map_err(|_| CoinbaseFault::Outputs)?;
        let len = compact_size(output.script_pubkey.len() as u64);
        for bytes in [&output.value.to_le_bytes()[..], &len, output.script_pubkey] {
            parts.push_suffix(bytes).map_err(|_| CoinbaseFault::TooLong)?;
        }
    }
    parts.push_suffix(&message.coinbase_tx_locktime.to_le_bytes()).map_err(|_| CoinbaseFault::TooLong)
}

/// A number as Bitcoin serializes lengths, at most 9 bytes.
fn compact_size(value: u64) -> heapless::Vec<u8, 9> {
    let mut bytes = [0; 9];
    let mut writer = Writer::new(&mut bytes);
    // Nine bytes are enough for every number.
    let _ = CompactSize(value).encode(&mut writer, Revision::Current);
    let len = writer.written();
    bytes.iter().copied().take(len).collect()
}
