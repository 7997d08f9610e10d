//! Both sides against each other: what succeeds, and everything that must not.

use proptest::prelude::*;
use std::vec::Vec;

use super::super::error::{Act, NoiseError};
use super::super::{Certificate, CertificateError, Established, PeerIdentity, Step};
use super::*;
use crate::crypto::{ChaChaPolyOnly, Cipher, Provider, PublicKey, RustCrypto, Secret};
use crate::time::UnixTime;
use crate::transport::Transport;

const FROM: UnixTime = UnixTime::from_secs(1_000);
const UNTIL: UnixTime = UnixTime::from_secs(2_000);
const EVERYBODY: Policy = Policy { ciphers: CipherList::CHACHAPOLY_FIRST, serve_str2: true, serve_legacy: true };

fn authority() -> Authority<RustCrypto> {
    Authority::from_seed(Secret::from_bytes([0xa1; 32]))
}

fn identity() -> Identity {
    Identity::issue(Secret::from_bytes([0x51; 32]), &authority(), FROM, UNTIL).unwrap()
}

fn config(profile: Profile) -> InitiatorConfig {
    InitiatorConfig { profile, ..InitiatorConfig::new(Authentication::Authority(*authority().public_key())) }
}

/// One side of a handshake, so that one loop drives both.
trait Side {
    fn turn(&mut self, wall: UnixTime, input: &[u8], output: &mut [u8]) -> Result<Step, NoiseError>;
    fn end(&self) -> Option<Established<RustCrypto>>;
}

impl Side for Initiator<RustCrypto> {
    fn turn(&mut self, wall: UnixTime, input: &[u8], output: &mut [u8]) -> Result<Step, NoiseError> {
        self.process(wall, input, output)
    }

    fn end(&self) -> Option<Established<RustCrypto>> {
        self.established()
    }
}

impl Side for Responder<RustCrypto> {
    fn turn(&mut self, _: UnixTime, input: &[u8], output: &mut [u8]) -> Result<Step, NoiseError> {
        self.process(input, output)
    }

    fn end(&self) -> Option<Established<RustCrypto>> {
        self.established()
    }
}

/// How one side ended: `Ok(None)` when it still waits.
type End = Result<Option<Established<RustCrypto>>, NoiseError>;

/// Feeds a side all of `input` and gathers what it writes.
fn drive(side: &mut impl Side, wall: UnixTime, input: &mut Vec<u8>, written: &mut Vec<u8>) -> End {
    let mut out = [0; OUTPUT_ROOM];
    loop {
        match side.turn(wall, input, &mut out)? {
            Step::NeedInput => return Ok(None),
            Step::NeedOutput => panic!("OUTPUT_ROOM is not enough"),
            Step::Progress { consumed, written: len } => {
                input.drain(..consumed);
                written.extend_from_slice(&out[..len]);
            }
            Step::Complete { consumed, written: len } => {
                input.drain(..consumed);
                written.extend_from_slice(&out[..len]);
                return Ok(Some(side.end().expect("complete")));
            }
        }
    }
}

/// A whole handshake at the time `wall`; `tamper` sees every message on the way, numbered from 0.
fn shake(
    config: &InitiatorConfig,
    identity: &Identity,
    policy: Policy,
    wall: UnixTime,
    mut tamper: impl FnMut(usize, &mut Vec<u8>),
) -> (End, End) {
    let mut initiator = Initiator::new(config, [1; 32]);
    let mut responder = Responder::new(identity, &policy, [2; 32]);
    let (mut near, mut far): (End, End) = (Ok(None), Ok(None));
    let mut number = 0;
    let (mut to_responder, mut to_initiator) = (Vec::new(), Vec::new());
    loop {
        if let Ok(None) = near {
            near = drive(&mut initiator, wall, &mut to_initiator, &mut to_responder);
        }
        if to_responder.is_empty() {
            return (near, far);
        }
        tamper(number, &mut to_responder);
        if let Ok(None) = far {
            far = drive(&mut responder, wall, &mut to_responder, &mut to_initiator);
        }
        if to_initiator.is_empty() {
            return (near, far);
        }
        tamper(number + 1, &mut to_initiator);
        number += 2;
    }
}

