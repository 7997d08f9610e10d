//! The symmetric half of Noise (framework §5.2, `SymmetricState`), generic over hash and cipher, so that every suite uses it.

use core::marker::PhantomData;

use super::cipher_state::{CipherState, CipherStateError};
use crate::crypto::{Aead, Cipher, Hash, Secret, TAG_LEN};

/// Chaining key (whose derivation, framework §4.3, is HKDF), handshake hash and, once a key exchange took place, the handshake's cipher key.
pub(crate) struct Symmetric<H, A> {
    chaining_key: Secret,
    hash: [u8; 32],
    key: Option<CipherState<A>>,
    cipher: Cipher,
    suite: PhantomData<fn() -> H>,
}

impl<H: Hash, A: Aead> Symmetric<H, A> {
    /// Starts from what stands for the protocol's name, and the prologue, which comes in parts.
    pub(crate) fn new(name: [u8; 32], cipher: Cipher, prologue: &[&[u8]]) -> Self {
        let mut symmetric = Self::blank();
        symmetric.start(name, cipher, prologue);
        symmetric
    }

    /// The place of one, for [`start`](Self::start).
    pub(crate) const fn blank() -> Self {
        let chaining_key = Secret::from_bytes([0; 32]);
        Self { chaining_key, hash: [0; 32], key: None, cipher: Cipher::ChaChaPoly, suite: PhantomData }
    }

    /// As [`new`](Self::new), in place; once.
    pub(crate) fn start(&mut self, name: [u8; 32], cipher: Cipher, prologue: &[&[u8]]) {
        self.cipher = cipher;
        self.chaining_key = Secret::from_bytes(name);
        self.hash = H::digest(core::iter::once(name.as_slice()).chain(prologue.iter().copied()));
    }

    /// `MixHash(data)`.
    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = H::digest(&[self.hash.as_slice(), data][..]);
    }

    /// `MixKey(input)`: a new chaining key and a fresh cipher key. Fails when the provider lacks the cipher.
    pub(crate) fn mix_key(&mut self, input: &Secret) -> Result<(), CipherStateError> {
        let (chaining_key, key) = H::hkdf(self.chaining_key.expose(), input.expose());
        self.chaining_key = chaining_key;
        self.key = Some(CipherState::new(self.cipher, key.expose()).ok_or(CipherStateError::Crypto)?);
        Ok(())
    }

    /// `EncryptAndHash` in place. Before the first key the text goes as it is and the tag is not used: returns its length.
    pub(crate) fn encrypt_and_hash(
        &mut self,
        text: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<usize, CipherStateError> {
        let Some(key) = &mut self.key else {
            self.mix_hash(text);
            return Ok(0);
        };
        key.encrypt(&self.hash, text, tag)?;
        self.hash = H::digest(&[self.hash.as_slice(), text, tag][..]);
        Ok(TAG_LEN)
    }

    /// `DecryptAndHash` in place, for use after the first key.
    pub(crate) fn decrypt_and_hash(&mut self, text: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CipherStateError> {
        let hash = H::digest(&[self.hash.as_slice(), text, tag][..]);
        self.key.as_mut().ok_or(CipherStateError::Crypto)?.decrypt(&self.hash, text, tag)?;
        self.hash = hash;
        Ok(())
    }

    /// `Split()`: the keys initiator to responder and responder to initiator, and the final hash.
    pub(crate) fn split(&self) -> Result<Split<A>, CipherStateError> {
        let (first, second) = H::hkdf(self.chaining_key.expose(), &[]);
        let state = |key: &Secret| CipherState::new(self.cipher, key.expose()).ok_or(CipherStateError::Crypto);
        Ok(Split {
            initiator_to_responder: state(&first)?,
            responder_to_initiator: state(&second)?,
            handshake_hash: self.hash,
        })
    }

    #[cfg(test)]
    pub(crate) fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

/// What a finished handshake splits into (Noise framework, `Split()`).
pub struct Split<A> {
    /// For messages of the initiator.
    pub initiator_to_responder: CipherState<A>,
    /// For messages of the responder.
    pub responder_to_initiator: CipherState<A>,
    /// The handshake hash.
    pub handshake_hash: [u8; 32],
}
