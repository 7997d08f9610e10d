//! What a connection at rest costs a pool in user space: at most 4 KiB of heap, all told (task, link, keys, channel, job). One text for all
//! runtimes of computers, each of which makes a program of it.
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

use adit::{crypto::RustCrypto, role::device::DeviceConfig};

use crate::{
    device::{DeviceHandle, DeviceTask},
    testing::{
        Lab,
        house::{HARD, Options},
        initiator, run, watch,
    },
    upstream::{Server, Upstream, UpstreamConfig},
};

/// Connections at rest. More take longer and change nothing.
const CONNECTIONS: usize = 1_000;
/// Bytes of heap that one may cost: three quarters of the aim, so that it shows before that is missed when a task grows.
const LIMIT: usize = 3_072;
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

pub(crate) fn main() {
    match std::env::var(POOL) {
        Ok(pool) => run(async |lab| connect(&lab, pool.parse().expect("an address")).await),
        Err(_) => run(async |lab| measure(&lab).await),
    }
}

/// What `work` gives, which may wait as long as it likes: it has a thread of its own.
async fn unblock<T: Clone + Send + Sync + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, mut outcome) = watch::channel(None);
    std::thread::spawn(move || done.send_replace(Some(work())).is_none());
    outcome.wait_for(Option::is_some).await.expect("no panic");
    outcome.borrow().clone().expect("it is there")
}

/// The second process: many devices that get a job and then do nothing, until standard input ends.
async fn connect(lab: &Lab, pool: SocketAddr) {
    let settings = Arc::new(lab.settings());
    let shutdown = lab.shutdown();
    let mut devices: Vec<DeviceHandle> = Vec::new();
    for n in 0..CONNECTIONS {
        let server = Server { host: pool.ip().to_string(), port: pool.port(), connection: initiator() };
        let upstream = Upstream::new(UpstreamConfig::new(server), Arc::clone(&settings));
        let config = DeviceConfig::new(format!("account.{n}"), "test".into(), "none".into(), "0".into(), String::new());
        let (task, handle) = DeviceTask::new(config, upstream, 1, 1).unwrap();
        lab.go(task.run::<RustCrypto>(shutdown.clone()));
        devices.push(handle);
    }
    for device in &devices {
        device.work().wait_for(Option::is_some).await.expect("the device lives");
    }
    println!("all at work");
    // Devices must go on living, so a thread waits for the end.
    unblock(|| std::io::stdin().read_to_end(&mut Vec::new()).expect("standard input")).await;
}

async fn measure(lab: &Lab) {
    let house = lab.house(Options::default());
    house.node.new_tip(1, HARD);
    while house.handle.with(|pool| pool.shared().book().prev_hash().is_none()) {
        lab.sleep(Duration::from_millis(1)).await;
    }

    let before = (LIVE.load(Relaxed), resident());
    let mut devices = Command::new(std::env::current_exe().expect("this program"))
        .env(POOL, house.address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let output = BufReader::new(devices.stdout.take().expect("piped"));
    let ready = unblock(move || output.lines().next().expect("a line").expect("text"));
    assert_eq!(ready.await, "all at work");
    // What is still on the way comes to rest, on a busy machine later.
    let (mut after, each) = ((0, None), |live: usize| live.saturating_sub(before.0) / CONNECTIONS);
    for _ in 0..50 {
        lab.sleep(Duration::from_millis(200)).await;
        after = (LIVE.load(Relaxed), resident());
        if each(after.0) <= LIMIT {
            break;
        }
    }
    let statistics = house.handle.statistics(lab.now());
    assert_eq!((statistics.connections, statistics.channels), (CONNECTIONS, CONNECTIONS));
    let each = each(after.0);
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
