//! Engines at a desk: software, and the documentation's example against a simulated chip.

use super::*;
use core::future::pending;

use adit::mining::header::Header;
use adit::mining::target::Target;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embedded_io_async::{Read, Write};

use crate::testing::pipe::{End, pipe};
use crate::testing::{Tasks, block_on, chopped, work};

/// The example of the documentation, as it stands there.
mod example {
    #![allow(unreachable_pub, reason = "it is written as a crate of its own would be")]
    use crate as adit_embassy;
    include!("example.rs");
}

type TestDesk = Desk<NoopRawMutex>;

impl TestDesk {
    async fn found(&self) -> Solution {
        poll_fn(|cx| self.poll_found(cx)).await
    }
}

/// Every sixteenth hash.
fn easy() -> Target {
    let mut bytes = [0xff; 32];
    bytes[31] = 0x0f;
    Target::from_le_bytes(bytes)
}

fn meets(work: &Work, solution: &Solution) -> bool {
    work.target.is_met_by(&work.header(solution.version, solution.ntime, solution.nonce).hash())
}

#[test]
fn software_finds_what_counts_and_nothing_twice() {
    block_on(async {
        let desk = TestDesk::new();
        let mut engine = SoftwareEngine::new(8);
        let work = work(1, easy());
        let mut tasks = Tasks::default();
        tasks.spawn(serve(&desk, &mut engine));
        desk.put(Some(work));
        tasks
            .run(async {
                let mut nonces = std::collections::BTreeSet::new();
                for _ in 0..50 {
                    let solution = desk.found().await;
                    assert!(meets(&work, &solution) && nonces.insert(solution.nonce));
                }
            })
            .await;
        drop(tasks);
        assert!(engine.hashes() >= 50);
    });
}

/// The future of `serve` is dropped at every await: it begins with the work on the desk again, and what it finds counts.
#[test]
fn serving_begins_anew_wherever_it_was_dropped() {
    block_on(async {
        let desk = TestDesk::new();
        let mut engine = SoftwareEngine::new(64);
        let work = work(1, easy());
        desk.put(Some(work));
        let mut tasks = Tasks::default();
        // Software yields once before each batch, so its futures are polled twice before they are dropped.
        tasks.spawn(async {
            loop {
                let _stopped = embassy_futures::select::select(serve(&desk, &mut engine), async {
                    embassy_futures::yield_now().await;
                    embassy_futures::yield_now().await;
                })
                .await;
            }
        });
        tasks
            .run(async {
                for _ in 0..5 {
                    assert!(meets(&work, &desk.found().await));
                }
            })
            .await;
    });
}

/// After a new prevhash nothing of the old one is found any more; after a new job on the same one, what the chips had is taken.
#[test]
fn late_nonces_count_while_their_prevhash_lasts() {
    let old = work(1, Target::MAX);
    let found = |work: &Work| Found { serial: work.serial, version: work.version, ntime: work.min_ntime, nonce: 5 };
    let mut counts = Counts::default();
    let same = Work { merkle_root: [9; 32], ..work(2, Target::MAX) };
    assert!(is_kin(&old, Some(&same)));
    assert!(check(&found(&old), Some(&same), Some(&old), &mut counts).is_some());
    let other = Work { prev_hash: [1; 32], ..work(3, Target::MAX) };
    assert!(!is_kin(&same, Some(&other)) && !is_kin(&same, None));
    assert!(check(&found(&same), Some(&other), None, &mut counts).is_none());
    assert_eq!(counts, Counts { found: 1, late: 1, ..Counts::default() });
}

/// D-ALG-8: what the hardware says is not believed.
#[test]
fn wrong_nonces_are_counted_and_not_sent() {
    let hard = Work { version_mask: 0x2000, ..work(4, Target::ZERO) };
    let found = Found { serial: 4, version: hard.version | 0x2000, ntime: hard.min_ntime, nonce: 0 };
    let mut counts = Counts::default();
    assert!(check(&found, Some(&hard), None, &mut counts).is_none());
    assert!(check(&Found { version: hard.version | 1, ..found }, Some(&hard), None, &mut counts).is_none());
    assert!(check(&Found { serial: 9, ..found }, Some(&hard), None, &mut counts).is_none());
    assert!(check(&found, None, None, &mut counts).is_none());
    assert_eq!(counts, Counts { missed: 1, wrong: 2, late: 1, found: 0 });
}

