//! Found blocks on their way to the node: how many at once, in which order, and what outlives whom.

use std::net::SocketAddr;
use std::pin::Pin;

use adit::mining::header::Header;
use adit::template::solution::NoBlock;
use adit_tokio::provider::{FoundBlock, Heard, ProviderEvent, ProviderHandle};
use adit_tokio::queue;
use adit_tokio::shutdown::Shutdown;
use tokio::sync::oneshot;

use super::*;
use crate::event::Event;
use crate::provider::{self, ProviderError};
use crate::report::{Events, Told};

/// D-TDP-18: a node that is slow over blocks of one height; more of them wait, the next height's does not.
#[tokio::test]
async fn the_newest_height_does_not_wait_for_siblings() {
    let mut script = Script::start().await;
    let (mut node, first, poll) = Followed::start(&mut script, quick()).await;
    let sibling = |extranonce| solve(&first, coinbase_of(&first, &[0x51], extranonce), NOW + 200);
    let siblings: Vec<_> = (0..5).map(sibling).collect();
    let tasks: Vec<_> = siblings.iter().map(|(solution, _)| node.submit(solution)).collect();
    let mut slow = Vec::new();
    for _ in 0..2 {
        slow.push(script.expect("submitblock").await);
    }
    assert_ne!(slow[0].connection, slow[1].connection);
    let mut next = answer(&prev(2), &[]);
    next["height"] = json!(first.parts.height + 1);
    poll.result(&next);
    let second = node.next().await;
    let _poll = script.expect("getblocktemplate").await;
    let (solution, block) = solved(&second);
    let newest = node.submit(&solution);
    let call = script.expect("submitblock").await;
    assert_eq!(call.params[0], hex::encode(&block.bytes));
    // Another of its height comes before those that have waited for longer.
    let (rival, rival_block) = solve(&second, coinbase_of(&second, &[0x51], 77), NOW + 200);
    let rival = node.submit(&rival);
    let rivals_call = script.expect("submitblock").await;
    assert_eq!(rivals_call.params[0], hex::encode(&rival_block.bytes));
    call.result(&Value::Null);
    assert_eq!(newest.await.unwrap(), Verdict::Accepted(block));
    rivals_call.result(&json!("inconclusive"));
    assert_eq!(rival.await.unwrap(), Verdict::NotBest(rival_block));
    assert!(script.is_quiet(), "two of a height at once, no more");
    let mut order = slow.iter().map(|call| call.params[0].clone()).collect::<Vec<_>>();
    for call in slow {
        call.result(&json!("inconclusive"));
    }
    for _ in 2..5 {
        let call = script.expect("submitblock").await;
        order.push(call.params[0].clone());
        call.result(&json!("inconclusive"));
    }
    let found: Vec<_> = siblings.iter().map(|(_, block)| json!(hex::encode(&block.bytes))).collect();
    assert_eq!(order.len(), found.len());
    assert!(found.iter().all(|block| order.contains(block)));
    for (task, (_, block)) in tasks.into_iter().zip(siblings) {
        assert_eq!(task.await.unwrap(), Verdict::NotBest(block));
    }
}

