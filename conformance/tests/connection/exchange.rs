//! The whole exchange under a link that hurts.

use std::thread;

use adit::connection::{Ending, State};
use adit::crypto::Cipher;
use adit::error::{Error, PeerError};
use adit::noise::x25519::{CipherList, Profile};
use adit::protocol::Mining;
use adit::wire::Revision;
use adit_conformance::pair::{Pair, PairConfig};

use crate::talk::{Talk, converse};

fn noise(profile: Profile, cipher: Cipher) -> PairConfig {
    PairConfig { noise: Some((profile, CipherList::only(cipher))), ..PairConfig::default() }
}

fn assert_whole(talk: &Talk, pair: &Pair<Mining>) {
    assert!(talk.is_complete());
    assert_eq!((pair.client.error, pair.server.error), (None, None));
    assert_eq!(pair.client.session.connection().ending(), Some(Ending::Local));
    assert_eq!(pair.server.session.connection().ending(), Some(Ending::Peer));
    assert_eq!((talk.client.len(), talk.server.len()), (7, 5));
    assert!(talk.client[0].contains("Secured") && talk.client[1].contains("SetupConnectionSuccess"));
    assert!(talk.server[1].contains("pool.example") && talk.server[4].contains("sequence_number: 1"));
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
            let (talk, pair) = converse(&PairConfig { revision, ..noise(profile, cipher) }, |_| ());
            assert_whole(&talk, &pair);
        }
        let (talk, pair) = converse(&PairConfig { revision, ..PairConfig::plain() }, |_| ());
        assert_whole(&talk, &pair);
    }
}

/// D-SEC-9, D-FRAME-1: how bytes are cut on the way never shows.
#[test]
fn every_chunking_gives_the_same_events_and_the_same_bytes() {
    for config in [PairConfig::default(), PairConfig::plain(), noise(Profile::Legacy, Cipher::ChaChaPoly)] {
        let (talk, whole) = converse(&config, |_| ());
        assert_whole(&talk, &whole);
        let longest = whole.to_client.sent.len().max(whole.to_server.sent.len());
        for chunk in (1..=80).chain((80..longest).step_by(37)) {
            let (cut, pair) = converse(&PairConfig { chunk, ..config.clone() }, |_| ());
            assert_eq!((&cut.client, &cut.server), (&talk.client, &talk.server), "chunk {chunk}");
            assert_eq!(pair.to_server.sent, whole.to_server.sent, "chunk {chunk}");
            assert_eq!(pair.to_client.sent, whole.to_client.sent, "chunk {chunk}");
            assert_whole(&cut, &pair);
        }
    }
}

/// The same seed gives the same bytes, another one others.
#[test]
fn a_run_repeats_byte_for_byte() {
    let bytes = |seed| {
        let (_, pair) = converse(&PairConfig { seed, ..PairConfig::default() }, |_| ());
        (pair.to_server.sent, pair.to_client.sent)
    };
    assert_eq!(bytes(5), bytes(5));
    assert_ne!(bytes(5).0, bytes(6).0);
}

/// Where the records of a stream end: each has its length before it, in the handshake too (D-SEC-9).
fn record_ends(stream: &[u8]) -> Vec<usize> {
    let mut ends = vec![];
    let mut at = 0;
    while let Some(prefix) = stream.get(at..).and_then(|rest| rest.first_chunk()) {
        at += 2 + usize::from(u16::from_le_bytes(*prefix));
        ends.push(at);
    }
    assert_eq!(ends.last(), Some(&stream.len()));
    ends
}

/// Where the frames of a plain stream end (D-FRAME-1).
fn frame_ends(stream: &[u8]) -> Vec<usize> {
    let mut ends = vec![];
    let mut at = 0;
    while let Some([_, _, _, low, mid, high]) = stream.get(at..).and_then(|rest| rest.first_chunk::<6>()) {
        at += 6 + usize::from(*low) + (usize::from(*mid) << 8) + (usize::from(*high) << 16);
        ends.push(at);
    }
    assert_eq!(ends.last(), Some(&stream.len()));
    ends
}

fn is_prefix(part: &[String], whole: &[String]) -> bool {
    whole.starts_with(part)
}

