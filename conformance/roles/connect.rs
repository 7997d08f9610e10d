//! How a client reaches a server. One text for all runtimes of computers, which include it as their tests.

use std::{net::TcpListener, time::Duration};

use super::ConnectCause;
use crate::testing::{deaf, nodelay, run, run_still};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_listener_by_name_is_reached_without_delay_on_small_frames() {
    // The resolver has a thread of its own, so time must not stand still for it.
    run(async |lab| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // `localhost` may resolve to ::1 first, where nobody listens: the next address is tried.
        let (stream, address) = lab.dial("localhost", port, LIMIT).await.unwrap();
        assert_eq!(address, listener.local_addr().unwrap());
        assert!(nodelay(&stream));
    });
}

#[test]
fn nobody_there_is_said_with_the_address() {
    run(async |lab| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = lab.dial("127.0.0.1", address.port(), LIMIT).await.unwrap_err();
        assert!(matches!(error.cause(), ConnectCause::Refused { last, tried: 1, .. } if *last == address), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    });
}

#[test]
fn a_silent_address_costs_the_time_limit_and_no_more() {
    run_still(async |lab| {
        // Nobody accepts, so after a few connections the kernel stops answering.
        let (_deaf, address) = deaf();
        let mut streams = Vec::new();
        let error = loop {
            match lab.dial("127.0.0.1", address.port(), LIMIT).await {
                Ok(stream) => streams.push(stream),
                Err(error) => break error,
            }
            assert!(streams.len() < 64, "the kernel answers for ever");
        };
        assert!(matches!(error.cause(), ConnectCause::TimedOut { tried: Some(at) } if *at == address), "{error}");
    });
}
