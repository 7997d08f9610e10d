//! One key: the pool pays to it, and what it was paid is spent again.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, SighashCache};
use bitcoin::transaction::Version;
use bitcoin::{
    Address, Amount, CompressedPublicKey, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
    ecdsa,
};

/// What each transaction pays.
pub(crate) const FEE: Amount = Amount::from_sat(10_000);

pub(crate) struct Wallet {
    secp: Secp256k1<All>,
    secret: SecretKey,
    public: CompressedPublicKey,
}

impl Wallet {
    pub(crate) fn new() -> Self {
        let secp = Secp256k1::new();
        let secret = SecretKey::from_slice(&[0x0a; 32]).unwrap();
        let public = CompressedPublicKey(secret.public_key(&secp));
        Self { secp, secret, public }
    }

    pub(crate) fn address(&self) -> String {
        Address::p2wpkh(&self.public, Network::Regtest).to_string()
    }

    pub(crate) fn script(&self) -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&self.public.wpubkey_hash())
    }

    /// Spends the first output of each of these, which must pay to the key, to the key again; the inputs are signed.
    pub(crate) fn spend(&self, spent: &[&Transaction]) -> Transaction {
        let outputs: Vec<&TxOut> = spent.iter().map(|transaction| &transaction.output[0]).collect();
        let sum: Amount = outputs.iter().map(|output| output.value).sum();
        let input = spent.iter().map(|transaction| TxIn {
            previous_output: OutPoint { txid: transaction.compute_txid(), vout: 0 },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        });
        let mut transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: input.collect(),
            output: vec![TxOut { value: sum - FEE, script_pubkey: self.script() }],
        };
        let witnesses: Vec<_> = outputs
            .iter()
            .enumerate()
            .map(|(index, output)| {
                let hash = SighashCache::new(&transaction)
                    .p2wpkh_signature_hash(index, &output.script_pubkey, output.value, EcdsaSighashType::All)
                    .unwrap();
                let signature = self.secp.sign_ecdsa(&Message::from_digest(hash.to_byte_array()), &self.secret);
                Witness::p2wpkh(&ecdsa::Signature::sighash_all(signature), &self.public.0)
            })
            .collect();
        for (input, witness) in transaction.input.iter_mut().zip(witnesses) {
            input.witness = witness;
        }
        transaction
    }
}
