//! From `getblocktemplate`'s answer (BIP22, 23, 9, 145) to a template's parts. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use adit::mining::target::Target;
use adit::template::Constraints;
use bitcoin::Transaction;
use bitcoin::consensus;
use serde::Deserialize;

use super::error::BadTemplate;
use crate::source::{Parts, Template, Tx};

/// Rules that a node may demand (`!name`) and that are kept here. `segwit` is the only one that shows in a block's form; the others are
/// rules for transactions, which the node chooses.
const KNOWN_RULES: [&str; 6] = ["segwit", "csv", "taproot", "bip34", "bip65", "bip66"];

/// Highest weight of a block (BIP141), and its highest size before.
const MAX_WEIGHT: u64 = 4_000_000;
const MAX_SIZE: u64 = 1_000_000;
/// What a byte of size and a legacy signature operation cost.
const WITNESS_SCALE: u64 = 4;
/// Highest cost of signature operations (BIP141).
const MAX_SIGOPS_COST: u64 = 80_000;

/// The answer, as far as it is used. Numbers that no block can have fail to parse.
#[derive(Deserialize)]
pub(super) struct BlockTemplate<'a> {
    /// A signed number for Bitcoin Core, an unsigned one for others: see [`header_version`].
    version: i64,
    #[serde(default, borrow)]
    rules: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    previousblockhash: Cow<'a, str>,
    #[serde(borrow)]
    transactions: Vec<TemplateTx<'a>>,
    #[serde(default, borrow)]
    coinbaseaux: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    coinbasevalue: Option<u64>,
    #[serde(default, borrow)]
    longpollid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    target: Cow<'a, str>,
    mintime: u32,
    curtime: u32,
    #[serde(borrow)]
    bits: Cow<'a, str>,
    height: u32,
    sigoplimit: Option<u64>,
    sizelimit: Option<u64>,
    weightlimit: Option<u64>,
    #[serde(default, borrow)]
    default_witness_commitment: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    signet_challenge: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct TemplateTx<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    /// Without witness; left out by nodes from before segwit.
    #[serde(default, borrow)]
    txid: Option<Cow<'a, str>>,
    /// With witness.
    #[serde(borrow)]
    hash: Cow<'a, str>,
    /// Places of its parents, from 1.
    #[serde(default)]
    depends: Vec<usize>,
    fee: Option<u64>,
    sigops: Option<u64>,
}

/// What a node offered: all that a template needs but its id and the room for the client.
#[derive(Debug)]
pub(super) struct Offer {
    /// `id` and `room` are zero: see [`Offer::build`].
    pub(super) parts: Parts,
    /// What to ask with for the next one; none when the node does no long polling.
    pub(super) long_poll_id: Option<String>,
    /// The script that commits to the witnesses, as the node computed it for all of its transactions.
    commitment: Option<Vec<u8>>,
}

/// Transactions of the last offer, so that the next one needs not hash the same ones again: by `hash`, as the node writes it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    transactions: HashMap<String, Arc<Tx>>,
    /// Signature operations are counted in another unit before segwit.
    segwit: bool,
}

/// 32 bytes that people and nodes write highest byte first.
fn reversed_hex(field: &'static str, text: &str) -> Result<[u8; 32], BadTemplate> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| BadTemplate::Hex(field))?;
    bytes.reverse();
    Ok(bytes)
}

fn hex_of(field: &'static str, text: &str) -> Result<Vec<u8>, BadTemplate> {
    hex::decode(text).map_err(|_| BadTemplate::Hex(field))
}

/// A header's version out of a JSON number, signed or not.
fn header_version(number: i64) -> Result<u32, BadTemplate> {
    u32::try_from(number)
        .or_else(|_| i32::try_from(number).map(i32::cast_unsigned))
        .map_err(|_| BadTemplate::Hex("version"))
}