/// D-TDP-18: the provider is gone while the node has not answered; its next run asks again, and keeps nothing that was answered.
#[tokio::test]
async fn a_block_that_the_node_has_not_answered_outlives_the_provider() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("blocks");
    let start = |script: &Script| {
        let config = NodeConfig { blocks_directory: Some(directory.clone()), ..config(script, None) };
        follow_with(&config, quick())
    };
    let files = || std::fs::read_dir(&directory).map_or(0, Iterator::count);
    let mut script = Script::start().await;
    let starting = start(&script);
    script.expect("getblocktemplate").await.result(&answer(&prev(1), &[]));
    let mut node = Followed::ready(starting).await;
    node.source.set_room(room(100));
    let first = node.next().await;
    let poll = script.expect("getblocktemplate").await;
    // Answered: nothing is left.
    let (solution, block) = solved(&first);
    let task = node.submit(&solution);
    script.expect("submitblock").await.result(&Value::Null);
    assert_eq!(task.await.unwrap(), Verdict::Accepted(block.clone()));
    assert_eq!(files(), 0);
    // Not answered; what the run was about to do is never done, as after SIGKILL.
    let (other, unanswered) = solve(&first, coinbase_of(&first, &[0x51], 77), NOW + 200);
    let TemplateSource::Node(gone) = &node.source else { panic!("another source") };
    let template = gone.0.shared.template(other.template_id).unwrap();
    let submitter = gone.0.submitter.clone();
    let task = tokio::spawn(async move { submitter.submit(&template, &other).await });
    let call = script.expect("submitblock").await;
    while files() == 0
        || std::fs::read_dir(&directory).unwrap().any(|file| file.unwrap().path().extension().unwrap() != "hex")
    {
        yield_now().await;
    }
    task.abort();
    drop((call, poll, script, node));

    let mut script = Script::start().await;
    let starting = start(&script);
    script.expect("getblocktemplate").await.result(&answer(&prev(1), &[]));
    let node = Followed::ready(starting).await;
    let left = node.source.left().await;
    assert_eq!(left, std::slice::from_ref(&unanswered));
    let source = node.source.clone();
    let again = tokio::spawn(async move { source.resubmit(left.into_iter().next().unwrap()).await });
    let call = loop {
        let call = script.call().await;
        if call.method == "submitblock" {
            break call;
        }
    };
    assert_eq!(call.params[0], hex::encode(&unanswered.bytes));
    call.result(&json!("duplicate"));
    assert_eq!(again.await.unwrap(), Verdict::Accepted(unanswered));
    assert_eq!(files(), 0);
}

#[tokio::test]
async fn solutions_that_make_no_block_never_reach_the_node() {
    let mut script = Script::start().await;
    let (node, first, _poll) = Followed::start(&mut script, quick()).await;
    let (solution, _) = solved(&first);
    let unknown = Solution { template_id: 999, ..solution.clone() };
    let garbage = Solution { coinbase: vec![0; 9], ..solution };
    for (solution, hint) in [(unknown, "999"), (garbage, "coinbase")] {
        let verdict = node.submit(&solution).await.unwrap();
        assert!(matches!(&verdict, Verdict::Rejected(why) if why.contains(hint)), "{verdict:?}");
    }
    assert!(script.is_quiet());
}

#[tokio::test]
async fn a_refusal_by_error_is_a_refusal_and_other_errors_are_none() {
    let mut script = Script::start().await;
    let (node, first, _poll) = Followed::start(&mut script, quick()).await;
    let (solution, _) = solved(&first);
    let task = node.submit(&solution);
    script.expect("submitblock").await.error(-22, "Block decode failed");
    assert_eq!(task.await.unwrap(), Verdict::Rejected("Block decode failed".into()));
    let task = node.submit(&solution);
    script.expect("submitblock").await.error(-32_601, "Method not found");
    let verdict = task.await.unwrap();
    assert!(matches!(&verdict, Verdict::Unanswered(_, why) if why.contains("-32601")), "{verdict:?}");
}

/// D-TDP-18
/// `null` is a yes, so what is not there at all must not be taken for it: the block would leave the disk.
#[tokio::test]
async fn an_answer_without_a_result_is_no_yes() {
    let mut script = Script::start().await;
    let (node, template, _poll) = Followed::start(&mut script, quick()).await;
    let (solution, block) = solved(&template);
    for rest in [json!({}), json!({ "error": null }), json!({ "results": null })] {
        let verdict = node.submit(&solution);
        let call = script.expect("submitblock").await;
        let mut body = rest;
        body["id"] = call.id().clone();
        call.json("200 OK", &body);
        let Verdict::Unanswered(unanswered, reason) = verdict.await.unwrap() else { panic!("{body}") };
        assert!(unanswered == block && reason.contains("no answer to submitblock"), "{reason}");
    }
}

