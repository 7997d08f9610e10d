//! A whole pool over loopback: the processor's time of one share, and what a connection at rest keeps in memory.
//!
//! The pool is this program again, in a process of its own, so that only its side is counted; by what Linux says of it in `/proc`. The
//! reference pool takes half an hour to build, so what was seen of it stands here as a number.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use adit::{
    buffer::{Input, Output},
    connection::{Connection, Event, InitiatorConfig, NoiseServer, Progress, ResponderConfig, Security, SetupPolicy},
    crypto::{Provider, RustCrypto, Secret},
    message::{
        common::SetupConnection,
        mining::{OpenStandardMiningChannel, SetupFlags, SubmitSharesStandard, ToClient},
    },
    mining::{server::ServerConfig, target::Target, vardiff::VardiffConfig},
    noise::x25519::{self, Authentication, Authority, Identity},
    protocol::{Initiator, Mining, Protocol},
    role::{
        pool::{AcceptAll, Pool, PoolConfig},
        provider::NewTemplate,
    },
    session::Session,
    template::{
        Constraints, Tip,
        book::Basis,
        coinbase::{Payout, TemplateCoinbase},
    },
    time::{Instant, UnixTime},
    wire::U256,
};
use adit_native::crypto::AwsLc;
use adit_tokio::{
    clock::Clock,
    gate::{Gate, GateConfig},
    link::LinkSettings,
    listen::Listener,
    pool::{AcceptedShare, PoolHandle, PoolSetup, serve_pool},
    provider::{ProviderHandle, Transactions, serve_provider},
    rate::Rate,
    shutdown::Shutdown,
    upstream::{Server, Software, Upstream, UpstreamConfig},
};
use tokio::sync::{mpsc, watch};

use crate::measure::{Effort, Outcome};

/// Seen of the reference pool, not measured in this run.
const REFERENCE: &str = "pool_sv2 0.7.0 (seen before, not run)";
const REFERENCE_SHARE_NS: f64 = 30_000.0;
const REFERENCE_CONNECTION_BYTES: f64 = 46_000.0;

const AIM_SHARE_NS: f64 = 5_000.0;
const AIM_CONNECTION_BYTES: f64 = 4_096.0;

type Failure = Box<dyn std::error::Error>;

