//! The log, and what the firmware costs: instructions of handshakes and shares, depth of the stack.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use adit::mining::client::NotSent;
use adit::role::device::Outcome;
use adit_embassy::device::{News, Period};

use crate::{board, log, settings};

/// Time of the processor that hashing took, in the board's cycles; it wraps around.
static HASHING: AtomicU32 = AtomicU32::new(0);
/// When the share that is on its way was handed in, as [`busy`] has it; 0 for none.
static SHARE: AtomicU32 = AtomicU32::new(0);

/// Cycles that the processor was neither asleep nor hashing; wraps around.
fn busy() -> u32 {
    board::busy_cycles().wrapping_sub(HASHING.load(Relaxed))
}

/// Runs the hasher and counts what it takes.
pub async fn as_hashing<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let begin = board::busy_cycles();
        let poll = future.as_mut().poll(cx);
        // Only here, and not in interrupts: no read and write in one, which small cores lack.
        HASHING.store(HASHING.load(Relaxed).wrapping_add(board::busy_cycles().wrapping_sub(begin)), Relaxed);
        poll
    })
    .await
}

/// A frame has left; called by the board.
pub fn frame_sent() {
    let begin = SHARE.load(Relaxed);
    if begin != 0 {
        SHARE.store(0, Relaxed);
        log!("measured share {}", board::instructions(busy().wrapping_sub(begin)));
    }
}

/// What the device has told so far. Numbers are logged as 32 bits, whatever they are: the core library has a function for each kind.
#[derive(Default)]
pub struct Report {
    accepted: u32,
    connections: u32,
    handshake: u32,
}

impl Report {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Logs what is new, and ends the emulator when enough was seen.
    pub fn hear(&mut self, news: &News<'_>) {
        match news {
            News::Connecting(endpoint) => log!("connecting to {}:{}", endpoint.host(), u32::from(endpoint.port())),
            News::Connected => {
                self.handshake = busy();
                log!("connected");
            }
            News::Secured(_, period) => {
                log!("measured handshake {}", board::instructions(busy().wrapping_sub(self.handshake)));
                let period = match period {
                    Period::Checked => "in its period",
                    Period::Unchecked => "of unknown period",
                };
                log!("secured, certificate {period}");
            }
            News::Outcome(outcome) => self.outcome(outcome),
            News::Submitting(_) => SHARE.store(busy() | 1, Relaxed),
            News::Submitted(number) => log!("share {number}"),
            News::NotSent(NotSent::Stale) => log!("share is stale"),
            News::NotSent(_) => log!("share not sent"),
            News::Ended(why, wait) => {
                let (word, code) = why.brief();
                log!("connection ended: {word} ({code:x}); next attempt in {} ms", wait.as_millis() as u32);
            }
        }
    }

    fn outcome(&mut self, outcome: &Outcome<'_>) {
        match outcome {
            Outcome::Ready => {
                self.connections += 1;
                #[cfg(feature = "provoked")]
                log!("{}", [0, 1][self.connections as usize]);
            }
            Outcome::SetupRefused { error_code, .. } => log!("setup refused: {error_code}"),
            Outcome::ChannelOpened { channel_id } => log!("channel {channel_id}"),
            Outcome::OpenRefused { error_code, .. } => log!("no channel: {error_code}"),
            Outcome::ChannelClosed { reason_code, .. } => log!("channel closed: {reason_code}"),
            Outcome::NewWork => log!("other work"),
            Outcome::NoWork => log!("no work"),
            Outcome::NewTarget => log!("new target"),
            Outcome::Accepted { count, .. } => {
                let count = *count as u32;
                self.accepted += count;
                log!("accepted {count}, {} in all", self.accepted);
                if settings::STOP_AFTER.is_some_and(|shares| u64::from(self.accepted) >= shares && self.connections > 1)
                {
                    log!("measured stack {}", board::deepest_stack());
                    log!("measured shares {}", self.accepted);
                    board::stop(true);
                }
            }
            Outcome::Rejected { error_code, .. } => log!("rejected: {error_code}"),
            Outcome::UpdateRefused { error_code } => log!("hash rate refused: {error_code}"),
            Outcome::Reconnect(endpoint) => log!("sent to {}:{}", endpoint.host(), u32::from(endpoint.port())),
            // The connection's end says why.
            Outcome::Fatal(_) | Outcome::Done => {}
        }
    }
}