#[tokio::test]
async fn a_submission_goes_on_when_nobody_waits_for_it() {
    let mut script = Script::start().await;
    let (node, first, _poll) = Followed::start(&mut script, quick()).await;
    let (solution, _) = solved(&first);
    let waiting = node.submit(&solution);
    let call = script.expect("submitblock").await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    call.error(-28, "Verifying blocks…");
    script.expect("submitblock").await.result(&Value::Null);
}

#[tokio::test]
async fn the_owner_hears_after_ten_minutes_and_not_before_and_the_node_is_asked_on() {
    let mut script = Script::start().await;
    let settings = Settings { patience: Patience { then: quick().patience.then, ..SETTINGS.patience }, ..quick() };
    let (node, first, _poll) = Followed::start(&mut script, settings).await;
    let (solution, block) = solved(&first);
    let address = script.address;
    drop(script);
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    let verdict = node.source.submit(solution).await;
    let Verdict::Unanswered(unanswered, why) = verdict else { panic!("{verdict:?}") };
    assert!(why.contains("server=1") && unanswered == block, "{why}");
    let minutes = begin.elapsed().as_secs_f64() / 60.0;
    assert!((9.5..=10.0).contains(&minutes), "{minutes}");
    tokio::time::resume();
    let source = node.source.clone();
    let insisting = tokio::spawn(async move { source.insist(unanswered).await });
    let mut script = Script::start_at(address).await;
    for refuse in [true, true, false] {
        let call = loop {
            let call = script.call().await;
            if call.method == "submitblock" {
                break call;
            }
        };
        // No reason that passes by itself ends it either.
        if refuse { call.error(-32_601, "Method not found") } else { call.result(&Value::Null) }
    }
    assert_eq!(insisting.await.unwrap(), Verdict::Accepted(block));
}

/// What nobody can build on any more is not asked for ever.
#[tokio::test]
async fn a_block_deep_below_the_tip_is_given_up() {
    let mut script = Script::start().await;
    let (mut node, first, poll) = Followed::start(&mut script, quick()).await;
    let (_, block) = solved(&first);
    let source = node.source.clone();
    let insisting = tokio::spawn(async move { source.insist(block).await });
    let call = script.expect("submitblock").await;
    let mut next = answer(&prev(2), &[]);
    next["height"] = json!(first.parts.height + 101);
    poll.result(&next);
    node.next().await;
    let _poll = script.expect("getblocktemplate").await;
    call.error(-28, "Verifying blocks…");
    let verdict = insisting.await.unwrap();
    assert!(matches!(&verdict, Verdict::Lost(why) if why.contains("given up")), "{verdict:?}");
    assert!(script.is_quiet());
}

/// A provider on a node, with its first template; it goes on when it is polled.
struct Running {
    sender: queue::Sender<Heard>,
    told: Told,
    /// Dropped when no client is left.
    all_left: oneshot::Sender<()>,
    run: Pin<Box<dyn Future<Output = Result<(), ProviderError>>>>,
}

impl Running {
    /// So many events of clients may wait.
    async fn start(node: &Followed, places: usize) -> Self {
        let clock = Clock::start_at(UnixTime::from_secs(NOW));
        let (handle, _) = ProviderHandle::new(clock, 1, 4);
        let (sender, heard) = queue::channel(places);
        let (events, told) = Events::channel();
        let (all_left, left) = oneshot::channel();
        let source = node.source.clone();
        let mut run = Box::pin(provider::run(source, handle.clone(), heard, events, left, Shutdown::new(clock), clock));
        while handle.transactions(1).is_none() {
            assert!(futures_lite::future::poll_once(&mut run).await.is_none());
            yield_now().await;
        }
        Self { sender, told, all_left, run }
    }
}

