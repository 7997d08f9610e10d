//! The README's example: it is in the README word for word, and it works against a pool's side of the protocol.

// As a module it has its own imports only, as it would where a reader pastes it.
#[path = "../../../core/examples/blocking_device/mine.rs"]
#[allow(unreachable_pub, reason = "public where it is pasted")]
mod mine;

use std::io::{self, Read, Write};
use std::path::Path;

use adit::buffer::{Input, Output};
use adit::connection::{
    Connection, Event, InitiatorConfig, NoiseServer, Progress, ResponderConfig, Security, SetupPolicy,
};
use adit::crypto::{RustCrypto, Secret};
use adit::message::JobStart;
use adit::message::mining::{
    NewMiningJob, OpenStandardMiningChannelSuccess, SetNewPrevHash, SetupFlags, SubmitSharesError,
    SubmitSharesStandard, SubmitSharesSuccess, ToServer,
};
use adit::mining::header::Header;
use adit::mining::target::Target;
use adit::noise::x25519::{self, Authentication, Authority, Identity};
use adit::protocol::{Mining, Responder};
use adit::role::device::{Device, DeviceConfig, Endpoint};
use adit::session::Session;
use adit::time::{Instant, UnixTime};
use adit::wire::{B032, U256};
use mine::mine;

const WALL: UnixTime = UnixTime::from_secs(1_700_000_000);

#[test]
fn the_readme_shows_the_example_that_is_tested_here() {
    let readme = include_str!("../../../README.md");
    assert!(
        readme.contains(include_str!("../../../core/examples/blocking_device/mine.rs")),
        "copy core/examples/blocking_device/mine.rs into the README"
    );
}

/// A pool at the other end of a stream that carries one byte at a time. Its first job is over when a share of it comes.
struct Pool {
    session: Session<Responder, Mining, [u8; 1024]>,
    job: NewMiningJob,
}

const CHANNEL: u32 = 7;
/// One hash in 256 is a share.
const TARGET: Target = Target::from_le_bytes({
    let mut bytes = [0xff; 32];
    bytes[31] = 0;
    bytes
});
const PREV_HASH: [u8; 32] = [9; 32];
const NBITS: u32 = 0x207f_ffff;

impl Pool {
    fn new(authority: &Authority<RustCrypto>, flags: u32) -> Self {
        let identity = Identity::issue(Secret::from_bytes([2; 32]), authority, WALL, WALL).unwrap();
        let security = Security::Noise(NoiseServer { identity, policy: x25519::Policy::default() });
        let config = ResponderConfig::new(security, SetupPolicy::new(flags));
        let connection = Connection::responder(&config, [3; 32], Instant::ORIGIN);
        let session = Session::new(connection, Input::new([0; 1024]), Output::new([0; 1024]));
        let (start, merkle_root) = (JobStart::Future, U256([1; 32]));
        Self { session, job: NewMiningJob { channel_id: CHANNEL, job_id: 1, start, version: 4, merkle_root } }
    }

