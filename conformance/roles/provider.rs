//! A provider and its clients over loopback and Noise. One text for all runtimes of computers, which include it as their tests: what they
//! differ in is their `testing` module.

use std::{net::SocketAddr, time::Duration};

use adit::{
    connection::{Ending, Event},
    crypto::RustCrypto,
    frame::Header,
    message::template::{RequestTransactionData, ToClient},
    mining::target::Target,
    protocol::{Initiator, TemplateDistribution},
    storage::Heap,
    template::{
        Constraints, Template, TemplateClient,
        book::Basis,
        client::{Found, TemplateEvent},
        coinbase::{Coinbase, Payout},
    },
};

use super::{PLACES, ProviderEvent, Transactions};
use crate::{
    gate::GateConfig,
    link::{Link, LinkError, LinkSettings, Turn},
    testing::{Lab, Stream, WALL, house::Node, join, or, run, run_still, setup, tcp, yield_now, zip},
};

/// Every hash is a block.
fn new_tip(node: &Node, n: u8, transactions: Transactions) -> u64 {
    node.new_tip_with(n, Target::MAX, transactions)
}

struct Pool {
    link: Link<Initiator, TemplateDistribution, RustCrypto, Stream>,
    client: TemplateClient<Heap>,
}

impl Pool {
    async fn connect(lab: &Lab, address: SocketAddr, size: u32) -> Self {
        Self::connect_with(lab, address, size, lab.settings().with_large_input()).await
    }

    async fn connect_with(lab: &Lab, address: SocketAddr, size: u32, settings: LinkSettings) -> Self {
        let link = lab.connect(address, settings).await;
        let constraints = Constraints { max_additional_size: size, max_additional_sigops: 1 };
        Self { link, client: TemplateClient::new(constraints) }
    }

    /// Runs until `wanted` finds something in an event; `None` when the link closed in order.
    async fn until<T>(
        &mut self,
        mut wanted: impl FnMut(&TemplateEvent<'_>) -> Option<T>,
    ) -> Result<Option<T>, LinkError> {
        let mut open = self.link.connection().state() == adit::connection::State::Open;
        loop {
            if open
                && self.client.is_dirty()
                && let Some(mut out) = self.link.outbound()
                && self.client.poll_outbound(&mut out).is_err()
            {
                self.link.want_room();
            }
            let token = match self.link.next().await? {
                Turn::Event(token) => token,
                Turn::Room => continue,
                Turn::Closed => return Ok(None),
            };
            let now = self.link.clock().now();
            match self.link.event(token)? {
                (Event::Secured(_), mut out) => out.send(&setup::<TemplateDistribution>()).unwrap(),
                (Event::Opened(_), _) => open = true,
                (Event::Message(message), _) => {
                    let event = self.client.handle(now, message).unwrap();
                    if let Some(found) = wanted(&event) {
                        return Ok(Some(found));
                    }
                }
                _ => panic!("unexpected event"),
            }
        }
    }

    async fn tip(&mut self) -> u64 {
        let tip = |event: &TemplateEvent<'_>| match event {
            TemplateEvent::Tip { template_id } => Some(*template_id),
            _ => None,
        };
        self.until(tip).await.unwrap().expect("a tip")
    }

    /// Sends what there is to send, and waits until it has left. Nothing else comes meanwhile that would matter.
    async fn flush(&mut self) {
        let sent = self.client.poll_outbound(&mut self.link.outbound().unwrap());
        sent.unwrap();
        self.link.want_room();
        loop {
            match self.link.next().await.unwrap() {
                Turn::Room => return,
                Turn::Event(token) => {
                    let now = self.link.clock().now();
                    let (Event::Message(message), _) = self.link.event(token).unwrap() else { panic!("another event") };
                    self.client.handle(now, message).unwrap();
                }
                Turn::Closed => panic!("closed"),
            }
        }
    }

    /// Finds a block on the best template; with this target every hash is one.
    fn find(&mut self) {
        self.find_by(7);
    }

