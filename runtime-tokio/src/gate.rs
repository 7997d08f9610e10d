//! Who is let in: limits on connections, on handshakes in flight and on each address. No I/O.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use adit::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::rate::{Rate, TokenBucket};

/// The limits of a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// Most connections at a time.
    pub connections: usize,
    /// Most connections at a time that have not finished handshake and setup. Accepting waits while there are this many, so a
    /// flood of them costs this many buffers and curve operations at a time and the rest queues in the kernel.
    pub handshakes: usize,
    /// Most connections at a time of one address (an IPv6 address counts as its /64 network).
    pub per_address: usize,
    /// How often one address may connect.
    pub per_address_rate: Rate,
}

impl Default for GateConfig {
    /// Room for a large farm behind one address; a server that serves few addresses can afford more, a public one less.
    fn default() -> Self {
        Self {
            connections: 20_000,
            handshakes: 256,
            per_address: 20_000,
            per_address_rate: Rate { per_second: 500, burst: 20_000 },
        }
    }
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As many connections as there may be.
    Full,
    /// As many connections of this address as there may be.
    AddressFull,
    /// This address connects too often.
    AddressRate,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many connections",
            Self::AddressFull => "too many connections from this address",
            Self::AddressRate => "this address connects too often",
        })
    }
}

/// What a gate has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateCounts {
    /// Connections now.
    pub open: usize,
    /// Connections now that have not finished handshake and setup.
    pub handshakes: usize,
    /// Connections let in since the start.
    pub admitted: u64,
    /// Refused because of the limit on all connections.
    pub refused_full: u64,
    /// Refused because of the limit on one address.
    pub refused_address: u64,
    /// Refused because of one address's rate.
    pub refused_rate: u64,
}

/// Counts connections in and out. Clones are handles on the same gate, which several listeners may share.
#[derive(Clone, Debug)]
pub struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: GateConfig,
    handshakes: Arc<Semaphore>,
    inside: Mutex<Inside>,
    admitted: AtomicU64,
    refused: [AtomicU64; 3],
}

