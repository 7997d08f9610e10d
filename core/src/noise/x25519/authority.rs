//! The Ed25519 authority, the certificates it signs, and a server's identity under one (D-SEC-13 to D-SEC-15).

use core::fmt;
use core::marker::PhantomData;

use super::super::certificate::{Certificate, CertificateError, Period, VERSION, join, joined};
use crate::crypto::{Provider, PublicKey, Secret, Signature};
use crate::time::UnixTime;

/// Bytes of the certificate message in STR3: header, signature.
pub(super) const PAYLOAD_LEN: usize = Certificate::HEADER_LEN + 64;

/// Bytes of the certificate message in STR2 and LEGACY: header, `40 00`, signature.
pub(super) const OLD_PAYLOAD_LEN: usize = PAYLOAD_LEN + 2;

/// The length bytes of a 32-byte key and of a signature where they are written as byte strings.
const KEY_PREFIX: [u8; 2] = 32_u16.to_le_bytes();
const SIGNATURE_PREFIX: [u8; 2] = 64_u16.to_le_bytes();

/// A pool's authority key pair, which signs the static keys of its servers.
pub struct Authority<P> {
    seed: Secret,
    public: PublicKey,
    provider: PhantomData<fn() -> P>,
}

impl<P> fmt::Debug for Authority<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("public", &self.public).finish_non_exhaustive()
    }
}

impl<P: Provider> Authority<P> {
    /// The key pair of an Ed25519 seed: 32 bytes from a generator of random numbers, or from a file.
    #[must_use]
    pub fn from_seed(seed: Secret) -> Self {
        let public = P::ed25519_public(&seed);
        Self { seed, public, provider: PhantomData }
    }

    /// The key that miners put into their URL.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Certifies a server's static X25519 key from `valid_from` to `not_valid_after`, both included.
    pub fn certify(
        &self,
        static_key: &PublicKey,
        valid_from: UnixTime,
        not_valid_after: UnixTime,
    ) -> Result<Certificate, CertificateError> {
        if valid_from > not_valid_after {
            return Err(CertificateError::EmptyPeriod);
        }
        let mut certificate = Certificate { version: VERSION, valid_from, not_valid_after, signature: [0; 64] };
        certificate.signature = P::ed25519_sign(&self.seed, &certificate.signed_bytes(static_key, &self.public));
        Ok(certificate)
    }
}

impl Certificate {
    /// The 78 bytes under the signature (D-SEC-15, open question 1): header, static key and authority key, each key with
    /// its length before it.
    #[must_use]
    pub fn signed_bytes(&self, static_key: &PublicKey, authority: &PublicKey) -> [u8; 78] {
        let mut bytes = [0; 78];
        write_signed(&mut bytes, &self.header(), static_key, authority);
        bytes
    }

    /// D-SEC-14: whether `authority` vouches for `static_key` at the time `wall`, give or take `tolerance` seconds. The
    /// signature is checked before the period, so that "expired" is never said of a forgery.
    pub fn verify<P: Provider>(
        &self,
        static_key: &PublicKey,
        authority: &PublicKey,
        wall: UnixTime,
        tolerance: u32,
    ) -> Result<(), CertificateError> {
        Shown { header: &self.header(), signature: &self.signature }
            .verify::<P>(static_key, authority, wall, tolerance)
            .map(drop)
    }

    /// The certificate message, 76 bytes of which STR3 uses 74: returns how many count.
    pub(super) fn payload(&self, old: bool) -> ([u8; OLD_PAYLOAD_LEN], usize) {
        let header = self.header();
        if old {
            (joined(&[&header, &SIGNATURE_PREFIX, &self.signature]), OLD_PAYLOAD_LEN)
        } else {
            (joined(&[&header, &self.signature]), PAYLOAD_LEN)
        }
    }
}

/// A certificate as it stands in its message, which is also how it stands under its signature: nothing is copied to judge it.
#[derive(Clone, Copy)]
pub(super) struct Shown<'m> {
    header: &'m [u8; Certificate::HEADER_LEN],
    signature: &'m Signature,
}

impl<'m> Shown<'m> {
    /// Reads a certificate message of either length; `None` when it is none.
    #[inline]
    pub(super) fn read(payload: &'m [u8]) -> Option<Self> {
        let (header, rest) = payload.split_first_chunk()?;
        let (between, signature) = rest.split_last_chunk()?;
        (between.is_empty() || between == SIGNATURE_PREFIX).then_some(Self { header, signature })
    }

    /// See [`Certificate::verify`]. Yields the last second of the period.
    #[inline]
    pub(super) fn verify<P: Provider>(
        self,
        static_key: &PublicKey,
        authority: &PublicKey,
        wall: UnixTime,
        tolerance: u32,
    ) -> Result<UnixTime, CertificateError> {
        let period = Period::read(self.header);
        if period.version != VERSION {
            return Err(CertificateError::Version(period.version));
        }
        let mut signed = [0; 78];
        write_signed(&mut signed, self.header, static_key, authority);
        P::ed25519_verify(authority, &signed, self.signature).map_err(|_| CertificateError::Signature)?;
        period.check(wall, tolerance)?;
        Ok(period.not_valid_after)
    }
}

/// See [`Certificate::signed_bytes`].
#[inline]
fn write_signed(
    bytes: &mut [u8; 78],
    header: &[u8; Certificate::HEADER_LEN],
    static_key: &PublicKey,
    authority: &PublicKey,
) {
    join(bytes, &[header, &KEY_PREFIX, static_key, &KEY_PREFIX, authority]);
}

/// A server's static key pair with the certificate for it.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) secret: Secret,
    pub(super) public: PublicKey,
    pub(super) certificate: Certificate,
}

impl Identity {
    /// Joins a static X25519 secret with its certificate. Whether they fit together only the authority's public key can tell:
    /// [`Certificate::verify`].
    #[must_use]
    pub fn new<P: Provider>(secret: Secret, certificate: Certificate) -> Self {
        let public = P::x25519_public(&secret);
        Self { secret, public, certificate }
    }

    /// A static key pair with a fresh certificate for it: what a server does that holds the authority's key itself.
    pub fn issue<P: Provider>(
        secret: Secret,
        authority: &Authority<P>,
        valid_from: UnixTime,
        not_valid_after: UnixTime,
    ) -> Result<Self, CertificateError> {
        let public = P::x25519_public(&secret);
        let certificate = authority.certify(&public, valid_from, not_valid_after)?;
        Ok(Self { secret, public, certificate })
    }

    /// The static public key.
    #[must_use]
    pub const fn static_key(&self) -> &PublicKey {
        &self.public
    }

    /// The certificate; its `not_valid_after` says when a new one is due.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}