    /// As [`find`](Self::find), with this nonce.
    fn find_by(&mut self, nonce: u32) {
        let best: &Template<Heap> = self.client.best().expect("a template");
        let payout = Payout { script_pubkey: &[0x51], weight: 1 };
        let plan = Coinbase::new(best.coinbase(), [payout], b"", 4).unwrap();
        let (mut prefix, mut suffix) = (vec![0; plan.prefix_len()], vec![0; plan.suffix_len()]);
        plan.write_prefix(&mut prefix).unwrap();
        plan.write_suffix(&mut suffix).unwrap();
        let found = Found {
            template_id: best.id(),
            prev_hash: self.client.tip().expect("a tip").0.prev_hash,
            version: best.version(),
            header_timestamp: WALL.as_secs(),
            header_nonce: nonce,
            coinbase_prefix: &prefix,
            extranonce: [&[1, 2, 3], &[4]],
            coinbase_suffix: &suffix,
            witness: best.has_witness(),
        };
        self.client.submit(&found).unwrap();
    }
}

#[test]
fn templates_reach_every_client_and_blocks_the_owner() {
    run(async |lab| {
        let mut node = lab.node(0, 1);
        new_tip(&node, 1, Transactions::default());
        let mut pools = [Pool::connect(&lab, node.address, 10).await, Pool::connect(&lab, node.address, 20).await];
        for pool in &mut pools {
            assert_eq!(pool.tip().await, 1);
        }
        // News wake the tasks of both.
        let next = new_tip(&node, 2, Transactions::default());
        for pool in &mut pools {
            assert_eq!(pool.tip().await, next);
        }
        assert_eq!((node.handle.connections(), node.handle.constraints().max_additional_size), (2, 20));
        assert!(matches!(
            (node.event().await, node.event().await),
            (ProviderEvent::Connected(_), ProviderEvent::Connected(_))
        ));
        pools[1].find();
        let (sent, event) = zip(lab.timeout(Duration::from_secs(60), pools[1].until(|_| Some(()))), async {
            let event = node.event().await;
            // Ends the wait of the pool.
            new_tip(&node, 3, Transactions::default());
            event
        })
        .await;
        sent.unwrap().unwrap().unwrap();
        let ProviderEvent::Solution(found) = event else { panic!("{event:?}") };
        assert_eq!((found.template_id, found.stale, found.breach), (next, false, None));
        assert_eq!(found.header[4..36], [2; 32]);
        let peer = found.peer;
        drop(pools);
        let mut gone = [node.event().await, node.event().await];
        gone.sort_by_key(|event| *event != ProviderEvent::Disconnected(peer));
        assert_eq!(gone[0], ProviderEvent::Disconnected(peer));
        assert!(matches!(gone[1], ProviderEvent::Disconnected(_)));
        assert_eq!(node.handle.connections(), 0);
    });
}

/// Transactions of a few megabytes pass; a client that cannot take them has its link ended by its own limit, the provider lives on.
#[test]
fn transactions_are_sent_when_asked_for() {
    run(async |lab| {
        let node = lab.node(0, 1);
        let transactions: Vec<_> = (0..30u8).map(|n| vec![n; 100_000]).collect();
        let id = new_tip(&node, 1, Transactions { excess_data: vec![9], transactions: transactions.clone() });
        let mut pool = Pool::connect(&lab, node.address, 10).await;
        pool.tip().await;
        for wanted in [id, 77] {
            pool.client.request_transactions(wanted);
            let answer = |event: &TemplateEvent<'_>| match event {
                TemplateEvent::Transactions(message) => {
                    Some(message.transaction_list.iter().map(|transaction| transaction.as_bytes().to_vec()).collect())
                }
                TemplateEvent::NoTransactions(message) => {
                    assert_eq!(message.template_id, 77);
                    Some(Vec::new())
                }
                _ => None,
            };
            let answer: Vec<Vec<u8>> = pool.until(answer).await.unwrap().unwrap();
            assert_eq!(answer, if wanted == id { transactions.clone() } else { Vec::new() });
        }
        // What no template needs any more is gone.
        new_tip(&node, 2, Transactions::default());
        new_tip(&node, 3, Transactions::default());
        assert!(node.handle.transactions(id).is_none());
    });
}

