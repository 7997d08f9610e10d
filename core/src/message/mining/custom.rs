//! Custom jobs: work that the client selected itself.

use crate::message::{CoinbaseOutputs, DraftOnly, ErrorCode};
use crate::wire::{B064K, B0255, Seq0255, U256};

message! {
    /// Asks to mine a job of the client's own making (D-CUST-1, D-CUST-2).
    mining, client to server: SetCustomMiningJob<'a> "SetCustomMiningJob"
        draft(0x22) current(0x22 + channel_msg)
    {
        /// An extended channel (D-CUST-1); in the current revision also a group.
        channel_id: u32,
        /// Chosen by the client; the server echoes it (D-CUST-2).
        request_id: u32,
        /// What job negotiation or declaration handed out for this job.
        mining_job_token: B0255<'a>,
        /// Version of the block header; the bits for general purposes are free.
        version: u32,
        /// Hash of the block to build on, as SHA-256 yields it.
        prev_hash: U256,
        /// Lowest time of the block header, in seconds since 1970.
        min_ntime: u32,
        /// Target of the block in compact form.
        nbits: u32,
        /// Version of the coinbase transaction.
        coinbase_tx_version: u32,
        /// What the coinbase's script begins with: at most 8 bytes, the height among them.
        coinbase_prefix: B0255<'a>,
        /// `nSequence` of the coinbase's input.
        coinbase_tx_input_n_sequence as "coinbase_tx_input_nSequence": u32,
        /// Satoshis left for the pool's outputs.
        coinbase_tx_value_remaining: DraftOnly<u64>,
        /// Outputs of the coinbase: the last ones in the draft, all in the current revision.
        coinbase_tx_outputs: CoinbaseOutputs<'a>,
        /// Lock time of the coinbase transaction.
        coinbase_tx_locktime: u32,
        /// Sibling hashes of the coinbase's merkle branch, deepest first (D-ALG-3).
        merkle_path: Seq0255<'a, U256>,
        /// Extranonce bytes that the client supplies.
        extranonce_size: DraftOnly<u16>,
        /// Of no settled meaning: `false` is sent, `true` refused (draft open question 21).
        future_job: DraftOnly<bool>,
    }
}

message! {
    /// The custom job may be mined (D-CUST-3).
    mining, server to client: SetCustomMiningJobSuccess<'a> "SetCustomMiningJob.Success"
        draft(0x23) current(0x23 + channel_msg)
    {
        /// The channel.
        channel_id: u32,
        /// Of the request.
        request_id: u32,
        /// The job, by which shares name it.
        job_id: u32,
        /// Coinbase before the extranonce, to be used as it is (D-CUST-4).
        coinbase_tx_prefix: DraftOnly<B064K<'a>>,
        /// Coinbase behind the extranonce, to be used as it is (D-CUST-4).
        coinbase_tx_suffix: DraftOnly<B064K<'a>>,
    }
}

message! {
    /// The custom job is refused (D-CUST-5).
    mining, server to client: SetCustomMiningJobError<'a> "SetCustomMiningJob.Error"
        draft(0x24) current(0x24 + channel_msg)
    {
        /// The channel.
        channel_id: u32,
        /// Of the request.
        request_id: u32,
        /// Why.
        error_code: ErrorCode<'a>,
    }
    errors {
        /// No such channel, or not one for custom jobs.
        INVALID_CHANNEL_ID = "invalid-channel-id",
        /// The token is unknown, used, or out of date.
        INVALID_MINING_JOB_TOKEN = "invalid-mining-job-token",
        /// A field has a value that cannot be; the field's name follows.
        INVALID_JOB_PARAM_VALUE_PREFIX = "invalid-job-param-value-",
        /// The server takes no custom jobs.
        JD_NOT_SUPPORTED = "jd-not-supported",
        /// The declared job was not checked yet.
        JOB_NOT_YET_VALIDATED = "job-not-yet-validated",
        /// The job builds on a block that is not the best.
        STALE_CHAIN_TIP = "stale-chain-tip",
        /// `min_ntime` does not fit the block.
        INVALID_MIN_NTIME = "invalid-min-ntime",
        /// `nbits` does not fit the block.
        INVALID_NBITS = "invalid-nbits",
        /// `version` does not fit the declared job.
        INVALID_VERSION = "invalid-version",
        /// The coinbase transaction does not parse or does not fit the declared job.
        INVALID_COINBASE_TX = "invalid-coinbase-tx",
        /// `coinbase_tx_version` does not fit the declared job.
        INVALID_COINBASE_TX_VERSION = "invalid-coinbase-tx-version",
        /// `coinbase_prefix` is too long or does not fit the block.
        INVALID_COINBASE_PREFIX = "invalid-coinbase-prefix",
        /// `coinbase_tx_input_nSequence` does not fit the declared job.
        INVALID_COINBASE_TX_INPUT_N_SEQUENCE = "invalid-coinbase-tx-input-n-sequence",
        /// `coinbase_tx_outputs` does not parse or lacks the pool's outputs.
        INVALID_COINBASE_TX_OUTPUTS = "invalid-coinbase-tx-outputs",
        /// `coinbase_tx_locktime` does not fit the declared job.
        INVALID_COINBASE_TX_LOCKTIME = "invalid-coinbase-tx-locktime",
        /// `merkle_path` does not fit the declared job.
        INVALID_MERKLE_PATH = "invalid-merkle-path",
    }
}
