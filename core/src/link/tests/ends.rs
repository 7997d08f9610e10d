//! How a link ends: in order, by a fault, by a limit, by a stream that breaks.

use super::*;

/// What is sent before the end arrives; then our half ends, and the peer has a moment to end its own.
#[test]
fn the_orderly_end_delivers_then_ends_then_lingers() {
    let mut pair = plain();
    pair.down.capacity = 10;
    pair.server.outbound().unwrap().send(&SetTarget { channel_id: 1, maximum_target: U256::MAX }).unwrap();
    pair.server.close();
    assert!(matches!(pair.server().unwrap(), Driven::Waits(Some(_))));
    assert!(!pair.down.ended, "something still waits");
    pair.down.capacity = 1_000;
    pair.shares(0..500);
    let until = pair.now.saturating_add(Duration::from_secs(2));
    assert_eq!(pair.server().unwrap(), Driven::Waits(Some(until)));
    assert!(pair.down.ended && pair.up.bytes.is_empty(), "what still comes is read and dropped");
    assert_eq!(pair.server.held(), (0, 0));
    pair.pass(2);
    assert_eq!(pair.server().unwrap(), Driven::Turn(Turn::Closed));
    assert_eq!(pair.server().unwrap(), Driven::Turn(Turn::Closed), "and stays so");

    let mut pair = plain();
    pair.server.close();
    pair.up.ended = true;
    assert_eq!(pair.server().unwrap(), Driven::Turn(Turn::Closed), "the peer ended too: no need to wait");
    assert_eq!(pair.server.connection().ending(), Some(Ending::Local));
}

/// The stream has something to read each time, so that its timer is never asked.
#[test]
fn a_peer_that_always_sends_is_not_waited_for_longer() {
    let mut pair = plain();
    pair.server.close();
    assert!(matches!(pair.server().unwrap(), Driven::Waits(Some(_))), "lingers");
    let mut reads = 0;
    let turn = loop {
        match pair.server.step(pair.now, WALL).unwrap() {
            Step::Turn(turn) => break turn,
            Step::Io(io) => assert!(io.read && reads < 20),
        }
        let read = pair.server.space().len();
        pair.server.read::<Broken>(Ok(read), pair.now).unwrap();
        pair.now = pair.now.saturating_add(Duration::from_millis(100));
        reads += 1;
    };
    assert_eq!((turn, reads), (Turn::Closed, 20));
    assert_eq!((pair.server().unwrap(), pair.server.held()), (Driven::Turn(Turn::Closed), (0, 0)));
}

#[test]
fn a_stream_that_cannot_be_ended_is_over_and_one_that_is_slow_has_a_limit() {
    let mut pair = plain();
    pair.server.close();
    pair.down.slow = true;
    assert_eq!(pair.server().unwrap(), Driven::Waits(Some(pair.now.saturating_add(Duration::from_secs(2)))));
    assert_eq!(pair.server.outgoing(), Outgoing::End);
    pair.server.shut_down(false, pair.now);
    assert_eq!(pair.server().unwrap(), Driven::Turn(Turn::Closed));

    let mut pair = plain();
    pair.server.close();
    pair.down.slow = true;
    assert!(matches!(pair.server().unwrap(), Driven::Waits(_)));
    pair.pass(2);
    assert_eq!(pair.server().unwrap(), Driven::Turn(Turn::Closed));
}

/// A stream that does not flush is as stalled as one that does not write, and nothing is over before it has.
#[test]
fn flushing_is_waited_for() {
    let mut pair = plain();
    pair.down.slow = true;
    pair.shares(0..1);
    let until = pair.now.saturating_add(HALF_A_MINUTE);
    assert_eq!(pair.serve().unwrap(), (1, Some(until)));
    pair.server.close();
    assert_eq!(pair.server().unwrap(), Driven::Waits(Some(until)));
    pair.now = until;
    assert_eq!(pair.server(), Err(LinkCause::Stalled(Stall::Reading)));
}

#[test]
fn the_streams_end_is_in_order_between_frames_and_a_failure_inside() {
    for (bytes, cause) in [(0, None), (5, Some(Part::Frame)), (SHARE - 1, Some(Part::Frame)), (SHARE, None)] {
        let mut pair = plain();
        pair.shares(0..1);
        pair.up.bytes.truncate(bytes);
        pair.up.ended = true;
        match cause {
            None => {
                assert_eq!(pair.serve().unwrap().0, u32::from(bytes == SHARE));
                assert_eq!(pair.server.connection().ending(), Some(Ending::Peer));
                assert!(pair.down.ended);
            }
            Some(part) => {
                assert_eq!(pair.serve(), Err(LinkCause::Connection(PeerError::Truncated(part).into())));
            }
        }
    }
}