/// Questions are bounded: a client that asks and does not read its megabytes is dropped.
#[test]
fn a_client_that_asks_and_does_not_read_is_dropped() {
    run_still(async |lab| {
        let mut node = lab.node(0, 1);
        let id = new_tip(&node, 1, Transactions { excess_data: vec![], transactions: vec![vec![0; 8 << 20]] });
        let mut pool = Pool::connect(&lab, node.address, 10).await;
        pool.tip().await;
        let mut out = pool.link.outbound().unwrap();
        for _ in 0..20 {
            out.send(&RequestTransactionData { template_id: id }).unwrap();
        }
        let _stuck = lab.timeout(Duration::from_millis(1), pool.link.next()).await;
        assert!(matches!(node.event().await, ProviderEvent::Connected(_)));
        assert!(matches!(node.event().await, ProviderEvent::Disconnected(_)));
    });
}

#[test]
fn the_owner_hears_what_room_a_template_must_leave() {
    run(async |lab| {
        let node = lab.node(0, 1);
        let mut wanted = node.handle.wanted();
        new_tip(&node, 1, Transactions::default());
        let mut pool = Pool::connect(&lab, node.address, 500).await;
        let served = async {
            wanted.wait_for(Option::is_some).await.unwrap();
            let need = *wanted.borrow();
            let id = node
                .handle
                .new_template(&Node::template(Basis::Tip, need.unwrap().max_additional_size), Transactions::default());
            (need.unwrap().max_additional_size, id.unwrap())
        };
        let ((need, id), tip) = zip(served, pool.tip()).await;
        assert_eq!((need, tip), (500, id));
        wanted.wait_for(Option::is_none).await.unwrap();
    });
}

/// D-TDP-5
#[test]
fn room_is_free_again_when_its_client_has_left() {
    run(async |lab| {
        let node = lab.node(0, 1);
        let mut wanted = node.handle.wanted();
        new_tip(&node, 1, Transactions::default());
        let mut pool = Pool::connect(&lab, node.address, 500).await;
        let served = async {
            let id = pool.tip().await;
            panic!("template {id} has no room for it")
        };
        or(served, async { assert!(wanted.wait_for(Option::is_some).await.is_ok()) }).await;
        assert_eq!(node.handle.constraints().max_additional_size, 500);
        drop(pool);
        wanted.wait_for(Option::is_none).await.unwrap();
        assert_eq!(node.handle.constraints().max_additional_size, 0);
    });
}

/// D-TDP-1, and nobody else notices.
#[test]
fn a_client_that_breaks_a_rule_is_dropped_alone() {
    run(async |lab| {
        let mut node = lab.node(0, 1);
        new_tip(&node, 1, Transactions::default());
        let mut good = Pool::connect(&lab, node.address, 10).await;
        good.tip().await;
        let mut bad = lab.connect::<TemplateDistribution>(node.address, lab.settings()).await;
        let end = loop {
            let token = match bad.next().await {
                Ok(Turn::Event(token)) => token,
                Ok(Turn::Room) => continue,
                end => break end,
            };
            match bad.event(token).unwrap() {
                (Event::Secured(_), mut out) => out.send(&setup::<TemplateDistribution>()).unwrap(),
                (Event::Opened(_), mut out) => out.send(&RequestTransactionData { template_id: 1 }).unwrap(),
                _ => panic!("no answer to that"),
            }
        };
        assert!(!matches!(end, Ok(Turn::Event(_))));
        for _ in 0..2 {
            assert!(matches!(node.event().await, ProviderEvent::Connected(_)));
        }
        assert!(matches!(node.event().await, ProviderEvent::Disconnected(_)));
        let next = new_tip(&node, 2, Transactions::default());
        assert_eq!(good.tip().await, next);
    });
}

