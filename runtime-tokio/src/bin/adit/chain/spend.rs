//! The right to spend an output: P2WPKH (BIP143) and P2TR key paths (BIP341), which is all that this chain's own transactions use.
//!
//! Anything else is refused: an output that cannot be checked must not be spendable. Where consensus is laxer than what wallets
//! make (hash types that no wallet uses, uncompressed keys in P2WPKH), this is stricter.

use bitcoin::secp256k1::{Message, Secp256k1, VerifyOnly};
use bitcoin::sighash::{Prevouts, SighashCache, TapSighashType};
use bitcoin::{CompressedPublicKey, Transaction, TxOut, XOnlyPublicKey, ecdsa, taproot};

use super::error::ScriptError;

/// Checks every input of `tx`; `spent` are the outputs that they spend, in their order. On failure says which input.
pub(super) fn verify(
    secp: &Secp256k1<VerifyOnly>,
    tx: &Transaction,
    spent: &[TxOut],
) -> Result<(), (usize, ScriptError)> {
    let mut cache = SighashCache::new(tx);
    for (index, (input, output)) in tx.input.iter().zip(spent).enumerate() {
        let result = if !input.script_sig.is_empty() {
            Err(ScriptError::ScriptSig)
        } else if output.script_pubkey.is_p2wpkh() {
            p2wpkh(secp, &mut cache, index, output)
        } else if output.script_pubkey.is_p2tr() {
            p2tr(secp, &mut cache, index, spent)
        } else {
            Err(ScriptError::Unsupported)
        };
        result.map_err(|error| (index, error))?;
    }
    Ok(())
}

fn p2wpkh(
    secp: &Secp256k1<VerifyOnly>,
    cache: &mut SighashCache<&Transaction>,
    index: usize,
    output: &TxOut,
) -> Result<(), ScriptError> {
    let witness = &cache.transaction().input[index].witness;
    let (2, Some(signature), Some(key)) = (witness.len(), witness.nth(0), witness.nth(1)) else {
        return Err(ScriptError::Items(witness.len()));
    };
    let key = CompressedPublicKey::from_slice(key).map_err(|_| ScriptError::PublicKey)?;
    let mut signature = ecdsa::Signature::from_slice(signature).map_err(|_| ScriptError::SignatureForm)?;
    if bitcoin::ScriptBuf::new_p2wpkh(&key.wpubkey_hash()) != output.script_pubkey {
        return Err(ScriptError::PublicKey);
    }
    let hash = cache
        .p2wpkh_signature_hash(index, &output.script_pubkey, output.value, signature.sighash_type)
        .map_err(|_| ScriptError::Unsupported)?;
    // Consensus accepts both forms of a signature, the library only the lower one.
    signature.signature.normalize_s();
    secp.verify_ecdsa(&Message::from(hash), &signature.signature, &key.0).map_err(|_| ScriptError::Signature)
}

