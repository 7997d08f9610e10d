//! What an operator sets. A product reads it from flash; here it is built in.

use adit_embassy::upstream::Server;

/// The pool, of the URL in `ADIT_POOL`, or that of `run`. The build script has read it: a wrong one fails the build.
pub const POOL: Server<'static> = include!(concat!(env!("OUT_DIR"), "/pool.rs"));

/// Account and worker.
pub const USER: &str = "adit.firmware";

/// Hashes a second that the pool is told of; what an emulated Cortex-M4 at a thousand million instructions a second does.
pub const HASH_RATE: f32 = 100_000.0;

/// Hashes between two looks at the network.
pub const BATCH: u32 = 16;

/// After so many accepted shares, on two connections or more, the firmware reports its measurements and ends the emulator. `None`: it runs for ever.
pub const STOP_AFTER: Option<u64> = match option_env!("ADIT_STOP_AFTER") {
    Some(number) => Some(parse(number.as_bytes())),
    None => None,
};

const fn parse(mut digits: &[u8]) -> u64 {
    let mut number = 0;
    while let [digit, rest @ ..] = digits {
        assert!(digit.is_ascii_digit(), "ADIT_STOP_AFTER is a number");
        number = number * 10 + (*digit - b'0') as u64;
        digits = rest;
    }
    number
}