/// A block that was sent before the shutdown is not lost, and links end in order.
#[test]
fn a_shutdown_takes_what_has_arrived_and_closes_in_order() {
    run(async |lab| {
        let mut node = lab.node(0, 1);
        new_tip(&node, 1, Transactions::default());
        let mut pool = Pool::connect(&lab, node.address, 10).await;
        pool.tip().await;
        pool.find();
        let mut out = pool.link.outbound().unwrap();
        pool.client.poll_outbound(&mut out).unwrap();
        pool.link.want_room();
        assert!(matches!(pool.link.next().await, Ok(Turn::Room)), "the block is on its way");
        node.shutdown.start(Duration::from_secs(60));
        let end = pool.until(|event| panic!("{event:?}") as Option<()>).await;
        assert!(end.unwrap().is_none());
        assert_eq!(pool.link.connection().ending(), Some(Ending::Peer));
        join(&mut node.server).await.unwrap();
        assert!(matches!(node.event().await, ProviderEvent::Connected(_)));
        assert!(matches!(node.event().await, ProviderEvent::Solution(_)));
        assert!(matches!(node.event().await, ProviderEvent::Disconnected(_)));
    });
}

/// Where blocks cost no work a client can send as many as it likes: only so many of them wait for the owner's verdict, the others in the client's
/// socket; other clients do not notice, and none is lost.
#[test]
fn a_client_that_floods_with_blocks_waits_for_itself_alone() {
    const FLOOD: u32 = 10 * PLACES as u32;
    run(async |lab| {
        let mut node = lab.node(0, 1);
        new_tip(&node, 1, Transactions::default());
        let mut flooder = Pool::connect(&lab, node.address, 10).await;
        flooder.tip().await;
        let mut honest = Pool::connect(&lab, node.address, 10).await;
        honest.tip().await;
        for _ in 0..2 {
            assert!(matches!(node.event().await, ProviderEvent::Connected(_)));
        }
        let flood = async {
            for nonce in 0..FLOOD {
                flooder.find_by(nonce);
                flooder.flush().await;
            }
        };
        let mut waiting = Vec::new();
        let judge = async {
            while waiting.len() < PLACES {
                waiting.push(node.events.recv().await.expect("the provider lives"));
            }
            let more = lab.timeout(Duration::from_millis(100), node.events.recv()).await;
            assert!(more.is_none(), "nothing was judged, so no more come");
            // Another one's block is heard at once, and both hear of a new tip.
            honest.find();
            honest.flush().await;
            let heard = node.events.recv().await.expect("the provider lives");
            let ProviderEvent::Solution(found) = heard.event else { panic!("{:?}", heard.event) };
            assert!(
                waiting
                    .iter()
                    .all(|heard| matches!(&heard.event, ProviderEvent::Solution(other) if other.peer != found.peer))
            );
            let next = new_tip(&node, 2, Transactions::default());
            assert_eq!(honest.tip().await, next);
            // A verdict at a time.
            let mut judged = 0;
            while judged < FLOOD {
                drop(waiting.pop().expect("some wait"));
                judged += 1;
                if judged + PLACES as u32 <= FLOOD {
                    let heard = node.events.recv().await.expect("the provider lives");
                    assert!(matches!(&heard.event, ProviderEvent::Solution(_)));
                    waiting.push(heard);
                }
            }
        };
        zip(flood, judge).await;
        assert_eq!(flooder.tip().await, 2);
    });
}

