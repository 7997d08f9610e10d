//! The default provider: the dalek and `RustCrypto` families, all `no_std` and without an allocator.

use crate::crypto::undisclosed;
use core::marker::PhantomData;

use aes_gcm::Aes256Gcm;
use chacha20poly1305::aead::Tag;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use x25519_dalek::StaticSecret;

use super::blake2s::Blake2s;
use super::{Aead, Cipher, CryptoError, Provider, PublicKey, Secret, Signature, TAG_LEN};

/// x25519-dalek, ed25519-dalek, blake2, and an AEAD of choice.
///
/// `RustCrypto` has both ciphers. `RustCrypto<ChaChaPolyOnly>` is for firmware that must not pay flash for AES, and any
/// other [`Aead`] may be combined with these curves in the same way.
pub struct RustCrypto<A = BothCiphers>(PhantomData<fn() -> A>);

undisclosed!([A] RustCrypto<A>, "RustCrypto");

impl<A: Aead> Provider for RustCrypto<A> {
    type Aead = A;
    type Blake2s = Blake2s;

    #[cfg_attr(target_os = "none", inline(never))]
    fn x25519_public(secret: &Secret) -> PublicKey {
        x25519_dalek::PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes()
    }

    #[cfg_attr(target_os = "none", inline(never))]
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

    // Its frame is 5 KiB: inline, all that is around it would pay for the distance.
    #[cfg_attr(target_os = "none", inline(never))]
    fn ed25519_verify(public: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), CryptoError> {
        let key = VerifyingKey::from_bytes(public).map_err(|_| CryptoError)?;
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(message, &signature).map_err(|_| CryptoError)
    }
}

/// ChaCha20-Poly1305 and AES-256-GCM.
///
/// A ChaCha20-Poly1305 key is its 32 bytes. An AES key is expanded once, into 624 bytes of heap, where there is one (feature `alloc`):
/// done for each message that takes longer than sealing a share. Without a heap it is kept as its 32 bytes as well: expanded, two of them would be
/// most of a connection's state, whichever cipher that uses.
pub struct BothCiphers(Key);

undisclosed!([] BothCiphers, "BothCiphers");

enum Key {
    ChaChaPoly(Secret),
    AesGcm(AesKey),
}

#[cfg(feature = "alloc")]
type AesKey = alloc::boxed::Box<Aes256Gcm>;
#[cfg(not(feature = "alloc"))]
type AesKey = Secret;

/// Keeps an AES key.
fn keep(key: &[u8; 32]) -> AesKey {
    #[cfg(feature = "alloc")]
    return alloc::boxed::Box::new(Aes256Gcm::new(key.into()));
    #[cfg(not(feature = "alloc"))]
    Secret::from_bytes(*key)
}

/// Calls `act` with the expanded key.
fn with_aes<R>(key: &AesKey, act: impl FnOnce(&Aes256Gcm) -> R) -> R {
    #[cfg(feature = "alloc")]
    return act(key);
    #[cfg(not(feature = "alloc"))]
    act(&Aes256Gcm::new(key.expose().into()))
}

fn chacha(key: &Secret) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(key.expose().into())
}

impl Aead for BothCiphers {
    const CIPHERS: &'static [Cipher] = &[Cipher::ChaChaPoly, Cipher::AesGcm];

    fn new(cipher: Cipher, key: &[u8; 32]) -> Option<Self> {
        Some(Self(match cipher {
            Cipher::ChaChaPoly => Key::ChaChaPoly(Secret::from_bytes(*key)),
            Cipher::AesGcm => Key::AesGcm(keep(key)),
        }))
    }

    fn seal_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> Result<(), CryptoError> {
        match &self.0 {
            Key::ChaChaPoly(key) => seal(&chacha(key), Cipher::ChaChaPoly.nonce(nonce), ad, buf, tag),
            Key::AesGcm(key) => with_aes(key, |key| seal(key, Cipher::AesGcm.nonce(nonce), ad, buf, tag)),
        }
    }

    fn open_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        match &self.0 {
            Key::ChaChaPoly(key) => open(&chacha(key), Cipher::ChaChaPoly.nonce(nonce), ad, buf, tag),
            Key::AesGcm(key) => with_aes(key, |key| open(key, Cipher::AesGcm.nonce(nonce), ad, buf, tag)),
        }
    }
}

/// ChaCha20-Poly1305 alone: nothing of AES is linked.
pub struct ChaChaPolyOnly(Secret);

undisclosed!([] ChaChaPolyOnly, "ChaChaPolyOnly");

impl Aead for ChaChaPolyOnly {
    const CIPHERS: &'static [Cipher] = &[Cipher::ChaChaPoly];

