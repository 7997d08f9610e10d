//! A block to be mined: all of it but the coinbase's payouts.

use std::fmt;
use std::sync::Arc;

use adit::mining::target::Target;
use adit::template::Constraints;
use adit::template::coinbase::{self, TemplateCoinbase};
use adit::template::merkle_path::{MerklePath, TooManyTransactions};
use adit::wire::U256;
use bitcoin::hashes::Hash;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{Amount, Block, ScriptBuf, Transaction, TxOut, WitnessMerkleNode, Wtxid, consensus, merkle_tree};

/// What is always left to the client's outputs in signature operations, in consensus cost: as much as Bitcoin Core reserves, because the
/// draft's clients do not say what they need.
const CLIENT_SIGOPS_COST: u64 = 400;
/// Consensus cost of a legacy signature operation, which those of outputs are.
const LEGACY_SIGOP_COST: u64 = 4;
/// Longest coinbase script (D-TDP-6).
const SCRIPT_LEN: u64 = 100;

/// A transaction of a template. Shared, because most transactions of a template are in the one before too.
#[derive(Debug)]
pub(crate) struct Tx {
    /// With witness, in consensus bytes.
    pub(crate) bytes: Vec<u8>,
    /// Its id, in raw SHA-256 order.
    pub(crate) txid: [u8; 32],
    wtxid: Wtxid,
    has_witness: bool,
    weight: u64,
    /// What it pays, in satoshis. Unknown when a node does not say.
    pub(crate) fee: Option<u64>,
    sigops_cost: u64,
}

impl Tx {
    /// Of a transaction that pays `fee`. Where nobody says what its signature operations cost, legacy ones are counted, which is a lower bound.
    pub(crate) fn new(tx: &Transaction, fee: Option<u64>, sigops_cost: Option<u64>) -> Self {
        Self {
            bytes: consensus::serialize(tx),
            txid: tx.compute_txid().to_byte_array(),
            wtxid: tx.compute_wtxid(),
            has_witness: tx.input.iter().any(|input| !input.witness.is_empty()),
            weight: tx.weight().to_wu(),
            fee,
            sigops_cost: sigops_cost.unwrap_or_else(|| tx.total_sigop_cost(|_| None) as u64),
        }
    }
}

/// What a chain or a node knows about the next block; [`Parts::build`] makes a template of it.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// Rises with every template of a source (D-TDP-7).
    pub(crate) id: u64,
    /// Height of the block to be mined.
    pub(crate) height: u32,
    /// Header version.
    pub(crate) version: u32,
    /// Hash of the block before, raw SHA-256 order.
    pub(crate) prev_hash: [u8; 32],
    /// Target in the header's compact form.
    pub(crate) nbits: u32,
    /// What a hash must meet; at most what `nbits` says.
    pub(crate) target: Target,
    /// Time to start from, seconds since 1970.
    pub(crate) time: u32,
    /// Subsidy and the fees of all `transactions`, in satoshis.
    pub(crate) value: u64,
    /// Bytes that the coinbase's script should hold behind the height; left out where they do not fit.
    pub(crate) script_extra: Vec<u8>,
    /// Parents before children.
    pub(crate) transactions: Vec<Arc<Tx>>,
    /// Whether witnesses are committed to even when no transaction has one.
    pub(crate) witness: bool,
    /// Highest weight of the block.
    pub(crate) weight_limit: u64,
    /// Highest cost of its signature operations.
    pub(crate) sigops_limit: u64,
    /// What to leave to the client's outputs.
    pub(crate) room: Constraints,
}

/// A block to be mined: all of it but the coinbase's payouts.
#[derive(Debug)]
pub(crate) struct Template {
    /// What it was built from. Transactions that left no room for the coinbase are gone, and `value` is without their fees.
    pub(crate) parts: Parts,
    /// Hashes beside the coinbase's way to the merkle root, deepest first, raw SHA-256 order.
    pub(crate) merkle_path: Vec<U256>,
    script_prefix: Vec<u8>,
    outputs: Vec<u8>,
    outputs_count: u32,
}

