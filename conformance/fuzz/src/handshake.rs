//! The handshake of both sides: fed by a stranger, and with a genuine peer whose messages are changed on the way.

use adit::crypto::{Cipher, RustCrypto, Secret};
use adit::noise::x25519::{
    Authentication, Authority, CipherList, Identity, Initiator, InitiatorConfig, Policy, Profile, Responder,
};
use adit::noise::{NoiseError, Step};
use adit::time::UnixTime;

use super::script::Script;

pub(crate) const WALL: UnixTime = UnixTime::from_secs(1_790_000_000);
const EVERYBODY: Policy = Policy { ciphers: CipherList::CHACHAPOLY_FIRST, serve_str2: true, serve_legacy: true };

/// The one authority and the server under it.
pub(crate) fn identity() -> (Authority<RustCrypto>, Identity) {
    let authority = Authority::from_seed(Secret::from_bytes([1; 32]));
    let (from, to) = (UnixTime::from_secs(1_780_000_000), UnixTime::from_secs(1_800_000_000));
    let identity = Identity::issue(Secret::from_bytes([2; 32]), &authority, from, to).expect("a period");
    (authority, identity)
}

fn config(selector: u8) -> InitiatorConfig {
    let profile = match selector & 3 {
        0 | 1 => Profile::Str3,
        2 => Profile::Str2,
        _ => Profile::Legacy,
    };
    let ciphers = match selector >> 2 & 3 {
        0 => CipherList::only(Cipher::ChaChaPoly),
        1 => CipherList::only(Cipher::AesGcm),
        2 => CipherList::AESGCM_FIRST,
        _ => CipherList::CHACHAPOLY_FIRST,
    };
    let authority = Authentication::Authority(*identity().0.public_key());
    InitiatorConfig { profile, ciphers, ..InitiatorConfig::new(authority) }
}

/// Either side behind one call.
enum Side {
    Initiator(Box<Initiator<RustCrypto>>),
    Responder(Box<Responder<RustCrypto>>),
}

impl Side {
    fn process(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, NoiseError> {
        match self {
            Self::Initiator(side) => side.process(WALL, input, output),
            Self::Responder(side) => side.process(input, output),
        }
    }

    /// Feeds everything. `Ok(true)`: complete.
    fn feed(&mut self, input: &mut Vec<u8>, sent: &mut Vec<u8>) -> Result<bool, NoiseError> {
        loop {
            let mut out = [0; 2_048];
            match self.process(input, &mut out)? {
                Step::Progress { consumed, written } => {
                    assert!(consumed + written > 0, "progress without any");
                    input.drain(..consumed);
                    sent.extend_from_slice(&out[..written]);
                }
                Step::Complete { consumed, written, .. } => {
                    input.drain(..consumed);
                    sent.extend_from_slice(&out[..written]);
                    return Ok(true);
                }
                Step::NeedInput => return Ok(false),
                Step::NeedOutput => panic!("there is room for the longest message"),
            }
        }
    }
}

/// A byte for the side and the profile, one for genuine or strange, then what is fed or what is changed.
pub fn handshake(data: &[u8]) {
    let mut script = Script::new(data);
    let (selector, kind) = (script.byte(), script.byte());
    if kind & 1 == 0 { strange(selector, kind, script) } else { genuine(selector, script) }
}

fn strange(selector: u8, kind: u8, mut script: Script<'_>) {
    let mut side = if kind & 2 == 0 {
        Side::Initiator(Box::new(Initiator::new(&config(selector), [3; 32])))
    } else {
        Side::Responder(Box::new(Responder::new(&identity().1, &EVERYBODY, [4; 32])))
    };
    let (mut input, mut sent) = (vec![], vec![]);
    let mut end = side.feed(&mut input, &mut sent);
    while let (Ok(false), false) = (end, script.is_empty()) {
        let len = usize::from(script.byte()) + 1;
        input.extend_from_slice(script.take(len));
        end = side.feed(&mut input, &mut sent);
        assert!(input.len() <= 4_096 || end.is_err(), "a handshake message that never ends");
    }
    match (&side, end) {
        // Nobody has the authority's key.
        (Side::Initiator(_), Ok(complete)) => assert!(!complete, "a stranger was taken for the server"),
        (Side::Responder(_), Ok(_)) => {}
        (_, Err(error)) => {
            let again = side.process(&input, &mut [0; 2_048]).err();
            assert_eq!(again, Some(error), "a fault sticks");
        }
    }
}

/// Both sides, and a script that is added to what they say, bit by bit: a handshake that binds its list (STR3) must fail when any bit of it changed.
fn genuine(selector: u8, mut script: Script<'_>) {
    let config = config(selector);
    let mut near = Side::Initiator(Box::new(Initiator::new(&config, [3; 32])));
    let mut far = Side::Responder(Box::new(Responder::new(&identity().1, &EVERYBODY, [4; 32])));
    let mut changed = false;
    let (mut to_near, mut to_far) = (vec![], vec![]);
    for _ in 0..4 {
        let mut sent = vec![];
        match near.feed(&mut to_near, &mut sent) {
            Err(_) => return,
            Ok(true) => {
                assert!(!changed || config.profile != Profile::Str3, "a changed handshake was taken for good");
                return;
            }
            Ok(false) => {}
        }
        changed |= change(&mut sent, &mut script);
        to_far.extend_from_slice(&sent);
        let mut sent = vec![];
        if far.feed(&mut to_far, &mut sent).is_err() {
            return;
        }
        changed |= change(&mut sent, &mut script);
        to_near.extend_from_slice(&sent);
    }
    assert!(changed, "an untouched handshake completes");
}

fn change(message: &mut [u8], script: &mut Script<'_>) -> bool {
    let (count, before) = (script.byte() % 4, message.to_vec());
    for _ in 0..count {
        let (at, mask) = (usize::from(script.u16()), script.byte());
        if let Some(byte) = message.get_mut(at) {
            *byte ^= mask;
        }
    }
    message != before
}
