//! Client and server of this crate in conversation, in frames.

use std::vec::Vec;

use super::testing::*;
use super::*;
use crate::message::mining::ToServer;
use crate::mining::header::Header;
use crate::mining::server::{Reason, ServerConfig};
use crate::time::Instant;
use core::time::Duration;

fn revisions() -> [Revision; 2] {
    [Revision::Draft, Revision::Current]
}

/// D-OPEN-1, D-MIN-4, D-ALG-1, D-SHARE-4: a channel opens, its job is mined, a share is accepted and acknowledged once it is stored.
#[test]
fn a_share_is_accepted_and_acknowledged_after_it_was_stored() {
    for revision in revisions() {
        let mut bench = Small::new(terms(revision, SetupFlags::REQUIRES_STANDARD_JOBS), ServerConfig::default());
        bench.ask_standard();
        let channel = bench.opened();
        let work = bench.client.work(channel).unwrap();
        assert_eq!((work.prev_hash, work.min_ntime, work.nbits), ([1; 32], 1_700_000_001, 0x1703_a30c));
        let mask = if revision == Revision::Draft { 0x1fff_e000 } else { 0x1fff_ffe0 };
        assert_eq!((work.version, work.version_mask), (0x2000_0000, mask));

        bench.now = bench.now.saturating_add(Duration::from_secs(3));
        let rolled = work.solution(work.version ^ 0x0000_2000, work.max_ntime(bench.now), 5);
        assert_eq!(bench.submit(&rolled), Ok(1));
        assert_eq!(bench.submit(&mine(&work, 6)), Ok(2));
        assert!(bench.exchange().is_empty(), "not stored yet");
        assert_eq!(bench.pool.rejected, []);
        let header = Header { nonce: 5, ntime: 1_700_000_004, ..work.header(0x2000_2000, 0, 0) };
        assert_eq!(bench.pool.hashes[0], header.hash());
        assert_eq!(bench.client.statistics().unanswered(), 2);

        bench.pool.server.stored(2);
        let events = bench.exchange();
        assert!(matches!(
            events[..],
            [ClientEvent::Accepted { last_sequence_number: 2, count: 2, difficulty: 0, channel_id }] if channel_id == channel
        ));
        let statistics = *bench.client.statistics();
        assert_eq!((statistics.submitted, statistics.accepted, statistics.unanswered()), (2, 2, 0));
        assert_eq!(bench.client.channel(channel).unwrap().statistics(), &statistics);
    }
}

/// D-MIN-5, D-MIN-6: once the prevhash is here, old work is not sent any more; while it is on the way, the server says so.
#[test]
fn work_of_an_old_prevhash_is_stale() {
    let mut bench = Small::draft();
    bench.ask_standard();
    let channel = bench.opened();
    let old = bench.client.work(channel).unwrap();

    bench.pool.block(bench.now, 2);
    assert_eq!(bench.submit(&mine(&old, 0)), Ok(1), "the client can't know");
    let events = bench.exchange();
    assert_eq!(bench.pool.rejected[0].reason, Reason::Stale);
    let rejected = |event: &ClientEvent<'_>| matches!(event, ClientEvent::Rejected { sequence_number: 1, error_code, .. } if *error_code == "stale-share");
    assert!(events.iter().any(rejected), "{events:?}");
    assert_eq!(bench.client.work(channel).unwrap().prev_hash, [2; 32]);

    assert_eq!(bench.submit(&mine(&old, 0)), Err(NotSent::Stale));
    assert!(bench.taken().is_empty());
    let statistics = bench.client.statistics();
    assert_eq!((statistics.rejected, statistics.not_sent, statistics.unanswered()), (1, 1, 0));
}

/// D-MIN-1: a job to start at once replaces the one in work; shares of that one count as long as the prevhash lasts.
#[test]
fn a_replaced_job_counts_until_the_prevhash() {
    let mut bench = Small::draft();
    bench.ask_standard();
    let channel = bench.opened();
    let first = bench.client.work(channel).unwrap();
    bench.pool.job(false);
    assert!(matches!(bench.exchange()[..], [ClientEvent::Work { to }] if to == channel));
    let second = bench.client.work(channel).unwrap();
    assert_ne!((first.serial, first.job_id, first.merkle_root), (second.serial, second.job_id, second.merkle_root));
    assert_eq!((first.prev_hash, first.min_ntime), (second.prev_hash, second.min_ntime));
    assert_eq!(bench.submit(&mine(&first, 0)), Ok(1));
    assert_eq!(bench.submit(&mine(&second, 0)), Ok(2));
    bench.exchange();
    assert_eq!((bench.pool.accepted.len(), bench.pool.rejected.len()), (2, 0));
}

