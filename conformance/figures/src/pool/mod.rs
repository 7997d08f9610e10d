//! A whole pool over loopback: the processor's time of one share, and what a connection at rest keeps in memory, on each runtime.
//!
//! The pool is this program again, in a process of its own, so that only its side is counted; by what Linux says of it in `/proc`. The
//! reference pool takes half an hour to build, so what was seen of it stands here as a number. The limit of a share is a bare echo on the
//! same runtime, driven and counted in the same way.

mod device;
mod echo;
mod house;
mod smol;
mod tokio;

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use adit::{
    connection::{InitiatorConfig, NoiseServer, ResponderConfig, Security, SetupPolicy},
    crypto::{Provider, RustCrypto, Secret},
    gate::GateConfig,
    mining::{server::ServerConfig, target::Target, vardiff::VardiffConfig},
    noise::x25519::{self, Authentication, Authority, Identity},
    rate::Rate,
    role::{
        pool::{Pool, PoolConfig},
        provider::NewTemplate,
    },
    storage::Heap,
    template::{
        Constraints, Tip,
        book::Basis,
        coinbase::{Payout, TemplateCoinbase},
    },
    time::UnixTime,
};
use adit_native::crypto::AwsLc;

use crate::measure::{Effort, Outcome};
use device::Device;

/// Seen of the reference pool, not measured in this run.
const REFERENCE: &str = "pool_sv2 0.7.0 (seen before, not run)";
const REFERENCE_SHARE_NS: f64 = 30_000.0;
const REFERENCE_CONNECTION_BYTES: f64 = 46_000.0;

const AIM_SHARE_NS: f64 = 5_000.0;
const AIM_CONNECTION_BYTES: f64 = 4_096.0;

/// Threads of a pool.
const THREADS: usize = 2;
/// Shares that wait for the store.
const QUEUE: usize = 4_096;

type Failure = Box<dyn std::error::Error>;

/// What a row measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Processor time of a share, when each device has so many on the way at once.
    Share { at_once: usize },
    /// Growth of the process for each connection at rest.
    Resident,
}

/// One pool's process, and the rows that it serves.
struct Scene {
    runtime: &'static str,
    provider: &'static str,
    connections: usize,
    rows: &'static [(&'static str, What)],
}

/// How a pool's store takes shares; either keeps nothing.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Out of a queue, in a task of its own that confirms them.
    Queue,
    /// At once.
    AtOnce,
}

const ONE: What = What::Share { at_once: 1 };
const FLOOD: What = What::Share { at_once: 16 };

/// What rests is measured before there is any traffic.
const SCENES: [Scene; 9] = [
    Scene {
        runtime: "tokio",
        provider: "rust",
        connections: 50,
        rows: &[("tokio pool: a share, 50 connections, RustCrypto", ONE)],
    },
    Scene {
        runtime: "tokio",
        provider: "aws-lc",
        connections: 50,
        rows: &[
            ("tokio pool: a share, 50 connections", ONE),
            ("tokio pool: a share, 50 connections, 16 at once", FLOOD),
        ],
    },
    Scene {
        runtime: "smol",
        provider: "aws-lc",
        connections: 50,
        rows: &[("smol pool: a share, 50 connections", ONE), ("smol pool: a share, 50 connections, 16 at once", FLOOD)],
    },
    Scene {
        runtime: "tokio",
        provider: "at once",
        connections: 50,
        rows: &[("tokio pool: a share, 50 connections, stored without a queue", ONE)],
    },
    Scene {
        runtime: "smol",
        provider: "at once",
        connections: 50,
        rows: &[("smol pool: a share, 50 connections, stored without a queue", ONE)],
    },
    Scene {
        runtime: "tokio",
        provider: "aws-lc",
        connections: 1_000,
        rows: &[
            ("tokio pool: resident bytes of an idle connection, 1,000 connections", What::Resident),
            ("tokio pool: a share, 1,000 connections", ONE),
        ],
    },
    Scene {
        runtime: "smol",
        provider: "aws-lc",
        connections: 1_000,
        rows: &[
            ("smol pool: resident bytes of an idle connection, 1,000 connections", What::Resident),
            ("smol pool: a share, 1,000 connections", ONE),
        ],
    },
    Scene {
        runtime: "tokio",
        provider: "aws-lc",
        connections: 10_000,
        rows: &[
            ("tokio pool: resident bytes of an idle connection, 10,000 connections", What::Resident),
            ("tokio pool: a share, 10,000 connections", ONE),
        ],
    },
    Scene {
        runtime: "smol",
        provider: "aws-lc",
        connections: 10_000,
        rows: &[
            ("smol pool: resident bytes of an idle connection, 10,000 connections", What::Resident),
            ("smol pool: a share, 10,000 connections", ONE),
        ],
    },
];

