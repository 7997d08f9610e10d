//! From records to whole frames.

use super::event::Stop;
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

/// Opens records in place until a whole frame stands at the front of the plaintext: `None`, and the header is noted.
///
/// Records are opened only while the plaintext lacks a whole frame, so it never grows beyond a frame and a record. What is
/// missing is known as soon as the frame's header or the record's length is there, so that what can never fit is refused then.
#[cfg_attr(target_os = "none", inline(never))]
pub(super) fn next_frame<P: Provider>(
    transport: &mut Transport<P>,
    life: &mut Life,
    input: &mut InputView<'_>,
) -> Option<Stop> {
    loop {
        let plain = input.plain();
        let waiting = plain.len();
        let mut whole = waiting + input.sealed().len() + 1;
        if let Some(bytes) = plain.first_chunk() {
            let header = Header::decode(*bytes);
            let length = Header::LEN + header.msg_length();
            let limit = frame_limit(life);
            if length > limit as usize {
                life.too_long(length, limit);
                return Some(Stop::Closed);
            }
            if waiting >= length {
                life.header = header;
                life.lent = length;
                return None;
            }
            // What is missing comes in a record of its own, or in several, each of which needs its overhead.
            whole = length + if transport.is_sealed() { OVERHEAD } else { 0 };
        }
        let length = match transport.record_len(input.sealed()) {
            Ok(None) => return Some(Stop::Input(whole)),
            Ok(Some(length)) => length,
            Err(error) => return Some(failed(life, error)),
        };
        let Some(record) = input.sealed_mut(length) else { return Some(Stop::Input(whole.max(waiting + length))) };
        if let Err(error) = transport.open_whole(record) {
            return Some(failed(life, error));
        }
        input.take_plain(length, transport.body(length));
    }
}

/// D-FRAME-2: lengths here count the header.
fn frame_limit(life: &Life) -> u32 {
    match life.state() {
        State::Setup | State::Asked => life.limits.frame.min(SETUP_FRAME),
        _ => life.limits.frame,
    }
}

/// Notes what was wrong with a record.
#[cold]
#[cfg_attr(target_os = "none", inline(never))]
fn failed(life: &mut Life, error: TransportError) -> Stop {
    life.fail(fault(error));
    Stop::Closed
}

/// A failure of the record layer is the peer's fault, or the end of a key.
#[cold]
pub(super) fn fault(error: TransportError) -> Error {
    match error {
        TransportError::Exhausted => Misuse::KeyExhausted.into(),
        TransportError::NoRoom => Error::Full,
        _ => PeerError::Record(error).into(),
    }
}