/// D-TGT-1, D-UPD-3: a new target counts for the next job; the job in work keeps its own on both sides.
#[test]
fn both_sides_know_from_when_a_target_counts() {
    let mut bench = Small::draft();
    bench.ask_standard();
    let channel = bench.opened();
    let running = bench.client.work(channel).unwrap();
    // Harder by two: too little for the server to send a new job on its own.
    let harder = Target::from_expected_hashes(running.target.expected_hashes() * 2.0).unwrap();
    bench.client.update(bench.now, channel, 0.0, harder).unwrap();
    let events = bench.exchange();
    assert!(matches!(events[..], [ClientEvent::Target { to }] if to == channel), "{events:?}");
    let told = bench.client.channel(channel).unwrap().target();
    assert!(told < running.target && told <= harder);
    assert_eq!(bench.client.work(channel), Some(running));

    bench.pool.job(false);
    bench.exchange();
    let next = bench.client.work(channel).unwrap();
    assert_eq!(next.target, told);
    assert_eq!(bench.pool.server.channel(channel).unwrap().target(), told);
    // One that is good enough for the old job only.
    let between = |nonce: &u32| {
        let hash = running.header(running.version, running.min_ntime, *nonce).hash();
        running.target.is_met_by(&hash) && !told.is_met_by(&hash)
    };
    let nonce = (0..=u32::MAX).find(between).unwrap();
    bench.submit(&running.solution(running.version, running.min_ntime, nonce)).unwrap();
    bench.submit(&mine(&next, 0)).unwrap();
    bench.exchange();
    assert_eq!((bench.pool.accepted.len(), bench.pool.rejected.len()), (2, 0));
    assert!(bench.pool.accepted[1].target < bench.pool.accepted[0].target);
}

/// D-CHAN-4, D-MIN-7, D-MIN-8, D-ALG-1: jobs and prevhashes of a group become each member's own work.
#[test]
fn group_jobs_become_the_work_of_each_member() {
    for revision in revisions() {
        let mut bench = Large::new(terms(revision, SetupFlags::NONE), ServerConfig::default());
        bench.ask_standard();
        bench.ask_standard();
        bench.exchange();
        let ids: Vec<u32> = bench.client.channels().map(|channel| channel.id()).collect();
        assert_eq!(ids.len(), 2);
        let group = bench.client.channel(ids[0]).unwrap().group().unwrap();
        assert_eq!(bench.client.channel(ids[1]).unwrap().group(), Some(group));

        bench.pool.job(true);
        let events = bench.exchange();
        assert!(matches!(events[..], [ClientEvent::Queued { to }] if to == group), "{events:?}");
        bench.pool.prev_hash(bench.now, 2);
        let events = bench.exchange();
        assert!(matches!(events[..], [ClientEvent::Work { to }] if to == group), "{events:?}");
        let works: Vec<Work> = ids.iter().map(|id| bench.client.work(*id).unwrap()).collect();
        assert_ne!(works[0].merkle_root, works[1].merkle_root, "each searches its own space (D-CHAN-7)");
        for work in &works {
            assert_eq!(work.prev_hash, [2; 32]);
            bench.submit(&mine(work, 0)).unwrap();
        }
        bench.pool.job(false);
        bench.exchange();
        for id in &ids {
            let work = bench.client.work(*id).unwrap();
            bench.submit(&mine(&work, 0)).unwrap();
        }
        bench.exchange();
        assert_eq!((bench.pool.accepted.len(), bench.pool.rejected.len()), (4, 0), "{:?}", bench.pool.rejected);
    }
}

/// D-ALG-2, D-SHARE-3: an extended channel rolls its own part of the extranonce.
#[test]
fn an_extended_channel_rolls_its_extranonce() {
    for revision in revisions() {
        let mut bench = Large::new(terms(revision, SetupFlags::NONE), ServerConfig::default());
        bench.ask_extended();
        let channel = bench.opened();
        assert!(bench.client.work(channel).is_none(), "no header without an extranonce");
        let view = bench.client.channel(channel).unwrap();
        assert_eq!((view.kind(), view.extranonce_size()), (ChannelKind::Extended, 5));
        let extended = bench.client.extended_work(channel).unwrap();
        assert!(extended.root(&[0; 4]).is_none() && extended.work(&[0; 6]).is_none());
        let works = [[0, 0, 0, 0, 1], [9, 9, 9, 9, 9]].map(|extranonce| extended.work(&extranonce).unwrap());
        assert_ne!(works[0].merkle_root, works[1].merkle_root);
        let mut short = mine(&works[0], 0);
        short.extranonce = ExtranoncePrefix::new(&[0; 4]).unwrap();
        assert_eq!(bench.submit(&short), Err(NotSent::ExtranonceSize));
        for work in works {
            bench.submit(&mine(&work, 0)).unwrap();
        }
        bench.exchange();
        assert_eq!((bench.pool.accepted.len(), bench.pool.rejected.len()), (2, 0), "{:?}", bench.pool.rejected);
    }
}

