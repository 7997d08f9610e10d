//! Every default capacity and limit of the core, each with its reason. No behaviour.

use core::time::Duration;

/// Bytes of room in the output buffer without which no frame is handed over, so that its answer always fits.
///
/// The largest message that answers another at once is SubmitShares.Error with its longest code: 264 bytes of payload, 6 of
/// header, 18 of record. Rounded up.
pub const ANSWER_ROOM: usize = 320;

/// Bytes of input buffer for a device with one standard channel. Its longest ordinary messages are an extended job for its
/// group (some 750 bytes with 12 merkle levels) and Reconnect (282 as a record).
pub const DEVICE_INPUT: usize = 1024;

/// Bytes of output buffer for a device with one standard channel: [`ANSWER_ROOM`] and a few shares behind it.
/// `SetupConnection` fits while its strings have up to 400 bytes together.
pub const DEVICE_OUTPUT: usize = 512;

/// Bytes of input buffer that a server lends a connection while bytes are in flight: some 50 shares a read.
pub const SERVER_INPUT: usize = 4096;

/// Bytes of output buffer that a server lends a connection: a new job and prevhash for several channels at once.
pub const SERVER_OUTPUT: usize = 4096;

/// What a peer may cost in time and bytes before the connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the creation of the connection to the end of the handshake. Default 15 s: two round trips on a bad link and
    /// the curve operations of a slow microcontroller take less; half-open handshakes hold places for others.
    pub handshake: Option<Duration>,
    /// From the end of the handshake to the answer to `SetupConnection`. Default 15 s, as above.
    pub setup: Option<Duration>,
    /// From one whole frame of the peer to its next. Default none: the protocol has no keep-alive, a proxy without miners
    /// and a template client are silent for hours and right to be. A device sets it to notice a dead pool.
    pub idle: Option<Duration>,
    /// Bytes of a frame, header included. Default: all that a header can announce; the input buffer's ceiling is the
    /// bound then.
    pub frame: u32,
    /// Frames dropped (unknown extension, unknown number) and records without content in a row. Default 64: honest
    /// newer peers send a few, and one frame that means something starts the count anew.
    pub dropped: u16,
    /// Refuse a channel bit that does not fit the message (D-FRAME-7). Default no: parse by number, as others do.
    pub strict: bool,
}

impl Limits {
    /// The defaults, each explained at its field.
    pub const DEFAULT: Self = Self {
        handshake: Some(Duration::from_secs(15)),
        setup: Some(Duration::from_secs(15)),
        idle: None,
        frame: 6 + 0x00FF_FFFF,
        dropped: 64,
        strict: false,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
