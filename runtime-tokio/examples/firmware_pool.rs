//! The pool that `runtime-embassy/firmware/run` puts a microcontroller against: provider and pool on loopback, a share every second or
//! so, and all that a pool may do to a device while it mines.
//!
//! ```sh
//! cargo run -p adit-tokio --no-default-features --example firmware_pool -- url 3334        # what the firmware has to be told
//! cargo run -p adit-tokio --no-default-features --example firmware_pool -- serve 3334 8 0  # dies at the eighth accepted share
//! cargo run -p adit-tokio --no-default-features --example firmware_pool -- serve 3334 0 6  # Reconnect to another port behind the sixth
//! ```
//!
//! Prints a line for each thing it does and for each accepted share, with what the share was mined on. The authority's key is in this
//! file, so it proves nothing about who answers: for loopback only.

use std::{error::Error, io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use adit::{
    address::AuthorityKey,
    connection::{InitiatorConfig, NoiseServer, ResponderConfig, Security, SetupPolicy},
    crypto::{RustCrypto, Secret},
    mining::{server::ServerConfig, target::Target, vardiff::VardiffConfig},
    noise::x25519::{self, Authentication, Authority, Identity},
    role::{
        pool::{AcceptAll, Pool, PoolConfig, PoolEvent, Share},
        provider::NewTemplate,
    },
    template::{
        Constraints, Tip,
        book::{Basis, BookError},
        coinbase::{Payout, TemplateCoinbase},
    },
    time::UnixTime,
};
use adit_native::hash::Method;
use adit_tokio::{
    broadcast,
    clock::Clock,
    entropy::entropy,
    gate::{Gate, GateConfig},
    link::LinkSettings,
    listen::Listener,
    net::Tokio,
    pool::{AcceptedShare, PoolHandle, PoolNews, PoolSetup, serve_pool},
    provider::{Heard, ProviderHandle, Transactions, serve_provider},
    queue,
    shutdown::Shutdown,
    upstream::{Server, Software, Upstream, UpstreamConfig},
    watch,
};
use tokio::time::{Instant, sleep_until};

/// The authority's secret. Known to everybody, and good for nothing but this example.
const AUTHORITY: [u8; 32] = [0xAD; 32];
/// Shares a minute that variable difficulty aims at, at first and later: so the device's target has to change.
const PACE: [f64; 2] = [30.0, 400.0];
/// The accepted share behind which the pace changes.
const FASTER: u64 = 2;
/// Without a share for so long something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);
/// The provider's coinbase output: nothing, to nobody.
const OUTPUTS: [u8; 9] = [0; 9];
/// Who is paid: anyone.
const SCRIPT: [u8; 1] = [0x51];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["url", port] => {
            let key = AuthorityKey::Ed25519(*authority().public_key());
            // QEMU's network shows the host's loopback at this address.
            println!("stratum2+tcp://10.0.2.2:{}/{key}", port.parse::<u16>()?);
            Ok(())
        }
        ["serve", port, until, reconnect_after] => {
            let plan = Plan { until: until.parse()?, reconnect_after: reconnect_after.parse()? };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(serve(port.parse()?, &plan))
        }
        _ => Err("usage: firmware_pool url PORT | serve PORT UNTIL RECONNECT_AFTER".into()),
    }
}

/// What happens at which accepted share; 0 for never.
struct Plan {
    /// The process ends without a word, as if it had crashed.
    until: u64,
    /// Clients are sent to the pool's other port.
    reconnect_after: u64,
}

/// Prints a line at once: whoever reads may be waiting for it.
fn say(line: std::fmt::Arguments<'_>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn authority() -> Authority<RustCrypto> {
    Authority::from_seed(Secret::from_bytes(AUTHORITY))
}

