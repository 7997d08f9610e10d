//! A cipher key with its message counter (Noise framework §5.1, `CipherState`).

use core::fmt;

use crate::crypto::{Aead, Cipher, CryptoError, TAG_LEN};

/// Why a cipher state refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CipherStateError {
    /// All 2^64 - 1 nonces of this key are used. There is no rekey: the connection has to end.
    Exhausted,
    /// The tag does not match, or the provider failed.
    Crypto,
}

impl From<CryptoError> for CipherStateError {
    fn from(_: CryptoError) -> Self {
        Self::Crypto
    }
}

impl fmt::Display for CipherStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exhausted => "all nonces of the key are used",
            Self::Crypto => "authentication tag does not match",
        })
    }
}

impl core::error::Error for CipherStateError {}

/// One direction's key and the number of the next message under it.
pub struct CipherState<A> {
    aead: A,
    nonce: u64,
}

impl<A> fmt::Debug for CipherState<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CipherState").field("nonce", &self.nonce).finish_non_exhaustive()
    }
}

impl<A: Aead> CipherState<A> {
    /// A fresh key. `None` when the provider has no such cipher.
    pub(crate) fn new(cipher: Cipher, key: &[u8; 32]) -> Option<Self> {
        Some(Self { aead: A::new(cipher, key)?, nonce: 0 })
    }

    /// How many messages this key can still take. The last value of the counter is reserved by Noise.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        u64::MAX - self.nonce
    }

    /// Encrypts the next message in place. Its nonce is used up, also when the provider fails.
    pub fn encrypt(&mut self, ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> Result<(), CipherStateError> {
        let nonce = self.take(1).ok_or(CipherStateError::Exhausted)?;
        Ok(self.aead.seal_in_place(nonce, ad, buf, tag)?)
    }

    /// Uses up the nonces of so many messages, and returns the first; `None`, and none is used up, when there are not as many. For chunks that
    /// are sealed back to front.
    #[inline]
    pub(crate) fn take(&mut self, messages: u64) -> Option<u64> {
        let first = self.nonce;
        // The counter's last value is never a message's: it is where an exhausted key stands.
        self.nonce = first.checked_add(messages)?;
        Some(first)
    }

    /// Encrypts in place under a nonce that was [taken](Self::take), without associated data.
    #[inline]
    pub(crate) fn encrypt_as(
        &self,
        nonce: u64,
        buf: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), CipherStateError> {
        Ok(self.aead.seal_in_place(nonce, &[], buf, tag)?)
    }

    /// Decrypts the next message in place. Nothing is counted when it fails.
    pub fn decrypt(&mut self, ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CipherStateError> {
        if self.remaining() == 0 {
            return Err(CipherStateError::Exhausted);
        }
        self.aead.open_in_place(self.nonce, ad, buf, tag)?;
        self.nonce += 1;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn set_nonce(&mut self, nonce: u64) {
        self.nonce = nonce;
    }
}
