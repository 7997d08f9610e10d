//! Template distribution: a client and a server of the core, from the constraints to a found block.

use adit::connection::{Event, Outbound};
use adit::message::common::SetupConnection;
use adit::mining::target::Target;
use adit::protocol::{Initiator, Protocol, Responder, TemplateDistribution};
use adit::storage::Heap;
use adit::template::book::Basis;
use adit::template::client::{Found, TemplateEvent};
use adit::template::coinbase::{Coinbase, MAX_PREFIX_LEN, Payout, TemplateCoinbase};
use adit::template::server::Request;
use adit::template::{Constraints, TemplateBook, TemplateClient, TemplateServer, Tip};
use adit::time::Instant;
use adit::wire::{B016M, Revision, U256};
use adit_conformance::conversation::{
    Conversation, have, try_cuts, try_every_chunking, try_flips, try_flips_on_plain_link,
};
use adit_conformance::pair::PairConfig;

type Client<'o> = Outbound<'o, Initiator, TemplateDistribution>;
type Server<'o> = Outbound<'o, Responder, TemplateDistribution>;

const NOW: Instant = Instant::from_secs(100);
const SCRIPT: [u8; 22] = [0x51; 22];
const PAYOUT: Payout<'static> = Payout { script_pubkey: &SCRIPT, weight: 1 };
const NEED: Constraints = Constraints { max_additional_size: 31, max_additional_sigops: 0 };

/// A provider with one template and then another; a pool that asks for transactions and finds a block. On a plain link anything may come:
/// what makes no sense is noted.
struct Talk {
    client: TemplateClient<Heap>,
    server: TemplateServer,
    book: TemplateBook<Heap>,
    /// Bytes of the template's transactions.
    transactions: Vec<Vec<u8>>,
    /// What the pool learned, in order.
    learned: Vec<String>,
    solved: bool,
}

fn tip(n: u8) -> Tip {
    Tip { prev_hash: [n; 32], header_timestamp: 1_790_000_000, n_bits: 0x207f_ffff, target: Target::MAX }
}

impl Talk {
    fn new(revision: Revision, sizes: &[usize]) -> Self {
        let mut talk = Self {
            client: TemplateClient::new(NEED),
            server: TemplateServer::new(revision),
            book: TemplateBook::default(),
            transactions: sizes.iter().zip(1..).map(|(size, n)| vec![n; *size]).collect(),
            learned: vec![],
            solved: false,
        };
        talk.next_tip(1);
        talk
    }

    fn next_tip(&mut self, n: u8) {
        let coinbase = TemplateCoinbase {
            tx_version: 2,
            script_prefix: &[1, n],
            input_sequence: u32::MAX,
            value_remaining: 5_000_000_000,
            outputs_count: 0,
            outputs: &[],
            lock_time: 0,
        };
        let path = [U256([7; 32]), U256([8; 32])];
        let id = self.book.add(Basis::Next, 0x2000_0000, &coinbase, &path, NEED).expect("taken");
        self.book.set_tip(NOW, id, tip(n)).expect("a future template");
    }

    /// Every hash is a block, so any nonce will do.
    fn solve(&mut self, template_id: u64) {
        let Some((template, _)) = self.client.template(template_id) else { return };
        let Ok(plan) = Coinbase::new(template.coinbase(), [PAYOUT], b"/test/", 8) else { return };
        let (mut prefix, mut suffix) = ([0; MAX_PREFIX_LEN], vec![0; plan.suffix_len()]);
        let prefix_len = plan.write_prefix(&mut prefix).expect("room");
        plan.write_suffix(&mut suffix).expect("room");
        let found = Found {
            template_id,
            prev_hash: self.book.tip().expect("set by now").prev_hash,
            version: 0x2000_0000,
            header_timestamp: 1_790_000_000,
            header_nonce: 42,
            coinbase_prefix: &prefix[..prefix_len],
            extranonce: [&[1, 2, 3, 4], &[5, 6, 7, 8]],
            coinbase_suffix: &suffix,
            witness: false,
        };
        self.client.submit(&found).expect("room");
    }
}

impl Conversation for Talk {
    type Protocol = TemplateDistribution;

