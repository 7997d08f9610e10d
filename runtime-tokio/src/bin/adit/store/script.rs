//! What the tests of crashes store, ticket by ticket, and what has to be there of it.

use std::collections::{BTreeMap, BTreeSet};

use adit_tokio::pool::KeptBlock;

use super::Share;
use super::file::Store;
use super::held::{self, Settled};
use super::reader::Total;
use super::share::tests::sample;

/// Ticket `t` carries `sample(t)`, but every seventh repeats the share before it, as a miner would that resends after a restart.
pub(super) fn share(ticket: u64) -> Share {
    let seed = if is_repeat(ticket) { ticket - 1 } else { ticket };
    Share { ticket, ..sample(seed) }
}

fn is_repeat(ticket: u64) -> bool {
    ticket % 7 == 6
}

/// Every fifth share is a block that is to be handed over.
pub(super) fn is_block(ticket: u64) -> bool {
    ticket % 5 == 1
}

pub(super) fn block(ticket: u64) -> KeptBlock {
    held::tests::held(u32::try_from(ticket).unwrap(), false)
}

/// After every tenth share it is said which blocks are held: those of its last twenty shares. From which on?
fn settled_by(ticket: u64) -> Option<u64> {
    (ticket % 10 == 9).then(|| ticket.saturating_sub(19))
}

/// What is said after this share, if anything.
pub(super) fn settled(ticket: u64) -> Option<Settled> {
    let first = settled_by(ticket)?;
    let held = (first..=ticket).filter(|&ticket| is_block(ticket)).map(block).collect();
    Some(Settled { upto: ticket, held, fates: Vec::new() })
}

/// The blocks that are held when `next` is the next ticket, and what was last said was said before ticket `said`.
pub(super) fn held(said: u64, next: u64) -> Vec<KeptBlock> {
    let first = (0..said).rev().find_map(settled_by).unwrap_or(0);
    (first..next).filter(|&ticket| is_block(ticket)).map(block).collect()
}

/// Compares the shares of a store, which keeps so many one by one, with what the tickets up to its last one say.
pub(super) fn check_shares(store: &Store, kept: u64) {
    let stored = || (0..store.next_ticket()).filter(|&ticket| !is_repeat(ticket)).map(share);
    let mut totals = BTreeMap::<Box<[u8]>, Total>::new();
    for share in stored() {
        let total = totals.entry(share.account).or_default();
        total.shares += 1;
        total.work += share.work;
    }
    assert_eq!(store.reader().totals().unwrap(), totals, "each share is counted exactly once");

    let recent = store.reader().recent(usize::MAX).unwrap();
    let mut expected: Vec<_> = stored().collect();
    expected.reverse();
    expected.truncate(recent.len());
    assert!(recent.len() as u64 >= kept.min(totals.values().map(|total| total.shares).sum()));
    assert_eq!(recent, expected, "the journal ends with exactly the newest shares");
    let hashes: BTreeSet<_> = recent.iter().map(|share| share.hash).collect();
    assert_eq!(hashes.len(), recent.len(), "no share stands there twice");
}