/// A certificate for an hour. It began a while ago: an emulator's clock may run slower than this machine's.
fn responder(clock: Clock, setup: SetupPolicy) -> Result<ResponderConfig, Box<dyn Error>> {
    let now = clock.wall();
    let from = UnixTime::from_secs(now.as_secs().saturating_sub(600));
    let until = UnixTime::from_secs(now.as_secs().saturating_add(3_600));
    let identity = Identity::issue(Secret::from_bytes(entropy::<Tokio>()?), &authority(), from, until)
        .map_err(|error| format!("no certificate: {error:?}"))?;
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    Ok(ResponderConfig::new(Security::Noise(noise), setup))
}

fn listener(port: u16, clock: Clock) -> Result<Listener, Box<dyn Error>> {
    Ok(Listener::bind(SocketAddr::from(([127, 0, 0, 1], port)), Gate::new(GateConfig::default()), clock)?)
}

/// Pace `step` of [`PACE`].
fn config(step: usize) -> ServerConfig {
    let shares_per_minute = PACE.get(step).copied().unwrap_or(60.0);
    let vardiff = VardiffConfig { shares_per_minute, check_every: Duration::from_secs(1) };
    ServerConfig { vardiff, ..ServerConfig::default() }
}

/// Provider and pool in one task each, and the plan beside them.
async fn serve(port: u16, plan: &Plan) -> Result<(), Box<dyn Error>> {
    let clock = Clock::start();
    let links = Arc::new(LinkSettings::new(clock, 64));
    let shutdown = Shutdown::new(clock);

    let provider_port = listener(0, clock)?;
    let authentication = Authentication::Authority(*authority().public_key());
    let provider_server = Server {
        host: "127.0.0.1".into(),
        port: provider_port.address().port(),
        connection: InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(authentication))),
    };
    let (node, mut solutions) = ProviderHandle::new(clock, 1, 16);
    let mut chain = Chain { node: node.clone(), clock, height: 0, templates: 0 };
    chain.new_tip()?;
    let (_certificates, provider_responder) = watch::channel(Arc::new(responder(clock, SetupPolicy::new(0))?));
    let provider = serve_provider::<RustCrypto, _>(
        Tokio,
        vec![provider_port],
        provider_responder,
        Arc::clone(&links),
        node,
        shutdown.clone(),
    );

    let (main, other) = (listener(port, clock)?, listener(0, clock)?);
    let other_port = other.address().port();
    let payouts = [Payout { script_pubkey: &SCRIPT, weight: 1 }];
    let pool = Pool::new(&PoolConfig { server: config(0), ..PoolConfig::new(&payouts) })?;
    let handle = PoolHandle::new(pool, AcceptAll, 64);
    let (_more, responder) = watch::channel(Arc::new(responder(clock, handle.setup_policy())?));
    say(format_args!("listening {}", main.address()))?;
    let setup = PoolSetup {
        listeners: vec![main, other],
        responder,
        links: Arc::clone(&links),
        hasher: Arc::new(Method::fastest_for_shares()),
        provider: Upstream::new(UpstreamConfig::new(provider_server), links),
        software: Software::default(),
        reconnect: None,
    };
    let (queue, shares) = queue::channel(64);
    let pool = serve_pool::<RustCrypto, AcceptedShare>(Tokio, setup, handle.clone(), queue, shutdown);

    tokio::select! {
        served = provider => served.map_err(Into::into),
        served = pool => served.map_err(Into::into),
        ended = follow(plan, &handle, shares, &mut chain, other_port) => ended,
        () = refused(handle.subscribe()) => Err("the pool's news have ended".into()),
        () = blocks(&mut solutions) => Err("the provider's events have ended".into()),
    }
}

