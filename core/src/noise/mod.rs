//! The handshake: from the first byte of a connection to two cipher keys and the peer's identity.
//!
//! Here live what all suites share (the symmetric half of Noise, cipher states, the certificate's fields, errors, the outcome) and one
//! folder per suite: [`x25519`] is the draft revision's, with its algorithm negotiation. Records and frames must not: the outcome's
//! cipher states go to [`transport`](crate::transport).
//!
//! A handshake is driven as `process(wall, input, output)` until it yields [`Step::Complete`]: it reads whole messages from the front
//! of `input`, writes its own to the front of `output`, and owns neither. Then `established` yields what it leaves behind. How messages are
//! delimited on the wire is the suite's affair.

mod certificate;
mod cipher_state;
mod error;
mod symmetric;
pub mod x25519;

pub use certificate::{Certificate, CertificateError};
pub use cipher_state::{CipherState, CipherStateError};
pub use error::{Act, Fault, NoiseError};

use crate::crypto::{Provider, PublicKey};
use crate::time::UnixTime;
use core::fmt;

/// What one call of `process` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next message is not complete yet: call again with more bytes after those that are there.
    NeedInput,
    /// The answer does not fit: call again with more room (the suite names how much is always enough).
    NeedOutput,
    /// A message was taken, an answer given, or both. Call again at once.
    Progress {
        /// Bytes to drop from the front of `input`.
        consumed: usize,
        /// Bytes now at the front of `output`, to be sent.
        written: usize,
    },
    /// As [`Step::Progress`], and the handshake is over: what it agreed on is to be taken with the machine's `established`. Input after
    /// `consumed` belongs to the transport.
    Complete {
        /// Bytes to drop from the front of `input`.
        consumed: usize,
        /// Bytes now at the front of `output`, to be sent.
        written: usize,
    },
}

/// What a finished handshake leaves behind.
pub struct Established<P: Provider> {
    /// Seals what this side sends.
    pub send: CipherState<P::Aead>,
    /// Opens what the peer sends.
    pub receive: CipherState<P::Aead>,
    /// Who the peer is.
    pub peer: PeerIdentity,
    /// The final handshake hash: the same on both sides and unique to this session, for channel binding. Not secret.
    pub handshake_hash: [u8; 32],
}

impl<P: Provider> fmt::Debug for Established<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Who stands at the other end, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// So that `static_key` has one place, whichever it is: to copy it from one of two takes 100 bytes of firmware.
#[repr(C)]
pub enum PeerIdentity {
    /// The peer holds `static_key`, and `authority` signed it for a period that `wall` was in (D-SEC-14).
    Authenticated {
        /// The server's static key.
        static_key: PublicKey,
        /// The authority key that the caller demanded.
        authority: PublicKey,
        /// End of the certificate's period.
        not_valid_after: UnixTime,
    },
    /// The caller asked for no authentication. The link is encrypted to whoever answered, which may be anybody.
    Unauthenticated {
        /// The static key that the peer showed; pin it, or learn nothing from it.
        static_key: PublicKey,
    },
    /// An initiator, as a responder sees it: in the NX pattern it has no key to show.
    Anonymous,
}

impl PeerIdentity {
    /// Whether an authority vouched for the peer.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        matches!(self, Self::Authenticated { .. })
    }
}
