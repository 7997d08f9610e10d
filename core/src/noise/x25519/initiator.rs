//! The side that connects.

use super::super::certificate::Certificate;
use super::super::error::{Act, Fault, NoiseError};
use super::super::{Established, PeerIdentity, Step};
use super::authority::{OLD_PAYLOAD_LEN, PAYLOAD_LEN};
use super::negotiation::{CipherList, Profile, STR2, STR3, cipher_of};
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
    due: Due,
    /// What was offered, once it was.
    offered: CipherList,
    /// Changes in place from message to message: secrets that move leave copies behind, and take code.
    noise: nx::Initiator<P>,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Due {
    /// Nothing was sent yet.
    Start,
    /// The offer is sent.
    Choice,
    /// Act 1 is sent.
    Act2,
    /// Nothing.
    Over(NoiseError),
}

impl<P: Provider> Initiator<P> {
    /// `entropy` becomes the ephemeral secret key: 32 fresh bytes of a cryptographic generator, used for nothing else.
    #[must_use]
    pub fn new(config: &InitiatorConfig, entropy: [u8; 32]) -> Self {
        let noise = nx::Initiator::new(Secret::from_bytes(entropy));
        Self { config: *config, due: Due::Start, offered: config.ciphers, noise }
    }

    /// Whether [`Step::Complete`] was handed out.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.due, Due::Over(NoiseError { fault: Fault::Over, .. }))
    }

    /// Takes the next message from the front of `input`, if one is due and there, and writes this side's next one to the
    /// front of `output` ([`OUTPUT_ROOM`](super::OUTPUT_ROOM) is always enough). `wall` is the time to check the certificate
    /// against. Errors are final.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn process(&mut self, wall: UnixTime, input: &[u8], output: &mut [u8]) -> Result<Step<P>, NoiseError> {
        let result = self.step(wall, input, output);
        if let Err(error) = result {
            self.due = Due::Over(error);
        }
        // Nothing follows, and nothing of it is wanted any more.
        if let Due::Over(_) = self.due {
            self.noise.wipe();
        }
        result
    }

    fn step(&mut self, wall: UnixTime, input: &[u8], output: &mut [u8]) -> Result<Step<P>, NoiseError> {
        let act = match self.due {
            Due::Start if self.config.profile == Profile::Legacy => Act::One,
            Due::Start => Act::Offer,
            Due::Choice => Act::Choice,
            Due::Act2 => Act::Two,
            Due::Over(error) => return Err(error),
        };
        // A message is delimited and its length checked before anything changes.
        let mut body: &[u8] = &[];
        let mut consumed = 0;
        if matches!(act, Act::Choice | Act::Two) {
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
        let written = match act {
            Act::Offer => self.offer(output),
            Act::One => self.legacy(output),
            Act::Choice => self.choose(body, output),
            Act::Two => match self.establish(wall, body) {
                Ok(established) => {
                    self.due = Due::Over(NoiseError::new(act, Fault::Over));
                    return Ok(Step::Complete { consumed, written: 0, established });
                }
                Err(fault) => Err(fault),
            },
        };
        let written = written.map_err(|fault| NoiseError::new(act, fault))?;
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

    /// Writes the offer.
    fn offer(&mut self, output: &mut [u8]) -> Result<usize, Fault> {
        let magic = if self.config.profile == Profile::Str2 { STR2 } else { STR3 };
        self.offered = self.config.ciphers.available::<P::Aead>().ok_or(Fault::NothingToOffer)?;
        self.due = Due::Choice;
        write_framed(output, &[&magic, self.offered.codes().as_bytes()]).ok_or(Fault::Provider)
    }

    /// LEGACY: nothing is negotiated.
    fn legacy(&mut self, output: &mut [u8]) -> Result<usize, Fault> {
        let cipher = Cipher::ChaChaPoly;
        let ciphers = self.config.ciphers.available::<P::Aead>();
        ciphers.filter(|list| list.contains(cipher)).ok_or(Fault::NothingToOffer)?;
        self.act1(cipher, &[], output)
    }

    /// Reads the choice (4 bytes, or 9 in STR2), binds list and choice into the handshake (D-SEC-7) and writes act 1.
    fn choose(&mut self, body: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
        let chosen: &[u8; 4] = body.last_chunk().ok_or(Fault::Payload)?;
        if self.config.profile == Profile::Str2 {
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
        if self.config.profile == Profile::Str2 {
            self.act1(cipher, &prologue_str2(chosen), output)
        } else {
            self.act1(cipher, &[codes.as_bytes(), chosen], output)
        }
    }

    /// Writes act 1 behind its prefix.
    #[cfg_attr(target_os = "none", inline(never))]
    fn act1(&mut self, cipher: Cipher, prologue: &[&[u8]], output: &mut [u8]) -> Result<usize, Fault> {
        let (prefix, rest) = output.split_first_chunk_mut().ok_or(Fault::Provider)?;
        let len = self.noise.write_act1(cipher, prologue, &[], rest).ok_or(Fault::Provider)?;
        *prefix = (nx::ACT1_OVERHEAD as u16).to_le_bytes();
        self.due = Due::Act2;
        Ok(PREFIX_LEN + len)
    }

    /// Reads act 2 and judges the certificate in it.
    fn establish(&mut self, wall: UnixTime, body: &[u8]) -> Result<Established<P>, Fault> {
        let mut payload = [0; OLD_PAYLOAD_LEN];
        let (static_key, len) = self.noise.read_act2(body, &mut payload)?;
        let certificate = Certificate::from_payload(payload.get(..len).unwrap_or_default())?;
        let peer = match self.config.authentication {
            Authentication::Authority(authority) => {
                certificate
                    .verify::<P>(&static_key, &authority, wall, self.config.clock_tolerance)
                    .map_err(Fault::Certificate)?;
                let not_valid_after = certificate.not_valid_after;
                PeerIdentity::Authenticated { authority, static_key, not_valid_after }
            }
            Authentication::AcceptAnyone => PeerIdentity::Unauthenticated { static_key },
        };
        let split = self.noise.split()?;
        Ok(Established {
            send: split.initiator_to_responder,
            receive: split.responder_to_initiator,
            peer,
            handshake_hash: split.handshake_hash,
        })
    }
}

/// The prologue of STR2: two bytes, and the responder's whole choice.
pub(super) const fn prologue_str2(code: &[u8; 4]) -> [&[u8]; 4] {
    [&[0, 1], &STR2, &[1], code]
}
