//! A device at a pool. One text for all runtimes, the board's too, which include it as their tests: what they differ in is their `testing`
//! module.

use std::time::Duration;

use adit::mining::target::Target;

use crate::testing::{
    CLOSING, GRACE,
    house::{HARD, Options},
    or, run, run_still,
};

#[test]
fn a_device_mines_and_follows_new_tips() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        house.store_all(&lab);
        house.new_tip(1, HARD);
        let mut miner = lab.mine(&house, 10);
        miner.has_accepted(10).await;
        house.new_tip(2, HARD);
        miner.works_on([2; 32]).await;
        miner.has_accepted(20).await;
        let statistics = miner.end().await;
        assert_eq!((statistics.accepted, statistics.rejected, statistics.lost), (20, 0, 0));
    });
}

/// A block goes all the way: hasher, device, pool, and the provider where there is one.
#[test]
fn a_found_block_reaches_the_provider() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        house.store_all(&lab);
        house.new_tip(1, Target::MAX);
        let _miner = lab.mine(&house, 1);
        assert_eq!(house.block().await, [1; 32]);
    });
}

/// The pool goes and comes back at the same place: the device stops hashing, waits, and mines again.
#[test]
fn a_device_finds_a_restarted_pool_again() {
    run(async |lab| {
        let mut first = lab.house(Options::default());
        first.store_all(&lab);
        first.new_tip(1, HARD);
        let port = first.port();
        let mut miner = lab.mine(&first, 10);
        miner.has_accepted(10).await;
        first.end(&lab).await;
        miner.rests().await;
        let mut second = lab.house(Options { port, ..Options::default() });
        second.store_all(&lab);
        second.new_tip(2, HARD);
        miner.has_accepted(20).await;
        let statistics = miner.end().await;
        assert_eq!((statistics.accepted, statistics.lost), (20, 0), "the first pool acknowledged all before it ended");
    });
}

/// D-RECON-1, D-RECON-2, D-RECON-4: without a loss on the way.
#[test]
fn a_device_goes_where_it_is_sent() {
    run(async |lab| {
        let mut second = lab.house(Options::default());
        second.new_tip(2, HARD);
        second.store_all(&lab);
        let mut first = lab.house(Options { reconnect: Some(second.port()), ..Options::default() });
        first.new_tip(1, HARD);
        first.store_all(&lab);
        let mut miner = lab.mine(&first, 10);
        miner.has_accepted(10).await;
        first.end(&lab).await;
        miner.has_accepted(20).await;
        assert_eq!(second.accepted(&lab), 10);
        assert_eq!(miner.sent_to(), [second.port()]);
        let statistics = miner.end().await;
        assert_eq!((statistics.accepted, statistics.rejected, statistics.lost), (20, 0, 0));
    });
}

/// What was found before the stop is sent and answered, however slow the store is, and then nothing is waited for.
#[test]
fn a_shutdown_leaves_no_share_unanswered() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        house.new_tip(1, HARD);
        let miner = lab.mine(&house, 50);
        let first = house.ticket().await;
        assert_eq!(first, 1);
        let begin = lab.now();
        miner.stop(GRACE);
        miner.rests().await;
        let store = async {
            let mut stored = first;
            loop {
                lab.sleep(Duration::from_millis(20)).await;
                while let Some(ticket) = house.next_ticket() {
                    stored = ticket;
                }
                house.stored(stored);
            }
        };
        let statistics = or(store, miner.end()).await;
        assert!(statistics.accepted >= 1, "{statistics:?}");
        assert_eq!((statistics.unanswered(), statistics.lost, statistics.rejected), (0, 0, 0));
        assert!(lab.since(begin) < GRACE, "{:?}", lab.since(begin));
    });
}

/// A pool whose store is stuck does not keep the device beyond its grace.
#[test]
fn the_end_of_the_grace_ends_the_wait_for_answers() {
    run_still(async |lab| {
        let mut house = lab.house(Options::default());
        house.new_tip(1, HARD);
        let miner = lab.mine(&house, 1);
        house.ticket().await;
        let begin = lab.now();
        miner.stop(GRACE);
        miner.rests().await;
        let statistics = miner.end().await;
        let took = lab.since(begin);
        assert!(GRACE <= took && took <= GRACE + CLOSING, "{took:?}");
        assert_eq!((statistics.accepted, statistics.lost, statistics.unanswered()), (0, 1, 0));
    });
}

/// D-UPD-2: the server hears of another hash rate.
#[test]
fn the_pool_is_told_the_hash_rate() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        house.store_all(&lab);
        house.new_tip(1, HARD);
        let mut miner = lab.mine(&house, 1);
        miner.has_accepted(1).await;
        miner.set_hash_rate(1e12);
        let told = || {
            house.with(|pool| {
                let mut channels = pool.connections().flat_map(|(_, connection)| connection.channels());
                let first = channels.next().map(|channel| channel.nominal_hash_rate());
                (first, channels.count())
            })
        };
        while told() != (Some(1e12), 0) {
            lab.sleep(Duration::from_millis(1)).await;
        }
    });
}
