//! The bare NX pattern over X25519 and BLAKE2s with any prologue and payloads: what the Noise framework itself defines, no
//! profile, no certificate, no length prefix. Public because the framework's known answers test it at this level.

use super::super::error::Fault;
pub use super::super::symmetric::Split;
use super::super::symmetric::{Broken, Symmetric};
use crate::crypto::undisclosed;
use crate::crypto::{Cipher, Provider, PublicKey, Secret, TAG_LEN};

/// Bytes of act 1 without its payload (D-SEC-10).
pub const ACT1_OVERHEAD: usize = 32;

/// Bytes of act 2 without its payload: e, the sealed s, the payload's tag (D-SEC-10).
pub const ACT2_OVERHEAD: usize = 32 + 32 + TAG_LEN + TAG_LEN;

/// What stands for the protocol's name (D-SEC-11): a name of up to 32 bytes is padded with zeros, a longer one hashed, which was done here.
const fn name(cipher: Cipher) -> &'static [u8; 32] {
    match cipher {
        // BLAKE2s of Noise_NX_25519_ChaChaPoly_BLAKE2s.
        Cipher::ChaChaPoly => &[
            0x92, 0x27, 0xce, 0x1a, 0x77, 0x03, 0x3d, 0xf3, 0xf2, 0x4c, 0xd1, 0x92, 0xc1, 0x9c, 0x0b, 0xbe, 0xa8, 0xd5,
            0xd7, 0x0a, 0x36, 0xc4, 0x83, 0x7f, 0xdc, 0x6f, 0xf1, 0x41, 0x8f, 0x04, 0xb4, 0x25,
        ],
        Cipher::AesGcm => b"Noise_NX_25519_AESGCM_BLAKE2s\0\0\0",
    }
}

type Draft<P> = Symmetric<<P as Provider>::Blake2s, <P as Provider>::Aead>;

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Provider => Self::Provider,
            Broken::Tag => Self::Decrypt,
        }
    }
}

/// What reading act 2 failed at: a byte, so that it travels in a register.
#[derive(Clone, Copy)]
enum Unread {
    Short,
    BadPoint,
    Broken(Broken),
}

impl From<Unread> for Fault {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Short => Self::Payload,
            Unread::BadPoint => Self::BadPoint,
            Unread::Broken(broken) => broken.into(),
        }
    }
}

/// What an initiator has after act 2: the keys, the responder's static key, and the payload.
pub type Finished<'m, A> = (Split<A>, &'m PublicKey, &'m [u8]);

/// An initiator that has sent act 1.
pub struct Initiator<P: Provider> {
    symmetric: Draft<P>,
    ephemeral: Secret,
}

undisclosed!([P: Provider] Initiator<P>, "Initiator");

impl<P: Provider> Initiator<P> {
    /// One that has not begun.
    pub(super) const fn new(ephemeral: Secret) -> Self {
        Self { symmetric: Draft::<P>::blank(), ephemeral }
    }

    /// Mixes in the prologue (it comes in parts), writes act 1 to the front of `out`. Returns its length beside the
    /// state, `None` when `out` is too small.
    pub fn start(
        cipher: Cipher,
        prologue: &[&[u8]],
        ephemeral: Secret,
        payload: &[u8],
        out: &mut [u8],
    ) -> Option<(Self, usize)> {
        let (e, rest) = out.split_first_chunk_mut()?;
        let to = rest.get_mut(..payload.len())?;
        to.copy_from_slice(payload);
        let mut initiator = Self::new(ephemeral);
        initiator.write_act1(cipher, prologue, payload, e);
        Some((initiator, ACT1_OVERHEAD + payload.len()))
    }

    /// As [`start`](Self::start), in place, and all of act 1 but its payload.
    #[inline]
    pub(super) fn write_act1(&mut self, cipher: Cipher, prologue: &[&[u8]], payload: &[u8], e: &mut PublicKey) {
        let Self { symmetric, ephemeral } = self;
        symmetric.start(name(cipher), cipher, prologue);
        *e = P::x25519_public(ephemeral);
        symmetric.mix_hash(&[e]);
        symmetric.mix_hash(&[payload]);
    }

    /// Reads act 2 in place. Yields the keys, the responder's static key, and the payload.
    pub fn finish(mut self, act2: &mut [u8]) -> Result<Finished<'_, P::Aead>, Fault> {
        let (static_key, payload) = self.read_act2(act2)?;
        Ok((self.split()?, static_key, payload))
    }

    /// As [`finish`](Self::finish), without the keys, which [`split`](Self::split) yields.
    #[inline]
    pub(super) fn read_act2<'m>(&mut self, act2: &'m mut [u8]) -> Result<(&'m PublicKey, &'m [u8]), Fault> {
        Ok(self.open_act2(act2)?)
    }

    fn open_act2<'m>(&mut self, act2: &'m mut [u8]) -> Result<(&'m PublicKey, &'m [u8]), Unread> {
        let (e, rest) = act2.split_first_chunk_mut::<32>().ok_or(Unread::Short)?;
        let (s, rest) = rest.split_first_chunk_mut::<32>().ok_or(Unread::Short)?;
        let (s_tag, rest) = rest.split_first_chunk_mut::<TAG_LEN>().ok_or(Unread::Short)?;
        let (payload, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(Unread::Short)?;
        self.symmetric.mix_hash(&[e]);
        self.open(true, e, s, s_tag)?;
        self.open(false, s, payload, tag)?;
        Ok((s, payload))
    }

    /// Agrees with a key of the responder, mixes the secret in, and opens what is sealed under it.
    #[cfg_attr(target_os = "none", inline(never))]
    fn open(&mut self, first: bool, public: &PublicKey, text: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), Unread> {
        let shared = P::x25519(&self.ephemeral, public).map_err(|_| Unread::BadPoint)?;
        self.symmetric.open(first, &shared, text, tag).map_err(Unread::Broken)
    }

    /// The keys, once act 2 was read.
    #[inline]
    pub(super) fn split(&self) -> Result<Split<P::Aead>, Fault> {
        self.symmetric.split().ok_or(Fault::Provider)
    }
}

