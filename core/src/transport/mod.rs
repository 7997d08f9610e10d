//! The record layer: frames to bytes on the wire and back, sealed or plain.
//!
//! Here live chunks, length prefixes and the limits of records. What a frame is must not: this layer sees bytes with a beginning and an
//! end when it seals, and a stream when it opens, because a peer may put several frames or a part of one into a record.
//!
//! Sealed (D-SEC-9, D-SEC-17): a frame is cut into chunks of at most [`MAX_CHUNK`] bytes. Each becomes a record: its length U16
//! little-endian with the tag counted, then ciphertext and tag. The frame's header is sealed with the rest. Plain (D-SEC-2): frames as they are.

use crate::crypto::undisclosed;
use core::fmt;
use core::ops::Range;

use crate::crypto::{Provider, TAG_LEN};
use crate::noise::{CipherState, CipherStateError};

/// Bytes of plaintext that a record holds at most: a Noise message has 65,535 bytes with its tag.
pub const MAX_CHUNK: usize = 65_535 - TAG_LEN;

/// Bytes that sealing adds to a chunk: length prefix and tag.
pub const OVERHEAD: usize = PREFIX_LEN + TAG_LEN;

const PREFIX_LEN: usize = 2;

/// Where the plaintext of a frame that is to be sealed begins.
pub(crate) const HEAD_ROOM: usize = PREFIX_LEN;

/// Bytes on the wire of a sealed frame of `len` bytes of plaintext.
#[cfg_attr(target_os = "none", inline(never))]
pub(crate) const fn sealed_len(len: usize) -> usize {
    len.saturating_add(len.div_ceil(MAX_CHUNK).saturating_mul(OVERHEAD))
}

/// Why the record layer refused. After the peer's faults the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// Peer: a record of this many bytes, too short for a tag.
    TooShort {
        /// Its length by the prefix.
        got: u16,
    },
    /// Peer: two records without content in a row. No frame needs even one.
    Empty,
    /// Peer: changed on the way, replayed, reordered, or sealed under another key.
    Decrypt,
    /// Local: the key has no nonces left for this frame. Nothing was sealed.
    Exhausted,
    /// Local: the buffer cannot hold the sealed frame ([`Transport::sealed_len`]). Nothing was sealed.
    NoRoom,
    /// Local: the cryptography provider failed; the link is of no more use.
    Provider,
    /// Local: what was handed in is not one whole record.
    Incomplete,
}

impl TransportError {
    /// See [`Error::code`](crate::error::Error::code).
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::TooShort { .. } => 0,
            Self::Empty => 1,
            Self::Decrypt => 2,
            Self::Exhausted => 3,
            Self::NoRoom => 4,
            Self::Provider => 5,
            Self::Incomplete => 6,
        }
    }

    /// Whether the peer, or someone on the way to it, caused this.
    #[must_use]
    pub const fn is_peers_fault(self) -> bool {
        matches!(self, Self::TooShort { .. } | Self::Empty | Self::Decrypt)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { got } => write!(f, "record of {got} bytes is too short for a tag"),
            Self::Empty => f.write_str("two empty records in a row"),
            Self::Decrypt => f.write_str("record's authentication tag does not match"),
            Self::Exhausted => f.write_str("the key has no nonces left"),
            Self::NoRoom => f.write_str("no room for the sealed frame"),
            Self::Provider => f.write_str("the cryptography provider failed"),
            Self::Incomplete => f.write_str("not one whole record"),
        }
    }
}

impl core::error::Error for TransportError {}

/// Both directions of a link after the handshake, or without one.
pub struct Transport<P: Provider>(Kind<P>);

undisclosed!([P: Provider] Transport<P>, "Transport");

enum Kind<P: Provider> {
    Plain,
    Sealed(Records<P>),
}

struct Records<P: Provider> {
    send: CipherState<P::Aead>,
    receive: CipherState<P::Aead>,
    /// The last opened record was empty.
    after_empty: bool,
}

impl<P: Provider> Records<P> {
    /// Moves the chunk of this index, whose plaintext ends at `end` of its frame, to its place and seals it. A function of its own: the loop over
    /// chunks would otherwise keep nine counters for it.
    #[cfg_attr(target_os = "none", inline(never))]
    fn seal_chunk(&self, buffer: &mut [u8], index: usize, end: usize, nonce: u64) -> Result<(), TransportError> {
        let (start, shift) = (index * MAX_CHUNK, index * OVERHEAD);
        // Always there: the buffer holds every chunk before this one with its overhead. `moved` says so to the compiler, which would leave
        // the panic of `copy_within` in firmware.
        if shift > 0
            && let Some(window) = buffer.get_mut(PREFIX_LEN + start..PREFIX_LEN + end + shift)
            && let Some(moved) = window.len().checked_sub(shift)
        {
            window.copy_within(..moved, shift);
        }
        let record = buffer.get_mut(start + shift..end + shift + OVERHEAD);
        let (prefix, body) =
            record.and_then(|record| record.split_first_chunk_mut()).ok_or(TransportError::Incomplete)?;
        *prefix = (body.len() as u16).to_le_bytes();
        let (text, tag) = body.split_last_chunk_mut().ok_or(TransportError::Incomplete)?;
        self.send.encrypt_as(nonce, text, tag).map_err(|_| TransportError::Provider)
    }
}

