//! Cryptography behind one seam, so that firmware links what is small and a server what is fast.
//!
//! Here live the traits, the cipher names, [`Secret`], and the default provider [`RustCrypto`]. Protocol (names of Noise
//! suites, prologues, certificates, record lengths) must not: it is in [`noise`](crate::noise) and
//! [`transport`](crate::transport).
//!
//! What every suite needs is apart from what one suite needs: [`Aead`] and [`Hash`] are general, [`Provider`] names the
//! primitives of the draft revision's suite (X25519, Ed25519, BLAKE2s). A provider that also speaks the current revision
//! implements one more trait beside it for secp256k1 and SHA-256; the symmetric half of Noise is generic over [`Hash`].

mod blake2s;
mod rustcrypto;
mod secret;

pub use blake2s::{Blake2s, HmacKey};
pub use rustcrypto::{BothCiphers, ChaChaPolyOnly, RustCrypto};
pub use secret::Secret;
pub(crate) use secret::undisclosed;

use core::fmt;

/// Bytes of an authentication tag, the same for every cipher.
pub const TAG_LEN: usize = 16;

/// A public key of any 32-byte kind, as it stands on the wire: X25519 (u-coordinate) or Ed25519 (compressed point).
pub type PublicKey = [u8; 32];

/// An Ed25519 signature, R then S.
pub type Signature = [u8; 64];

/// The AEAD algorithms of both revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// ChaCha20-Poly1305 (RFC 8439); the nonce is 4 zero bytes and the counter little-endian.
    ChaChaPoly,
    /// AES-256-GCM; the nonce is 4 zero bytes and the counter big-endian.
    AesGcm,
}

impl Cipher {
    /// The 96-bit nonce of message number `counter` (D-SEC-12).
    #[must_use]
    pub const fn nonce(self, counter: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        let [_, _, _, _, bytes @ ..] = &mut nonce;
        *bytes = match self {
            Self::ChaChaPoly => counter.to_le_bytes(),
            Self::AesGcm => counter.to_be_bytes(),
        };
        nonce
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChaChaPoly => "ChaChaPoly",
            Self::AesGcm => "AESGCM",
        })
    }
}

/// A provider could not do what it was asked to: a tag did not match, a key exchange gave the all-zero result, a
/// signature is wrong. Deliberately without detail; the caller knows what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CryptoError;

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cryptographic operation failed")
    }
}

impl core::error::Error for CryptoError {}

/// One key of an authenticated cipher.
///
/// Implementors wipe their key when they are dropped. What they hold between calls is the state of an idle connection,
/// twice, so the default keeps 32-byte keys and no key schedules, but for AES where there is a heap. They are `Send`, so that a server can move its
/// connections between threads.
pub trait Aead: Sized + Send + 'static {
    /// The ciphers that [`Aead::new`] takes, in the order that a client offers and a server prefers.
    const CIPHERS: &'static [Cipher];

    /// A key for `cipher`, or `None` when the cipher is not among [`Aead::CIPHERS`].
    fn new(cipher: Cipher, key: &[u8; 32]) -> Option<Self>;

    /// Encrypts `buf` in place and writes the tag; `nonce` is the message counter ([`Cipher::nonce`] lays it out).
    fn seal_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> Result<(), CryptoError>;

    /// Checks the tag in constant time and decrypts `buf` in place. After an error `buf` holds nothing of use.
    fn open_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError>;
}

/// A hash of 32 bytes with the key derivation over its HMAC (RFC 2104).
pub trait Hash: 'static {
    /// The hash of the joined parts, which nobody has to join in a buffer first.
    fn digest(parts: impl IntoIterator<Item: AsRef<[u8]>>) -> [u8; 32];

    /// HKDF (RFC 5869) without info: the first 64 bytes of output, as two secrets. One call and not its five hashes, so that what depends
    /// on a key alone is worked out once for each key.
    fn hkdf(salt: &[u8; 32], input: &[u8]) -> (Secret, Secret);

    /// As [`hkdf`](Self::hkdf), with a salt that is no secret and one of very few: a handshake's first, which stands for the protocol's name.
    /// A provider with memory to spare may keep what depends on it alone.
    #[must_use]
    fn hkdf_known(salt: &[u8; 32], input: &[u8; 32]) -> (Secret, Secret) {
        Self::hkdf(salt, input)
    }
}

/// The primitives of `Noise_NX_25519_{ChaChaPoly,AESGCM}_BLAKE2s` and of its certificates. No instances: functions only.
pub trait Provider: 'static {
    /// The ciphers.
    type Aead: Aead;
    /// BLAKE2s with 32 bytes of output, not keyed; its HMAC is the HMAC construction.
    type Blake2s: Hash;

    /// The X25519 public key of a secret (clamped as RFC 7748 says).
    fn x25519_public(secret: &Secret) -> PublicKey;

    /// The X25519 shared secret. Fails when it would be all zero, that is when `public` is a point of small order.
    fn x25519(secret: &Secret, public: &PublicKey) -> Result<Secret, CryptoError>;

    /// The Ed25519 public key of a 32-byte seed.
    fn ed25519_public(seed: &Secret) -> PublicKey;

    /// Signs with the key pair of a 32-byte seed.
    fn ed25519_sign(seed: &Secret, message: &[u8]) -> Signature;

    /// Strict verification: canonical encodings only, no keys or nonces of small order.
    fn ed25519_verify(public: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), CryptoError>;
}