#[derive(Debug)]
struct Inside {
    open: usize,
    /// Never longer than twice the connection limit and a bit: see `forget`.
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug)]
struct Address {
    open: usize,
    bucket: TokenBucket,
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
        Self {
            shared: Arc::new(Shared {
                config,
                handshakes: Arc::new(Semaphore::new(slots)),
                inside: Mutex::new(Inside { open: 0, addresses: HashMap::new() }),
                admitted: AtomicU64::new(0),
                refused: [const { AtomicU64::new(0) }; 3],
            }),
        }
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
        let network = network(address);
        let config = &self.shared.config;
        let outcome = {
            let mut inside = self.lock();
            inside.admit(network, config, now)
        };
        match outcome {
            Ok(()) => {
                self.shared.admitted.fetch_add(1, Relaxed);
                Ok(Admission { gate: self.clone(), network, handshake: Some(slot) })
            }
            Err(refusal) => {
                self.shared.refused[refusal as usize].fetch_add(1, Relaxed);
                Err(refusal)
            }
        }
    }

    /// What it has seen.
    #[must_use]
    pub fn counts(&self) -> GateCounts {
        let config = &self.shared.config;
        let refused = |refusal: Refusal| self.shared.refused[refusal as usize].load(Relaxed);
        GateCounts {
            open: self.lock().open,
            handshakes: config
                .handshakes
                .clamp(1, Semaphore::MAX_PERMITS)
                .saturating_sub(self.shared.handshakes.available_permits()),
            admitted: self.shared.admitted.load(Relaxed),
            refused_full: refused(Refusal::Full),
            refused_address: refused(Refusal::AddressFull),
            refused_rate: refused(Refusal::AddressRate),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.shared.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn admit(&mut self, network: IpAddr, config: &GateConfig, now: Instant) -> Result<(), Refusal> {
        if self.open >= config.connections {
            return Err(Refusal::Full);
        }
        self.forget(config);
        let address = self
            .addresses
            .entry(network)
            .or_insert_with(|| Address { open: 0, bucket: TokenBucket::new(config.per_address_rate, now) });
        if address.open >= config.per_address {
            return Err(Refusal::AddressFull);
        }
        if !address.bucket.take(1, now) {
            return Err(Refusal::AddressRate);
        }
        address.open += 1;
        self.open += 1;
        Ok(())
    }

    /// Forgets addresses that have no connection, once they are many. One that is forgotten starts with a full bucket again;
    /// the alternative is memory that strangers fill. After this at most `connections` remain, so it runs once in as many
    /// admissions and costs nothing on average.
    fn forget(&mut self, config: &GateConfig) {
        if self.addresses.len() > config.connections.saturating_mul(2).saturating_add(1_024) {
            self.addresses.retain(|_, address| address.open > 0);
        }
    }
}

/// One connection that was let in. Dropping it counts the connection out.
#[derive(Debug)]
pub struct Admission {
    gate: Gate,
    network: IpAddr,
    handshake: Option<HandshakeSlot>,
}

impl Admission {
    /// Handshake and setup are over: the next one may start.
    pub fn established(&mut self) {
        self.handshake = None;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.open = inside.open.saturating_sub(1);
        if let Some(address) = inside.addresses.get_mut(&self.network) {
            address.open = address.open.saturating_sub(1);
        }
    }
}

/// An IPv6 host usually has a whole /64 to itself, so that is what counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use super::*;

    const NOW: Instant = Instant::ORIGIN;

    fn config() -> GateConfig {
        GateConfig { connections: 4, handshakes: 8, per_address: 2, per_address_rate: Rate { per_second: 1, burst: 3 } }
    }

    fn host(n: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, n).into()
    }

    async fn admit(gate: &Gate, address: IpAddr, now: Instant) -> Result<Admission, Refusal> {
        gate.admit(address, gate.handshake_slot().await, now)
    }

    #[tokio::test]
    async fn each_limit_refuses_by_its_own_name_and_is_counted() {
        let gate = Gate::new(config());
        let a1 = admit(&gate, host(1), NOW).await.unwrap();
        let _a2 = admit(&gate, host(1), NOW).await.unwrap();
        assert_eq!(admit(&gate, host(1), NOW).await.unwrap_err(), Refusal::AddressFull);
        drop(a1);
        drop(admit(&gate, host(1), NOW).await.unwrap());
        assert_eq!(admit(&gate, host(1), NOW).await.unwrap_err(), Refusal::AddressRate);
        let later = NOW.saturating_add(Duration::from_secs(1));
        let _a4 = admit(&gate, host(1), later).await.unwrap();
        let _b = (admit(&gate, host(2), NOW).await.unwrap(), admit(&gate, host(3), NOW).await.unwrap());
        assert_eq!(admit(&gate, host(4), NOW).await.unwrap_err(), Refusal::Full);
        let counts = gate.counts();
        assert_eq!((counts.open, counts.admitted), (4, 6));
        assert_eq!((counts.refused_full, counts.refused_address, counts.refused_rate), (1, 1, 1));
    }

    #[tokio::test]
    async fn a_handshake_slot_is_held_until_established_or_gone() {
        let gate = Gate::new(GateConfig { handshakes: 2, ..config() });
        let mut first = admit(&gate, host(1), NOW).await.unwrap();
        let second = admit(&gate, host(2), NOW).await.unwrap();
        assert_eq!(gate.counts().handshakes, 2);
        assert!(tokio::time::timeout(Duration::ZERO, gate.handshake_slot()).await.is_err());
        first.established();
        drop(gate.handshake_slot().await);
        drop(second);
        assert_eq!(gate.counts(), GateCounts { open: 1, handshakes: 0, admitted: 2, ..GateCounts::default() });
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_count_together_and_mapped_ones_as_ipv4() {
        let gate = Gate::new(config());
        let one = |s: &str| s.parse::<IpAddr>().unwrap();
        let _a = admit(&gate, one("2001:db8::1"), NOW).await.unwrap();
        let _b = admit(&gate, one("2001:db8::ffff"), NOW).await.unwrap();
        assert_eq!(admit(&gate, one("2001:db8::2"), NOW).await.unwrap_err(), Refusal::AddressFull);
        let _c = admit(&gate, one("2001:db8:0:1::1"), NOW).await.unwrap();
        assert_eq!(network(one("::ffff:192.0.2.9")), host(9));
    }

    #[tokio::test]
    async fn strangers_cannot_fill_the_address_table() {
        let gate = Gate::new(config());
        for n in 0..10_000u32 {
            drop(admit(&gate, Ipv4Addr::from_bits(n).into(), NOW).await.unwrap());
        }
        assert!(gate.lock().addresses.len() <= 2 * 4 + 1_024 + 1);
    }
}
