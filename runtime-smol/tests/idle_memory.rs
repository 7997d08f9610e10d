//! What a connection at rest costs a pool in user space: at most 4 KiB of heap, all told (task, link, keys, channel, job).
//!
//! The clients are another process, this same program again, so that only the pool's side is counted. Prints the figures; on Linux
//! also the resident size, which contains what the allocator keeps for itself.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use adit::{
    connection::{InitiatorConfig, NoiseServer, ResponderConfig, Security, SetupPolicy},
    crypto::{RustCrypto, Secret},
    mining::target::Target,
    noise::x25519::{self, Authentication, Authority, Identity},
    role::{
        device::DeviceConfig,
        pool::{AcceptAll, Pool, PoolConfig},
        provider::NewTemplate,
    },
    template::{
        Constraints, Tip,
        book::Basis,
        coinbase::{Payout, TemplateCoinbase},
    },
    time::UnixTime,
};
use adit_smol::{
    clock::Clock,
    device::{DeviceHandle, DeviceTask},
    gate::{Gate, GateConfig},
    link::LinkSettings,
    listen::Listener,
    pool::{AcceptedShare, PoolHandle, PoolSetup, serve_pool},
    provider::{ProviderHandle, Transactions, serve_provider},
    queue,
    shutdown::Shutdown,
    upstream::{Server, Software, Upstream, UpstreamConfig},
    watch,
};
use smol::Executor;

/// Connections at rest. More take longer and change nothing.
const CONNECTIONS: usize = 1_000;
/// Bytes of heap that one may cost.
const LIMIT: usize = 4_096;
/// Names the pool to the second process.
const POOL: &str = "ADIT_TEST_POOL";

/// The system's allocator, with a count of the bytes that are in use.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator with the arguments as they came; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let executor = Arc::new(Executor::new());
    match std::env::var(POOL) {
        Ok(pool) => smol::block_on(executor.run(connect(&executor, pool.parse().expect("an address")))),
        Err(_) => smol::block_on(executor.run(measure(&executor))),
    }
}

fn clock() -> Clock {
    Clock::start()
}

/// The second process: many devices that get a job and then do nothing, until standard input ends.
async fn connect(executor: &Executor<'static>, pool: SocketAddr) {
    let settings = Arc::new(LinkSettings::new(clock(), 16));
    let shutdown = Shutdown::new(settings.clock.clone());
    let mut devices: Vec<DeviceHandle> = Vec::new();
    for n in 0..CONNECTIONS {
        let noise = x25519::InitiatorConfig::new(Authentication::AcceptAnyone);
        let connection = InitiatorConfig::new(Security::Noise(noise));
        let server = Server { host: pool.ip().to_string(), port: pool.port(), connection };
        let upstream = Upstream::new(UpstreamConfig::new(server), Arc::clone(&settings));
        let config = DeviceConfig::new(format!("account.{n}"), "test".into(), "none".into(), "0".into(), String::new());
        let (task, handle) = DeviceTask::new(config, upstream, 1, 1);
        executor.spawn(task.run::<RustCrypto>(shutdown.clone())).detach();
        devices.push(handle);
    }
    for device in &devices {
        device.work().wait_for(Option::is_some).await.expect("the device lives");
    }
    println!("all at work");
    // Devices must go on living, so a thread waits for the end.
    smol::unblock(|| std::io::stdin().read_to_end(&mut Vec::new())).await.expect("standard input");
}

fn responder(setup: SetupPolicy) -> watch::Receiver<Arc<ResponderConfig>> {
    let authority = Authority::<RustCrypto>::from_seed(Secret::from_bytes([1; 32]));
    let (from, until) = (UnixTime::from_secs(0), UnixTime::from_secs(u32::MAX));
    let identity = Identity::issue(Secret::from_bytes([2; 32]), &authority, from, until).expect("a period");
    let noise = NoiseServer { identity, policy: x25519::Policy::default() };
    watch::channel(Arc::new(ResponderConfig::new(Security::Noise(noise), setup))).1
}