    /// Answers all that has come.
    fn answer(&mut self) -> Result<(), String> {
        loop {
            let token = match self.session.advance(Instant::ORIGIN, WALL).map_err(|error| error.to_string())? {
                Progress::Event(token) => token,
                Progress::NeedInput | Progress::Closed => return Ok(()),
                other => panic!("{other:?}"),
            };
            let (Event::Message(message), mut miner) = self.session.take_event(token).unwrap() else { continue };
            match message {
                ToServer::OpenStandardMiningChannel(wish) => {
                    assert_eq!(wish.user_identity.as_bytes(), b"account.worker");
                    let answer = OpenStandardMiningChannelSuccess {
                        request_id: wish.request_id,
                        channel_id: CHANNEL,
                        target: TARGET.into(),
                        extranonce_prefix: B032::new(&[1, 2, 3, 4]),
                        group_channel_id: 1,
                    };
                    miner.send(&answer).unwrap();
                    miner.send(&self.job).unwrap();
                    let prev_hash = U256(PREV_HASH);
                    let (min_ntime, nbits) = (WALL.as_secs(), NBITS);
                    miner
                        .send(&SetNewPrevHash { channel_id: CHANNEL, job_id: 1, prev_hash, min_ntime, nbits })
                        .unwrap();
                }
                ToServer::SubmitSharesStandard(share) => {
                    let NewMiningJob { version, merkle_root: U256(merkle_root), .. } = self.job;
                    let SubmitSharesStandard { ntime, nonce, sequence_number, .. } = share;
                    assert_eq!((share.job_id, share.version, ntime), (self.job.job_id, version, WALL.as_secs()));
                    let header = Header { version, prev_hash: PREV_HASH, merkle_root, ntime, nbits: NBITS, nonce };
                    assert!(TARGET.is_met_by(&header.hash()));
                    if share.job_id == 1 {
                        let (start, merkle_root) = (JobStart::Now { min_ntime: None }, U256([2; 32]));
                        self.job = NewMiningJob { job_id: 2, start, merkle_root, ..self.job };
                        miner.send(&self.job).unwrap();
                        let error_code = "stale-share".into();
                        miner.send(&SubmitSharesError { channel_id: CHANNEL, sequence_number, error_code }).unwrap();
                    } else {
                        let answer = SubmitSharesSuccess {
                            channel_id: CHANNEL,
                            last_sequence_number: sequence_number,
                            new_submits_accepted_count: 1,
                            new_shares_sum: 1,
                        };
                        miner.send(&answer).unwrap();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Write for Pool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.session.input_space()[0] = bytes[0];
        self.session.commit_input(1).unwrap();
        self.answer().map_err(io::Error::other)?;
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Pool {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let Some(byte) = self.session.output().first() else { return Ok(0) };
        space[0] = *byte;
        self.session.consume_output(1).unwrap();
        Ok(1)
    }
}

fn run(trusted: &Authority<RustCrypto>, pool: &Authority<RustCrypto>, flags: u32) -> Result<u32, String> {
    over(Pool::new(pool, flags), trusted)
}

fn over(link: impl Read + Write, trusted: &Authority<RustCrypto>) -> Result<u32, String> {
    let noise = x25519::InitiatorConfig::new(Authentication::Authority(*trusted.public_key()));
    let config = InitiatorConfig::new(Security::Noise(noise));
    let connection = Connection::initiator(&config, [4; 32], Instant::ORIGIN);
    let mut session = Session::new(connection, Input::new([0; 1024]), Output::new([0; 1024]));
    let mut device = Device::new(DeviceConfig::new("account.worker", "acme", "S1", "1.0", ""));
    device.connecting(Endpoint::new("pool.example", 3333).unwrap());
    mine(link, &mut session, &mut device, || (Instant::ORIGIN, WALL)).map_err(|error| error.to_string())
}

/// What a device of standard jobs asks of its pool.
const SUPPORTED: u32 = SetupFlags::REQUIRES_STANDARD_JOBS.bits();

/// Its first share comes too late, the second is accepted. They are numbered from 1.
#[test]
fn the_example_mines_a_share() {
    let authority = Authority::from_seed(Secret::from_bytes([1; 32]));
    assert_eq!(run(&authority, &authority, SUPPORTED), Ok(2));
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
    assert_eq!(over(Broken(true), &authority), Err("cable cut".into()));
    let ended = over(Broken(false), &authority).unwrap_err();
    assert!(ended.contains("end"), "{ended}");
}

#[test]
fn the_example_reports_a_refusal_and_an_impostor() {
    let authority = Authority::from_seed(Secret::from_bytes([1; 32]));
    let refused = run(&authority, &authority, 0).unwrap_err();
    assert!(refused.contains("Refused"), "{refused}");
    let impostor = run(&authority, &Authority::from_seed(Secret::from_bytes([9; 32])), SUPPORTED).unwrap_err();
    assert!(impostor.contains("not signed by the expected authority"), "{impostor}");
}

/// Files and folders that the documents point to are there.
#[test]
fn links_in_the_documents_lead_somewhere() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let folders = ["", "docs", "conformance/spec", "runtime-embassy/firmware"];
    let entries = folders.into_iter().flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let pages = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|is| is == "md"));
    let mut seen = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.is_empty() && !link.contains("://") {
                seen += 1;
                assert!(page.parent().unwrap().join(link).exists(), "{}: {link}", page.display());
            }
        }
    }
    assert!(seen > 20, "only {seen}");
}
