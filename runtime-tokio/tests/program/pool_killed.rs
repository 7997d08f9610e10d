//! Killing the pool at any moment loses no acknowledged share and counts none twice.
//!
//! Provider and pool are processes; the devices live here, so that what was acknowledged to them is known to the share. The pool is
//! killed when some more shares were acknowledged, or some more sent, so in the middle of whatever it was doing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use adit::address::{AuthorityKey, Url};
use adit::connection::{InitiatorConfig, Security};
use adit::crypto::RustCrypto;
use adit::mining::client::{Solution, Statistics, Work};
use adit::noise::x25519::{self, Authentication};
use adit::role::device::DeviceConfig;
use adit_tokio::backoff::BackoffConfig;
use adit_tokio::broadcast::{self, RecvError};
use adit_tokio::clock::Clock;
use adit_tokio::device::{DeviceHandle, DeviceNews, DeviceTask};
use adit_tokio::link::LinkSettings;
use adit_tokio::shutdown::Shutdown;
use adit_tokio::upstream::{Server, Upstream, UpstreamConfig};
use adit_tokio::{queue, watch};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::house::{House, NEVER};
use crate::process::PATIENCE;

const DEVICES: usize = 3;
/// At least; more until a kill came while a share was under way.
const ROUNDS: usize = 8;
const MOST_ROUNDS: usize = 80;

struct Device {
    user: String,
    handle: DeviceHandle,
    task: JoinHandle<()>,
    /// Shares that were acknowledged, summed up from the news.
    acknowledged: JoinHandle<u64>,
    hashing: thread::JoinHandle<()>,
}

impl Device {
    fn start(user: &str, url: &str, shutdown: &Shutdown) -> Self {
        let url = Url::parse(url).unwrap();
        let Some(AuthorityKey::Ed25519(key)) = url.key else { panic!("no key") };
        let noise = x25519::InitiatorConfig::new(Authentication::Authority(key));
        let connection = InitiatorConfig::new(Security::Noise(noise));
        let server = Server { host: "127.0.0.1".into(), port: url.port(), connection };
        let backoff = BackoffConfig {
            first: Duration::from_millis(5),
            cap: Duration::from_millis(50),
            ..BackoffConfig::default()
        };
        let config = UpstreamConfig { backoff, ..UpstreamConfig::new(server) };
        let upstream = Upstream::new(config, Arc::new(LinkSettings::new(Clock::start(), 2)));
        let device = DeviceConfig::new(user.to_owned(), "test".into(), "none".into(), "0".into(), String::new());
        // All news of a test fit, so that none is missed.
        let (device, handle) = DeviceTask::new(device, upstream, 4, 1 << 16).unwrap();
        let acknowledged = tokio::spawn(acknowledged(handle.subscribe()));
        let (work, solutions, runtime) = (handle.work(), handle.solutions(), Handle::current());
        let hashing = thread::spawn(move || hash(work, &solutions, &runtime));
        let task = tokio::spawn(device.run::<RustCrypto>(shutdown.clone()));
        Self { user: user.to_owned(), handle, task, acknowledged, hashing }
    }

    /// Ends with the device; gives the counts of the device and of its news.
    async fn ended(self) -> (String, Statistics, u64) {
        self.task.await.unwrap();
        let statistics = self.handle.statistics();
        // The last of those who could tell news.
        drop(self.handle);
        let acknowledged = self.acknowledged.await.unwrap();
        tokio::task::spawn_blocking(|| self.hashing.join().unwrap()).await.unwrap();
        (self.user, statistics, acknowledged)
    }
}

async fn acknowledged(mut news: broadcast::Receiver<DeviceNews>) -> u64 {
    let mut sum = 0;
    loop {
        match news.recv().await {
            Ok(DeviceNews::Accepted { count, .. }) => sum += count,
            Ok(_) => {}
            Err(RecvError::Overflowed(missed)) => panic!("{missed} news were missed"),
            Err(RecvError::Closed) => return sum,
        }
    }
}

/// Hashes whatever is the newest work, until there is nobody to give it out.
fn hash(mut work: watch::Receiver<Option<Work>>, solutions: &queue::Sender<Solution>, runtime: &Handle) {
    loop {
        let now = *work.borrow_and_update();
        if let Some(now) = now {
            for nonce in 0..=u32::MAX {
                if work.has_changed().unwrap_or(true) {
                    break;
                }
                if now.target.is_met_by(&now.header(now.version, now.min_ntime, nonce).hash())
                    && solutions.send_blocking(now.solution(now.version, now.min_ntime, nonce)).is_err()
                {
                    return;
                }
            }
        }
        if runtime.block_on(work.changed()).is_err() {
            return;
        }
    }
}