/// Chips on a serial line: they take jobs, roll nonces, and sometimes answer nonsense. A new job ends the old one at once.
async fn chip(mut from: End, mut to: End, jobs: &Cell<u32>) {
    let mut job = [0; 90];
    let mut header: Option<(u8, Header)> = None;
    loop {
        let ready = async { if header.is_some() { embassy_futures::yield_now().await } else { pending().await } };
        match embassy_futures::select::select(from.read(&mut job), ready).await {
            embassy_futures::select::Either::First(read) => {
                let read = read.unwrap();
                from.read_exact(&mut job[read..]).await.unwrap();
                header = (job[0] == 0xAA).then(|| (job[1], Header::from_bytes(job[10..].try_into().unwrap())));
                jobs.set(jobs.get() + 1);
            }
            embassy_futures::select::Either::Second(()) => {
                let Some((id, header)) = &mut header else { continue };
                header.nonce += 1;
                if header.nonce.is_multiple_of(64) {
                    to.write_all(&[0x55, 0x00]).await.unwrap();
                }
                if header.hash()[31] < 0x10 {
                    let mut answer = [0x55, *id, 0, 0, 0, 0, 0, 0, 0, 0];
                    answer[2..6].copy_from_slice(&header.nonce.to_be_bytes());
                    answer[6..].copy_from_slice(&header.version.to_be_bytes());
                    to.write_all(&answer).await.unwrap();
                }
            }
        }
    }
}

/// The documentation's driver works, also when its futures are dropped whenever they wait.
#[test]
fn the_documented_driver_mines() {
    for drops in [false, true] {
        block_on(async {
            let (to_chip, from_chip) = (pipe(200, 13), pipe(64, 3));
            let jobs = Cell::new(0);
            let mut chips = example::Chips::new(from_chip.clone(), to_chip.clone());
            let mut tasks = Tasks::default();
            tasks.spawn(chip(to_chip, from_chip, &jobs));
            let drive = async {
                let mut found = 0;
                for work in [work(1, easy()), Work { prev_hash: [9; 32], ..work(2, easy()) }] {
                    chips.start(&work).await.unwrap();
                    let before = found;
                    while found < before + 20 {
                        let next = if drops {
                            // Dropped at every await of the reading side.
                            chopped(async || chips.next().await).await
                        } else {
                            chips.next().await
                        };
                        let mut counts = Counts::default();
                        found += u32::from(check(&next.unwrap(), Some(&work), None, &mut counts).is_some());
                    }
                }
            };
            tasks.run(drive).await;
            drop(tasks);
            assert_eq!(jobs.get(), 2);
        });
    }
}

/// The whole way: work changes while the chips run, and every share on the desk is one of work that counts.
#[test]
fn a_new_prevhash_leaves_nothing_of_the_old_one() {
    block_on(async {
        let desk = TestDesk::new();
        let (to_chip, from_chip) = (pipe(200, 200), pipe(640, 640));
        let jobs = Cell::new(0);
        let mut chips = example::Chips::new(from_chip.clone(), to_chip.clone());
        let mut tasks = Tasks::default();
        tasks.spawn(chip(to_chip, from_chip, &jobs));
        tasks.spawn(async {
            let Err(_broken) = serve(&desk, &mut chips).await;
            panic!("the line broke");
        });
        tasks
            .run(async {
                for serial in 1..6 {
                    let work = Work { prev_hash: [serial as u8; 32], ..work(serial, easy()) };
                    desk.put(Some(work));
                    let mut of_this = 0;
                    while of_this < 6 {
                        let solution = desk.found().await;
                        // The desk's places may hold some of the work before.
                        assert!(solution.serial == serial || (of_this == 0 && solution.serial + 1 == serial));
                        if solution.serial == serial {
                            assert!(meets(&work, &solution));
                            of_this += 1;
                        }
                    }
                }
            })
            .await;
        assert_eq!(jobs.get(), 5);
        let counts = desk.counts().await;
        assert!(counts.found >= 30, "{counts:?}");
    });
}
