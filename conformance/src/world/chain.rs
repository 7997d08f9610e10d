//! A chain that is made up: templates with a few transactions each, and a judge of blocks that computes all roots the long way.

use std::collections::BTreeMap;

use adit::hash::sha256d;
use adit::mining::header::Header;
use adit::mining::target::Target;
use adit::role::Provider;
use adit::role::provider::NewTemplate;
use adit::storage::Heap;
use adit::template::book::Basis;
use adit::template::coinbase::{TemplateCoinbase, WITNESS_RESERVED};
use adit::template::merkle_path::MerklePath;
use adit::template::solution::{Breach, Solution};
use adit::template::{Constraints, Tip};
use adit::time::{Instant, UnixTime};

use crate::entropy::Entropy;

const VERSION: u32 = 0x2000_0000;
/// Where the chain begins: a little below the height whose push takes a second byte.
const FIRST_HEIGHT: u32 = 122;
const SUBSIDY: u64 = 5_000_000_000;

/// A block of the chain.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its height.
    pub height: u32,
    /// All of it, as Bitcoin serializes blocks.
    pub bytes: Vec<u8>,
    /// Satoshis that its coinbase may pay out.
    pub reward: u64,
}

/// What was offered under a template's id.
struct Draft {
    height: u32,
    transactions: Vec<Vec<u8>>,
    reward: u64,
    witness: bool,
}

/// One moment, by the provider's clocks and in truth.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) now: Instant,
    pub(super) wall: UnixTime,
    pub(super) truly: Instant,
}

pub(super) struct Chain {
    entropy: Entropy,
    height: u32,
    tip: [u8; 32],
    nbits: u32,
    target: Target,
    drafts: BTreeMap<u64, Draft>,
    /// What the tip's time was said to be, and when in truth: more than once when a provider restarted on it.
    told: Vec<(u32, Instant)>,
    /// The provider counts its templates on from an earlier run's.
    pub(super) counts_on: bool,
    /// A template for the block after the next, if the clients have one.
    ahead: Option<u64>,
    pub(super) blocks: Vec<Block>,
}

impl Chain {
    pub(super) fn new(seed: u64, hashes_per_block: f64) -> Self {
        let nbits = Target::from_expected_hashes(hashes_per_block).expect("a number above zero").to_nbits();
        Self {
            entropy: Entropy::seeded(seed),
            height: FIRST_HEIGHT,
            tip: sha256d(&[b"genesis", &seed.to_le_bytes()]),
            nbits,
            target: Target::from_nbits(nbits).expect("nbits of a target"),
            drafts: BTreeMap::new(),
            told: vec![],
            counts_on: false,
            ahead: None,
            blocks: vec![],
        }
    }

    /// A new template on the tip, or for the block behind the next one.
    pub(super) fn offer(&mut self, provider: &mut Provider<Heap>, basis: Basis) {
        let height = self.height + if basis == Basis::Tip { 1 } else { 2 };
        let id = self.add(provider, basis, height);
        if basis == Basis::Next {
            self.ahead = Some(id);
        }
    }

    /// Somebody else found a block, or the chain begins. Without a provider it hears of that when it starts.
    pub(super) fn grow(&mut self, provider: Option<&mut Provider<Heap>>, times: Times) {
        let hash = self.entropy.bytes32();
        self.extend(provider, hash, times);
    }

    fn extend(&mut self, provider: Option<&mut Provider<Heap>>, hash: [u8; 32], times: Times) {
        self.height += 1;
        self.tip = hash;
        self.told.clear();
        if let Some(provider) = provider {
            self.tell(provider, times);
        }
    }

    /// Tells the tip: a new one, or the one that a provider finds when it starts.
    pub(super) fn tell(&mut self, provider: &mut Provider<Heap>, times: Times) {
        let ahead =
            self.ahead.take().filter(|id| self.drafts.get(id).is_some_and(|ahead| ahead.height == self.height + 1));
        let id = match ahead {
            Some(id) => id,
            None => self.add(provider, Basis::Next, self.height + 1),
        };
        let header_timestamp = times.wall.as_secs();
        let tip = Tip { prev_hash: self.tip, header_timestamp, n_bits: self.nbits, target: self.target };
        provider.new_tip(times.now, id, tip).expect("a future template");
        self.told.push((header_timestamp, times.truly));
        self.drafts.retain(|id, _| provider.template(*id).is_some());
        // Some nodes are a block ahead, some are not.
        if self.entropy.below(2) == 0 {
            self.offer(provider, Basis::Next);
        }
    }

