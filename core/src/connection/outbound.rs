//! [`Outbound`]: the way to send, typed by side and sub-protocol.

use crate::crypto::undisclosed;
use core::marker::PhantomData;

use super::frames;
use super::life::Life;
use super::setup::Offered;
use super::table::Step;
use crate::buffer::{Output, OutputView};
use crate::crypto::Provider;
use crate::error::{Error, Misuse};
use crate::frame::Header;
use crate::message::common::{SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use crate::message::{Message, Numbers};
use crate::protocol::{In, Protocol, SentBy, Side};
use crate::transport::{HEAD_ROOM, Transport, TransportError, sealed_len};
use crate::wire::{Encode, EncodeError, Revision, Writer};

/// A transport's sending half without its provider's type, so that role machines are compiled once for all providers. Only sealed transports
/// are taken for one.
pub(super) trait Seal {
    /// See [`Transport::seal_frame`].
    fn seal_frame(&mut self, buffer: &mut [u8], len: usize) -> Result<(), TransportError>;
}

impl<P: Provider> Seal for Transport<P> {
    fn seal_frame(&mut self, buffer: &mut [u8], len: usize) -> Result<(), TransportError> {
        self.seal_frame(buffer, len).map(drop)
    }
}

/// The part of a transport that an [`Outbound`] needs; a plain one needs none.
pub(super) fn sealing<P: Provider>(transport: &mut Transport<P>) -> Option<&mut (dyn Seal + 'static)> {
    if transport.is_sealed() { Some(transport) } else { None }
}

/// Sends messages of one side of one sub-protocol into an output buffer.
///
/// Each message is encoded and sealed in place, whole or not at all. A message that this side does not send does not compile:
///
/// ```compile_fail,E0277
/// # use adit::{buffer::Output, connection::Outbound, message::mining::SetTarget, protocol::{Initiator, Mining}, wire::{Revision, U256}};
/// # let mut output = Output::new([0; 512]);
/// let mut outbound = Outbound::<Initiator, Mining>::plain(&mut output, Revision::Draft);
/// outbound.send(&SetTarget { channel_id: 1, maximum_target: U256::MAX });
/// ```
///
/// The side that sends it does:
///
/// ```
/// # use adit::{buffer::Output, connection::Outbound, message::mining::SetTarget, protocol::{Mining, Responder}, wire::{Revision, U256}};
/// # let mut output = Output::new([0; 512]);
/// let mut outbound = Outbound::<Responder, Mining>::plain(&mut output, Revision::Draft);
/// outbound.send(&SetTarget { channel_id: 1, maximum_target: U256::MAX })?;
/// # assert_eq!(output.filled().len(), 6 + 36);
/// # Ok::<(), adit::error::Error>(())
/// ```
pub struct Outbound<'o, S, Pr> {
    output: OutputView<'o>,
    seal: Option<&'o mut (dyn Seal + 'static)>,
    /// `None` without a connection: everything may be sent.
    life: Option<&'o mut Life>,
    revision: Revision,
    side: PhantomData<fn() -> (S, Pr)>,
}

