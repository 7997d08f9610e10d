//! The keys that own what the embedded chain mined before anyone came. Made of a public seed: nothing of value may ever be sent to them.

use std::collections::HashMap;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::key::{TapTweak, TweakedKeypair};
use bitcoin::secp256k1::{All, Keypair, Message, Secp256k1, SecretKey};
use bitcoin::sighash::{EcdsaSighashType, Prevouts, SighashCache, TapSighashType};
use bitcoin::{CompressedPublicKey, ScriptBuf, Transaction, TxOut, Witness, ecdsa, taproot};

/// Keys in a ring: those with an even number are spent as P2WPKH, the others as P2TR key paths.
const KEYS: usize = 8;

enum Key {
    Wpkh(SecretKey, CompressedPublicKey),
    Taproot(TweakedKeypair),
}

pub(super) struct Keyring {
    secp: Secp256k1<All>,
    keys: Vec<(ScriptBuf, Key)>,
    by_script: HashMap<ScriptBuf, usize>,
}

impl Keyring {
    /// The same seed gives the same keys, and they the same signatures.
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let secp = Secp256k1::new();
        let keys: Vec<_> = (0..KEYS).map(|number| key(&secp, seed, number)).collect();
        let by_script = keys.iter().enumerate().map(|(number, (script, _))| (script.clone(), number)).collect();
        Self { secp, keys, by_script }
    }

    /// Script of a key; numbers wrap.
    pub(super) fn script(&self, number: usize) -> &ScriptBuf {
        &self.keys[number % KEYS].0
    }

    /// Whether one of the keys can spend this.
    pub(super) fn owns(&self, script: &ScriptBuf) -> bool {
        self.by_script.contains_key(script)
    }

    /// Puts witnesses on every input whose output is one of ours; `spent` are the outputs in the inputs' order.
    pub(super) fn sign(&self, tx: &mut Transaction, spent: &[TxOut]) {
        let mut cache = SighashCache::new(&*tx);
        let mut witnesses = Vec::with_capacity(spent.len());
        for (index, output) in spent.iter().enumerate() {
            let key = self.by_script.get(&output.script_pubkey).and_then(|number| self.keys.get(*number));
            witnesses.push(match key {
                Some((script, Key::Wpkh(secret, public))) => cache
                    .p2wpkh_signature_hash(index, script, output.value, EcdsaSighashType::All)
                    .map(|hash| {
                        let signature = self.secp.sign_ecdsa(&Message::from(hash), secret);
                        Witness::p2wpkh(&ecdsa::Signature::sighash_all(signature), &public.0)
                    })
                    .ok(),
                Some((_, Key::Taproot(pair))) => cache
                    .taproot_key_spend_signature_hash(index, &Prevouts::All(spent), TapSighashType::Default)
                    .map(|hash| {
                        let signature = self.secp.sign_schnorr_no_aux_rand(&Message::from(hash), &pair.to_keypair());
                        let sighash_type = TapSighashType::Default;
                        Witness::p2tr_key_spend(&taproot::Signature { signature, sighash_type })
                    })
                    .ok(),
                None => None,
            });
        }
        for (input, witness) in tx.input.iter_mut().zip(witnesses) {
            input.witness = witness.unwrap_or_default();
        }
    }
}

fn key(secp: &Secp256k1<All>, seed: &[u8; 32], number: usize) -> (ScriptBuf, Key) {
    let secret = (0_u32..)
        .find_map(|attempt| {
            let mut engine = sha256::Hash::engine();
            engine.input(b"adit embedded chain");
            engine.input(seed);
            engine.input(&(number as u32).to_le_bytes());
            engine.input(&attempt.to_le_bytes());
            SecretKey::from_slice(sha256::Hash::from_engine(engine).as_byte_array()).ok()
        })
        // One number in 2^128 is no key: an attempt beyond the first is never seen.
        .expect("some number is a key");
    let pair = Keypair::from_secret_key(secp, &secret);
    if number.is_multiple_of(2) {
        let public = CompressedPublicKey(pair.public_key());
        (ScriptBuf::new_p2wpkh(&public.wpubkey_hash()), Key::Wpkh(secret, public))
    } else {
        let script = ScriptBuf::new_p2tr(secp, pair.x_only_public_key().0, None);
        (script, Key::Taproot(pair.tap_tweak(secp, None)))
    }
}
