//! A pool's found blocks: told when they are on disk, confirmed when the provider builds on them, and kept in the share store for as long as they may be
//! of use, so that a crash loses none.
//!
//! A block goes to the provider at once; it does not wait for the disk, nor the disk for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit::role::pool::Pool;
use adit::storage::Heap;
use adit::template::Template;
use adit::time::UnixTime;
use adit_tokio::pool::{KeptBlock, PoolHandle};
use adit_tokio::queue;
use bitcoin::script::Instruction;
use bitcoin::{Script, Transaction, consensus};

use crate::event::Event;
use crate::report::Events;
use crate::store::{Fate, Queued, Settled, Share};

/// Seconds after which a block that was not handed over can be nothing but stale, and its template long forgotten.
const WORTHLESS_AFTER: u32 = 86_400;

/// Found blocks and tips that are compared.
pub(crate) const COMPARED: usize = 64;

/// Tells of blocks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Blocks {
    events: Events,
    recent: Arc<Mutex<Recent>>,
}

/// Oldest first.
#[derive(Default)]
struct Recent {
    /// Blocks that were not confirmed.
    found: VecDeque<Found>,
    /// With their heights where those are known.
    tips: VecDeque<([u8; 32], Option<u32>)>,
    /// What became of blocks and the store was not told yet, by their tickets.
    fates: Vec<(u64, Fate)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    ticket: u64,
    hash: [u8; 32],
    height: Option<u32>,
    user: String,
    is_stale: bool,
}

