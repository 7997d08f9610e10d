//! Keys as text: base58 with four bytes of double SHA-256 (base58check).

use crate::crypto::undisclosed;
use core::fmt;
use core::str::FromStr;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::crypto::{PublicKey, Secret};
use crate::hash::sha256d;

const CHECKSUM_LEN: usize = 4;

/// Version bytes of a key of the current revision: U16 1, little-endian.
const XONLY_VERSION: [u8; 2] = [1, 0];

/// Version bytes of a tagged secret key, chosen so that its text begins with `secret` whatever the key is.
const SECRET_VERSION: [u8; 5] = [0xe6, 0xf1, 0xe5, 0x7f, 0xc6];

/// Bytes of the longest payload with its checksum.
const MAX_DECODED: usize = SECRET_VERSION.len() + 32 + CHECKSUM_LEN;

/// Characters of the longest text: 41 bytes in base 58.
const MAX_TEXT: usize = 56;

/// A pool's authority key. Which revision of the protocol it belongs to is told by its decoded length (D-URL-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthorityKey {
    /// Draft revision: an Ed25519 key, 32 raw bytes in the text.
    Ed25519(PublicKey),
    /// Current revision: an x-only secp256k1 key, `01 00` and 32 bytes in the text.
    Secp256k1XOnly(PublicKey),
}

/// What is wrong with a key's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The character at this byte is none of base 58 (`0`, `O`, `I` and `l` are not).
    Character {
        /// Offset in the text, in bytes.
        at: usize,
    },
    /// The text is longer than any key's.
    TooLong,
    /// The payload has this many bytes, and no kind of key that is expected here does.
    Length {
        /// Decoded bytes without the checksum; 0 when there is not even a checksum.
        got: usize,
    },
    /// The checksum does not match: a mistyped or cut text.
    Checksum,
    /// 34 bytes that begin with a version other than `01 00`.
    Version([u8; 2]),
    /// A secret key ([`tagged_secret_text`]) where a public one is wanted.
    Secret,
    /// A public key of the current revision where a secret one is wanted.
    Public,
    /// 32 bytes without a tag: a public key of the draft revision or a secret key ([`secret_text`]), and nothing tells which.
    Untagged,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character { at } => write!(f, "character {at} of the key is none of base58"),
            Self::TooLong => write!(f, "key has more than {MAX_TEXT} characters"),
            Self::Length { got } => write!(f, "key has {got} bytes where 32 or, with a version, 34 are expected"),
            Self::Checksum => f.write_str("checksum of the key does not match: it is mistyped or cut"),
            Self::Version(version) => write!(f, "key has unknown version {:02x} {:02x}", version[0], version[1]),
            Self::Secret => f.write_str("this is a secret key, but a public one is wanted"),
            Self::Public => f.write_str("this is a public key, but a secret one is wanted"),
            Self::Untagged => {
                f.write_str("a public key, or a secret one without its tag: a tagged secret key is wanted")
            }
        }
    }
}

impl core::error::Error for KeyError {}

impl FromStr for AuthorityKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let decoded = Decoded::new(text)?;
        let payload = decoded.payload()?;
        if let Ok(key) = payload.try_into() {
            return Ok(Self::Ed25519(key));
        }
        if is_tagged(payload) {
            return Err(KeyError::Secret);
        }
        let wrong_length = KeyError::Length { got: payload.len() };
        let (version, key) = payload.split_first_chunk().ok_or(wrong_length)?;
        let key = key.try_into().map_err(|_| wrong_length)?;
        if *version == XONLY_VERSION { Ok(Self::Secp256k1XOnly(key)) } else { Err(KeyError::Version(*version)) }
    }
}

impl AuthorityKey {
    /// The key's text.
    #[must_use]
    pub fn text(&self) -> KeyText {
        match self {
            Self::Ed25519(key) => KeyText::new(&[], key),
            Self::Secp256k1XOnly(key) => KeyText::new(&XONLY_VERSION, key),
        }
    }

    /// The 32 bytes of the key, whatever its kind.
    #[must_use]
    pub const fn as_bytes(&self) -> &PublicKey {
        match self {
            Self::Ed25519(key) | Self::Secp256k1XOnly(key) => key,
        }
    }
}

impl fmt::Display for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

fn is_tagged(payload: &[u8]) -> bool {
    payload.strip_prefix(&SECRET_VERSION).is_some_and(|key| key.len() == 32)
}