fn plain(config: &InitiatorConfig, policy: Policy) -> (End, End) {
    shake(config, &identity(), policy, FROM, |_, _| {})
}

fn fault(end: &End) -> Option<(Act, Fault)> {
    end.as_ref().err().map(|error| (error.act, error.fault))
}

/// Both ended well, with keys that fit.
fn assert_linked(ends: (End, End)) -> PeerIdentity {
    let (Ok(Some(near)), Ok(Some(far))) = ends else { panic!("not complete") };
    assert_eq!(near.handshake_hash, far.handshake_hash);
    assert_eq!(far.peer, PeerIdentity::Anonymous);
    let mut a = Transport::<RustCrypto>::sealed(near.send, near.receive);
    let mut b = Transport::<RustCrypto>::sealed(far.send, far.receive);
    for _ in 0..2 {
        let mut record = [0; 23];
        record[2..7].copy_from_slice(b"frame");
        assert_eq!(a.seal_frame(&mut record, 5), Ok(23));
        assert_eq!(b.open_record(&mut record), Ok(2..7));
        assert_eq!(&record[2..7], b"frame");
        core::mem::swap(&mut a, &mut b);
    }
    near.peer
}

/// D-SEC-5, D-SEC-6, D-SEC-8, D-SEC-14: every profile with every pair of lists that have a cipher in common.
#[test]
fn every_profile_and_list() {
    use Cipher::{AesGcm, ChaChaPoly};
    let lists = [
        CipherList::CHACHAPOLY_FIRST,
        CipherList::AESGCM_FIRST,
        CipherList::only(ChaChaPoly),
        CipherList::only(AesGcm),
    ];
    for profile in [Profile::Str3, Profile::Str2, Profile::Legacy] {
        for offered in lists {
            for allowed in lists {
                let config = InitiatorConfig { ciphers: offered, ..config(profile) };
                let policy = Policy { ciphers: allowed, ..EVERYBODY };
                let ends = plain(&config, policy);
                let in_common = offered.iter().any(|cipher| allowed.contains(cipher));
                let has_chacha = [offered, allowed].map(|list| list.contains(ChaChaPoly));
                match (profile, in_common, has_chacha) {
                    (Profile::Legacy, _, [false, _]) => {
                        assert_eq!(fault(&ends.0), Some((Act::One, Fault::NothingToOffer)));
                        assert!(!ends.0.err().unwrap().is_peers_fault());
                    }
                    (Profile::Legacy, _, [_, false]) => {
                        assert_eq!(fault(&ends.1), Some((Act::One, Fault::NoCommonCipher)));
                    }
                    (Profile::Str3 | Profile::Str2, false, _) => {
                        assert_eq!(fault(&ends.1), Some((Act::Offer, Fault::NoCommonCipher)));
                    }
                    _ => {
                        let (authority, static_key) = (*authority().public_key(), *identity().static_key());
                        let expected = PeerIdentity::Authenticated { authority, static_key, not_valid_after: UNTIL };
                        assert_eq!(assert_linked(ends), expected);
                    }
                }
            }
        }
    }
}

#[test]
fn old_profiles_are_refused_unless_the_policy_serves_them() {
    for (profile, act) in [(Profile::Str2, Act::Offer), (Profile::Legacy, Act::One)] {
        let (near, far) = plain(&config(profile), Policy::default());
        assert_eq!(fault(&far), Some((act, Fault::ProfileRefused(profile))));
        assert!(near.unwrap().is_none());
    }
    let only_str2 = Policy { serve_str2: true, ..Policy::default() };
    assert_linked(plain(&config(Profile::Str2), only_str2));
    assert!(plain(&config(Profile::Legacy), only_str2).1.is_err());
    let only_legacy = Policy { serve_legacy: true, ..Policy::default() };
    assert_linked(plain(&config(Profile::Legacy), only_legacy));
    assert!(plain(&config(Profile::Str2), only_legacy).1.is_err());
}

