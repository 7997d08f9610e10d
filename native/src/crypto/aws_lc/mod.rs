//! X25519 and both ciphers by AWS-LC.

mod sys;

use std::{fmt, sync::OnceLock};

use adit::crypto::{
    Aead, Cipher, CryptoError, Hash, HmacKey, Provider, PublicKey, RustCrypto, Secret, Signature, TAG_LEN,
};
use sys::Context;

/// AWS-LC for X25519 and the ciphers, [`RustCrypto`] for the rest.
#[derive(Debug)]
pub struct AwsLc(());

impl Provider for AwsLc {
    type Aead = Key;
    type Blake2s = Blake2s;

    fn x25519_public(secret: &Secret) -> PublicKey {
        sys::x25519_public(secret.expose())
    }

    fn x25519(secret: &Secret, public: &PublicKey) -> Result<Secret, CryptoError> {
        let mut shared = [0; 32];
        // An all-zero result is refused there (RFC 7748 §6.1).
        let agreed = sys::x25519(&mut shared, secret.expose(), public).then(|| Secret::from_bytes(shared));
        shared = [0; 32];
        zeroize::optimization_barrier(&shared);
        agreed.ok_or(CryptoError)
    }

    fn ed25519_public(seed: &Secret) -> PublicKey {
        <RustCrypto as Provider>::ed25519_public(seed)
    }

    fn ed25519_sign(seed: &Secret, message: &[u8]) -> Signature {
        <RustCrypto as Provider>::ed25519_sign(seed, message)
    }

    fn ed25519_verify(public: &PublicKey, message: &[u8], signature: &Signature) -> Result<(), CryptoError> {
        <RustCrypto as Provider>::ed25519_verify(public, message, signature)
    }
}

/// [`adit::crypto::Blake2s`], with what depends on the names of both suites kept.
#[derive(Debug)]
pub struct Blake2s(());

impl Hash for Blake2s {
    fn digest(parts: impl IntoIterator<Item: AsRef<[u8]>>) -> [u8; 32] {
        adit::crypto::Blake2s::digest(parts)
    }

    fn hkdf(salt: &[u8; 32], input: &[u8]) -> (Secret, Secret) {
        adit::crypto::Blake2s::hkdf(salt, input)
    }

    fn hkdf_known(salt: &[u8; 32], input: &[u8; 32]) -> (Secret, Secret) {
        static KEPT: [OnceLock<([u8; 32], HmacKey)>; Key::CIPHERS.len()] =
            [const { OnceLock::new() }; Key::CIPHERS.len()];
        for place in &KEPT {
            let (kept, key) = place.get_or_init(|| (*salt, HmacKey::new(salt)));
            if kept == salt {
                return key.hkdf(input);
            }
        }
        Self::hkdf(salt, input)
    }
}

/// One key of a cipher.
///
/// A ChaCha20-Poly1305 key is kept as its 32 bytes and made ready for each message, which takes 10 ns. An AES key is expanded once, into 600
/// bytes of heap: for each message that would take as long as sealing one.
pub struct Key(Kept);

enum Kept {
    ChaChaPoly(Secret),
    AesGcm(Box<Context>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("cipher", &self.cipher()).finish_non_exhaustive()
    }
}

impl Key {
    const fn cipher(&self) -> Cipher {
        match self.0 {
            Kept::ChaChaPoly(_) => Cipher::ChaChaPoly,
            Kept::AesGcm(_) => Cipher::AesGcm,
        }
    }

    /// Does one thing with the key and the nonce of message number `counter`; an error when that says false.
    fn act(&self, counter: u64, act: impl FnOnce(&Context, &[u8; 12]) -> bool) -> Result<(), CryptoError> {
        let nonce = self.cipher().nonce(counter);
        let done = match &self.0 {
            Kept::ChaChaPoly(key) => Context::with(Cipher::ChaChaPoly, key.expose(), |context| act(context, &nonce)),
            Kept::AesGcm(context) => Some(act(context, &nonce)),
        };
        if done == Some(true) { Ok(()) } else { Err(CryptoError) }
    }
}

impl Aead for Key {
    const CIPHERS: &'static [Cipher] = <RustCrypto as Provider>::Aead::CIPHERS;

    fn new(cipher: Cipher, key: &[u8; 32]) -> Option<Self> {
        Some(Self(match cipher {
            Cipher::ChaChaPoly => Kept::ChaChaPoly(Secret::from_bytes(*key)),
            Cipher::AesGcm => Kept::AesGcm(Context::boxed(cipher, key)?),
        }))
    }

