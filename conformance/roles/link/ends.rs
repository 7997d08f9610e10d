//! How links end: in order, at a time limit, by a failure.

use super::*;

#[test]
fn a_silent_peer_is_cut_at_the_handshake_and_at_the_setup() {
    run_in_memory(async |lab| {
        let (_silent, b) = duplex(1_024);
        let mut silent = server(b, lab.settings(), false);
        let error = connection_error(silent.next().await);
        assert_eq!(error, Error::Peer(PeerError::TimedOut(Reason::Handshake)));
        assert_eq!(lab.now(), Instant::from_secs(15));

        let (_silent, b) = duplex(1_024);
        let mut silent = server(b, lab.settings(), true);
        let Turn::Event(_) = silent.next().await.unwrap() else { panic!("secured") };
        let error = connection_error(silent.next().await);
        assert_eq!(error, Error::Peer(PeerError::TimedOut(Reason::Setup)));
    });
}

/// Bytes that trickle in do not stretch the time of a handshake.
#[test]
fn a_slow_handshake_is_cut_at_the_deadline() {
    run_in_memory(async |lab| {
        let (mut slow, b) = duplex(1_024);
        let timer = lab.clone();
        let trickle = lab.spawn(async move {
            while write_all(&mut slow, b"S").await.is_ok() {
                timer.sleep(Duration::from_secs(4)).await;
            }
        });
        let mut server = server(b, lab.settings(), false);
        // The first byte announces a list of ciphers that never gets complete.
        let error = connection_error(server.next().await);
        assert!(
            matches!(error, Error::Peer(PeerError::TimedOut(Reason::Handshake) | PeerError::Handshake(_))),
            "{error}"
        );
        drop(server);
        join(trickle).await;
    });
}

/// A peer that sends and never reads: memory stays bounded, reading stops, and the link ends at the time limit.
#[test]
fn a_peer_that_does_not_read_costs_two_buffers_and_is_cut() {
    run_in_memory(async |lab| {
        let (client, mut server) = open_pair(&lab, 256, true).await;
        // Nobody reads the answers.
        let mut to_server = client.into_stream();
        let flood = lab.spawn(async move {
            let mut frames = Output::new([0; 64]);
            let mut sent = 0_u32;
            loop {
                add_frame(&mut frames, sent);
                if write_all(&mut to_server, frames.filled()).await.is_err() {
                    return sent;
                }
                frames.consume(frames.len()).unwrap();
                sent += 1;
            }
        });
        let error = acknowledge(&mut server).await.unwrap_err();
        assert!(matches!(error.cause(), LinkCause::Stalled(Stall::Reading)), "{error}");
        let length = server.settings().output.length();
        let held = server.held();
        assert!(held.1 <= 2 * length && held.0 <= server.settings().input.length());
        drop(server);
        // What was taken fits into the buffers and the pipe.
        let sent = join(flood).await as usize;
        assert!(sent <= (2 * length + 4_096 + 512) / 26, "{sent}");
    });
}

#[test]
fn a_frame_that_is_begun_and_not_ended_is_cut() {
    run_in_memory(async |lab| {
        let (client, mut server) = open_pair(&lab, 256, true).await;
        let begun = lab.now();
        let mut stream = client.into_stream();
        let timer = lab.clone();
        let trickle = lab.spawn(async move {
            // Header of a share, then a byte now and then.
            write_all(&mut stream, &[0x00, 0x80, 0x1a, 24, 0, 0]).await.unwrap();
            while write_all(&mut stream, &[0]).await.is_ok() {
                timer.sleep(Duration::from_secs(7)).await;
            }
        });
        let error = acknowledge(&mut server).await.unwrap_err();
        assert!(matches!(error.cause(), LinkCause::Stalled(Stall::Writing)), "{error}");
        assert_eq!(lab.since(begun).as_secs(), 30);
        drop(server);
        join(trickle).await;
    });
}

#[test]
fn the_streams_end_is_in_order_between_frames_and_a_failure_inside() {
    run_in_memory(async |lab| {
        for (bytes, expected) in [(0, None), (5, Some(Part::Frame)), (7, Some(Part::Frame))] {
            let (mut client, mut server) = open_pair(&lab, 256, true).await;
            write_all(client.stream(), &[0x00, 0x80, 0x1a, 24, 0, 0, 1][..bytes]).await.unwrap();
            drop(client);
            let end = acknowledge(&mut server).await;
            match expected {
                None => assert_eq!((end.unwrap(), server.connection().ending()), (0, Some(Ending::Peer))),
                Some(part) => assert_eq!(connection_error(end), Error::Peer(PeerError::Truncated(part))),
            }
        }
    });
}

