//! What the pool tells when something else fails: its store, or whoever listens.

use std::net::Ipv4Addr;

use adit::message::template::{NewTemplate, SetNewPrevHash, ToClient};
use adit::time::UnixTime;
use adit::wire::{B064K, B0255, Seq0255, U256};
use adit_tokio::pool::KeptBlock;
use adit_tokio::queue;

use super::*;
use crate::blocks::tests::kept;
use crate::identity::tests::issuer;
use crate::report::Told;
use crate::store::Fate;
use crate::store::tests::sample;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// A pool whose provider is nowhere, and which an earlier run has left a block that the provider was not told of.
fn start(directory: &tempfile::TempDir) -> (ReadyPool, Told, Shutdown) {
    let store = directory.path().join("shares");
    let held = KeptBlock { header_timestamp: NOW.as_secs(), told: false, ..kept(1, 700) };
    Store::open(&store, Retention::default()).unwrap().hold(&[held], &[]).unwrap();
    let clock = Clock::start_at(NOW);
    let (events, told) = Events::channel();
    let shutdown = Shutdown::new(clock);
    let issuer = issuer(3_600);
    // Nobody who could authenticate himself listens there.
    let provider = Server::from_url(&issuer.url((Ipv4Addr::LOCALHOST, 1).into())).unwrap();
    let settings = PoolSettings {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        issuer,
        provider,
        store,
        payouts: vec![(vec![0x51], 1)],
        tag: Vec::new(),
        shares_per_minute: 6.0,
        easiest_target: Target::MAX,
        limits: LimitsConfig::default(),
    };
    (settings.start(clock, events, shutdown.clone()).unwrap(), told, shutdown)
}

/// What nobody else has is told in full, also when the store fails, whether while the pool serves or at its end; and the store's own words are why it ends.
#[tokio::test]
async fn a_block_that_was_not_sent_is_told_when_the_store_fails() {
    for at_the_end in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (pool, mut told, shutdown) = start(&directory);
        let queue = pool.writer.queue();
        if at_the_end {
            shutdown.start(Duration::ZERO);
        }
        // Tickets have to rise.
        for _ in 0..2 {
            queue.try_send(sample(5).into()).unwrap();
        }
        drop(queue);
        let error = pool.serve().await.unwrap_err();
        assert!(matches!(error, PoolError::Store(_)) && error.to_string().contains("ticket"), "{error}");
        let mut unsent = Vec::new();
        while let Some(event) = told.waiting() {
            if let Event::BlockUnsent { nonce, coinbase_tx, .. } = event {
                unsent.push((nonce, coinbase_tx));
            }
        }
        let block = kept(1, 700);
        assert_eq!(unsent, [(block.header_nonce, hex::encode(&block.coinbase_tx))], "at the end: {at_the_end}");
    }
}

/// Every hash of a template of this height is a block.
fn new_tip(handle: &PoolHandle, height: u8, prev_hash: [u8; 32]) {
    let (template_id, prefix) = (u64::from(height), [1, height]);
    let template = NewTemplate {
        template_id,
        future_template: true,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: B0255::new(&prefix),
        coinbase_tx_input_sequence: u32::MAX,
        coinbase_tx_value_remaining: 5_000,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: B064K::new(&[]),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::new(&[]),
    };
    let tip = SetNewPrevHash {
        template_id,
        prev_hash: U256(prev_hash),
        header_timestamp: NOW.as_secs(),
        n_bits: 0x207f_ffff,
        target: U256(Target::MAX.to_le_bytes()),
    };
    handle.with(|pool| {
        pool.provider_connected();
        for message in [ToClient::NewTemplate(template), ToClient::SetNewPrevHash(tip)] {
            let _event = pool.handle_provider(Instant::ORIGIN, message).unwrap();
        }
    });
}

/// A flood of shares may crowd the news of a new tip out of the queue. What became of blocks is known all the same, and the store hears of it.
#[tokio::test]
async fn the_tip_is_kept_when_news_are_missed() {
    let clock = Clock::start_at(NOW);
    let pool = Pool::new(&PoolConfig::new(&[Payout { script_pubkey: &[0x51], weight: 1 }])).unwrap();
    let handle = PoolHandle::new(pool, AcceptAll, 1);
    let (events, mut told) = Events::channel();
    let (blocks, (store, mut stored)) = (Blocks::new(events.clone()), queue::channel(8));
    let [ours, rival] = [1, 2].map(|n| Share { block: true, ..sample(n) });
    for (share, n) in [(&ours, 1), (&rival, 2)] {
        blocks.found(share, Some(&kept(n, 99)), false);
    }
    new_tip(&handle, 100, ours.hash);
    // The first of them would have told of the tip.
    let (mut news, heard) = broadcast::broadcast(1);
    news.set_overflow(true);
    for template_id in [100, 101] {
        news.try_broadcast(PoolNews::Template(TemplateNews::Tip { prev_hash: ours.hash, template_id })).unwrap();
    }
    news.try_broadcast(PoolNews::Template(TemplateNews::Job { template_id: 101, future: false })).unwrap();
    drop(news);
    let keeper = Keeper::new(store, Vec::new());
    let watcher = Watcher { handle, events, clock, blocks: blocks.clone(), keeper, reasons: Reasons::default() };
    watcher.run(heard, oneshot::channel().1).await;
    drop(blocks);
    let mut confirmed = Vec::new();
    while let Some(event) = told.next().await {
        if let Event::BlockConfirmed { height, user, .. } = event {
            confirmed.push((height, user));
        }
    }
    let account = String::from_utf8(ours.account.to_vec()).unwrap();
    assert_eq!(confirmed, [(Some(99), account)]);
    let settled = stored.recv().await.expect("the store is told");
    assert!(stored.recv().await.is_none(), "once");
    let path = tempfile::tempdir().unwrap();
    let store = Store::open(&path.path().join("shares"), Retention::default()).unwrap();
    let writer = Writer::start(store, 8, |_| {}).unwrap();
    for command in [ours.into(), rival.into(), settled] {
        writer.queue().send(command).await.unwrap();
    }
    let fates = writer.finish().await.unwrap().reader().fates(8).unwrap();
    let fates: Vec<_> = fates.into_iter().map(|(share, fate)| (share.ticket, fate)).collect();
    assert_eq!(fates, [(2, Some(Fate::Stale)), (1, Some(Fate::Confirmed))]);
}
