//! The default provider: the dalek and `RustCrypto` families, all `no_std` and without an allocator.

use core::marker::PhantomData;

use aes_gcm::Aes256Gcm;
use blake2::Blake2s256;
use blake2::digest::{FixedOutput, Update};
use chacha20poly1305::aead::Tag;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hmac::{Mac, SimpleHmac};
use x25519_dalek::StaticSecret;

use super::{Aead, Cipher, CryptoError, Hash, Provider, PublicKey, Secret, Signature, TAG_LEN};

/// x25519-dalek, ed25519-dalek, blake2, and an AEAD of choice.
///
/// `RustCrypto` has both ciphers. `RustCrypto<ChaChaPolyOnly>` is for firmware that must not pay flash for AES, and any
/// other [`Aead`] may be combined with these curves in the same way.
pub struct RustCrypto<A = BothCiphers>(PhantomData<fn() -> A>);

impl<A: Aead> Provider for RustCrypto<A> {
    type Aead = A;
    type Blake2s = Blake2s;

    fn x25519_public(secret: &Secret) -> PublicKey {
        x25519_dalek::PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes()
    }

    fn x25519(secret: &Secret, public: &PublicKey) -> Result<Secret, CryptoError> {
        let shared = StaticSecret::from(*secret.expose()).diffie_hellman(&x25519_dalek::PublicKey::from(*public));
        if shared.was_contributory() { Ok(Secret::from_bytes(shared.to_bytes())) } else { Err(CryptoError) }
    }

    fn ed25519_public(seed: &Secret) -> PublicKey {
        SigningKey::from_bytes(seed.expose()).verifying_key().to_bytes()
    }

    fn ed25519_sign(seed: &Secret, message: &[u8]) -> Signature {
        SigningKey::from_bytes(seed.expose()).sign(message).to_bytes()
    }

    fn ed25519_verify(public: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), CryptoError> {
        let key = VerifyingKey::from_bytes(public).map_err(|_| CryptoError)?;
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(message, &signature).map_err(|_| CryptoError)
    }
}

/// BLAKE2s-256 of the blake2 crate.
pub struct Blake2s;

impl Hash for Blake2s {
    fn digest(parts: impl IntoIterator<Item: AsRef<[u8]>>) -> [u8; 32] {
        let mut hash = Blake2s256::default();
        for part in parts {
            Update::update(&mut hash, part.as_ref());
        }
        hash.finalize_fixed().into()
    }

    fn hmac(key: &[u8; 32], parts: impl IntoIterator<Item: AsRef<[u8]>>) -> Secret {
        // The key fills half a block, so the whole block is made here and nothing can refuse its length.
        let mut block = hmac::digest::Key::<SimpleHmac<Blake2s256>>::default();
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        let mut mac = <SimpleHmac<Blake2s256> as KeyInit>::new(&block);
        zeroize::Zeroize::zeroize(block.as_mut_slice());
        for part in parts {
            Mac::update(&mut mac, part.as_ref());
        }
        Secret::from_bytes(mac.finalize_fixed().into())
    }
}

/// ChaCha20-Poly1305 and AES-256-GCM. Keeps the key alone (33 bytes): an expanded AES schedule for each direction would
/// be most of an idle connection's state.
pub struct BothCiphers {
    key: Secret,
    cipher: Cipher,
}

impl Aead for BothCiphers {
    const CIPHERS: &'static [Cipher] = &[Cipher::ChaChaPoly, Cipher::AesGcm];

    fn new(cipher: Cipher, key: &[u8; 32]) -> Option<Self> {
        Some(Self { key: Secret::from_bytes(*key), cipher })
    }

    fn seal_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> Result<(), CryptoError> {
        let nonce = self.cipher.nonce(nonce);
        match self.cipher {
            Cipher::ChaChaPoly => seal::<ChaCha20Poly1305>(&self.key, nonce, ad, buf, tag),
            Cipher::AesGcm => seal::<Aes256Gcm>(&self.key, nonce, ad, buf, tag),
        }
    }

    fn open_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        let nonce = self.cipher.nonce(nonce);
        match self.cipher {
            Cipher::ChaChaPoly => open::<ChaCha20Poly1305>(&self.key, nonce, ad, buf, tag),
            Cipher::AesGcm => open::<Aes256Gcm>(&self.key, nonce, ad, buf, tag),
        }
    }
}

/// ChaCha20-Poly1305 alone: nothing of AES is linked.
pub struct ChaChaPolyOnly(Secret);

impl Aead for ChaChaPolyOnly {
    const CIPHERS: &'static [Cipher] = &[Cipher::ChaChaPoly];

    fn new(cipher: Cipher, key: &[u8; 32]) -> Option<Self> {
        match cipher {
            Cipher::ChaChaPoly => Some(Self(Secret::from_bytes(*key))),
            Cipher::AesGcm => None,
        }
    }

    fn seal_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> Result<(), CryptoError> {
        seal::<ChaCha20Poly1305>(&self.0, Cipher::ChaChaPoly.nonce(nonce), ad, buf, tag)
    }

    fn open_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        open::<ChaCha20Poly1305>(&self.0, Cipher::ChaChaPoly.nonce(nonce), ad, buf, tag)
    }
}

fn seal<C>(key: &Secret, nonce: [u8; 12], ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> Result<(), CryptoError>
where
    C: KeyInit + AeadInOut,
    for<'a> &'a chacha20poly1305::aead::Key<C>: From<&'a [u8; 32]>,
    chacha20poly1305::aead::Nonce<C>: From<[u8; 12]>,
    Tag<C>: Into<[u8; TAG_LEN]>,
{
    let sealed =
        C::new(key.expose().into()).encrypt_inout_detached(&nonce.into(), ad, buf.into()).map_err(|_| CryptoError)?;
    *tag = sealed.into();
    Ok(())
}

fn open<C>(key: &Secret, nonce: [u8; 12], ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError>
where
    C: KeyInit + AeadInOut,
    for<'a> &'a chacha20poly1305::aead::Key<C>: From<&'a [u8; 32]>,
    chacha20poly1305::aead::Nonce<C>: From<[u8; 12]>,
    for<'a> &'a Tag<C>: From<&'a [u8; TAG_LEN]>,
{
    C::new(key.expose().into())
        .decrypt_inout_detached(&nonce.into(), ad, buf.into(), tag.into())
        .map_err(|_| CryptoError)
}