fn p2tr(
    secp: &Secp256k1<VerifyOnly>,
    cache: &mut SighashCache<&Transaction>,
    index: usize,
    spent: &[TxOut],
) -> Result<(), ScriptError> {
    let witness = &cache.transaction().input[index].witness;
    // More items are a script path or an annex.
    let (1, Some(signature)) = (witness.len(), witness.nth(0)) else {
        return Err(if witness.is_empty() { ScriptError::Items(0) } else { ScriptError::Unsupported });
    };
    let explicit = signature.len() == 65;
    let signature = taproot::Signature::from_slice(signature).map_err(|_| ScriptError::SignatureForm)?;
    // The default hash type has no byte: writing it out would make two encodings of one signature.
    if explicit && signature.sighash_type == TapSighashType::Default {
        return Err(ScriptError::SignatureForm);
    }
    let program = spent.get(index).and_then(|output| output.script_pubkey.as_bytes().get(2..));
    let key = XOnlyPublicKey::from_slice(program.unwrap_or_default()).map_err(|_| ScriptError::PublicKey)?;
    let hash = cache
        .taproot_key_spend_signature_hash(index, &Prevouts::All(spent), signature.sighash_type)
        .map_err(|_| ScriptError::SignatureForm)?;
    secp.verify_schnorr(&signature.signature, &Message::from(hash), &key).map_err(|_| ScriptError::Signature)
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::hashes::Hash;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, Txid, Witness};

    use super::super::keyring::Keyring;
    use super::*;

    fn signed(keyring: &Keyring, outputs: &[TxOut]) -> Transaction {
        let input = |number: usize| TxIn {
            previous_output: OutPoint { txid: Txid::from_byte_array([7; 32]), vout: number as u32 },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        let mut tx = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: (0..outputs.len()).map(input).collect(),
            output: vec![TxOut { value: Amount::from_sat(5), script_pubkey: keyring.script(3).clone() }],
        };
        keyring.sign(&mut tx, outputs);
        tx
    }

    fn check(tx: &Transaction, spent: &[TxOut]) -> Result<(), (usize, ScriptError)> {
        verify(&Secp256k1::verification_only(), tx, spent)
    }

    fn setup() -> (Transaction, Vec<TxOut>) {
        let keyring = Keyring::new(&[1; 32]);
        let outputs: Vec<TxOut> = (0..4)
            .map(|key| TxOut {
                value: Amount::from_sat(1_000 + key as u64),
                script_pubkey: keyring.script(key).clone(),
            })
            .collect();
        assert!(outputs[0].script_pubkey.is_p2wpkh() && outputs[1].script_pubkey.is_p2tr());
        (signed(&keyring, &outputs), outputs)
    }

    #[test]
    fn own_signatures_of_both_kinds_are_right() {
        let (tx, spent) = setup();
        assert_eq!(check(&tx, &spent), Ok(()));
    }

    #[test]
    fn every_flipped_bit_of_a_witness_is_seen() {
        let (tx, spent) = setup();
        for index in 0..tx.input.len() {
            let items = tx.input[index].witness.to_vec();
            for (item, bytes) in items.iter().enumerate() {
                for bit in 0..bytes.len() * 8 {
                    let mut changed = items.clone();
                    changed[item][bit / 8] ^= 1 << (bit % 8);
                    let mut tx = tx.clone();
                    tx.input[index].witness = Witness::from_slice(&changed);
                    let refused = check(&tx, &spent).expect_err("a changed witness");
                    assert_eq!(refused.0, index, "item {item}, bit {bit}: {refused:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_signed_cannot_change() {
        let (tx, spent) = setup();
        let mut other = tx.clone();
        other.output[0].value = Amount::from_sat(6);
        assert_eq!(check(&other, &spent), Err((0, ScriptError::Signature)));
        let mut other = tx.clone();
        other.input[2].previous_output.vout = 9;
        assert_eq!(check(&other, &spent), Err((0, ScriptError::Signature)));
        let mut richer = spent.clone();
        richer[1].value = Amount::from_sat(7);
        assert_eq!(check(&tx, &richer), Err((1, ScriptError::Signature)), "P2WPKH signs its own value, P2TR all");
    }

    #[test]
    fn other_forms_are_refused_by_name() {
        let (tx, spent) = setup();
        let with = |index: usize, change: &dyn Fn(&mut TxIn)| {
            let mut tx = tx.clone();
            change(&mut tx.input[index]);
            check(&tx, &spent).expect_err("refused").1
        };
        assert_eq!(with(0, &|input| input.script_sig = ScriptBuf::from_bytes(vec![0x51])), ScriptError::ScriptSig);
        assert_eq!(with(0, &|input| input.witness = Witness::new()), ScriptError::Items(0));
        assert_eq!(with(0, &|input| input.witness.push([1])), ScriptError::Items(3));
        assert_eq!(with(1, &|input| input.witness = Witness::new()), ScriptError::Items(0));
        assert_eq!(with(1, &|input| input.witness.push([0x50])), ScriptError::Unsupported);
        let explicit = |input: &mut TxIn| {
            let mut signature = input.witness.nth(0).expect("signed").to_vec();
            signature.push(0);
            input.witness = Witness::from_slice(&[signature]);
        };
        assert_eq!(with(1, &explicit), ScriptError::SignatureForm);
        let mut legacy = spent.clone();
        legacy[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
        assert_eq!(check(&tx, &legacy), Err((0, ScriptError::Unsupported)));
        let other_key = Keyring::new(&[2; 32]);
        let mut others = spent.clone();
        others[0].script_pubkey = other_key.script(0).clone();
        assert_eq!(check(&tx, &others), Err((0, ScriptError::PublicKey)));
    }
}
