//! The side that connects.

use super::super::certificate::join;
use super::super::error::{Act, Fault, NoiseError};
use super::super::{Established, PeerIdentity, Step};
use super::authority::{OLD_PAYLOAD_LEN, PAYLOAD_LEN, Shown};
use super::negotiation::{CipherList, Codes, Profile, STR2, STR3, cipher_of};
use super::{Framed, PREFIX_LEN, nx};
use crate::crypto::undisclosed;
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
    /// Who sent act 2, once it was read, and the last second of the certificate's period where one was asked for.
    static_key: PublicKey,
    not_valid_after: UnixTime,
    /// Changes in place from message to message: secrets that move leave copies behind, and take code.
    noise: nx::Initiator<P>,
}

undisclosed!([P: Provider] Initiator<P>, "Initiator");

/// What comes next.
#[derive(Clone, Copy)]
enum Due {
    /// Nothing was sent yet.
    Start,
    /// The offer is sent.
    Choice,
    /// Act 1 is sent.
    Act2,
    /// Nothing: act 2 was read.
    Complete,
    /// Nothing.
    Over(NoiseError),
}

impl<P: Provider> Initiator<P> {
    /// `entropy` becomes the ephemeral secret key: 32 fresh bytes of a cryptographic generator, used for nothing else.
    #[must_use]
    pub fn new(config: &InitiatorConfig, entropy: [u8; 32]) -> Self {
        let noise = nx::Initiator::new(Secret::from_bytes(entropy));
        Self { config: *config, due: Due::Start, static_key: [0; 32], not_valid_after: UnixTime::default(), noise }
    }