/// D-EXN-1: the server moves a channel to another prefix; jobs of both count until the old ones are gone.
#[test]
fn a_moved_prefix_counts_for_later_jobs() {
    let mut bench = Large::draft();
    bench.ask_extended();
    let channel = bench.opened();
    let before = bench.client.channel(channel).unwrap().extranonce_prefix();
    // The server remembers 256 shares inline, and moves on before they are full.
    let mut nonce = 0;
    while bench.client.channel(channel).unwrap().extranonce_prefix() == before {
        let work = bench.client.extended_work(channel).unwrap().work(&[0; 5]).unwrap();
        let solution = mine(&work, nonce);
        nonce = solution.nonce + 1;
        bench.submit(&solution).unwrap();
        bench.exchange();
        assert!(nonce < 100_000, "the server never moved");
    }
    let work = bench.client.extended_work(channel).unwrap().work(&[0; 5]).unwrap();
    bench.submit(&mine(&work, 0)).unwrap();
    bench.exchange();
    assert_eq!(bench.pool.rejected, []);
}

/// D-CLOSE-1: either side closes, and nothing more is sent for the channel.
#[test]
fn a_closed_channel_is_gone_on_both_sides() {
    let mut bench = Small::draft();
    bench.ask_standard();
    let channel = bench.opened();
    let work = bench.client.work(channel).unwrap();
    let mut out = crate::mining::server::Out::plain(&mut bench.pool.output, Revision::Draft);
    bench.pool.server.close(&mut bench.pool.shared, channel, "bye", &mut out).unwrap();
    bench.submit(&mine(&work, 0)).unwrap();
    let bytes = bench.pool.sent();
    let (header, payload) = frames(&bytes)[0];
    let message = crate::protocol::decode_incoming::<Initiator, Mining>(header, payload, Revision::Draft).unwrap();
    assert!(
        matches!(bench.handle(&message), Ok(ClientEvent::Closed { id, reason_code }) if id == channel && reason_code == "bye")
    );
    assert!(bench.client.is_empty() && bench.client.work(channel).is_none());
    assert_eq!(bench.client.statistics().lost, 1, "its share is answered to nobody");
    let events = bench.exchange();
    assert!(matches!(events[..], [ClientEvent::Ignored(Ignored::UnknownChannel(_))]), "{events:?}");
    assert_eq!(bench.submit(&mine(&work, 0)), Err(NotSent::Stale));

    bench.ask_standard();
    let channel = bench.opened();
    let mut out = Out::plain(&mut bench.output, Revision::Draft);
    bench.client.close(channel, "done", &mut out).unwrap();
    bench.exchange();
    assert!(bench.pool.server.is_empty() && bench.client.is_empty());
}

/// D-UPD-2: the server hears of the last of many updates, and of one a second at most.
#[test]
fn updates_are_held_back_to_one_a_second() {
    let mut bench = Small::draft();
    bench.ask_standard();
    let channel = bench.opened();
    let told = |bench: &Small| bench.pool.server.channel(channel).unwrap().nominal_hash_rate();
    bench.client.update(bench.now, channel, 1e9, Target::MAX).unwrap();
    assert!(bench.client.wants_outbound());
    bench.exchange();
    assert_eq!(told(&bench).to_bits(), 1e9_f32.to_bits());

    let start: Instant = bench.now;
    for rate in [2e9, 3e9, 4e9] {
        bench.now = bench.now.saturating_add(Duration::from_millis(100));
        bench.client.update(bench.now, channel, rate, Target::MAX).unwrap();
        assert!(!bench.client.wants_outbound());
    }
    bench.exchange();
    assert_eq!(told(&bench).to_bits(), 1e9_f32.to_bits());
    assert_eq!(bench.client.poll_timeout(), Some(start.saturating_add(Duration::from_secs(1))));
    bench.client.handle_timeout(bench.now);
    assert!(!bench.client.wants_outbound(), "not yet");
    bench.now = bench.client.poll_timeout().unwrap();
    bench.client.handle_timeout(bench.now);
    assert!(bench.client.wants_outbound() && bench.client.poll_timeout().is_none());
    let mut out = Out::plain(&mut bench.output, Revision::Draft);
    bench.client.poll_outbound(bench.now, &mut out).unwrap();
    let sent = bench.taken();
    assert_eq!(names(&sent, Revision::Draft), ["UpdateChannel"]);
    assert!(
        matches!(sent[0], ToServer::UpdateChannel(update) if update.nominal_hash_rate.to_bits() == 4e9_f32.to_bits())
    );
    assert!(!bench.client.wants_outbound());
}