    /// The provider's process has ended, and with it all templates.
    pub(super) fn forget_templates(&mut self) {
        self.drafts.clear();
        self.ahead = None;
    }

    /// The last block.
    pub(super) const fn tip(&self) -> [u8; 32] {
        self.tip
    }

    /// The root of a block on this template with this coinbase; none when there is no such template.
    pub(super) fn root(&self, template_id: u64, coinbase: &[u8]) -> Option<[u8; 32]> {
        let draft = self.drafts.get(&template_id)?;
        let has_witness = coinbase.len() > 44 && coinbase[4..6] == [0, 1];
        if draft.witness && !has_witness {
            return None;
        }
        let txid = if has_witness {
            // Without marker, flag and the witness: one item of 32 bytes.
            sha256d(&[&coinbase[..4], &coinbase[6..coinbase.len() - 38], &coinbase[coinbase.len() - 4..]])
        } else {
            sha256d(&[coinbase])
        };
        let txids: Vec<_> = draft.transactions.iter().map(|tx| sha256d(&[tx])).collect();
        Some(merkle_root(txid, &txids))
    }

    fn add(&mut self, provider: &mut Provider<Heap>, basis: Basis, height: u32) -> u64 {
        let count = self.entropy.below(7);
        let mut reward = SUBSIDY;
        let mut transactions = vec![];
        for _ in 0..count {
            reward += 100 + self.entropy.below(10_000);
            transactions.push(self.transaction());
        }
        let txids: Vec<_> = transactions.iter().map(|tx| sha256d(&[tx])).collect();
        let mut path = MerklePath::new();
        for txid in &txids {
            path.push(*txid).expect("few");
        }
        let witness = self.entropy.below(2) == 0;
        // BIP141: an output that commits to all transactions with their witnesses; these have none, and the coinbase counts as zeros.
        let root = merkle_root([0; 32], &txids);
        let commitment = sha256d(&[&root, &WITNESS_RESERVED]);
        let output = [&[0; 8], &[38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], &commitment].concat();
        let (path, height_push) = (path.finish(), push_height(height));
        let template = NewTemplate {
            basis,
            version: VERSION,
            coinbase: TemplateCoinbase {
                tx_version: 2,
                script_prefix: &height_push,
                input_sequence: 0xffff_fffe,
                value_remaining: reward,
                outputs_count: u32::from(witness),
                outputs: if witness { &output } else { &[] },
                lock_time: height - 1,
            },
            merkle_path: path.hashes(),
            room: Constraints { max_additional_size: 1_000, max_additional_sigops: 100 },
        };
        let id = provider.new_template(&template).expect("a good template");
        self.drafts.insert(id, Draft { height, transactions, reward, witness });
        id
    }

    /// One input that spends something, one output that anyone can take.
    fn transaction(&mut self) -> Vec<u8> {
        let spent = self.entropy.bytes32();
        let value = self.entropy.below(1_000_000);
        let mut bytes = vec![2, 0, 0, 0, 1];
        bytes.extend(spent);
        bytes.extend([0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1]);
        bytes.extend(value.to_le_bytes());
        bytes.extend([1, 0x51, 0, 0, 0, 0]);
        bytes
    }

    /// The transactions of a template.
    pub(super) fn transactions(&self, template_id: u64) -> Option<&[Vec<u8>]> {
        self.drafts.get(&template_id).map(|draft| &draft.transactions[..])
    }

