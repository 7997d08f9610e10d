//! The symmetric half of Noise (framework §5.2, `SymmetricState`), generic over hash and cipher, so that every suite uses it.
//!
//! Both suites speak the NX pattern, in which every key but the last two takes one message. So no key is kept between messages: deriving it
//! and using it are one step, always with nonce 0.

use crate::crypto::undisclosed;
use core::marker::PhantomData;

use super::cipher_state::CipherState;
use crate::crypto::{Aead, Cipher, Hash, Secret, TAG_LEN};

/// Why a message of a handshake could not be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The provider has no such cipher, or failed.
    Provider,
    /// The tag does not match.
    Tag,
}

/// Chaining key (whose derivation, framework §4.3, is HKDF) and handshake hash.
pub(crate) struct Symmetric<H, A> {
    chaining_key: Secret,
    hash: [u8; 32],
    cipher: Cipher,
    suite: PhantomData<fn() -> (H, A)>,
}

impl<H: Hash, A: Aead> Symmetric<H, A> {
    /// The place of one, for [`start`](Self::start).
    pub(crate) const fn blank() -> Self {
        let chaining_key = Secret::from_bytes([0; 32]);
        Self { chaining_key, hash: [0; 32], cipher: Cipher::ChaChaPoly, suite: PhantomData }
    }

    /// Starts from what stands for the protocol's name, and the prologue, which comes in parts.
    pub(crate) fn start(&mut self, name: &[u8; 32], cipher: Cipher, prologue: &[&[u8]]) {
        self.cipher = cipher;
        self.chaining_key = Secret::from_bytes(*name);
        self.hash = *name;
        self.mix_hash(prologue);
    }

    /// `MixHash(data)`; the data comes in parts.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn mix_hash(&mut self, data: &[&[u8]]) {
        self.hash = H::digest(core::iter::once(self.hash.as_slice()).chain(data.iter().copied()));
    }

    /// `MixKey(input)`: a new chaining key, and a cipher key for one message. Before the first, the chaining key still is what stands for the name.
    fn mix_key(&mut self, first: bool, input: &Secret) -> Result<A, Broken> {
        let (salt, input) = (self.chaining_key.expose(), input.expose());
        let keys = if first { H::hkdf_known(salt, input) } else { H::hkdf(salt, input) };
        self.chaining_key = keys.0;
        A::new(self.cipher, keys.1.expose()).ok_or(Broken::Provider)
    }

    /// `MixKey(input)`, the `first` or a later one, then `EncryptAndHash` in place.
    pub(crate) fn seal(
        &mut self,
        first: bool,
        input: &Secret,
        text: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Broken> {
        let key = self.mix_key(first, input)?;
        key.seal_in_place(0, &self.hash, text, tag).map_err(|_| Broken::Provider)?;
        self.mix_hash(&[text, tag]);
        Ok(())
    }

    /// `MixKey(input)`, the `first` or a later one, then `DecryptAndHash` in place.
    pub(crate) fn open(
        &mut self,
        first: bool,
        input: &Secret,
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Broken> {
        let key = self.mix_key(first, input)?;
        let before = self.hash;
        self.mix_hash(&[text, tag]);
        key.open_in_place(0, &before, text, tag).map_err(|_| Broken::Tag)
    }

    /// `Split()`: the keys initiator to responder and responder to initiator, and the final hash. `None` when the provider lacks the cipher.
    #[inline]
    pub(crate) fn split(&self) -> Option<Split<A>> {
        // Not taken apart: moved keys would have to be wiped in two places.
        let keys = H::hkdf(self.chaining_key.expose(), &[]);
        Some(Split {
            initiator_to_responder: CipherState::new(self.cipher, keys.0.expose())?,
            responder_to_initiator: CipherState::new(self.cipher, keys.1.expose())?,
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

undisclosed!([A] Split<A>, "Split");
