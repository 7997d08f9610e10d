//! Sealing a frame on one side and opening it on the other.
//!
//! snow knows both ciphers, codec_sv2 (with its buffer pool, as its users have it) ChaCha20-Poly1305 alone.

use std::{hint::black_box, time::Duration};

use adit::crypto::{Cipher, Provider, RustCrypto, TAG_LEN};
use adit_native::crypto::AwsLc;
use aes_gcm::Aes256Gcm;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, aead::Nonce};
use codec_sv2::{Decrypted, Handshake, NoiseDecoder, NoiseEncoder, TransportDecryptState, TransportEncryptState};
use framing_sv2::framing::SerializedFrame;

use crate::{
    codec::frame,
    handshake::{our_pair, snow_pair},
    measure::{Row, Side, side},
};

/// Plaintext of a record at most, in ours and in snow's messages.
const CHUNK: usize = 65_519;
const LARGE: usize = 100_000;

/// The peers of a cipher, the names of their rows for a share's frame and for 100 kB, and the aim for the frame with the fast provider.
struct Against {
    cipher: Cipher,
    fast: bool,
    codec_sv2: bool,
    names: [&'static str; 2],
}

const ROWS: [Against; 6] = [
    Against {
        cipher: Cipher::ChaChaPoly,
        fast: false,
        codec_sv2: false,
        names: ["seal and open a share's frame, RustCrypto (snow)", "seal and open 100 kB, RustCrypto (snow)"],
    },
    Against {
        cipher: Cipher::ChaChaPoly,
        fast: false,
        codec_sv2: true,
        names: [
            "seal and open a share's frame, RustCrypto (codec_sv2)",
            "seal and open 100 kB, RustCrypto (codec_sv2)",
        ],
    },
    Against {
        cipher: Cipher::ChaChaPoly,
        fast: true,
        codec_sv2: false,
        names: ["seal and open a share's frame, AWS-LC (snow)", "seal and open 100 kB, AWS-LC (snow)"],
    },
    Against {
        cipher: Cipher::ChaChaPoly,
        fast: true,
        codec_sv2: true,
        names: ["seal and open a share's frame, AWS-LC (codec_sv2)", "seal and open 100 kB, AWS-LC (codec_sv2)"],
    },
    Against {
        cipher: Cipher::AesGcm,
        fast: false,
        codec_sv2: false,
        names: [
            "seal and open a share's frame, AES, RustCrypto (snow)",
            "seal and open 100 kB, AES, RustCrypto (snow)",
        ],
    },
    Against {
        cipher: Cipher::AesGcm,
        fast: true,
        codec_sv2: false,
        names: ["seal and open a share's frame, AES, AWS-LC (snow)", "seal and open 100 kB, AES, AWS-LC (snow)"],
    },
];

pub fn rows() -> Vec<Row> {
    let row = |against: &Against, length: usize, name: &'static str| Row {
        name,
        ours: if against.fast {
            ours::<AwsLc>(against.cipher, length)
        } else {
            ours::<RustCrypto>(against.cipher, length)
        },
        peer: Some(if against.codec_sv2 {
            ("codec_sv2 7", codec_sv2(length))
        } else {
            ("snow 0.10", snow(against.cipher, length))
        }),
        limit: Some(match (against.fast, against.cipher) {
            (true, cipher) => aws_lc(cipher, length),
            (false, Cipher::ChaChaPoly) => rust_crypto::<ChaCha20Poly1305>(length),
            (false, Cipher::AesGcm) => rust_crypto::<Aes256Gcm>(length),
        }),
        most: if length == LARGE { 20 } else { 4_000 },
        batch: 1,
        aim_limit: Some(1.2),
        // Of 100 kB the cipher itself is nearly all, and snow's AES is not slow at anything.
        aim_peer: (against.fast && against.cipher == Cipher::ChaChaPoly && length < LARGE).then_some(8.0),
        no_allocation: true,
    };
    let short = ROWS.iter().map(|against| row(against, frame().len(), against.names[0]));
    short.chain(ROWS.iter().map(|against| row(against, LARGE, against.names[1]))).collect()
}

fn text(length: usize) -> Vec<u8> {
    // A frame, so that codec_sv2 takes it too.
    let mut text = vec![0x5a; length];
    text[..6].copy_from_slice(&frame()[..6]);
    text[3..6].copy_from_slice(&(length as u32 - 6).to_le_bytes()[..3]);
    text
}

