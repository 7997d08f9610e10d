//! Messages that their receiver has no use for beyond their number.

use core::marker::PhantomData;

use super::{Message, Spec};
use crate::wire::{Decode, Encode, EncodeError, Reader, Revision, Writer};

/// The payload of an `M` as it came. The fields behind the first one are not looked at, so that a board need not link what reads them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unread<'a, M> {
    payload: &'a [u8],
    message: PhantomData<fn() -> M>,
}

impl<'a, M> Unread<'a, M> {
    /// This payload.
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { payload, message: PhantomData }
    }

    /// The payload, as long as the frame's header says.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The first field of a channel message: the channel, or the group. 0 when the payload is too short for it, which no frame with the channel bit
    /// is (D-FRAME-4).
    #[must_use]
    pub fn channel_id(&self) -> u32 {
        self.payload.first_chunk().map_or(0, |id| u32::from_le_bytes(*id))
    }
}

impl<M: Message> Message for Unread<'_, M> {
    const SPEC: &'static Spec = M::SPEC;
}

impl<M> Encode for Unread<'_, M> {
    fn encoded_len(&self, _: Revision) -> usize {
        self.payload.len()
    }

    fn encode(&self, writer: &mut Writer<'_>, _: Revision) -> Result<(), EncodeError> {
        writer.bytes(self.payload)
    }
}

impl<'a, M> Decode<'a> for Unread<'a, M> {
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    fn read(reader: &mut Reader<'a>, _: Revision) -> Self {
        Self::new(reader.read_slice(reader.rest().len()))
    }
}
