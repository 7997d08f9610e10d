//! Servers that are not who they should be, and links on which someone rewrites the negotiation or plays a connection again.

use adit::buffer::{Input, Output};
use adit::connection::{Connection, Endpoint, Event, NoiseServer, Progress, ResponderConfig, Security};
use adit::crypto::{RustCrypto, Secret};
use adit::error::{Error, PeerError};
use adit::noise::x25519::{Authority, Identity, Policy};
use adit::noise::{Act, Certificate, CertificateError, Fault, NoiseError};
use adit::protocol::{Initiator, Mining, Responder};
use adit::session::Session;
use adit::time::{Instant, UnixTime};
use adit_conformance::entropy::Entropy;
use adit_conformance::pair::{Pair, PairConfig, WALL, configs};

use crate::house::SETUP;

const DAY: u32 = 86_400;

fn at(offset: i64) -> UnixTime {
    UnixTime::from_secs(u32::try_from(i64::from(WALL.as_secs()) + offset).expect("in this century"))
}

fn session<S: Endpoint>(connection: Connection<S, Mining>) -> Session<S, Mining, Vec<u8>> {
    Session::new(connection, Input::new(vec![0; 4_096]), Output::new(vec![0; 4_096]))
}

/// A pair whose server has another identity.
fn pair(identity: Identity) -> Pair<Mining> {
    let mut pair = Pair::<Mining>::new(&PairConfig::default());
    let (_, server) = configs(&PairConfig::default());
    let security = Security::Noise(NoiseServer { identity, policy: Policy::default() });
    let config = ResponderConfig { security, ..server };
    pair.server.session = session(Connection::responder(&config, [9; 32], Instant::ORIGIN));
    pair
}

/// The authority that the pair's client trusts: the first secret of its seed.
fn authority() -> Authority<RustCrypto> {
    let mut entropy = Entropy::seeded(PairConfig::default().seed);
    Authority::from_seed(Secret::from_bytes(entropy.bytes32()))
}

/// D-SEC-14: expired, not yet valid, another authority, another key under a good certificate, a certificate with other bytes: each has its error, the
/// client says nothing about itself, and the next server is taken.
#[test]
fn servers_that_no_certificate_vouches_for_are_refused() {
    let key = || Secret::from_bytes([5; 32]);
    let issue = |authority: &Authority<RustCrypto>, from: i64, to: i64| {
        Identity::issue::<RustCrypto>(key(), authority, at(from), at(to)).expect("a period")
    };
    let day = i64::from(DAY);
    let good = issue(&authority(), -day, day);
    let stranger = Authority::from_seed(Secret::from_bytes([77; 32]));
    let stolen = Identity::new::<RustCrypto>(Secret::from_bytes([6; 32]), *good.certificate());
    let longer = Certificate { not_valid_after: at(30 * day), ..*good.certificate() };
    let cases = [
        (issue(&authority(), -2 * day, -1), CertificateError::Expired { not_valid_after: at(-1) }),
        (issue(&authority(), 1, day), CertificateError::NotYetValid { valid_from: at(1) }),
        (issue(&stranger, -day, day), CertificateError::Signature),
        (stolen, CertificateError::Signature),
        (Identity::new::<RustCrypto>(key(), longer), CertificateError::Signature),
    ];
    for (identity, expected) in cases {
        let mut pair = pair(identity);
        let mut secured = 0;
        pair.run(&mut |event, _| panic!("{event:?}"), &mut |event, _| {
            assert!(matches!(event, Event::Secured(_)), "the client told something: {event:?}");
            secured += 1;
        });
        let fault = Fault::Certificate(expected);
        let error = Error::Peer(PeerError::Handshake(NoiseError { act: Act::Two, fault }));
        assert_eq!(pair.client.error, Some(error));
        assert_eq!((secured, pair.client.session.connection().peer()), (1, None));
    }
    let mut pair = pair(good);
    let mut authenticated = 0;
    pair.run(
        &mut |event, _| {
            authenticated += u32::from(matches!(event, Event::Secured(Some(peer)) if peer.is_authenticated()));
        },
        &mut |_, _| (),
    );
    assert_eq!((authenticated, pair.client.error), (1, None));
}