    fn on_client(&mut self, event: &Event<'_, Initiator, TemplateDistribution>, out: &mut Client<'_>) {
        match event {
            Event::Secured(_) => {
                let setup = SetupConnection {
                    protocol: TemplateDistribution::NUMBER,
                    min_version: 2,
                    max_version: 2,
                    flags: 0,
                    endpoint_host: "node.example".into(),
                    endpoint_port: 8_442,
                    vendor: "adit".into(),
                    hardware_version: "test".into(),
                    firmware: "".into(),
                    device_id: "".into(),
                };
                return out.send(&setup).expect("room");
            }
            Event::Opened(_) => {}
            Event::Message(message) => match self.client.handle(NOW, *message) {
                Ok(TemplateEvent::Template { id, future }) => self.learned.push(format!("template {id} {future}")),
                Ok(TemplateEvent::Tip { template_id: 1 }) => self.client.request_transactions(1),
                Ok(TemplateEvent::Tip { template_id }) => self.learned.push(format!("tip of {template_id}")),
                Ok(TemplateEvent::Transactions(message)) => {
                    let sizes: Vec<_> = message.transaction_list.iter().map(|tx| tx.len()).collect();
                    let whole = message
                        .transaction_list
                        .iter()
                        .map(|tx| tx.as_bytes().to_vec())
                        .eq(self.transactions.iter().cloned())
                        && message.excess_data.as_bytes() == b"excess";
                    self.learned.push(format!("transactions {sizes:?}{}", if whole { "" } else { ", others" }));
                    // A template that never was.
                    self.client.request_transactions(99);
                }
                Ok(TemplateEvent::NoTransactions(message)) => {
                    self.learned.push(format!("{}: {}", message.template_id, message.error_code));
                    self.solve(1);
                }
                other => self.learned.push(format!("{other:?}")),
            },
            _ => return,
        }
        self.client.poll_outbound(out).expect("room");
    }

    fn on_server(&mut self, event: &Event<'_, Responder, TemplateDistribution>, out: &mut Server<'_>) {
        let Event::Message(message) = event else { return };
        match self.server.handle(NOW, *message, &self.book, out) {
            Ok(Some(Request::Transactions(id))) => {
                let transactions: Vec<_> = self.transactions.iter().map(|tx| B016M::new(tx)).collect();
                self.server.send_transactions(id, b"excess", &transactions, out).expect("room");
            }
            Ok(Some(Request::Solution(solution))) if solution.breach.is_none() && !solution.stale => {
                self.solved = true;
                self.next_tip(2);
            }
            Ok(Some(Request::Constraints(_)) | None) => {}
            other => self.learned.push(format!("{other:?}")),
        }
        self.server.poll_outbound(&self.book, out).expect("room");
    }

    fn is_complete(&self) -> bool {
        self.learned.last().is_some_and(|last| last == "tip of 2")
    }
}

fn config(revision: Revision) -> PairConfig {
    PairConfig { revision, input: (4096, 1 << 20), output: (1 << 20, 1 << 20), ..PairConfig::default() }
}

/// D-TDP-1, D-TDP-2, D-TDP-7, D-TDP-9 to D-TDP-11, D-TDP-13, D-TDP-14, D-TDP-16 to D-TDP-18
#[test]
fn from_the_constraints_to_a_found_block() {
    for revision in [Revision::Draft, Revision::Current] {
        let had = have(Talk::new(revision, &[60, 300]), &config(revision), |_| ());
        had.assert_whole();
        assert!(had.conversation.solved);
        assert_eq!(
            had.conversation.learned,
            ["template 1 true", "transactions [60, 300]", "99: template-id-not-found", "template 2 true", "tip of 2"]
        );
    }
}

/// D-SEC-9, D-FRAME-1: every chunk size up to 80 bytes and some above.
#[test]
fn every_chunking() {
    let make = || Talk::new(Revision::Draft, &[60, 300]);
    for noise in [config(Revision::Draft).noise, None] {
        try_every_chunking(
            make,
            &PairConfig { noise, ..config(Revision::Draft) },
            (1..=80).chain((81..900).step_by(67)),
        );
    }
}

/// Every byte of the plain link; with Noise every third, and the end of every record.
#[test]
fn cuts() {
    let make = || Talk::new(Revision::Draft, &[60, 300]);
    try_cuts(make, &PairConfig { noise: None, ..config(Revision::Draft) }, 1);
    try_cuts(make, &config(Revision::Draft), 3);
}

/// With Noise every 13th bit, so each place in a byte; of the plain link every seventh, so each byte.
#[test]
fn flipped_bits() {
    let make = || Talk::new(Revision::Draft, &[60, 300]);
    try_flips(make, &config(Revision::Draft), 13);
    try_flips_on_plain_link(make, &PairConfig { noise: None, ..config(Revision::Draft) }, 7);
}

/// D-SEC-9: transactions that take several records and make the buffer grow; chunks around a record's size, cuts and flips at wide steps.
#[test]
fn transactions_of_many_records() {
    let make = || Talk::new(Revision::Draft, &[150_000, 1, 80_000]);
    let config = config(Revision::Draft);
    try_every_chunking(make, &config, [999, 4095, 65_518, 65_519, 65_520, 65_535, 65_537]);
    try_cuts(make, &config, 9_973);
    try_flips(make, &config, 8 * 9_973 + 1);
}
