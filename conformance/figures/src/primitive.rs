//! The bare primitives of each provider: what sets the limits of other rows, and what another library would change.

#![allow(unsafe_code, reason = "the limit is what AWS-LC's C functions take without any wrapper, ours included")]

use std::{hint::black_box, mem::MaybeUninit, ptr};

use adit::{
    crypto::{Cipher, Provider, RustCrypto, Secret, TAG_LEN},
    hash::sha256d_header,
};
use adit_native::{crypto::AwsLc, hash::Method};

use crate::{
    codec::frame,
    measure::{Row, Side, side},
};

pub fn rows() -> Vec<Row> {
    let row = |name, ours, peer, batch| Row {
        name,
        ours,
        peer: Some(peer),
        limit: None,
        most: 4_000,
        batch,
        aim_limit: None,
        aim_peer: None,
        no_allocation: true,
    };
    vec![
        row("bare X25519 public key, AWS-LC", public::<AwsLc>(), ("dalek", public::<RustCrypto>()), 1),
        row("bare X25519 exchange, AWS-LC", exchange::<AwsLc>(), ("dalek", exchange::<RustCrypto>()), 1),
        row(
            "bare ChaCha20-Poly1305 of a share's frame, AWS-LC",
            aws_lc(Cipher::ChaChaPoly),
            ("ring 0.17", ring(Cipher::ChaChaPoly)),
            1,
        ),
        row(
            "bare AES-256-GCM of a share's frame, AWS-LC",
            aws_lc(Cipher::AesGcm),
            ("ring 0.17", ring(Cipher::AesGcm)),
            1,
        ),
        row("bare SHA-256d of a header, in lanes", lanes(), ("sha2, one by one", one_by_one()), HEADERS),
    ]
}

fn public<P: Provider>() -> Side {
    side(
        |_| Secret::from_bytes([0x51; 32]),
        |secret, _| {
            black_box(P::x25519_public(black_box(secret)));
        },
    )
}

fn exchange<P: Provider>() -> Side {
    side(
        |_| (Secret::from_bytes([0x51; 32]), P::x25519_public(&Secret::from_bytes([0x52; 32]))),
        |(secret, public), _| {
            black_box(P::x25519(black_box(secret), black_box(public)).expect("a point"));
        },
    )
}

/// A key of AWS-LC, expanded for use.
pub struct AwsLcKey(Box<aws_lc_sys::EVP_AEAD_CTX>);

impl AwsLcKey {
    pub fn new(cipher: Cipher) -> Self {
        let mut place = Box::new(MaybeUninit::uninit());
        let key = [7_u8; 32];
        // SAFETY: the context is filled, 32 bytes of key are read, and the algorithms are constant tables.
        let done = unsafe {
            let algorithm = match cipher {
                Cipher::ChaChaPoly => aws_lc_sys::EVP_aead_chacha20_poly1305(),
                Cipher::AesGcm => aws_lc_sys::EVP_aead_aes_256_gcm(),
            };
            aws_lc_sys::EVP_AEAD_CTX_init(
                place.as_mut_ptr(),
                algorithm,
                key.as_ptr(),
                key.len(),
                TAG_LEN,
                ptr::null_mut(),
            )
        };
        assert_eq!(done, 1, "a key");
        // SAFETY: it was filled above.
        Self(unsafe { place.assume_init() })
    }

    pub fn seal_and_open(&self, text: &mut [u8]) {
        let (nonce, mut tag, mut written) = (black_box([1_u8; 12]), [0_u8; TAG_LEN], 0);
        let at = text.as_mut_ptr();
        // SAFETY: each pointer comes with the length of what it points to; input and output are the same, the tag is apart.
        let done = unsafe {
            aws_lc_sys::EVP_AEAD_CTX_seal_scatter(
                &raw const *self.0,
                at,
                tag.as_mut_ptr(),
                &raw mut written,
                tag.len(),
                nonce.as_ptr(),
                nonce.len(),
                at,
                text.len(),
                ptr::null(),
                0,
                ptr::null(),
                0,
            ) + aws_lc_sys::EVP_AEAD_CTX_open_gather(
                &raw const *self.0,
                at,
                nonce.as_ptr(),
                nonce.len(),
                at,
                text.len(),
                tag.as_ptr(),
                tag.len(),
                ptr::null(),
                0,
            )
        };
        assert_eq!(done, 2, "sealed and opened");
    }
}

fn aws_lc(cipher: Cipher) -> Side {
    let key = AwsLcKey::new(cipher);
    side(|_| frame(), move |text, _| key.seal_and_open(text))
}

fn ring(cipher: Cipher) -> Side {
    use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
    let algorithm = match cipher {
        Cipher::ChaChaPoly => &CHACHA20_POLY1305,
        Cipher::AesGcm => &AES_256_GCM,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &[7; 32]).expect("a key"));
    side(
        |_| [frame().as_slice(), &[0; TAG_LEN]].concat(),
        move |text, _| {
            let nonce = || Nonce::assume_unique_for_key(black_box([1; 12]));
            let (body, place) = text.split_last_chunk_mut::<TAG_LEN>().expect("a tag");
            let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), body).expect("sealed");
            place.copy_from_slice(tag.as_ref());
            key.open_in_place(nonce(), Aad::empty(), text).expect("opened");
        },
    )
}

const HEADERS: usize = 64;

fn lanes() -> Side {
    let method = Method::fastest();
    side(
        |_| (vec![[5; 80]; HEADERS], vec![[0; 32]; HEADERS]),
        move |(headers, hashes), _| method.hash_headers(black_box(headers), black_box(hashes)),
    )
}

fn one_by_one() -> Side {
    side(
        |_| [5; 80],
        |header, _| {
            black_box(sha256d_header(black_box(header)));
        },
    )
}
