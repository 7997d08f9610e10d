//! Links over streams in memory, with a clock that stands still unless everybody waits. One text for all runtimes of computers, which include
//! it as their tests: what they differ in is their `testing` module.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use adit::{
    buffer::{BufferPool, Output},
    connection::{
        Connection, Ending, Endpoint, Event, InitiatorConfig, Outbound, Reason, ResponderConfig, Security, SetupPolicy,
    },
    crypto::RustCrypto,
    error::{Error, Part, PeerError},
    frame::Header,
    host,
    message::mining::{SetTarget, SubmitSharesStandard, SubmitSharesSuccess, ToClient, ToServer},
    protocol::{Initiator, Mining, Responder},
    rate::Rate,
    time::Instant,
    wire::{Revision, U256},
};

use super::{Link, LinkCause, LinkError, LinkSettings, Stall, Turn};
use crate::{
    gate::GateConfig,
    testing::{
        self, Duplex, Lab, Stream, duplex, initiator, join, poll_once, read, run, run_in_memory, tcp, write_all, zip,
    },
};

type Client<T> = Link<Initiator, Mining, RustCrypto, T>;
type Server<T> = Link<Responder, Mining, RustCrypto, T>;

/// Longer than any of the tests takes in virtual time: reached only by a deadlock.
const FOREVER: Duration = Duration::from_secs(86_400);

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 3333))
}

/// Buffers hardly larger than an answer.
fn tiny(lab: &Lab) -> LinkSettings {
    LinkSettings { input: BufferPool::new(64, 4), output: BufferPool::new(350, 4), ..lab.settings() }
}

fn client<T: host::Stream>(stream: T, settings: LinkSettings, plain: bool) -> Client<T> {
    let config = if plain { InitiatorConfig::new(Security::Plain) } else { initiator() };
    let connection = Connection::initiator(&config, [3; 32], settings.clock.now());
    Link::new(connection, stream, peer(), Arc::new(settings))
}

fn server_with<T: host::Stream>(stream: T, settings: LinkSettings, plain: bool, policy: SetupPolicy) -> Server<T> {
    let config = if plain { ResponderConfig::new(Security::Plain, policy) } else { testing::server(policy) };
    let connection = Connection::responder(&config, [4; 32], settings.clock.now());
    Link::new(connection, stream, peer(), Arc::new(settings))
}

fn server<T: host::Stream>(stream: T, settings: LinkSettings, plain: bool) -> Server<T> {
    server_with(stream, settings, plain, SetupPolicy::new(0))
}

/// Both ends of a stream of that capacity, with nothing sent yet.
fn pair(lab: &Lab, capacity: usize, plain: bool) -> (Client<Duplex>, Server<Duplex>) {
    let (a, b) = duplex(capacity);
    (client(a, lab.settings(), plain), server(b, lab.settings(), plain))
}

/// Both ends of an open connection.
async fn open_pair(lab: &Lab, capacity: usize, plain: bool) -> (Client<Duplex>, Server<Duplex>) {
    let (mut client, mut server) = pair(lab, capacity, plain);
    opened(lab, &mut client, &mut server).await;
    (client, server)
}

/// The frame of a share, as a plain client sends it, behind what is there already.
fn add_frame<const N: usize>(frames: &mut Output<[u8; N]>, sequence_number: u32) {
    Outbound::<Initiator, Mining>::plain(frames, Revision::Draft).send(&share(sequence_number)).unwrap();
}

fn share(sequence_number: u32) -> SubmitSharesStandard {
    SubmitSharesStandard { channel_id: 1, sequence_number, job_id: 1, nonce: 0, ntime: 0, version: 0 }
}

/// Polls a new future each time and drops it at its await point.
async fn next_fussily<S: Endpoint, T: host::Stream>(
    link: &mut Link<S, Mining, RustCrypto, T>,
) -> Result<Turn, LinkError> {
    poll_fn(|cx| {
        let future = pin!(link.next());
        future.poll(cx)
    })
    .await
}