/// A stream that ends in a record or frame is truncation; between two frames it is the peer's orderly end.
#[test]
fn a_cut_at_every_byte_is_seen_as_what_it_is() {
    for (config, handshake) in [(PairConfig::default(), 2), (PairConfig::plain(), 0)] {
        let (talk, whole) = converse(&config, |_| ());
        let sealed = config.noise.is_some();
        let ends = |stream: &[u8]| if sealed { record_ends(stream) } else { frame_ends(stream) };

        // Client to server: behind the handshake's messages every record is one frame.
        let stream = &whole.to_server.sent;
        let orderly: Vec<_> = match handshake {
            0 => std::iter::once(0).chain(ends(stream)).collect(),
            n => ends(stream).split_off(n - 1),
        };
        for cut in 0..stream.len() {
            let (seen, pair) = converse(&config, |pair| pair.to_server.cut = Some(cut));
            assert!(is_prefix(&seen.server, &talk.server) && is_prefix(&seen.client, &talk.client), "cut {cut}");
            let server = &pair.server;
            if orderly.contains(&cut) {
                assert_eq!((server.error, server.closed), (None, true), "cut {cut}");
                assert_eq!(server.session.connection().ending(), Some(Ending::Peer));
            } else {
                let error = server.error;
                assert!(matches!(error, Some(Error::Peer(PeerError::Truncated(_)))), "cut {cut}: {error:?}");
                assert_eq!(server.session.connection().state(), State::Failed);
            }
        }

        // Server to client: an end before the setup's answer is never in order (D-CONN-2).
        let stream = &whole.to_client.sent;
        let orderly = ends(stream).split_off(handshake);
        for cut in 0..stream.len() {
            let (seen, pair) = converse(&config, |pair| pair.to_client.cut = Some(cut));
            assert!(is_prefix(&seen.server, &talk.server) && is_prefix(&seen.client, &talk.client), "cut {cut}");
            let client = &pair.client;
            if orderly.contains(&cut) {
                assert_eq!((client.error, client.closed), (None, true), "cut {cut}");
            } else {
                let error = client.error;
                assert!(matches!(error, Some(Error::Peer(PeerError::Truncated(_)))), "cut {cut}: {error:?}");
            }
        }
    }
}

/// Which direction a bit is flipped in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Server,
    Client,
}

/// Flips every bit of a direction, one run each, on all cores.
fn flip_every_bit(config: &PairConfig, to: To, check: impl Fn(usize, &Talk, &Pair<Mining>) + Sync) {
    let (_, whole) = converse(config, |_| ());
    let bits = 8 * if to == To::Server { whole.to_server.sent.len() } else { whole.to_client.sent.len() };
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for worker in 0..workers {
            let check = &check;
            scope.spawn(move || {
                for bit in (worker..bits).step_by(workers) {
                    let (talk, pair) = converse(config, |pair| match to {
                        To::Server => pair.to_server.flip = Some(bit),
                        To::Client => pair.to_client.flip = Some(bit),
                    });
                    check(bit, &talk, &pair);
                }
            });
        }
    });
}

/// D-SEC-7, D-SEC-8, D-SEC-9: whatever bit changes on the way, what is delivered was sent, and the receiver reports a
/// fault at the altered message or the end of the stream.
#[test]
fn a_flipped_bit_never_delivers_anything_that_was_not_sent() {
    let config = PairConfig::default();
    let (whole, clean) = converse(&config, |_| ());
    for to in [To::Server, To::Client] {
        let stream = if to == To::Server { &clean.to_server.sent } else { &clean.to_client.sent };
        let transport = record_ends(stream)[1];
        flip_every_bit(&config, to, |bit, talk, pair| {
            assert!(is_prefix(&talk.client, &whole.client), "{to:?} bit {bit}: {:?}", talk.client);
            assert!(is_prefix(&talk.server, &whole.server), "{to:?} bit {bit}: {:?}", talk.server);
            assert!(!talk.is_complete(), "{to:?} bit {bit}");
            let receiver = if to == To::Server { pair.server.error } else { pair.client.error };
            if bit / 8 >= transport {
                // Behind the handshake only the record layer can notice, or the end of the stream inside a length that grew.
                let seen = matches!(
                    receiver,
                    Some(Error::Peer(PeerError::Record(_) | PeerError::TooLong { .. } | PeerError::Truncated(_)))
                );
                assert!(seen, "{to:?} bit {bit}: {receiver:?}");
            } else {
                // In the handshake the side that sees it may be the other one: keys differ.
                assert!(pair.client.error.is_some() || pair.server.error.is_some(), "{to:?} bit {bit}");
            }
        });
    }
}

/// A plain link protects nothing; but nothing that comes can make either side panic, hang or forget its state.
#[test]
fn a_flipped_bit_on_a_plain_link_ends_both_sides() {
    for to in [To::Server, To::Client] {
        flip_every_bit(&PairConfig::plain(), to, |bit, _, pair| {
            assert!(pair.client.is_over() && pair.server.is_over(), "{to:?} bit {bit}");
        });
    }
}
