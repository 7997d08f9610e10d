//! The seam between the protocol and what hashes: work goes out, nonces come back.
//!
//! ```text
//!  DeviceTask::run                    Desk                       serve
//!  work of the pool  ───────────►  newest work  ─────────►  Engine::start, stop
//!  shares to the pool ◄──────────  a few shares ◄─ checked ─  Engine::next
//! ```
//!
//! A [`Desk`] joins two tasks: the one with the connection and the one with the chips. Only the newest work lies on it; whoever hashes drops what it is at
//! as soon as there is other work. [`serve`] stands between desk and [`Engine`]: it hands work on, checks every nonce that comes back by hashing the
//! header once, and knows which of them are late. So an engine is hardware access and nothing else.
//!
//! # What a driver of mining chips implements
//! Three functions. This one drives chips on a serial line that roll nonce and version by themselves and answer with a short job id, which is how most
//! of them work; a test of this crate runs it against a simulated chip.
//!
//! ```
#![doc = include_str!("example.rs")]
//! ```

mod software;
#[cfg(test)]
mod tests;

use core::cell::Cell;
use core::convert::Infallible;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};

use adit::mining::client::{Solution, Work};
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::signal::Signal;

pub use software::SoftwareEngine;

/// Places on the desk for found shares, unless said otherwise: at a few shares a minute, one is in use at a time.
pub const FOUND: usize = 4;

/// What hashes: one chain of chips, several behind one driver, or software.
///
/// [`serve`] calls `start` or `stop` when the work changes, and `next` in between.
#[allow(async_fn_in_trait, reason = "tasks of embassy are not sent between threads")]
pub trait Engine {
    /// Why the hardware cannot go on.
    type Error;

    /// Searches `work` from now on; whatever was searched before is left **at once**, queued jobs of the chips included, because after a new prevhash not one
    /// of its hashes counts.
    ///
    /// - Free are the nonce, the version bits in [`Work::version_mask`], and the time, from [`Work::min_ntime`] to [`Work::max_ntime`] of the present
    ///   moment. An engine that exhausts all of that waits for the time to move on, and must not repeat itself.
    /// - What counts is [`Work::target`]; chips that know only coarser targets take an easier one.
    /// - [`Work::serial`] goes back with each nonce.
    ///
    /// The next call may come at any time later. When the future is dropped, `start` or `stop` is the next call.
    async fn start(&mut self, work: &Work) -> Result<(), Self::Error>;

    /// There is no work: the connection is gone, or no job has come. Chips may rest.
    async fn stop(&mut self) -> Result<(), Self::Error>;

    /// The next nonce of the chips.
    ///
    /// Must be cancel-safe: the future is dropped when there is other work, and a nonce that was read in part must be read on by the next call. What
    /// comes may be late, or wrong: it is checked.
    async fn next(&mut self) -> Result<Found, Self::Error>;
}

/// A nonce as the hardware found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// [`Work::serial`] of the work that was searched.
    pub serial: u64,
    /// The whole version, with the rolled bits.
    pub version: u32,
    /// The time in the header, in seconds since 1970.
    pub ntime: u32,
    /// The nonce.
    pub nonce: u32,
}

/// What became of the nonces of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Shares, laid on the desk.
    pub found: u32,
    /// Nonces of work that nobody wants any more: some after each new prevhash are no fault.
    pub late: u32,
    /// Nonces whose hash misses the work's target. With chips whose own target is easier, most do.
    pub missed: u32,
    /// Nonces with version bits changed that must not be, or of work that was never handed out. A driver's error, or a chip's.
    pub wrong: u32,
}

/// Where work lies for the hasher, and shares for the connection: shared by reference between two tasks.
///
/// `M` says who may be where: `CriticalSectionRawMutex` for tasks of different executors and for statics, `NoopRawMutex` within one executor.
/// `N` is the number of places for found shares.
pub struct Desk<M: RawMutex, const N: usize = FOUND> {
    work: Mutex<M, Cell<Option<Work>>>,
    /// Other work was put there.
    other: Signal<M, ()>,
    /// An engine serves the desk.
    taken: Mutex<M, Cell<bool>>,
    found: Channel<M, Solution, N>,
    hash_rate: Signal<M, f32>,
    counts: Signal<M, Counts>,
}

impl<M: RawMutex, const N: usize> Default for Desk<M, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: RawMutex, const N: usize> fmt::Debug for Desk<M, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("found", &self.found.len()).finish_non_exhaustive()
    }
}