/// Writing to a peer that said it is gone is no failure; to one that vanished it is.
#[test]
fn a_stream_that_breaks_after_the_peers_end_is_no_failure() {
    for ended in [false, true] {
        let mut pair = plain();
        pair.shares(0..1);
        let Driven::Turn(Turn::Event(token)) = pair.server().unwrap() else { panic!("no event") };
        acknowledge(&mut pair.server, token);
        pair.down.capacity = 0;
        pair.up.ended = ended;
        assert!(matches!(pair.server(), Ok(Driven::Waits(Some(_)))));
        pair.down.broken = true;
        let wanted = if ended { Ok(Driven::Turn(Turn::Closed)) } else { Err(LinkCause::Write(Broken)) };
        assert_eq!(pair.server(), wanted);
    }
    let mut pair = plain();
    pair.up.broken = true;
    assert_eq!(pair.server(), Err(LinkCause::Read(Broken)));
}

/// What was sent before the peer's fault has one try to leave, and the fault is told in any case.
#[test]
fn a_fault_lets_what_waits_leave_if_it_can() {
    for (capacity, left) in [(1_000, SUCCESS), (7, 7), (0, 0)] {
        let mut pair = plain();
        pair.down.capacity = capacity;
        pair.shares(0..1);
        // A share with a channel bit and no channel id.
        pair.up.bytes.extend([0x00, 0x80, 0x1a, 0, 0, 0]);
        let Driven::Turn(Turn::Event(token)) = pair.server().unwrap() else { panic!("no event") };
        acknowledge(&mut pair.server, token);
        assert!(matches!(pair.server(), Err(LinkCause::Connection(Error::Peer(_)))));
        assert_eq!(pair.down.bytes.len(), left);
    }
}

#[test]
fn the_connections_own_limits_hold() {
    let mut pair = Pair::new((Limits::DEFAULT, 1024), (Lender::new(64, 64), 1024), false, (1024, 1024));
    let until = pair.now.saturating_add(Duration::from_secs(15));
    assert_eq!(pair.server().unwrap(), Driven::Waits(Some(until)));
    pair.now = until;
    let error = PeerError::TimedOut(Reason::Handshake);
    assert_eq!(pair.server(), Err(LinkCause::Connection(error.into())));
}

/// A frame beyond the ceiling is the peer's fault as soon as its header is there, with leased buffers and with fixed ones.
#[test]
fn a_frame_that_no_buffer_holds_is_refused_at_its_header() {
    let header = [0x01, 0x40, 0x01, 0xff, 0xff, 0xff];
    let mut pair = plain();
    pair.up.bytes.extend(header);
    assert!(matches!(pair.serve(), Err(LinkCause::Connection(Error::Peer(PeerError::TooLong { .. })))));
    pair.down.bytes.extend(header);
    assert!(matches!(pair.client(), Err(LinkCause::Connection(Error::Peer(PeerError::TooLong { .. })))));
}

#[test]
fn a_report_of_more_than_was_asked_for_is_misuse() {
    let mut pair = plain();
    let space = pair.server.space().len();
    let misuse = |result: Result<(), LinkCause<Broken>>| {
        assert!(matches!(result, Err(LinkCause::Connection(Error::Misuse(_)))), "{result:?}");
    };
    misuse(pair.server.read(Ok(space + 1), pair.now));
    misuse(pair.server.written(Ok(1)));
}

#[test]
fn errors_say_who_and_why() {
    use std::string::ToString;
    let peer = core::net::SocketAddr::from(([192, 0, 2, 1], 3333));
    let error = LinkError::new(peer, State::Open, LinkCause::Read(crate::error::Full));
    assert_eq!(error.to_string(), "link with 192.0.2.1:3333: reading failed: no room in the buffer (in state Open)");
    assert!(core::error::Error::source(&error).is_some());
    let fault = LinkCause::<crate::error::Full>::from(Error::Peer(PeerError::TimedOut(Reason::Idle)));
    let error = LinkError::new(peer, State::Open, fault);
    assert_eq!((error.state(), error.is_ours()), (State::Failed, false));
    assert!(LinkError::new(peer, State::Open, LinkCause::<crate::error::Full>::from(Error::Full)).is_ours());
}
