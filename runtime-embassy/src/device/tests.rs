//! Devices at the core's pool, over two joined stacks and Noise: the roles' tests of the tokio runtime, and what only a board has.

use super::*;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use adit::backoff::BackoffConfig;
use adit::mining::client::Work;
use adit::role::device::Outcome;
use adit::time::UnixTime;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;

use crate::clock::{now, sleep_until};
use crate::connect::ConnectError;
use crate::entropy::NoEntropy;
use crate::hashing::{Engine, Found, SoftwareEngine, serve};
use crate::net::Tcp;
use crate::testing::house::House;
use crate::testing::net::Net;
use crate::testing::{PERIOD, Tasks, WALL, block_on, initiator};
use crate::upstream::Server;

const PORT: u16 = 3333;

/// Finds so many shares of each work and no more, so that none is on its way when the work changes.
struct Few {
    engine: SoftwareEngine,
    limit: u32,
    left: u32,
}

impl Engine for Few {
    type Error = core::convert::Infallible;

    async fn start(&mut self, work: &Work) -> Result<(), Self::Error> {
        self.left = self.limit;
        self.engine.start(work).await
    }

    async fn stop(&mut self) -> Result<(), Self::Error> {
        self.engine.stop().await
    }

    async fn next(&mut self) -> Result<Found, Self::Error> {
        if self.left == 0 {
            return core::future::pending().await;
        }
        let found = self.engine.next().await?;
        self.left -= 1;
        Ok(found)
    }
}

/// All of a board but its network.
struct Miner {
    wall: WallClock<NoopRawMutex>,
    desk: Desk<NoopRawMutex>,
    entropy: Cell<u64>,
    broken_entropy: Cell<bool>,
    news: RefCell<Vec<String>>,
    without_clock: WithoutClock,
    url: &'static str,
    /// Shares of each work.
    limit: u32,
}

impl Miner {
    fn new() -> Self {
        let miner = Self {
            wall: WallClock::new(),
            desk: Desk::new(),
            entropy: Cell::new(0),
            broken_entropy: Cell::new(false),
            news: RefCell::default(),
            without_clock: WithoutClock::Refuse,
            url: "stratum2+tcp://10.0.0.2:3333",
            limit: u32::MAX,
        };
        miner.wall.set(WALL);
        miner
    }

    fn hear(&self, news: &News<'_>) {
        self.news.borrow_mut().push(match news {
            News::Connecting(endpoint) => std::format!("to {}:{}", endpoint.host(), endpoint.port()),
            News::Secured(_, period) => std::format!("{period:?}"),
            News::Outcome(Outcome::Reconnect(endpoint)) => std::format!("sent to {}", endpoint.port()),
            News::Ended(why, _) => std::format!("ended: {why}"),
            _ => return,
        });
    }

    fn heard(&self, what: &str) -> bool {
        self.news.borrow().iter().any(|news| news.contains(what))
    }

    async fn hears(&self, what: &str) {
        while !self.heard(what) {
            wait(1).await;
        }
    }

    /// Entropy that is different each time; enough for a test.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        if self.broken_entropy.get() {
            return Err(NoEntropy);
        }
        self.entropy.set(self.entropy.get() + 1);
        bytes.fill(self.entropy.get().to_le_bytes()[0]);
        Ok(())
    }
}

async fn wait(millis: u64) {
    sleep_until(Some(now().saturating_add(Duration::from_millis(millis)))).await;
}