impl Found {
    fn new(share: &Share, height: Option<u32>) -> Self {
        let user = String::from_utf8_lossy(&share.account).into_owned();
        Self { ticket: share.ticket, hash: share.hash, height, user, is_stale: false }
    }

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
        let found = Found::new(share, height);
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
        let mut recent = self.recent();
        if recent.tips.iter().any(|(tip, _)| *tip == found.hash) {
            recent.fates.push((found.ticket, Fate::Confirmed));
            return self.events.tell(found.confirmed());
        }
        push(&mut recent.found, found);
        recent.find_stale();
    }

    /// The provider builds on this block now, which is at that height.
    pub(crate) fn tip(&self, prev_hash: [u8; 32], height: Option<u32>) {
        let mut recent = self.recent();
        let place = recent.found.iter().position(|found| found.hash == prev_hash);
        if let Some(found) = place.and_then(|place| recent.found.remove(place)) {
            recent.fates.push((found.ticket, Fate::Confirmed));
            self.events.tell(found.confirmed());
        }
        if !recent.tips.iter().any(|(tip, _)| *tip == prev_hash) {
            // The disk may be slower than the node, so the block may be heard of later.
            push(&mut recent.tips, (prev_hash, height));
        }
        recent.find_stale();
    }

    /// Blocks of an earlier run, of which it did not hear what became; the newest first.
    pub(crate) fn earlier(&self, blocks: Vec<(Share, Option<Fate>)>, held: &[KeptBlock]) {
        let mut recent = self.recent();
        for (share, fate) in blocks.into_iter().take(COMPARED).rev() {
            let is_it = |block: &&KeptBlock| {
                (block.version, block.header_timestamp, block.header_nonce) == (share.version, share.ntime, share.nonce)
            };
            let height = held.iter().find(is_it).and_then(|block| height(&block.coinbase_tx));
            match fate {
                Some(Fate::Confirmed) => {}
                Some(Fate::Stale) => push(&mut recent.found, Found { is_stale: true, ..Found::new(&share, height) }),
                None => push(&mut recent.found, Found::new(&share, height)),
            }
        }
    }

    /// What became of blocks since the store was told last.
    pub(crate) fn fates(&self) -> Vec<(u64, Fate)> {
        self.recent().fates.clone()
    }

    /// The store was told the first of them.
    fn told_fates(&self, count: usize) {
        self.recent().fates.drain(..count);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// Blocks beside a tip of their height are stale.
    fn find_stale(&mut self) {
        let Self { found, tips, fates } = self;
        for block in found.iter_mut().filter(|block| !block.is_stale && block.height.is_some()) {
            if tips.iter().any(|(_, height)| *height == block.height) {
                block.is_stale = true;
                fates.push((block.ticket, Fate::Stale));
            }
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
    named_height(&coinbase.input.first()?.script_sig)
}

/// The height of the block that a template builds on.
fn tip_height(template: &Template<Heap>) -> Option<u32> {
    named_height(Script::from_bytes(template.coinbase().script_prefix))?.checked_sub(1)
}

/// The height that the script of a coinbase begins with.
fn named_height(script: &Script) -> Option<u32> {
    match script.instructions().next()?.ok()? {
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
    pub(crate) fn settle(&mut self, handle: &PoolHandle, blocks: &Blocks) {
        let (upto, held) = handle.with(|pool| (pool.shared().last_ticket(), held(pool)));
        let fates = blocks.fates();
        if !self.found && held == self.known && fates.is_empty() {
            return;
        }
        let count = fates.len();
        let settled = Settled { upto, held: held.clone(), fates };
        if self.store.try_send(settled.into()).is_ok() {
            (self.known, self.found) = (held, false);
            blocks.told_fates(count);
        }
    }
}

/// The height of the tip that names this template, as far as it is known still.
pub(crate) fn height_of_tip(pool: &Pool<Heap>, template_id: u64) -> Option<u32> {
    pool.templates().template(template_id).and_then(|(template, _)| tip_height(template))
}

/// The present tip, and its height as far as a template on it is known.
pub(crate) fn tip(pool: &Pool<Heap>) -> Option<([u8; 32], Option<u32>)> {
    let templates = pool.templates();
    templates.tip().map(|(tip, _)| (tip.prev_hash, templates.best().and_then(tip_height)))
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
pub(crate) mod tests {
    use super::*;
    use crate::store::tests::sample;

    /// The block of `sample(n)`, at this height.
    pub(crate) fn kept(n: u64, height: i64) -> KeptBlock {
        let mut coinbase = bitcoin::blockdata::constants::genesis_block(bitcoin::Network::Regtest).txdata.remove(0);
        coinbase.input[0].script_sig = bitcoin::script::Builder::new().push_int(height).into_script();
        let Share { version, ntime, nonce, .. } = sample(n);
        KeptBlock {
            template_id: 1,
            prev_hash: [3; 32],
            version,
            header_timestamp: ntime,
            header_nonce: nonce,
            coinbase_tx: consensus::serialize(&coinbase),
            told: true,
        }
    }

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
        blocks.tip([9; 32], None);
        blocks.tip(share(1).hash, None);
        blocks.tip(share(2).hash, None);
        blocks.found(&share(2), None, true);
        assert_eq!(blocks.fates(), [(1, Fate::Confirmed), (2, Fate::Confirmed)]);
        blocks.told_fates(1);
        assert_eq!(blocks.fates(), [(2, Fate::Confirmed)]);
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

    /// A block beside a tip of its height is stale, whichever comes first; it may be confirmed yet. What an earlier run left is told apart as well.
    #[test]
    fn a_block_beside_the_tip_is_stale() {
        let share = |n| Share { block: true, ..sample(n) };
        let blocks = Blocks::new(Events::channel().0);
        blocks.earlier(vec![(share(3), None), (share(2), Some(Fate::Confirmed)), (share(1), None)], &[kept(3, 700)]);
        assert_eq!(blocks.fates(), []);
        for n in 4..8 {
            blocks.found(&share(n), Some(&kept(n, 700)), false);
        }
        blocks.found(&share(8), None, false);
        blocks.tip([9; 32], Some(699));
        blocks.tip(share(5).hash, Some(700));
        let stale = |n| (n, Fate::Stale);
        assert_eq!(blocks.fates(), [(5, Fate::Confirmed), stale(3), stale(4), stale(6), stale(7)]);
        blocks.told_fates(5);
        blocks.found(&share(9), Some(&kept(9, 700)), false);
        // The network has changed its mind.
        blocks.tip(share(6).hash, Some(700));
        // Nobody knows the height of a block whose template is its finder's, or was not kept.
        blocks.tip(share(1).hash, Some(701));
        assert_eq!(blocks.fates(), [stale(9), (6, Fate::Confirmed), (1, Fate::Confirmed)]);
    }
}
