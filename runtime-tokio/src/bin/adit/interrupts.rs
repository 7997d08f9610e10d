//! What asks the program to end: Control-C, and SIGTERM where there is one.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

/// The requests to end, heard from the moment that this is made: one that comes while nobody waits is kept for the next wait.
pub(crate) struct Interrupts {
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
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.control_c.recv() => {}
        }
        #[cfg(windows)]
        self.control_c.recv().await;
    }
}