/// Why no template can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unbuildable {
    /// A transaction must give way to the coinbase, and nobody says what it pays.
    UnknownFee,
    /// The block has no room for a coinbase of this size even when it is empty.
    NoRoom,
    /// Too many transactions.
    TooMany(TooManyTransactions),
}

impl fmt::Display for Unbuildable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFee => {
                f.write_str("transactions must give way to the coinbase, but the node does not say what fees they pay")
            }
            Self::NoRoom => f.write_str("the coinbase outputs that the client wants do not fit into a block"),
            Self::TooMany(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Unbuildable {}

impl Parts {
    /// Leaves out transactions that the coinbase has no room for (D-TDP-6), then computes script, commitment and merkle path.
    pub(crate) fn build(mut self) -> Result<Template, Unbuildable> {
        self.make_room()?;
        let mut path = MerklePath::new();
        for tx in &self.transactions {
            path.push(tx.txid).map_err(Unbuildable::TooMany)?;
        }
        let commitment = self.commitment();
        let (outputs, outputs_count) = commitment.map_or((vec![], 0), |output| (consensus::serialize(&output), 1));
        Ok(Template {
            merkle_path: path.finish().hashes().to_vec(),
            script_prefix: self.script_prefix(),
            outputs,
            outputs_count,
            parts: self,
        })
    }

    fn has_witness(&self) -> bool {
        self.witness || self.transactions.iter().any(|tx| tx.has_witness)
    }

    /// D-TDP-6. Sources list parents first and the best paid first, so what goes is the end of the list.
    fn make_room(&mut self) -> Result<(), Unbuildable> {
        // Header and count of transactions; version, count of inputs, outpoint, script with its length, sequence, count of outputs,
        // commitment and lock time of the coinbase; marker, flag and the reserved value of its witness.
        let stripped =
            80 + 5 + 4 + 1 + 36 + 1 + SCRIPT_LEN + 4 + 5 + (8 + 1 + 38) + 4 + u64::from(self.room.max_additional_size);
        let reserved = 4 * stripped + 2 + 2 + 32;
        let client_sigops = CLIENT_SIGOPS_COST.max(LEGACY_SIGOP_COST * u64::from(self.room.max_additional_sigops));
        let mut weight = self.weight_limit.checked_sub(reserved).ok_or(Unbuildable::NoRoom)?;
        let mut sigops = self.sigops_limit.checked_sub(client_sigops).ok_or(Unbuildable::NoRoom)?;
        let fits = self.transactions.iter().take_while(|tx| {
            let left = weight.checked_sub(tx.weight).zip(sigops.checked_sub(tx.sigops_cost));
            if let Some(left) = left {
                (weight, sigops) = left;
            }
            left.is_some()
        });
        let kept = fits.count();
        for tx in self.transactions.drain(kept..) {
            self.value = self.value.saturating_sub(tx.fee.ok_or(Unbuildable::UnknownFee)?);
        }
        Ok(())
    }

    /// The height as BIP34 wants it, and what else the source wants there.
    fn script_prefix(&self) -> Vec<u8> {
        let height = Builder::new().push_int(i64::from(self.height));
        let whole = PushBytesBuf::try_from(self.script_extra.clone())
            .ok()
            .filter(|extra| !extra.is_empty())
            .map(|extra| height.clone().push_slice(extra).into_bytes());
        whole.filter(|script| script.len() <= coinbase::MAX_SCRIPT_PREFIX).unwrap_or_else(|| height.into_bytes())
    }

    /// The output that commits to the witnesses (BIP141), with a reserved value of zeros.
    fn commitment(&self) -> Option<TxOut> {
        if !self.has_witness() {
            return None;
        }
        // The coinbase's own id counts as zeros.
        let ids = [Wtxid::all_zeros()].into_iter().chain(self.transactions.iter().map(|tx| tx.wtxid));
        let root = merkle_tree::calculate_root(ids.map(Wtxid::to_raw_hash)).map(WitnessMerkleNode::from_raw_hash)?;
        let commitment = Block::compute_witness_commitment(&root, &coinbase::WITNESS_RESERVED);
        let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed], &commitment.to_byte_array()[..]].concat();
        Some(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) })
    }
}

