//! What a client makes of single messages, right and wrong ones.

use super::testing::*;
use super::*;
use crate::message::JobStart;
use crate::message::mining::*;

/// The default client stays small: this is what firmware pays for the mining protocol.
#[test]
fn the_default_client_is_about_a_kilobyte() {
    let size = size_of::<MiningClient>();
    std::println!("MiningClient<Inline, 1, 0, 0>: {size} bytes");
    assert!(size <= 1_280, "{size}");
}

#[test]
fn smoke() {
    let mut bench = Small::draft();
    bench.ask_standard();
    let job = NewMiningJob {
        channel_id: 9,
        job_id: 1,
        start: JobStart::Future,
        version: 0,
        merkle_root: crate::wire::U256([0; 32]),
    };
    assert_eq!(bench.handle(&ToClient::NewMiningJob(job)), Ok(ClientEvent::Ignored(Ignored::UnknownChannel(9))));
}
