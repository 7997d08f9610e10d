//! What a connection costs in memory. Printed by `cargo test -p adit-conformance --test connection sizes -- --nocapture`.

use adit::config::{DEVICE_INPUT, DEVICE_OUTPUT};
use adit::connection::Connection;
use adit::error::Error;
use adit::protocol::{Initiator, Mining, Responder};
use adit::session::Session;

/// The budget of an idle server connection with one standard channel is 1 KiB; the connection may take half of it. A device with
/// buffers may take 8 KiB, its session a quarter of that.
#[test]
fn sizes_stay_within_their_budgets() {
    type Device = Session<Initiator, Mining, [u8; DEVICE_INPUT], [u8; DEVICE_OUTPUT]>;
    let server = size_of::<Connection<Responder, Mining>>();
    let client = size_of::<Connection<Initiator, Mining>>();
    let device = size_of::<Device>();
    println!("connection: server {server} bytes, client {client} bytes; device with buffers {device} bytes");
    assert!(server <= 512, "{server}");
    assert!(client <= 512, "{client}");
    assert!(device <= 2200, "{device}");
    assert!(size_of::<Error>() <= 32);
}
