//! A pool's side against scripted providers.

use std::vec;
use std::vec::Vec;

use super::*;
use crate::message::template::ToServer;
use crate::protocol::Responder;
use crate::storage::Inline;
use crate::template::testing::{OUTPUTS, Wire};
use crate::wire::{B0255, Revision, Seq0255, U256};

const WANT: Constraints = Constraints { max_additional_size: 43, max_additional_sigops: 1 };

fn template(id: u64, future: bool) -> ToClient<'static> {
    ToClient::NewTemplate(NewTemplate {
        template_id: id,
        future_template: future,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: B0255::new(&[1, 7]),
        coinbase_tx_input_sequence: 0,
        coinbase_tx_value_remaining: 50,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: B064K::new(&OUTPUTS),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::new(&[U256([4; 32])]),
    })
}

const PREV: SetNewPrevHash = SetNewPrevHash {
    template_id: 1,
    prev_hash: U256([1; 32]),
    header_timestamp: 77,
    n_bits: 0x207f_ffff,
    target: U256::MAX,
};

fn tip(id: u64) -> ToClient<'static> {
    ToClient::SetNewPrevHash(SetNewPrevHash { template_id: id, prev_hash: U256([id as u8; 32]), ..PREV })
}

fn client() -> TemplateClient<Inline> {
    TemplateClient::new(WANT)
}

fn handle(
    client: &mut TemplateClient<Inline>,
    message: ToClient<'static>,
) -> Result<TemplateEvent<'static>, ProviderViolation> {
    client.handle(Instant::from_secs(1), message)
}

/// D-TDP-9, D-TDP-11, D-TDP-12: future templates wait, the named one starts, others are forgotten.
#[test]
fn a_tip_starts_its_template_and_ends_the_others() {
    let mut client = client();
    assert_eq!(handle(&mut client, template(1, true)), Ok(TemplateEvent::Template { id: 1, future: true }));
    assert_eq!(handle(&mut client, template(2, true)), Ok(TemplateEvent::Template { id: 2, future: true }));
    assert!(client.best().is_none());
    assert!(client.future().map(Template::id).eq([1, 2]));
    assert_eq!(handle(&mut client, tip(1)), Ok(TemplateEvent::Tip { template_id: 1 }));
    assert_eq!(client.best().map(Template::id), Some(1));
    assert_eq!(client.future().count(), 0);
    let (now, since) = client.tip().expect("there");
    assert_eq!((now.prev_hash, now.header_timestamp, since), ([1; 32], 77, Instant::from_secs(1)));
    assert_eq!(handle(&mut client, template(3, false)), Ok(TemplateEvent::Template { id: 3, future: false }));
    assert_eq!(client.best().map(|best| (best.id(), best.merkle_path().len())), Some((3, 1)));
    assert!(client.template(1).is_some_and(|(_, future)| !future), "solutions for it still count");
}

/// D-TDP-7, D-TDP-9, D-TDP-11: ids rise, tips name what was sent, current templates need a tip.
#[test]
fn rules_of_the_provider() {
    let mut client = client();
    assert_eq!(handle(&mut client, template(1, false)), Err(ProviderViolation::NoTip));
    assert_eq!(handle(&mut client, tip(1)), Err(ProviderViolation::UnknownTemplate));
    assert!(handle(&mut client, template(5, true)).is_ok());
    assert_eq!(handle(&mut client, template(5, true)), Err(ProviderViolation::TemplateId));
    assert_eq!(handle(&mut client, template(4, true)), Err(ProviderViolation::TemplateId));
    assert_eq!(handle(&mut client, tip(6)), Err(ProviderViolation::UnknownTemplate));
    client.disconnected();
    assert!(handle(&mut client, template(1, true)).is_ok(), "another provider counts anew");
}

