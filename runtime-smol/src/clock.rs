//! Both of the core's clocks, and sleeping by them.
//!
//! A [`Clock`] runs by the system, or stands still until it is moved: simulations and tests take the second kind, and every wait of
//! this crate obeys it.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant as StdInstant, UNIX_EPOCH},
};

use adit::{
    host,
    time::{Instant, UnixTime},
};
use async_io::Timer;
use futures_lite::future::yield_now;

/// Further ahead than this is never: timers of the system can't count to the end of the core's range.
const NEVER: Duration = Duration::from_secs(86_400 * 365 * 30);

/// One origin for the core's monotonic clock, and the choice of wall clock. Clones show the same time.
///
/// Make one per process (or per test) and clone it everywhere: instants of two clocks must not meet.
#[derive(Clone, Debug)]
pub struct Clock {
    time: Time,
    wall: Wall,
}

#[derive(Clone, Debug)]
enum Time {
    /// Since this moment of the system's.
    System(StdInstant),
    /// What it was set to.
    Still(Arc<Still>),
}

/// Where wall-clock time comes from.
#[derive(Clone, Copy, Debug)]
enum Wall {
    /// The system's clock.
    System,
    /// What it was at the origin; it then advances with the monotonic clock.
    From(UnixTime),
}

impl Clock {
    /// A clock whose origin is now and whose wall clock is the system's.
    #[must_use]
    pub fn start() -> Self {
        Self { time: Time::System(StdInstant::now()), wall: Wall::System }
    }

    /// A clock whose origin is now and whose wall clock stands at `wall` and moves with the monotonic one: a machine without a
    /// battery-backed clock can use a time that it fetched.
    #[must_use]
    pub fn start_at(wall: UnixTime) -> Self {
        Self { time: Time::System(StdInstant::now()), wall: Wall::From(wall) }
    }

    /// A clock that stands at its origin, with this wall clock, until [`advance`](Self::advance) or
    /// [`advance_to_next`](Self::advance_to_next) moves it.
    #[must_use]
    pub fn still(wall: UnixTime) -> Self {
        Self { time: Time::Still(Arc::default()), wall: Wall::From(wall) }
    }

    /// The core's monotonic time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        match &self.time {
            Time::System(origin) => Instant::ORIGIN.saturating_add(origin.elapsed()),
            Time::Still(still) => still.lock().now,
        }
    }

    /// Wall-clock time now. Before 1970 it is 0, after February 2106 it stays at the last second that fits.
    #[must_use]
    pub fn wall(&self) -> UnixTime {
        match self.wall {
            Wall::System => UnixTime::default().saturating_add(UNIX_EPOCH.elapsed().unwrap_or_default()),
            Wall::From(start) => start.saturating_add(self.now().saturating_since(Instant::ORIGIN)),
        }
    }

    /// Waits until `at`; not at all when that has passed. Cancel-safe.
    #[must_use]
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        let by = match &self.time {
            Time::System(origin) => By::Timer { timer: Timer::at(system(*origin, at)), origin: *origin },
            Time::Still(still) => By::Still { still: Arc::clone(still), id: None },
        };
        Sleep { at, elapsed: false, by }
    }

    /// Waits so long. Cancel-safe.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now().saturating_add(duration))
    }

    /// What `future` gives, or `None` when it takes longer than `limit`.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        host::timeout_at(self, self.now().saturating_add(limit), future).await
    }

    /// Moves a clock that stands still, and wakes whom that concerns. The system's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Time::Still(still) = &self.time {
            let to = still.lock().now.saturating_add(by);
            still.advance(to);
        }
    }

    /// Moves a clock that stands still to the moment when the next sleeper wakes; `false` if nobody sleeps, or if the clock is the
    /// system's.
    #[must_use]
    pub fn advance_to_next(&self) -> bool {
        let Time::Still(still) = &self.time else { return false };
        let Some((next, _)) = still.lock().sleepers.keys().next().copied() else { return false };
        still.advance(next);
        true
    }
}

impl host::Clock for Clock {
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        self.now()
    }

    fn wall(&self) -> UnixTime {
        self.wall()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        self.sleep_until(at)
    }

    fn bring_forward(&self, sleep: Pin<&mut Sleep>, at: Instant) {
        let sleep = sleep.get_mut();
        if sleep.elapsed || at < sleep.at {
            sleep.reset(at);
        }
    }

    fn yield_now(&self) -> impl Future<Output = ()> + Send {
        yield_now()
    }
}

fn system(origin: StdInstant, at: Instant) -> StdInstant {
    origin + at.saturating_since(Instant::ORIGIN).min(NEVER)
}

/// A clock that stands still.
#[derive(Debug, Default)]
struct Still {
    state: Mutex<StillState>,
}

#[derive(Debug, Default)]
struct StillState {
    now: Instant,
    next_id: u64,
    sleepers: BTreeMap<(Instant, u64), Waker>,
}

