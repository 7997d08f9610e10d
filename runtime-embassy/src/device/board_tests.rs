//! Devices of a board at the core's pool, over two joined stacks and Noise: what only a board has. What all devices have in common is tested by
//! `conformance/roles/device.rs`.

use core::time::Duration;

use adit::time::UnixTime;

use super::Ended;
use crate::clock::WithoutClock;
use crate::connect::ConnectError;
use crate::testing::house::{HARD, Options};
use crate::testing::miner::Settled;
use crate::testing::{PERIOD, WALL, run};

/// By its name, which the stack asks for at the name server (D-URL-2).
#[test]
fn a_name_is_resolved() {
    run(async |lab| {
        let house = lab.house(Options::default());
        house.new_tip(1, HARD);
        let miner = lab.board(Settled { url: "stratum2+tcp://pool.test.:3333", ..Settled::default() });
        house.has_accepted(3).await;
        assert!(miner.heard("to pool.test.:3333"));
    });
}

#[test]
fn what_cannot_be_reached_is_told_apart() {
    let cases = [
        ("stratum2+tcp://nowhere.test:3333", ConnectError::Resolve),
        #[cfg(not(feature = "ipv6"))]
        ("stratum2+tcp://[::1]:3333", ConnectError::NoAddress),
        ("stratum2+tcp://10.0.0.2:9", ConnectError::Refused(embedded_io_async::ErrorKind::ConnectionReset)),
        ("stratum2+tcp://10.0.0.77:9", ConnectError::TimedOut),
    ];
    for (url, error) in cases {
        run(async |lab| {
            lab.net.plugged.set(error != ConnectError::TimedOut);
            let miner = lab.board(Settled { url, ..Settled::default() });
            miner.hears(&std::format!("ended: {}", Ended::Connect(error))).await;
        });
    }
}

/// The cable is pulled and put back.
#[test]
fn a_device_survives_a_dead_network() {
    run(async |lab| {
        let mut house = lab.house(Options::default());
        house.store_all(&lab);
        house.new_tip(1, HARD);
        let miner = lab.board(Settled::default());
        house.has_accepted(5).await;
        lab.net.plugged.set(false);
        miner.hears("ended: the peer does not take what is sent to it").await;
        lab.net.plugged.set(true);
        let before = usize::try_from(house.accepted(&lab)).unwrap();
        house.has_accepted(before + 5).await;
    });
}

/// The future of `run` is dropped again and again, each time at a later await: it always begins anew and in the end it mines.
#[test]
fn dropping_the_device_at_every_await_leaves_it_usable() {
    for polls in [1, 2, 3, 5, 7, 11] {
        run(async |lab| {
            let mut house = lab.house(Options::default());
            house.store_all(&lab);
            house.new_tip(1, HARD);
            let miner = lab.board(Settled { chop: Some(polls), ..Settled::default() });
            house.has_accepted(5).await;
            assert!(miner.count("to 10.0.0.2") > 1, "{polls}");
            assert_eq!(miner.end().await.rejected, 0, "{polls}");
        });
    }
}

/// Without a clock: refused until someone sets it, or the signature alone, or its end against the firmware's date. Never silently.
#[test]
fn without_a_clock_it_is_as_the_settings_say() {
    run(async |lab| {
        let house = lab.house(Options::default());
        house.new_tip(1, HARD);
        let miner = lab.board(Settled { wall: None, ..Settled::default() });
        miner.hears("the time is not known").await;
        lab.sleep(Duration::from_secs(10)).await;
        assert!(!miner.heard("to 10.0.0.2"), "nothing was tried");
        miner.set_clock(WALL);
        house.has_accepted(1).await;
        assert!(miner.heard("Checked"));
    });
    for (built, works) in [(WALL.as_secs(), true), (PERIOD.1, true), (PERIOD.1 + 1, false)] {
        run(async |lab| {
            let house = lab.house(Options::default());
            house.new_tip(1, HARD);
            let without_clock = WithoutClock::SignatureOnly { built: UnixTime::from_secs(built) };
            let miner = lab.board(Settled { wall: None, without_clock, ..Settled::default() });
            if works {
                house.has_accepted(1).await;
            } else {
                miner.hears("before this firmware was made").await;
            }
            assert_eq!(miner.heard("Unchecked"), works);
            assert_eq!(house.accepted(&lab) > 0, works);
        });
    }
}

/// A clock that runs wrong: the certificate is refused, and why is said.
#[test]
fn an_expired_certificate_is_refused() {
    run(async |lab| {
        let _house = lab.house(Options::default());
        let wall = Some(UnixTime::from_secs(PERIOD.1 + 60));
        let miner = lab.board(Settled { wall, ..Settled::default() });
        miner.hears("certificate expired").await;
        assert!(!miner.heard("Checked"));
    });
}

/// Nothing is connected without random numbers, and it is tried again.
#[test]
fn without_entropy_nothing_is_connected() {
    run(async |lab| {
        let house = lab.house(Options::default());
        house.new_tip(1, HARD);
        let miner = lab.board(Settled { broken_entropy: true, ..Settled::default() });
        miner.hears("random number generator").await;
        lab.sleep(Duration::from_secs(5)).await;
        assert!(!miner.heard("to 10.0.0.2"));
        miner.mend_entropy();
        house.has_accepted(1).await;
    });
}