impl Template {
    /// What `NewTemplate` says of the coinbase.
    ///
    /// Its lock time is the height before and its sequence number not final: valid today, and what BIP54 makes a rule, which keeps coinbases unique.
    pub(crate) fn coinbase(&self) -> TemplateCoinbase<'_> {
        TemplateCoinbase {
            tx_version: 2,
            script_prefix: &self.script_prefix,
            input_sequence: 0xffff_fffe,
            value_remaining: self.parts.value,
            outputs_count: self.outputs_count,
            outputs: &self.outputs,
            lock_time: self.parts.height.saturating_sub(1),
        }
    }

    /// What all transactions pay together, as far as it is known.
    pub(crate) fn fees(&self) -> u64 {
        self.parts.transactions.iter().filter_map(|tx| tx.fee).fold(0, u64::saturating_add)
    }

    /// Whether a client that works on `other` gains nothing from this one: it would differ in its id and its time alone.
    pub(crate) fn is_same_work(&self, other: &Self) -> bool {
        let (a, b) = (&self.parts, &other.parts);
        (a.prev_hash, a.nbits, a.version, a.value, a.target) == (b.prev_hash, b.nbits, b.version, b.value, b.target)
            && (&self.merkle_path, &self.outputs, &self.script_prefix)
                == (&other.merkle_path, &other.outputs, &other.script_prefix)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;
    use bitcoin::{OutPoint, Sequence, TxIn, Witness};

    use super::*;

    /// A transaction that differs from others by `number`.
    pub(crate) fn transaction(number: u8, witness: bool) -> Transaction {
        let mut items = Witness::new();
        if witness {
            items.push([number; 64]);
        }
        let input = TxIn {
            previous_output: OutPoint { txid: bitcoin::Txid::from_byte_array([number; 32]), vout: 0 },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: items,
        };
        let output = TxOut { value: Amount::from_sat(1_000), script_pubkey: ScriptBuf::from_bytes(vec![0x51]) };
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![output] }
    }

    pub(crate) fn parts(transactions: &[Transaction]) -> Parts {
        Parts {
            id: 1,
            height: 500,
            version: 0x2000_0000,
            prev_hash: [9; 32],
            nbits: 0x207f_ffff,
            target: Target::from_nbits(0x207f_ffff).expect("valid"),
            time: 1_800_000_000,
            value: 10_000,
            script_extra: vec![],
            transactions: transactions.iter().map(|tx| Arc::new(Tx::new(tx, Some(100), None))).collect(),
            witness: false,
            weight_limit: 4_000_000,
            sigops_limit: 80_000,
            room: Constraints { max_additional_size: 100, max_additional_sigops: 0 },
        }
    }

    #[test]
    fn a_template_commits_to_witnesses_only_where_there_are_some_or_the_source_says_so() {
        let plain = parts(&[transaction(1, false)]).build().expect("built");
        assert_eq!(plain.coinbase().outputs_count, 0);
        assert_eq!(plain.merkle_path, [U256(plain.parts.transactions[0].txid)]);
        let asked = Parts { witness: true, ..parts(&[]) }.build().expect("built");
        assert_eq!(asked.coinbase().outputs_count, 1);
        // The commitment of a block without other transactions, a value that every such block shares.
        let known = "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9";
        assert_eq!(hex::encode(&asked.coinbase().outputs[9..]), known);
        let with = parts(&[transaction(1, false), transaction(2, true)]).build().expect("built");
        assert_eq!(with.coinbase().outputs_count, 1);
        assert_ne!(with.coinbase().outputs, asked.coinbase().outputs);
    }

    /// A node's numbers are its own.
    #[test]
    fn fees_above_all_money_add_up_to_a_number() {
        let transactions = [1, 2].map(|n| Arc::new(Tx::new(&transaction(n, false), Some(u64::MAX), None)));
        let template = Parts { transactions: transactions.into(), ..parts(&[]) }.build().unwrap();
        assert_eq!(template.fees(), u64::MAX);
    }

    /// D-TDP-6
    #[test]
    fn transactions_give_way_to_the_clients_outputs_with_their_fees() {
        let transactions = [transaction(1, true), transaction(2, true), transaction(3, true)];
        let each = transactions[0].weight().to_wu();
        let room_for = |count: u64| {
            let coinbase = 4 * (80 + 5 + 4 + 1 + 36 + 1 + 100 + 4 + 5 + 47 + 4 + 100) + 36;
            let parts = Parts { weight_limit: coinbase + count * each, ..parts(&transactions) };
            parts.build().map(|template| (template.parts.transactions.len(), template.parts.value, template.fees()))
        };
        assert_eq!(room_for(3), Ok((3, 10_000, 300)));
        assert_eq!(room_for(2), Ok((2, 9_900, 200)));
        assert_eq!(room_for(0), Ok((0, 9_700, 0)));
        let none = Parts { weight_limit: 1_000, ..parts(&transactions) };
        assert_eq!(none.build().err(), Some(Unbuildable::NoRoom));
        let mut unknown = Parts { sigops_limit: 400 + 4, ..parts(&[]) };
        let signature_checks = Transaction {
            output: vec![TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(vec![0xac, 0xac]) }],
            ..transaction(1, false)
        };
        unknown.transactions = vec![Arc::new(Tx::new(&signature_checks, None, None))];
        assert_eq!(unknown.clone().build().err(), Some(Unbuildable::UnknownFee));
        unknown.sigops_limit = 400 + 8;
        assert_eq!(unknown.clone().build().map(|template| template.parts.transactions.len()).ok(), Some(1));
        // 101 legacy operations cost more than what is reserved anyway.
        unknown.room.max_additional_sigops = 101;
        assert_eq!(unknown.build().err(), Some(Unbuildable::UnknownFee));
    }

    #[test]
    fn the_script_begins_with_the_height_and_holds_more_where_it_fits() {
        let prefix = |height, extra: &[u8]| {
            let template = Parts { height, script_extra: extra.to_vec(), ..parts(&[]) }.build().expect("built");
            template.coinbase().script_prefix.to_vec()
        };
        assert_eq!(prefix(1, &[]), [0x51]);
        assert_eq!(prefix(16, &[]), [0x60]);
        assert_eq!(prefix(17, &[]), [1, 17]);
        assert_eq!(prefix(128, &[]), [2, 128, 0]);
        assert_eq!(prefix(500, &[7, 7]), [2, 0xf4, 1, 2, 7, 7]);
        assert_eq!(prefix(500, &[7; 5]), [2, 0xf4, 1], "nine bytes are too many");
        assert_eq!(prefix(16_777_215, &[]), [4, 0xff, 0xff, 0xff, 0]);
    }

    #[test]
    fn the_time_alone_makes_no_new_work() {
        let one = parts(&[transaction(1, true)]).build().expect("built");
        let later = Parts { id: 2, time: 1_800_000_060, ..one.parts.clone() }.build().expect("built");
        assert!(one.is_same_work(&later));
        assert!(!one.is_same_work(&parts(&[transaction(2, true)]).build().expect("built")));
        assert!(!one.is_same_work(&Parts { prev_hash: [1; 32], ..one.parts.clone() }.build().expect("built")));
    }
}