impl Still {
    fn lock(&self) -> MutexGuard<'_, StillState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, to: Instant) {
        let mut awake = Vec::new();
        {
            let mut state = self.lock();
            state.now = state.now.max(to);
            while let Some(first) = state.sleepers.first_entry().filter(|first| first.key().0 <= to) {
                awake.push(first.remove());
            }
        }
        // Outside of the lock: who wakes may sleep again at once.
        awake.into_iter().for_each(Waker::wake);
    }
}

/// A wait by a [`Clock`], which may be moved to another deadline.
#[derive(Debug)]
pub struct Sleep {
    at: Instant,
    elapsed: bool,
    by: By,
}

#[derive(Debug)]
enum By {
    Timer { timer: Timer, origin: StdInstant },
    Still { still: Arc<Still>, id: Option<u64> },
}

impl Sleep {
    /// Waits until `at` instead.
    pub fn reset(&mut self, at: Instant) {
        self.leave();
        self.elapsed = false;
        self.at = at;
        if let By::Timer { timer, origin } = &mut self.by {
            timer.set_at(system(*origin, at));
        }
    }

    /// Takes a sleeper out of the list of a clock that stands still.
    fn leave(&mut self) {
        if let By::Still { still, id } = &mut self.by
            && let Some(id) = id.take()
        {
            still.lock().sleepers.remove(&(self.at, id));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let elapsed = match &mut this.by {
            // A timer of the system fires once, and then never again.
            By::Timer { timer, .. } => this.elapsed || Pin::new(timer).poll(cx).is_ready(),
            By::Still { still, id } => {
                let mut state = still.lock();
                let over = this.at <= state.now;
                if !over {
                    let id = *id.get_or_insert_with(|| {
                        state.next_id += 1;
                        state.next_id
                    });
                    state.sleepers.insert((this.at, id), cx.waker().clone());
                }
                over
            }
        };
        this.elapsed = elapsed;
        if !elapsed {
            return Poll::Pending;
        }
        this.leave();
        Poll::Ready(())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    const WALL: UnixTime = UnixTime::from_secs(1_700_000_000);

    #[test]
    fn a_still_clock_moves_when_it_is_told_and_its_wall_clock_with_it() {
        let clock = Clock::still(WALL);
        let copy = clock.clone();
        clock.advance(Duration::from_millis(90_500));
        assert_eq!((copy.now(), copy.wall()), (Instant::from_millis(90_500), UnixTime::from_secs(1_700_000_090)));
    }

    #[test]
    fn sleepers_wake_in_their_order_and_no_sooner() {
        let clock = Clock::still(WALL);
        block_on(async {
            let (mut a, mut b) = (clock.sleep(Duration::from_secs(2)), clock.sleep(Duration::from_secs(1)));
            assert!(poll_once(&mut a).await.is_none() && poll_once(&mut b).await.is_none());
            assert!(clock.advance_to_next());
            assert_eq!(clock.now(), Instant::from_secs(1));
            assert!(poll_once(&mut a).await.is_none() && poll_once(&mut b).await.is_some());
            a.reset(Instant::from_secs(7));
            assert!(poll_once(&mut a).await.is_none());
            assert!(clock.advance_to_next());
            assert_eq!(clock.now(), Instant::from_secs(7));
            a.await;
            assert!(!clock.advance_to_next(), "nobody sleeps any more");
        });
    }

    #[test]
    fn a_dropped_sleeper_is_forgotten() {
        let clock = Clock::still(WALL);
        let mut sleep = clock.sleep(Duration::from_secs(1));
        assert!(block_on(poll_once(&mut sleep)).is_none());
        drop(sleep);
        assert!(!clock.advance_to_next());
    }

    #[test]
    fn the_systems_clock_moves_by_itself_and_a_deadline_beyond_its_range_is_never() {
        let clock = Clock::start();
        assert!(clock.wall() > UnixTime::from_secs(1_760_000_000));
        let begin = clock.now();
        block_on(async {
            clock.sleep(Duration::from_millis(2)).await;
            let mut never = clock.sleep_until(Instant::from_micros(u64::MAX));
            assert!(poll_once(&mut never).await.is_none());
            // What has fired is over until it is set again.
            let mut sleep = clock.sleep(Duration::ZERO);
            (&mut sleep).await;
            assert!(sleep.elapsed && poll_once(&mut sleep).await.is_some());
            sleep.reset(Instant::from_micros(u64::MAX));
            assert!(!sleep.elapsed && poll_once(&mut sleep).await.is_none());
        });
        assert!(clock.now().saturating_since(begin) >= Duration::from_millis(2));
        assert!(!clock.advance_to_next());
    }

    #[test]
    fn a_timeout_gives_what_came_in_time() {
        let clock = Clock::still(WALL);
        block_on(async {
            assert_eq!(clock.timeout(Duration::ZERO, async { 7 }).await, Some(7));
            assert_eq!(clock.timeout(Duration::ZERO, std::future::pending::<u8>()).await, None);
        });
    }
}
