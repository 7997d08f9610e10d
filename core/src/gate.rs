//! Who is let in: limits on connections, on those of one address and on how often it comes. Feature `alloc`.
//!
//! Here is the counting only. Sockets, and who waits for a handshake's slot, are the runtime's.

use alloc::collections::BTreeMap;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use crate::rate::{Rate, TokenBucket};
use crate::time::Instant;

/// The limits of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// Most connections at a time.
    pub connections: usize,
    /// Most connections at a time that have not finished handshake and setup. Accepting waits while there are this many, so a
    /// flood of them costs this many buffers and curve operations at a time and the rest queues in the kernel.
    pub handshakes: usize,
    /// How many of these one address may have. Keep it well below `handshakes`: an address that begins handshakes and goes no further
    /// would else hold all of them, and everybody else would wait in the kernel until theirs timed out.
    pub handshakes_per_address: usize,
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
            handshakes_per_address: 128,
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
    /// As many handshakes of this address in flight as there may be.
    AddressHandshakes,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too many connections",
            Self::AddressFull => "too many connections from this address",
            Self::AddressRate => "this address connects too often",
            Self::AddressHandshakes => "too many handshakes of this address in flight",
        })
    }
}

impl core::error::Error for Refusal {}

/// What a gate has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateCounts {
    /// Connections now.
    pub open: usize,
    /// Connections now that have not finished handshake and setup. Who hands out their slots counts them; 0 in a [`Ledger`]'s.
    pub handshakes: usize,
    /// Connections let in since the start.
    pub admitted: u64,
    /// Refused because of the limit on all connections.
    pub refused_full: u64,
    /// Refused because of the limit on one address.
    pub refused_address: u64,
    /// Refused because of one address's rate.
    pub refused_rate: u64,
    /// Refused because of the limit on one address's handshakes.
    pub refused_handshakes: u64,
}

/// What counts as one address: an IPv4 address, or an IPv6 /64 network, since a host usually has a whole one to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// Counts connections in and out.
#[derive(Debug)]
pub struct Ledger {
    config: GateConfig,
    counts: GateCounts,
    /// Never longer than twice the connection limit and a bit: see `forget`. A tree, because strangers choose the keys and there
    /// is no entropy here for a hasher.
    addresses: BTreeMap<Network, Address>,
}

#[derive(Debug)]
struct Address {
    open: usize,
    handshakes: usize,
    bucket: TokenBucket,
}

impl Ledger {
    /// Nobody is in.
    #[must_use]
    pub const fn new(config: GateConfig) -> Self {
        let counts = GateCounts {
            open: 0,
            handshakes: 0,
            admitted: 0,
            refused_full: 0,
            refused_address: 0,
            refused_rate: 0,
            refused_handshakes: 0,
        };
        Self { config, counts, addresses: BTreeMap::new() }
    }

    /// Its limits.
    #[must_use]
    pub const fn config(&self) -> &GateConfig {
        &self.config
    }

    /// Lets a connection of `network` in, or says why not. To be followed by one [`leave`](Self::leave) when it was let in.
    pub fn admit(&mut self, network: Network, now: Instant) -> Result<(), Refusal> {
        let outcome = self.look(network, now);
        let count = match outcome {
            Ok(()) => &mut self.counts.admitted,
            Err(Refusal::Full) => &mut self.counts.refused_full,
            Err(Refusal::AddressFull) => &mut self.counts.refused_address,
            Err(Refusal::AddressRate) => &mut self.counts.refused_rate,
            Err(Refusal::AddressHandshakes) => &mut self.counts.refused_handshakes,
        };
        *count = count.saturating_add(1);
        outcome
    }

    fn look(&mut self, network: Network, now: Instant) -> Result<(), Refusal> {
        if self.counts.open >= self.config.connections {
            return Err(Refusal::Full);
        }
        self.forget();
        let rate = self.config.per_address_rate;
        let new = || Address { open: 0, handshakes: 0, bucket: TokenBucket::new(rate, now) };
        let address = self.addresses.entry(network).or_insert_with(new);
        if address.open >= self.config.per_address {
            return Err(Refusal::AddressFull);
        }
        if address.handshakes >= self.config.handshakes_per_address.max(1) {
            return Err(Refusal::AddressHandshakes);
        }
        if !address.bucket.take(1, now) {
            return Err(Refusal::AddressRate);
        }
        address.open += 1;
        address.handshakes += 1;
        self.counts.open += 1;
        Ok(())
    }

