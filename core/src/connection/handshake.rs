//! The handshake's place in a connection: which machine each side runs, and the loop that feeds it.

use super::endpoint::Endpoint;
use super::event::{Kind, Stop};
use super::life::Life;
use super::table;
use crate::buffer::{InputView, OutputView};
use crate::crypto::Provider;
use crate::error::{Error, Misuse, PeerError};
use crate::noise::{NoiseError, PeerIdentity, Step};
use crate::time::UnixTime;
use crate::transport::Transport;

const _: () = assert!(crate::noise::x25519::OUTPUT_ROOM <= crate::config::ANSWER_ROOM, "room for an answer is enough");

/// The link under a connection.
pub(super) enum Link<S: Endpoint, P: Provider> {
    /// Agreeing on keys (D-SEC-1).
    Handshake(S::Handshake<P>),
    /// Carrying records. The peer's identity is `None` on a plain link (D-SEC-2).
    Up { transport: Transport<P>, peer: Option<PeerIdentity> },
    /// The connection is over; keys are gone.
    Down,
}

impl<S: Endpoint, P: Provider> Link<S, P> {
    /// Moves the handshake on as far as both buffers allow: an event when the link is up.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn shake_hands(
        &mut self,
        wall: UnixTime,
        life: &mut Life,
        input: &mut InputView<'_>,
        output: &mut OutputView<'_>,
    ) -> Stop {
        loop {
            let Self::Handshake(machine) = self else {
                (life.kind, life.lent) = (Kind::Secured, 0);
                life.step(table::Step::Secured);
                return Stop::Event;
            };
            let (consumed, written) = match S::process(machine, wall, input.sealed(), output.spare()) {
                Ok(Step::NeedInput) => return Stop::Input(input.sealed().len() + 1),
                // An answer's room is enough.
                Ok(Step::NeedOutput) => return Stop::Output,
                Ok(Step::Progress { consumed, written } | Step::Complete { consumed, written }) => (consumed, written),
                Err(error) => {
                    life.fail(fault(error));
                    return Stop::Closed;
                }
            };
            input.drop_sealed(consumed);
            output.push(written);
            if let Some(established) = S::established(machine) {
                let transport = Transport::sealed(established.send, established.receive);
                *self = Self::Up { transport, peer: Some(established.peer) };
            }
        }
    }
}

/// A handshake's failure is the peer's fault, or that of the configuration.
#[cold]
#[inline(never)]
fn fault(error: NoiseError) -> Error {
    if error.is_peers_fault() { PeerError::Handshake(error).into() } else { Misuse::Handshake(error).into() }
}
