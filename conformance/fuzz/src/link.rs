//! A plain link inside a process: what one side wrote, message by message for the other.

use adit::buffer::Output;
use adit::connection::Outbound;
use adit::frame::Header;
use adit::protocol::{Protocol, Side, decode_incoming};
use adit::wire::Revision;

/// Holds what was sent until it is drained.
pub(crate) struct Link(Output<Vec<u8>>);

impl Default for Link {
    fn default() -> Self {
        Self(Output::new(vec![0; 64 * 1024]))
    }
}

impl Link {
    pub(crate) fn out<S: Side, Pr: Protocol>(&mut self) -> Outbound<'_, S, Pr> {
        Outbound::plain(&mut self.0, Revision::Draft)
    }

    /// Hands over each message. All of them are ours, so they decode.
    pub(crate) fn drain<S: Side, Pr: Protocol>(&mut self, mut each: impl FnMut(S::Incoming<'_, Pr>)) {
        let bytes = self.0.filled().to_vec();
        self.0.consume(bytes.len()).expect("what is filled");
        let mut rest = &bytes[..];
        while let Some((head, tail)) = rest.split_first_chunk() {
            let header = Header::decode(*head);
            let (payload, tail) = tail.split_at(header.msg_length());
            each(decode_incoming::<S, Pr>(header, payload, Revision::Draft).expect("a message of ours"));
            rest = tail;
        }
    }
}