/// Client: opens, sends `shares` shares as fast as they go, ends when all are acknowledged. Returns the acknowledged count.
async fn mine<T: host::Stream>(mut link: Client<T>, shares: u32) -> Result<u32, LinkError> {
    let (mut sent, mut acknowledged, mut opened) = (0, 0, false);
    loop {
        match next_fussily(&mut link).await? {
            Turn::Event(token) => match link.event(token)? {
                (Event::Secured(_), mut outbound) => outbound.send(&testing::setup::<Mining>()).unwrap(),
                (Event::Opened(_), _) => {
                    opened = true;
                    link.want_room();
                }
                (Event::Message(ToClient::SubmitSharesSuccess(success)), _) => {
                    assert_eq!(success.last_sequence_number, acknowledged, "in order, none twice, none lost");
                    acknowledged += success.new_submits_accepted_count;
                    if acknowledged == shares {
                        link.close();
                    }
                }
                (Event::Message(_), _) => {}
                _ => panic!("unexpected event"),
            },
            Turn::Room => {
                assert!(opened);
                let Some(mut outbound) = link.outbound() else { continue };
                while sent < shares {
                    if outbound.send(&share(sent)).is_err() {
                        link.want_room();
                        break;
                    }
                    sent += 1;
                }
            }
            Turn::Closed => return Ok(acknowledged),
        }
    }
}

/// Server: acknowledges every share on its own. Returns the number of shares and how it ended.
async fn acknowledge<T: host::Stream>(link: &mut Server<T>) -> Result<u32, LinkError> {
    let mut shares = 0;
    loop {
        match next_fussily(link).await? {
            Turn::Event(token) => match link.event(token)? {
                (Event::Message(ToServer::SubmitSharesStandard(share)), mut outbound) => {
                    let success = SubmitSharesSuccess {
                        channel_id: share.channel_id,
                        last_sequence_number: share.sequence_number,
                        new_submits_accepted_count: 1,
                        new_shares_sum: 1,
                    };
                    outbound.send(&success).expect("an answer always has room");
                    shares += 1;
                }
                (Event::Secured(_) | Event::Opened(_), _) => {}
                _ => panic!("unexpected event"),
            },
            Turn::Room => {}
            Turn::Closed => return Ok(shares),
        }
    }
}