/// Flips `bit` of message `number`.
fn flip(config: &InitiatorConfig, number: usize, bit: usize) -> (End, End) {
    shake(config, &identity(), EVERYBODY, FROM, |at, message| {
        if at == number {
            message[bit / 8] ^= 1 << (bit % 8);
        }
    })
}

/// The messages of an undisturbed handshake, by length.
fn lengths(config: &InitiatorConfig) -> Vec<usize> {
    let mut lengths = Vec::new();
    assert_linked(shake(config, &identity(), EVERYBODY, FROM, |_, message| lengths.push(message.len())));
    lengths
}

/// D-SEC-7, D-SEC-10: no bit of an STR3 handshake can be changed without the initiator's end noticing, and nobody is left
/// waiting: one side has an error as soon as the changed bytes, or the answer to them, arrived.
#[test]
fn every_flipped_bit_fails_str3() {
    let config = config(Profile::Str3);
    let lengths = lengths(&config);
    assert_eq!(lengths, [15, 6, 34, 172]);
    for (number, len) in lengths.into_iter().enumerate() {
        for bit in 0..len * 8 {
            let (near, far) = flip(&config, number, bit);
            assert!(!matches!(near, Ok(Some(_))), "message {number}, bit {bit}");
            assert!(near.is_err() || far.is_err(), "message {number}, bit {bit}: both wait");
        }
    }
}

/// The same, a bit of each byte, for the other cipher and for LEGACY, which has no list.
#[test]
fn every_flipped_byte_fails_aes_and_legacy() {
    let aes = InitiatorConfig { ciphers: CipherList::only(Cipher::AesGcm), ..config(Profile::Str3) };
    for (config, expected) in [(aes, &[11, 6, 34, 172][..]), (config(Profile::Legacy), &[34, 174][..])] {
        let lengths = lengths(&config);
        assert_eq!(lengths, expected);
        for (number, len) in lengths.into_iter().enumerate() {
            for byte in 0..len {
                let (near, far) = flip(&config, number, byte * 8 + byte % 8);
                assert!(!matches!(near, Ok(Some(_))), "message {number}, byte {byte}");
                assert!(near.is_err() || far.is_err(), "message {number}, byte {byte}: both wait");
            }
        }
    }
}

/// STR2 binds the choice into the handshake, not the list. So by its definition changed codes in the list go unnoticed while
/// the choice is one that the initiator offered; every other byte is protected. This is why it is served only when asked for.
#[test]
fn in_str2_only_the_list_is_unprotected() {
    let config = config(Profile::Str2);
    let lengths = lengths(&config);
    assert_eq!(lengths, [15, 11, 34, 174]);
    let mut unnoticed = 0;
    for (number, len) in lengths.into_iter().enumerate() {
        for byte in 0..len {
            let (near, far) = flip(&config, number, byte * 8 + byte % 8);
            if matches!(near, Ok(Some(_))) {
                assert!(number == 0 && byte >= 7, "message {number}, byte {byte}");
                unnoticed += 1;
            } else {
                assert!(near.is_err() || far.is_err(), "message {number}, byte {byte}: both wait");
            }
        }
    }
    assert_eq!(unnoticed, 8);
}

/// D-SEC-7: a list cut down on the way, well-formed and with a choice that was offered, fails in act 2.
#[test]
fn a_list_cut_on_the_way_fails() {
    let (near, far) = shake(&config(Profile::Str3), &identity(), EVERYBODY, FROM, |at, message| {
        if at == 0 {
            *message = b"\x09\x00STR3\x01AESG".to_vec();
        }
    });
    assert!(far.unwrap().is_some());
    assert_eq!(fault(&near), Some((Act::Two, Fault::Decrypt)));
}

