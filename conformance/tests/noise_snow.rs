//! The handshake and records of the draft revision against snow, an independent Noise implementation: each side, each cipher, each
//! provider.
//!
//! snow knows nothing of the negotiation and the certificate; the test speaks those parts by hand, from the specification's bytes.

use adit::crypto::{Cipher, Provider, RustCrypto, Secret};
use adit::noise::x25519::{
    Authentication, Authority, CipherList, Identity, Initiator, InitiatorConfig, OUTPUT_ROOM, Policy, Responder,
};
use adit::noise::{PeerIdentity, Step};
use adit::time::UnixTime;
use adit::transport::Transport;
use adit_native::crypto::AwsLc;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// Cipher, its suite in Noise's terms, offer and choice as bytes.
const SUITES: [(Cipher, &str, &[u8; 9], &[u8; 4]); 2] = [
    (Cipher::ChaChaPoly, "Noise_NX_25519_ChaChaPoly_BLAKE2s", b"STR3\x01CHCH", b"CHCH"),
    (Cipher::AesGcm, "Noise_NX_25519_AESGCM_BLAKE2s", b"STR3\x01AESG", b"AESG"),
];

fn authority() -> Authority<RustCrypto> {
    Authority::from_seed(Secret::from_bytes([0xa1; 32]))
}

fn identity() -> Identity {
    Identity::issue(Secret::from_bytes([0x51; 32]), &authority(), NOW, NOW).unwrap()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_le_bytes()[..], message].concat()
}

/// What came out of a step that took all of its input.
fn taken(step: Step, input: &[u8], out: &[u8]) -> Vec<u8> {
    match step {
        Step::Progress { consumed, written } | Step::Complete { consumed, written } if consumed == input.len() => {
            out[..written].to_vec()
        }
        _ => panic!("not all was taken"),
    }
}

fn seal<P: Provider>(link: &mut Transport<P>, frame: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; link.sealed_len(frame.len())];
    buffer[link.head_room()..][..frame.len()].copy_from_slice(frame);
    link.seal_frame(&mut buffer, frame.len()).unwrap();
    buffer
}

/// Frames both ways: enough that the counter's second byte is used, and one of several chunks.
fn exchange<P: Provider>(link: &mut Transport<P>, snow: &mut snow::TransportState) {
    let mut out = vec![0; 65_535];
    for number in 0..300_u32 {
        let frame = number.to_le_bytes().repeat(3);
        let wire = seal(link, &frame);
        let len = snow.read_message(&wire[2..], &mut out).unwrap();
        assert_eq!(out[..len], frame);
        let len = snow.write_message(&frame, &mut out).unwrap();
        let mut wire = framed(&out[..len]);
        let range = link.open_record(&mut wire).unwrap();
        assert_eq!(wire[range], frame);
    }
    let frame: Vec<u8> = (0..150_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let wire = seal(link, &frame);
    let (mut rest, mut received) = (wire.as_slice(), Vec::new());
    while let Some((prefix, after)) = rest.split_first_chunk() {
        let (record, after) = after.split_at(usize::from(u16::from_le_bytes(*prefix)));
        let len = snow.read_message(record, &mut out).unwrap();
        received.extend_from_slice(&out[..len]);
        rest = after;
    }
    assert_eq!(received, frame);
}

/// D-SEC-8, D-SEC-10, D-SEC-17
#[test]
fn our_initiator_with_a_snow_responder() {
    initiator_with_a_snow_responder::<RustCrypto>();
    initiator_with_a_snow_responder::<AwsLc>();
}

fn initiator_with_a_snow_responder<P: Provider>() {
    for (cipher, suite, offer, choice) in SUITES {
        let config = InitiatorConfig {
            ciphers: CipherList::only(cipher),
            ..InitiatorConfig::new(Authentication::Authority(*authority().public_key()))
        };
        let mut initiator = Initiator::<P>::new(&config, [1; 32]);
        let mut out = [0; OUTPUT_ROOM];
        let step = initiator.process(NOW, &[], &mut out).unwrap();
        assert_eq!(taken(step, &[], &out), framed(offer));

        let prologue = [&offer[4..], choice].concat();
        let mut snow = snow::Builder::new(suite.parse().unwrap())
            .prologue(&prologue)
            .unwrap()
            .local_private_key(&[0x51; 32])
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&[2; 32])
            .build_responder()
            .unwrap();
        let step = initiator.process(NOW, &framed(choice), &mut out).unwrap();
        let act1 = taken(step, &framed(choice), &out);
        assert_eq!(snow.read_message(&act1[2..], &mut []).unwrap(), 0);

        let certificate = *identity().certificate();
        let mut payload = vec![0, 0];
        payload.extend_from_slice(&NOW.as_secs().to_le_bytes());
        payload.extend_from_slice(&NOW.as_secs().to_le_bytes());
        payload.extend_from_slice(&certificate.signature);
        let mut act2 = [0; 170];
        assert_eq!(snow.write_message(&payload, &mut act2).unwrap(), 170);
        let hash = snow.get_handshake_hash().to_vec();
        let step = initiator.process(NOW, &framed(&act2), &mut out).unwrap();
        assert_eq!(taken(step, &framed(&act2), &out), []);
        let established = initiator.established().unwrap();
        assert_eq!(established.handshake_hash[..], hash);
        assert!(established.peer.is_authenticated());
        let mut link = Transport::<P>::sealed(established.send, established.receive);
        exchange(&mut link, &mut snow.into_transport_mode().unwrap());
    }
}

/// D-SEC-8, D-SEC-10, D-SEC-17
#[test]
fn our_responder_with_a_snow_initiator() {
    responder_with_a_snow_initiator::<RustCrypto>();
    responder_with_a_snow_initiator::<AwsLc>();
}

fn responder_with_a_snow_initiator<P: Provider>() {
    for (cipher, suite, offer, choice) in SUITES {
        let policy = Policy { ciphers: CipherList::only(cipher), ..Policy::default() };
        let mut responder = Responder::<P>::new(&identity(), &policy, [2; 32]);
        let mut out = [0; OUTPUT_ROOM];
        let step = responder.process(&framed(offer), &mut out).unwrap();
        assert_eq!(taken(step, &framed(offer), &out), framed(choice));

        let prologue = [&offer[4..], choice].concat();
        let mut snow = snow::Builder::new(suite.parse().unwrap())
            .prologue(&prologue)
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(&[1; 32])
            .build_initiator()
            .unwrap();
        // snow wants room for a tag even where there is none.
        let mut act1 = [0; 48];
        assert_eq!(snow.write_message(&[], &mut act1).unwrap(), 32);
        let act1 = framed(&act1[..32]);
        let step = responder.process(&act1, &mut out).unwrap();
        let act2 = taken(step, &act1, &out);
        let mut payload = [0; 170];
        assert_eq!(snow.read_message(&act2[2..], &mut payload).unwrap(), 74);
        let certificate = *identity().certificate();
        assert_eq!(payload[..2], [0, 0]);
        assert_eq!(payload[2..6], certificate.valid_from.as_secs().to_le_bytes());
        assert_eq!(payload[10..74], certificate.signature);
        assert_eq!(snow.get_remote_static().unwrap(), identity().static_key());

        let established = responder.established().unwrap();
        assert_eq!(established.peer, PeerIdentity::Anonymous);
        assert_eq!(&established.handshake_hash[..], snow.get_handshake_hash());
        let mut link = Transport::<P>::sealed(established.send, established.receive);
        exchange(&mut link, &mut snow.into_transport_mode().unwrap());
    }
}