fn listener() -> Listener {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Listener::bind(any, Gate::new(GateConfig::default()), clock()).expect("a port")
}

/// A provider with one template, and its address.
fn provider(executor: &Arc<Executor<'static>>, settings: &Arc<LinkSettings>) -> SocketAddr {
    let listener = listener();
    let address = listener.address();
    let (handle, events) = ProviderHandle::new(settings.clock.clone(), 1, 1_024);
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
    let id = handle.new_template(&template, Transactions::default()).expect("a good template");
    let header_timestamp = clock().wall().as_secs();
    let tip = Tip { prev_hash: [1; 32], header_timestamp, n_bits: 0x1d00_ffff, target: Target::ZERO };
    handle.new_tip(id, tip).expect("a future template");
    let (responder, settings) = (responder(SetupPolicy::new(0)), Arc::clone(settings));
    let (shutdown, on) = (Shutdown::new(settings.clock.clone()), Arc::clone(executor));
    let server = async move {
        let _events = events;
        serve_provider::<RustCrypto>(&on, vec![listener], responder, settings, handle, shutdown).await
    };
    executor.spawn(server).detach();
    address
}

async fn measure(executor: &Arc<Executor<'static>>) {
    let settings = Arc::new(LinkSettings::new(clock(), 16));
    let template_provider = provider(executor, &settings);
    let payouts = [Payout { script_pubkey: &[0x51], weight: 1 }];
    let handle = PoolHandle::new(Pool::new(&PoolConfig::new(&payouts)).expect("a good configuration"), AcceptAll, 16);
    let noise = x25519::InitiatorConfig::new(Authentication::AcceptAnyone);
    let server = Server {
        host: template_provider.ip().to_string(),
        port: template_provider.port(),
        connection: InitiatorConfig::new(Security::Noise(noise)),
    };
    let listener = listener();
    let address = listener.address();
    let setup = PoolSetup {
        listeners: vec![listener],
        responder: responder(handle.setup_policy()),
        links: Arc::clone(&settings),
        provider: Upstream::new(UpstreamConfig::new(server), Arc::clone(&settings)),
        software: Software::default(),
        reconnect: None,
    };
    let (shares, _store) = queue::channel::<AcceptedShare>(1_024);
    let (shutdown, on, pool) = (Shutdown::new(settings.clock.clone()), Arc::clone(executor), handle.clone());
    let server = async move { serve_pool::<RustCrypto, _>(&on, setup, pool, shares, shutdown).await };
    executor.spawn(server).detach();
    while handle.with(|pool| pool.shared().book().prev_hash().is_none()) {
        settings.clock.sleep(Duration::from_millis(1)).await;
    }

    let before = (LIVE.load(Relaxed), resident());
    let mut devices = Command::new(std::env::current_exe().expect("this program"))
        .env(POOL, address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let output = BufReader::new(devices.stdout.take().expect("piped"));
    let ready = smol::unblock(move || output.lines().next().expect("a line").expect("text"));
    assert_eq!(ready.await, "all at work");
    // What is still on the way comes to rest.
    settings.clock.sleep(Duration::from_millis(200)).await;
    let after = (LIVE.load(Relaxed), resident());
    let statistics = handle.statistics(settings.clock.now());
    assert_eq!((statistics.connections, statistics.channels), (CONNECTIONS, CONNECTIONS));
    let each = after.0.saturating_sub(before.0) / CONNECTIONS;
    println!("{CONNECTIONS} connections with a channel and a job at rest: {each} bytes of heap each (limit {LIMIT})");
    if let (Some(before), Some(after)) = (before.1, after.1) {
        println!("resident: {} bytes each", after.saturating_sub(before) / CONNECTIONS);
    }
    drop(devices.stdin.take());
    assert!(devices.wait().expect("its end").success());
    assert!(each <= LIMIT, "{each} bytes of heap for a connection at rest");
}

/// Bytes of this process that are in memory, where the system says so.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}
