//! The draft revision's suite: algorithm negotiation, then `Noise_NX_25519_{ChaChaPoly,AESGCM}_BLAKE2s` (D-SEC-5 to D-SEC-16).
//!
//! Here live the three profiles in which that was ever spoken, the two sides of the handshake and the Ed25519 authority. What
//! other suites share is one level up.
//!
//! ```text
//! STR3 and STR2:  -> offer    <- choice    -> act 1: e    <- act 2: e, ee, s, es, certificate
//! LEGACY:                                  -> act 1: e    <- act 2: e, ee, s, es, certificate
//! ```
//! Every message has its length before it, U16 little-endian (D-SEC-9).

mod authority;
mod initiator;
mod negotiation;
pub mod nx;
mod responder;

pub use authority::{Authority, Identity};
pub use initiator::{Authentication, Initiator, InitiatorConfig};
pub use negotiation::{CipherList, Profile};
pub use responder::{Policy, Responder};

use super::certificate::join;
use super::error::Fault;

/// Bytes of a length prefix.
const PREFIX_LEN: usize = 2;

/// The longest message that an initiator reads, prefix included: act 2 of the older profiles.
pub const INITIATOR_INPUT: usize = PREFIX_LEN + nx::ACT2_OVERHEAD + authority::OLD_PAYLOAD_LEN;

/// The longest message that a responder reads, prefix included: an offer of 255 ciphers.
pub const RESPONDER_INPUT: usize = PREFIX_LEN + negotiation::offer_len(255);

/// Room that is enough for any message that either side writes, prefix included.
pub const OUTPUT_ROOM: usize = INITIATOR_INPUT;

/// A view of the first message in `input`.
struct Framed<'a> {
    /// Its length by the prefix.
    len: u16,
    /// What is there of it; all of it when `complete`.
    body: &'a [u8],
    complete: bool,
}

impl<'a> Framed<'a> {
    /// `None` before both bytes of the prefix are there.
    fn read(input: &'a [u8]) -> Option<Self> {
        let (prefix, rest) = input.split_first_chunk()?;
        let len = u16::from_le_bytes(*prefix);
        Some(match rest.get(..usize::from(len)) {
            Some(body) => Self { len, body, complete: true },
            None => Self { len, body: rest, complete: false },
        })
    }

    const fn bad_length(&self) -> Fault {
        Fault::Length { got: self.len }
    }

    /// Bytes on the wire, prefix included.
    fn wire_len(&self) -> usize {
        PREFIX_LEN + usize::from(self.len)
    }
}

/// Copies parts one after the other behind a length prefix. Returns the bytes written, `None` without enough room.
fn write_framed(output: &mut [u8], parts: &[&[u8]]) -> Option<usize> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let (prefix, rest) = output.split_first_chunk_mut()?;
    let rest = rest.get_mut(..len)?;
    *prefix = u16::try_from(len).ok()?.to_le_bytes();
    join(rest, parts);
    Some(PREFIX_LEN + len)
}

#[cfg(test)]
mod tests;
