//! What asks the program to end: Control-C, and SIGTERM where there is one.

use std::io;
use std::time::{Duration, Instant};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

/// Requests that come closer together are one: `timeout`, for one, sends its signal to the program and then to all that it has started. Nobody presses
/// Control-C again in that time to mean something else by it.
const ONE: Duration = Duration::from_millis(500);

/// The requests to end, heard from the moment that this is made: one that comes while nobody waits is kept for the next wait.
pub(crate) struct Interrupts {
    apart: Apart,
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    control_c: Signal,
    #[cfg(windows)]
    control_c: CtrlC,
}

impl Interrupts {
    /// Begins to listen. Needs a tokio runtime. From here on neither signal ends the program by itself.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            apart: Apart::default(),
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            control_c: signal(SignalKind::interrupt())?,
            #[cfg(windows)]
            control_c: ctrl_c()?,
        })
    }

    /// Waits for the next request. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        loop {
            #[cfg(unix)]
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.control_c.recv() => {}
            }
            #[cfg(windows)]
            self.control_c.recv().await;
            if self.apart.is_another(Instant::now()) {
                return;
            }
        }
    }
}

/// Tells requests apart.
#[derive(Default)]
struct Apart {
    last: Option<Instant>,
}

impl Apart {
    /// Whether one that comes now is another than the last.
    fn is_another(&mut self, now: Instant) -> bool {
        let is_another = self.last.is_none_or(|last| now.saturating_duration_since(last) >= ONE);
        if is_another {
            self.last = Some(now);
        }
        is_another
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_comes_twice_is_one() {
        let (mut apart, start) = (Apart::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(apart.is_another(at(0)));
        assert!(!apart.is_another(at(0)) && !apart.is_another(at(499)));
        assert!(apart.is_another(at(500)), "a person's second one");
        assert!(!apart.is_another(at(600)) && apart.is_another(at(1_000)));
    }
}