#[test]
fn templates_that_can_not_be_used_harm_nothing() {
    let mut client = client();
    let ToClient::NewTemplate(good) = template(1, true) else { unreachable!() };
    let long = NewTemplate { coinbase_prefix: B0255::new(&[0; 9]), ..good };
    let why = TemplateError::ScriptPrefixTooLong(9);
    assert_eq!(handle(&mut client, ToClient::NewTemplate(long)), Ok(TemplateEvent::Unusable { id: 1, why }));
    assert_eq!(handle(&mut client, tip(1)), Ok(TemplateEvent::TipWithoutTemplate { template_id: 1 }));
    assert!(handle(&mut client, template(2, false)).is_ok());
}

#[test]
fn templates_are_bounded_and_the_newest_stay() {
    let mut client = client();
    handle(&mut client, template(1, true)).expect("taken");
    handle(&mut client, tip(1)).expect("taken");
    for id in 2..40 {
        handle(&mut client, template(id, id % 7 == 0)).expect("taken");
    }
    assert_eq!(client.best().map(Template::id), Some(39));
    assert_eq!(client.future().last().map(Template::id), Some(35));
    assert!(client.kept.len() <= CLIENT_TEMPLATES_INLINE);
}

const FOUND: Found<'static> = Found {
    template_id: 1,
    prev_hash: [1; 32],
    version: 2,
    header_timestamp: 3,
    header_nonce: 4,
    coinbase_prefix: b"\x02\0\0\0prefix",
    extranonce: [b"extra", b"nonce"],
    coinbase_suffix: b"suffix\0\0\0\0",
    witness: false,
};

/// D-TDP-1, D-TDP-5, D-TDP-17: the constraints open every connection, then found blocks go first.
#[test]
fn sends_constraints_then_blocks_then_questions() {
    let mut client = client();
    client.request_transactions(9);
    client.submit(&FOUND).expect("room");
    on_tip(&mut client, 1);
    assert!(client.is_dirty());
    let mut wire = Wire::new(4000, Revision::Current);
    client.poll_outbound(&mut wire.out()).expect("room");
    assert!(!client.is_dirty());
    assert_eq!(wire.names::<Responder>(), ["CoinbaseOutputConstraints", "SubmitSolution", "RequestTransactionData"]);
    client.set_constraints(WANT);
    assert!(!client.is_dirty());
    client.set_constraints(Constraints { max_additional_size: 44, ..WANT });
    client.poll_outbound(&mut wire.out()).expect("room");
    assert_eq!(wire.names::<Responder>(), ["CoinbaseOutputConstraints"]);
}

const NONE: [u64; 0] = [];

/// The provider tells a template and the tip of the same number.
fn on_tip(client: &mut TemplateClient<Inline>, id: u64) {
    handle(client, template(id, true)).expect("taken");
    handle(client, tip(id)).expect("taken");
}

/// The template ids of what the client sends now but its constraints.
fn sends(client: &mut TemplateClient<Inline>) -> Vec<u64> {
    let mut wire = Wire::new(4000, Revision::Draft);
    client.poll_outbound(&mut wire.out()).expect("room");
    let mut ids = Vec::new();
    wire.drain::<Responder>(|message| {
        if let ToServer::SubmitSolution(message) = message {
            ids.push(message.template_id);
        }
    });
    ids
}

/// D-TDP-17: a block is sent once a connection, and on each one that begins with its tip.
#[test]
fn found_blocks_are_sent_again_while_their_tip_lasts() {
    let mut client = client();
    on_tip(&mut client, 1);
    client.submit(&FOUND).expect("room");
    assert_eq!((sends(&mut client), sends(&mut client)), (vec![1], vec![]));
    client.disconnected();
    assert_eq!(sends(&mut client), NONE, "nobody knows what the next provider builds on");
    handle(&mut client, template(1, true)).expect("taken");
    assert_eq!(sends(&mut client), NONE, "nor does a template say it");
    handle(&mut client, tip(1)).expect("taken");
    assert!(client.is_dirty());
    assert_eq!((sends(&mut client), client.is_dirty()), (vec![1], false));
    handle(&mut client, tip(1)).expect("the same again");
    assert_eq!(sends(&mut client), NONE);
    client.disconnected();
    on_tip(&mut client, 2);
    assert_eq!(sends(&mut client), NONE, "it was told of the first tip's block, and another is the tip");
    client.disconnected();
    on_tip(&mut client, 1);
    assert_eq!(sends(&mut client), NONE, "and so it was forgotten");
}

