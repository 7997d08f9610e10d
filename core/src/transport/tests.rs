//! Records: sizes, chunks, damage, order.

use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

use super::*;
use crate::crypto::{Cipher, RustCrypto};

type Link = Transport<RustCrypto>;

const BOUNDARIES: [usize; 9] =
    [0, 1, 6, MAX_CHUNK - 1, MAX_CHUNK, MAX_CHUNK + 1, 2 * MAX_CHUNK, 2 * MAX_CHUNK + 1, 200_000];

/// Both ends of a link with fixed keys.
fn pair(cipher: Cipher) -> (Link, Link) {
    let key = |byte| CipherState::new(cipher, &[byte; 32]).unwrap();
    (Transport::sealed(key(1), key(2)), Transport::sealed(key(2), key(1)))
}

fn seal(link: &mut Link, frame: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; link.sealed_len(frame.len()).max(link.head_room())];
    let head = link.head_room();
    buffer[head..head + frame.len()].copy_from_slice(frame);
    let len = link.seal_frame(&mut buffer, frame.len()).unwrap();
    buffer.truncate(len);
    buffer
}

/// Opens every whole record of a stream.
fn open(link: &mut Link, wire: &[u8]) -> Result<Vec<u8>, TransportError> {
    let mut rest = wire.to_vec();
    let mut plain = Vec::new();
    while let Some(len) = link.record_len(&rest)?.filter(|len| *len <= rest.len()) {
        let range = link.open_record(&mut rest[..len])?;
        plain.extend_from_slice(&rest[range]);
        rest.drain(..len);
    }
    assert!(rest.is_empty());
    Ok(plain)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// D-SEC-17: chunks of 65,519 bytes; D-SEC-9: each with its own length, tag included.
#[test]
fn frames_of_every_boundary_length_come_through() {
    for cipher in [Cipher::ChaChaPoly, Cipher::AesGcm] {
        let (mut a, mut b) = pair(cipher);
        for len in BOUNDARIES {
            let frame = pattern(len);
            let wire = seal(&mut a, &frame);
            assert_eq!(wire.len(), len + len.div_ceil(65_519) * 18);
            let mut at = 0;
            for chunk in frame.chunks(65_519) {
                assert_eq!(wire[at..at + 2], ((chunk.len() + 16) as u16).to_le_bytes());
                at += chunk.len() + 18;
            }
            assert_eq!(open(&mut b, &wire).unwrap(), frame, "{len}");
        }
    }
}

/// A chunked frame is the same bytes as its chunks sealed one by one: nonces follow the order on the wire.
#[test]
fn chunks_are_numbered_in_the_order_of_the_wire() {
    let frame = pattern(150_000);
    let (mut whole, _) = pair(Cipher::ChaChaPoly);
    let (mut single, _) = pair(Cipher::ChaChaPoly);
    let by_chunk: Vec<u8> = frame.chunks(MAX_CHUNK).flat_map(|chunk| seal(&mut single, chunk)).collect();
    assert_eq!(seal(&mut whole, &frame), by_chunk);
}

#[test]
fn capacity_is_the_reverse_of_sealed_len() {
    let (link, _) = pair(Cipher::ChaChaPoly);
    for len in BOUNDARIES.into_iter().skip(1) {
        assert_eq!(link.capacity(link.sealed_len(len)), len);
    }
    for room in (0..400_000).step_by(37).chain(65_530..65_560).chain(0..64) {
        let len = link.capacity(room);
        assert!(link.sealed_len(len) <= room, "{room}");
        assert!(link.sealed_len(len + 1) > room, "{room}");
    }
    assert_eq!(Link::plain().capacity(77), 77);
}

/// D-SEC-2: a plain link adds nothing.
#[test]
fn a_plain_link_passes_frames_as_they_are() {
    let mut link = Link::plain();
    let frame = pattern(100_000);
    assert_eq!(seal(&mut link, &frame), frame);
    assert_eq!(open(&mut link, &frame).unwrap(), frame);
    assert_eq!(link.record_len(&[]), Ok(None));
    assert!(!link.is_sealed());
}

#[test]
fn every_flipped_bit_is_found() {
    for cipher in [Cipher::ChaChaPoly, Cipher::AesGcm] {
        let (mut a, _) = pair(cipher);
        let wire = seal(&mut a, b"frame");
        for bit in 0..wire.len() * 8 {
            let mut damaged = wire.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (_, mut b) = pair(cipher);
            let whole = b.record_len(&damaged).map(|len| len == Some(wire.len()));
            match whole {
                // A length that lies is found by the tag when that many bytes came, or at once when it is too short.
                Ok(false) | Err(TransportError::TooShort { .. }) => assert!(bit < 16),
                Ok(true) => assert_eq!(b.open_record(&mut damaged), Err(TransportError::Decrypt), "{bit}"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_length_that_lies_is_found_by_the_tag() {
    let (mut a, mut b) = pair(Cipher::ChaChaPoly);
    let mut wire = [seal(&mut a, b"first"), seal(&mut a, b"second")].concat();
    wire[0] += 1;
    let len = b.record_len(&wire).unwrap().unwrap();
    assert_eq!(b.open_record(&mut wire[..len]), Err(TransportError::Decrypt));
}

#[test]
fn replayed_and_reordered_records_are_refused() {
    let (mut a, mut b) = pair(Cipher::AesGcm);
    let (first, second) = (seal(&mut a, b"first"), seal(&mut a, b"second"));
    assert_eq!(b.open_record(&mut second.clone()), Err(TransportError::Decrypt));
    assert_eq!(b.open_record(&mut first.clone()), Ok(2..7));
    assert_eq!(b.open_record(&mut first.clone()), Err(TransportError::Decrypt));
    assert_eq!(b.open_record(&mut second.clone()), Ok(2..8));
    // Nor does a record open in the other direction.
    assert_eq!(a.open_record(&mut first.clone()), Err(TransportError::Decrypt));
}

#[test]
fn records_too_short_for_a_tag_are_refused_by_their_length() {
    let (link, _) = pair(Cipher::ChaChaPoly);
    for got in 0..16 {
        assert_eq!(link.record_len(&[got as u8, 0]), Err(TransportError::TooShort { got }));
    }
    assert_eq!(link.record_len(&[16, 0]), Ok(Some(18)));
    assert_eq!(link.record_len(&[0xff, 0xff]), Ok(Some(65_537)));
    assert_eq!(link.record_len(&[16]), Ok(None));
    assert_eq!(link.record_len(&[]), Ok(None));
}

#[test]
fn one_empty_record_passes_two_in_a_row_do_not() {
    let (mut a, mut b) = pair(Cipher::ChaChaPoly);
    let mut empty = || {
        let mut wire = [16, 0].to_vec();
        let mut tag = [0; TAG_LEN];
        let Kind::Sealed(records) = &mut a.0 else { unreachable!() };
        records.send.encrypt(&[], &mut [], &mut tag).unwrap();
        wire.extend_from_slice(&tag);
        wire
    };
    let (first, second, third) = (empty(), empty(), empty());
    assert_eq!(b.open_record(&mut first.clone()), Ok(2..2));
    let (mut a2, mut b2) = pair(Cipher::ChaChaPoly);
    let Kind::Sealed(records) = &mut a2.0 else { unreachable!() };
    records.send.set_nonce(1);
    let full = seal(&mut a2, b"x");
    assert_eq!(b2.open_record(&mut first.clone()), Ok(2..2));
    assert_eq!(b2.open_record(&mut full.clone()), Ok(2..3));
    assert_eq!(b2.open_record(&mut third.clone()), Ok(2..2));
    assert_eq!(b.open_record(&mut second.clone()), Err(TransportError::Empty));
}

#[test]
fn the_last_nonce_is_never_used() {
    let (mut a, mut b) = pair(Cipher::ChaChaPoly);
    let Kind::Sealed(sender) = &mut a.0 else { unreachable!() };
    sender.send.set_nonce(u64::MAX - 2);
    let Kind::Sealed(receiver) = &mut b.0 else { unreachable!() };
    receiver.receive.set_nonce(u64::MAX - 2);
    // Three chunks need three nonces where two are left; nothing is sealed, and two chunks still go.
    let mut buffer = vec![7; a.sealed_len(3 * MAX_CHUNK)];
    assert_eq!(a.seal_frame(&mut buffer, 3 * MAX_CHUNK), Err(TransportError::Exhausted));
    assert!(buffer.iter().all(|byte| *byte == 7));
    let wire = seal(&mut a, &pattern(MAX_CHUNK + 1));
    assert_eq!(open(&mut b, &wire).unwrap(), pattern(MAX_CHUNK + 1));
    assert_eq!(a.seal_frame(&mut buffer, 1), Err(TransportError::Exhausted));
    assert_eq!(b.open_record(&mut wire[..MAX_CHUNK + OVERHEAD].to_vec()), Err(TransportError::Exhausted));
}

#[test]
fn without_room_nothing_happens() {
    let (mut a, mut b) = pair(Cipher::ChaChaPoly);
    let mut small = [7; 5 + OVERHEAD - 1];
    assert_eq!(a.seal_frame(&mut small, 5), Err(TransportError::NoRoom));
    assert_eq!(small, [7; 5 + OVERHEAD - 1]);
    assert_eq!(open(&mut b, &seal(&mut a, b"still the first")).unwrap(), b"still the first");
    assert_eq!(a.seal_frame(&mut [], usize::MAX), Err(TransportError::NoRoom));
    assert_eq!(b.open_record(&mut [16, 0]), Err(TransportError::Incomplete));
}

/// What an idle connection pays for its keys.
#[test]
fn sizes() {
    let size = size_of::<Link>();
    std::println!("Transport<RustCrypto>: {size} bytes");
    assert!(size <= 104, "{size}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Frames of any lengths in any order, on either cipher, come out as the same stream.
    #[test]
    fn any_frames_come_through(
        lengths in prop::collection::vec(prop_oneof![0..300_usize, 65_500..65_540_usize, 131_000..131_080_usize], 0..6),
        aes: bool,
    ) {
        let (mut a, mut b) = pair(if aes { Cipher::AesGcm } else { Cipher::ChaChaPoly });
        let frames: Vec<_> = lengths.into_iter().map(pattern).collect();
        let wire: Vec<u8> = frames.iter().flat_map(|frame| seal(&mut a, frame)).collect();
        prop_assert_eq!(open(&mut b, &wire).unwrap(), frames.concat());
    }

    /// A peer may cut its stream into records as it likes.
    #[test]
    fn any_split_into_records_opens(cuts in prop::collection::vec(1..2000_usize, 1..20)) {
        let (mut a, mut b) = pair(Cipher::ChaChaPoly);
        let stream = pattern(cuts.iter().sum());
        let mut rest = stream.as_slice();
        let mut wire = Vec::new();
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut);
            wire.extend(seal(&mut a, chunk));
            rest = after;
        }
        prop_assert_eq!(open(&mut b, &wire).unwrap(), stream);
    }

    /// Whatever bytes come, opening fails without a panic.
    #[test]
    fn noise_never_opens(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, mut b) = pair(Cipher::AesGcm);
        let mut bytes = bytes;
        prop_assert!(b.open_record(&mut bytes).is_err());
    }
}