/// A responder that knows the prologue and waits for act 1.
pub struct Responder<P: Provider> {
    symmetric: Draft<P>,
}

undisclosed!([P: Provider] Responder<P>, "Responder");

impl<P: Provider> Responder<P> {
    /// Mixes in the prologue, which comes in parts.
    #[must_use]
    pub fn new(cipher: Cipher, prologue: &[&[u8]]) -> Self {
        let mut symmetric = Draft::<P>::blank();
        symmetric.start(name(cipher), cipher, prologue);
        Self { symmetric }
    }

    /// Reads act 1 and writes act 2 to the front of `out`. Yields the keys and the length of act 2; `Fault::Payload` when
    /// act 1 is shorter than a key or `out` too small.
    pub fn finish(
        mut self,
        act1: &[u8],
        ephemeral: &Secret,
        static_key: (&Secret, &PublicKey),
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<(Split<P::Aead>, usize), Fault> {
        let len = self.answer(act1, ephemeral, static_key, payload, out)?;
        Ok((self.split()?, len))
    }

    /// As [`finish`](Self::finish), in place and without the keys, which [`split`](Self::split) yields.
    pub(super) fn answer(
        &mut self,
        act1: &[u8],
        ephemeral: &Secret,
        static_key: (&Secret, &PublicKey),
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Fault> {
        let symmetric = &mut self.symmetric;
        let (their_e, act1_payload) = act1.split_first_chunk().ok_or(Fault::Payload)?;
        symmetric.mix_hash(&[their_e]);
        symmetric.mix_hash(&[act1_payload]);

        let (e, rest) = out.split_first_chunk_mut::<32>().ok_or(Fault::Payload)?;
        let (s, rest) = rest.split_first_chunk_mut::<32>().ok_or(Fault::Payload)?;
        let (s_tag, rest) = rest.split_first_chunk_mut::<TAG_LEN>().ok_or(Fault::Payload)?;
        let (text, rest) = rest.split_at_mut_checked(payload.len()).ok_or(Fault::Payload)?;
        let tag = rest.first_chunk_mut::<TAG_LEN>().ok_or(Fault::Payload)?;

        let agree = |secret| P::x25519(secret, their_e).map_err(|_| Fault::BadPoint);
        *e = P::x25519_public(ephemeral);
        symmetric.mix_hash(&[e]);
        *s = *static_key.1;
        symmetric.seal(true, &agree(ephemeral)?, s, s_tag)?;
        text.copy_from_slice(payload);
        symmetric.seal(false, &agree(static_key.0)?, text, tag)?;
        Ok(ACT2_OVERHEAD + payload.len())
    }

    /// The keys, once act 1 was answered.
    pub(super) fn split(&self) -> Result<Split<P::Aead>, Fault> {
        self.symmetric.split().ok_or(Fault::Provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::RustCrypto;

    /// D-SEC-11: the 33-byte name is hashed, the 29-byte name padded.
    #[test]
    fn names_start_the_hash_as_the_catalogue_says() {
        use crate::crypto::Hash;
        let hashed = <RustCrypto as Provider>::Blake2s::digest([b"Noise_NX_25519_ChaChaPoly_BLAKE2s"]);
        assert_eq!(*name(Cipher::ChaChaPoly), hashed);
        assert_eq!(name(Cipher::AesGcm).strip_prefix(b"Noise_NX_25519_AESGCM_BLAKE2s"), Some([0; 3].as_slice()));
        let start =
            |cipher, prologue: &[&[u8]]| hex::encode(Responder::<RustCrypto>::new(cipher, prologue).symmetric.hash());
        // BLAKE2s(h then an empty prologue), with h from draft.json, worked out by another implementation.
        let initial = |h: &str| {
            let h = hex::decode(h).unwrap();
            hex::encode(<RustCrypto as Provider>::Blake2s::digest([h.as_slice()]))
        };
        assert_eq!(
            start(Cipher::ChaChaPoly, &[]),
            initial("9227ce1a77033df3f24cd192c19c0bbea8d5d70a36c4837fdc6ff1418f04b425")
        );
        assert_eq!(
            start(Cipher::AesGcm, &[]),
            initial("4e6f6973655f4e585f32353531395f41455347434d5f424c414b453273000000")
        );
        // The captured STR3 handshake.
        assert_eq!(
            start(Cipher::ChaChaPoly, &[&[2], b"CHCHAESG", b"CHCH"]),
            "c000726d54da96f7a4b923e7e485c6182d33875a08b5aaf176057a05caf64c6c"
        );
    }

    /// A point of small order gives an all-zero secret: refused by both sides.
    #[test]
    fn small_order_points_are_refused() {
        let secret = || Secret::from_bytes([5; 32]);
        let public = RustCrypto::<crate::crypto::BothCiphers>::x25519_public(&secret());
        let mut out = [0; 256];
        let responder = Responder::<RustCrypto>::new(Cipher::ChaChaPoly, &[]);
        let result = responder.finish(&[0; 32], &secret(), (&secret(), &public), &[], &mut out);
        assert_eq!(result.err(), Some(Fault::BadPoint));
        let (initiator, _) = Initiator::<RustCrypto>::start(Cipher::ChaChaPoly, &[], secret(), &[], &mut out).unwrap();
        assert_eq!(initiator.finish(&mut [0; ACT2_OVERHEAD]).err(), Some(Fault::BadPoint));
    }
}
