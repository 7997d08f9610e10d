//! What a template client is told and when, and what is made of its messages.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::message::template::{CoinbaseOutputConstraints, RequestTransactionData, SubmitSolution, ToClient};
use crate::mining::target::Target;
use crate::protocol::Initiator;
use crate::storage::Inline;
use crate::template::book::Basis;
use crate::template::coinbase::CoinbaseFault;
use crate::template::solution::Breach;
use crate::template::testing::{ROOM, Wire, add, coinbase_tx, tip};

fn constraints(size: u32) -> ToServer<'static> {
    ToServer::CoinbaseOutputConstraints(CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: size,
        coinbase_output_max_additional_sigops: 0.into(),
    })
}

struct Setup {
    book: TemplateBook<Inline>,
    server: TemplateServer,
    wire: Wire,
    now: Instant,
}

impl Setup {
    fn new(revision: Revision) -> Self {
        let mut book = TemplateBook::default();
        let first = add(&mut book, Basis::Next, ROOM);
        book.set_tip(Instant::from_secs(5), first, tip(1)).expect("known");
        Self {
            book,
            server: TemplateServer::new(revision),
            wire: Wire::new(4000, revision),
            now: Instant::from_secs(5),
        }
    }

    fn opened(revision: Revision) -> Self {
        let mut setup = Self::new(revision);
        setup.handle(constraints(50)).expect("first");
        setup.sent();
        setup
    }

    fn handle<'m>(&mut self, message: ToServer<'m>) -> Result<Option<Request<'m>>, HandleError> {
        self.server.handle(self.now, message, &self.book, &mut self.wire.out())
    }

    /// What goes out now: name and template id, and for a template whether it is a future one.
    fn sent(&mut self) -> Vec<(&'static str, u64, bool)> {
        self.server.poll_outbound(&self.book, &mut self.wire.out()).expect("room");
        let mut sent = Vec::new();
        self.wire.drain::<Initiator>(|message| {
            sent.push(match message {
                ToClient::NewTemplate(message) => ("template", message.template_id, message.future_template),
                ToClient::SetNewPrevHash(message) => ("prevhash", message.template_id, false),
                ToClient::RequestTransactionDataSuccess(message) => ("data", message.template_id, false),
                ToClient::RequestTransactionDataError(message) => ("no data", message.template_id, false),
            });
        });
        sent
    }
}

/// D-TDP-1: nothing but the constraints comes first.
#[test]
fn other_first_messages_end_the_connection() {
    let mut setup = Setup::new(Revision::Draft);
    let early = ToServer::RequestTransactionData(RequestTransactionData { template_id: 1 });
    assert_eq!(setup.handle(early), Err(HandleError::Rule(ClientViolation::ConstraintsNotFirst)));
    assert_eq!(setup.sent(), []);
}

/// D-TDP-2, D-TDP-9: the best template as a future one and the tip that starts it, at once; nothing twice.
#[test]
fn the_first_message_is_answered_with_template_and_tip() {
    let mut setup = Setup::new(Revision::Draft);
    let wanted = Constraints { max_additional_size: 50, max_additional_sigops: 0 };
    assert_eq!(setup.handle(constraints(50)), Ok(Some(Request::Constraints(wanted))));
    assert_eq!(setup.sent(), [("template", 1, true), ("prevhash", 1, false)]);
    assert_eq!(setup.sent(), []);
    // Again later is allowed, and what the client has still fits.
    assert!(setup.handle(constraints(60)).is_ok());
    assert_eq!(setup.sent(), []);
}

/// D-TDP-3, D-TDP-7, D-TDP-10, D-TDP-11: better templates, future ones and tips, ids always rising.
#[test]
fn new_work_goes_out_in_the_order_of_its_ids() {
    let mut setup = Setup::opened(Revision::Draft);
    add(&mut setup.book, Basis::Tip, ROOM);
    add(&mut setup.book, Basis::Next, ROOM);
    assert_eq!(setup.sent(), [("template", 2, false), ("template", 3, true)]);
    setup.book.set_tip(setup.now, 3, tip(2)).expect("future");
    assert_eq!(setup.sent(), [("prevhash", 3, false)], "the client has template 3 already");
    let next = add(&mut setup.book, Basis::Next, ROOM);
    setup.book.set_tip(setup.now, next, tip(3)).expect("future");
    assert_eq!(setup.sent(), [("template", 4, true), ("prevhash", 4, false)]);
}

