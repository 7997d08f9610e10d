//! The side that connects.

use super::super::certificate::Certificate;
use super::super::error::{Act, Fault, NoiseError};
use super::super::{Established, PeerIdentity, Step};
use super::authority::{OLD_PAYLOAD_LEN, PAYLOAD_LEN};
use super::negotiation::{CipherList, Profile, STR2, STR3, cipher_of, code};
use super::{Framed, PREFIX_LEN, nx, write_framed};
use crate::crypto::{Cipher, Provider, PublicKey, Secret};
use crate::time::UnixTime;

/// How the server has to prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// It shows a certificate signed by this Ed25519 authority key (D-SEC-14, D-URL-1).
    Authority(PublicKey),
    /// It need not. The session is encrypted to whoever answers, so anybody on the way can be the server; for a local network and
    /// for tests. The outcome is [`PeerIdentity::Unauthenticated`].
    AcceptAnyone,
}

/// What an initiator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitiatorConfig {
    /// How the server proves who it is.
    pub authentication: Authentication,
    /// The dialect; the server follows.
    pub profile: Profile,
    /// Ciphers to offer, in this order; those that the provider lacks are left out.
    pub ciphers: CipherList,
    /// Seconds by which this side's clock may be off when it checks the certificate's period.
    pub clock_tolerance: u32,
}

impl InitiatorConfig {
    /// The defaults: STR3, both ciphers, no tolerance.
    #[must_use]
    pub const fn new(authentication: Authentication) -> Self {
        Self { authentication, profile: Profile::Str3, ciphers: CipherList::CHACHAPOLY_FIRST, clock_tolerance: 0 }
    }
}

/// The initiator's handshake.
///
/// The first call of [`process`](Self::process) takes no input and writes the first message.
pub struct Initiator<P: Provider> {
    config: InitiatorConfig,
    state: State<P>,
}

enum State<P: Provider> {
    Start(Start),
    Choice(AwaitChoice),
    Act2(AwaitAct2<P>),
    Over(NoiseError),
}

/// Nothing sent yet.
struct Start {
    ephemeral: Secret,
}

/// The offer is sent.
struct AwaitChoice {
    ephemeral: Secret,
    offered: CipherList,
}

/// Act 1 is sent.
struct AwaitAct2<P: Provider> {
    noise: nx::Initiator<P>,
}

impl<P: Provider> Initiator<P> {
    /// `entropy` becomes the ephemeral secret key: 32 fresh bytes of a cryptographic generator, used for nothing else.
    #[must_use]
    pub fn new(config: &InitiatorConfig, entropy: [u8; 32]) -> Self {
        Self { config: *config, state: State::Start(Start { ephemeral: Secret::from_bytes(entropy) }) }
    }

    /// Whether [`Step::Complete`] was handed out.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Over(NoiseError { fault: Fault::Over, .. }))
    }

    /// Takes the next message from the front of `input`, if one is due and there, and writes this side's next one to the
    /// front of `output` ([`OUTPUT_ROOM`](super::OUTPUT_ROOM) is always enough). `wall` is the time to check the certificate
    /// against. Errors are final.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn process(&mut self, wall: UnixTime, input: &[u8], output: &mut [u8]) -> Result<Step<P>, NoiseError> {
        let result = self.step(wall, input, output);
        if let Err(error) = result {
            self.state = State::Over(error);
        }
        result
    }

    fn step(&mut self, wall: UnixTime, input: &[u8], output: &mut [u8]) -> Result<Step<P>, NoiseError> {
        // A message is delimited and its length checked before the state is taken apart.
        let act = match &self.state {
            State::Start(_) => Act::Offer,
            State::Choice(_) => Act::Choice,
            State::Act2(_) => Act::Two,
            State::Over(error) => return Err(*error),
        };
        let mut body: &[u8] = &[];
        let mut consumed = 0;
        if act != Act::Offer {
            let Some(framed) = Framed::read(input) else { return Ok(Step::NeedInput) };
            if !self.expects(act, usize::from(framed.len)) {
                return Err(NoiseError::new(act, framed.bad_length()));
            }
            if !framed.complete {
                return Ok(Step::NeedInput);
            }
            (body, consumed) = (framed.body, framed.wire_len());
        }
        if act != Act::Two && output.len() < PREFIX_LEN + nx::ACT1_OVERHEAD {
            return Ok(Step::NeedOutput);
        }
        let over = State::Over(NoiseError::new(act, Fault::Over));
        let (next, written) = match core::mem::replace(&mut self.state, over) {
            State::Start(state) => state.next(&self.config, output)?,
            State::Choice(state) => {
                let (state, written) =
                    state.next(self.config.profile, body, output).map_err(|fault| NoiseError::new(act, fault))?;
                (State::Act2(state), written)
            }
            State::Act2(state) => {
                let established = state.next(&self.config, wall, body).map_err(|fault| NoiseError::new(act, fault))?;
                return Ok(Step::Complete { consumed, written: 0, established });
            }
            State::Over(error) => return Err(error),
        };
        self.state = next;
        Ok(Step::Progress { consumed, written })
    }

    /// Whether a message of `len` bytes can be the one that is due (D-SEC-10).
    fn expects(&self, act: Act, len: usize) -> bool {
        match (act, self.config.profile) {
            (Act::Choice, Profile::Str3) => len == 4,
            (Act::Choice, _) => len == 9,
            _ => len == nx::ACT2_OVERHEAD + PAYLOAD_LEN || len == nx::ACT2_OVERHEAD + OLD_PAYLOAD_LEN,
        }
    }
}

