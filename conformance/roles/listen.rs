//! How connections are let in. One text for all runtimes of computers, which include it as their tests.

use std::time::Duration;

use super::Listener;
use crate::{
    gate::GateConfig,
    testing::{nodelay, or, poll_once, read, run, tcp, yield_now},
};

#[test]
fn too_many_connections_are_closed_and_counted_and_a_freed_place_is_used() {
    run(async |lab| {
        let (mut listener, gate) = lab.listener(0, GateConfig { connections: 2, ..GateConfig::default() });
        let address = listener.address();
        let _streams = [tcp(address).await.unwrap(), tcp(address).await.unwrap()];
        let kept = [listener.accept().await, listener.accept().await];
        assert!(nodelay(&kept[0].stream));

        let mut refused = tcp(address).await.unwrap();
        let mut byte = [0];
        let accepted = async {
            listener.accept().await;
            panic!("there is no place")
        };
        // An end or a reset, but nothing else.
        assert!(!matches!(or(accepted, read(&mut refused, &mut byte)).await, Ok(1..)));
        assert_eq!((gate.counts().open, gate.counts().refused_full), (2, 1));

        drop(kept);
        let _stream = tcp(address).await.unwrap();
        let _third = listener.accept().await;
        assert_eq!(gate.counts().open, 1);
    });
}

#[test]
fn handshakes_in_flight_hold_back_the_next_connection() {
    run(async |lab| {
        let (mut listener, _gate) = lab.listener(0, GateConfig { handshakes: 1, ..GateConfig::default() });
        let address = listener.address();
        let _streams = [tcp(address).await.unwrap(), tcp(address).await.unwrap()];
        let mut first = listener.accept().await;
        // The wait for the second is dropped at its await point, again and again: no slot is lost.
        for _ in 0..3 {
            assert!(lab.timeout(Duration::ZERO, listener.accept()).await.is_none());
        }
        first.admission.established();
        let second = listener.accept().await;
        assert_ne!(first.peer, second.peer);
    });
}

/// Refusing takes no waiting while connections come, so the listener waits of itself.
#[test]
fn a_flood_that_is_refused_lets_others_have_their_turns() {
    const FLOOD: u64 = 16;
    run(async |lab| {
        let (mut listener, gate) = lab.listener(0, GateConfig { connections: 1, ..GateConfig::default() });
        let address = listener.address();
        let _stream = tcp(address).await.unwrap();
        let _full = listener.accept().await;
        let mut flood = Vec::new();
        for _ in 0..FLOOD {
            flood.push(tcp(address).await.unwrap());
        }
        let mut accept = Box::pin(listener.accept());
        let mut refused = 0;
        while refused < FLOOD {
            assert!(poll_once(&mut accept).await.is_none());
            let now = gate.counts().refused_full;
            assert!(now <= refused + 1, "{now} after {refused}");
            refused = now;
            yield_now().await;
        }
    });
}

/// Several listeners may share a gate: who waits for connections has no use for a slot yet.
#[test]
fn a_listener_to_which_nobody_comes_keeps_no_slot_from_another() {
    run(async |lab| {
        let (mut idle, gate) = lab.listener(0, GateConfig { handshakes: 1, ..GateConfig::default() });
        let mut busy = Listener::bind(([127, 0, 0, 1], 0).into(), gate.clone(), lab.clock()).unwrap();
        assert!(lab.timeout(Duration::ZERO, idle.accept()).await.is_none());
        assert_eq!(gate.counts().handshakes, 0);
        let _stream = tcp(busy.address()).await.unwrap();
        let accepted = lab.timeout(Duration::from_secs(10), busy.accept()).await;
        assert!(accepted.is_some(), "it is let in");
        assert_eq!(gate.counts().handshakes, 1);
    });
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    run(async |lab| {
        let (first, gate) = lab.listener(0, GateConfig::default());
        let error = Listener::bind(first.address(), gate, lab.clock()).unwrap_err();
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    });
}
