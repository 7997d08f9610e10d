//! Links over streams in memory: both sides the core's own.

use super::*;

use adit::buffer::{Input, Output};
use adit::config::{DEVICE_INPUT, DEVICE_OUTPUT};
use core::future::pending;
use core::time::Duration;

use adit::connection::{Ending, Event, Reason, SetupPolicy, State};
use adit::crypto::{ChaChaPolyOnly, RustCrypto};
use adit::error::{Error, PeerError};
use adit::message::common::SetupConnection;
use adit::message::mining::{SubmitSharesStandard, ToClient, ToServer, UpdateChannelError};
use adit::protocol::{Initiator, Mining, Responder};

use crate::clock::sleep_until;
use crate::testing::pipe::{End, pipe};
use crate::testing::{Tasks, WALL, block_on, chopped, initiator, responder};

type Client = Link<Initiator, Mining, RustCrypto<ChaChaPolyOnly>, [u8; DEVICE_INPUT], [u8; DEVICE_OUTPUT], End, End>;
type Server = Link<Responder, Mining, RustCrypto, [u8; DEVICE_INPUT], [u8; DEVICE_OUTPUT], End, End>;

/// Both sides of a connection, and the streams between them.
struct Pair {
    client: Client,
    server: Server,
    up: End,
    down: End,
}

/// `capacity` bytes fit into the stream each way, `piece` pass at once.
fn pair(capacity: usize, piece: usize) -> Pair {
    let (up, down) = (pipe(capacity, piece), pipe(capacity, piece));
    let client = Session::new(
        Connection::initiator(&initiator(), [3; 32], now()),
        Input::new([0; DEVICE_INPUT]),
        Output::new([0; DEVICE_OUTPUT]),
    );
    let server = Session::new(
        Connection::responder(&responder(SetupPolicy::new(0)), [4; 32], now()),
        Input::new([0; DEVICE_INPUT]),
        Output::new([0; DEVICE_OUTPUT]),
    );
    Pair {
        client: Link::new(client, WALL, down.clone(), up.clone(), LinkSettings::DEFAULT),
        server: Link::new(server, WALL, up.clone(), down.clone(), LinkSettings::DEFAULT),
        up,
        down,
    }
}

fn setup() -> SetupConnection<'static> {
    SetupConnection {
        protocol: Mining::NUMBER,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: "10.0.0.2".into(),
        endpoint_port: 3333,
        vendor: "test".into(),
        hardware_version: "".into(),
        firmware: "".into(),
        device_id: "".into(),
    }
}

fn share(sequence_number: u32) -> SubmitSharesStandard {
    SubmitSharesStandard { channel_id: 1, sequence_number, job_id: 2, nonce: 3, ntime: 4, version: 5 }
}

fn answer(n: u32) -> UpdateChannelError<'static> {
    UpdateChannelError { channel_id: n, error_code: "a code that takes some room in the answer".into() }
}

/// A client that sends `count` shares as soon as there is room, and counts the answers in their order.
async fn client(link: &mut Client, count: u32, mut next: impl AsyncFnMut(&mut Client) -> Result<Turn, LinkError>) {
    let (mut sent, mut answered) = (0, 0);
    while answered < count {
        match next(link).await.unwrap() {
            Turn::Event(token) => match link.event(token).unwrap() {
                (Event::Secured(_), mut out) => out.send(&setup()).unwrap(),
                (Event::Opened(_), _) => {}
                (Event::Message(ToClient::UpdateChannelError(message)), _) => {
                    assert_eq!(message.channel_id, answered);
                    answered += 1;
                }
                (event, _) => panic!("{event:?}"),
            },
            Turn::Room => {}
            Turn::Closed => panic!("closed"),
        }
        while link.connection().state() == State::Open && sent < count {
            let Some(mut out) = link.outbound() else { break };
            out.send(&share(sent)).unwrap();
            sent += 1;
        }
    }
    link.close();
    assert!(matches!(next(link).await, Ok(Turn::Closed)));
}

/// A server that answers every share.
async fn server(link: &mut Server, mut next: impl AsyncFnMut(&mut Server) -> Result<Turn, LinkError>) -> u32 {
    let mut seen = 0;
    loop {
        match next(link).await.unwrap() {
            Turn::Event(token) => match link.event(token).unwrap() {
                (Event::Message(ToServer::SubmitSharesStandard(share)), mut out) => {
                    assert_eq!(share.sequence_number, seen);
                    out.send(&answer(seen)).unwrap();
                    seen += 1;
                }
                (Event::Secured(_) | Event::Opened(_), _) => {}
                (event, _) => panic!("{event:?}"),
            },
            Turn::Room => {}
            Turn::Closed => return seen,
        }
    }
}

/// Every size of the stream, and every piece, down to single bytes: nothing is lost, repeated or waits for ever, although both sides fill
/// each other's streams.
#[test]
fn every_chunking_carries_everything() {
    for (capacity, piece) in [(1, 1), (7, 3), (64, 64), (100, 1), (4096, 17), (4096, 4096)] {
        block_on(async {
            let Pair { client: mut ours, server: mut theirs, up, .. } = pair(capacity, piece);
            let mut tasks = Tasks::default();
            tasks.spawn(async {
                client(&mut ours, 40, async |link| link.next().await).await;
                up.end();
                pending::<()>().await;
            });
            let seen = tasks.run(server(&mut theirs, async |link| link.next().await)).await;
            assert_eq!((seen, theirs.connection().ending()), (40, Some(Ending::Peer)), "{capacity} {piece}");
        });
    }
}