#[test]
fn a_slow_reader_gets_the_newest_only() {
    let mut setup = Setup::opened(Revision::Draft);
    for n in 2..9 {
        let next = add(&mut setup.book, Basis::Next, ROOM);
        setup.book.set_tip(setup.now, next, tip(n)).expect("future");
        add(&mut setup.book, Basis::Tip, ROOM);
    }
    assert_eq!(setup.sent(), [("template", 15, true), ("prevhash", 15, false)]);
}

#[test]
fn what_does_not_fit_goes_out_later() {
    let mut setup = Setup::new(Revision::Draft);
    setup.handle(constraints(50)).expect("first");
    // Room for the template (6 + 84 bytes), not for the prevhash.
    setup.wire = Wire::new(120, Revision::Draft);
    let outcome = setup.server.poll_outbound(&setup.book, &mut setup.wire.out());
    assert_eq!(outcome, Err(Error::Full));
    assert_eq!(setup.wire.names::<Initiator>(), ["NewTemplate"]);
    assert_eq!(setup.sent(), [("prevhash", 1, false)]);
}

/// D-TDP-6: a template without the room that a client needs is not offered to it.
#[test]
fn templates_without_enough_room_are_not_sent() {
    let mut setup = Setup::new(Revision::Draft);
    setup.handle(constraints(ROOM.max_additional_size + 1)).expect("first");
    assert_eq!(setup.sent(), []);
    assert!(setup.server.is_starved(&setup.book));
    add(&mut setup.book, Basis::Tip, Constraints { max_additional_size: 200, ..ROOM });
    assert!(!setup.server.is_starved(&setup.book));
    assert_eq!(setup.sent(), [("template", 2, true), ("prevhash", 2, false)]);
    assert!(!setup.server.is_starved(&setup.book));
}

/// D-TDP-16: unknown ids are answered here; in the current revision stale ones too.
#[test]
fn transactions_of_known_templates_only() {
    for revision in [Revision::Draft, Revision::Current] {
        let mut setup = Setup::opened(revision);
        let ask = |id| ToServer::RequestTransactionData(RequestTransactionData { template_id: id });
        assert_eq!(setup.handle(ask(1)), Ok(Some(Request::Transactions(1))));
        add(&mut setup.book, Basis::Tip, ROOM);
        assert_eq!(setup.handle(ask(2)), Ok(None), "not told to this client yet");
        assert_eq!(setup.handle(ask(9)), Ok(None));
        let next = add(&mut setup.book, Basis::Next, ROOM);
        setup.book.set_tip(setup.now, next, tip(2)).expect("future");
        let stale = setup.handle(ask(1)).expect("taken");
        assert_eq!(stale.is_some(), revision == Revision::Draft);
        let mut codes = Vec::new();
        setup.wire.drain::<Initiator>(|message| {
            let ToClient::RequestTransactionDataError(message) = message else { panic!("{message:?}") };
            codes.push((message.template_id, message.error_code.as_bytes().to_vec()));
        });
        let mut expected = vec![(2, b"template-id-not-found".to_vec()), (9, b"template-id-not-found".to_vec())];
        if revision == Revision::Current {
            expected.push((1, b"stale-template-id".to_vec()));
        }
        assert_eq!(codes, expected);
    }
}

