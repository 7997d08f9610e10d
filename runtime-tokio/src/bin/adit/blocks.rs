//! A pool's found blocks: told when they are on disk, confirmed when the provider builds on them, and kept in the share store for as long as they may be
//! of use, so that a crash loses none.
//!
//! A block goes to the provider at once; it does not wait for the disk, nor the disk for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use adit::role::pool::Pool;
use adit::storage::Heap;
use adit::time::UnixTime;
use adit_tokio::pool::{KeptBlock, PoolHandle};
use adit_tokio::queue;
use bitcoin::script::Instruction;
use bitcoin::{Transaction, consensus};

use crate::event::Event;
use crate::report::Events;
use crate::store::{Queued, Settled, Share};

/// Seconds after which a block that was not handed over can be nothing but stale, and its template long forgotten.
const WORTHLESS_AFTER: u32 = 86_400;

/// Found blocks and tips that are compared.
const COMPARED: usize = 64;

/// Tells of blocks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Blocks {
    events: Events,
    recent: Arc<Mutex<Recent>>,
}

/// Oldest first.
#[derive(Default)]
struct Recent {
    found: VecDeque<Found>,
    tips: VecDeque<[u8; 32]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    hash: [u8; 32],
    height: Option<u32>,
    user: String,
}

impl Found {
    fn confirmed(self) -> Event {
        Event::BlockConfirmed { height: self.height, hash: hash_text(self.hash), user: self.user }
    }
}

/// As block explorers print it.
fn hash_text(mut hash: [u8; 32]) -> String {
    hash.reverse();
    hex::encode(hash)
}

impl Blocks {
    pub(crate) fn new(events: Events) -> Self {
        Self { events, recent: Arc::default() }
    }

    /// A share that is a block was stored. `block` is what there is to hand over, and `is_away` whether there is no provider at present.
    pub(crate) fn found(&self, share: &Share, block: Option<&KeptBlock>, is_away: bool) {
        let height = block.and_then(|block| height(&block.coinbase_tx));
        let found = Found { hash: share.hash, height, user: String::from_utf8_lossy(&share.account).into_owned() };
        let handed_over = match block {
            Some(_) if is_away => "waits",
            Some(_) => "yes",
            None => "no",
        };
        self.events.tell(Event::BlockFound {
            height,
            hash: hash_text(found.hash),
            user: found.user.clone(),
            handed_over,
        });
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.tips.contains(&found.hash) {
            return self.events.tell(found.confirmed());
        }
        push(&mut recent.found, found);
    }

    /// The provider builds on this block now.
    pub(crate) fn tip(&self, prev_hash: [u8; 32]) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = recent.found.iter().position(|found| found.hash == prev_hash) {
            if let Some(found) = recent.found.remove(place) {
                self.events.tell(found.confirmed());
            }
        } else if !recent.tips.contains(&prev_hash) {
            // The disk may be slower than the node.
            push(&mut recent.tips, prev_hash);
        }
    }
}

fn push<T>(queue: &mut VecDeque<T>, value: T) {
    if queue.len() == COMPARED {
        queue.pop_front();
    }
    queue.push_back(value);
}

/// The height that a coinbase names (BIP34).
fn height(coinbase_tx: &[u8]) -> Option<u32> {
    let coinbase: Transaction = consensus::deserialize(coinbase_tx).ok()?;
    match coinbase.input.first()?.script_sig.instructions().next()?.ok()? {
        Instruction::PushBytes(bytes) if bytes.len() <= 4 => {
            Some(bytes.as_bytes().iter().rev().fold(0, |height, byte| height << 8 | u32::from(*byte)))
        }
        Instruction::Op(op) => u32::from(op.to_u8()).checked_sub(0x50).filter(|height| (1..=16).contains(height)),
        Instruction::PushBytes(_) => None,
    }
}

/// Keeps the store's blocks the same as the pool's.
pub(crate) struct Keeper {
    store: queue::Sender<Queued>,
    /// What the store was told last.
    known: Vec<KeptBlock>,
    /// A block was found since then, so the store has one that it was not told of here.
    found: bool,
}

impl Keeper {
    /// `known` is what the store holds.
    pub(crate) fn new(store: queue::Sender<Queued>, known: Vec<KeptBlock>) -> Self {
        Self { store, known, found: false }
    }