/// The rows of this module whose name contains `only`.
pub fn outcomes(only: &str, effort: Effort) -> impl Iterator<Item = Result<Outcome, Failure>> {
    type Measurement = fn(Effort, &str) -> Result<f64, Failure>;
    let rows: [(&str, &str, &'static str, Measurement, f64, f64); 5] = [
        (
            "a share through a pool, one at a time, RustCrypto",
            "rust",
            "ns",
            lone_shares,
            REFERENCE_SHARE_NS,
            AIM_SHARE_NS,
        ),
        (
            "a share through a pool, one at a time, AWS-LC",
            "aws-lc",
            "ns",
            lone_shares,
            REFERENCE_SHARE_NS,
            AIM_SHARE_NS,
        ),
        (
            "a share through a pool, in floods, AWS-LC",
            "aws-lc",
            "ns",
            flood_of_shares,
            REFERENCE_SHARE_NS,
            AIM_SHARE_NS,
        ),
        (
            "resident bytes of a connection, RustCrypto",
            "rust",
            "bytes",
            resident_bytes,
            REFERENCE_CONNECTION_BYTES,
            AIM_CONNECTION_BYTES,
        ),
        (
            "resident bytes of a connection, AWS-LC",
            "aws-lc",
            "bytes",
            resident_bytes,
            REFERENCE_CONNECTION_BYTES,
            AIM_CONNECTION_BYTES,
        ),
    ];
    let only = only.to_owned();
    rows.into_iter().filter(move |row| row.0.contains(&only)).map(
        move |(name, provider, unit, measure, reference, aim)| {
            let ours = measure(effort, provider)?;
            Ok(Outcome {
                name: name.to_owned(),
                unit,
                ours,
                peer: Some((REFERENCE.to_owned(), reference)),
                limit: None,
                ours_allocations: None,
                peer_allocations: None,
                ours_instructions: None,
                peer_instructions: None,
                aim_limit: None,
                aim_peer: None,
                aim_value: Some(aim),
            })
        },
    )
}

/// The pool's process.
struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn start(provider: &str) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", provider])
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
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

/// A device that waits for each answer.
struct Device {
    stream: TcpStream,
    session: Session<Initiator, Mining, Vec<u8>, Vec<u8>, AwsLc>,
    channel: u32,
    job: u32,
    version: u32,
    ntime: u32,
    nonce: u32,
    acknowledged: u32,
}

impl Device {
    /// Connects, opens a channel, and has its first job.
    fn new(address: SocketAddr, n: u32) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let config = InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(Authentication::AcceptAnyone)));
        let mut entropy = [3; 32];
        entropy[..4].copy_from_slice(&n.to_le_bytes());
        let session = Session::new(
            Connection::initiator(&config, entropy, Instant::ORIGIN),
            Input::new(vec![0; 2_048]),
            Output::new(vec![0; 2_048]),
        );
        let mut device = Self { stream, session, channel: 0, job: 0, version: 0, ntime: 0, nonce: 0, acknowledged: 0 };
        while device.job == 0 {
            device.turn()?;
        }
        Ok(device)
    }

    /// Takes all that is there; reads more when it is not enough for anything.
    fn turn(&mut self) -> Result<(), Failure> {
        loop {
            let progress = self.session.advance(Instant::ORIGIN, UnixTime::from_secs(1))?;
            self.flush()?;
            match progress {
                Progress::Event(token) => self.take(token)?,
                Progress::NeedInput => break,
                Progress::NeedOutput => {}
                other => return Err(format!("unexpected {other:?}").into()),
            }
        }
        self.flush()?;
        let n = self.stream.read(self.session.input_space())?;
        if n == 0 {
            return Err("the pool closed the connection".into());
        }
        self.session.commit_input(n)?;
        loop {
            match self.session.advance(Instant::ORIGIN, UnixTime::from_secs(1))? {
                Progress::Event(token) => self.take(token)?,
                Progress::NeedInput => break,
                Progress::NeedOutput => self.flush()?,
                other => return Err(format!("unexpected {other:?}").into()),
            }
        }
        self.flush()
    }

    fn take(&mut self, token: adit::connection::Token) -> Result<(), Failure> {
        let (event, mut out) = self.session.take_event(token)?;
        match event {
            Event::Secured(_) => out.send(&SetupConnection {
                protocol: Mining::NUMBER,
                min_version: 2,
                max_version: 2,
                flags: SetupFlags::REQUIRES_STANDARD_JOBS.bits(),
                endpoint_host: "127.0.0.1".into(),
                endpoint_port: 3333,
                vendor: "figures".into(),
                hardware_version: "".into(),
                firmware: "".into(),
                device_id: "".into(),
            })?,
            Event::Opened(_) => out.send(&OpenStandardMiningChannel {
                request_id: 1,
                user_identity: "miner".into(),
                nominal_hash_rate: 0.0,
                max_target: U256::MAX,
            })?,
            Event::Message(ToClient::OpenStandardMiningChannelSuccess(opened)) => self.channel = opened.channel_id,
            Event::Message(ToClient::NewMiningJob(job)) => self.version = job.version,
            Event::Message(ToClient::SetNewPrevHash(prev)) => {
                self.job = prev.job_id;
                self.ntime = prev.min_ntime;
            }
            Event::Message(ToClient::SubmitSharesSuccess(success)) => {
                self.acknowledged += success.new_submits_accepted_count;
            }
            Event::Message(ToClient::SubmitSharesError(error)) => return Err(format!("{error:?}").into()),
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let waits = self.session.output().len();
        if waits > 0 {
            self.stream.write_all(self.session.output())?;
            self.session.consume_output(waits)?;
        }
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Failure> {
        self.nonce += 1;
        self.session.outbound().send(&SubmitSharesStandard {
            channel_id: self.channel,
            sequence_number: self.nonce,
            job_id: self.job,
            nonce: self.nonce,
            ntime: self.ntime,
            version: self.version,
        })?;
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        while self.acknowledged < self.nonce {
            self.turn()?;
        }
        Ok(())
    }
}

/// Shares of fifty devices; each submits one, or sixteen at once, when the last were acknowledged. The best of a few runs.
fn shares(effort: Effort, provider: &str, at_once: usize) -> Result<f64, Failure> {
    let served = Served::start(provider)?;
    let mut devices = (0..50).map(|n| Device::new(served.address, n)).collect::<Result<Vec<_>, _>>()?;
    let runs = if effort == Effort::Quick { 2 } else { 8 };
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let before = served.processor_time()?;
        let mut shares = 0;
        for _ in 0..800 / at_once {
            for device in &mut devices {
                for _ in 0..at_once {
                    device.submit()?;
                }
                device.flush()?;
                shares += at_once;
            }
            for device in &mut devices {
                device.wait()?;
            }
        }
        best = best.min((served.processor_time()? - before) as f64 / shares as f64);
    }
    Ok(best)
}

fn lone_shares(effort: Effort, provider: &str) -> Result<f64, Failure> {
    shares(effort, provider, 1)
}

