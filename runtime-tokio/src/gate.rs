//! Who is let in: limits on connections, on handshakes in flight and on each address. No I/O.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use adit::gate::{GateConfig, GateCounts, Refusal};
use adit::{
    gate::{Ledger, Network},
    time::Instant,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts connections in and out. Clones are handles on the same gate, which several listeners may share.
#[derive(Clone, Debug)]
pub struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Handshakes at a time.
    slots: usize,
    handshakes: Arc<Semaphore>,
    ledger: Mutex<Ledger>,
}

/// The right to run one handshake; hand it to [`Gate::admit`].
#[derive(Debug)]
pub struct HandshakeSlot {
    /// Held for what its drop does.
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    /// An empty gate.
    #[must_use]
    pub fn new(config: GateConfig) -> Self {
        let slots = config.handshakes.clamp(1, Semaphore::MAX_PERMITS);
        let (handshakes, ledger) = (Arc::new(Semaphore::new(slots)), Mutex::new(Ledger::new(config)));
        Self { shared: Arc::new(Shared { slots, handshakes, ledger }) }
    }

    /// Waits until a handshake may start. Cancel-safe, though a dropped wait loses its place in the queue.
    pub async fn handshake_slot(&self) -> HandshakeSlot {
        match Arc::clone(&self.shared.handshakes).acquire_owned().await {
            Ok(permit) => HandshakeSlot { _permit: permit },
            // The semaphore is private and nobody closes it; were it closed, nobody may come in.
            Err(_) => std::future::pending().await,
        }
    }

    /// Lets a connection from `address` in, or says why not. The slot is given back on refusal.
    pub fn admit(&self, address: IpAddr, slot: HandshakeSlot, now: Instant) -> Result<Admission, Refusal> {
        let network = Network::from(address);
        self.lock().admit(network, now)?;
        Ok(Admission { gate: self.clone(), network, handshake: Some(slot) })
    }

    /// What it has seen.
    #[must_use]
    pub fn counts(&self) -> GateCounts {
        let handshakes = self.shared.slots.saturating_sub(self.shared.handshakes.available_permits());
        GateCounts { handshakes, ..self.lock().counts() }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection that was let in. Dropping it counts the connection out.
#[derive(Debug)]
pub struct Admission {
    gate: Gate,
    network: Network,
    handshake: Option<HandshakeSlot>,
}

impl Admission {
    /// Handshake and setup are over: the next one may start.
    pub fn established(&mut self) {
        if self.handshake.take().is_some() {
            self.gate.lock().established(self.network);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.gate.lock().leave(self.network, self.handshake.is_none());
    }
}

#[cfg(test)]
#[path = "../../conformance/roles/gate.rs"]
mod tests;
