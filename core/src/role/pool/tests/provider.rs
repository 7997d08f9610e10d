//! The pool and its template provider: links that break, restarts, faults, templates that give no job.

use super::super::testing::PAYOUTS;
use super::*;

/// The same work whatever the job, so that only what makes jobs differ makes shares differ.
fn share(channel_id: u32, job_id: u32) -> ToServer<'static> {
    ToServer::SubmitSharesStandard(SubmitSharesStandard {
        channel_id,
        sequence_number: 1,
        job_id,
        nonce: 7,
        ntime: 1_000_000,
        version: 0x2000_0000,
    })
}

#[test]
fn a_lost_provider_leaves_the_last_job_and_gets_the_block_later() {
    let mut bench = Bench::<Inline>::running(&config());
    let (id, channel, job) = bench.working();
    bench.serve();
    bench.provider.disconnect(bench.upstream);
    bench.pool.provider_lost();
    assert!(!bench.pool.has_provider());
    assert_eq!(bench.serve(), []);
    let PoolEvent::Share(share) = bench.share(id, channel, job).unwrap() else { panic!() };
    assert_eq!(share.block, Some(Block { submitted: true }));
    assert!(!bench.pool.provider_wants_outbound(), "nowhere to send it");

    bench.upstream = bench.provider.connect(Revision::Draft).unwrap();
    bench.pool.provider_connected();
    assert_eq!(bench.sync(), (vec!["future job", "tip"], vec![true]));
}

/// D-SHARE-1, D-ALG-3: templates that are alike make jobs that differ, so that a device that begins each job anew finds other shares.
#[test]
fn jobs_of_equal_templates_are_searched_separately() {
    let mut bench = Bench::<Inline>::running(&config());
    let (id, channel_id, first) = bench.working();
    bench.template(Basis::Tip);
    assert_eq!(bench.sync().0, ["job"]);
    bench.heard(id);
    // The same again from a provider whose link broke.
    bench.provider.disconnect(bench.upstream);
    bench.pool.provider_lost();
    bench.upstream = bench.provider.connect(Revision::Draft).unwrap();
    bench.pool.provider_connected();
    bench.sync();
    let heard = bench.heard(id);
    let Some(Heard::Job { job: last, future: false, .. }) = heard.first() else { panic!("{heard:?}") };
    assert_eq!(*last, first + 2);
    for job_id in first..=*last {
        let event = bench.handle(id, share(channel_id, job_id)).unwrap();
        assert!(matches!(event, PoolEvent::Share(_)), "job {job_id}: {event:?}");
    }
}

/// D-SHARE-1, D-ALG-3: the same of the same template with the same rewards told again: an owner who reads his configuration anew, say.
#[test]
fn rewards_that_are_told_again_make_jobs_that_differ() {
    let mut bench = Bench::<Inline>::running(&config());
    let (id, channel_id, mut job_id) = bench.working();
    let mut shares = Vec::new();
    for _ in 0..3 {
        shares.push(bench.handle(id, share(channel_id, job_id)).unwrap());
        bench.pool.set_rewards(&PAYOUTS, b"/test/").unwrap();
        let heard = bench.heard(id);
        let Some(Heard::Job { job, future: false, .. }) = heard.first() else { panic!("{heard:?}") };
        job_id = *job;
    }
    assert!(shares.iter().all(|event| matches!(event, PoolEvent::Share(_))), "{shares:?}");
}

/// D-TDP-17, D-TDP-20: nothing acknowledges a found block, so one that a broken link may have swallowed is sent again while its tip lasts, and
/// keeps all rules then.
#[test]
fn a_block_that_a_broken_link_swallowed_is_sent_again() {
    const NO_BLOCKS: [bool; 0] = [];
    let mut bench = Bench::<Inline>::running(&config());
    let (id, channel, job) = bench.working();
    let reconnect = |bench: &mut Bench<Inline>| {
        bench.provider.disconnect(bench.upstream);
        bench.pool.provider_lost();
        bench.now = bench.now.saturating_add(Duration::from_secs(90));
        bench.upstream = bench.provider.connect(Revision::Draft).unwrap();
        bench.pool.provider_connected();
    };
    bench.now = bench.now.saturating_add(Duration::from_secs(500));
    let event = bench.share_at(id, channel, job, 1_000_500).unwrap();
    assert!(matches!(event, PoolEvent::Share(Share { block: Some(Block { submitted: true }), .. })), "{event:?}");
    bench.pool.poll_provider_outbound(&mut bench.up.out()).unwrap();
    assert_eq!(bench.up.names::<Responder>(), ["SubmitSolution"], "and this is as far as it gets");
    reconnect(&mut bench);
    assert_eq!(bench.sync(), (vec!["future job", "tip"], vec![true]));
    assert!(bench.sync().1.is_empty());
    reconnect(&mut bench);
    assert_eq!(bench.sync().1, [true], "on every connection, for no link is to be trusted more than another");
    bench.new_block(2, Target::MAX);
    assert_eq!(bench.sync().0, ["future job", "tip"]);
    reconnect(&mut bench);
    assert_eq!(bench.sync().1, NO_BLOCKS, "the network has moved on");
}