/// Reads a secret key that says what it is ([`tagged_secret_text`]): an Ed25519 seed or an X25519 secret. A public key is told from it with
/// certainty.
pub fn parse_tagged_secret(text: &str) -> Result<Secret, KeyError> {
    let decoded = Decoded::new(text)?;
    let payload = decoded.payload()?;
    let wrong = || match payload.len() {
        32 => KeyError::Untagged,
        34 if payload.starts_with(&XONLY_VERSION) => KeyError::Public,
        got => KeyError::Length { got },
    };
    let key = payload.strip_prefix(&SECRET_VERSION).ok_or_else(wrong)?;
    let mut bytes: [u8; 32] = key.try_into().map_err(|_| wrong())?;
    let secret = Secret::from_bytes(bytes);
    bytes.zeroize();
    Ok(secret)
}

/// Writes a secret key as [`parse_tagged_secret`] reads it: base58check of five bytes and the key, so that it begins with `secret`, and no URL takes it
/// for a public key. The text is as secret as the key.
#[must_use]
pub fn tagged_secret_text(secret: &Secret) -> KeyText {
    KeyText::new(&SECRET_VERSION, secret.expose())
}

/// Reads a secret key as other implementations' configuration files have it: 32 raw bytes in base58check, which nothing tells from a public key of the
/// draft revision.
pub fn parse_secret(text: &str) -> Result<Secret, KeyError> {
    let decoded = Decoded::new(text)?;
    let payload = decoded.payload()?;
    let mut bytes: [u8; 32] = payload.try_into().map_err(|_| KeyError::Length { got: payload.len() })?;
    let secret = Secret::from_bytes(bytes);
    bytes.zeroize();
    Ok(secret)
}

/// Writes a secret key as [`parse_secret`] reads it. The text is as secret as the key.
#[must_use]
pub fn secret_text(secret: &Secret) -> KeyText {
    KeyText::new(&[], secret.expose())
}

/// The text of a key: at most 56 ASCII characters, held in place and wiped on drop, because it may be a secret's.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeyText {
    bytes: [u8; MAX_TEXT],
    len: usize,
}

undisclosed!([] KeyText, "KeyText");

impl KeyText {
    fn new(version: &[u8], key: &[u8; 32]) -> Self {
        let mut text = Self { bytes: [0; MAX_TEXT], len: 0 };
        let mut payload = heapless::Vec::<u8, MAX_DECODED>::new();
        let checksum = checksum(&[version, key]);
        for part in [version, key, &checksum] {
            // 5 + 32 + 4 bytes is what the vector was sized for.
            let _ = payload.extend_from_slice(part);
        }
        // 41 bytes are never more than 56 characters, so the slice is never too small.
        text.len = bs58::encode(payload.as_slice()).onto(text.bytes.as_mut_slice()).unwrap_or(0);
        payload.as_mut_slice().zeroize();
        text
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

/// A decoded text, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Decoded {
    bytes: [u8; MAX_DECODED],
    len: usize,
}

impl Decoded {
    fn new(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        let mut decoded = Self { bytes: [0; MAX_DECODED], len: 0 };
        decoded.len = bs58::decode(text).onto(decoded.bytes.as_mut_slice()).map_err(|error| match error {
            bs58::decode::Error::InvalidCharacter { index, .. } | bs58::decode::Error::NonAsciiCharacter { index } => {
                KeyError::Character { at: index }
            }
            _ => KeyError::TooLong,
        })?;
        Ok(decoded)
    }

