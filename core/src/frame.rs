//! The frame header (§3.2): six bytes before every payload. Payloads themselves live in [`message`](crate::message).

use crate::wire::U24;

/// Bit 15 of the extension type on the wire.
const CHANNEL_MSG: u16 = 0x8000;

/// What stands before a payload: extension, channel bit, message number, length (D-FRAME-1).
///
/// Its fields are within their ranges by construction, so that encoding cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    extension_type: u16,
    channel_msg: bool,
    msg_type: u8,
    msg_length: U24,
}

impl Header {
    /// Bytes of an encoded header.
    pub const LEN: usize = 6;
    /// Most bytes of a payload: what a `U24` can say.
    pub const MAX_PAYLOAD: usize = 0x00ff_ffff;

    /// A header for a payload of `msg_length` bytes; `None` when `extension_type` has more than 15 bits or `msg_length` more
    /// than 24.
    ///
    /// `msg_length` counts the channel id and leaves out the header (D-FRAME-2).
    #[must_use]
    #[inline]
    pub const fn new(extension_type: u16, channel_msg: bool, msg_type: u8, msg_length: usize) -> Option<Self> {
        if extension_type & CHANNEL_MSG != 0 || msg_length > Self::MAX_PAYLOAD {
            return None;
        }
        match U24::new(msg_length as u32) {
            Some(msg_length) => Some(Self { extension_type, channel_msg, msg_type, msg_length }),
            None => None,
        }
    }

    /// The extension, 15 bits; 0 is the protocol itself. The channel bit plays no part in it (D-FRAME-3).
    #[must_use]
    #[inline]
    pub const fn extension_type(&self) -> u16 {
        self.extension_type
    }

    /// Whether the payload opens with a `U32` channel id (D-FRAME-4). When not, the message is for the immediate peer
    /// (D-FRAME-5).
    #[must_use]
    #[inline]
    pub const fn channel_msg(&self) -> bool {
        self.channel_msg
    }

    /// The number of the message in its extension.
    #[must_use]
    #[inline]
    pub const fn msg_type(&self) -> u8 {
        self.msg_type
    }

    /// Bytes of the payload, in plaintext (D-FRAME-2).
    #[must_use]
    #[inline]
    pub const fn msg_length(&self) -> usize {
        self.msg_length.get() as usize
    }

    /// Whether the message belongs to the protocol itself and to no extension (C-FRAME-3).
    #[must_use]
    #[inline]
    pub const fn is_core(&self) -> bool {
        self.extension_type == 0
    }

    /// Whether the extension is in the range for experiments, 0x4000 to 0x7fff (D-EXT-1).
    #[must_use]
    #[inline]
    pub const fn is_experimental(&self) -> bool {
        self.extension_type >= 0x4000
    }

    /// The channel that a channel message addresses, read from its payload; `None` for other messages and for a payload that
    /// is too short. A proxy forwards by it what it does not understand (D-EXT-2).
    #[must_use]
    pub fn channel_id(&self, payload: &[u8]) -> Option<u32> {
        if !self.channel_msg {
            return None;
        }
        payload.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// The six bytes as they go over the wire.
    #[must_use]
    #[inline]
    pub const fn encode(&self) -> [u8; Self::LEN] {
        let bit = if self.channel_msg { CHANNEL_MSG } else { 0 };
        let [extension_low, extension_high] = (self.extension_type | bit).to_le_bytes();
        let [length_low, length_mid, length_high] = self.msg_length.to_le_bytes();
        [extension_low, extension_high, self.msg_type, length_low, length_mid, length_high]
    }

    /// The header that six bytes mean. Every six bytes are a header.
    #[must_use]
    #[inline]
    pub const fn decode([extension_low, extension_high, msg_type, low, mid, high]: [u8; Self::LEN]) -> Self {
        let extension = u16::from_le_bytes([extension_low, extension_high]);
        Self {
            extension_type: extension & !CHANNEL_MSG,
            channel_msg: extension & CHANNEL_MSG != 0,
            msg_type,
            msg_length: U24::from_le_bytes([low, mid, high]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// D-FRAME-1, D-FRAME-3: little-endian, the channel bit on top of the extension type.
    #[test]
    fn a_header_is_six_bytes() {
        let header = Header::new(0, true, 0x1a, 24).unwrap();
        assert_eq!(header.encode(), [0x00, 0x80, 0x1a, 24, 0, 0]);
        let header = Header::new(0x0abc, false, 0x05, 0x01_02_03).unwrap();
        assert_eq!(header.encode(), [0xbc, 0x0a, 0x05, 3, 2, 1]);
        let same_extension = Header::decode([0xbc, 0x8a, 0x05, 3, 2, 1]);
        assert_eq!(same_extension.extension_type(), header.extension_type());
        assert!(same_extension.channel_msg() && !header.channel_msg());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Header::new(0x8000, false, 0, 0), None);
        assert_eq!(Header::new(0, false, 0, 0x0100_0000), None);
        assert!(Header::new(0x7fff, false, 0xff, Header::MAX_PAYLOAD).is_some());
    }

    /// D-FRAME-4, D-FRAME-5, D-EXT-1, C-FRAME-3
    #[test]
    fn the_channel_id_opens_a_channel_message_only() {
        let header = Header::new(0x4000, true, 0, 5).unwrap();
        assert!(header.is_experimental() && !header.is_core());
        assert_eq!(header.channel_id(&[4, 3, 2, 1, 9]), Some(0x0102_0304));
        assert_eq!(header.channel_id(&[4, 3, 2]), None);
        let header = Header::new(0x3fff, false, 0, 5).unwrap();
        assert!(!header.is_experimental());
        assert_eq!(header.channel_id(&[4, 3, 2, 1, 9]), None);
        assert!(Header::new(0, true, 0x1a, 24).unwrap().is_core());
    }

    proptest! {
        #[test]
        fn every_six_bytes_are_a_header_and_come_back(bytes: [u8; 6]) {
            prop_assert_eq!(Header::decode(bytes).encode(), bytes);
        }
    }
}