    /// Whether [`Step::Complete`] was handed out.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.due, Due::Complete)
    }

    /// What the handshake agreed on; `None` before [`Step::Complete`].
    #[must_use]
    #[inline]
    pub fn established(&self) -> Option<Established<P>> {
        let Due::Complete = self.due else { return None };
        let Self { static_key, not_valid_after, .. } = *self;
        let peer = match self.config.authentication {
            Authentication::Authority(authority) => {
                PeerIdentity::Authenticated { authority, static_key, not_valid_after }
            }
            Authentication::AcceptAnyone => PeerIdentity::Unauthenticated { static_key },
        };
        // The provider has the cipher: it read act 2.
        let split = self.noise.split().ok()?;
        Some(Established {
            send: split.initiator_to_responder,
            receive: split.responder_to_initiator,
            peer,
            handshake_hash: split.handshake_hash,
        })
    }

    /// Takes the next message from the front of `input`, if one is due and there, and writes this side's next one to the
    /// front of `output` ([`OUTPUT_ROOM`](super::OUTPUT_ROOM) is always enough). `wall` is the time to check the certificate
    /// against. Errors are final.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn process(&mut self, wall: UnixTime, input: &[u8], output: &mut [u8]) -> Result<Step, NoiseError> {
        let act = match self.due {
            Due::Start if self.config.profile == Profile::Legacy => Act::One,
            Due::Start => Act::Offer,
            Due::Choice => Act::Choice,
            Due::Act2 => Act::Two,
            Due::Complete => return Err(NoiseError::new(Act::Two, Fault::Over)),
            Due::Over(error) => return Err(error),
        };
        self.step(act, wall, input, output).map_err(|fault| {
            let error = NoiseError::new(act, fault);
            self.due = Due::Over(error);
            error
        })
    }

    fn step(&mut self, act: Act, wall: UnixTime, input: &[u8], output: &mut [u8]) -> Result<Step, Fault> {
        // A message is delimited and its length checked before anything changes.
        let (mut body, mut consumed): (&[u8], _) = (&[], 0);
        if matches!(act, Act::Choice | Act::Two) {
            let Some(framed) = Framed::read(input) else { return Ok(Step::NeedInput) };
            if !self.expects(act, usize::from(framed.len)) {
                return Err(framed.bad_length());
            }
            if !framed.complete {
                return Ok(Step::NeedInput);
            }
            (body, consumed) = (framed.body, framed.wire_len());
        }
        if act == Act::Two {
            self.read_act2(wall, body)?;
            self.due = Due::Complete;
            return Ok(Step::Complete { consumed, written: 0 });
        }
        // No offer is longer than act 1.
        let Some(room) = output.first_chunk_mut() else { return Ok(Step::NeedOutput) };
        let ciphers = self.config.ciphers.available::<P::Aead>().ok_or(Fault::NothingToOffer)?;
        let codes = ciphers.codes();
        if act == Act::Offer {
            let magic = if self.config.profile == Profile::Str2 { STR2 } else { STR3 };
            self.due = Due::Choice;
            let written = write_offer(room, magic, &codes).ok_or(Fault::Provider)?;
            return Ok(Step::Progress { consumed, written });
        }
        // List and choice are bound into the handshake (D-SEC-7), in STR2 the choice; LEGACY negotiates nothing.
        let (cipher, prologue): (_, [&[u8]; 2]) = match self.config.profile {
            Profile::Legacy if !ciphers.contains(Cipher::ChaChaPoly) => return Err(Fault::NothingToOffer),
            Profile::Legacy => (Cipher::ChaChaPoly, [&[], &[]]),
            profile => {
                let (code, before) = chosen(body, profile)?;
                let cipher = cipher_of(*code).ok_or(Fault::UnknownCipher(*code))?;
                if !ciphers.contains(cipher) {
                    return Err(Fault::NotOffered(cipher));
                }
                (cipher, [before.unwrap_or(codes.as_bytes()), code])
            }
        };
        self.act1(cipher, &prologue, room);
        Ok(Step::Progress { consumed, written: room.len() })
    }

    /// Whether a message of `len` bytes can be the one that is due (D-SEC-10).
    fn expects(&self, act: Act, len: usize) -> bool {
        match (act, self.config.profile) {
            (Act::Choice, Profile::Str3) => len == 4,
            (Act::Choice, _) => len == 9,
            _ => len == nx::ACT2_OVERHEAD + PAYLOAD_LEN || len == nx::ACT2_OVERHEAD + OLD_PAYLOAD_LEN,
        }
    }

    /// Writes act 1 behind its prefix.
    #[cfg_attr(target_os = "none", inline(never))]
    fn act1(&mut self, cipher: Cipher, prologue: &[&[u8]], room: &mut [u8; PREFIX_LEN + nx::ACT1_OVERHEAD]) {
        let [low, high, e @ ..] = room;
        [*low, *high] = (nx::ACT1_OVERHEAD as u16).to_le_bytes();
        self.noise.write_act1(cipher, prologue, &[], e);
        self.due = Due::Act2;
    }

    /// Reads act 2, judges the certificate in it, and notes who sent it.
    #[cfg_attr(target_os = "none", inline(never))]
    fn read_act2(&mut self, wall: UnixTime, body: &[u8]) -> Result<(), Fault> {
        let mut act2 = [0; nx::ACT2_OVERHEAD + OLD_PAYLOAD_LEN];
        let act2 = act2.get_mut(..body.len()).ok_or(Fault::Payload)?;
        join(act2, &[body]);
        let (static_key, payload) = self.noise.read_act2(act2)?;
        let shown = Shown::read(payload).ok_or(Fault::Payload)?;
        self.static_key = *static_key;
        if let Authentication::Authority(authority) = &self.config.authentication {
            self.not_valid_after = shown
                .verify::<P>(&self.static_key, authority, wall, self.config.clock_tolerance)
                .map_err(Fault::Certificate)?;
        }
        Ok(())
    }
}

/// Writes an offer. The list's place has room for both ciphers, of which the bytes on the wire may be one.
fn write_offer(room: &mut [u8], magic: [u8; 4], codes: &Codes) -> Option<usize> {
    let (prefix, rest) = room.split_first_chunk_mut()?;
    let (to_magic, rest) = rest.split_first_chunk_mut()?;
    let len = magic.len() + codes.as_bytes().len();
    *prefix = (len as u16).to_le_bytes();
    *to_magic = magic;
    *rest.first_chunk_mut()? = *codes.place();
    Some(PREFIX_LEN + len)
}

/// The code in a choice (4 bytes, or 9 in STR2), and in STR2 what stands before it in the prologue.
fn chosen(body: &[u8], profile: Profile) -> Result<(&[u8; 4], Option<&[u8]>), Fault> {
    let code = body.last_chunk().ok_or(Fault::Payload)?;
    if profile == Profile::Str3 {
        return Ok((code, None));
    }
    let (magic, list) = body.split_first_chunk().ok_or(Fault::Payload)?;
    match list.first() {
        _ if *magic != STR2 => Err(Fault::Magic(*magic)),
        Some(1) => Ok((code, Some(&BEFORE_STR2_CODE))),
        count => Err(Fault::Count(count.copied().unwrap_or_default())),
    }
}

/// The prologue of STR2 but for the code: two bytes, and the responder's choice.
pub(super) const BEFORE_STR2_CODE: [u8; 7] = *b"\x00\x01STR2\x01";
