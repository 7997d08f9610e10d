//! The NX handshake of the draft's suite, with a payload as long as a certificate message and without checking one, which snow does not know.

use std::hint::black_box;

use adit::{
    crypto::{Cipher, Provider, RustCrypto, Secret},
    noise::x25519::nx,
    transport::Transport,
};
use adit_native::crypto::AwsLc;

use crate::measure::{Row, Side, side};

const PROLOGUE: &[u8] = b"CHCHCHCH";
const PAYLOAD: [u8; 74] = [7; 74];
const STATIC: [u8; 32] = [0x51; 32];
const EPHEMERAL: [u8; 32] = [0x52; 32];

/// The name that snow knows a suite by.
const fn suite(cipher: Cipher) -> &'static str {
    match cipher {
        Cipher::ChaChaPoly => "Noise_NX_25519_ChaChaPoly_BLAKE2s",
        Cipher::AesGcm => "Noise_NX_25519_AESGCM_BLAKE2s",
    }
}

pub fn rows() -> Vec<Row> {
    let both = |name, ours, limit, aim_peer| Row {
        name,
        ours,
        peer: Some(("snow 0.10", side(|_| (), |(), _| snow_both()))),
        limit: Some(limit),
        most: 200,
        batch: 1,
        aim_limit: Some(1.1),
        aim_peer,
        no_allocation: true,
    };
    let responder = |name, ours, limit, aim_peer| Row {
        name,
        ours,
        peer: Some((
            "snow 0.10",
            side(
                |_| act1::<RustCrypto>(),
                |act1, _| {
                    black_box(snow_responder(Cipher::ChaChaPoly, act1));
                },
            ),
        )),
        limit: Some(limit),
        most: 200,
        batch: 1,
        aim_limit: Some(1.1),
        aim_peer,
        no_allocation: true,
    };
    vec![
        both("handshake, both sides, RustCrypto", ours_both::<RustCrypto>(), curve::<RustCrypto>(2), None),
        both("handshake, both sides, AWS-LC", ours_both::<AwsLc>(), curve::<AwsLc>(2), Some(3.0)),
        responder("handshake, responder, RustCrypto", ours_responder::<RustCrypto>(), curve::<RustCrypto>(1), None),
        responder("handshake, responder, AWS-LC", ours_responder::<AwsLc>(), curve::<AwsLc>(1), Some(3.0)),
    ]
}

/// The curve operations of so many sides: a public key and two exchanges each.
fn curve<P: Provider>(sides: usize) -> Side {
    let secret = Secret::from_bytes(STATIC);
    let public = P::x25519_public(&secret);
    side(
        |_| (),
        move |(), _| {
            for _ in 0..sides {
                black_box(P::x25519_public(black_box(&secret)));
                black_box(P::x25519(black_box(&secret), &public)).expect("a point");
                black_box(P::x25519(&secret, black_box(&public))).expect("a point");
            }
        },
    )
}

fn act1<P: Provider>() -> [u8; 32] {
    let mut out = [0; 32];
    nx::Initiator::<P>::start(Cipher::ChaChaPoly, &[PROLOGUE], Secret::from_bytes(EPHEMERAL), &[], &mut out)
        .expect("room");
    out
}

fn ours_responder<P: Provider>() -> Side {
    let static_key = Secret::from_bytes(STATIC);
    let public = P::x25519_public(&static_key);
    let ephemeral = Secret::from_bytes([0x53; 32]);
    side(
        |_| act1::<P>(),
        move |act1, _| {
            let mut out = [0; 256];
            let responder = nx::Responder::<P>::new(Cipher::ChaChaPoly, &[PROLOGUE]);
            let done = responder.finish(black_box(act1), &ephemeral, (&static_key, &public), &PAYLOAD, &mut out);
            black_box(done.expect("a good act 1"));
        },
    )
}

fn ours_both<P: Provider>() -> Side {
    let static_key = Secret::from_bytes(STATIC);
    let public = P::x25519_public(&static_key);
    side(
        |_| (),
        move |(), _| {
            let (mut act1, mut act2) = ([0; 32], [0; 256]);
            let ephemeral = Secret::from_bytes(black_box(EPHEMERAL));
            let (initiator, _) =
                nx::Initiator::<P>::start(Cipher::ChaChaPoly, &[PROLOGUE], ephemeral, &[], &mut act1).expect("room");
            let ephemeral = Secret::from_bytes(black_box([0x53; 32]));
            let responder = nx::Responder::<P>::new(Cipher::ChaChaPoly, &[PROLOGUE]);
            let (theirs, len) =
                responder.finish(&act1, &ephemeral, (&static_key, &public), &PAYLOAD, &mut act2).expect("a good act 1");
            let (ours, ..) = initiator.finish(&mut act2[..len]).expect("a good act 2");
            assert_eq!(ours.handshake_hash, theirs.handshake_hash);
            black_box((ours, theirs));
        },
    )
}

fn snow_builder<'a>(cipher: Cipher) -> snow::Builder<'a> {
    snow::Builder::new(suite(cipher).parse().expect("a suite")).prologue(PROLOGUE).expect("a prologue")
}

fn snow_responder(cipher: Cipher, act1: &[u8]) -> (snow::TransportState, [u8; 256], usize) {
    let mut out = [0; 256];
    let mut snow =
        snow_builder(cipher).local_private_key(&STATIC).expect("a key").build_responder().expect("a responder");
    snow.read_message(act1, &mut []).expect("a good act 1");
    let len = snow.write_message(&PAYLOAD, &mut out).expect("room");
    (snow.into_transport_mode().expect("the end"), out, len)
}

fn snow_both() {
    let (initiator, responder) = snow_pair(Cipher::ChaChaPoly);
    black_box((initiator, responder));
}

pub fn snow_pair(cipher: Cipher) -> (snow::TransportState, snow::TransportState) {
    let mut initiator = snow_builder(cipher).build_initiator().expect("an initiator");
    // It wants room for a tag even where there is none.
    let mut act1 = [0; 48];
    let len = initiator.write_message(&[], &mut act1).expect("room");
    let (responder, act2, act2_len) = snow_responder(cipher, &act1[..len]);
    initiator.read_message(&act2[..act2_len], &mut [0; 256]).expect("a good act 2");
    (initiator.into_transport_mode().expect("the end"), responder)
}

/// Both ends of a sealed link of ours.
pub fn our_pair<P: Provider>(cipher: Cipher) -> (Transport<P>, Transport<P>) {
    let (mut act1, mut act2) = ([0; 32], [0; 256]);
    let static_key = Secret::from_bytes(STATIC);
    let public = P::x25519_public(&static_key);
    let (initiator, _) =
        nx::Initiator::<P>::start(cipher, &[PROLOGUE], Secret::from_bytes(EPHEMERAL), &[], &mut act1).expect("room");
    let responder = nx::Responder::<P>::new(cipher, &[PROLOGUE]);
    let ephemeral = Secret::from_bytes([0x53; 32]);
    let (theirs, len) =
        responder.finish(&act1, &ephemeral, (&static_key, &public), &PAYLOAD, &mut act2).expect("a good act 1");
    let (ours, ..) = initiator.finish(&mut act2[..len]).expect("a good act 2");
    (
        Transport::sealed(ours.initiator_to_responder, ours.responder_to_initiator),
        Transport::sealed(theirs.responder_to_initiator, theirs.initiator_to_responder),
    )
}