impl<M: RawMutex, const N: usize> Desk<M, N> {
    /// An empty desk.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            work: Mutex::new(Cell::new(None)),
            other: Signal::new(),
            taken: Mutex::new(Cell::new(false)),
            found: Channel::new(),
            hash_rate: Signal::new(),
            counts: Signal::new(),
        }
    }

    /// The work that lies there now.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        self.work.lock(Cell::get)
    }

    /// The hasher does so many hashes a second from now on: the pool is told (D-UPD-2).
    pub fn set_hash_rate(&self, hashes_per_second: f32) {
        self.hash_rate.signal(hashes_per_second);
    }

    /// The newest counts of the engine, once for each change; for a log.
    pub async fn counts(&self) -> Counts {
        self.counts.wait().await
    }

    /// Puts other work there, or takes it away. Shares of the work before stay: some of them count, and the device knows which.
    pub(crate) fn put(&self, work: Option<Work>) {
        self.work.lock(|place| place.set(work));
        self.other.signal(());
    }

    /// A share, when there is one.
    pub(crate) fn poll_found(&self, cx: &mut Context<'_>) -> Poll<Solution> {
        self.found.poll_receive(cx)
    }

    /// Whether there is a share.
    pub(crate) fn has_found(&self) -> bool {
        !self.found.is_empty()
    }

    /// A share, if there is one.
    pub(crate) fn try_found(&self) -> Option<Solution> {
        self.found.try_receive().ok()
    }

    /// Another hash rate, when there is one.
    pub(crate) fn poll_hash_rate(&self, cx: &mut Context<'_>) -> Poll<f32> {
        // The signal keeps who waits for it, whatever becomes of the future.
        pin!(self.hash_rate.wait()).poll(cx)
    }
}

/// The desk is being served already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken;

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another engine serves this desk")
    }
}

impl core::error::Error for Taken {}

/// Why an engine does not serve a desk (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeError<E> {
    /// Another one does.
    Taken(Taken),
    /// The hardware says so.
    Engine(E),
}

impl<E: fmt::Display> fmt::Display for ServeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error> core::error::Error for ServeError<E> {}

impl<E> From<E> for ServeError<E> {
    fn from(error: E) -> Self {
        Self::Engine(error)
    }
}

/// The place of the one engine at a desk; free again when this is dropped.
struct Place<'d, M: RawMutex>(&'d Mutex<M, Cell<bool>>);

impl<'d, M: RawMutex> Place<'d, M> {
    fn take(taken: &'d Mutex<M, Cell<bool>>) -> Result<Self, Taken> {
        if taken.lock(|taken| taken.replace(true)) { Err(Taken) } else { Ok(Self(taken)) }
    }
}

impl<M: RawMutex> Drop for Place<'_, M> {
    fn drop(&mut self) {
        self.0.lock(|taken| taken.set(false));
    }
}

/// Joins a desk and an engine, for as long as the engine works.
///
/// The future may be dropped at any await: the engine is then left as it is, and when it is called anew it starts with the work that lies on the
/// desk. A share that found no place yet is lost with it.
pub async fn serve<M: RawMutex, E: Engine, const N: usize>(
    desk: &Desk<M, N>,
    engine: &mut E,
) -> Result<Infallible, ServeError<E::Error>> {
    let _place = Place::take(&desk.taken).map_err(ServeError::Taken)?;
    let mut counts = Counts::default();
    let (mut work, mut former) = (None, None);
    let mut waiting: Option<Solution> = None;
    // It begins with what lies there.
    desk.other.signal(());
    loop {
        let found = {
            let mut searching = pin!(engine.next());
            poll_fn(|cx| {
                if pin!(desk.other.wait()).poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if let Some(solution) = waiting {
                    // While a share waits for its place the chips' own queue holds theirs.
                    if desk.found.poll_ready_to_send(cx).is_pending() {
                        return Poll::Pending;
                    }
                    // Nobody else lays shares there: a free place stays free.
                    let _taken = desk.found.try_send(solution);
                    waiting = None;
                }
                if work.is_none() { Poll::Pending } else { searching.as_mut().poll(cx).map(Some) }
            })
            .await
        };
        if let Some(found) = found {
            waiting = check(&found?, work.as_ref(), former.as_ref(), &mut counts);
            desk.counts.signal(counts);
            continue;
        }
        former = work;
        work = desk.work();
        // It takes its time; there may be newer work afterwards, which is looked for first.
        match &work {
            Some(work) => engine.start(work).await?,
            None => engine.stop().await?,
        }
    }
}

/// A share of the old work may still count beside the new one: they extend the same block on the same channel.
fn is_kin(old: &Work, new: Option<&Work>) -> bool {
    new.is_some_and(|new| old.prev_hash == new.prev_hash && old.channel_id == new.channel_id)
}

/// What a nonce is worth.
#[cfg_attr(target_os = "none", inline(never))]
fn check(found: &Found, work: Option<&Work>, former: Option<&Work>, counts: &mut Counts) -> Option<Solution> {
    let is_its = |work: &&Work| work.serial == found.serial;
    let its = work.filter(is_its).or_else(|| former.filter(|old| is_its(old) && is_kin(old, work)));
    let count = if let Some(work) = its {
        if (found.version ^ work.version) & !work.version_mask != 0 {
            &mut counts.wrong
        } else if work.target.is_met_by(&work.header(found.version, found.ntime, found.nonce).hash()) {
            counts.found = counts.found.wrapping_add(1);
            return Some(work.solution(found.version, found.ntime, found.nonce));
        } else {
            &mut counts.missed
        }
    } else if work.is_none_or(|work| found.serial < work.serial) {
        &mut counts.late
    } else {
        &mut counts.wrong
    };
    *count = count.wrapping_add(1);
    None
}