/// Whoever sends what is no block, as fast as he likes, does not keep the others from a new template.
#[tokio::test]
async fn false_solutions_hold_back_no_template() {
    let mut script = Script::start().await;
    let (mut node, _, poll) = Followed::start(&mut script, quick()).await;
    let Running { sender, mut told, all_left, run } = Running::start(&node, 8).await;
    poll.result(&answer(&prev(2), &[]));
    node.next().await;
    for template_id in 0..3 {
        let no_block = ProviderEvent::NoBlock { peer: script.address, template_id, why: NoBlock::UnknownTemplate };
        sender.send(no_block.into()).await.unwrap();
    }
    drop(all_left);
    run.await.unwrap();
    let mut order = Vec::new();
    while let Some(event) = told.next().await {
        order.extend(match event {
            Event::Template { template_id, .. } => Some(template_id.to_string()),
            Event::Warning { .. } => Some("none".into()),
            _ => None,
        });
    }
    assert_eq!(order, ["1", "none", "2", "none", "none"], "not behind all of them");
}

/// Nor from what they wait for, nor the program from its other tasks.
#[tokio::test]
async fn false_solutions_hold_back_no_verdict_and_no_task() {
    let mut script = Script::start().await;
    let (node, _, _poll) = Followed::start(&mut script, quick()).await;
    let Running { sender, mut told, all_left, mut run } = Running::start(&node, 1_000).await;
    // Refused before the node is asked: as soon as its task has run.
    let found = FoundBlock {
        peer: script.address,
        template_id: 1,
        header: [0; 80],
        hash: [0; 32],
        coinbase_tx: vec![0; 9],
        stale: false,
        breach: None,
    };
    sender.send(ProviderEvent::Solution(found).into()).await.unwrap();
    assert!(futures_lite::future::poll_once(&mut run).await.is_none());
    for _ in 0..100 {
        yield_now().await;
    }
    for template_id in 0..1_000 {
        let no_block = ProviderEvent::NoBlock { peer: script.address, template_id, why: NoBlock::UnknownTemplate };
        sender.try_send(no_block.into()).unwrap();
    }
    assert!(futures_lite::future::poll_once(&mut run).await.is_none());
    assert!(sender.free() < 1_000, "the others have their turn before all of that is heard");
    drop(all_left);
    run.await.unwrap();
    let mut order = Vec::new();
    while let Some(event) = told.next().await {
        order.extend(match event {
            Event::BlockRejected { .. } => Some("verdict"),
            Event::Warning { .. } => Some("none"),
            _ => None,
        });
    }
    assert_eq!(order[..3], ["none", "verdict", "none"], "not behind all of them");
}

