//! Algorithm negotiation: the profiles, their lists and choices as bytes (D-SEC-5, D-SEC-6, D-SEC-16).

use core::fmt;

use super::super::error::Fault;
use crate::crypto::{Aead, Cipher};

/// The dialects of the draft revision's security layer. They differ in the negotiation before the handshake and in the certificate
/// message; the Noise core is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// The reference implementation of August 2022 to October 2023, and what the mission's text describes. The list is bound
    /// into the handshake.
    #[default]
    Str3,
    /// Braiins, from August 2020. The list is not bound: an attacker on the way can strip ciphers from it.
    Str2,
    /// Braiins, March to August 2020: no negotiation, `ChaChaPoly`.
    Legacy,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Str3 => "STR3",
            Self::Str2 => "STR2",
            Self::Legacy => "LEGACY",
        })
    }
}

pub(super) const STR3: [u8; 4] = *b"STR3";
pub(super) const STR2: [u8; 4] = *b"STR2";

/// The code of a cipher on the wire.
pub(super) const fn code(cipher: Cipher) -> [u8; 4] {
    match cipher {
        Cipher::ChaChaPoly => *b"CHCH",
        Cipher::AesGcm => *b"AESG",
    }
}

/// The cipher of a code.
pub(super) const fn cipher_of(code: [u8; 4]) -> Option<Cipher> {
    // As one number: byte by byte takes twice the code.
    const CHCH: u32 = u32::from_le_bytes(self::code(Cipher::ChaChaPoly));
    const AESG: u32 = u32::from_le_bytes(self::code(Cipher::AesGcm));
    match u32::from_le_bytes(code) {
        CHCH => Some(Cipher::ChaChaPoly),
        AESG => Some(Cipher::AesGcm),
        _ => None,
    }
}

/// Ciphers in order of preference, at least one. No other codes exist: peers of the time refuse a whole list for one unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CipherList {
    first: Cipher,
    second: Option<Cipher>,
}

impl CipherList {
    /// Both, `ChaChaPoly` first: the order of the reference implementation, and the faster one without AES instructions.
    pub const CHACHAPOLY_FIRST: Self = Self { first: Cipher::ChaChaPoly, second: Some(Cipher::AesGcm) };

    /// Both, AES-GCM first: faster where the processor has AES instructions and the provider uses them.
    pub const AESGCM_FIRST: Self = Self { first: Cipher::AesGcm, second: Some(Cipher::ChaChaPoly) };

    /// One cipher.
    #[must_use]
    pub const fn only(cipher: Cipher) -> Self {
        Self { first: cipher, second: None }
    }

    /// What is left of this list with a provider's ciphers; `None` when nothing is.
    #[must_use]
    #[inline]
    pub fn available<A: Aead>(self) -> Option<Self> {
        // Known when this is compiled: what is left is known then, too.
        if let [only] = A::CIPHERS {
            return self.contains(*only).then_some(Self::only(*only));
        }
        let has = |cipher: &Cipher| A::CIPHERS.contains(cipher);
        let second = self.second.filter(has);
        if has(&self.first) { Some(Self { second, ..self }) } else { second.map(Self::only) }
    }

    /// Whether `cipher` is in the list.
    #[must_use]
    pub fn contains(&self, cipher: Cipher) -> bool {
        self.first == cipher || self.second == Some(cipher)
    }

    /// The ciphers in order.
    pub fn iter(&self) -> impl Iterator<Item = Cipher> + use<> {
        core::iter::once(self.first).chain(self.second)
    }

    /// Count and codes as an offer has them after its magic: 5 or 9 bytes.
    pub(super) fn codes(self) -> Codes {
        let mut bytes = [0; 9];
        let [count, first @ .., _, _, _, _] = &mut bytes;
        *count = 1;
        *first = code(self.first);
        if let (Some(second), [count, _, _, _, _, to @ ..]) = (self.second, &mut bytes) {
            *count = 2;
            *to = code(second);
        }
        Codes { bytes, both: self.second.is_some() }
    }
}

impl Default for CipherList {
    fn default() -> Self {
        Self::CHACHAPOLY_FIRST
    }
}

/// The bytes of a list.
pub(super) struct Codes {
    bytes: [u8; 9],
    both: bool,
}

impl Codes {
    /// All bytes, the last four of which count only with both ciphers.
    pub(super) const fn place(&self) -> &[u8; 9] {
        &self.bytes
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        let [one @ .., _, _, _, _] = &self.bytes;
        if self.both { &self.bytes } else { one }
    }
}

/// Bytes of an offer of `count` ciphers without its prefix.
pub(super) const fn offer_len(count: usize) -> usize {
    5 + 4 * count
}

/// An offer as received.
pub(super) struct Offer<'a> {
    pub(super) profile: Profile,
    /// Count and codes: the part that STR3 binds into the handshake.
    pub(super) list: &'a [u8],
}

impl<'a> Offer<'a> {
    /// Checks magic and count of what is there of an offer whose length is a possible one. `None` before it is complete.
    pub(super) fn read(body: &'a [u8], len: u16) -> Result<Option<Self>, Fault> {
        let Some((magic, list)) = body.split_first_chunk() else { return Ok(None) };
        let profile = match *magic {
            STR3 => Profile::Str3,
            STR2 => Profile::Str2,
            other => return Err(Fault::Magic(other)),
        };
        let Some(count) = list.first() else { return Ok(None) };
        if offer_len(usize::from(*count)) != usize::from(len) {
            return Err(Fault::Count(*count));
        }
        Ok((body.len() == usize::from(len)).then_some(Self { profile, list }))
    }