/// D-SEC-14
#[test]
fn certificates_that_do_not_vouch_are_refused() {
    let at = |identity: &Identity, wall, tolerance| {
        let config = InitiatorConfig { clock_tolerance: tolerance, ..config(Profile::Str3) };
        shake(&config, identity, Policy::default(), UnixTime::from_secs(wall), |_, _| {})
    };
    let refused = |end: (End, End), error| {
        assert_eq!(fault(&end.0), Some((Act::Two, Fault::Certificate(error))));
    };
    let good = identity();
    refused(at(&good, 999, 0), CertificateError::NotYetValid { valid_from: FROM });
    refused(at(&good, 2_001, 0), CertificateError::Expired { not_valid_after: UNTIL });
    for (wall, tolerance) in [(1_000, 0), (2_000, 0), (999, 1), (2_001, 1)] {
        assert!(assert_linked(at(&good, wall, tolerance)).is_authenticated());
    }

    let other = Authority::<RustCrypto>::from_seed(Secret::from_bytes([0xa2; 32]));
    let wrong_authority = Identity::issue(Secret::from_bytes([0x51; 32]), &other, FROM, UNTIL).unwrap();
    refused(at(&wrong_authority, 1_500, 0), CertificateError::Signature);
    let stolen = Identity::new::<RustCrypto>(Secret::from_bytes([0x52; 32]), *good.certificate());
    refused(at(&stolen, 1_500, 0), CertificateError::Signature);
    let longer = Certificate { not_valid_after: UnixTime::from_secs(9_000), ..*good.certificate() };
    let longer = Identity::new::<RustCrypto>(Secret::from_bytes([0x51; 32]), longer);
    refused(at(&longer, 1_500, 0), CertificateError::Signature);
    let version = Certificate { version: 7, ..*good.certificate() };
    let version = Identity::new::<RustCrypto>(Secret::from_bytes([0x51; 32]), version);
    refused(at(&version, 1_500, 0), CertificateError::Version(7));
}

/// D-SEC-13, D-SEC-16: between period and signature stands nothing, or the signature's length, and nothing behind.
#[test]
fn a_certificate_message_has_nothing_else_in_it() {
    use super::authority::Shown;
    for (old, lengths) in [(false, 74), (true, 76)] {
        let (payload, len) = identity().certificate().payload(old);
        let payload = payload[..len].to_vec();
        assert!(payload.len() == lengths && Shown::read(&payload).is_some());
        assert!((0..len).filter(|len| *len != 74).all(|len| Shown::read(&payload[..len]).is_none()));
        assert!(Shown::read(&[&payload[..], &[0]].concat()).is_none());
    }
    let (payload, _) = identity().certificate().payload(true);
    for at in 10..12 {
        let mut changed = payload;
        changed[at] ^= 1;
        assert!(Shown::read(&changed).is_none());
    }
}

#[test]
fn an_authority_issues_no_certificate_that_is_never_valid() {
    let key = [9; 32];
    assert_eq!(authority().certify(&key, UNTIL, FROM), Err(CertificateError::EmptyPeriod));
    assert!(authority().certify(&key, FROM, FROM).is_ok());
}

/// Without authentication anybody is accepted, and the outcome says so.
#[test]
fn an_unauthenticated_session_does_not_look_like_another() {
    let config = InitiatorConfig::new(Authentication::AcceptAnyone);
    let other = Authority::<RustCrypto>::from_seed(Secret::from_bytes([0xa2; 32]));
    let stranger = Identity::issue(Secret::from_bytes([0x53; 32]), &other, FROM, FROM).unwrap();
    let peer = assert_linked(shake(&config, &stranger, Policy::default(), UNTIL, |_, _| {}));
    assert_eq!(peer, PeerIdentity::Unauthenticated { static_key: *stranger.static_key() });
    assert!(!peer.is_authenticated());
}

