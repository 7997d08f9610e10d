//! The Ed25519 authority, the certificates it signs, and a server's identity under one (D-SEC-13 to D-SEC-15).

use core::marker::PhantomData;

use super::super::certificate::{Certificate, CertificateError, VERSION, joined};
use super::super::error::Fault;
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
        joined(&[&self.header(), &KEY_PREFIX, static_key, &KEY_PREFIX, authority])
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
        if self.version != VERSION {
            return Err(CertificateError::Version(self.version));
        }
        P::ed25519_verify(authority, &self.signed_bytes(static_key, authority), &self.signature)
            .map_err(|_| CertificateError::Signature)?;
        self.check_period(wall, tolerance)
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

    /// Reads a certificate message of either length: its length tells where the signature is.
    pub(super) fn from_payload(payload: &[u8]) -> Result<Self, Fault> {
        let (header, rest) = payload.split_first_chunk().ok_or(Fault::Payload)?;
        let signature = match payload.len() {
            OLD_PAYLOAD_LEN => rest.strip_prefix(&SIGNATURE_PREFIX).ok_or(Fault::Payload)?,
            _ => rest,
        };
        Ok(Self::from_parts(header, *<&Signature>::try_from(signature).map_err(|_| Fault::Payload)?))
    }
}

/// A server's static key pair with the certificate for it.
#[derive(Clone)]
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
