//! The side that was connected to. It tells the profiles apart by the first message.

use super::super::error::{Act, Fault, NoiseError};
use super::super::{Established, PeerIdentity, Step};
use super::authority::Identity;
use super::initiator::BEFORE_STR2_CODE;
use super::negotiation::{CipherList, Offer, Profile, STR2, code, is_offer_len};
use super::{Framed, OUTPUT_ROOM, PREFIX_LEN, nx, write_framed};
use crate::crypto::undisclosed;
use crate::crypto::{Cipher, Provider, Secret};

/// Whom a responder serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Allowed ciphers, in this order of preference; those that the provider lacks are left out.
    pub ciphers: CipherList,
    /// Serve [`Profile::Str2`]. Its list is not bound into the handshake.
    pub serve_str2: bool,
    /// Serve [`Profile::Legacy`].
    pub serve_legacy: bool,
}

/// The responder's handshake.
pub struct Responder<P: Provider> {
    identity: Identity,
    policy: Policy,
    ephemeral: Secret,
    state: State<P>,
}

undisclosed!([P: Provider] Responder<P>, "Responder");

enum State<P: Provider> {
    Offer,
    Act1(AwaitAct1<P>),
    /// Act 2 was written.
    Complete(nx::Responder<P>),
    Over(NoiseError),
}

/// The cipher is agreed on, or the profile has none to agree on.
struct AwaitAct1<P: Provider> {
    noise: nx::Responder<P>,
    profile: Profile,
}

impl<P: Provider> Responder<P> {
    /// `entropy` becomes the ephemeral secret key: 32 fresh bytes of a cryptographic generator, used for nothing else.
    #[must_use]
    pub fn new(identity: &Identity, policy: &Policy, entropy: [u8; 32]) -> Self {
        Self {
            identity: identity.clone(),
            policy: *policy,
            ephemeral: Secret::from_bytes(entropy),
            state: State::Offer,
        }
    }

    /// Whether [`Step::Complete`] was handed out.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete(_))
    }

    /// What the handshake agreed on; `None` before [`Step::Complete`].
    #[must_use]
    pub fn established(&self) -> Option<Established<P>> {
        let State::Complete(noise) = &self.state else { return None };
        // The provider has the cipher: it wrote act 2.
        let split = noise.split().ok()?;
        Some(Established {
            send: split.responder_to_initiator,
            receive: split.initiator_to_responder,
            peer: PeerIdentity::Anonymous,
            handshake_hash: split.handshake_hash,
        })
    }

    /// Takes the next message from the front of `input`, if it is there, and writes the answer to the front of `output`
    /// ([`OUTPUT_ROOM`] is always enough). Errors are final.
    ///
    /// In the NX pattern a responder hears nothing after act 2, so [`Step::Complete`] does not prove yet that the initiator has the
    /// same keys: its first record does.
    pub fn process(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, NoiseError> {
        let over = matches!(self.state, State::Complete(_) | State::Over(_));
        let result = self.step(input, output);
        if let (Err(error), false) = (result, over) {
            self.state = State::Over(error);
        }
        result
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, NoiseError> {
        let act = match &self.state {
            State::Offer => Act::Offer,
            State::Act1(_) => Act::One,
            State::Complete(_) => return Err(NoiseError::new(Act::Two, Fault::Over)),
            State::Over(error) => return Err(*error),
        };
        let Some(framed) = Framed::read(input) else { return Ok(Step::NeedInput) };
        let is_act1 = usize::from(framed.len) == nx::ACT1_OVERHEAD;
        if !is_act1 && (act == Act::One || !is_offer_len(framed.len)) {
            return Err(NoiseError::new(act, framed.bad_length()));
        }
        if !is_act1 {
            let offer = Offer::read(framed.body, framed.len).map_err(|fault| NoiseError::new(act, fault))?;
            let Some(offer) = offer else { return Ok(Step::NeedInput) };
            if output.len() < OUTPUT_ROOM {
                return Ok(Step::NeedOutput);
            }
            let (state, written) = self.choose(&offer, output).map_err(|fault| NoiseError::new(act, fault))?;
            self.state = State::Act1(state);
            return Ok(Step::Progress { consumed: framed.wire_len(), written });
        }
        if act == Act::Offer {
            // No list can have the length of a key: a LEGACY peer opens with act 1.
            self.allow(Profile::Legacy).map_err(|fault| NoiseError::new(Act::One, fault))?;
        }
        if !framed.complete {
            return Ok(Step::NeedInput);
        }
        if output.len() < OUTPUT_ROOM {
            return Ok(Step::NeedOutput);
        }
        let over = State::Over(NoiseError::new(Act::Two, Fault::Over));
        let mut state = match core::mem::replace(&mut self.state, over) {
            State::Act1(state) => state,
            _ => AwaitAct1 { noise: nx::Responder::new(Cipher::ChaChaPoly, &[]), profile: Profile::Legacy },
        };
        let written = state
            .next(&self.identity, &self.ephemeral, framed.body, output)
            .map_err(|fault| NoiseError::new(Act::One, fault))?;
        self.state = State::Complete(state.noise);
        Ok(Step::Complete { consumed: framed.wire_len(), written })
    }

    /// Whether the policy serves a profile.
    fn allow(&self, profile: Profile) -> Result<CipherList, Fault> {
        let served = match profile {
            Profile::Str3 => true,
            Profile::Str2 => self.policy.serve_str2,
            Profile::Legacy => self.policy.serve_legacy,
        };
        if !served {
            return Err(Fault::ProfileRefused(profile));
        }
        let ciphers = self.policy.ciphers.available::<P::Aead>().ok_or(Fault::NothingToOffer)?;
        if profile == Profile::Legacy && !ciphers.contains(Cipher::ChaChaPoly) {
            return Err(Fault::NoCommonCipher);
        }
        Ok(ciphers)
    }

    /// Answers an offer with a choice from it (D-SEC-6) and starts the handshake with both in its prologue (D-SEC-7).
    fn choose(&self, offer: &Offer<'_>, output: &mut [u8]) -> Result<(AwaitAct1<P>, usize), Fault> {
        let ciphers = self.allow(offer.profile)?;
        let cipher = offer.choose(ciphers).ok_or(Fault::NoCommonCipher)?;
        let code = code(cipher);
        let (noise, written) = match offer.profile {
            Profile::Str2 => {
                (nx::Responder::new(cipher, &[&BEFORE_STR2_CODE, &code]), write_framed(output, &[&STR2, &[1], &code]))
            }
            Profile::Str3 | Profile::Legacy => {
                (nx::Responder::new(cipher, &[offer.list, &code]), write_framed(output, &[&code]))
            }
        };
        Ok((AwaitAct1 { noise, profile: offer.profile }, written.ok_or(Fault::Provider)?))
    }
}

impl<P: Provider> AwaitAct1<P> {
    /// Reads act 1, writes act 2 behind its prefix.
    fn next(
        &mut self,
        identity: &Identity,
        ephemeral: &Secret,
        body: &[u8],
        output: &mut [u8],
    ) -> Result<usize, Fault> {
        let (payload, len) = identity.certificate.payload(self.profile != Profile::Str3);
        let payload = payload.get(..len).unwrap_or_default();
        let (prefix, rest) = output.split_first_chunk_mut().ok_or(Fault::Provider)?;
        let keys = (&identity.secret, &identity.public);
        let len = self.noise.answer(body, ephemeral, keys, payload, rest)?;
        *prefix = (len as u16).to_le_bytes();
        Ok(PREFIX_LEN + len)
    }
}
