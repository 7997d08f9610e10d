//! What a gate lets in. One text for all runtimes of computers, which include it as their tests.

use std::net::{IpAddr, Ipv4Addr};

use adit::time::Instant;

use super::{Admission, Gate, GateConfig, GateCounts, Refusal};
use crate::testing::{poll_once, run_in_memory};

const NOW: Instant = Instant::ORIGIN;

fn host(n: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, n).into()
}

async fn admit(gate: &Gate, address: IpAddr, now: Instant) -> Result<Admission, Refusal> {
    gate.admit(address, gate.handshake_slot().await, now)
}

#[test]
fn a_refused_or_dropped_connection_is_counted_and_gives_its_slot_back() {
    run_in_memory(async |_| {
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
    run_in_memory(async |_| {
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
    run_in_memory(async |_| {
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