#[test]
fn transactions_are_sent_from_borrowed_slices() {
    let mut setup = Setup::opened(Revision::Draft);
    let transactions = [B016M::new(b"first"), B016M::new(b"second")];
    assert_eq!(
        setup.server.send_transactions(1, b"excess", &transactions, &mut Wire::new(30, Revision::Draft).out()),
        Err(Error::Misuse(crate::error::Misuse::TooLarge)),
    );
    setup.server.send_transactions(1, b"excess", &transactions, &mut setup.wire.out()).expect("room");
    setup.server.refuse_transactions(1, "gone", &mut setup.wire.out()).expect("room");
    let mut seen = 0;
    setup.wire.drain::<Initiator>(|message| match message {
        ToClient::RequestTransactionDataSuccess(message) => {
            assert_eq!(message.excess_data.as_bytes(), b"excess");
            assert!(message.transaction_list.iter().map(|tx| tx.as_bytes()).eq([&b"first"[..], b"second"]));
            seen += 1;
        }
        ToClient::RequestTransactionDataError(message) => {
            assert_eq!(message.error_code, "gone");
            seen += 10;
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(seen, 11);
}

fn solution(coinbase_tx: &[u8]) -> SubmitSolution<'_> {
    SubmitSolution {
        template_id: 1,
        version: 0x2000_0000,
        header_timestamp: 1_000_003,
        header_nonce: 7,
        coinbase_tx: B064K::new(coinbase_tx),
    }
}

/// D-TDP-4, D-TDP-18, D-TDP-19, D-TDP-20: what meets the target reaches the owner, with what is wrong about it.
#[test]
fn solutions_are_checked() {
    let mut setup = Setup::opened(Revision::Draft);
    setup.now = Instant::from_secs(9);
    let tx = coinbase_tx(&[0x51]);
    let good = solution(&tx);
    let mut breach = |message: SubmitSolution<'_>| match setup.handle(ToServer::SubmitSolution(message)) {
        Ok(Some(Request::Solution(solution))) => {
            assert_eq!((solution.template_id, solution.stale), (1, false));
            assert_eq!(solution.hash, crate::hash::sha256d(&[&solution.header]));
            Ok(solution.breach)
        }
        Ok(Some(Request::NoBlock(_, why))) => Err(why),
        other => panic!("{other:?}"),
    };
    assert_eq!(breach(good), Ok(None));
    assert_eq!(breach(SubmitSolution { version: 0x3fff_e000, ..good }), Ok(None), "all BIP320 bits");
    assert_eq!(breach(SubmitSolution { version: 0x2000_1000, ..good }), Ok(Some(Breach::Version)));
    assert_eq!(breach(SubmitSolution { header_timestamp: 999_999, ..good }), Ok(Some(Breach::Timestamp)));
    assert_eq!(breach(SubmitSolution { header_timestamp: 1_000_006, ..good }), Ok(None), "four seconds and the slack");
    assert_eq!(breach(SubmitSolution { header_timestamp: 1_000_007, ..good }), Ok(Some(Breach::Timestamp)));
    let large = coinbase_tx(&[0x51; 42]);
    let fault = Breach::Coinbase(CoinbaseFault::OutputSize);
    assert_eq!(breach(SubmitSolution { coinbase_tx: B064K::new(&large), ..good }), Ok(Some(fault)));
    assert_eq!(breach(SubmitSolution { template_id: 2, ..good }), Err(NoBlock::UnknownTemplate));
    let cut = SubmitSolution { coinbase_tx: B064K::new(&tx[1..]), ..good };
    assert!(matches!(breach(cut), Err(NoBlock::Coinbase(_))));
}

#[test]
fn the_current_revision_rolls_more_version_bits() {
    let mut setup = Setup::opened(Revision::Current);
    let tx = coinbase_tx(&[0x51]);
    for (bit, breach) in [(12, None), (5, None), (4, Some(Breach::Version)), (29, Some(Breach::Version))] {
        let message =
            SubmitSolution { version: 0x2000_0000 ^ (1 << bit), header_timestamp: 1_000_000, ..solution(&tx) };
        let Ok(Some(Request::Solution(solution))) = setup.handle(ToServer::SubmitSolution(message)) else { panic!() };
        assert_eq!(solution.breach, breach, "bit {bit}");
    }
}

/// D-TDP-4, D-TDP-20: a client that connects again has mined on the tip all the while, on templates that the new connection was not told
/// of yet; what it found is judged by the tip's age, not by the connection's.
#[test]
fn solutions_of_an_earlier_connection_count_on_the_next() {
    let mut setup = Setup::opened(Revision::Draft);
    setup.now = Instant::from_secs(605);
    setup.server = TemplateServer::new(Revision::Draft);
    setup.handle(constraints(50)).expect("first");
    let tx = coinbase_tx(&[0x51]);
    let mut breach = |seconds: u32| {
        let message = SubmitSolution { header_timestamp: 1_000_000 + seconds, ..solution(&tx) };
        match setup.handle(ToServer::SubmitSolution(message)) {
            Ok(Some(Request::Solution(solution))) => solution.breach,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((breach(602), breach(603)), (None, Some(Breach::Timestamp)), "ten minutes and the slack");
}

/// D-TDP-20: a provider that restarted on the same tip names another time for it, a later one most likely, an earlier one when its node's clock was
/// set. A client that goes on keeps to what it was told, so nothing is held against it before the next tip.
#[test]
fn times_are_not_judged_on_a_tip_that_an_earlier_run_may_have_told_of() {
    for (first_id, judged) in [(1, true), (1 << 50, false)] {
        let mut setup = Setup::new(Revision::Draft);
        setup.book = TemplateBook::starting_at(first_id);
        let first = add(&mut setup.book, Basis::Next, ROOM);
        setup.book.set_tip(setup.now, first, tip(1)).expect("future");
        setup.handle(constraints(50)).expect("first");
        let tx = coinbase_tx(&[0x51]);
        let breach = |setup: &mut Setup, template_id, header_timestamp| {
            let message = SubmitSolution { template_id, header_timestamp, ..solution(&tx) };
            match setup.handle(ToServer::SubmitSolution(message)) {
                Ok(Some(Request::Solution(solution))) => solution.breach,
                other => panic!("{other:?}"),
            }
        };
        let fault = judged.then_some(Breach::Timestamp);
        let (early, late) = (999_910, 1_000_100);
        assert_eq!([early, late].map(|time| breach(&mut setup, first, time)), [fault; 2]);
        let second = add(&mut setup.book, Basis::Next, ROOM);
        setup.book.set_tip(setup.now, second, tip(2)).expect("future");
        assert_eq!([early, late].map(|time| breach(&mut setup, first, time)), [fault, None], "stale");
        let fault = Some(Breach::Timestamp);
        assert_eq!([early, late].map(|time| breach(&mut setup, second, time)), [fault; 2]);
        let third = add(&mut setup.book, Basis::Next, ROOM);
        setup.book.set_tip(setup.now, third, tip(3)).expect("future");
        assert_eq!(breach(&mut setup, second, early), fault);
    }
}

/// D-TDP-20: a late solution's time is not held against the tip that made it late.
#[test]
fn a_high_hash_is_no_block_and_a_late_one_is_stale() {
    let mut setup = Setup::opened(Revision::Draft);
    let tx = coinbase_tx(&[0x51]);
    let next = add(&mut setup.book, Basis::Next, ROOM);
    setup.book.set_tip(setup.now, next, crate::template::Tip { target: Target::ZERO, ..tip(2) }).expect("future");
    let Ok(Some(Request::Solution(late))) = setup.handle(ToServer::SubmitSolution(solution(&tx))) else { panic!() };
    assert!(late.stale);
    setup.sent();
    let message = SubmitSolution { header_timestamp: 1_000_600, ..solution(&tx) };
    let Ok(Some(Request::Solution(late))) = setup.handle(ToServer::SubmitSolution(message)) else { panic!() };
    assert_eq!((late.stale, late.breach), (true, None));
    let message = SubmitSolution { template_id: next, ..solution(&tx) };
    assert_eq!(setup.handle(ToServer::SubmitSolution(message)), Ok(Some(Request::NoBlock(next, NoBlock::HighHash))));
    let future = add(&mut setup.book, Basis::Next, ROOM);
    setup.sent();
    let message = SubmitSolution { template_id: future, ..solution(&tx) };
    assert_eq!(
        setup.handle(ToServer::SubmitSolution(message)),
        Ok(Some(Request::NoBlock(future, NoBlock::FutureTemplate)))
    );
}
