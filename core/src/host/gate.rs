//! Who is let in: limits on connections, on handshakes in flight and on each address. No I/O.

use alloc::sync::Arc;
use core::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_lock::{Semaphore, SemaphoreGuardArc};

pub use crate::gate::{GateConfig, GateCounts, Refusal};
use crate::{
    gate::{Ledger, Network},
    time::Instant,
};

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
    _permit: SemaphoreGuardArc,
}

impl Gate {
    /// An empty gate.
    #[must_use]
    pub fn new(config: GateConfig) -> Self {
        let slots = config.handshakes.max(1);
        let (handshakes, ledger) = (Arc::new(Semaphore::new(slots)), Mutex::new(Ledger::new(config)));
        Self { shared: Arc::new(Shared { slots, handshakes, ledger }) }
    }

    /// Waits until a handshake may start. Cancel-safe, though a dropped wait loses its place in the queue.
    pub async fn handshake_slot(&self) -> HandshakeSlot {
        HandshakeSlot { _permit: self.shared.handshakes.acquire_arc().await }
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
mod tests {
    use core::net::Ipv4Addr;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    const NOW: Instant = Instant::ORIGIN;

    fn host(n: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, n).into()
    }

    async fn admit(gate: &Gate, address: IpAddr, now: Instant) -> Result<Admission, Refusal> {
        gate.admit(address, gate.handshake_slot().await, now)
    }

    #[test]
    fn a_refused_or_dropped_connection_is_counted_and_gives_its_slot_back() {
        block_on(async {
            let gate = Gate::new(GateConfig { connections: 1, handshakes: 1, ..GateConfig::default() });
            let mut first = admit(&gate, host(1), NOW).await.unwrap();
            first.established();
            assert_eq!(admit(&gate, host(2), NOW).await.unwrap_err(), Refusal::Full);
            assert_eq!(gate.counts(), GateCounts { open: 1, admitted: 1, refused_full: 1, ..GateCounts::default() });
            drop(first);
            assert_eq!(gate.counts().open, 0);
            drop(admit(&gate, host(2), NOW).await.unwrap());
        });
    }

    #[test]
    fn a_handshake_slot_is_held_until_established_or_gone() {
        block_on(async {
            let gate = Gate::new(GateConfig { handshakes: 2, ..GateConfig::default() });
            let mut first = admit(&gate, host(1), NOW).await.unwrap();
            let second = admit(&gate, host(2), NOW).await.unwrap();
            assert_eq!(gate.counts().handshakes, 2);
            assert!(poll_once(gate.handshake_slot()).await.is_none());
            first.established();
            drop(gate.handshake_slot().await);
            drop(second);
            assert_eq!(gate.counts(), GateCounts { open: 1, handshakes: 0, admitted: 2, ..GateCounts::default() });
        });
    }

    #[test]
    fn one_address_cannot_hold_all_handshakes() {
        block_on(async {
            let gate = Gate::new(GateConfig {
                connections: 100,
                handshakes: 4,
                handshakes_per_address: 2,
                ..GateConfig::default()
            });
            let mut held = [admit(&gate, host(1), NOW).await.unwrap(), admit(&gate, host(1), NOW).await.unwrap()];
            for _ in 0..10 {
                assert_eq!(admit(&gate, host(1), NOW).await.unwrap_err(), Refusal::AddressHandshakes);
            }
            // The refused ones left their slots to others.
            let other = admit(&gate, host(2), NOW).await.unwrap();
            assert_eq!((gate.counts().handshakes, gate.counts().refused_handshakes), (3, 10));
            drop(other);
            // What is established counts no more, and only once.
            let [first, second] = &mut held;
            first.established();
            first.established();
            let third = admit(&gate, host(1), NOW).await.unwrap();
            assert_eq!(admit(&gate, host(1), NOW).await.unwrap_err(), Refusal::AddressHandshakes);
            second.established();
            drop(third);
            drop(held);
            let _both = (admit(&gate, host(1), NOW).await.unwrap(), admit(&gate, host(1), NOW).await.unwrap());
            assert_eq!(admit(&gate, host(1), NOW).await.unwrap_err(), Refusal::AddressHandshakes);
        });
    }
}