    /// The bytes before a checksum that matches.
    fn payload(&self) -> Result<&[u8], KeyError> {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        let (payload, given) = bytes.split_last_chunk().ok_or(KeyError::Length { got: 0 })?;
        if checksum(&[payload]) == *given { Ok(payload) } else { Err(KeyError::Checksum) }
    }
}

fn checksum(parts: &[&[u8]]) -> [u8; CHECKSUM_LEN] {
    sha256d(parts).first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::{String, ToString};

    const DRAFT: &str = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";
    const CURRENT: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    const KEY: &str = "76637000979c1c11af0c300bcd8c7fe48610fce9b9c11e3daee35ae0b08a7455";

    fn key() -> PublicKey {
        hex::decode(KEY).unwrap().try_into().unwrap()
    }

    /// D-URL-2: both published texts, of one and the same 32 bytes.
    #[test]
    fn published_keys_of_both_revisions() {
        assert_eq!(DRAFT.parse(), Ok(AuthorityKey::Ed25519(key())));
        assert_eq!(CURRENT.parse(), Ok(AuthorityKey::Secp256k1XOnly(key())));
        assert_eq!(AuthorityKey::Ed25519(key()).to_string(), DRAFT);
        assert_eq!(AuthorityKey::Secp256k1XOnly(key()).to_string(), CURRENT);
    }

    fn encode(payload: &[u8]) -> String {
        let sum = checksum(&[payload]);
        let mut text = [0; 64];
        let len = bs58::encode([payload, &sum].concat()).onto(text.as_mut_slice()).unwrap();
        String::from_utf8(text[..len].to_vec()).unwrap()
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        let parse = |text: &str| text.parse::<AuthorityKey>().unwrap_err();
        assert_eq!(parse(""), KeyError::Length { got: 0 });
        assert_eq!(parse("u95G0ReVM"), KeyError::Character { at: 4 });
        assert_eq!(parse("u95é"), KeyError::Character { at: 3 });
        assert_eq!(parse(&DRAFT.replace('R', "S")), KeyError::Checksum);
        assert_eq!(parse(&DRAFT[..DRAFT.len() - 1]), KeyError::Checksum);
        assert_eq!(parse(&"z".repeat(57)), KeyError::TooLong);
        assert_eq!(parse(&"z".repeat(56)), KeyError::TooLong);
        assert_eq!(parse(&encode(&[1; 31])), KeyError::Length { got: 31 });
        assert_eq!(parse(&encode(&[1; 33])), KeyError::Length { got: 33 });
        assert_eq!(parse(&encode(&[2; 34])), KeyError::Version([2, 2]));
        assert_eq!(parse_secret(CURRENT), Err(KeyError::Length { got: 34 }));
    }

    /// Whichever is put in the other's place.
    #[test]
    fn secret_and_public_keys_are_told_apart() {
        let secret = Secret::from_bytes(key());
        let tagged = tagged_secret_text(&secret);
        assert_eq!(tagged.as_str().parse::<AuthorityKey>(), Err(KeyError::Secret));
        assert_eq!(parse_tagged_secret(CURRENT), Err(KeyError::Public));
        assert_eq!(parse_tagged_secret(DRAFT), Err(KeyError::Untagged));
        assert_eq!(parse_tagged_secret(secret_text(&secret).as_str()), Err(KeyError::Untagged));
        assert_eq!(parse_secret(tagged.as_str()), Err(KeyError::Length { got: 37 }));
        assert_eq!(parse_tagged_secret(&encode(&[7; 37])), Err(KeyError::Length { got: 37 }));
        assert_eq!(parse_tagged_secret(&encode(&SECRET_VERSION)), Err(KeyError::Length { got: 5 }));
    }

    #[test]
    fn texts_that_may_be_secret_are_wiped() {
        fn wiped_on_drop<T: ZeroizeOnDrop>(_: &T) {}
        let mut text = secret_text(&Secret::from_bytes([1; 32]));
        wiped_on_drop(&text);
        text.zeroize();
        assert_eq!((text.as_str(), text.bytes), ("", [0; MAX_TEXT]));
    }

    #[test]
    fn the_longest_and_shortest_texts_fit() {
        for byte in [0, 0xff] {
            for key in [AuthorityKey::Ed25519([byte; 32]), AuthorityKey::Secp256k1XOnly([byte; 32])] {
                assert_eq!(key.to_string().parse(), Ok(key), "{key}");
            }
            let tagged = tagged_secret_text(&Secret::from_bytes([byte; 32]));
            assert!(tagged.as_str().starts_with("secret") && tagged.as_str().len() == MAX_TEXT, "{}", tagged.as_str());
        }
    }

    proptest! {
        #[test]
        fn keys_round_trip(bytes: [u8; 32]) {
            for key in [AuthorityKey::Ed25519(bytes), AuthorityKey::Secp256k1XOnly(bytes)] {
                prop_assert_eq!(key.to_string().parse(), Ok(key));
            }
            let secret = Secret::from_bytes(bytes);
            prop_assert_eq!(parse_secret(secret_text(&secret).as_str()), Ok(Secret::from_bytes(bytes)));
            let tagged = tagged_secret_text(&secret);
            prop_assert!(tagged.as_str().starts_with("secret"));
            prop_assert_eq!(parse_tagged_secret(tagged.as_str()), Ok(secret));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            if let Ok(key) = text.parse::<AuthorityKey>() {
                prop_assert_eq!(format!("{key}"), text);
            }
        }

        #[test]
        fn one_wrong_character_never_passes(bytes: [u8; 32], at: prop::sample::Index, with in "[1-9A-HJ-NP-Za-km-z]") {
            let text = AuthorityKey::Ed25519(bytes).to_string();
            let at = at.index(text.len());
            let changed = format!("{}{}{}", &text[..at], with, &text[at + 1..]);
            prop_assert!(changed == text || changed.parse::<AuthorityKey>().is_err());
        }
    }
}
