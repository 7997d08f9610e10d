//! What the tests share: an executor with virtual time, streams in memory, two stacks joined in one process, a pool on one of them.

pub(crate) mod house;
mod lab;
pub(crate) mod miner;
mod net;
pub(crate) mod pipe;
mod time;

use adit::connection::{InitiatorConfig, NoiseServer, ResponderConfig, Security, SetupPolicy};
use adit::crypto::{RustCrypto, Secret};
use adit::mining::client::Work;
use adit::mining::extranonce::ExtranoncePrefix;
use adit::mining::target::Target;
use adit::noise::x25519::{self, Authentication, Authority, Identity};
use adit::time::{Instant, UnixTime};

// Time is virtual in any case.
pub(crate) use lab::{CLOSING, GRACE, or, run, run as run_still};
pub(crate) use time::{Tasks, block_on, chopped};

/// The wall clock of all tests at their start.
pub(crate) const WALL: UnixTime = UnixTime::from_secs(1_800_000_000);

/// First and last second of the test server's certificate.
pub(crate) const PERIOD: (u32, u32) = (WALL.as_secs() - 10, WALL.as_secs() + 1_000_000);

fn authority() -> Authority<RustCrypto> {
    Authority::from_seed(Secret::from_bytes([1; 32]))
}

/// A client that wants the test authority's certificate.
pub(crate) fn initiator() -> InitiatorConfig {
    let authority = Authentication::Authority(*authority().public_key());
    InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(authority)))
}

/// A server that has it.
pub(crate) fn responder(setup: SetupPolicy) -> ResponderConfig {
    let (from, until) = (UnixTime::from_secs(PERIOD.0), UnixTime::from_secs(PERIOD.1));
    let identity = Identity::issue(Secret::from_bytes([2; 32]), &authority(), from, until).unwrap();
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    ResponderConfig::new(Security::Noise(noise), setup)
}

/// Some work.
pub(crate) fn work(serial: u64, target: Target) -> Work {
    Work {
        serial,
        channel_id: 1,
        job_id: u32::try_from(serial).unwrap(),
        version: 0x2000_0000,
        version_mask: 0,
        prev_hash: [7; 32],
        merkle_root: [8; 32],
        min_ntime: WALL.as_secs(),
        since: Instant::ORIGIN,
        nbits: 0x207f_ffff,
        target,
        extranonce: ExtranoncePrefix::EMPTY,
    }
}