/// What was sent before `close` arrives, however slowly it is read, and then the end.
#[test]
fn an_orderly_close_delivers_what_was_sent() {
    run_in_memory(async |lab| {
        let (mut client, mut server) = open_pair(&lab, 33, false).await;
        let mut outbound = server.outbound().unwrap();
        let mut sent = 0;
        while outbound.send(&SetTarget { channel_id: sent, maximum_target: U256::MAX }).is_ok() {
            sent += 1;
        }
        server.close();
        let receive = async {
            let mut received = 0;
            loop {
                lab.sleep(Duration::from_millis(100)).await;
                match client.next().await.unwrap() {
                    Turn::Event(token) => match client.event(token).unwrap().0 {
                        Event::Message(ToClient::SetTarget(target)) => {
                            assert_eq!(target.channel_id, received);
                            received += 1;
                        }
                        _ => panic!("unexpected event"),
                    },
                    Turn::Room => {}
                    Turn::Closed => return received,
                }
            }
        };
        let (received, closed) = zip(receive, acknowledge(&mut server)).await;
        assert_eq!((received, closed.unwrap()), (sent, 0));
        assert_eq!(server.connection().ending(), Some(Ending::Local));
        assert!(matches!(server.next().await, Ok(Turn::Closed)), "and it stays closed");
    });
}

/// A peer that does not end its half holds a closed link for the lingering time only.
#[test]
fn lingering_ends() {
    run_in_memory(async |lab| {
        let (_client, mut server) = open_pair(&lab, 256, true).await;
        server.close();
        let before = lab.now();
        assert!(matches!(server.next().await, Ok(Turn::Closed)));
        assert_eq!(lab.since(before), server.settings().linger);
    });
}

/// A shutdown: shares that wait are not taken, answers that wait leave.
#[test]
fn a_link_that_stopped_listening_only_delivers() {
    run_in_memory(async |lab| {
        let (mut client, mut server) = open_pair(&lab, 2_048, false).await;
        client.outbound().unwrap().send(&share(0)).unwrap();
        assert!(lab.timeout(Duration::from_millis(1), client.next()).await.is_none());
        server.stop_listening();
        server.outbound().unwrap().send(&SetTarget { channel_id: 9, maximum_target: U256::MAX }).unwrap();
        server.want_room();
        assert!(matches!(server.next().await, Ok(Turn::Room)), "delivered, and the share not taken");
        assert!(lab.timeout(Duration::from_secs(3_600), server.next()).await.is_none(), "nobody is blamed for that");
        let Turn::Event(token) = client.next().await.unwrap() else { panic!("an event") };
        assert!(matches!(client.event(token).unwrap().0, Event::Message(ToClient::SetTarget(_))));
        server.close();
        let (closed, rest) = zip(server.next(), client.next()).await;
        assert!(matches!((closed, rest), (Ok(Turn::Closed), Ok(Turn::Closed))));
    });
}

/// D-CONN-8: the refusal reaches the client even when the client has sent more than the server read.
#[test]
fn a_refused_setup_is_read_by_the_client_over_tcp() {
    run(async |lab| {
        let (mut listener, _) = lab.listener(0, GateConfig::default());
        let (stream, accepted) = zip(tcp(listener.address()), listener.accept()).await;
        let policy = SetupPolicy { min_version: 3, max_version: 3, ..SetupPolicy::new(0) };
        let mut server = server_with(accepted.stream, lab.settings(), true, policy);
        let mut client = client(stream.unwrap(), lab.settings(), true);
        let ask = async {
            let Turn::Event(token) = client.next().await.unwrap() else { panic!("secured") };
            let (_, mut outbound) = client.event(token).unwrap();
            outbound.send(&testing::setup::<Mining>()).unwrap();
            let Turn::Event(token) = client.next().await.unwrap() else { panic!("an answer") };
            let Event::Refused(refusal) = client.event(token).unwrap().0 else { panic!("a refusal") };
            assert_eq!(refusal.error_code.as_bytes(), b"protocol-version-mismatch");
            assert!(matches!(client.next().await, Ok(Turn::Closed)));
        };
        let serve = async {
            let Turn::Event(_) = server.next().await.unwrap() else { panic!("secured") };
            assert!(matches!(server.next().await, Ok(Turn::Closed)));
        };
        zip(ask, serve).await;
    });
}

/// Nothing of the peer's is believed before the handshake: a stream of noise ends the link with the handshake's error.
#[test]
fn bytes_that_are_no_handshake_end_the_link() {
    run_in_memory(async |lab| {
        let (mut a, b) = duplex(4_096);
        let mut server = server(b, lab.settings(), false);
        write_all(&mut a, &[0xff; 4_000]).await.unwrap();
        let error = connection_error(server.next().await);
        assert!(matches!(error, Error::Peer(PeerError::Handshake(_))), "{error}");
        drop(server);
        assert_eq!(read(&mut a, &mut [0; 64]).await.unwrap(), 0, "nothing, and the end");
    });
}