/// Pseudo-random numbers, the same at each run (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Waits until this count of all devices together is higher by `more` than it was.
async fn wait_for_more(devices: &[Device], count: fn(&Statistics) -> u64, more: u64) {
    let sum = || devices.iter().map(|device| count(&device.handle.statistics())).sum::<u64>();
    let (begin, mut news) = (sum(), tokio::time::interval(Duration::from_millis(1)));
    let waiting = async {
        while sum() < begin + more {
            news.tick().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "no {more} more within {PATIENCE:?}, {} since", sum() - begin);
}

#[test]
fn killing_the_pool_loses_no_acknowledged_share_and_counts_none_twice() {
    let house = House::new(NEVER);
    let mut provider = house.provider();
    provider.event("template", |_| true);
    let mut pool = house.pool();
    let url = format!("stratum2+tcp://127.0.0.1:{}/{}", house.pool_port, house.pool_key);

    let runtime = Runtime::new().unwrap();
    let shutdown = Shutdown::new(Clock::start());
    let devices: Vec<Device> = {
        let _inside = runtime.enter();
        (0..DEVICES).map(|number| Device::start(&format!("farm.{number}"), &url, &shutdown)).collect()
    };
    let mut draw = Draw(1);
    let lost = |devices: &[Device]| devices.iter().any(|device| device.handle.statistics().lost > 0);
    let mut rounds = 0;
    while rounds < ROUNDS || rounds < MOST_ROUNDS && !lost(&devices) {
        // Each round has shares of its own: the devices have come back by themselves.
        runtime.block_on(wait_for_more(&devices, |counts| counts.accepted, 1 + draw.below(30)));
        if rounds % 2 == 1 {
            runtime.block_on(wait_for_more(&devices, |counts| counts.submitted, 1 + draw.below(10)));
        }
        pool.kill();
        pool = house.pool();
        rounds += 1;
    }
    runtime.block_on(wait_for_more(&devices, |counts| counts.accepted, 30));
    shutdown.start(Duration::from_secs(30));
    let counts = runtime.block_on(async {
        let mut counts = Vec::new();
        for device in devices {
            counts.push(tokio::time::timeout(PATIENCE, device.ended()).await.expect("an orderly end"));
        }
        counts
    });
    pool.end().well();
    provider.end().well();

    let lines = house.shares();
    let of_kind = |kind: &'static str| lines.iter().filter(move |line| line["event"] == kind);
    let mut journal = BTreeMap::<&str, u64>::new();
    let (mut hashes, mut ticket, mut difficulty) = (BTreeSet::new(), 0, 0.0);
    for share in of_kind("share") {
        assert!(hashes.insert(share["hash"].as_str().unwrap()), "counted twice: {share}");
        let next = share["ticket"].as_u64().unwrap();
        assert!(next > ticket, "tickets go on through all restarts: {next} after {ticket}");
        ticket = next;
        difficulty += share["difficulty"].as_f64().unwrap();
        *journal.entry(share["account"].as_str().unwrap()).or_default() += 1;
    }
    let totals: BTreeMap<&str, u64> = of_kind("account")
        .map(|account| (account["account"].as_str().unwrap(), account["shares"].as_u64().unwrap()))
        .collect();
    assert_eq!(totals, journal, "the totals are the sums of the journal");
    let total = lines.last().unwrap();
    assert_eq!(total["shares"].as_u64(), Some(hashes.len() as u64));
    assert!((total["difficulty"].as_f64().unwrap() / difficulty - 1.0).abs() < 1e-9, "{total} but {difficulty}");
    assert_eq!(totals.len(), DEVICES);

    let mut lost = 0;
    for (user, counts, acknowledged) in &counts {
        assert_eq!((counts.unanswered(), counts.accepted), (0, *acknowledged), "{user}: {counts:?}");
        let stored = totals[user.as_str()];
        assert!(stored >= *acknowledged, "{user}: {acknowledged} acknowledged, only {stored} stored");
        // What was stored beyond was on its way to be acknowledged when the pool was killed.
        assert!(stored <= acknowledged + counts.lost, "{user}: {stored} stored of {counts:?}");
        lost += counts.lost;
    }
    println!("{} shares stored, {lost} lost their answer in {rounds} kills", hashes.len());
    assert!(lost > 0, "no kill came while a share was under way: it proves nothing");
}