/// D-TDP-18: a pool tells a block again when its link broke, and a miner beside its pool: while the node has not answered it is one block, which is written,
/// handed over and told once; one that differs in the witness of its coinbase is another.
#[tokio::test]
async fn a_block_that_two_tell_of_at_once_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut script = Script::start().await;
    let config = NodeConfig { blocks_directory: Some(folder.path().to_owned()), ..config(&script, None) };
    let starting = follow_with(&config, quick());
    script.expect("getblocktemplate").await.result(&answer(&prev(1), &[]));
    let mut node = Followed::ready(starting).await;
    node.source.set_room(room(100));
    let first = node.next().await;
    let _poll = script.expect("getblocktemplate").await;
    let Running { sender, mut told, all_left, run, .. } = Running::start(&node, 8).await;
    let running = task::LocalSet::new();
    let running = running.run_until(async move {
        let run = task::spawn_local(run);
        let (solution, block) = solved(&first);
        let again = |port| SocketAddr::from(([192, 0, 2, 1], port));
        for peer in [again(1), again(2), again(2)] {
            let found = found(peer, &first, solution.clone(), &block);
            sender.send(ProviderEvent::Solution(found).into()).await.unwrap();
        }
        let call = script.expect("submitblock").await;
        assert_eq!(call.params[0], hex::encode(&block.bytes));
        let (other, other_block) = solve(&first, coinbase_of(&first, &[0x51], 77), NOW + 200);
        sender.send(ProviderEvent::Solution(found(again(3), &first, other, &other_block)).into()).await.unwrap();
        let second = script.expect("submitblock").await;
        assert_eq!(second.params[0], hex::encode(&other_block.bytes), "none of the first again");
        call.result(&Value::Null);
        second.result(&json!("inconclusive"));
        // The verdict is there, so it is another question.
        let mut events = Vec::new();
        while events.len() < 2 {
            events.extend(match told.next().await.unwrap() {
                Event::BlockAccepted { hash, .. } => Some(("accepted", hash)),
                Event::BlockStale { .. } => Some(("stale", other_block.hash_hex())),
                _ => None,
            });
        }
        events.sort();
        assert_eq!(events, [("accepted", block.hash_hex()), ("stale", other_block.hash_hex())]);
        assert!(script.is_quiet());
        sender.send(ProviderEvent::Solution(found(again(1), &first, solution, &block)).into()).await.unwrap();
        script.expect("submitblock").await.result(&json!("duplicate"));
        drop(all_left);
        run.await.unwrap().unwrap();
    });
    running.await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A solution of the provider's first template, as it is heard.
fn found(peer: SocketAddr, template: &Template, solution: Solution, block: &SolvedBlock) -> FoundBlock {
    let Solution { version, time, nonce, coinbase, .. } = solution;
    let header =
        Header { version, prev_hash: template.parts.prev_hash, merkle_root: [0; 32], ntime: time, nbits: 0, nonce };
    FoundBlock {
        peer,
        template_id: 1,
        header: header.to_bytes(),
        hash: block.hash,
        coinbase_tx: coinbase,
        stale: false,
        breach: None,
    }
}

/// D-TDP-18: the whole way of a block that the node is slow to answer: its finder's provider tells that there is no answer yet, goes on, and tells
/// the answer.
#[tokio::test]
async fn the_provider_goes_on_with_a_block_that_was_not_answered() {
    let mut script = Script::start().await;
    let patience = Patience { whole: Duration::ZERO, ..quick().patience };
    let (node, first, _poll) = Followed::start(&mut script, Settings { patience, ..quick() }).await;
    let (handle, _events) = ProviderHandle::new(Clock::start_at(UnixTime::from_secs(NOW)), 1, 4);
    let (sender, heard) = queue::channel(4);
    let (events, mut told) = Events::channel();
    let (all_left, left) = oneshot::channel();
    let clock = Clock::start_at(UnixTime::from_secs(NOW));
    let running = provider::run(node.source.clone(), handle.clone(), heard, events, left, Shutdown::new(clock), clock);
    let running = tokio::spawn(running);
    while handle.transactions(1).is_none() {
        yield_now().await;
    }
    let (solution, block) = solved(&first);
    let found = found(script.address, &first, solution, &block);
    sender.send(ProviderEvent::Solution(found).into()).await.unwrap();
    for _ in 0..3 {
        script.expect("submitblock").await.error(-28, "Verifying blocks…");
    }
    script.expect("submitblock").await.result(&Value::Null);
    drop(all_left);
    running.await.unwrap().unwrap();
    let mut seen = Vec::new();
    while let Some(event) = told.next().await {
        seen.extend(match event {
            Event::BlockUnanswered { .. } => Some("unanswered"),
            Event::BlockAccepted { hash, .. } => {
                assert_eq!(hash, block.hash_hex());
                Some("accepted")
            }
            Event::BlockStale { .. } | Event::BlockRejected { .. } => Some("another"),
            _ => None,
        });
    }
    assert_eq!(seen, ["unanswered", "accepted"]);
}