/// A link that is closing has nothing more to say, and what waits in it still leaves, whatever there is to tell meanwhile.
#[test]
fn news_during_a_shutdown_cut_off_nobody() {
    run_still(async |lab| {
        let node = lab.node(0, 1);
        let id = new_tip(&node, 1, Transactions { excess_data: vec![], transactions: vec![vec![7; 8 << 20]] });
        let mut pool = Pool::connect(&lab, node.address, 10).await;
        pool.tip().await;
        pool.link.outbound().unwrap().send(&RequestTransactionData { template_id: id }).unwrap();
        pool.link.want_room();
        assert!(matches!(pool.link.next().await, Ok(Turn::Room)), "the question is on its way");
        lab.sleep(Duration::from_millis(1)).await;
        node.shutdown.start(Duration::from_secs(60));
        lab.sleep(Duration::from_millis(1)).await;
        new_tip(&node, 2, Transactions::default());
        lab.sleep(Duration::from_millis(1)).await;
        let mut sizes = Vec::new();
        let end = loop {
            let token = match pool.link.next().await {
                Ok(Turn::Event(token)) => token,
                Ok(Turn::Room) => continue,
                end => break end,
            };
            if let (Event::Message(ToClient::RequestTransactionDataSuccess(answer)), _) =
                pool.link.event(token).unwrap()
            {
                sizes.extend(answer.transaction_list.iter().map(|transaction| transaction.as_bytes().len()));
            }
        };
        assert!(matches!(end, Ok(Turn::Closed)), "{end:?}");
        assert_eq!(sizes, [8 << 20]);
    });
}

/// Strangers that connect and say nothing hold places for the handshake's time limit, and then no more.
#[test]
fn half_open_handshakes_hold_others_back_until_their_time_is_up() {
    run_still(async |lab| {
        let node = lab.node_with(0, 1, GateConfig { handshakes: 2, ..GateConfig::default() });
        new_tip(&node, 1, Transactions::default());
        let silent = [tcp(node.address).await.unwrap(), tcp(node.address).await.unwrap()];
        while node.gate.counts().handshakes < 2 {
            yield_now().await;
        }
        let begin = lab.now();
        // A client has the same limit, so it must come a little later than they.
        lab.sleep(Duration::from_secs(5)).await;
        let mut pool = Pool::connect(&lab, node.address, 10).await;
        assert_eq!(pool.tip().await, 1);
        let waited = lab.since(begin);
        assert!(Duration::from_secs(14) <= waited && waited <= Duration::from_secs(16), "{waited:?}");
        assert_eq!(node.gate.counts().open, 1);
        drop(silent);
    });
}

/// A provider sends megabytes, but nobody makes it take any in: no message of a client is that long.
#[test]
fn a_client_cannot_make_the_provider_buffer_megabytes() {
    run(async |lab| {
        let node = lab.node_with(0, 1, GateConfig::default());
        new_tip(&node, 1, Transactions::default());
        let mut greedy = Pool::connect_with(&lab, node.address, 10, lab.settings().with_large_output()).await;
        greedy.tip().await;
        let payload = vec![0; 1 << 20];
        let unknown = Header::new(0x4001, false, 1, payload.len()).unwrap();
        // The first try says how much room it takes.
        assert!(greedy.link.outbound().unwrap().send_extension(unknown, &payload).is_err());
        greedy.link.outbound().unwrap().send_extension(unknown, &payload).unwrap();
        assert!(greedy.until(|_| None::<()>).await.is_err(), "it is cut off");
        while node.gate.counts().open > 0 {
            yield_now().await;
        }
    });
}

/// Full is full: the next connection is closed at once and counted, the others go on.
#[test]
fn connections_above_the_limit_are_closed_at_once() {
    run(async |lab| {
        let node = lab.node_with(0, 1, GateConfig { connections: 2, ..GateConfig::default() });
        new_tip(&node, 1, Transactions::default());
        let mut pools = [Pool::connect(&lab, node.address, 10).await, Pool::connect(&lab, node.address, 10).await];
        for pool in &mut pools {
            pool.tip().await;
        }
        let mut third = Pool::connect(&lab, node.address, 10).await;
        assert!(third.until(|_| Some(())).await.is_err(), "the handshake is cut");
        assert_eq!((node.gate.counts().open, node.gate.counts().refused_full), (2, 1));
        let next = new_tip(&node, 2, Transactions::default());
        for pool in &mut pools {
            assert_eq!(pool.tip().await, next);
        }
    });
}
