//! What can go wrong in a handshake: in which act, and how.

use core::fmt;

use super::certificate::CertificateError;
use super::x25519::Profile;
use crate::crypto::Cipher;

/// The messages of a handshake, in their order. Not every suite and profile has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// The initiator's list of ciphers.
    Offer,
    /// The responder's choice from it.
    Choice,
    /// `-> e`
    One,
    /// `<- e, ee, s, es` with the certificate.
    Two,
}

/// A handshake that failed. Final: the machine returns the same error from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseError {
    /// The message that was being read or made.
    pub act: Act,
    /// What was wrong with it.
    pub fault: Fault,
}

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The length prefix says what no message of this act can have; `got` is its value.
    Length {
        /// The prefix.
        got: u16,
    },
    /// The offer or choice begins with these bytes instead of a profile's magic.
    Magic([u8; 4]),
    /// The count of ciphers does not fit the message's length.
    Count(u8),
    /// The peer speaks a profile that this responder's policy leaves out.
    ProfileRefused(Profile),
    /// The offer has no cipher that this responder allows.
    NoCommonCipher,
    /// The responder chose a cipher by a code that nobody knows.
    UnknownCipher([u8; 4]),
    /// The responder chose a cipher that was not in the list.
    NotOffered(Cipher),
    /// The peer's key is a point of small order, so the shared secret would be known to everybody.
    BadPoint,
    /// A tag does not match: changed on the way, another prologue, or another key.
    Decrypt,
    /// The decrypted certificate message is not laid out as one.
    Payload,
    /// The certificate does not vouch for the peer.
    Certificate(CertificateError),
    /// Not the peer's fault: no cipher of the configuration is one that the provider has (a LEGACY peer needs `ChaChaPoly`).
    NothingToOffer,
    /// Not the peer's fault: the cryptography provider failed.
    Provider,
    /// Not the peer's fault: called after the handshake was complete.
    Over,
}

impl Fault {
    /// See [`Error::code`](crate::error::Error::code).
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Certificate(error) => 0x80 | error.code(),
            fault => fault.position(),
        }
    }

    /// In the order of the declaration and without a gap, which makes no code of it but a subtraction.
    const fn position(self) -> u8 {
        match self {
            Self::Length { .. } => 0,
            Self::Magic(_) => 1,
            Self::Count(_) => 2,
            Self::ProfileRefused(_) => 3,
            Self::NoCommonCipher => 4,
            Self::UnknownCipher(_) => 5,
            Self::NotOffered(_) => 6,
            Self::BadPoint => 7,
            Self::Decrypt => 8,
            Self::Payload => 9,
            Self::Certificate(_) => 10,
            Self::NothingToOffer => 11,
            Self::Provider => 12,
            Self::Over => 13,
        }
    }
}

impl NoiseError {
    pub(crate) const fn new(act: Act, fault: Fault) -> Self {
        Self { act, fault }
    }

    /// Whether the peer, or someone on the way to it, caused this.
    #[must_use]
    pub const fn is_peers_fault(&self) -> bool {
        !matches!(self.fault, Fault::NothingToOffer | Fault::Provider | Fault::Over)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offer => "cipher offer",
            Self::Choice => "cipher choice",
            Self::One => "act 1",
            Self::Two => "act 2",
        })
    }
}

impl fmt::Display for NoiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Noise handshake, {}: {}", self.act, self.fault)
    }
}

impl core::error::Error for NoiseError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got } => write!(f, "a length of {got} bytes is not possible here"),
            Self::Magic(magic) => write!(f, "unknown magic \"{}\"", magic.escape_ascii()),
            Self::Count(count) => write!(f, "count of {count} ciphers does not fit the length"),
            Self::ProfileRefused(profile) => write!(f, "profile {profile} is not served here"),
            Self::NoCommonCipher => f.write_str("no cipher in common"),
            Self::UnknownCipher(code) => write!(f, "unknown cipher \"{}\" chosen", code.escape_ascii()),
            Self::NotOffered(cipher) => write!(f, "{cipher} chosen, which was not offered"),
            Self::BadPoint => f.write_str("public key of small order"),
            Self::Decrypt => f.write_str("authentication tag does not match"),
            Self::Payload => f.write_str("malformed certificate message"),
            Self::Certificate(error) => error.fmt(f),
            Self::NothingToOffer => f.write_str("no configured cipher is available"),
            Self::Provider => f.write_str("the cryptography provider failed"),
            Self::Over => f.write_str("the handshake is over"),
        }
    }
}