/// Runs a device, a hasher and what the test does, until the test is done. `stop` ends the device in order.
async fn run(
    miner: &Miner,
    net: &Net,
    tasks: &mut Tasks<'_>,
    chop: Option<u32>,
    test: impl AsyncFnOnce(&dyn Fn()) -> (),
) -> adit::mining::client::Statistics {
    let (mut rx, mut tx) = ([0; 1024], [0; 512]);
    let server = Server { connection: initiator(), ..Server::parse_without_authentication(miner.url).unwrap() };
    let servers = [server];
    let backoff = BackoffConfig { first: Duration::from_millis(10), ..BackoffConfig::default() };
    let settings = Settings {
        upstream: UpstreamConfig { backoff, ..UpstreamConfig::new(&servers) },
        without_clock: miner.without_clock,
        link: LinkSettings::DEFAULT,
    };
    let board = Board {
        network: Tcp::new(net.board, &mut rx, &mut tx),
        entropy: |bytes: &mut [u8]| miner.fill(bytes),
        wall: &miner.wall,
        desk: &miner.desk,
    };
    let config = DeviceConfig::new("account.worker", "test", "none", "0", "");
    let mut task = DeviceTask::<_, _, _>::new(config, settings, board);
    let stopped = Cell::new(false);
    let mut engine = Few { engine: SoftwareEngine::new(1), limit: miner.limit, left: 0 };
    let device = async {
        let stop = || async {
            while !stopped.get() {
                wait(1).await;
            }
        };
        match chop {
            None => task.run(stop(), |news| miner.hear(&news)).await,
            Some(polls) => {
                // Dropped after so many polls that wait, and begun anew.
                let mut left = polls;
                loop {
                    let cut = async {
                        for _ in 0..left {
                            embassy_futures::yield_now().await;
                        }
                    };
                    if let Either::First(()) = select(task.run(stop(), |news| miner.hear(&news)), cut).await {
                        break;
                    }
                    left += polls;
                }
            }
        }
    };
    let mut hashing = Tasks::default();
    hashing.spawn(serve(&miner.desk, &mut engine));
    let all = async {
        let test = async {
            test(&|| stopped.set(true)).await;
            stopped.set(true);
        };
        embassy_futures::join::join(device, test).await;
    };
    tasks.run(hashing.run(all)).await;
    drop(hashing);
    *task.device().statistics()
}

