//! The README's example: it is in the README word for word, and it works against a pool's side of the protocol.

// As a module it has its own imports only, as it would where a reader pastes it.
#[path = "../../../core/doc/open_channel.rs"]
#[allow(unreachable_pub, reason = "public where it is pasted")]
mod open_channel;

use std::io::{self, Read, Write};

use adit::buffer::{Input, Output};
use adit::connection::{
    Connection, Event, InitiatorConfig, NoiseServer, Progress, ResponderConfig, Security, SetupPolicy,
};
use adit::crypto::{RustCrypto, Secret};
use adit::message::common::SetupConnection;
use adit::message::mining::{OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, ToServer};
use adit::noise::x25519::{self, Authentication, Authority, Identity};
use adit::protocol::{Mining, Responder};
use adit::session::Session;
use adit::time::{Instant, UnixTime};
use adit::wire::{B032, Str0255, U256};
use open_channel::open_channel;

const WALL: UnixTime = UnixTime::from_secs(1_700_000_000);

#[test]
fn the_readme_shows_the_example_that_is_tested_here() {
    let readme = include_str!("../../../README.md");
    assert!(
        readme.contains(include_str!("../../../core/doc/open_channel.rs")),
        "copy core/doc/open_channel.rs into the README"
    );
}

/// A pool at the other end of a stream that carries one byte at a time.
struct Pool(Session<Responder, Mining, [u8; 1024]>);

impl Pool {
    fn new(authority: &Authority<RustCrypto>) -> Self {
        let identity = Identity::issue(Secret::from_bytes([2; 32]), authority, WALL, WALL).unwrap();
        let security = Security::Noise(NoiseServer { identity, policy: x25519::Policy::default() });
        let config = ResponderConfig::new(security, SetupPolicy::new(0));
        let connection = Connection::responder(&config, [3; 32], Instant::ORIGIN);
        Self(Session::new(connection, Input::new([0; 1024]), Output::new([0; 1024])))
    }
}

impl Write for Pool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.input_space()[0] = bytes[0];
        self.0.commit_input(1).unwrap();
        loop {
            match self.0.advance(Instant::ORIGIN, WALL).map_err(io::Error::other)? {
                Progress::Event(token) => {
                    let (event, mut miner) = self.0.take_event(token).unwrap();
                    if let Event::Message(ToServer::OpenStandardMiningChannel(wish)) = event {
                        assert_eq!(wish.user_identity.as_bytes(), b"account.worker");
                        let answer = OpenStandardMiningChannelSuccess {
                            request_id: wish.request_id,
                            channel_id: 7,
                            target: wish.max_target,
                            extranonce_prefix: B032::new(&[1, 2, 3, 4]),
                            group_channel_id: 1,
                        };
                        miner.send(&answer).unwrap();
                    }
                }
                Progress::NeedInput | Progress::Closed => return Ok(1),
                other => panic!("{other:?}"),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Pool {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let Some(byte) = self.0.output().first() else { return Ok(0) };
        space[0] = *byte;
        self.0.consume_output(1).unwrap();
        Ok(1)
    }
}

fn run(trusted: &Authority<RustCrypto>, pool: &Authority<RustCrypto>, flags: u32) -> Result<u32, String> {
    over(Pool::new(pool), trusted, flags)
}

fn over(link: impl Read + Write, trusted: &Authority<RustCrypto>, flags: u32) -> Result<u32, String> {
    let noise = x25519::InitiatorConfig::new(Authentication::Authority(*trusted.public_key()));
    let hello = SetupConnection {
        protocol: 0,
        min_version: 2,
        max_version: 2,
        flags,
        endpoint_host: Str0255::new("pool.example"),
        endpoint_port: 3333,
        vendor: Str0255::new("acme"),
        hardware_version: Str0255::new("S1"),
        firmware: Str0255::new("1.0"),
        device_id: Str0255::new(""),
    };
    let wish = OpenStandardMiningChannel {
        request_id: 1,
        user_identity: Str0255::new("account.worker"),
        nominal_hash_rate: 5e12,
        max_target: U256([0xff; 32]),
    };
    let config = InitiatorConfig::new(Security::Noise(noise));
    let connection = Connection::initiator(&config, [4; 32], Instant::ORIGIN);
    let mut session = Session::new(connection, Input::new([0; 1024]), Output::new([0; 1024]));
    open_channel(link, &mut session, &hello, &wish, || (Instant::ORIGIN, WALL)).map_err(|error| error.to_string())
}

#[test]
fn the_example_opens_a_channel() {
    let authority = Authority::from_seed(Secret::from_bytes([1; 32]));
    assert_eq!(run(&authority, &authority, 0), Ok(7));
}

/// A link that fails, or ends without a word.
#[test]
fn the_example_reports_a_broken_link() {
    struct Broken(bool);
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }
    impl Write for Broken {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 { Err(io::Error::other("cable cut")) } else { Ok(bytes.len()) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let authority = Authority::from_seed(Secret::from_bytes([1; 32]));
    assert_eq!(over(Broken(true), &authority, 0), Err("cable cut".into()));
    let ended = over(Broken(false), &authority, 0).unwrap_err();
    assert!(ended.contains("end"), "{ended}");
}

#[test]
fn the_example_reports_a_refusal_and_an_impostor() {
    let authority = Authority::from_seed(Secret::from_bytes([1; 32]));
    let refused = run(&authority, &authority, 1).unwrap_err();
    assert!(refused.contains("Refused"), "{refused}");
    let impostor = run(&authority, &Authority::from_seed(Secret::from_bytes([9; 32])), 0).unwrap_err();
    assert!(impostor.contains("not signed by the expected authority"), "{impostor}");
}