/// D-TDP-20: what a device finds across a restart of the provider is by the time that it was told, and nobody is blamed for that: neither when the
/// provider names a later time for its tip, nor when its node's clock was set back.
#[test]
fn a_block_found_across_the_providers_restart_breaks_no_rule() {
    for named in [1_000_090, 999_000] {
        let mut bench = Bench::<Inline>::running(&config());
        let (id, channel, _) = bench.working();
        bench.now = bench.now.saturating_add(Duration::from_secs(90));
        bench.pool.provider_lost();
        *bench.provider = Provider::starting_at(1 << 40);
        let template = bench.template(Basis::Next);
        let same = crate::template::Tip { header_timestamp: named, ..tip(1) };
        bench.provider.new_tip(bench.now, template, same).unwrap();
        bench.upstream = bench.provider.connect(Revision::Draft).unwrap();
        bench.pool.provider_connected();
        assert_eq!(bench.sync().0, ["future job", "tip"]);
        let Some(Heard::Job { job, .. }) = bench.heard(id).into_iter().next() else { panic!("a job on the same tip") };
        for time in [1_000_000, 1_000_090] {
            let event = bench.share_at(id, channel, job, time).unwrap();
            assert!(matches!(event, PoolEvent::Share(Share { block: Some(_), .. })), "{event:?}");
            assert_eq!(bench.sync().1, [true], "told {named}, found at {time}");
        }
    }
}

#[test]
fn a_provider_that_comes_back_on_the_same_tip_makes_nothing_stale() {
    let mut bench = Bench::<Inline>::running(&config());
    let (id, channel, job) = bench.working();
    let restart = |bench: &mut Bench<Inline>, n| {
        bench.pool.provider_lost();
        *bench.provider = Provider::default();
        bench.new_block(n, Target::MAX);
        bench.upstream = bench.provider.connect(Revision::Draft).unwrap();
        bench.pool.provider_connected();
        assert_eq!(bench.sync().0, ["future job", "tip"]);
    };
    restart(&mut bench, 1);
    let heard = bench.heard(id);
    assert!(matches!(heard[..], [Heard::Job { future: false, .. }, ..]), "{heard:?}");
    assert!(!heard.iter().any(|heard| matches!(heard, Heard::PrevHash { .. })), "{heard:?}");
    assert!(matches!(bench.share(id, channel, job), Ok(PoolEvent::Share(_))));
    assert_eq!(bench.sync().1, [true], "a block of the job before the restart");
    restart(&mut bench, 2);
    assert!(matches!(bench.share(id, channel, job), Ok(PoolEvent::Rejected { .. })));
}

/// D-TDP-7: what the provider does wrong ends its connection only.
#[test]
fn faults_of_the_provider_are_its_own() {
    let mut bench = Bench::<Inline>::running(&config());
    let prev = template::SetNewPrevHash {
        template_id: 99,
        prev_hash: U256::ZERO,
        header_timestamp: 0,
        n_bits: 0,
        target: U256::ZERO,
    };
    assert!(bench.pool.handle_provider(bench.now, template::ToClient::SetNewPrevHash(prev)).is_err());
    bench.pool.provider_lost();
    let (id, channel, job) = bench.working();
    assert!(matches!(bench.share(id, channel, job), Ok(PoolEvent::Share(_))));
}

#[test]
fn templates_that_give_no_job_are_said_and_survived() {
    let mut bench = Bench::<Inline>::running(&config());
    let id = bench.connect();
    assert!(matches!(bench.open(id, "worker"), Ok(PoolEvent::Opened { .. })));
    bench.heard(id);
    let rich = template::NewTemplate {
        template_id: 50,
        future_template: true,
        version: 1,
        coinbase_tx_version: 1,
        coinbase_prefix: B0255::new(&[1, 7]),
        coinbase_tx_input_sequence: 0,
        coinbase_tx_value_remaining: u64::MAX,
        coinbase_tx_outputs_count: 0,
        coinbase_tx_outputs: B064K::new(&[]),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0255::default(),
    };
    let event = bench.pool.handle_provider(bench.now, template::ToClient::NewTemplate(rich)).unwrap();
    let why = JobError::Coinbase(CoinbaseError::ValueOutOfRange(u64::MAX));
    assert_eq!(event, ProviderEvent::Template(TemplateNews::NoJob { template_id: 50, why }));
    let long = template::NewTemplate { template_id: 51, coinbase_prefix: B0255::new(&[0; 9]), ..rich };
    let event = bench.pool.handle_provider(bench.now, template::ToClient::NewTemplate(long)).unwrap();
    assert!(matches!(event, ProviderEvent::Template(TemplateNews::Unusable { template_id: 51, .. })));
    let tip = template::SetNewPrevHash {
        template_id: 51,
        prev_hash: U256([9; 32]),
        header_timestamp: 0,
        n_bits: 0,
        target: U256::ZERO,
    };
    let event = bench.pool.handle_provider(bench.now, template::ToClient::SetNewPrevHash(tip)).unwrap();
    assert_eq!(event, ProviderEvent::Template(TemplateNews::TipWithoutJob { prev_hash: [9; 32] }));
    let now = template::NewTemplate { template_id: 52, future_template: false, coinbase_tx_value_remaining: 5, ..rich };
    let event = bench.pool.handle_provider(bench.now, template::ToClient::NewTemplate(now)).unwrap();
    assert_eq!(event, ProviderEvent::Template(TemplateNews::Job { template_id: 52, future: false }));
    let heard = bench.heard(id);
    assert!(matches!(heard[..], [Heard::Job { future: true, .. }, Heard::PrevHash { prev: 9, .. }]), "{heard:?}");
}