#[test]
fn a_device_mines_and_follows_new_tips() {
    block_on(async {
        let (mut miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
        miner.limit = 10;
        let net = Net::new(&mut tasks);
        tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
        let statistics = run(&miner, &net, &mut tasks, None, async |_| {
            house.new_tip(1);
            house.has_accepted(10).await;
            house.new_tip(2);
            while miner.desk.work().is_none_or(|work| work.prev_hash != [2; 32]) {
                wait(1).await;
            }
            house.has_accepted(20).await;
        })
        .await;
        assert!(statistics.accepted >= 20 && statistics.unanswered() == 0, "{statistics:?}");
        assert_eq!((statistics.rejected, statistics.lost), (0, 0), "stale work never reached the pool");
        assert!(miner.heard("Checked"));
    });
}

/// By its name, which the stack asks for at the name server (D-URL-2).
#[test]
fn a_name_is_resolved() {
    block_on(async {
        let (mut miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
        miner.url = "stratum2+tcp://pool.test.:3333";
        let net = Net::new(&mut tasks);
        tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
        house.new_tip(1);
        run(&miner, &net, &mut tasks, None, async |_| house.has_accepted(3).await).await;
        assert!(miner.heard("to pool.test.:3333"));
    });
}

#[test]
fn what_cannot_be_reached_is_told_apart() {
    let cases = [
        ("stratum2+tcp://nowhere.test:3333", ConnectError::Resolve),
        ("stratum2+tcp://[::1]:3333", ConnectError::NoAddress),
        ("stratum2+tcp://10.0.0.2:9", ConnectError::Refused(embedded_io_async::ErrorKind::ConnectionReset)),
        ("stratum2+tcp://10.0.0.77:9", ConnectError::TimedOut),
    ];
    for (url, error) in cases {
        block_on(async {
            let (mut miner, mut tasks) = (Miner::new(), Tasks::default());
            miner.url = url;
            let net = Net::new(&mut tasks);
            if error == ConnectError::TimedOut {
                net.plugged.set(false);
            }
            let ended = std::format!("ended: {}", Ended::Connect(error));
            run(&miner, &net, &mut tasks, None, async |_| miner.hears(&ended).await).await;
        });
    }
}

/// The pool crashes and comes back at the same place: the device stops hashing, waits, and mines again.
#[test]
fn a_device_finds_a_restarted_pool_again() {
    block_on(async {
        let (miner, mut tasks) = (Miner::new(), Tasks::default());
        let net = Net::new(&mut tasks);
        let (first, second) = (House::new(), House::new());
        let crash = Rc::new(Cell::new(false));
        let (dies, lives, pool) = (Rc::clone(&first), Rc::clone(&second), net.pool);
        let crashed = Rc::clone(&crash);
        tasks.spawn(async move {
            let _crash = select(dies.serve(pool, PORT), async {
                while !crashed.get() {
                    wait(1).await;
                }
            })
            .await;
            wait(2_000).await;
            lives.serve(pool, PORT).await;
        });
        first.new_tip(1);
        second.new_tip(2);
        let statistics = run(&miner, &net, &mut tasks, None, async |_| {
            first.has_accepted(10).await;
            crash.set(true);
            while miner.desk.work().is_some() {
                wait(1).await;
            }
            second.has_accepted(10).await;
        })
        .await;
        assert!(statistics.accepted >= 10 && statistics.rejected == 0, "{statistics:?}");
        assert_eq!(statistics.unanswered(), 0);
    });
}

/// The cable is pulled and put back.
#[test]
fn a_device_survives_a_dead_network() {
    block_on(async {
        let (miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
        let net = Net::new(&mut tasks);
        tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
        house.new_tip(1);
        run(&miner, &net, &mut tasks, None, async |_| {
            house.has_accepted(5).await;
            net.plugged.set(false);
            miner.hears("ended: the peer does not take what is sent to it").await;
            net.plugged.set(true);
            let before = house.accepted();
            house.has_accepted(before + 5).await;
        })
        .await;
    });
}

/// D-RECON-1, D-RECON-2, D-RECON-4: without a loss on the way.
#[test]
fn a_device_goes_where_it_is_sent() {
    block_on(async {
        let (miner, mut tasks) = (Miner::new(), Tasks::default());
        let net = Net::new(&mut tasks);
        let (first, second) = (House::new(), House::new());
        tasks.spawn(Rc::clone(&first).serve(net.pool, PORT));
        tasks.spawn(Rc::clone(&second).serve(net.pool, 4444));
        first.new_tip(1);
        second.new_tip(2);
        let statistics = run(&miner, &net, &mut tasks, None, async |_| {
            first.has_accepted(10).await;
            assert!(first.with(|pool| pool.reconnect_all("", 4444)));
            second.has_accepted(10).await;
        })
        .await;
        assert!(miner.heard("sent to 4444") && miner.heard("to 10.0.0.2:4444"));
        assert_eq!((statistics.rejected, statistics.lost, statistics.unanswered()), (0, 0, 0));
        assert_eq!(usize::try_from(statistics.accepted).unwrap(), first.accepted() + second.accepted());
    });
}

/// What was found before the stop is sent and answered, however slow the store is; and a store that is stuck does not keep the device.
#[test]
fn a_stop_waits_for_answers_and_not_for_ever() {
    for stuck in [false, true] {
        block_on(async {
            let (miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
            let net = Net::new(&mut tasks);
            tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
            house.new_tip(1);
            house.stores.set(false);
            let stopped = Cell::new(now());
            let statistics = run(&miner, &net, &mut tasks, None, async |stop| {
                house.has_accepted(5).await;
                stopped.set(now());
                stop();
                wait(2_000).await;
                assert!(miner.desk.work().is_none(), "no new work while it leaves");
                if !stuck {
                    let last = house.shares.borrow().last().unwrap().ticket;
                    house.with(|pool| pool.stored(last));
                }
            })
            .await;
            let took = now().saturating_since(stopped.get()).as_secs();
            if stuck {
                assert!(statistics.lost > 0 && (5..8).contains(&took), "{statistics:?}, {took} s");
            } else {
                assert_eq!((statistics.lost, statistics.unanswered(), took), (0, 0, 2));
            }
        });
    }
}

/// D-UPD-2
#[test]
fn the_pool_is_told_the_hash_rate() {
    block_on(async {
        let (miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
        let net = Net::new(&mut tasks);
        tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
        house.new_tip(1);
        run(&miner, &net, &mut tasks, None, async |_| {
            house.has_accepted(1).await;
            miner.desk.set_hash_rate(1e12);
            let told = || {
                house.with(|pool| {
                    let channels = pool.connections().flat_map(|(_, connection)| connection.channels());
                    channels.map(|channel| channel.nominal_hash_rate()).collect::<Vec<_>>()
                })
            };
            while told() != [1e12] {
                wait(10).await;
            }
        })
        .await;
    });
}

/// The future of `run` is dropped again and again, each time at a later await: it always begins anew and in the end it mines.
#[test]
fn dropping_the_device_at_every_await_leaves_it_usable() {
    for polls in [1, 2, 3, 5, 7, 11] {
        block_on(async {
            let (miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
            let net = Net::new(&mut tasks);
            tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
            house.new_tip(1);
            let statistics = run(&miner, &net, &mut tasks, Some(polls), async |_| house.has_accepted(5).await).await;
            assert_eq!(statistics.rejected, 0, "{polls}");
            assert!(miner.news.borrow().iter().filter(|news| news.starts_with("to ")).count() > 1, "{polls}");
        });
    }
}

/// Without a clock: refused until someone sets it, or the signature alone, or its end against the firmware's date. Never silently.
#[test]
fn without_a_clock_it_is_as_the_settings_say() {
    block_on(async {
        let (mut miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
        miner.wall = WallClock::new();
        let net = Net::new(&mut tasks);
        tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
        house.new_tip(1);
        run(&miner, &net, &mut tasks, None, async |_| {
            miner.hears("the time is not known").await;
            wait(10_000).await;
            assert!(!miner.heard("to 10.0.0.2"), "nothing was tried");
            miner.wall.set(WALL);
            house.has_accepted(1).await;
        })
        .await;
        assert!(miner.heard("Checked"));
    });
    for (built, works) in [(WALL.as_secs(), true), (PERIOD.1, true), (PERIOD.1 + 1, false)] {
        block_on(async {
            let (mut miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
            miner.wall = WallClock::new();
            miner.without_clock = WithoutClock::SignatureOnly { built: UnixTime::from_secs(built) };
            let net = Net::new(&mut tasks);
            tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
            house.new_tip(1);
            run(&miner, &net, &mut tasks, None, async |_| {
                if works {
                    house.has_accepted(1).await;
                } else {
                    miner.hears("before this firmware was made").await;
                }
            })
            .await;
            assert_eq!(miner.heard("Unchecked"), works);
            assert_eq!(house.accepted() > 0, works);
        });
    }
}

/// A clock that runs wrong: the certificate is refused, and why is said.
#[test]
fn an_expired_certificate_is_refused() {
    block_on(async {
        let (miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
        miner.wall.set(UnixTime::from_secs(PERIOD.1 + 60));
        let net = Net::new(&mut tasks);
        tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
        run(&miner, &net, &mut tasks, None, async |_| miner.hears("certificate expired").await).await;
        assert!(!miner.heard("Checked"));
    });
}

/// Nothing is connected without random numbers, and it is tried again.
#[test]
fn without_entropy_nothing_is_connected() {
    block_on(async {
        let (miner, house, mut tasks) = (Miner::new(), House::new(), Tasks::default());
        miner.broken_entropy.set(true);
        let net = Net::new(&mut tasks);
        tasks.spawn(Rc::clone(&house).serve(net.pool, PORT));
        house.new_tip(1);
        run(&miner, &net, &mut tasks, None, async |_| {
            miner.hears("random number generator").await;
            wait(5_000).await;
            assert!(!miner.heard("to 10.0.0.2"));
            miner.broken_entropy.set(false);
            house.has_accepted(1).await;
        })
        .await;
    });
}
