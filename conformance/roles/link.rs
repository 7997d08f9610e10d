//! Links over streams in memory, with a clock that stands still unless everybody waits. One text for all runtimes of computers, which include
//! it as their tests: what they differ in is their `testing` module.

#[path = "link/ends.rs"]
mod ends;

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