impl Start {
    fn next<P: Provider>(self, config: &InitiatorConfig, output: &mut [u8]) -> Result<(State<P>, usize), NoiseError> {
        let nothing = |act| NoiseError::new(act, Fault::NothingToOffer);
        let ciphers = config.ciphers.available::<P::Aead>();
        let magic = match config.profile {
            Profile::Str3 => STR3,
            Profile::Str2 => STR2,
            Profile::Legacy => {
                let cipher = Cipher::ChaChaPoly;
                ciphers.filter(|list| list.contains(cipher)).ok_or_else(|| nothing(Act::One))?;
                let (state, written) =
                    act1(cipher, &[], self.ephemeral, output).map_err(|fault| NoiseError::new(Act::One, fault))?;
                return Ok((State::Act2(state), written));
            }
        };
        let offered = ciphers.ok_or_else(|| nothing(Act::Offer))?;
        let written = write_framed(output, &[&magic, offered.codes().as_bytes()])
            .ok_or(NoiseError::new(Act::Offer, Fault::Provider))?;
        Ok((State::Choice(AwaitChoice { ephemeral: self.ephemeral, offered }), written))
    }
}

impl AwaitChoice {
    /// Reads the choice (4 bytes, or 9 in STR2), binds list and choice into the handshake (D-SEC-7) and writes act 1.
    fn next<P: Provider>(
        self,
        profile: Profile,
        body: &[u8],
        output: &mut [u8],
    ) -> Result<(AwaitAct2<P>, usize), Fault> {
        let chosen: &[u8; 4] = body.last_chunk().ok_or(Fault::Payload)?;
        if profile == Profile::Str2 {
            let (magic, list) = body.split_first_chunk().ok_or(Fault::Payload)?;
            if *magic != STR2 {
                return Err(Fault::Magic(*magic));
            }
            if let Some(count) = list.first().filter(|count| **count != 1) {
                return Err(Fault::Count(*count));
            }
        }
        let cipher = cipher_of(*chosen).ok_or(Fault::UnknownCipher(*chosen))?;
        if !self.offered.contains(cipher) {
            return Err(Fault::NotOffered(cipher));
        }
        let codes = self.offered.codes();
        match profile {
            Profile::Str2 => act1(cipher, &prologue_str2(&code(cipher)), self.ephemeral, output),
            Profile::Str3 | Profile::Legacy => act1(cipher, &[codes.as_bytes(), chosen], self.ephemeral, output),
        }
    }
}

/// The prologue of STR2: two bytes, and the responder's whole choice.
pub(super) const fn prologue_str2(code: &[u8; 4]) -> [&[u8]; 4] {
    [&[0, 1], &STR2, &[1], code]
}

/// Writes act 1 behind its prefix.
fn act1<P: Provider>(
    cipher: Cipher,
    prologue: &[&[u8]],
    ephemeral: Secret,
    output: &mut [u8],
) -> Result<(AwaitAct2<P>, usize), Fault> {
    let (prefix, rest) = output.split_first_chunk_mut().ok_or(Fault::Provider)?;
    let (noise, len) = nx::Initiator::start(cipher, prologue, ephemeral, &[], rest).ok_or(Fault::Provider)?;
    *prefix = (nx::ACT1_OVERHEAD as u16).to_le_bytes();
    Ok((AwaitAct2 { noise }, PREFIX_LEN + len))
}

impl<P: Provider> AwaitAct2<P> {
    fn next(self, config: &InitiatorConfig, wall: UnixTime, body: &[u8]) -> Result<Established<P>, Fault> {
        let mut payload = [0; OLD_PAYLOAD_LEN];
        let (split, static_key, len) = self.noise.finish(body, &mut payload)?;
        let certificate = Certificate::from_payload(payload.get(..len).unwrap_or_default())?;
        let peer = match config.authentication {
            Authentication::Authority(authority) => {
                certificate
                    .verify::<P>(&static_key, &authority, wall, config.clock_tolerance)
                    .map_err(Fault::Certificate)?;
                let not_valid_after = certificate.not_valid_after;
                PeerIdentity::Authenticated { authority, static_key, not_valid_after }
            }
            Authentication::AcceptAnyone => PeerIdentity::Unauthenticated { static_key },
        };
        Ok(Established {
            send: split.initiator_to_responder,
            receive: split.responder_to_initiator,
            peer,
            handshake_hash: split.handshake_hash,
        })
    }
}
