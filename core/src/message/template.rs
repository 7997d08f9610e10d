//! Template distribution messages (draft 06, current 07).

use super::{CurrentOnly, ErrorCode, TxOuts};
use crate::wire::{B016M, B064K, B0255, Seq064K, Seq0255, U256};

message! {
    /// How much the client will add to the coinbase: its first message after the setup (D-TDP-1).
    ///
    /// The provider leaves that much room in every block that it offers (D-TDP-6).
    template, client to server: CoinbaseOutputConstraints "CoinbaseOutputConstraints"
        draft(0x70 as "CoinbaseOutputDataSize") current(0x70)
    {
        /// Most bytes of outputs that the client adds.
        coinbase_output_max_additional_size: u32,
        /// Most signature operations that these outputs add.
        coinbase_output_max_additional_sigops: CurrentOnly<u16>,
    }
}

message! {
    /// A block template without its transactions (D-TDP-7 to D-TDP-9).
    template, server to client: NewTemplate<'a> "NewTemplate"
        draft(0x71) current(0x71)
    {
        /// Strictly rises (D-TDP-7).
        template_id: u64,
        /// Whether the template waits for a `SetNewPrevHash` that names it (D-TDP-9).
        future_template: bool,
        /// Version of the block header; the bits for general purposes are free.
        version: u32,
        /// Version of the coinbase transaction.
        coinbase_tx_version: u32,
        /// What the coinbase's script begins with: at most 8 bytes, the height among them.
        coinbase_prefix: B0255<'a>,
        /// `nSequence` of the coinbase's input.
        coinbase_tx_input_sequence: u32,
        /// Satoshis left for the client's outputs: subsidy and fees less the outputs here.
        coinbase_tx_value_remaining: u64,
        /// How many outputs the next field holds.
        coinbase_tx_outputs_count: u32,
        /// Outputs that come last in the coinbase, unchanged, as Bitcoin serializes them, without a count (D-TDP-8).
        coinbase_tx_outputs: B064K<'a>,
        /// Lock time of the coinbase transaction.
        coinbase_tx_locktime: u32,
        /// Sibling hashes of the coinbase's merkle branch, deepest first.
        merkle_path: Seq0255<'a, U256>,
    }
}

impl<'a> NewTemplate<'a> {
    /// The outputs of `coinbase_tx_outputs`, or the error that ends them when count and bytes do not agree.
    #[must_use]
    pub fn outputs(&self) -> TxOuts<'a> {
        TxOuts::new(self.coinbase_tx_outputs.as_bytes(), self.coinbase_tx_outputs_count.into())
    }
}

message! {
    /// A new best block: work on the named template begins (D-TDP-10, D-TDP-11).
    template, server to client: SetNewPrevHash "SetNewPrevHash"
        draft(0x72) current(0x72)
    {
        /// A template that was sent before.
        template_id: u64,
        /// Hash of the block to build on.
        prev_hash: U256,
        /// Time to start with, in seconds since 1970; not the lowest that consensus allows (D-TDP-12).
        header_timestamp: u32,
        /// Target of the block in compact form.
        n_bits as "nBits": u32,
        /// Largest hash that is a block; may be lower than `nBits` says (D-TDP-12).
        target: U256,
    }
}

message! {
    /// Asks for the transactions of a template.
    template, client to server: RequestTransactionData "RequestTransactionData"
        draft(0x73) current(0x73)
    {
        /// The template.
        template_id: u64,
    }
}

message! {
    /// The transactions of a template.
    template, server to client: RequestTransactionDataSuccess<'a> "RequestTransactionData.Success"
        draft(0x74) current(0x74)
    {
        /// The template.
        template_id: u64,
        /// Data that a verifier may need; opaque to the client (D-TDP-13).
        excess_data: B064K<'a>,
        /// All transactions but the coinbase, with witness, in the block's order (D-TDP-14).
        transaction_list: Seq064K<'a, B016M<'a>>,
    }
}

message! {
    /// The transactions of a template are not to be had (D-TDP-16).
    template, server to client: RequestTransactionDataError<'a> "RequestTransactionData.Error"
        draft(0x75) current(0x75)
    {
        /// The template.
        template_id: u64,
        /// Why.
        error_code: ErrorCode<'a>,
    }
    errors {
        /// No such template.
        TEMPLATE_ID_NOT_FOUND = "template-id-not-found",
        /// The template builds on a block that is no longer the best (current revision).
        STALE_TEMPLATE_ID = "stale-template-id",
    }
}

message! {
    /// A block was found (D-TDP-17 to D-TDP-20).
    template, client to server: SubmitSolution<'a> "SubmitSolution"
        draft(0x76) current(0x76)
    {
        /// The template that the block was made from.
        template_id: u64,
        /// Version of the block header (D-TDP-19).
        version: u32,
        /// Time of the block header, in seconds since 1970 (D-TDP-20).
        header_timestamp: u32,
        /// Nonce of the block header.
        header_nonce: u32,
        /// The whole coinbase transaction, with its witness.
        coinbase_tx: B064K<'a>,
    }
}

message_set! {
    /// Template distribution messages that a client sends.
    pub enum ToServer<'a> {
        CoinbaseOutputConstraints(CoinbaseOutputConstraints),
        RequestTransactionData(RequestTransactionData),
        SubmitSolution(SubmitSolution<'a>),
    }
}

message_set! {
    /// Template distribution messages that a server sends.
    pub enum ToClient<'a> {
        NewTemplate(NewTemplate<'a>),
        SetNewPrevHash(SetNewPrevHash),
        RequestTransactionDataSuccess(RequestTransactionDataSuccess<'a>),
        RequestTransactionDataError(RequestTransactionDataError<'a>),
    }
}
