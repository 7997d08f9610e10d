//! A template client's connection by itself, polled by hand: what its task costs, and what a client can do to it and to others.

use core::net::Ipv4Addr;
use std::{
    boxed::Box,
    future::Future,
    mem::size_of_val,
    pin::Pin,
    task::{Context, Poll, Waker},
    thread,
};

use super::*;
use crate::{
    buffer::Output,
    connection::{Outbound, SetupPolicy},
    crypto::RustCrypto,
    host::{
        testing::{Client, Memory, Still, connection_of, responder, settings},
        wake::Signal,
    },
    link::Turn,
    message::{
        CurrentOnly,
        template::{CoinbaseOutputConstraints, RequestTransactionData, SubmitSolution, ToServer},
    },
    protocol::TemplateDistribution,
    template::{book::Basis, testing},
    time::Instant,
    wire::{B064K, Revision},
};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The task of a client's connection with room for `capacity` bytes in either direction.
fn task(
    handle: &ProviderHandle<Still>,
    capacity: usize,
) -> (impl Future<Output = ()> + Send + use<>, Arc<Signal>, Client<TemplateDistribution>) {
    task_of(handle, Ipv4Addr::LOCALHOST, capacity)
}

/// As [`task`], of a client at this address.
fn task_of(
    handle: &ProviderHandle<Still>,
    address: Ipv4Addr,
    capacity: usize,
) -> (impl Future<Output = ()> + Send + use<>, Arc<Signal>, Client<TemplateDistribution>) {
    let (accepted, link) = connection_of::<TemplateDistribution>(address, capacity);
    let (signal, shared) = (Arc::<Signal>::default(), Arc::clone(&handle.shared));
    let responder = responder(SetupPolicy::new(0));
    let task = client::run::<RustCrypto, Memory>(accepted, Arc::clone(&signal), responder, settings(), shared);
    (task, signal, link)
}

/// Room for so many bytes of outputs.
fn wish(size: u32) -> CoinbaseOutputConstraints {
    CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: size,
        coinbase_output_max_additional_sigops: CurrentOnly::absent(),
    }
}

/// A template on which every hash is a block.
fn new_tip(handle: &ProviderHandle<Still>) -> u64 {
    let prefix = testing::coinbase(7);
    let template = NewTemplate {
        basis: Basis::Next,
        version: 0x2000_0000,
        coinbase: testing::fields(&prefix),
        merkle_path: &[],
        room: testing::ROOM,
    };
    let id = handle.new_template(&template, Transactions::default()).unwrap();
    handle.new_tip(id, testing::tip(1)).unwrap();
    id
}

/// A client that finds blocks, and the provider's task for it.
struct Finder {
    link: Client<TemplateDistribution>,
    server: Task,
}

impl Finder {
    fn connect(handle: &ProviderHandle<Still>, address: u8) -> Self {
        let (server, _, mut link) = task_of(handle, Ipv4Addr::new(192, 0, 2, address), 1 << 14);
        let mut server: Task = Box::pin(server);
        link.open(&mut Context::from_waker(Waker::noop()), server.as_mut());
        link.outbound().unwrap().send(&wish(10)).unwrap();
        Self { link, server }
    }

    /// Sends so many solutions, as far as they are taken; gives what is heard of it.
    fn find(&mut self, count: usize, template_id: u64, events: &mut queue::Receiver<Heard>) -> Vec<Heard> {
        let coinbase = testing::coinbase_tx(&[0x51]);
        let solution = SubmitSolution {
            template_id,
            version: 0x2000_0000,
            header_timestamp: 1_000_000,
            header_nonce: 7,
            coinbase_tx: B064K::new(&coinbase),
        };
        let mut cx = Context::from_waker(Waker::noop());
        let (mut sent, mut heard) = (0, Vec::new());
        for _ in 0..4 * PLACES {
            if let Some(mut out) = self.link.outbound() {
                while sent < count && out.send(&solution).is_ok() {
                    sent += 1;
                }
            }
            self.link.want_room();
            while let Poll::Ready(turn) = self.link.poll_next(&mut cx) {
                if let Turn::Event(token) = turn.unwrap() {
                    let _news = self.link.event(token).unwrap();
                }
            }
            assert!(self.server.as_mut().poll(&mut cx).is_pending());
            while let Some(news) = events.try_recv() {
                heard.extend(matches!(news.event, ProviderEvent::Solution(_)).then_some(news));
            }
        }
        heard
    }
}

