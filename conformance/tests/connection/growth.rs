//! Large frames and idle connections: storage that grows when a frame needs it, and is given away when nothing waits.

use std::cell::Cell;

use adit::config::ANSWER_ROOM;
use adit::connection::{Event, Progress};
use adit::error::{Error, Misuse, PeerError};
use adit::message::common::SetupConnection;
use adit::message::template::{RequestTransactionData, RequestTransactionDataSuccess, ToClient, ToServer};
use adit::protocol::TemplateDistribution;
use adit::wire::{B016M, B064K, Seq064K};
use adit_conformance::pair::{Pair, PairConfig, WALL};

use crate::talk::setup;

fn setup_template() -> SetupConnection<'static> {
    SetupConnection { protocol: 2, flags: 0, ..setup() }
}

/// A block's transactions, `count` of `size` bytes each.
fn transactions(count: usize, size: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| (0..size).map(|j| (i * 31 + j * 7) as u8).collect()).collect()
}

/// Asks for transaction data of that size through buffers that may grow to `ceiling`. The client's fault, if any, and the error
/// that the server's `send` ended with after the runtime did what the buffer wanted.
fn fetch(config: &PairConfig, data: &[Vec<u8>]) -> (Pair<TemplateDistribution>, bool, Option<Error>) {
    let items: Vec<_> = data.iter().map(|item| B016M::new(item)).collect();
    let answer = RequestTransactionDataSuccess {
        template_id: 9,
        excess_data: B064K::new(b""),
        transaction_list: Seq064K::new(&items),
    };
    let mut pair = Pair::<TemplateDistribution>::new(config);
    let (asked, received, refused) = (Cell::new(false), Cell::new(false), Cell::new(None));
    loop {
        pair.run(
            &mut |event, outbound| match event {
                Event::Secured(_) => outbound.send(&setup_template()).unwrap(),
                Event::Opened(_) => outbound.send(&RequestTransactionData { template_id: 9 }).unwrap(),
                Event::Message(ToClient::RequestTransactionDataSuccess(success)) => {
                    assert_eq!(success, answer);
                    received.set(true);
                }
                other => panic!("{other:?}"),
            },
            &mut |event, _| {
                if let Event::Message(ToServer::RequestTransactionData(_)) = event {
                    asked.set(true);
                }
            },
        );
        if !asked.take() {
            break;
        }
        // What is to be sent is state: the machine tries again after the runtime has made room.
        let server = &mut pair.server.session;
        if server.outbound().send(&answer) == Err(Error::Full) {
            let output = server.buffers().1;
            let wanted = output.wanted();
            assert!(wanted > output.capacity() && output.is_empty());
            output.replace(vec![0; wanted]).unwrap();
        }
        if let Err(error) = server.outbound().send(&answer).or_else(|error| {
            // Sent above already when the buffer was large enough.
            if server.buffers().1.is_empty() { Err(error) } else { Ok(()) }
        }) {
            refused.set(Some(error));
            break;
        }
    }
    (pair, received.get(), refused.get())
}

const MEGABYTES: usize = 4 << 20;

/// D-SEC-17: a frame over 65,519 bytes travels in several records and is joined again.
#[test]
fn a_frame_of_many_records_grows_the_buffers_and_arrives() {
    for (noise, chunk) in [(true, usize::MAX), (true, 1460), (false, 1460)] {
        let base = if noise { PairConfig::default() } else { PairConfig::plain() };
        let config = PairConfig { input: (1024, MEGABYTES), output: (1024, MEGABYTES), chunk, ..base };
        for (count, size) in [(1, 65_490), (1, 65_519), (3, 65_519), (700, 1000)] {
            let data = transactions(count, size);
            let (mut pair, received, refused) = fetch(&config, &data);
            assert_eq!((received, refused, pair.client.error), (true, None, None), "{count} of {size}");
            // The storage grew once, to what the frame needs, and goes back when nothing waits.
            let input = pair.client.session.buffers().0;
            assert!(input.is_empty() && input.capacity() > count * size && input.capacity() < count * size + 70_000);
            assert!(input.replace(vec![]).is_ok() && input.capacity() == 0);
        }
    }
}

/// What does not fit below the ceiling is the sender's misuse and the receiver's fault of the peer.
#[test]
fn the_ceiling_is_never_passed() {
    let data = transactions(100, 1000);
    let config = PairConfig { output: (1024, 50_000), ..PairConfig::default() };
    let (_, received, refused) = fetch(&config, &data);
    assert_eq!((received, refused), (false, Some(Error::Misuse(Misuse::TooLarge))));
    let config = PairConfig { input: (1024, 50_000), output: (1024, MEGABYTES), ..PairConfig::default() };
    let (pair, received, refused) = fetch(&config, &data);
    assert_eq!((received, refused), (false, None));
    assert!(
        matches!(pair.client.error, Some(Error::Peer(PeerError::TooLong { limit: 50_000, .. }))),
        "{:?}",
        pair.client.error
    );
}

/// An idle connection without storage: reading needs a buffer first, sending says how much it wants.
#[test]
fn an_idle_connection_needs_no_storage() {
    let mut pair = Pair::<TemplateDistribution>::new(&PairConfig { input: (1024, 1024), ..PairConfig::default() });
    pair.run(
        &mut |event, outbound| {
            if let Event::Secured(_) = event {
                outbound.send(&setup_template()).unwrap();
            }
        },
        &mut |_, _| (),
    );
    let server = &mut pair.server.session;
    let (input, output) = server.buffers();
    assert!(input.is_empty() && output.is_empty());
    let (lease_in, lease_out) = (input.replace(vec![]).unwrap(), output.replace(vec![]).unwrap());
    assert_eq!(server.advance(pair.now, WALL), Ok(Progress::NeedInput));
    assert!(server.input_space().is_empty());
    // Bytes come: lease storage for them. There is none for an answer yet, so the frame waits.
    pair.client.session.outbound().send(&RequestTransactionData { template_id: 1 }).unwrap();
    let bytes = pair.client.session.output().to_vec();
    server.buffers().0.replace(lease_in).unwrap();
    server.input_space()[..bytes.len()].copy_from_slice(&bytes);
    server.commit_input(bytes.len()).unwrap();
    assert_eq!(server.advance(pair.now, WALL), Ok(Progress::NeedOutput));
    assert_eq!(server.buffers().1.wanted(), ANSWER_ROOM);
    server.buffers().1.replace(lease_out).unwrap();
    assert!(matches!(server.advance(pair.now, WALL), Ok(Progress::Event(_))));
    assert_eq!(server.advance(pair.now, WALL), Ok(Progress::NeedInput));
    assert!(server.buffers().0.is_empty());
}
