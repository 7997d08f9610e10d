//! The handshake's place in a connection: which machine each side runs, and the loop that feeds it.

use super::endpoint::Endpoint;
use super::event::Starved;
use crate::buffer::{InputView, OutputView};
use crate::crypto::Provider;
use crate::error::{Error, Misuse, PeerError};
use crate::noise::x25519::OUTPUT_ROOM;
use crate::noise::{NoiseError, PeerIdentity, Step};
use crate::time::UnixTime;
use crate::transport::Transport;

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
    /// Moves the handshake on as far as both buffers allow. `Ok(None)` when the link is up.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn shake_hands(
        &mut self,
        wall: UnixTime,
        input: &mut InputView<'_>,
        output: &mut OutputView<'_>,
    ) -> Result<Option<Starved>, Error> {
        loop {
            let Self::Handshake(machine) = self else { return Ok(None) };
            match S::process(machine, wall, input.sealed(), output.spare()).map_err(fault)? {
                Step::NeedInput => return Ok(Some(Starved::Input { whole: input.sealed().len() + 1 })),
                Step::NeedOutput => return Ok(Some(Starved::Output { room: OUTPUT_ROOM })),
                Step::Progress { consumed, written } => {
                    input.drop_sealed(consumed);
                    output.push(written);
                }
                Step::Complete { consumed, written } => {
                    input.drop_sealed(consumed);
                    output.push(written);
                    let Some(established) = S::established(machine) else { return Ok(None) };
                    let transport = Transport::sealed(established.send, established.receive);
                    *self = Self::Up { transport, peer: Some(established.peer) };
                }
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
