//! What a link runs on: limits, and where its buffers come from.

use core::time::Duration;

use crate::rate::Rate;

/// Limits of a link, and buffers for it with storage `I` and `O`.
pub trait Terms<I, O> {
    /// Buffers are leased while bytes are in flight; otherwise the link keeps those that it began with, and the calls for buffers are
    /// never made. What is not asked for takes no place in firmware.
    const LEASED: bool = false;
    /// [`frames`](Self::frames) is looked at, and so is [`Link::stop_listening`](super::Link::stop_listening).
    const PACED: bool = false;
    /// The link ends its half of the stream and waits for the peer to end the other one. Otherwise both are its owner's.
    const ENDS: bool = false;

    /// How long a peer may stand still.
    fn limits(&self) -> Limits;

    /// How long to wait for the peer to end its half after ours ended, and for a stream that is slow to end ours.
    fn linger(&self) -> Duration {
        Duration::ZERO
    }

    /// Frames that are taken of the peer; what comes faster waits in the stream. `None`: as fast as they come.
    fn frames(&self) -> Option<Rate> {
        None
    }

    /// Input storage of at least `length` bytes; of none when the link is at rest.
    fn input(&self, _length: usize) -> Option<I> {
        None
    }

    /// Output storage of at least `length` bytes; of none when the link is at rest.
    fn output(&self, _length: usize) -> Option<O> {
        None
    }

    /// Bytes by which the output is extended once, for answers, while the peer takes nothing.
    fn output_length(&self) -> usize {
        0
    }
}

/// How long a peer may stand still in the middle. Alone they are the terms of a link that keeps its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The peer must take some of what waits for it within this time.
    pub write_stall: Option<Duration>,
    /// The peer must go on with a frame that it has begun, by 4,096 bytes or to its end, within this time.
    pub frame_stall: Option<Duration>,
}

impl Limits {
    /// Half a minute for either.
    pub const DEFAULT: Self =
        Self { write_stall: Some(Duration::from_secs(30)), frame_stall: Some(Duration::from_secs(30)) };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl<I, O> Terms<I, O> for Limits {
    fn limits(&self) -> Limits {
        *self
    }
}

#[cfg(feature = "alloc")]
pub use leased::LinkSettings;

#[cfg(feature = "alloc")]
mod leased {
    use alloc::sync::Arc;
    use core::time::Duration;

    use super::{Limits, Terms};
    use crate::buffer::{BufferPool, Input, Lease, Output};
    use crate::config::{SERVER_INPUT, SERVER_OUTPUT};
    use crate::connection::{Connection, Endpoint};
    use crate::crypto::Provider;
    use crate::protocol::Protocol;
    use crate::rate::Rate;
    use crate::session::Session;

    /// The longest message of an ordinary link.
    const MESSAGE: usize = 64 << 10;

    /// The longest record with its length prefix.
    const RECORD: usize = 2 + 65_535;

    /// The longest frame with the overhead of its records.
    const LARGE_MESSAGE: usize = 17 << 20;

    /// Buffers and limits that all links of a role share, behind one `Arc`; with the clock `C` of their runtime, which the core only keeps.
    #[derive(Clone, Debug)]
    pub struct LinkSettings<C> {
        /// The clock that the connections were created with.
        pub clock: C,
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

    impl<C> LinkSettings<C> {
        /// Settings with the core's buffer sizes and defaults: messages up to 64 KiB in records of any length, half a minute for a stalled peer, two seconds
        /// of lingering, no limit on frames; `keep` buffers of each kind are kept for reuse.
        #[must_use]
        pub fn new(clock: C, keep: usize) -> Self {
            let Limits { write_stall, frame_stall } = Limits::DEFAULT;
            Self {
                clock,
                input: BufferPool::new(SERVER_INPUT, keep),
                output: BufferPool::new(SERVER_OUTPUT, keep),
                input_ceiling: MESSAGE + RECORD,
                output_ceiling: MESSAGE,
                write_stall,
                frame_stall,
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

        /// A connection with buffers that are leased as they are needed.
        #[must_use]
        pub fn session<S: Endpoint, Pr: Protocol, P: Provider>(
            &self,
            connection: Connection<S, Pr, P>,
        ) -> Session<S, Pr, Lease, Lease, P> {
            let input = Input::growable(Lease::default(), self.input_ceiling);
            Session::new(connection, input, Output::growable(Lease::default(), self.output_ceiling))
        }
    }

    impl<C> Terms<Lease, Lease> for Arc<LinkSettings<C>> {
        const LEASED: bool = true;
        const PACED: bool = true;
        const ENDS: bool = true;

        fn limits(&self) -> Limits {
            Limits { write_stall: self.write_stall, frame_stall: self.frame_stall }
        }

        fn linger(&self) -> Duration {
            self.linger
        }

        fn frames(&self) -> Option<Rate> {
            self.frames
        }

        fn input(&self, length: usize) -> Option<Lease> {
            Some(if length == 0 { Lease::default() } else { self.input.lease(length) })
        }

        fn output(&self, length: usize) -> Option<Lease> {
            Some(if length == 0 { Lease::default() } else { self.output.lease(length) })
        }

        fn output_length(&self) -> usize {
            self.output.length()
        }
    }
}