impl<P: Provider> Transport<P> {
    /// No encryption: for a local network, when the configuration asks for it (D-SEC-2).
    #[must_use]
    pub const fn plain() -> Self {
        Self(Kind::Plain)
    }

    /// The record layer of the draft revision under the keys of a handshake.
    #[must_use]
    pub const fn sealed(send: CipherState<P::Aead>, receive: CipherState<P::Aead>) -> Self {
        Self(Kind::Sealed(Records { send, receive, after_empty: false }))
    }

    /// Whether bytes are sealed.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        matches!(self.0, Kind::Sealed(_))
    }

    /// Where in the output buffer a frame's plaintext begins before [`seal_frame`](Self::seal_frame), whatever its length.
    #[must_use]
    pub const fn head_room(&self) -> usize {
        match self.0 {
            Kind::Plain => 0,
            Kind::Sealed(_) => HEAD_ROOM,
        }
    }

    /// Bytes on the wire of a frame of `len` bytes of plaintext.
    #[must_use]
    pub const fn sealed_len(&self, len: usize) -> usize {
        match self.0 {
            Kind::Plain => len,
            Kind::Sealed(_) => sealed_len(len),
        }
    }

    /// The longest frame whose sealed form fits into `room` bytes.
    #[must_use]
    pub const fn capacity(&self, room: usize) -> usize {
        match self.0 {
            Kind::Plain => room,
            Kind::Sealed(_) => {
                const RECORD: usize = MAX_CHUNK + OVERHEAD;
                (room / RECORD) * MAX_CHUNK + (room % RECORD).saturating_sub(OVERHEAD)
            }
        }
    }

    /// Seals the frame of `len` bytes whose plaintext stands in `buffer` from [`head_room`](Self::head_room) on, in place.
    /// Returns the bytes on the wire, which then stand at the front of `buffer`. After [`NoRoom`](TransportError::NoRoom) and
    /// [`Exhausted`](TransportError::Exhausted) everything is as it was.
    ///
    /// Only frames over [`MAX_CHUNK`] are moved, each chunk once: the last is moved and sealed first, so that none overwrites another.
    pub fn seal_frame(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, TransportError> {
        let needed = self.sealed_len(len);
        let buffer = buffer.get_mut(..needed).ok_or(TransportError::NoRoom)?;
        let Kind::Sealed(records) = &mut self.0 else { return Ok(needed) };
        let chunks = len.div_ceil(MAX_CHUNK);
        // Counted before they are used: should the provider fail, none of them serves again.
        let nonce = records.send.take(chunks as u64).ok_or(TransportError::Exhausted)?;
        let mut end = len;
        for index in (0..chunks).rev() {
            records.seal_chunk(buffer, index, end, nonce + index as u64)?;
            end = index * MAX_CHUNK;
        }
        Ok(needed)
    }

    /// Bytes of the record at the front of `input`, prefix included; `None` before that can be told. On a plain link
    /// all that is there is one record.
    pub fn record_len(&self, input: &[u8]) -> Result<Option<usize>, TransportError> {
        match self.0 {
            Kind::Plain => Ok(Some(input.len()).filter(|len| *len > 0)),
            Kind::Sealed(_) => {
                let Some(prefix) = input.first_chunk() else { return Ok(None) };
                let got = u16::from_le_bytes(*prefix);
                if usize::from(got) < TAG_LEN {
                    return Err(TransportError::TooShort { got });
                }
                Ok(Some(PREFIX_LEN + usize::from(got)))
            }
        }
    }

    /// Opens one whole record in place. Returns where in it the plaintext stands.
    ///
    /// A record may be empty, but not two in a row: so at least every second record brings the next frame closer, and a peer
    /// cannot keep this side busy with nothing.
    pub fn open_record(&mut self, record: &mut [u8]) -> Result<Range<usize>, TransportError> {
        if self.record_len(record)? != Some(record.len()) {
            return Err(TransportError::Incomplete);
        }
        self.open_whole(record)?;
        Ok(self.body(record.len()))
    }

    /// Where in a record of `length` bytes its plaintext stands.
    #[inline]
    pub(crate) const fn body(&self, length: usize) -> Range<usize> {
        match self.0 {
            Kind::Plain => 0..length,
            Kind::Sealed(_) => PREFIX_LEN..length - TAG_LEN,
        }
    }

    /// As [`open_record`](Self::open_record), of what is known to be one whole record; see [`body`](Self::body).
    #[inline]
    pub(crate) fn open_whole(&mut self, record: &mut [u8]) -> Result<(), TransportError> {
        let Kind::Sealed(records) = &mut self.0 else { return Ok(()) };
        let sealed = record.get_mut(PREFIX_LEN..).ok_or(TransportError::Incomplete)?;
        let (text, tag) = sealed.split_last_chunk_mut().ok_or(TransportError::Incomplete)?;
        records.receive.decrypt(&[], text, tag).map_err(|error| match error {
            CipherStateError::Exhausted => TransportError::Exhausted,
            CipherStateError::Crypto => TransportError::Decrypt,
        })?;
        let empty = text.is_empty();
        if core::mem::replace(&mut records.after_empty, empty) && empty {
            return Err(TransportError::Empty);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