/// Both to the opened connection.
async fn opened<T: host::Stream>(lab: &Lab, client: &mut Client<T>, server: &mut Server<T>) {
    async fn open<S: Endpoint, T: host::Stream>(
        link: &mut Link<S, Mining, RustCrypto, T>,
        mut secured: impl FnMut(Outbound<'_, S, Mining>),
    ) {
        loop {
            let Turn::Event(token) = link.next().await.unwrap() else { panic!("no event") };
            match link.event(token).unwrap() {
                (Event::Secured(_), outbound) => secured(outbound),
                (Event::Opened(_), _) => return,
                _ => panic!("unexpected event"),
            }
        }
    }
    let client = open(client, |mut outbound| outbound.send(&testing::setup::<Mining>()).unwrap());
    // The answer to the setup leaves when the server asks for its next event.
    let server = async {
        open(server, |_| {}).await;
        assert!(lab.timeout(Duration::from_millis(1), server.next()).await.is_none());
    };
    zip(client, server).await;
}

fn connection_error(result: Result<impl Sized, LinkError>) -> Error {
    match result.err() {
        Some(error) => match error.cause() {
            LinkCause::Connection(error) => *error,
            other => panic!("no failure of the connection: {other:?}"),
        },
        None => panic!("no failure"),
    }
}

/// Partial reads and writes at every byte, futures dropped at every await point, plain and sealed: nothing is lost, doubled or
/// reordered, and both ends are in order.
#[test]
fn every_chunking_gives_the_same_conversation() {
    run_in_memory(async |lab| {
        for plain in [true, false] {
            for capacity in [1, 2, 7, 64, 1_000, 65_536] {
                let (client, mut server) = pair(&lab, capacity, plain);
                let both = zip(mine(client, 20), acknowledge(&mut server));
                let (acknowledged, shares) = lab.timeout(FOREVER, both).await.expect("no deadlock");
                assert_eq!((acknowledged.unwrap(), shares.unwrap()), (20, 20), "plain {plain}, {capacity} bytes");
                assert_eq!(server.connection().ending(), Some(Ending::Peer));
            }
        }
    });
}

/// One side sends as fast as it can, the other answers everything, and all buffers together hold a few messages.
#[test]
fn two_busy_peers_with_tiny_buffers_do_not_deadlock() {
    run_in_memory(async |lab| {
        for capacity in [16, 300] {
            let (a, b) = duplex(capacity);
            let (client, mut server) = (client(a, tiny(&lab), false), server(b, tiny(&lab), false));
            let both = zip(mine(client, 2_000), acknowledge(&mut server));
            let (acknowledged, shares) = lab.timeout(FOREVER, both).await.expect("no deadlock");
            assert_eq!((acknowledged.unwrap(), shares.unwrap()), (2_000, 2_000));
        }
    });
}

/// An owner who always wants room hears the peer all the same, and one whose peer never stops gets room all the same.
#[test]
fn neither_reading_nor_room_starves_the_other() {
    run_in_memory(async |lab| {
        let (mut client, mut server) = open_pair(&lab, 4_096, true).await;
        let mut frames = Output::new([0; 64]);
        for n in 0..200 {
            server.want_room();
            add_frame(&mut frames, n);
            write_all(client.stream(), frames.filled()).await.unwrap();
            frames.consume(frames.len()).unwrap();
            let turns = [server.next().await.unwrap(), server.next().await.unwrap()];
            let events = turns.iter().filter(|turn| matches!(turn, Turn::Event(_))).count();
            assert_eq!(events, 1, "{turns:?}");
        }
    });
}

/// Frames that are there already need no waiting, and a task runs until it waits: so a link waits now and then all the same.
#[test]
fn a_busy_link_lets_others_have_their_turns() {
    const SHARES: u32 = 1_000;
    run_in_memory(async |lab| {
        let (mut client, mut server) = open_pair(&lab, 65_536, true).await;
        let mut frames = Output::new([0; 64]);
        for n in 0..SHARES {
            add_frame(&mut frames, n);
            write_all(client.stream(), frames.filled()).await.unwrap();
            frames.consume(frames.len()).unwrap();
        }
        let turns = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&turns);
        lab.go(poll_fn(move |cx| {
            counted.fetch_add(1, Relaxed);
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let busy = lab.spawn(async move {
            let before = turns.load(Relaxed);
            for n in 0..SHARES {
                let Turn::Event(token) = server.next().await.unwrap() else { panic!("a share") };
                let (Event::Message(ToServer::SubmitSharesStandard(share)), _) = server.event(token).unwrap() else {
                    panic!("a share")
                };
                assert_eq!(share.sequence_number, n);
            }
            turns.load(Relaxed) - before
        });
        let others = join(busy).await;
        assert!(others >= SHARES / 100, "{others}");
    });
}

/// A stream from which there is always more to read, and of which a task that reads too much of it in one go is told.
#[derive(Debug, Default)]
struct Endless(u32);

impl host::Stream for Endless {
    fn poll_read(&mut self, _: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0 += 1;
        assert!(self.0 < 10_000, "nobody else has had a turn");
        space.fill(0xff);
        Poll::Ready(Ok(space.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What is read of a peer after the end of our half is nobody's, and comes without an event: however much a peer sends then, a task that
/// drops it lets others have their turns.
#[test]
fn a_closed_link_whose_peer_never_stops_lets_others_have_their_turns() {
    run_in_memory(async |lab| {
        let mut server = server(Endless::default(), lab.settings(), true);
        server.close();
        for _ in 0..3 {
            server.stream().0 = 0;
            assert!(poll_once(server.next()).await.is_none());
            assert!(server.stream().0 > 0, "it goes on reading");
        }
    });
}

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

/// A record of full length is taken with the settings that servers have.
#[test]
fn records_of_full_length_are_taken() {
    run_in_memory(async |lab| {
        const FULL: usize = 65_519;
        let (a, b) = duplex(4_096);
        let (mut client, mut server) =
            (client(a, lab.settings().with_large_output(), false), server(b, lab.settings(), false));
        opened(&lab, &mut client, &mut server).await;
        let fill = vec![0; FULL - 6];
        let unknown = Header::new(0x4001, false, 1, fill.len()).unwrap();
        let sending = async {
            let mut filled = false;
            client.want_room();
            loop {
                match client.next().await.unwrap() {
                    Turn::Event(_) => client.close(),
                    Turn::Room => {
                        // The first try says how much room it takes.
                        let mut send = || client.outbound().unwrap().send_extension(unknown, &fill);
                        if filled {
                            client.outbound().unwrap().send(&share(0)).unwrap();
                        } else {
                            filled = send().or_else(|_| send()).is_ok();
                            client.want_room();
                        }
                    }
                    Turn::Closed => break,
                }
            }
        };
        let (shares, ()) = zip(acknowledge(&mut server), sending).await;
        assert_eq!(shares.unwrap(), 1);
    });
}

/// Unasked messages use the room of one buffer only; the second is for answers.
#[test]
fn unasked_messages_leave_room_for_answers() {
    run_in_memory(async |lab| {
        let (client, mut server) = open_pair(&lab, 64, true).await;
        let target = SetTarget { channel_id: 1, maximum_target: U256::MAX };
        let mut outbound = server.outbound().unwrap();
        while outbound.send(&target).is_ok() {}
        // Shares come while nothing leaves: they are answered.
        let mut frames = Output::new([0; 2_048]);
        for n in 0..40 {
            add_frame(&mut frames, n);
        }
        // Nobody reads the answers.
        let mut to_server = client.into_stream();
        let (_, answered) =
            zip(write_all(&mut to_server, frames.filled()), lab.timeout(FOREVER, acknowledge(&mut server))).await;
        assert!(matches!(answered.unwrap().unwrap_err().cause(), LinkCause::Stalled(Stall::Reading)));
        assert_eq!(server.held().1, 2 * server.settings().output.length());
        assert!(server.outbound().is_none(), "no unasked message may take that room");
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

#[test]
fn frames_above_the_rate_wait_and_are_not_lost() {
    run_in_memory(async |lab| {
        let (a, b) = duplex(4_096);
        let frames = Some(Rate { per_second: 10, burst: 5 });
        let (client, mut server) =
            (client(a, lab.settings(), true), server(b, LinkSettings { frames, ..lab.settings() }, true));
        let (acknowledged, shares) = zip(mine(client, 45), acknowledge(&mut server)).await;
        assert_eq!((acknowledged.unwrap(), shares.unwrap()), (45, 45));
        assert_eq!(lab.now().as_micros() / 1_000_000, 4, "five at once, forty at ten a second");
    });
}

/// An open connection at rest holds no buffer and no timer; what it does hold is printed.
#[test]
fn a_link_at_rest_holds_no_buffer_and_no_timer() {
    run_in_memory(async |lab| {
        let (_client, mut server) = open_pair(&lab, 4_096, false).await;
        assert!(lab.timeout(Duration::from_millis(1), server.next()).await.is_none());
        assert_eq!(server.held(), (0, 0));
        assert_eq!((server.settings().input.unused(), server.settings().output.unused()), (1, 1));
        assert!(format!("{server:?}").contains("armed: false"), "{server:?}");
        let link = size_of_val(&server);
        let future = size_of_val(&server.next());
        println!("link {link} bytes, its future {future}, a TCP stream {}", size_of::<Stream>());
        assert!(link <= 1_536 && future <= 32, "{link}, {future}");
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