/// D-TDP-17, D-TDP-7: what nobody was told goes out on another tip too, unless the provider can't have the template.
#[test]
fn a_block_that_was_never_sent_is_told_in_any_case() {
    let mut client = client();
    on_tip(&mut client, 4);
    client.disconnected();
    client.submit(&Found { template_id: 4, prev_hash: [4; 32], ..FOUND }).expect("room");
    on_tip(&mut client, 5);
    assert_eq!((sends(&mut client), sends(&mut client)), (vec![4], vec![]));
    client.disconnected();
    client.submit(&Found { template_id: 6, prev_hash: [4; 32], ..FOUND }).expect("room");
    client.submit(&Found { template_id: 6, prev_hash: [1; 32], ..FOUND }).expect("room");
    on_tip(&mut client, 1);
    assert_eq!(sends(&mut client), NONE, "a provider that counts from the beginning");
    assert_eq!(client.held.len(), 1, "only what builds on its tip is worth a wait");
    handle(&mut client, template(6, false)).expect("taken");
    assert_eq!(sends(&mut client), [6]);
}

/// D-TDP-17: what no connection took can be kept through a restart of the pool, and is told then.
#[test]
fn what_was_never_sent_outlives_the_client() {
    let mut client = client();
    assert!(!client.owes_a_block());
    on_tip(&mut client, 4);
    client.submit(&Found { template_id: 4, prev_hash: [4; 32], ..FOUND }).expect("room");
    assert!(client.owes_a_block());
    sends(&mut client);
    assert!(!client.owes_a_block() && client.unsent().next().is_none(), "the provider may have it");
    client.disconnected();
    assert!(!client.owes_a_block() && client.unsent().next().is_none());
    client.submit(&Found { template_id: 5, prev_hash: [4; 32], ..FOUND }).expect("room");
    let kept: Vec<_> = client.unsent().collect();
    assert!(matches!(kept[..], [HeldBlock { template_id: 5, prev_hash: [4, ..], version: 2, .. }]), "{kept:?}");

    let mut next = TemplateClient::<Inline>::new(WANT);
    next.restore(&kept[0]).expect("room");
    assert!(next.owes_a_block(), "the provider's tip may come");
    assert!(next.unsent().eq(kept.iter().copied()));
    let mut later = TemplateClient::<Inline>::new(WANT);
    later.restore(&kept[0]).expect("room");
    on_tip(&mut next, 9);
    assert_eq!(sends(&mut next), [5]);
    assert!(!next.owes_a_block());
    handle(&mut later, template(1, true)).expect("taken");
    handle(&mut later, ToClient::SetNewPrevHash(SetNewPrevHash { prev_hash: U256([4; 32]), ..PREV })).expect("taken");
    assert!(!later.owes_a_block() && later.unsent().count() == 1, "nothing to wait for: the provider counts anew");
    let long = HeldBlock { coinbase_tx: &[0; SOLUTION_COINBASE_INLINE + 1], ..kept[0] };
    assert_eq!(next.restore(&long), Err(NoRoom));
}

/// D-TDP-17: what was told and survived a crash of the pool goes out where its tip still is one's own, and nowhere else.
#[test]
fn what_was_told_is_kept_with_that_word() {
    let mut client = client();
    on_tip(&mut client, 4);
    client.submit(&Found { template_id: 4, prev_hash: [4; 32], ..FOUND }).expect("room");
    assert!(client.held().all(|block| !block.told));
    sends(&mut client);
    let kept: Vec<_> = client.held().collect();
    assert!(matches!(kept[..], [HeldBlock { template_id: 4, told: true, .. }]), "{kept:?}");
    for (tip, sent) in [(4, vec![4]), (5, vec![])] {
        let mut next = TemplateClient::<Inline>::new(WANT);
        next.restore(&kept[0]).expect("room");
        assert!(!next.owes_a_block(), "the provider may have it");
        on_tip(&mut next, tip);
        assert_eq!(sends(&mut next), sent);
        assert_eq!(next.held().count(), sent.len());
    }
}

