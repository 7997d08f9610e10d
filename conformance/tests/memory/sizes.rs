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

/// Opens connections to a pool, each with a standard channel and a job that was told; all of one user, whose account is not the
/// connection's. `look` sees their number, and bytes on the heap for each, after every one. The first is not counted: what the pool keeps
/// of its user comes with it.
fn parts_of_the_pool(connections: usize, mut look: impl FnMut(usize, usize)) {
    let now = Instant::from_secs(1);
    let mut pool = pool();
    pool.provider_connected();
    template(&mut pool, now, 1, true);
    prev_hash(&mut pool, now, 1);
    let mut output = Output::new(vec![0; 4096]);
    let mut before = 0;
    for n in 0..=connections {
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
        if n == 0 {
            before = live();
        } else {
            look(n, usize::try_from(live() - before).expect("more than before") / n);
        }
    }
}

/// An idle server connection with one standard channel is at most 1 KiB of state, heap included, however many there are: the pool's lists
/// hold an eighth ahead at most for connections to come.
#[test]
fn an_idle_server_connection_fits_in_1_kib() {
    let connection = size_of::<Connection<Responder, Mining>>();
    let (mut most, mut seen) = ((0, 0), [(0, 0); 4]);
    // Printed afterwards: what the test harness captures is on this thread's heap.
    parts_of_the_pool(10_000, |n, part| {
        if let Some(at) = [1, 512, 513, 10_000].iter().position(|shown| *shown == n) {
            seen[at] = (n, part);
        }
        most = most.max((part, n));
    });
    for (n, part) in seen {
        println!(
            "{n} idle connections: {connection} bytes each and {part} of the pool, together {}",
            connection + part
        );
    }
    println!("most: {} bytes with {} connections", connection + most.0, most.1);
    assert!(most.0 > 300, "something was counted");
    assert!(connection + most.0 <= 1024);
    assert!(connection <= 512);
}

/// Errors are passed around by value.
#[test]
fn an_error_is_small() {
    assert!(size_of::<Error>() <= 32);
}
