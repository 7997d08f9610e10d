//! A mining controller: address by DHCP, Noise to the pool, one standard channel, work to a hasher, shares back.
//!
//! What is special to the board stands in [`board`]; a port is another such module, with the same few functions. The hasher is
//! software, since an emulator has no chips: another [`Engine`](adit_embassy::hashing::Engine) takes its place.
#![no_std]
#![no_main]

mod board;
mod report;
mod settings;

use adit::role::device::DeviceConfig;
use adit_embassy::clock::{WallClock, WithoutClock};
use adit_embassy::device::{Board, DeviceTask, News, Settings};
use adit_embassy::hashing::{self, Desk, SoftwareEngine};
use adit_embassy::link::LinkSettings;
use adit_embassy::net::Tcp;
use adit_embassy::upstream::UpstreamConfig;
use embassy_executor::Spawner;
use embassy_net::{Config, DhcpConfig, Runner, Stack, StackResources};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use static_cell::StaticCell;

use crate::report::Report;

/// Sockets of the stack: DHCP, name look-up, the pool.
const SOCKETS: usize = 3;

static DESK: Desk<CriticalSectionRawMutex> = Desk::new();
static WALL: WallClock<CriticalSectionRawMutex> = WallClock::new();

static SETTINGS: Settings<'static> = Settings {
    upstream: UpstreamConfig::new(&[settings::POOL]),
    without_clock: WithoutClock::Refuse,
    link: LinkSettings::DEFAULT,
};

/// Starts all tasks; called once by the board when it is ready.
fn start(spawner: Spawner) {
    static RESOURCES: StaticCell<StackResources<SOCKETS>> = StaticCell::new();
    if let Some(wall) = board::wall_clock() {
        WALL.set(wall);
    }
    let mut seed = [0; 8];
    if board::entropy(&mut seed).is_err() {
        log!("no random numbers");
        board::stop(false)
    }
    let config = Config::dhcpv4(DhcpConfig::default());
    let resources = RESOURCES.init_with(StackResources::new);
    let (stack, runner) = embassy_net::new(board::ethernet(), config, resources, u64::from_le_bytes(seed));
    let (Ok(network), Ok(device), Ok(hasher)) = (network(runner), device(stack), hasher()) else {
        // Each task has one place, and this is called once.
        board::stop(false)
    };
    spawner.spawn(network);
    spawner.spawn(device);
    spawner.spawn(hasher);
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, board::Ethernet>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn hasher() {
    let mut engine = SoftwareEngine::new(settings::BATCH);
    let Err(error) = report::as_hashing(hashing::serve(&DESK, &mut engine)).await;
    let _ = error;
    log!("the hasher has stopped");
}

#[embassy_executor::task]
async fn device(stack: Stack<'static>) {
    static BUFFERS: StaticCell<([u8; 1024], [u8; 512])> = StaticCell::new();
    stack.wait_config_up().await;
    if let Some(config) = stack.config_v4() {
        log!("address {}", config.address);
    }
    let (receive, send) = BUFFERS.init(([0; 1024], [0; 512]));
    let board = Board { network: Tcp::new(stack, receive, send), entropy: board::entropy, wall: &WALL, desk: &DESK };
    let mut config = DeviceConfig::new(settings::USER, "Adit", board::NAME, env!("CARGO_PKG_VERSION"), "");
    config.nominal_hash_rate = settings::HASH_RATE;
    let mut task = DeviceTask::<_, _, _>::new(config, &SETTINGS, board);
    let mut report = Report::new();
    task.run(core::future::pending(), |news: News<'_>| report.hear(&news)).await;
}