/// D-TDP-17: the block that can still be the tip does not wait for those that can't.
#[test]
fn a_block_on_the_present_tip_goes_first() {
    let mut client = client();
    on_tip(&mut client, 4);
    client.disconnected();
    client.submit(&Found { template_id: 4, prev_hash: [4; 32], ..FOUND }).expect("room");
    client.submit(&Found { template_id: 5, prev_hash: [5; 32], ..FOUND }).expect("room");
    on_tip(&mut client, 5);
    assert_eq!(sends(&mut client), [5, 4]);
}

#[test]
fn held_blocks_are_bounded_and_give_way_to_new_ones() {
    let mut client = client();
    on_tip(&mut client, 9);
    let found = |id| Found { template_id: id, prev_hash: [9; 32], ..FOUND };
    for id in 1..9 {
        client.submit(&found(id)).expect("what was sent gives way");
        assert_eq!(sends(&mut client), [id]);
    }
    client.disconnected();
    client.submit(&found(9)).expect("without a connection too");
    client.submit(&found(8)).expect("without a connection too");
    assert_eq!(client.submit(&found(9)), Err(NoRoom), "those were never sent");
    on_tip(&mut client, 9);
    assert_eq!(client.submit(&found(9)), Err(NoRoom), "and are due");
    assert_eq!(sends(&mut client), [9, 8]);
    client.disconnected();
    client.submit(&found(20)).expect("what was sent gives way");
    client.submit(&found(21)).expect("what was sent gives way");
    on_tip(&mut client, 9);
    client.submit(&found(9)).expect("what can't be sent gives way");
    assert_eq!(sends(&mut client), [9]);
}

#[test]
fn found_blocks_wait_for_room_and_for_a_connection() {
    let mut client = client();
    client.submit(&FOUND).expect("room");
    client.submit(&Found { template_id: 2, witness: true, ..FOUND }).expect("room");
    assert_eq!(client.submit(&FOUND), Err(NoRoom));
    client.disconnected();
    on_tip(&mut client, 2);
    let mut small = Wire::new(100, Revision::Draft);
    assert_eq!(client.poll_outbound(&mut small.out()), Err(Error::Full));
    assert_eq!(small.names::<Responder>(), ["CoinbaseOutputDataSize", "SubmitSolution"]);
    let mut wire = Wire::new(4000, Revision::Draft);
    client.poll_outbound(&mut wire.out()).expect("room");
    let mut coinbases = Vec::new();
    wire.drain::<Responder>(|message| {
        let ToServer::SubmitSolution(message) = message else { panic!("{message:?}") };
        assert_eq!(
            (message.template_id, message.version, message.header_timestamp, message.header_nonce),
            (2, 2, 3, 4)
        );
        coinbases.push(message.coinbase_tx.as_bytes().to_vec());
    });
    let whole = [&b"\x02\0\0\0\0\x01prefixextranoncesuffix\x01\x20"[..], &[0; 32], &[0; 4]].concat();
    assert_eq!(coinbases, [whole]);
}

#[test]
fn a_coinbase_that_no_message_carries_is_refused() {
    let long = std::vec![0; SOLUTION_COINBASE_INLINE];
    assert_eq!(client().submit(&Found { coinbase_suffix: &long, ..FOUND }), Err(NoRoom));
}

#[test]
fn transactions_come_back_borrowed() {
    let mut client = client();
    let answer = RequestTransactionDataSuccess {
        template_id: 4,
        excess_data: B064K::new(b"x"),
        transaction_list: crate::wire::Seq064K::new(&[]),
    };
    let event = handle(&mut client, ToClient::RequestTransactionDataSuccess(answer));
    assert_eq!(event, Ok(TemplateEvent::Transactions(answer)));
}