fn ours<P: Provider>(cipher: Cipher, length: usize) -> Side {
    side(
        move |_| {
            let (near, far) = our_pair::<P>(cipher);
            let mut buffer = vec![0; near.sealed_len(length)];
            buffer[near.head_room()..][..length].copy_from_slice(&text(length));
            (near, far, buffer)
        },
        move |(near, far, buffer), _| {
            let mut rest = near.seal_frame(buffer, length).map(|sealed| &mut buffer[..sealed]).expect("sealed");
            while !rest.is_empty() {
                let len = far.record_len(rest).expect("a record").expect("whole");
                let (record, after) = rest.split_at_mut(len);
                black_box(far.open_record(record).expect("opened"));
                rest = after;
            }
        },
    )
}

fn snow(cipher: Cipher, length: usize) -> Side {
    side(
        move |_| {
            let (near, far) = snow_pair(cipher);
            (near, far, text(length), vec![0; CHUNK + TAG_LEN], vec![0; CHUNK])
        },
        |(near, far, text, sealed, opened), _| {
            for chunk in text.chunks(CHUNK) {
                let len = near.write_message(chunk, sealed).expect("room");
                black_box(far.read_message(&sealed[..len], opened).expect("opened"));
            }
        },
    )
}

/// The generator's x-coordinate: the public key of the secret key 1.
const AUTHORITY: [u8; 32] = [
    0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02, 0x9b, 0xfc,
    0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98,
];

fn codec_sv2_pair() -> (TransportEncryptState, TransportDecryptState) {
    let mut secret = [0; 32];
    secret[31] = 1;
    let initiator = Handshake::initiator(noise_sv2::Initiator::from_raw_k(AUTHORITY).expect("a key"));
    let responder =
        noise_sv2::Responder::from_authority_kp(&AUTHORITY, &secret, Duration::from_secs(3_600)).expect("a key pair");
    let (act1, initiator) = initiator.step_0().expect("act 1");
    let act1 = act1.payload().try_into().expect("act 1");
    let (act2, responder) = Handshake::responder(responder).step_1(act1).expect("act 2");
    let initiator = initiator.step_2(act2.payload().try_into().expect("act 2")).expect("the end");
    (initiator.split().0, responder.split().1)
}

struct CodecSv2 {
    encoder: NoiseEncoder,
    decoder: NoiseDecoder,
    seal: TransportEncryptState,
    open: Option<TransportDecryptState>,
    frames: Vec<SerializedFrame<Vec<u8>>>,
}

fn codec_sv2(length: usize) -> Side {
    side(
        move |count| {
            let (seal, open) = codec_sv2_pair();
            // It takes frames by value.
            let frames = (0..count).map(|_| SerializedFrame::from_bytes(text(length)).expect("a frame")).collect();
            CodecSv2 { encoder: NoiseEncoder::new(), decoder: NoiseDecoder::new(), seal, open: Some(open), frames }
        },
        |CodecSv2 { encoder, decoder, seal, open, frames }, _| {
            let wire = encoder.encode_transport(frames.pop().expect("one each"), seal).expect("sealed");
            let (mut rest, mut state): (&[u8], _) = (wire.as_ref(), open.take().expect("it came back"));
            let frame = loop {
                let writable = decoder.writable();
                let (now, after) = rest.split_at(writable.len().min(rest.len()));
                writable[..now.len()].copy_from_slice(now);
                rest = after;
                match decoder.next_transport_frame(state).expect("opened") {
                    Decrypted::Frame(frame, next) => {
                        *open = Some(next);
                        break frame;
                    }
                    Decrypted::Incomplete(_, next) => state = next,
                }
            };
            black_box(frame);
        },
    )
}

/// The cipher alone, with a key that is expanded already.
fn rust_crypto<C: AeadInOut + KeyInit + 'static>(length: usize) -> Side {
    let cipher = C::new_from_slice(&[7; 32]).expect("a key");
    side(
        move |_| text(length),
        move |text, _| {
            for chunk in text.chunks_mut(CHUNK) {
                let nonce = Nonce::<C>::try_from(&black_box([1; 12])[..]).expect("a nonce");
                let tag = cipher.encrypt_inout_detached(&nonce, &[], (&mut *chunk).into()).expect("sealed");
                cipher.decrypt_inout_detached(&nonce, &[], chunk.into(), &tag).expect("opened");
            }
        },
    )
}

fn aws_lc(cipher: Cipher, length: usize) -> Side {
    let cipher = crate::primitive::AwsLcKey::new(cipher);
    side(
        move |_| text(length),
        move |text, _| {
            for chunk in text.chunks_mut(CHUNK) {
                cipher.seal_and_open(chunk);
            }
        },
    )
}