/// Every message byte by byte, and with room one byte short at first: nothing changes but the number of calls.
#[test]
fn any_chunking_gives_the_same_bytes() {
    fn dribble(side: &mut impl Side, input: &[u8], written: &mut Vec<u8>) -> Option<Established<RustCrypto>> {
        let (mut small, mut out) = ([0; OUTPUT_ROOM], [0; OUTPUT_ROOM]);
        for len in 0..input.len() {
            assert!(matches!(side.turn(FROM, &input[..len], &mut out), Ok(Step::NeedInput)));
        }
        // No room at all first: the same call must succeed later. Act 2 is read without any.
        if let Ok(Step::Complete { consumed, .. }) = side.turn(FROM, input, &mut small[..0]) {
            assert_eq!(consumed, input.len());
            return side.end();
        }
        match side.turn(FROM, input, &mut out).unwrap() {
            Step::Progress { consumed, written: len } => {
                assert_eq!(consumed, input.len());
                written.extend_from_slice(&out[..len]);
                None
            }
            Step::Complete { consumed, written: len } => {
                assert_eq!(consumed, input.len());
                written.extend_from_slice(&out[..len]);
                side.end()
            }
            Step::NeedInput | Step::NeedOutput => panic!("all is there"),
        }
    }
    for profile in [Profile::Str3, Profile::Str2, Profile::Legacy] {
        let mut whole = Vec::new();
        assert_linked(shake(&config(profile), &identity(), EVERYBODY, FROM, |_, message| whole.push(message.clone())));
        let mut initiator = Initiator::new(&config(profile), [1; 32]);
        let mut responder = Responder::new(&identity(), &EVERYBODY, [2; 32]);
        let (mut message, mut seen) = (Vec::new(), Vec::new());
        let (mut near, mut far) = (None, None);
        assert!(matches!(initiator.turn(FROM, &[], &mut [0; 33]), Ok(Step::NeedOutput)));
        while near.is_none() {
            let input = core::mem::take(&mut message);
            near = dribble(&mut initiator, &input, &mut message);
            if near.is_none() {
                seen.push(message.clone());
                let input = core::mem::take(&mut message);
                far = dribble(&mut responder, &input, &mut message);
                seen.push(message.clone());
            }
        }
        assert_eq!(seen, whole);
        assert!(initiator.is_complete() && responder.is_complete());
        assert_linked((Ok(near), Ok(far)));
    }
}

/// What follows act 2 in the same read belongs to the transport.
#[test]
fn bytes_behind_the_last_message_are_left() {
    let mut seen = 0;
    let mut initiator = Initiator::<RustCrypto>::new(&config(Profile::Legacy), [1; 32]);
    let mut responder = Responder::<RustCrypto>::new(&identity(), &EVERYBODY, [2; 32]);
    let mut out = [0; OUTPUT_ROOM];
    let Ok(Step::Progress { written, .. }) = initiator.process(FROM, &[], &mut out) else { panic!() };
    let mut message = out[..written].to_vec();
    message.extend_from_slice(b"early");
    let Ok(Step::Complete { consumed, written, .. }) = responder.process(&message, &mut out) else { panic!() };
    assert_eq!(consumed, message.len() - 5);
    let mut message = out[..written].to_vec();
    message.extend_from_slice(b"record");
    if let Ok(Step::Complete { consumed, .. }) = initiator.process(FROM, &message, &mut []) {
        assert_eq!(consumed, message.len() - 6);
        seen += 1;
    }
    assert_eq!(seen, 1);
}

/// The answer to `input` of an initiator that has sent its offer.
fn initiator_fault(profile: Profile, ciphers: CipherList, input: &[u8]) -> Option<(Act, Fault)> {
    let mut initiator = Initiator::<RustCrypto>::new(&InitiatorConfig { ciphers, ..config(profile) }, [1; 32]);
    let mut out = [0; OUTPUT_ROOM];
    initiator.process(FROM, &[], &mut out).ok().unwrap();
    let error = initiator.process(FROM, input, &mut out).err()?;
    // Sticky, whatever comes then, and not to be taken for the end of a good handshake.
    let good: &[u8] = if profile == Profile::Str2 { b"\x09\0STR2\x01CHCH" } else { b"\x04\0CHCH" };
    for input in [input, good] {
        assert_eq!(initiator.process(FROM, input, &mut out).err(), Some(error));
    }
    assert!(!initiator.is_complete());
    assert!(error.is_peers_fault());
    Some((error.act, error.fault))
}