impl BlockTemplate<'_> {
    /// Checks it and reads its transactions, those of `seen` excepted.
    pub(super) fn offer(&self, seen: &mut Seen) -> Result<Offer, BadTemplate> {
        self.check_rules()?;
        let segwit = self.is_segwit();
        let scale = if segwit { 1 } else { WITNESS_SCALE };
        let nbits = u32::from_str_radix(&self.bits, 16).map_err(|_| BadTemplate::Hex("bits"))?;
        let target = Target::from_le_bytes(reversed_hex("target", &self.target)?);
        if target > Target::from_nbits(nbits).map_err(BadTemplate::Bits)? {
            return Err(BadTemplate::Target);
        }
        let mut script_extra = vec![];
        for value in self.coinbaseaux.values() {
            script_extra.extend(hex_of("coinbaseaux", value)?);
        }
        let commitment = self.default_witness_commitment.as_deref().filter(|_| segwit);
        let commitment = commitment.map(|script| hex_of("default_witness_commitment", script)).transpose()?;
        let parts = Parts {
            id: 0,
            height: self.height,
            version: header_version(self.version)?,
            prev_hash: reversed_hex("previousblockhash", &self.previousblockhash)?,
            nbits,
            target,
            time: self.curtime.max(self.mintime),
            value: self.coinbasevalue.ok_or(BadTemplate::NoCoinbaseValue)?,
            script_extra,
            transactions: self.transactions(seen, segwit, scale)?,
            witness: segwit,
            weight_limit: if segwit {
                self.weightlimit.unwrap_or(MAX_WEIGHT)
            } else {
                self.sizelimit.unwrap_or(MAX_SIZE).min(MAX_SIZE) * WITNESS_SCALE
            },
            sigops_limit: self.sigoplimit.map_or(MAX_SIGOPS_COST, |limit| limit.saturating_mul(scale)),
            room: Constraints::default(),
        };
        Ok(Offer { parts, long_poll_id: self.longpollid.as_deref().map(Into::into), commitment })
    }

    fn check_rules(&self) -> Result<(), BadTemplate> {
        let mut demanded = self.rules.iter().flatten().filter_map(|rule| rule.strip_prefix('!'));
        // A signet names itself among the rules. One whose challenge is OP_TRUE takes unsigned blocks.
        if self.signet_challenge.as_deref().is_some_and(|challenge| challenge != "51") {
            return Err(BadTemplate::Signet);
        }
        let open_signet = self.signet_challenge.is_some();
        if demanded.any(|rule| !(KNOWN_RULES.contains(&rule) || (rule == "signet" && open_signet))) {
            return Err(BadTemplate::UnknownRule);
        }
        Ok(())
    }

    /// Whether the block may have witnesses. A commitment alone says nothing: bcoin sends one before segwit is active too.
    fn is_segwit(&self) -> bool {
        match &self.rules {
            Some(rules) => rules.iter().any(|rule| rule == "segwit" || rule == "!segwit"),
            None => self.default_witness_commitment.is_some() && self.weightlimit.is_some(),
        }
    }

    fn transactions(&self, seen: &mut Seen, segwit: bool, scale: u64) -> Result<Vec<Arc<Tx>>, BadTemplate> {
        let mut last = std::mem::take(seen);
        if last.segwit != segwit {
            last.transactions.clear();
        }
        let mut transactions = Vec::with_capacity(self.transactions.len());
        let mut kept = HashMap::with_capacity(self.transactions.len());
        for (at, entry) in (1..).zip(&self.transactions) {
            if entry.depends.iter().any(|parent| *parent >= at || *parent == 0) {
                return Err(BadTemplate::Order(at));
            }
            let bytes = hex::decode(&*entry.data).map_err(|_| BadTemplate::Transaction(at))?;
            let same = last.transactions.remove(&*entry.hash).filter(|tx| tx.bytes == bytes && tx.fee == entry.fee);
            let tx = match same {
                Some(tx) => tx,
                None => Arc::new(entry.read(at, &bytes, segwit, scale)?),
            };
            kept.insert(entry.hash.clone().into_owned(), Arc::clone(&tx));
            transactions.push(tx);
        }
        *seen = Seen { transactions: kept, segwit };
        Ok(transactions)
    }
}