    fn new(cipher: Cipher, key: &[u8; 32]) -> Option<Self> {
        match cipher {
            Cipher::ChaChaPoly => Some(Self(Secret::from_bytes(*key))),
            Cipher::AesGcm => None,
        }
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn seal_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> Result<(), CryptoError> {
        seal(&chacha(&self.0), Cipher::ChaChaPoly.nonce(nonce), ad, buf, tag)
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn open_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        open(&chacha(&self.0), Cipher::ChaChaPoly.nonce(nonce), ad, buf, tag)
    }
}

fn seal<C>(cipher: &C, nonce: [u8; 12], ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> Result<(), CryptoError>
where
    C: AeadInOut,
    chacha20poly1305::aead::Nonce<C>: From<[u8; 12]>,
    Tag<C>: Into<[u8; TAG_LEN]>,
{
    let sealed = cipher.encrypt_inout_detached(&nonce.into(), ad, buf.into()).map_err(|_| CryptoError)?;
    *tag = sealed.into();
    Ok(())
}

fn open<C>(cipher: &C, nonce: [u8; 12], ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError>
where
    C: AeadInOut,
    chacha20poly1305::aead::Nonce<C>: From<[u8; 12]>,
    for<'a> &'a Tag<C>: From<&'a [u8; TAG_LEN]>,
{
    cipher.decrypt_inout_detached(&nonce.into(), ad, buf.into(), tag.into()).map_err(|_| CryptoError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Aead;

    fn array<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// D-SEC-12: the counter's place and byte order in both nonces.
    #[test]
    fn nonces_have_the_counter_in_the_ciphers_byte_order() {
        let counter = 0x0102_0304_0506_0708;
        assert_eq!(Cipher::ChaChaPoly.nonce(counter), [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(Cipher::AesGcm.nonce(counter), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    /// RFC 8032 §7.1, test 1.
    #[test]
    fn ed25519_known_answer() {
        let seed = Secret::from_bytes(array("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
        let public = array("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let signature = array(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        );
        assert_eq!(<RustCrypto>::ed25519_public(&seed), public);
        assert_eq!(<RustCrypto>::ed25519_sign(&seed, b""), signature);
        assert_eq!(<RustCrypto>::ed25519_verify(&public, b"", &signature), Ok(()));
        assert_eq!(<RustCrypto>::ed25519_verify(&public, b"x", &signature), Err(CryptoError));
    }

    /// With the identity as key and as R, and S zero, the plain equation holds for every message. Strict verification refuses.
    #[test]
    fn ed25519_refuses_keys_of_small_order() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(<RustCrypto>::ed25519_verify(&identity, b"any message", &signature), Err(CryptoError));
        // And what is no point at all.
        assert_eq!(<RustCrypto>::ed25519_verify(&[2; 32], b"", &signature), Err(CryptoError));
    }

    /// Every public key of small order, and the same with the unused top bit set.
    #[test]
    fn x25519_refuses_points_of_small_order() {
        let secret = Secret::from_bytes([7; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        let order_eight = [
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ]
        .map(array::<32>);
        for mut point in [[0; 32], one].into_iter().chain(order_eight) {
            assert!(<RustCrypto>::x25519(&secret, &point).is_err(), "{point:x?}");
            point[31] |= 0x80;
            assert!(<RustCrypto>::x25519(&secret, &point).is_err(), "{point:x?}");
        }
    }

    fn round_trip<A: Aead>(cipher: Cipher) {
        let aead = A::new(cipher, &[9; 32]).unwrap();
        let (mut text, mut tag) = (*b"some text", [0; TAG_LEN]);
        aead.seal_in_place(300, b"ad", &mut text, &mut tag).unwrap();
        assert_ne!(&text, b"some text");
        let sealed = text;
        for (nonce, ad) in [(301, b"ad"), (300, b"aD")] {
            assert_eq!(aead.open_in_place(nonce, ad, &mut text, &tag), Err(CryptoError));
            text = sealed;
        }
        aead.open_in_place(300, b"ad", &mut text, &tag).unwrap();
        assert_eq!(&text, b"some text");
    }

    #[test]
    fn a_provider_has_the_ciphers_that_it_names_and_no_others() {
        fn check<A: Aead>() {
            for cipher in [Cipher::ChaChaPoly, Cipher::AesGcm] {
                assert_eq!(A::new(cipher, &[0; 32]).is_some(), A::CIPHERS.contains(&cipher));
            }
            for cipher in A::CIPHERS {
                round_trip::<A>(*cipher);
            }
        }
        check::<BothCiphers>();
        check::<ChaChaPolyOnly>();
    }
}