#[test]
fn bad_choices_are_told_apart() {
    let (both, chacha) = (CipherList::default(), CipherList::only(Cipher::ChaChaPoly));
    let choice = |fault| Some((Act::Choice, fault));
    let str3 = |ciphers, input| initiator_fault(Profile::Str3, ciphers, input);
    assert_eq!(str3(both, b"\x04\0XXXX"), choice(Fault::UnknownCipher(*b"XXXX")));
    assert_eq!(str3(chacha, b"\x04\0AESG"), choice(Fault::NotOffered(Cipher::AesGcm)));
    assert_eq!(str3(both, b"\x05\0"), choice(Fault::Length { got: 5 }));
    assert_eq!(str3(both, b"\xff\xff"), choice(Fault::Length { got: 65_535 }));
    assert_eq!(str3(both, b"\x04\0AESG"), None);
    let str2 = |input| initiator_fault(Profile::Str2, chacha, input);
    assert_eq!(str2(b"\x04\0CHCH"), choice(Fault::Length { got: 4 }));
    assert_eq!(str2(b"\x09\0STR3\x01CHCH"), choice(Fault::Magic(*b"STR3")));
    assert_eq!(str2(b"\x09\0STR2\x02CHCH"), choice(Fault::Count(2)));
    assert_eq!(str2(b"\x09\0STR2\x01AESG"), choice(Fault::NotOffered(Cipher::AesGcm)));
    assert_eq!(str2(b"\x09\0STR2\x01CHCH"), None);
}

/// The answer of a fresh responder to `input`.
fn responder_answer(input: &[u8]) -> Result<Vec<u8>, (Act, Fault)> {
    let mut responder = Responder::<RustCrypto>::new(&identity(), &EVERYBODY, [2; 32]);
    let mut out = [0; OUTPUT_ROOM];
    match responder.process(input, &mut out) {
        Ok(Step::Progress { written, .. } | Step::Complete { written, .. }) => Ok(out[..written].to_vec()),
        Ok(Step::NeedInput | Step::NeedOutput) => Ok(Vec::new()),
        Err(error) => {
            assert_eq!(responder.process(input, &mut out).err(), Some(error));
            assert!(!responder.is_complete());
            Err((error.act, error.fault))
        }
    }
}

#[test]
fn bad_offers_are_refused_as_soon_as_they_show() {
    let offer = |fault| Err((Act::Offer, fault));
    // A plain SetupConnection, an HTTP client, a TLS client.
    assert_eq!(responder_answer(&[0, 0]), offer(Fault::Length { got: 0 }));
    assert_eq!(responder_answer(b"GET / HTTP/1.1"), offer(Fault::Length { got: 0x4547 }));
    assert_eq!(responder_answer(&[0x16, 3, 1]), offer(Fault::Length { got: 0x0316 }));
    assert_eq!(responder_answer(b"\x09\0STR4"), offer(Fault::Magic(*b"STR4")));
    assert_eq!(responder_answer(b"\x09\0STR3\x02"), offer(Fault::Count(2)));
    assert_eq!(responder_answer(b"\x05\0STR3\0"), offer(Fault::NoCommonCipher));
    // The longest list, with what is known at its end.
    let mut longest = [&1025_u16.to_le_bytes()[..], b"STR3\xff"].concat();
    longest.extend_from_slice(&b"XXXX".repeat(254));
    longest.extend_from_slice(b"CHCH");
    assert_eq!(longest.len(), RESPONDER_INPUT);
    assert_eq!(responder_answer(&longest), Ok(b"\x04\0CHCH".to_vec()));
    // A LEGACY act 1 with a point of small order.
    let mut zero = [0; 34];
    zero[0] = 32;
    assert_eq!(responder_answer(&zero), Err((Act::One, Fault::BadPoint)));
}