    fn seal_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> Result<(), CryptoError> {
        self.act(nonce, |context, nonce| context.seal(nonce, ad, buf, tag))
    }

    fn open_in_place(&self, nonce: u64, ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CryptoError> {
        self.act(nonce, |context, nonce| context.open(nonce, ad, buf, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Reference = <RustCrypto as Provider>::Aead;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// D-SEC-12: what one provider seals the other opens, and both seal the same bytes.
        #[test]
        fn ciphers_agree_with_the_core_s(
            key: [u8; 32], nonce: u64, aes: bool,
            ad in proptest::collection::vec(any::<u8>(), 0..64),
            text in proptest::collection::vec(any::<u8>(), 0..2_000),
            flip: proptest::sample::Index,
        ) {
            let cipher = if aes { Cipher::AesGcm } else { Cipher::ChaChaPoly };
            let (ours, theirs) = (Key::new(cipher, &key).unwrap(), Reference::new(cipher, &key).unwrap());
            let (mut sealed, mut tag) = (text.clone(), [0; TAG_LEN]);
            ours.seal_in_place(nonce, &ad, &mut sealed, &mut tag).unwrap();
            let (mut expected, mut expected_tag) = (text.clone(), [0; TAG_LEN]);
            theirs.seal_in_place(nonce, &ad, &mut expected, &mut expected_tag).unwrap();
            prop_assert_eq!((&sealed, tag), (&expected, expected_tag));
            ours.open_in_place(nonce, &ad, &mut expected, &tag).unwrap();
            prop_assert_eq!(&expected, &text);

            let bit = flip.index(8 * (sealed.len() + TAG_LEN));
            match sealed.get_mut(bit / 8) {
                Some(byte) => *byte ^= 1 << (bit % 8),
                None => tag[bit / 8 - sealed.len()] ^= 1 << (bit % 8),
            }
            prop_assert_eq!(ours.open_in_place(nonce, &ad, &mut sealed, &tag), Err(CryptoError));
        }

        /// D-SEC-8: X25519 of any secret, clamped or not, and any u-coordinate, canonical or not.
        #[test]
        fn exchanges_agree_with_the_core_s(secret: [u8; 32], mut other: [u8; 32], high in 0..3) {
            if high == 0 {
                // Not reduced: 2^255 - 19 and above.
                other[1..].fill(0xff);
                other[0] |= 0xed;
            }
            let secret = Secret::from_bytes(secret);
            prop_assert_eq!(AwsLc::x25519_public(&secret), RustCrypto::<Reference>::x25519_public(&secret));
            prop_assert_eq!(AwsLc::x25519(&secret, &other), RustCrypto::<Reference>::x25519(&secret, &other));
        }
    }

    /// D-SEC-12: whichever salts come first, and however many.
    #[test]
    fn derivations_with_a_kept_salt_agree_with_the_core_s() {
        for round in 0..2 {
            for salt in [[1; 32], [2; 32], [3; 32], [1; 32]] {
                let input = [round; 32];
                assert_eq!(Blake2s::hkdf_known(&salt, &input), adit::crypto::Blake2s::hkdf(&salt, &input));
            }
        }
    }

    /// The points of small order (RFC 7748 §6.1), each with and without the bit that does not count.
    #[test]
    fn points_of_small_order_are_refused() {
        let field = |low: u8, top: u8| {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, top);
            bytes
        };
        let one = {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        };
        let order_eight = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
        let other_eight = "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157";
        let points =
            [[0; 32], one, key(order_eight), key(other_eight), field(0xec, 0x7f), field(0xed, 0x7f), field(0xee, 0x7f)];
        for mut point in points {
            for bit in [0, 0x80] {
                point[31] = point[31] & 0x7f | bit;
                let secret = Secret::from_bytes([5; 32]);
                assert_eq!(AwsLc::x25519(&secret, &point), Err(CryptoError), "{point:02x?}");
                assert_eq!(RustCrypto::<Reference>::x25519(&secret, &point), Err(CryptoError), "{point:02x?}");
            }
        }
    }

    fn key(hex: &str) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        }
        bytes
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        let key = Key::new(Cipher::ChaChaPoly, &[0xab; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "Key { cipher: ChaChaPoly, .. }");
    }
}