/// Stores what is accepted, which here is to print it, and does what the plan says at that share.
async fn follow(
    plan: &Plan,
    handle: &PoolHandle,
    mut shares: queue::Receiver<AcceptedShare>,
    chain: &mut Chain,
    other_port: u16,
) -> Result<(), Box<dyn Error>> {
    let mut accepted = 0_u64;
    let mut patience = Instant::now() + PATIENCE;
    loop {
        let AcceptedShare { share, user, .. } = tokio::select! {
            share = shares.recv() => share.ok_or("the pool has ended")?,
            () = sleep_until(patience) => return Err("no share has come for too long".into()),
        };
        patience = Instant::now() + PATIENCE;
        accepted += 1;
        handle.stored(share.ticket);
        say(format_args!("accepted {accepted} {}", Mined { share: &share, user: &user }))?;
        if accepted == plan.until {
            // No goodbye: what has not left yet is lost, as in a crash.
            std::process::exit(0);
        }
        if accepted == FASTER {
            handle.with(|pool| pool.set_config(config(1)));
            say(format_args!("pace {}", PACE[1]))?;
        }
        if accepted == plan.reconnect_after {
            if !handle.with(|pool| pool.reconnect_all("", other_port)) {
                return Err("clients cannot be sent to another port".into());
            }
            say(format_args!("reconnect {other_port}"))?;
        }
        // A job on the same block, then the next block, in turns.
        match accepted % 4 {
            1 => chain.new_job()?,
            3 => chain.new_tip()?,
            _ => {}
        }
    }
}

/// What a share was mined on.
struct Mined<'a> {
    share: &'a Share,
    user: &'a [u8],
}

impl std::fmt::Display for Mined<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Share { header, job_id, connection, target, .. } = self.share;
        write!(
            f,
            "user {} connection {} job {job_id} prevhash ",
            String::from_utf8_lossy(self.user),
            connection.serial()
        )?;
        header.prev_hash.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, " hashes {:.0}", target.expected_hashes())
    }
}

/// Prints what is not accepted, and why.
async fn refused(mut news: broadcast::Receiver<PoolNews>) {
    loop {
        match news.recv().await {
            Ok(PoolNews::Rejected { rejection, .. }) => {
                let _closed = say(format_args!("rejected {rejection:?}"));
            }
            Ok(PoolNews::Downstream(PoolEvent::Refused { why, .. })) => {
                let _closed = say(format_args!("refused {why:?}"));
            }
            Ok(_) | Err(broadcast::RecvError::Overflowed(_)) => {}
            Err(broadcast::RecvError::Closed) => return,
        }
    }
}

/// No hash meets the chain's target, so nothing has to be done about solutions.
async fn blocks(events: &mut queue::Receiver<Heard>) {
    while events.recv().await.is_some() {}
}

/// A chain that is made up: blocks appear in it when the plan says so.
struct Chain {
    node: ProviderHandle,
    clock: Clock,
    height: u8,
    templates: u8,
}

impl Chain {
    fn template(&mut self, basis: Basis) -> Result<u64, BookError> {
        self.templates = self.templates.wrapping_add(1);
        // Height and number of the template, so that no two coinbases are the same.
        let script_prefix = [1, self.height, 1, self.templates];
        let coinbase = TemplateCoinbase {
            tx_version: 2,
            script_prefix: &script_prefix,
            input_sequence: u32::MAX,
            value_remaining: 5_000,
            outputs_count: 1,
            outputs: &OUTPUTS,
            lock_time: 0,
        };
        let room = Constraints { max_additional_size: 100, max_additional_sigops: 4 };
        let template = NewTemplate { basis, version: 0x2000_0000, coinbase, merkle_path: &[], room };
        self.node.new_template(&template, Transactions::default())
    }

    /// Other transactions in the same block.
    fn new_job(&mut self) -> Result<(), Box<dyn Error>> {
        self.template(Basis::Tip)?;
        Ok(say(format_args!("job on block {}", self.height))?)
    }

    /// Somebody has found the block.
    fn new_tip(&mut self) -> Result<(), Box<dyn Error>> {
        self.height = self.height.wrapping_add(1);
        let id = self.template(Basis::Next)?;
        let (header_timestamp, n_bits) = (self.clock.wall().as_secs(), 0x1d00_ffff);
        self.node.new_tip(id, Tip { prev_hash: [self.height; 32], header_timestamp, n_bits, target: Target::ZERO })?;
        Ok(say(format_args!("block {}", self.height))?)
    }
}
