//! Sizes, printed by `cargo test -p adit-conformance --test memory sizes -- --nocapture`.

use adit::buffer::Output;
use adit::config::{DEVICE_INPUT, DEVICE_OUTPUT};
use adit::connection::{Connection, Outbound};
use adit::error::Error;
use adit::message::mining::{OpenStandardMiningChannel, SetupFlags, ToServer};
use adit::protocol::{Initiator, Mining, Responder};
use adit::role::Device;
use adit::role::pool::{AcceptAll, PoolEvent};
use adit::time::Instant;
use adit::wire::{Revision, U256};

use crate::allocator::live;
use crate::bench::{Upstream, pool, prev_hash, template};

/// A device with default capacities, keys and buffers included, fits in 8 KiB: what firmware sets aside for it.
#[test]
fn a_device_fits_in_8_kib() {
    let (device, session) = (size_of::<Device>(), size_of::<Upstream>());
    println!("device: {device} bytes, session with keys and buffers {session}, together {}", device + session);
    assert!(session > DEVICE_INPUT + DEVICE_OUTPUT);
    assert!(device + session <= 8 * 1024);
    assert!(size_of::<Connection<Initiator, Mining>>() <= 512);
}

/// Bytes on the heap for each of so many connections to a pool, with a standard channel and a job that was told; all of one user, whose
/// account is not the connection's.
fn part_of_the_pool(connections: usize) -> usize {
    let now = Instant::from_secs(1);
    let mut pool = pool();
    pool.provider_connected();
    template(&mut pool, now, 1, true);
    prev_hash(&mut pool, now, 1);
    let mut output = Output::new(vec![0; 4096]);
    let before = live();
    for _ in 0..connections {
        let id = pool.connect(now, Revision::Draft, SetupFlags::REQUIRES_STANDARD_JOBS).expect("a place");
        let request = OpenStandardMiningChannel {
            request_id: 1,
            user_identity: "worker".into(),
            nominal_hash_rate: 1.0e12,
            max_target: U256::MAX,
        };
        let mut out = Outbound::plain(&mut output, Revision::Draft);
        let message = ToServer::OpenStandardMiningChannel(request);
        let opened = pool.handle(now, id, &message, &mut AcceptAll, &mut out).expect("room");
        assert!(matches!(opened, PoolEvent::Opened { .. }));
        pool.poll_outbound(id, &mut out).expect("room");
        let sent = output.len();
        output.consume(sent).expect("filled");
    }
    usize::try_from(live() - before).expect("more than before") / connections
}

/// An idle server connection with one standard channel is at most 1 KiB of state, heap included. The pool's lists double when they are full:
/// what they hold ahead for connections to come is seen with one connection more, and printed too.
#[test]
fn an_idle_server_connection_fits_in_1_kib() {
    let connection = size_of::<Connection<Responder, Mining>>();
    let (full, ahead) = (part_of_the_pool(512), part_of_the_pool(513));
    println!("idle server connection: {connection} bytes, its part of the pool {full}, together {}", connection + full);
    println!("with the pool's lists just doubled: {}", connection + ahead);
    assert!(full > 300, "something was counted");
    assert!(connection + full <= 1024);
    assert!(connection <= 512);
}

/// Errors are passed around by value.
#[test]
fn an_error_is_small() {
    assert!(size_of::<Error>() <= 32);
}