/// Firmware without AES: the offer has `ChaChaPoly` alone, an AES-only configuration is an error of its own.
#[test]
fn a_provider_with_fewer_ciphers_offers_fewer() {
    type Small = RustCrypto<ChaChaPolyOnly>;
    let mut out = [0; OUTPUT_ROOM];
    let mut initiator = Initiator::<Small>::new(&config(Profile::Str3), [1; 32]);
    let Ok(Step::Progress { written, .. }) = initiator.process(FROM, &[], &mut out) else { panic!() };
    assert_eq!(&out[..written], b"\x09\0STR3\x01CHCH");

    let only_aes = InitiatorConfig { ciphers: CipherList::only(Cipher::AesGcm), ..config(Profile::Str3) };
    let error = Initiator::<Small>::new(&only_aes, [1; 32]).process(FROM, &[], &mut out).err().unwrap();
    assert_eq!((error.act, error.fault), (Act::Offer, Fault::NothingToOffer));

    let mut responder = Responder::<Small>::new(&identity(), &Policy::default(), [2; 32]);
    let Ok(Step::Progress { written, .. }) = responder.process(b"\x0d\0STR3\x02AESGCHCH", &mut out) else { panic!() };
    assert_eq!(&out[..written], b"\x04\0CHCH");
    let mut responder = Responder::<Small>::new(&identity(), &Policy::default(), [2; 32]);
    let error = responder.process(b"\x09\0STR3\x01AESG", &mut out).err().unwrap();
    assert_eq!(error.fault, Fault::NoCommonCipher);
}

/// The same inputs give the same bytes, other entropy others.
#[test]
fn entropy_is_an_argument() {
    let act1 = |entropy| {
        let mut out = [0; OUTPUT_ROOM];
        let mut initiator = Initiator::<RustCrypto>::new(&config(Profile::Legacy), entropy);
        initiator.process(FROM, &[], &mut out).ok().unwrap();
        let e: PublicKey = out[2..34].try_into().unwrap();
        e
    };
    assert_eq!(act1([1; 32]), act1([1; 32]));
    assert_ne!(act1([1; 32]), act1([3; 32]));
    assert_eq!(act1([1; 32]), <RustCrypto>::x25519_public(&Secret::from_bytes([1; 32])));
}

/// What a connection holds while it shakes hands. The responder's is what a half-open connection costs a server.
#[test]
fn sizes() {
    let sizes = [
        ("Initiator", size_of::<Initiator<RustCrypto>>(), 256),
        ("Responder", size_of::<Responder<RustCrypto>>(), 384),
        ("Established", size_of::<Established<RustCrypto>>(), 224),
        ("Identity", size_of::<Identity>(), 144),
    ];
    for (name, size, most) in sizes {
        std::println!("{name}: {size} bytes");
        assert!(size <= most, "{name}: {size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a stranger sends, neither side completes, panics, or takes more than it was given.
    #[test]
    fn strangers_get_nowhere(
        start in prop::sample::select(std::vec![&b""[..], b"\x0d\0STR3\x02", b"\x09\0STR2\x01CHCH", b"\x20\0", b"\x04\0CHCH\xaa\0"]),
        noise in prop::collection::vec(any::<u8>(), 0..300),
        profile in prop::sample::select(std::vec![Profile::Str3, Profile::Str2, Profile::Legacy]),
    ) {
        let bytes = [start, &noise].concat();
        let mut initiator = Initiator::<RustCrypto>::new(&config(profile), [1; 32]);
        let end = drive(&mut initiator, FROM, &mut bytes.clone(), &mut Vec::new());
        prop_assert!(!matches!(end, Ok(Some(_))));
        // A responder hears nothing after act 2, so a stranger with a key of its own may end it; it must not do so without one.
        let mut responder = Responder::<RustCrypto>::new(&identity(), &EVERYBODY, [2; 32]);
        let mut rest = bytes.clone();
        if let Ok(Some(_)) = drive(&mut responder, FROM, &mut rest, &mut Vec::new()) {
            prop_assert!(bytes.len() - rest.len() >= 34);
        }
    }
}
