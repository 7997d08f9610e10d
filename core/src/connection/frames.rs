//! From records to whole frames.

use super::event::Starved;
use super::life::Life;
use super::table::State;
use crate::buffer::InputView;
use crate::crypto::Provider;
use crate::error::{Error, Misuse, PeerError};
use crate::frame::Header;
use crate::transport::{OVERHEAD, Transport, TransportError};

/// The longest frame before setup is over: `SetupConnection` with five strings of full length. Strangers may not ask for
/// larger buffers.
const SETUP_FRAME: u32 = 6 + 1291;

/// Opens records in place until a whole frame stands at the front of the plaintext, and returns its header.
///
/// Records are opened only while the plaintext lacks a whole frame, so it never grows beyond a frame and a record. What is
/// missing is known as soon as the frame's header or the record's length is there, so that what can never fit is refused then.
#[cfg_attr(target_os = "none", inline(never))]
pub(super) fn next_frame<P: Provider>(
    transport: &mut Transport<P>,
    life: &Life,
    input: &mut InputView<'_>,
) -> Result<Result<Header, Starved>, Error> {
    loop {
        let plain = input.plain().len();
        let mut whole = plain + input.sealed().len() + 1;
        if let Some(bytes) = input.plain().first_chunk() {
            let header = Header::decode(*bytes);
            let length = Header::LEN + header.msg_length();
            check_length(length, frame_limit(life))?;
            if plain >= length {
                return Ok(Ok(header));
            }
            // What is missing comes in a record of its own, or in several, each of which needs its overhead.
            whole = length + if transport.is_sealed() { OVERHEAD } else { 0 };
        }
        if let Some(length) = transport.record_len(input.sealed()).map_err(fault)? {
            if let Some(record) = input.sealed_mut(length) {
                let body = transport.open_record(record).map_err(fault)?;
                input.take_plain(length, body);
                continue;
            }
            whole = whole.max(plain + length);
        }
        return Ok(Err(Starved::Input { whole }));
    }
}

/// D-FRAME-2: lengths here count the header.
fn frame_limit(life: &Life) -> u32 {
    match life.state() {
        State::Setup | State::Asked => life.limits.frame.min(SETUP_FRAME),
        _ => life.limits.frame,
    }
}

fn check_length(length: usize, limit: u32) -> Result<(), Error> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if length > limit { Err(PeerError::TooLong { length, limit }.into()) } else { Ok(()) }
}

/// A failure of the record layer is the peer's fault, or the end of a key.
pub(super) fn fault(error: TransportError) -> Error {
    match error {
        TransportError::Exhausted => Misuse::KeyExhausted.into(),
        TransportError::NoRoom { .. } => Error::Full,
        _ => PeerError::Record(error).into(),
    }
}