/// D-SEC-7: someone on the link who rewrites the list of ciphers, or the choice, into any other that is well formed: both sides end with nothing secured
/// on the client's, because the list is bound into the handshake.
#[test]
fn a_rewritten_cipher_list_fails_the_handshake() {
    // What the client says first is an STR3 offer of 15 bytes: two ciphers of four letters at its end.
    let offers: [&[u8]; 4] =
        [b"\x0d\0STR3\x02AESGCHCH", b"\x0d\0STR3\x02CHCHCHCH", b"\x09\0STR3\x01CHCH", b"\x09\0STR3\x01AESG"];
    for offer in offers {
        let (client, server) = configs(&PairConfig::default());
        let mut client = session(Connection::initiator(&client, [1; 32], Instant::ORIGIN));
        let mut server = session(Connection::responder(&server, [2; 32], Instant::ORIGIN));
        let (near, far) = converse(&mut client, &mut server, |bytes| {
            if bytes.starts_with(b"\x0d\0STR3") {
                assert_ne!(bytes, offer);
                *bytes = offer.to_vec();
            }
        });
        let error = Error::Peer(PeerError::Handshake(NoiseError { act: Act::Two, fault: Fault::Decrypt }));
        assert_eq!(near, Some(error), "{}", String::from_utf8_lossy(offer));
        // In this pattern the server hears nothing more, so it has nothing to object to.
        assert_eq!(far, None);
    }
}

/// Lets two sessions talk until both are silent, changing what the client sends; the errors of both.
fn converse(
    client: &mut Session<Initiator, Mining, Vec<u8>>,
    server: &mut Session<Responder, Mining, Vec<u8>>,
    change: impl Fn(&mut Vec<u8>),
) -> (Option<Error>, Option<Error>) {
    let (mut near, mut far) = (None, None);
    for _ in 0..6 {
        near = near.or(client.advance(Instant::ORIGIN, WALL).err());
        let mut bytes = client.output().to_vec();
        client.consume_output(bytes.len()).expect("what is filled");
        change(&mut bytes);
        server.input_space()[..bytes.len()].copy_from_slice(&bytes);
        server.commit_input(bytes.len()).expect("there is space");
        far = far.or(server.advance(Instant::ORIGIN, WALL).err());
        let bytes = server.output().to_vec();
        server.consume_output(bytes.len()).expect("what is filled");
        client.input_space()[..bytes.len()].copy_from_slice(&bytes);
        client.commit_input(bytes.len()).expect("there is space");
    }
    (near, far)
}

/// D-SEC-8: a connection that someone recorded is worth nothing: played at the same server, or its server's part at the same client, it gets as far as the
/// handshake and not one message further, because the other side's ephemeral key differs.
#[test]
fn a_recorded_connection_can_not_be_played_again() {
    let mut recorded = Pair::<Mining>::new(&PairConfig::default());
    let mut opened = 0;
    recorded.run(
        &mut |event, out| {
            if matches!(event, Event::Secured(_)) {
                out.send(&SETUP).expect("room");
            }
        },
        &mut |event, _| opened += u32::from(matches!(event, Event::Opened(_))),
    );
    assert_eq!(opened, 1);
    let (client, server) = configs(&PairConfig::default());

    let mut victim = session(Connection::<Responder, Mining>::responder(&server, [8; 32], Instant::ORIGIN));
    let (events, error) = play(&mut victim, &recorded.to_server.sent);
    assert_eq!(events, ["Secured(Some(Anonymous))"], "{error:?}");
    assert!(matches!(error, Some(Error::Peer(PeerError::Record(_)))), "{error:?}");

    let mut victim = session(Connection::<Initiator, Mining>::initiator(&client, [8; 32], Instant::ORIGIN));
    assert!(victim.advance(Instant::ORIGIN, WALL).is_ok());
    let (events, error) = play(&mut victim, &recorded.to_client.sent);
    assert!(events.is_empty(), "{events:?}");
    let expected = Error::Peer(PeerError::Handshake(NoiseError { act: Act::Two, fault: Fault::Decrypt }));
    assert_eq!(error, Some(expected));
}

fn play<S: Endpoint>(victim: &mut Session<S, Mining, Vec<u8>>, bytes: &[u8]) -> (Vec<String>, Option<Error>) {
    victim.input_space()[..bytes.len()].copy_from_slice(bytes);
    victim.commit_input(bytes.len()).expect("there is space");
    let mut events = vec![];
    loop {
        match victim.advance(Instant::ORIGIN, WALL) {
            Ok(Progress::Event(token)) => {
                events.push(format!("{:?}", victim.take_event(token).expect("decodes").0));
            }
            Ok(_) => return (events, None),
            Err(error) => return (events, Some(error)),
        }
    }
}