    /// Judges a found block by itself: nothing that the core worked out is believed. One that came too late changes nothing.
    ///
    /// D-TDP-20 is judged by true time and by all that was said of the tip: a provider that starts anew names a later time for it, and a pool that
    /// goes on with it is within what it was told before. `steady` is whether no clock that counts here stood still on this tip; else the provider
    /// may be wrong about the seconds that passed.
    pub(super) fn judge(
        &mut self,
        provider: &mut Provider<Heap>,
        solution: &Solution<'_>,
        steady: bool,
        times: Times,
    ) -> Result<(), String> {
        let draft = self.drafts.get(&solution.template_id).ok_or("unknown template")?;
        let header = Header::from_bytes(&solution.header);
        let hash = sha256d(&[&solution.header]);
        let coinbase = solution.coinbase_tx;
        let root = self.root(solution.template_id, coinbase).ok_or("coinbase without its witness")?;
        let is_good_time = self.told.iter().any(|(from, since)| {
            let passed = times.truly.saturating_since(*since).as_secs();
            (u64::from(*from)..=u64::from(*from) + passed + passed / 1_000 + 2).contains(&u64::from(header.ntime))
        });
        // A provider that began its ids anew may know another template under this one. A block without transactions is good on both, though its
        // coinbase does not fit.
        let excused = match solution.breach {
            // What was said of the tip before is not known any more.
            // A provider that says that it counts on judges no times of a tip that it may not have told first.
            Some(Breach::Timestamp) => solution.stale || self.told.len() > 1 && !self.counts_on || !steady,
            Some(Breach::Coinbase(_)) => self.told.len() > 1 && draft.transactions.is_empty(),
            Some(_) | None => false,
        };
        let faults = [
            (solution.breach.is_some() && !excused, "it breaks a rule"),
            (hash != solution.hash, "hash"),
            (!self.target.is_met_by(&hash), "hash above the target"),
            (header.nbits != self.nbits, "nbits"),
            (header.merkle_root != root, "merkle root"),
            (!solution.stale && !is_good_time, "time"),
            (!solution.stale && header.prev_hash != self.tip, "previous block"),
            (!solution.stale && draft.height != self.height + 1, "height"),
        ];
        if let Some((_, fault)) = faults.iter().find(|(is_there, _)| *is_there) {
            let (id, ntime, breach) = (solution.template_id, header.ntime, solution.breach);
            return Err(format!("block of template {id}: {fault}; {breach:?}, time {ntime}, told {:?}", self.told));
        }
        if solution.stale {
            return Ok(());
        }
        let mut bytes = solution.header.to_vec();
        bytes.push(u8::try_from(1 + draft.transactions.len()).expect("few"));
        bytes.extend(coinbase);
        bytes.extend(draft.transactions.concat());
        self.blocks.push(Block { height: draft.height, bytes, reward: draft.reward });
        self.extend(Some(provider), hash, times);
        Ok(())
    }
}

/// BIP34: the height as a script pushes it.
fn push_height(height: u32) -> Vec<u8> {
    if height <= 16 {
        return vec![0x50 + height as u8];
    }
    let bytes = height.to_le_bytes();
    let mut len = 4 - height.leading_zeros() as usize / 8;
    if bytes[len - 1] & 0x80 != 0 {
        len += 1;
    }
    let mut push = vec![len as u8];
    push.extend(bytes.iter().copied().chain([0]).take(len));
    push
}

/// The root over all leaves, level by level.
fn merkle_root(first: [u8; 32], others: &[[u8; 32]]) -> [u8; 32] {
    let mut level: Vec<_> = std::iter::once(first).chain(others.iter().copied()).collect();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| sha256d(&[&pair[0], &pair[pair.len() - 1]])).collect();
    }
    level[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit::mining::merkle;

    /// BIP34 and the script numbers that it uses.
    #[test]
    fn heights_are_script_numbers() {
        let cases: [(u32, &[u8]); 7] = [
            (1, &[0x51]),
            (16, &[0x60]),
            (17, &[1, 17]),
            (127, &[1, 127]),
            (128, &[2, 128, 0]),
            (0x7fff, &[2, 0xff, 0x7f]),
            (0x8000, &[3, 0, 0x80, 0]),
        ];
        for (height, push) in cases {
            assert_eq!(push_height(height), push, "{height}");
        }
    }

    /// D-ALG-3: the long way and the path agree.
    #[test]
    fn roots_agree() {
        for count in 0..20_u8 {
            let txids: Vec<_> = (0..count).map(|n| [n; 32]).collect();
            let mut path = MerklePath::new();
            for txid in &txids {
                path.push(*txid).unwrap();
            }
            let path = path.finish();
            let short = merkle::merkle_root([0xaa; 32], path.hashes().iter().map(|hash| hash.0));
            assert_eq!(short, merkle_root([0xaa; 32], &txids), "{count}");
        }
    }
}