    fn offered(&self) -> impl Iterator<Item = Cipher> {
        let codes = self.list.get(1..).unwrap_or_default();
        codes.chunks_exact(4).filter_map(|code| cipher_of(*code.first_chunk()?))
    }

    /// The responder's choice: in STR3 the first of its own order that was offered; in STR2 AES-GCM if offered, else the
    /// first in the offer that it knows. Unknown codes are passed over (D-SEC-6).
    pub(super) fn choose(&self, own: CipherList) -> Option<Cipher> {
        let offers = |cipher: &Cipher| self.offered().any(|offered| offered == *cipher);
        match self.profile {
            Profile::Str3 => own.iter().find(offers),
            Profile::Str2 | Profile::Legacy => Some(Cipher::AesGcm)
                .filter(|cipher| own.contains(*cipher) && offers(cipher))
                .or_else(|| self.offered().find(|cipher| own.contains(*cipher))),
        }
    }
}

/// Whether a message of this length can be an offer.
pub(super) const fn is_offer_len(len: u16) -> bool {
    len >= 5 && len as usize <= offer_len(255) && (len - 5).is_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{BothCiphers, ChaChaPolyOnly};
    use std::vec::Vec;

    fn offer(magic: &[u8], codes: &[&[u8]]) -> Vec<u8> {
        [magic, &[codes.len() as u8], &codes.concat()].concat()
    }

    fn choice(magic: &[u8], codes: &[&[u8]], own: CipherList) -> Option<Cipher> {
        let bytes = offer(magic, codes);
        Offer::read(&bytes, bytes.len() as u16).unwrap().unwrap().choose(own)
    }

    /// D-SEC-6: the responder's own order counts in STR3.
    #[test]
    fn str3_takes_the_first_of_the_responders_order() {
        use Cipher::{AesGcm, ChaChaPoly};
        let (chacha, aes) = (CipherList::CHACHAPOLY_FIRST, CipherList::AESGCM_FIRST);
        assert_eq!(choice(b"STR3", &[b"AESG", b"CHCH"], chacha), Some(ChaChaPoly));
        assert_eq!(choice(b"STR3", &[b"CHCH", b"AESG"], aes), Some(AesGcm));
        assert_eq!(choice(b"STR3", &[b"AESG"], chacha), Some(AesGcm));
        assert_eq!(choice(b"STR3", &[b"XXXX", b"AESG"], chacha), Some(AesGcm));
        assert_eq!(choice(b"STR3", &[b"AESG"], CipherList::only(ChaChaPoly)), None);
        assert_eq!(choice(b"STR3", &[], chacha), None);
        assert_eq!(choice(b"STR3", &[b"XXXX"], chacha), None);
    }

    /// D-SEC-16, profile STR2: AES-GCM if offered and allowed, else the first that is known.
    #[test]
    fn str2_takes_aes_if_offered() {
        use Cipher::{AesGcm, ChaChaPoly};
        let own = CipherList::CHACHAPOLY_FIRST;
        assert_eq!(choice(b"STR2", &[b"CHCH", b"AESG"], own), Some(AesGcm));
        assert_eq!(choice(b"STR2", &[b"XXXX", b"CHCH"], own), Some(ChaChaPoly));
        assert_eq!(choice(b"STR2", &[b"CHCH", b"AESG"], CipherList::only(ChaChaPoly)), Some(ChaChaPoly));
        assert_eq!(choice(b"STR2", &[b"XXXX"], own), None);
    }

    #[test]
    fn a_bad_offer_is_refused_as_soon_as_it_shows() {
        let bytes = offer(b"STR3", &[b"CHCH", b"AESG"]);
        for len in 0..bytes.len() {
            assert!(Offer::read(&bytes[..len], 13).unwrap().is_none());
        }
        assert_eq!(Offer::read(b"GET ", 13).err(), Some(Fault::Magic(*b"GET ")));
        assert_eq!(Offer::read(b"STR3\x03", 13).err(), Some(Fault::Count(3)));
    }

    #[test]
    fn offers_have_5_and_4_per_cipher_and_never_the_length_of_a_key() {
        let possible: Vec<u16> = (0..=u16::MAX).filter(|len| is_offer_len(*len)).collect();
        assert_eq!(possible.len(), 256);
        assert_eq!((possible[0], possible[255]), (5, 1025));
        assert!(!is_offer_len(32));
    }

    #[test]
    fn a_list_keeps_what_the_provider_has() {
        let both = CipherList::AESGCM_FIRST;
        assert_eq!(both.available::<BothCiphers>(), Some(both));
        assert_eq!(both.available::<ChaChaPolyOnly>(), Some(CipherList::only(Cipher::ChaChaPoly)));
        assert_eq!(
            CipherList::CHACHAPOLY_FIRST.available::<ChaChaPolyOnly>(),
            Some(CipherList::only(Cipher::ChaChaPoly))
        );
        assert_eq!(CipherList::only(Cipher::AesGcm).available::<ChaChaPolyOnly>(), None);
    }

    #[test]
    fn codes_are_count_then_names() {
        assert_eq!(CipherList::CHACHAPOLY_FIRST.codes().as_bytes(), b"\x02CHCHAESG");
        assert_eq!(CipherList::only(Cipher::AesGcm).codes().as_bytes(), b"\x01AESG");
    }
}