/// The rows of this module whose name contains `only`.
pub fn outcomes(only: &str, effort: Effort) -> impl Iterator<Item = Result<Outcome, Failure>> {
    SCENES.iter().flat_map(move |scene| match scene.play(only, effort) {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    })
}

impl Scene {
    fn play(&self, only: &str, effort: Effort) -> Result<Vec<Outcome>, Failure> {
        let rows: Vec<_> = self.rows.iter().filter(|(name, _)| name.contains(only)).collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        // A quick run shows that it works, not how well.
        let count = if effort == Effort::Quick { self.connections.min(100) } else { self.connections };
        let served = Served::start(self.runtime, self.provider)?;
        let before = served.resident()?;
        let mut devices = (0..count as u32).map(|n| Device::new(served.address, n)).collect::<Result<Vec<_>, _>>()?;
        rest();
        let resident = (served.resident()? - before).max(0.0) / count as f64;
        let outcome = |(name, what): &(&str, What)| {
            let share = matches!(what, What::Share { .. });
            Ok(Outcome {
                name: (*name).to_owned(),
                unit: if share { "ns" } else { "bytes" },
                ours: match what {
                    What::Share { at_once } => served.share(&mut devices, effort, *at_once)?,
                    What::Resident => resident,
                },
                peer: Some((REFERENCE.to_owned(), if share { REFERENCE_SHARE_NS } else { REFERENCE_CONNECTION_BYTES })),
                aim_value: Some(if share { AIM_SHARE_NS } else { AIM_CONNECTION_BYTES }),
                ..Outcome::default()
            })
        };
        let mut outcomes = rows.iter().copied().map(outcome).collect::<Result<Vec<_>, Failure>>()?;
        // One after the other: both at once would need twice the open files.
        drop((devices, served));
        let served = Served::start(self.runtime, "echo")?;
        let mut devices = (0..count).map(|_| echo::Device::new(served.address)).collect::<Result<Vec<_>, _>>()?;
        for ((_, what), outcome) in rows.into_iter().zip(&mut outcomes) {
            if let What::Share { at_once } = what {
                outcome.limit = Some(served.share(&mut devices, effort, *at_once)?);
            }
        }
        Ok(outcomes)
    }
}

/// Lets what is still on the way come to rest.
#[allow(clippy::disallowed_methods, reason = "nothing happens in another process at rest that could be waited for")]
fn rest() {
    std::thread::sleep(Duration::from_millis(500));
}

/// Who drives a server over one connection.
trait Client {
    /// Puts a share among what is to be sent.
    fn submit(&mut self) -> Result<(), Failure>;
    /// Sends it.
    fn flush(&mut self) -> Result<(), Failure>;
    /// Blocks until all that was sent is answered.
    fn wait(&mut self) -> Result<(), Failure>;
}

