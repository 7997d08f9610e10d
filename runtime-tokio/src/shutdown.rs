//! Ending in an orderly way: one handle that starts it, everyone else waits for it.

use crate::clock::Clock;

/// [`adit::host::shutdown::Shutdown`] by this runtime's clock.
pub type Shutdown = adit::host::shutdown::Shutdown<Clock>;

#[cfg(test)]
#[path = "../../conformance/roles/shutdown.rs"]
mod tests;