impl TemplateTx<'_> {
    fn read(&self, at: usize, bytes: &[u8], segwit: bool, scale: u64) -> Result<Tx, BadTemplate> {
        let tx: Transaction = consensus::deserialize(bytes).map_err(|_| BadTemplate::Transaction(at))?;
        if !segwit && tx.input.iter().any(|input| !input.witness.is_empty()) {
            return Err(BadTemplate::Witness(at));
        }
        let says = |text: &str, id: String| text.eq_ignore_ascii_case(&id);
        let is_same = says(&self.hash, tx.compute_wtxid().to_string())
            && self.txid.as_ref().is_none_or(|txid| says(txid, tx.compute_txid().to_string()));
        if !is_same {
            return Err(BadTemplate::Id(at));
        }
        Ok(Tx::new(&tx, self.fee, self.sigops.map(|sigops| sigops.saturating_mul(scale))))
    }
}

impl Offer {
    /// The template of this id that leaves `room` to the client's outputs.
    pub(super) fn build(&self, id: u64, room: Constraints) -> Result<Template, BadTemplate> {
        let template = Parts { id, room, ..self.parts.clone() }.build().map_err(BadTemplate::Unbuildable)?;
        let is_whole = template.parts.transactions.len() == self.parts.transactions.len();
        if let (true, Some(script)) = (is_whole, &self.commitment) {
            // Value, length and script of the only output.
            if template.coinbase().outputs.get(9..) != Some(script) {
                return Err(BadTemplate::Commitment);
            }
        }
        Ok(template)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bitcoin::{ScriptBuf, Sequence, TxIn, TxOut, Witness, absolute, transaction};
    use serde_json::{Value, json};

    use super::*;

    /// A transaction that differs from others by `number`.
    pub(in super::super) fn transaction(number: u8, witness: bool) -> Transaction {
        let mut items = Witness::new();
        if witness {
            items.push([number; 64]);
        }
        let previous_output = bitcoin::OutPoint { txid: "11".repeat(32).parse().unwrap(), vout: u32::from(number) };
        Transaction {
            version: transaction::Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: vec![TxIn {
                previous_output,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: items,
            }],
            output: vec![TxOut {
                value: bitcoin::Amount::from_sat(1_000),
                script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
            }],
        }
    }

    /// Room for outputs of this size.
    pub(in super::super) fn room(size: u32) -> Constraints {
        Constraints { max_additional_size: size, max_additional_sigops: 0 }
    }

    pub(in super::super) fn entry(tx: &Transaction) -> Value {
        json!({
            "data": hex::encode(consensus::serialize(tx)), "txid": tx.compute_txid().to_string(), "hash": tx.compute_wtxid().to_string(),
            "depends": [], "fee": 100, "sigops": 4, "weight": tx.weight().to_wu(),
        })
    }

    /// As Bitcoin Core answers on regtest, above the block with the hash `prev` (as nodes write it).
    pub(in super::super) fn answer(prev: &str, transactions: &[Transaction]) -> Value {
        json!({
            "capabilities": ["proposal"], "version": 536_870_912, "rules": ["csv", "!segwit", "taproot"], "vbavailable": {},
            "vbrequired": 0, "previousblockhash": prev, "transactions": transactions.iter().map(entry).collect::<Vec<_>>(),
            "coinbaseaux": {}, "coinbasevalue": 5_000_000_000_u64, "longpollid": format!("{prev}{}", transactions.len()),
            "target": format!("7fffff{}", "0".repeat(58)), "mintime": 1_800_000_000, "mutable": ["time", "transactions", "prevblock"],
            "noncerange": "00000000ffffffff", "sigoplimit": 80_000, "sizelimit": 4_000_000, "weightlimit": 4_000_000,
            "curtime": 1_800_000_100, "bits": "207fffff", "height": 500,
        })
    }

    pub(in super::super) fn prev(number: u8) -> String {
        format!("{}{number:02x}", "0".repeat(62))
    }

    fn offer(answer: &Value) -> Result<Offer, BadTemplate> {
        let text = answer.to_string();
        serde_json::from_str::<BlockTemplate<'_>>(&text).expect("an answer").offer(&mut Seen::default())
    }

    fn with(answer: &Value, field: &str, value: Value) -> Value {
        let mut answer = answer.clone();
        answer[field] = value;
        answer
    }

    /// D-TDP-14: transactions with their witnesses, which is how they are handed on.
    #[test]
    fn every_field_arrives() {
        let transactions = [transaction(1, false), transaction(2, true)];
        let mut answer = answer(&prev(0xab), &transactions);
        // What these two transactions commit to.
        let expected = offer(&answer).unwrap().build(7, room(100)).unwrap();
        let script = hex::encode(&expected.coinbase().outputs[9..]);
        assert!(script.starts_with("6a24aa21a9ed"), "{script}");
        answer["default_witness_commitment"] = script.into();
        answer["coinbaseaux"] = json!({ "flags": "0102" });
        let template = offer(&answer).unwrap().build(7, room(100)).unwrap();
        let parts = &template.parts;
        assert_eq!((parts.id, parts.room.max_additional_size, parts.height, parts.version), (7, 100, 500, 0x2000_0000));
        assert_eq!((parts.prev_hash[0], parts.prev_hash[31]), (0xab, 0));
        assert_eq!((parts.time, parts.nbits), (1_800_000_100, 0x207f_ffff));
        assert_eq!(Ok(parts.target), Target::from_nbits(0x207f_ffff));
        assert_eq!((parts.value, parts.weight_limit, parts.sigops_limit), (5_000_000_000, 4_000_000, 80_000));
        assert_eq!(parts.script_extra, [1, 2]);
        assert_eq!(parts.transactions[1].bytes, consensus::serialize(&transactions[1]));
        assert_eq!(template.fees(), 200);
        assert!(parts.witness);
    }

    /// As bcoin answers on regtest before height 432: legacy limits and units, and a commitment that must not be used.
    #[test]
    fn before_segwit_there_is_no_commitment_and_limits_are_legacy() {
        let mut answer = answer(&prev(1), &[transaction(1, false)]);
        answer["rules"] = json!([]);
        answer["sigoplimit"] = json!(20_000);
        answer["sizelimit"] = json!(1_000_000);
        answer["weightlimit"] = Value::Null;
        answer["default_witness_commitment"] = format!("6a24aa21a9ed{}", "e2".repeat(32)).into();
        answer["coinbaseaux"] = json!({ "flags": hex::encode("mined by bcoin") });
        let template = offer(&answer).unwrap().build(1, room(0)).unwrap();
        assert_eq!((template.parts.weight_limit, template.parts.sigops_limit), (4_000_000, 80_000));
        assert_eq!(template.coinbase().outputs_count, 0);
        assert_eq!(template.coinbase().script_prefix, [2, 0xf4, 1], "flags that do not fit are left out");
        answer["transactions"] = json!([entry(&transaction(1, true))]);
        assert_eq!(offer(&answer).err(), Some(BadTemplate::Witness(1)));
        answer.as_object_mut().unwrap().remove("rules");
        assert_eq!(
            offer(&answer).err(),
            Some(BadTemplate::Witness(1)),
            "nodes without BIP9: a weight limit means segwit"
        );
        answer["weightlimit"] = json!(4_000_000);
        answer["default_witness_commitment"] = Value::Null;
        assert_eq!(offer(&answer).err(), Some(BadTemplate::Witness(1)));
    }

    #[test]
    fn what_can_not_be_mined_is_refused_with_its_reason() {
        let (one, two) = (transaction(1, true), transaction(2, false));
        let good = answer(&prev(1), &[one.clone(), two.clone()]);
        assert!(offer(&good).is_ok());
        let entries = |change: fn(&mut Value)| {
            let mut list = json!([entry(&one), entry(&two)]);
            change(&mut list);
            with(&good, "transactions", list)
        };
        for (bad, why) in [
            (with(&good, "coinbasevalue", Value::Null), BadTemplate::NoCoinbaseValue),
            (with(&good, "signet_challenge", json!("5121")), BadTemplate::Signet),
            (with(&good, "rules", json!(["!segwit", "!blocks-of-cheese"])), BadTemplate::UnknownRule),
            (with(&good, "previousblockhash", json!("00")), BadTemplate::Hex("previousblockhash")),
            (with(&good, "target", json!("7f")), BadTemplate::Hex("target")),
            (with(&good, "target", json!("f".repeat(64))), BadTemplate::Target),
            (with(&good, "bits", json!("zz")), BadTemplate::Hex("bits")),
            (with(&good, "version", json!(1_u64 << 40)), BadTemplate::Hex("version")),
            (with(&good, "coinbaseaux", json!({ "flags": "0" })), BadTemplate::Hex("coinbaseaux")),
            (entries(|list| list[0]["depends"] = json!([2])), BadTemplate::Order(1)),
            (entries(|list| list[1]["depends"] = json!([2])), BadTemplate::Order(2)),
            (entries(|list| list[1]["depends"] = json!([0])), BadTemplate::Order(2)),
            (entries(|list| list[1]["data"] = json!("0200")), BadTemplate::Transaction(2)),
            (entries(|list| list[1]["data"] = json!("x")), BadTemplate::Transaction(2)),
            (entries(|list| list[0]["hash"] = list[0]["txid"].clone()), BadTemplate::Id(1)),
            (entries(|list| list[0]["txid"] = list[0]["hash"].clone()), BadTemplate::Id(1)),
        ] {
            assert_eq!(offer(&bad).err(), Some(why), "{why}");
        }
        assert!(matches!(offer(&with(&good, "bits", json!("20ffffff"))), Err(BadTemplate::Bits(_))));
        let wrong = with(&good, "default_witness_commitment", json!("6a24"));
        assert_eq!(offer(&wrong).unwrap().build(1, room(0)).err(), Some(BadTemplate::Commitment));
        assert!(offer(&with(&good, "signet_challenge", json!("51"))).is_ok());
        assert!(offer(&entries(|list| list[1]["depends"] = json!([1]))).is_ok());
    }

    #[test]
    fn versions_may_be_signed() {
        for (number, version) in [(-1, u32::MAX), (0x2000_0000, 0x2000_0000), (0xe000_0000, 0xe000_0000)] {
            assert_eq!(header_version(number), Ok(version));
        }
    }

    #[test]
    fn transactions_are_read_once_unless_something_about_them_changed() {
        let (one, two) = (transaction(1, true), transaction(2, false));
        let mut seen = Seen::default();
        let mut read = |answer: &Value| {
            let text = answer.to_string();
            serde_json::from_str::<BlockTemplate<'_>>(&text).unwrap().offer(&mut seen).unwrap().parts.transactions
        };
        let first = read(&answer(&prev(1), std::slice::from_ref(&one)));
        let second = read(&answer(&prev(1), &[two, one]));
        assert!(Arc::ptr_eq(&first[0], &second[1]));
        let mut dearer = answer(&prev(1), &[transaction(1, true)]);
        dearer["transactions"][0]["fee"] = json!(101);
        assert!(!Arc::ptr_eq(&read(&dearer)[0], &first[0]));
    }

    proptest::proptest! {
        /// No answer of a node can panic it, whatever it puts where.
        #[test]
        fn any_field_may_be_anything(
            field in proptest::sample::select(vec!["version", "rules", "target", "bits", "height", "coinbasevalue", "mintime", "sigoplimit",
                "sizelimit", "weightlimit", "transactions", "coinbaseaux", "previousblockhash", "default_witness_commitment"]),
            number in proptest::prelude::any::<i64>(),
            text in "[0-9a-f]{0,80}",
            as_number in proptest::prelude::any::<bool>(),
        ) {
            let value = if as_number { json!(number) } else { json!(text) };
            let text = with(&answer(&prev(1), &[transaction(1, true)]), field, value).to_string();
            if let Ok(read) = serde_json::from_str::<BlockTemplate<'_>>(&text)
                && let Ok(offer) = read.offer(&mut Seen::default())
            {
                let _built = offer.build(1, room(u32::MAX));
                let _built = offer.build(1, room(0));
            }
        }
    }
}