/// D-TDP-18: while nobody judges them, the solutions of a client that comes again and again, each time under another port, take places from no client
/// of another address; and what it goes on to send waits for a verdict.
#[test]
fn who_comes_again_and_again_leaves_places_to_others() {
    const TIMES: usize = 12;
    let (handle, mut events) = ProviderHandle::new(Still, 1, 64);
    let id = new_tip(&handle);
    let mut waiting = Vec::new();
    for _ in 0..TIMES {
        waiting.extend(Finder::connect(&handle, 1).find(4 * PLACES, id, &mut events));
    }
    assert!((PLACES..=PLACES_OF_ALL / 2 + TIMES).contains(&waiting.len()), "{} wait", waiting.len());
    let heard = Finder::connect(&handle, 2).find(1, id, &mut events);
    assert_eq!(heard.len(), 1, "another's is heard at once");
    let mut flooder = Finder::connect(&handle, 1);
    assert_eq!(flooder.find(PLACES, id, &mut events).len(), 0);
    waiting.clear();
    assert_eq!(flooder.find(0, id, &mut events).len(), PLACES, "none is lost");
}

/// Most of what an idle connection costs, as for a pool's devices.
#[test]
fn the_task_of_a_connection_is_small() {
    let (handle, _events) = ProviderHandle::new(Still, 1, 16);
    let (task, ..) = task(&handle, 64);
    let size = size_of_val(&task);
    assert!(size <= 1_280, "{size} bytes");
}

/// What a client goes on to send when the shutdown has begun keeps nobody.
#[test]
fn a_client_that_never_stops_sending_does_not_hold_up_the_shutdown() {
    let (handle, _events) = ProviderHandle::new(Still, 1, 16);
    let (server, signal, mut link) = task(&handle, 1 << 14);
    let mut server: Task = Box::pin(server);
    let mut cx = Context::from_waker(Waker::noop());
    link.open(&mut cx, server.as_mut());
    link.outbound().unwrap().send(&wish(10)).unwrap();
    let mut turn = |link: &mut Client<TemplateDistribution>| {
        if let Some(mut out) = link.outbound() {
            while out.send(&RequestTransactionData { template_id: 77 }).is_ok() {}
        }
        // Each is refused.
        while let Poll::Ready(turn) = link.poll_next(&mut cx) {
            match turn {
                Ok(Turn::Event(token)) => drop(link.event(token).unwrap()),
                Ok(Turn::Room) => {}
                Ok(Turn::Closed) | Err(_) => return true,
            }
        }
        // There is always something to read.
        let _end = server.as_mut().poll(&mut cx);
        false
    };
    for _ in 0..10 {
        assert!(!turn(&mut link));
    }
    signal.shut_down();
    assert!((0..2_000).any(|_| turn(&mut link)), "no end");
}

/// Of two changes at the same time the later one is what those who watch see in the end, whichever thread comes first to tell of its own.
#[test]
fn what_is_wanted_is_told_in_the_order_of_the_changes() {
    for _ in 0..20 {
        let (provider, tasks) = (Provider::starting_at(1), Tasks::default());
        let state = Mutex::new(State { provider, tasks, transactions: HashMap::new() });
        let (wanted, events) = (watch::Sender::new(None), queue::channel(1).0);
        let shared = Shared { state, wanted, events, places: Arc::default() };
        let id = shared.with(|state| state.provider.connect(Revision::Draft)).unwrap();
        let ask = || {
            let mut output = Output::new([0; 512]);
            let mut out = Outbound::plain(&mut output, Revision::Draft);
            let wish = ToServer::CoinbaseOutputConstraints(wish(500));
            let asked = shared.with(|state| state.provider.handle(Instant::ORIGIN, id, wish, &mut out).is_ok());
            assert!(asked);
        };
        thread::scope(|scope| {
            // Who looks holds back who tells.
            let look = shared.wanted.borrow();
            scope.spawn(ask);
            while shared.lock().provider.wanted().is_none() {
                thread::yield_now();
            }
            (0..1_000).for_each(|_| thread::yield_now());
            drop(look);
            shared.disconnect(id);
        });
        assert_eq!((*shared.wanted.borrow(), shared.lock().provider.wanted()), (None, None));
    }
}
