//! The whole exchange under a link that hurts. Here every bit and byte is tried; longer conversations take samples of them.

use adit::crypto::Cipher;
use adit::noise::x25519::{CipherList, Profile};
use adit::wire::Revision;
use adit_conformance::conversation::{
    Had, have, try_cuts, try_every_chunking, try_flips, try_flips_on_plain_link, unit_ends,
};
use adit_conformance::pair::PairConfig;

use crate::talk::Talk;

fn noise(profile: Profile, cipher: Cipher) -> PairConfig {
    PairConfig { noise: Some((profile, CipherList::only(cipher))), ..PairConfig::default() }
}

fn assert_all_was_heard(had: &Had<Talk>) {
    had.assert_whole();
    assert_eq!((had.client.len(), had.server.len()), (7, 5));
    assert!(had.client[0].contains("Secured") && had.client[1].contains("SetupConnectionSuccess"));
    assert!(had.server[1].contains("pool.example") && had.server[4].contains("sequence_number: 1"));
}

/// D-SEC-1, D-SEC-8, D-SEC-9, D-CONN-1, D-CONN-2
#[test]
fn every_profile_cipher_and_revision_carries_the_exchange() {
    let profiles = [
        (Profile::Str3, Cipher::ChaChaPoly),
        (Profile::Str3, Cipher::AesGcm),
        (Profile::Str2, Cipher::ChaChaPoly),
        (Profile::Str2, Cipher::AesGcm),
        (Profile::Legacy, Cipher::ChaChaPoly),
    ];
    for revision in [Revision::Draft, Revision::Current] {
        for (profile, cipher) in profiles {
            assert_all_was_heard(&have(Talk::default(), &PairConfig { revision, ..noise(profile, cipher) }, |_| ()));
        }
        assert_all_was_heard(&have(Talk::default(), &PairConfig { revision, ..PairConfig::plain() }, |_| ()));
    }
}

/// D-SEC-9, D-FRAME-1: how bytes are cut on the way never shows.
#[test]
fn every_chunking_gives_the_same_events_and_the_same_bytes() {
    for config in [PairConfig::default(), PairConfig::plain(), noise(Profile::Legacy, Cipher::ChaChaPoly)] {
        let whole = have(Talk::default(), &config, |_| ()).pair;
        let longest = whole.to_client.sent.len().max(whole.to_server.sent.len());
        try_every_chunking(Talk::default, &config, (1..=80).chain((80..longest).step_by(37)));
    }
}

/// The same seed gives the same bytes, another one others.
#[test]
fn a_run_repeats_byte_for_byte() {
    let bytes = |seed| {
        let pair = have(Talk::default(), &PairConfig { seed, ..PairConfig::default() }, |_| ()).pair;
        (pair.to_server.sent, pair.to_client.sent)
    };
    assert_eq!(bytes(5), bytes(5));
    assert_ne!(bytes(5).0, bytes(6).0);
}

/// D-SEC-9: each record has its length before it, in the handshake too, and one frame in it here.
#[test]
fn a_sealed_stream_is_records() {
    let had = have(Talk::default(), &PairConfig::default(), |_| ());
    let plain = have(Talk::default(), &PairConfig::plain(), |_| ());
    for (sealed, plain) in
        [(&had.pair.to_server.sent, &plain.pair.to_server.sent), (&had.pair.to_client.sent, &plain.pair.to_client.sent)]
    {
        assert_eq!(unit_ends(sealed, true).len(), 2 + unit_ends(plain, false).len());
    }
}

/// D-CONN-2: a stream that ends in a record or frame is truncation; between two frames it is the peer's orderly end.
#[test]
fn a_cut_at_every_byte_is_seen_as_what_it_is() {
    for config in [PairConfig::default(), PairConfig::plain()] {
        try_cuts(Talk::default, &config, 1);
    }
}

/// D-SEC-7, D-SEC-12 in effect.
#[test]
fn a_flipped_bit_never_delivers_anything_that_was_not_sent() {
    try_flips(Talk::default, &PairConfig::default(), 1);
}

/// A plain link protects nothing; but nothing that comes can make either side panic, hang or forget its state.
#[test]
fn a_flipped_bit_on_a_plain_link_ends_both_sides() {
    try_flips_on_plain_link(Talk::default, &PairConfig::plain(), 1);
}