    /// A connection that was let in has finished handshake and setup. To be said once.
    pub fn established(&mut self, network: Network) {
        if let Some(address) = self.addresses.get_mut(&network) {
            address.handshakes = address.handshakes.saturating_sub(1);
        }
    }

    /// A connection that was let in is gone; `established` is whether it was said to be.
    pub fn leave(&mut self, network: Network, established: bool) {
        if !established {
            self.established(network);
        }
        self.counts.open = self.counts.open.saturating_sub(1);
        if let Some(address) = self.addresses.get_mut(&network) {
            address.open = address.open.saturating_sub(1);
        }
    }

    /// What it has seen.
    #[must_use]
    pub const fn counts(&self) -> GateCounts {
        self.counts
    }

    /// Forgets addresses that have no connection, once they are many. One that is forgotten starts with a full bucket again;
    /// the alternative is memory that strangers fill. After this at most `connections` remain, so it runs once in as many
    /// admissions and costs nothing on average.
    fn forget(&mut self) {
        if self.addresses.len() > self.config.connections.saturating_mul(2).saturating_add(1_024) {
            self.addresses.retain(|_, address| address.open > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use core::time::Duration;

    use super::*;

    const NOW: Instant = Instant::ORIGIN;

    fn ledger() -> Ledger {
        let per_address_rate = Rate { per_second: 1, burst: 3 };
        let (handshakes, handshakes_per_address) = (8, 4);
        Ledger::new(GateConfig { connections: 4, handshakes, handshakes_per_address, per_address: 2, per_address_rate })
    }

    fn host(n: u8) -> Network {
        IpAddr::from(Ipv4Addr::new(192, 0, 2, n)).into()
    }

    #[test]
    fn each_limit_refuses_by_its_own_name_and_is_counted() {
        let mut ledger = ledger();
        assert_eq!([ledger.admit(host(1), NOW), ledger.admit(host(1), NOW)], [Ok(()), Ok(())]);
        assert_eq!(ledger.admit(host(1), NOW), Err(Refusal::AddressFull));
        ledger.leave(host(1), false);
        assert_eq!(ledger.admit(host(1), NOW), Ok(()));
        ledger.leave(host(1), false);
        assert_eq!(ledger.admit(host(1), NOW), Err(Refusal::AddressRate));
        assert_eq!(ledger.admit(host(1), NOW.saturating_add(Duration::from_secs(1))), Ok(()));
        assert_eq!([ledger.admit(host(2), NOW), ledger.admit(host(3), NOW)], [Ok(()), Ok(())]);
        assert_eq!(ledger.admit(host(4), NOW), Err(Refusal::Full));
        let counts = ledger.counts();
        assert_eq!((counts.open, counts.admitted), (4, 6));
        assert_eq!((counts.refused_full, counts.refused_address, counts.refused_rate), (1, 1, 1));
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together_and_mapped_ones_as_ipv4() {
        let mut ledger = ledger();
        let one = |s: &str| Network::from(s.parse::<IpAddr>().unwrap());
        assert_eq!([ledger.admit(one("2001:db8::1"), NOW), ledger.admit(one("2001:db8::ffff"), NOW)], [Ok(()), Ok(())]);
        assert_eq!(ledger.admit(one("2001:db8::2"), NOW), Err(Refusal::AddressFull));
        assert_eq!(ledger.admit(one("2001:db8:0:1::1"), NOW), Ok(()));
        assert_eq!(one("::ffff:192.0.2.9"), host(9));
    }

    #[test]
    fn strangers_cannot_fill_the_address_table() {
        let mut ledger = ledger();
        for n in 0..10_000u32 {
            let network = IpAddr::from(Ipv4Addr::from_bits(n)).into();
            ledger.admit(network, NOW).unwrap();
            ledger.leave(network, false);
        }
        assert!(ledger.addresses.len() <= 2 * 4 + 1_024 + 1);
    }
}
