//! What all links of a role share.

use std::time::Duration;

use adit::config::{SERVER_INPUT, SERVER_OUTPUT};

use crate::{buffers::BufferPool, clock::Clock, rate::Rate};

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
    /// the connection.
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
    /// Settings with the core's buffer sizes and defaults: messages up to 64 KiB, half a minute for a stalled peer, two seconds
    /// of lingering, no limit on frames; `keep` buffers of each kind are kept for reuse.
    #[must_use]
    pub fn new(clock: Clock, keep: usize) -> Self {
        Self {
            clock,
            input: BufferPool::new(SERVER_INPUT, keep),
            output: BufferPool::new(SERVER_OUTPUT, keep),
            input_ceiling: 64 << 10,
            output_ceiling: 64 << 10,
            write_stall: Some(Duration::from_secs(30)),
            frame_stall: Some(Duration::from_secs(30)),
            linger: Duration::from_secs(2),
            frames: None,
        }
    }

    /// The same for links that carry whole blocks' transactions (template distribution): messages up to the 16 MiB that a frame
    /// can announce, with its records' overhead.
    #[must_use]
    pub fn with_large_messages(self) -> Self {
        Self { input_ceiling: 17 << 20, output_ceiling: 17 << 20, ..self }
    }
}