    /// A block was found, or may have been.
    pub(crate) fn found(&mut self) {
        self.found = true;
    }

    /// Tells the store which blocks are of use still, if that has changed. Never waits: what the store has no time for is told the next time.
    pub(crate) fn settle(&mut self, handle: &PoolHandle) {
        let (upto, held) = handle.with(|pool| (pool.shared().last_ticket(), held(pool)));
        if !self.found && held == self.known {
            return;
        }
        let settled = Settled { upto, held: held.clone() };
        if self.store.try_send(settled.into()).is_ok() {
            (self.known, self.found) = (held, false);
        }
    }
}

/// Found blocks that may still be of use.
pub(crate) fn held(pool: &Pool<Heap>) -> Vec<KeptBlock> {
    pool.held_blocks().map(KeptBlock::from).collect()
}

/// Found blocks that no connection to the provider has taken.
pub(crate) fn unsent(handle: &PoolHandle) -> Vec<KeptBlock> {
    handle.with(|pool| pool.unsent_blocks().map(KeptBlock::from).collect())
}

/// Tells them in full, for nobody else has them.
pub(crate) fn tell_unsent(blocks: &[KeptBlock], events: &Events) {
    for block in blocks {
        events.tell(Event::BlockUnsent {
            template_id: block.template_id,
            prev_hash: hash_text(block.prev_hash),
            version: block.version,
            ntime: block.header_timestamp,
            nonce: block.header_nonce,
            coinbase_tx: hex::encode(&block.coinbase_tx),
        });
    }
}

/// Queues what the last run held; gives what is held now. What is older than [`WORTHLESS_AFTER`] is left out. Those that the provider may not have are told.
pub(crate) fn restore(pool: &mut Pool<Heap>, blocks: Vec<KeptBlock>, now: UnixTime, events: &Events) -> Vec<KeptBlock> {
    for block in blocks {
        let is_old = now.as_secs().saturating_sub(block.header_timestamp) > WORTHLESS_AFTER;
        let queued = !is_old && pool.restore_block(&block.held());
        if block.told {
            continue;
        }
        let fate = match (queued, is_old) {
            (true, _) => "is handed over when the provider can be reached",
            (false, true) => "is given up: it is too old",
            (false, false) => "is given up: there is no room for it",
        };
        let (template, nonce) = (block.template_id, block.header_nonce);
        let message = format!(
            "a block of template {template}, nonce {nonce}, that the last run found and could not hand over {fate}"
        );
        events.tell(Event::Warning { message });
    }
    held(pool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::sample;

    #[test]
    fn the_height_is_read_from_the_coinbase() {
        use bitcoin::blockdata::constants::genesis_block;
        let mut coinbase = genesis_block(bitcoin::Network::Regtest).txdata.remove(0);
        for expected in [1, 16, 17, 127, 128, 500, 65_535, 840_000, 16_777_215] {
            coinbase.input[0].script_sig =
                bitcoin::script::Builder::new().push_int(i64::from(expected)).push_slice(b"/adit/").into_script();
            assert_eq!(height(&consensus::serialize(&coinbase)), Some(expected));
        }
        assert_eq!(height(b"no transaction"), None);
    }

    /// Whichever comes first.
    #[tokio::test]
    async fn a_block_is_told_once_it_is_stored_and_again_when_it_is_the_tip() {
        let (events, mut told) = Events::channel();
        let blocks = Blocks::new(events);
        let share = |n| Share { account: b"a.b"[..].into(), block: true, ..sample(n) };
        blocks.found(&share(1), None, false);
        blocks.tip([9; 32]);
        blocks.tip(share(1).hash);
        blocks.tip(share(2).hash);
        blocks.found(&share(2), None, true);
        drop(blocks);
        let mut names = Vec::new();
        while let Some(event) = told.next().await {
            names.push(match event {
                Event::BlockFound { hash, .. } => ("found", hash),
                Event::BlockConfirmed { hash, user, .. } => {
                    assert_eq!(user, "a.b");
                    ("confirmed", hash)
                }
                other => panic!("{other}"),
            });
        }
        let expected: Vec<_> =
            [1, 2].iter().flat_map(|n| ["found", "confirmed"].map(|name| (name, hash_text(share(*n).hash)))).collect();
        assert_eq!(names, expected);
    }
}