fn flood_of_shares(effort: Effort, provider: &str) -> Result<f64, Failure> {
    shares(effort, provider, 16)
}

/// Ten thousand devices that have a job and rest.
fn resident_bytes(effort: Effort, provider: &str) -> Result<f64, Failure> {
    let count = if effort == Effort::Quick { 1_000 } else { 10_000 };
    let served = Served::start(provider)?;
    let before = served.resident()?;
    let devices = (0..count).map(|n| Device::new(served.address, n)).collect::<Result<Vec<_>, _>>()?;
    // What is still on the way comes to rest.
    std::thread::sleep(Duration::from_millis(500));
    Ok((served.resident()? - before) / devices.len() as f64)
}

/// The pool's process: prints the pool's address, and ends with standard input.
pub fn serve(provider: Option<&str>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    let address = runtime.block_on(async {
        match provider {
            Some("aws-lc") => start::<AwsLc>().await,
            _ => start::<RustCrypto>().await,
        }
    });
    match address {
        Ok(address) => println!("{address}"),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    let _end = std::io::stdin().read_to_end(&mut Vec::new());
    runtime.shutdown_background();
    ExitCode::SUCCESS
}

fn responder<P: Provider>(setup: SetupPolicy) -> Result<watch::Receiver<Arc<ResponderConfig>>, Failure> {
    let authority = Authority::<P>::from_seed(Secret::from_bytes([1; 32]));
    let (from, until) = (UnixTime::from_secs(0), UnixTime::from_secs(u32::MAX));
    let identity = Identity::issue(Secret::from_bytes([2; 32]), &authority, from, until).map_err(|e| e.to_string())?;
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    Ok(watch::channel(Arc::new(ResponderConfig::new(Security::Noise(noise), setup))).1)
}

fn listener() -> Result<Listener, Failure> {
    let gate = GateConfig { per_address_rate: Rate { per_second: 100_000, burst: 100_000 }, ..GateConfig::default() };
    Ok(Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Gate::new(gate), Clock::start())?)
}

async fn start<P: Provider>() -> Result<SocketAddr, Failure> {
    let settings = Arc::new(LinkSettings::new(Clock::start(), 64));
    let provider = template_provider::<P>(&settings)?;
    let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
    // Every hash is a share, and difficulty never rises.
    let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
    let server = ServerConfig { vardiff, ..ServerConfig::default() };
    let pool = Pool::new(&PoolConfig { server, ..PoolConfig::new(&payouts) }).map_err(|error| format!("{error:?}"))?;
    let handle = PoolHandle::new(pool, AcceptAll, 16);
    let noise = x25519::InitiatorConfig::new(Authentication::AcceptAnyone);
    let upstream = Server {
        host: provider.ip().to_string(),
        port: provider.port(),
        connection: InitiatorConfig::new(Security::Noise(noise)),
    };
    let listener = listener()?;
    let address = listener.address();
    let setup = PoolSetup {
        listeners: vec![listener],
        responder: responder::<P>(handle.setup_policy())?,
        links: Arc::clone(&settings),
        provider: Upstream::new(UpstreamConfig::new(upstream), settings),
        software: Software::default(),
        reconnect: None,
    };
    let (sender, mut shares) = mpsc::channel::<AcceptedShare>(4_096);
    tokio::spawn(serve_pool::<P, _>(setup, handle.clone(), sender, Shutdown::new()));
    while handle.with(|pool| pool.shared().book().prev_hash().is_none()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // A store that keeps nothing.
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while shares.recv_many(&mut batch, 4_096).await > 0 {
            if let Some(last) = batch.last() {
                handle.stored(last.share.ticket);
            }
            batch.clear();
        }
    });
    Ok(address)
}

fn template_provider<P: Provider>(settings: &Arc<LinkSettings>) -> Result<SocketAddr, Failure> {
    let listener = listener()?;
    let address = listener.address();
    let (handle, mut events) = ProviderHandle::new(settings.clock, 1, 1_024);
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
    let template = NewTemplate { basis: Basis::Next, version: 0x2000_0000, coinbase, merkle_path: &[], room };
    let id = handle.new_template(&template, Transactions::default()).map_err(|error| format!("{error:?}"))?;
    let header_timestamp = Clock::start().wall().as_secs();
    let tip = Tip { prev_hash: [1; 32], header_timestamp, n_bits: 0x1d00_ffff, target: Target::ZERO };
    handle.new_tip(id, tip).map_err(|error| format!("{error:?}"))?;
    let (responder, settings) = (responder::<P>(SetupPolicy::new(0))?, Arc::clone(settings));
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    tokio::spawn(
        async move { serve_provider::<P>(vec![listener], responder, settings, handle, Shutdown::new()).await },
    );
    Ok(address)
}
