//! The fields of a server's certificate, as both revisions have them. Who signs which bytes is the suite's affair.

use core::fmt;

use crate::crypto::Signature;
use crate::time::UnixTime;

/// The only version of certificates there is (open question 33).
pub(crate) const VERSION: u16 = 0;

/// What a responder sends in act 2 beside its static key (`SIGNATURE_NOISE_MESSAGE`, D-SEC-13). Public data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Version of the certificate's format: 0.
    pub version: u16,
    /// First second of the period.
    pub valid_from: UnixTime,
    /// Last second of the period.
    pub not_valid_after: UnixTime,
    /// The authority's signature.
    pub signature: Signature,
}

/// Why a certificate does not vouch for a server, or was not issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// A version that this code does not know.
    Version(u16),
    /// Not signed by the expected authority for this static key and period.
    Signature,
    /// The period has yet to begin.
    NotYetValid {
        /// Its first second.
        valid_from: UnixTime,
    },
    /// The period is over.
    Expired {
        /// Its last second.
        not_valid_after: UnixTime,
    },
    /// The period ends before it begins; nobody would ever accept it.
    EmptyPeriod,
}

impl CertificateError {
    /// See [`Error::code`](crate::error::Error::code).
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Version(_) => 0,
            Self::Signature => 1,
            Self::NotYetValid { .. } => 2,
            Self::Expired { .. } => 3,
            Self::EmptyPeriod => 4,
        }
    }
}

impl Certificate {
    /// Bytes of version and period on the wire and under the signature.
    pub(crate) const HEADER_LEN: usize = 10;

    /// Version and period, little-endian.
    pub(crate) fn header(&self) -> [u8; Self::HEADER_LEN] {
        joined(&[
            &self.version.to_le_bytes(),
            &self.valid_from.as_secs().to_le_bytes(),
            &self.not_valid_after.as_secs().to_le_bytes(),
        ])
    }

    /// Whether `wall` is in the period, both ends included, give or take `tolerance` seconds for clocks that are a little off.
    pub fn check_period(&self, wall: UnixTime, tolerance: u32) -> Result<(), CertificateError> {
        let Self { version, valid_from, not_valid_after, .. } = *self;
        Period { version, valid_from, not_valid_after }.check(wall, tolerance)
    }
}

/// The header of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) version: u16,
    pub(crate) valid_from: UnixTime,
    pub(crate) not_valid_after: UnixTime,
}

impl Period {
    /// The reverse of [`Certificate::header`].
    #[inline]
    pub(crate) fn read(header: &[u8; Certificate::HEADER_LEN]) -> Self {
        let [version @ .., _, _, _, _, _, _, _, _] = header;
        let [_, _, valid_from @ .., _, _, _, _] = header;
        let [_, _, _, _, _, _, not_valid_after @ ..] = header;
        Self {
            version: u16::from_le_bytes(*version),
            valid_from: UnixTime::from_secs(u32::from_le_bytes(*valid_from)),
            not_valid_after: UnixTime::from_secs(u32::from_le_bytes(*not_valid_after)),
        }
    }

    /// See [`Certificate::check_period`].
    pub(crate) fn check(self, wall: UnixTime, tolerance: u32) -> Result<(), CertificateError> {
        let (now, from, until) = (wall.as_secs(), self.valid_from.as_secs(), self.not_valid_after.as_secs());
        if now.saturating_add(tolerance) < from {
            return Err(CertificateError::NotYetValid { valid_from: self.valid_from });
        }
        if now > until.saturating_add(tolerance) {
            return Err(CertificateError::Expired { not_valid_after: self.not_valid_after });
        }
        Ok(())
    }
}

/// The parts one after the other. The callers' lengths add up; zeros would follow if they did not.
pub(crate) fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    join(&mut bytes, parts);
    bytes
}

/// Copies the parts one after the other, as far as there is room for whole ones.
#[cfg_attr(target_os = "none", inline(never))]
pub(crate) fn join(mut bytes: &mut [u8], parts: &[&[u8]]) {
    for part in parts {
        let Some((to, rest)) = bytes.split_at_mut_checked(part.len()) else { return };
        // Not `copy_from_slice`, whose panic would stay in firmware.
        to.iter_mut().zip(*part).for_each(|(to, from)| *to = *from);
        bytes = rest;
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "certificate has unknown version {version}"),
            Self::Signature => f.write_str("certificate is not signed by the expected authority for this server key"),
            Self::NotYetValid { valid_from } => {
                write!(f, "certificate is not valid before {} (unix time)", valid_from.as_secs())
            }
            Self::Expired { not_valid_after } => {
                write!(f, "certificate expired after {} (unix time)", not_valid_after.as_secs())
            }
            Self::EmptyPeriod => f.write_str("certificate period ends before it begins"),
        }
    }
}

impl core::error::Error for CertificateError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(from: u32, until: u32) -> Certificate {
        Certificate {
            version: 0,
            valid_from: UnixTime::from_secs(from),
            not_valid_after: UnixTime::from_secs(until),
            signature: [0; 64],
        }
    }

    /// D-SEC-14: the period includes both ends.
    #[test]
    fn both_ends_belong_to_the_period_and_tolerance_widens_it() {
        let certificate = certificate(100, 200);
        let at = |secs, tolerance| certificate.check_period(UnixTime::from_secs(secs), tolerance);
        let early = Err(CertificateError::NotYetValid { valid_from: UnixTime::from_secs(100) });
        let late = Err(CertificateError::Expired { not_valid_after: UnixTime::from_secs(200) });
        assert_eq!(at(99, 0), early);
        assert_eq!(at(100, 0), Ok(()));
        assert_eq!(at(200, 0), Ok(()));
        assert_eq!(at(201, 0), late);
        assert_eq!(at(89, 10), early);
        assert_eq!(at(90, 10), Ok(()));
        assert_eq!(at(210, 10), Ok(()));
        assert_eq!(at(211, 10), late);
    }

    #[test]
    fn the_end_of_time_does_not_wrap() {
        let certificate = certificate(u32::MAX, u32::MAX);
        assert_eq!(certificate.check_period(UnixTime::from_secs(u32::MAX), u32::MAX), Ok(()));
        assert!(certificate.check_period(UnixTime::from_secs(0), u32::MAX - 1).is_err());
    }

    #[test]
    fn header_round_trips() {
        let certificate = certificate(0x0403_0201, 0x0807_0605);
        assert_eq!(certificate.header(), [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let Certificate { version, valid_from, not_valid_after, .. } = certificate;
        assert_eq!(Period::read(&certificate.header()), Period { version, valid_from, not_valid_after });
    }
}