undisclosed!([S, Pr] Outbound<'_, S, Pr>, "Outbound");

impl<'o, S, Pr> Outbound<'o, S, Pr> {
    pub(super) fn new(output: OutputView<'o>, seal: Option<&'o mut (dyn Seal + 'static)>, life: &'o mut Life) -> Self {
        let revision = life.revision;
        Self { output, seal, life: Some(life), revision, side: PhantomData }
    }

    /// One without a connection, which writes plain frames at any time: for tests, and for those who bring their own link.
    pub fn plain<O>(output: &'o mut Output<O>, revision: Revision) -> Self
    where
        O: AsRef<[u8]> + AsMut<[u8]>,
    {
        Self { output: output.view(), seal: None, life: None, revision, side: PhantomData }
    }

    /// The revision in which messages are written.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Bytes of room in the output buffer. A frame takes 6 bytes more than its payload, and 18 for each record.
    #[must_use]
    pub fn room(&self) -> usize {
        self.output.room()
    }

    /// Sends a message, whole or not at all: [`Error::Full`] when it does not fit now.
    ///
    /// An initiator's first message is `SetupConnection` (D-CONN-1), after `Event::Secured` and once; all others wait for
    /// `Event::Opened`. What answers it is sent by the connection itself.
    pub fn send<M>(&mut self, message: &M) -> Result<(), Error>
    where
        S: Side,
        Pr: Protocol,
        M: SentBy<S> + In<Pr>,
    {
        self.send_any(const { &M::NUMBERS }, message.variant(), message, Pr::NUMBER)
    }

    /// Sends a message that goes by these numbers; compiled once for all messages.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "a constant's address is less code than its bytes")]
    fn send_any(&mut self, numbers: &Numbers, variant: usize, message: &dyn Encode, protocol: u8) -> Result<(), Error> {
        let header = numbers.header(variant, message.encoded_len(self.revision), self.revision)?;
        let setup = SetupConnection::is(header, self.revision);
        if let Some(life) = &self.life {
            let answer =
                SetupConnectionSuccess::is(header, self.revision) || SetupConnectionError::is(header, self.revision);
            if answer || !life.may_send(setup) {
                return life.refused();
            }
        }
        self.put(header, message, setup.then_some(protocol))
    }

    /// Passes a message of an extension on as it is: `channel_msg` and the payload are not touched (D-EXT-3).
    pub fn send_extension(&mut self, header: Header, payload: &[u8]) -> Result<(), Error> {
        if let Some(life) = &self.life
            && !life.may_send(false)
        {
            return life.refused();
        }
        let without_id = header.channel_msg() && header.channel_id(payload).is_none();
        if header.is_core() || without_id || header.msg_length() != payload.len() {
            return Err(Misuse::NotAnExtension.into());
        }
        self.put(header, &Raw(payload), None)
    }

    /// Answers `SetupConnection`.
    pub(super) fn reply<M: Message>(&mut self, message: &M) -> Result<(), Error> {
        let header = message.header(self.revision)?;
        self.put(header, message, None)
    }

    /// Encodes and seals at the end of the output buffer; compiled once. For `SetupConnection`, `setup` is the sub-protocol
    /// that it has to name; what it offers is kept, read from what is sent.
    fn put(&mut self, header: Header, payload: &dyn Encode, setup: Option<u8>) -> Result<(), Error> {
        let length = Header::LEN + header.msg_length();
        let (before, total) = if self.seal.is_some() { (HEAD_ROOM, sealed_len(length)) } else { (0, length) };
        if total > self.output.ceiling() {
            return Err(Misuse::TooLarge.into());
        }
        let buffer = self.output.reserve(total)?;
        let frame = buffer.get_mut(before..before + length);
        let (head, body) = frame.and_then(|frame| frame.split_first_chunk_mut()).ok_or(Error::Full)?;
        *head = header.encode();
        payload
            .encode(&mut Writer::new(body), self.revision)
            .map_err(|error| error.in_message(self.revision, header.msg_type()))?;
        let offered = setup.map(|protocol| Offered::read(body, protocol)).transpose()?;
        if let Some(seal) = &mut self.seal {
            seal.seal_frame(buffer, length).map_err(frames::fault)?;
        }
        self.output.push(total);
        if let (Some(life), Some(offered)) = (&mut self.life, offered) {
            life.offered = offered;
            life.step(Step::SetupSent);
        }
        Ok(())
    }
}

/// A payload that is bytes already.
struct Raw<'a>(&'a [u8]);

impl Encode for Raw<'_> {
    fn encoded_len(&self, _: Revision) -> usize {
        self.0.len()
    }

    fn encode(&self, writer: &mut Writer<'_>, _: Revision) -> Result<(), EncodeError> {
        writer.bytes(self.0)
    }
}
