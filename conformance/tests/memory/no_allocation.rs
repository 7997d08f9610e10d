//! In steady state nothing is allocated.

use crate::bench::{Bench, Counts};

/// Shares of a block and jobs between two of them, some forty minutes of six shares a minute.
fn a_block(bench: &mut Bench) {
    for n in 0..240 {
        if n % 20 == 10 {
            bench.job();
        }
        bench.share();
    }
    bench.block();
}

/// After set-up a device and its side of a server exchange shares, jobs, prevhashes and acknowledgements without one allocation. Set-up is
/// the first block: until then the list of accepted shares grows to what a block of that length needs.
///
/// Taking a template is the pool's own work, once for all its connections.
#[test]
fn a_device_and_its_side_of_a_server_allocate_nothing() {
    let mut bench = Bench::ready();
    assert!(bench.counts.server > 0, "the bench counts");
    a_block(&mut bench);
    let (counts, seen) = (bench.counts, bench.seen);
    for _ in 0..3 {
        a_block(&mut bench);
    }
    let since = Counts {
        device: bench.counts.device - counts.device,
        server: bench.counts.server - counts.server,
        templates: bench.counts.templates - counts.templates,
    };
    println!("since set-up: {since:?}, {:?} in all; set-up: {counts:?}", bench.seen);
    assert_eq!((since.device, since.server), (0, 0));
    assert_eq!(counts.device, 0, "a device never allocates, the handshake included");
    // Three blocks of 240 shares, 12 jobs and a prevhash.
    assert_eq!(bench.seen.acknowledged - seen.acknowledged, 720);
    assert!(bench.seen.works - seen.works >= 39, "{:?} {seen:?}", bench.seen);
}