/// The future of `next` is dropped at every await of both sides: the outcome is the same.
#[test]
fn dropping_next_at_every_await_loses_nothing() {
    for (capacity, piece) in [(1, 1), (50, 7), (4096, 4096)] {
        block_on(async {
            let Pair { client: mut ours, server: mut theirs, up, .. } = pair(capacity, piece);
            let mut tasks = Tasks::default();
            tasks.spawn(async {
                client(&mut ours, 40, async |link| chopped(async || link.next().await).await).await;
                up.end();
                pending::<()>().await;
            });
            let seen = tasks.run(server(&mut theirs, async |link| chopped(async || link.next().await).await)).await;
            assert_eq!(seen, 40, "{capacity} {piece}");
        });
    }
}

/// Opens both sides.
async fn open(pair: &mut Pair) {
    let Pair { client: ours, server: theirs, .. } = pair;
    let mut tasks = Tasks::default();
    tasks.spawn(async {
        loop {
            match theirs.next().await.unwrap() {
                Turn::Event(token) => drop(theirs.event(token).unwrap()),
                turn => panic!("{turn:?}"),
            }
        }
    });
    let opened = async {
        while ours.connection().state() != State::Open {
            let Turn::Event(token) = ours.next().await.unwrap() else { panic!("no event") };
            if let (Event::Secured(_), mut out) = ours.event(token).unwrap() {
                out.send(&setup()).unwrap();
            }
        }
    };
    tasks.run(opened).await;
}

/// What fails, and after how many seconds.
async fn failure(link: &mut Client) -> (LinkError, u64) {
    let begin = now();
    loop {
        match link.next().await {
            Ok(Turn::Closed) => panic!("closed in order"),
            Ok(_) => {}
            Err(error) => return (error, now().saturating_since(begin).as_secs()),
        }
    }
}

#[test]
fn a_silent_server_costs_the_handshakes_limit() {
    block_on(async {
        let mut pair = pair(4096, 4096);
        let (error, secs) = failure(&mut pair.client).await;
        assert_eq!(error, LinkError::Connection(PeerError::TimedOut(Reason::Handshake).into()));
        assert_eq!(secs, 15);
    });
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    block_on(async {
        let mut pair = pair(2000, 2000);
        open(&mut pair).await;
        for n in 0..3 {
            pair.client.outbound().unwrap().send(&share(n)).unwrap();
        }
        assert!(pair.client.outbound().is_none(), "what is left is for answers");
        assert_eq!(failure(&mut pair.client).await, (LinkError::Stalled(Stall::Reading), 30));
        assert_eq!(pair.up.len(), 3 * (24 + 6 + 18), "it was written, and nobody took it");
    });
}

#[test]
fn a_frame_that_does_not_end_is_given_up() {
    block_on(async {
        let mut pair = pair(2000, 2000);
        open(&mut pair).await;
        // The length of a record, and no record.
        pair.down.write_all(&[40, 0]).await.unwrap();
        assert_eq!(failure(&mut pair.client).await, (LinkError::Stalled(Stall::Writing), 30));
    });
}

#[test]
fn a_broken_stream_and_one_that_ends_inside_a_record_are_told_apart() {
    block_on(async {
        let mut pair = pair(2000, 2000);
        open(&mut pair).await;
        pair.down.cut();
        assert_eq!(failure(&mut pair.client).await.0, LinkError::Read(ErrorKind::ConnectionReset));
    });
    block_on(async {
        let mut pair = pair(2000, 2000);
        open(&mut pair).await;
        pair.down.write_all(&[40, 0, 1]).await.unwrap();
        pair.down.end();
        let (error, _) = failure(&mut pair.client).await;
        assert!(matches!(error, LinkError::Connection(Error::Peer(PeerError::Truncated(_)))), "{error}");
    });
}

/// The peer ended its half while something waits: that is no failure, and what it sent before is heard.
#[test]
fn a_peer_that_ended_is_heard_to_the_end() {
    block_on(async {
        let mut pair = pair(2000, 2000);
        open(&mut pair).await;
        pair.server.outbound().unwrap().send(&answer(9)).unwrap();
        pair.server.close();
        let chopped_server = chopped(async || pair.server.next().await);
        let mut tasks = Tasks::default();
        tasks.spawn(chopped_server);
        let heard = async {
            let Ok(Turn::Event(token)) = pair.client.next().await else { panic!("no event") };
            matches!(pair.client.event(token), Ok((Event::Message(ToClient::UpdateChannelError(_)), _)))
        };
        assert!(tasks.run(heard).await);
        drop(tasks);
        // No room in the stream, so the share waits when the end comes.
        pair.up.write_all(&[0; 2000]).await.unwrap();
        pair.client.outbound().unwrap().send(&share(0)).unwrap();
        pair.down.end();
        let up = pair.up.clone();
        let mut tasks = Tasks::default();
        tasks.spawn(async {
            sleep_until(Some(now().saturating_add(Duration::from_secs(1)))).await;
            up.cut();
        });
        assert!(matches!(tasks.run(pair.client.next()).await, Ok(Turn::Closed)));
        drop(tasks);
        assert_eq!(pair.client.connection().ending(), Some(Ending::Peer));
    });
}