/// The process of a pool, or of an echo.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn start(runtime: &str, what: &str) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", runtime, what])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()? })
    }

    /// Nanoseconds that all its threads were on a processor.
    fn processor_time(&self) -> Result<u64, Failure> {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            total += text.split_whitespace().next().ok_or("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(total)
    }

    fn resident(&self) -> Result<f64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes * 1_024.0)
    }

    /// Each device submits so many shares at once, and again when the last were acknowledged. The best of a few runs.
    fn share(&self, devices: &mut [impl Client], effort: Effort, at_once: usize) -> Result<f64, Failure> {
        let runs = if effort == Effort::Quick { 2 } else { 8 };
        let turns = (40_000 / (at_once * devices.len())).max(1);
        let mut best = f64::INFINITY;
        for _ in 0..runs {
            let before = self.processor_time()?;
            for _ in 0..turns {
                for device in devices.iter_mut() {
                    for _ in 0..at_once {
                        device.submit()?;
                    }
                    device.flush()?;
                }
                for device in devices.iter_mut() {
                    device.wait()?;
                }
            }
            let shares = turns * at_once * devices.len();
            best = best.min((self.processor_time()? - before) as f64 / shares as f64);
        }
        Ok(best)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

/// The server's process: prints its address, and ends with standard input.
pub fn serve(runtime: Option<&str>, what: Option<&str>) -> ExitCode {
    let served = match (runtime, what) {
        (Some("tokio"), Some("aws-lc")) => tokio::serve::<AwsLc>(Kind::Queue, until_end),
        (Some("tokio"), Some("at once")) => tokio::serve::<AwsLc>(Kind::AtOnce, until_end),
        (Some("smol"), Some("at once")) => smol::serve::<AwsLc>(Kind::AtOnce, until_end),
        (Some("tokio"), Some("rust")) => tokio::serve::<RustCrypto>(Kind::Queue, until_end),
        (Some("smol"), Some("aws-lc")) => smol::serve::<AwsLc>(Kind::Queue, until_end),
        (Some("tokio"), Some("echo")) => echo::on_tokio(until_end),
        (Some("smol"), Some("echo")) => echo::on_smol(until_end),
        _ => Err("a runtime, and a provider or an echo".into()),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn until_end(address: SocketAddr) {
    println!("{address}");
    // Whatever ends it.
    let _end = std::io::stdin().read_to_end(&mut Vec::new());
}

// What the pools of both runtimes are made of.

fn responder<P: Provider>(setup: SetupPolicy) -> Result<ResponderConfig, Failure> {
    let authority = Authority::<P>::from_seed(Secret::from_bytes([1; 32]));
    let (from, until) = (UnixTime::from_secs(0), UnixTime::from_secs(u32::MAX));
    let identity = Identity::issue(Secret::from_bytes([2; 32]), &authority, from, until).map_err(|e| e.to_string())?;
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    Ok(ResponderConfig::new(Security::Noise(noise), setup))
}

fn initiator() -> InitiatorConfig {
    InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(Authentication::AcceptAnyone)))
}

/// All devices come from one address, and at once.
fn gate() -> GateConfig {
    GateConfig { per_address_rate: Rate { per_second: 100_000, burst: 100_000 }, ..GateConfig::default() }
}

fn pool() -> Result<Pool<Heap>, Failure> {
    let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
    // Every hash is a share but for one in 2^24, and difficulty never rises.
    let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
    let server = ServerConfig { vardiff, ..ServerConfig::default() };
    Ok(Pool::new(&PoolConfig { server, ..PoolConfig::new(&payouts) }).map_err(|error| format!("{error:?}"))?)
}

fn template() -> NewTemplate<'static> {
    let coinbase = TemplateCoinbase {
        tx_version: 2,
        script_prefix: &[1, 7],
        input_sequence: u32::MAX,
        value_remaining: 5_000,
        outputs_count: 1,
        outputs: &[0; 9],
        lock_time: 0,
    };
    let room = Constraints { max_additional_size: 100, max_additional_sigops: 4 };
    NewTemplate { basis: Basis::Next, version: 0x2000_0000, coinbase, merkle_path: &[], room }
}

fn tip(now: UnixTime) -> Tip {
    Tip { prev_hash: [1; 32], header_timestamp: now.as_secs(), n_bits: 0x1d00_ffff, target: Target::ZERO }
}
