//! What all links of a role share.

use std::time::Duration;

use adit::{
    config::{SERVER_INPUT, SERVER_OUTPUT},
    rate::Rate,
};

use crate::{buffers::BufferPool, clock::Clock};

/// The longest message of an ordinary link.
const MESSAGE: usize = 64 << 10;

/// The longest record with its length prefix.
const RECORD: usize = 2 + 65_535;

/// The longest frame with the overhead of its records.
const LARGE_MESSAGE: usize = 17 << 20;

/// Clock, buffers and limits that all links of a role share, behind one `Arc`.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The clock that the connections were created with.
    pub clock: Clock,
    /// Where input buffers come from.
    pub input: BufferPool,
    /// Where output buffers come from.
    pub output: BufferPool,
    /// Bytes that the input of one link may grow to, for a frame that is longer than a buffer of the pool. A longer frame ends
    /// the connection. A peer may put many short frames into one record of up to 65,537 bytes, which comes behind what is left of the
    /// last one; so a link that must take every valid record needs room for the longest frame and that.
    pub input_ceiling: usize,
    /// Bytes that the output of one link may grow to, for a message that is longer than a buffer of the pool. Beyond that a link
    /// whose peer does not read takes one more buffer's length for answers, so that it goes on reading when two busy
    /// peers fill each other's buffers.
    pub output_ceiling: usize,
    /// The peer must take some of what waits for it within this time.
    pub write_stall: Option<Duration>,
    /// The peer must go on with a frame that it has begun, by 4,096 bytes or to its end, within this time.
    pub frame_stall: Option<Duration>,
    /// How long to wait for the peer to end its half after ours ended.
    pub linger: Duration,
    /// Frames that are taken of the peer; what comes faster waits in its socket. `None`: as fast as they come.
    pub frames: Option<Rate>,
}

impl LinkSettings {
    /// Settings with the core's buffer sizes and defaults: messages up to 64 KiB in records of any length, half a minute for a stalled peer, two seconds
    /// of lingering, no limit on frames; `keep` buffers of each kind are kept for reuse.
    #[must_use]
    pub fn new(clock: Clock, keep: usize) -> Self {
        Self {
            clock,
            input: BufferPool::new(SERVER_INPUT, keep),
            output: BufferPool::new(SERVER_OUTPUT, keep),
            input_ceiling: MESSAGE + RECORD,
            output_ceiling: MESSAGE,
            write_stall: Some(Duration::from_secs(30)),
            frame_stall: Some(Duration::from_secs(30)),
            linger: Duration::from_secs(2),
            frames: None,
        }
    }

    /// The same for links over which whole blocks' transactions come (a template client's): takes messages of up to the 16 MiB that a
    /// frame can announce, with its records' overhead.
    #[must_use]
    pub fn with_large_input(self) -> Self {
        Self { input_ceiling: LARGE_MESSAGE, ..self }
    }

    /// The same for links over which whole blocks' transactions leave (a template provider's). What a client may make such a link
    /// take in stays small: strangers ask for no buffers of megabytes.
    #[must_use]
    pub fn with_large_output(self) -> Self {
        Self { output_ceiling: LARGE_MESSAGE, ..self }
    }
}
