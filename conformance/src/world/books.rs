//! The books: what the pool has stored, and what each device was told of its shares.

use std::collections::{BTreeMap, BTreeSet};

use adit::mining::header::Header;
use adit::role::Pool;
use adit::role::pool::Share;
use adit::storage::Heap;

use super::net::LineId;

/// A stored share.
struct Entry {
    user: Vec<u8>,
    difficulty: f64,
}

/// The pool's share store: takes a while to write.
#[derive(Default)]
pub(super) struct Store {
    /// By ticket: what is not on disk yet.
    writing: BTreeMap<u64, ([u8; 32], Entry)>,
    /// By header hash.
    durable: BTreeMap<[u8; 32], Entry>,
    last_ticket: u64,
    /// The last ticket on disk.
    pub(super) durable_ticket: u64,
    /// Shares that came since the pool's process began.
    pub(super) taken: u64,
}

impl Store {
    /// Takes an accepted share. Fails when its ticket does not rise by one or its header was counted before.
    pub(super) fn take(&mut self, share: &Share, user: &[u8]) -> Result<(), String> {
        if share.ticket != self.last_ticket + 1 {
            return Err(format!("ticket {} behind {}", share.ticket, self.last_ticket));
        }
        self.last_ticket = share.ticket;
        self.taken += 1;
        if share.header.hash() != share.hash {
            return Err(format!("ticket {}: not the hash of its header", share.ticket));
        }
        if !share.target.is_met_by(&share.hash) {
            return Err(format!("ticket {}: above its target", share.ticket));
        }
        let known =
            self.durable.contains_key(&share.hash) || self.writing.values().any(|(hash, _)| *hash == share.hash);
        if known {
            return Err(format!("ticket {}: counted twice", share.ticket));
        }
        let entry = Entry { user: user.to_vec(), difficulty: share.difficulty };
        self.writing.insert(share.ticket, (share.hash, entry));
        Ok(())
    }

    /// Everything up to this ticket is on disk.
    pub(super) fn written(&mut self, ticket: u64) {
        let behind = self.writing.split_off(&ticket.saturating_add(1));
        self.durable_ticket = self.writing.last_key_value().map_or(self.durable_ticket, |(last, _)| *last);
        self.durable.extend(std::mem::replace(&mut self.writing, behind).into_values());
    }

    /// The pool's process has ended: what was not on disk is gone.
    pub(super) fn crash(&mut self) {
        self.writing.clear();
        self.last_ticket = self.durable_ticket;
        self.taken = 0;
    }

    pub(super) fn is_settled(&self) -> bool {
        self.writing.is_empty()
    }

    /// Hashes and users of all shares on disk.
    pub(super) fn shares(&self) -> impl Iterator<Item = (&[u8; 32], &[u8])> {
        self.durable.iter().map(|(hash, entry)| (hash, &entry.user[..]))
    }

    /// Count and difficulty of each user.
    pub(super) fn sums(&self) -> BTreeMap<&[u8], (u64, f64)> {
        let mut sums: BTreeMap<&[u8], (u64, f64)> = BTreeMap::new();
        for entry in self.durable.values() {
            let sum = sums.entry(&entry.user).or_default();
            sum.0 += 1;
            sum.1 += entry.difficulty;
        }
        sums
    }

    /// Whether the share is on disk, under this name.
    pub(super) fn holds(&self, hash: &[u8; 32], user: &str) -> bool {
        self.durable.get(hash).is_some_and(|entry| entry.user == user.as_bytes())
    }

    /// The pool's own account of each user is what the store has of it.
    pub(super) fn compare(&self, pool: &Pool<Heap>) -> Result<(), String> {
        let mut sums = self.sums();
        for (_, user) in pool.users() {
            let (shares, difficulty) = sums.remove(user.name()).unwrap_or_default();
            let off = (user.difficulty() - difficulty).abs();
            if user.accepted() != shares || off > 1e-9 * difficulty {
                return Err(format!("{user:?} has {shares} shares in the store, difficulty off by {off}"));
            }
        }
        if sums.is_empty() { Ok(()) } else { Err(format!("{} users are in the store only", sums.len())) }
    }
}

/// A block that the pool found, and what became of it.
pub(super) struct Found {
    hash: [u8; 32],
    header: Header,
    /// The run of the pool that found it.
    run: u32,
    /// The line to the provider that was open then.
    line: Option<LineId>,
    /// The lines on which it arrived.
    arrived: Vec<LineId>,
    /// A provider heard of it that had no such template any more.
    unknown: bool,
}

impl Found {
    pub(super) const fn new(hash: [u8; 32], header: Header, run: u32, line: Option<LineId>) -> Self {
        Self { hash, header, run, line, arrived: vec![], unknown: false }
    }

    /// A block arrives at the provider.
    pub(super) fn arrives(all: &mut [Self], hash: &[u8; 32], line: LineId) -> Result<(), String> {
        let found = all.iter_mut().find(|found| found.hash == *hash).ok_or("a block that nobody found")?;
        if found.arrived.contains(&line) {
            return Err("a block is sent twice on one connection".into());
        }
        found.arrived.push(line);
        Ok(())
    }

    /// A provider says that a solution with this version, time and nonce is no block. Whether it is right: a block was found, but not on the template
    /// that the provider knows under this id, if it knows one; `root` is that one's.
    pub(super) fn is_unknown(
        all: &mut [Self],
        (version, ntime, nonce): (u32, u32, u32),
        root: Option<[u8; 32]>,
    ) -> bool {
        let is_it = |header: &Header| (header.version, header.ntime, header.nonce) == (version, ntime, nonce);
        let Some(found) = all.iter_mut().find(|found| is_it(&found.header)) else { return false };
        found.unknown = true;
        root != Some(found.header.merkle_root)
    }

    pub(super) const fn is_told(&self) -> bool {
        !self.arrived.is_empty() || self.unknown
    }

    /// Nothing more is to be done about it: the provider has it, or it can't be a block on this tip any more, or the pool that found it is no more.
    pub(super) fn is_settled(&self, tip: &[u8; 32], run: u32, is_hurt: impl Fn(LineId) -> bool) -> bool {
        let is_hopeless = self.header.prev_hash != *tip && self.line.is_none_or(is_hurt);
        self.is_told() || self.run != run || is_hopeless
    }

    /// It arrived on another line than it was sent on at first.
    pub(super) fn was_sent_again(&self) -> bool {
        self.line.is_some() && self.arrived.iter().any(|line| Some(*line) != self.line)
    }
}

/// What one device sent and what it was told.
pub(super) struct Ledger {
    user: String,
    /// Shares without an answer, by channel and sequence number.
    waiting: BTreeMap<(u32, u32), [u8; 32]>,
    /// All shares that were ever sent.
    pub(super) sent: BTreeSet<[u8; 32]>,
    acknowledged: BTreeSet<[u8; 32]>,
    pub(super) rejected: BTreeSet<[u8; 32]>,
    /// Shares whose connection ended first: the pool may have them or not.
    pub(super) lost: u64,
    /// Accepted, rejected and lost before the device was booted last.
    before: (u64, u64, u64),
}

impl Ledger {
    pub(super) const fn new(user: String) -> Self {
        Self {
            user,
            waiting: BTreeMap::new(),
            sent: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            rejected: BTreeSet::new(),
            lost: 0,
            before: (0, 0, 0),
        }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The connection is gone, and with it all answers that were on the way.
    pub(super) fn disconnected(&mut self) {
        self.lost += self.waiting.len() as u64;
        self.waiting.clear();
    }

    pub(super) fn sent(&mut self, channel: u32, sequence_number: u32, hash: [u8; 32]) {
        self.waiting.insert((channel, sequence_number), hash);
        self.sent.insert(hash);
    }

    /// D-SHARE-4: exactly the shares up to `last` that wait, each of them on disk before it is acknowledged.
    pub(super) fn acknowledged(&mut self, channel: u32, last: u32, count: u64, store: &Store) -> Result<(), String> {
        let told: Vec<_> =
            self.waiting.range((channel, 0)..=(channel, last)).map(|(key, hash)| (key.1, *hash)).collect();
        if told.len() as u64 != count || told.last().is_none_or(|(sequence, _)| *sequence != last) {
            return Err(format!("{}: {count} shares acknowledged up to {last}, waiting were {told:?}", self.user));
        }
        for (sequence, hash) in told {
            self.waiting.remove(&(channel, sequence));
            if !store.holds(&hash, &self.user) {
                return Err(format!("{}: share {sequence} acknowledged, but not in its account", self.user));
            }
            if !self.acknowledged.insert(hash) {
                return Err(format!("{}: share {sequence} acknowledged twice", self.user));
            }
        }
        Ok(())
    }

    /// D-SHARE-6: an honest device is rejected when its work went stale on the way, for nothing else.
    pub(super) fn rejected(&mut self, channel: u32, sequence_number: u32, code: &str) -> Result<(), String> {
        let share = self.waiting.remove(&(channel, sequence_number));
        self.rejected.extend(share);
        match share {
            None => Err(format!("{}: share {sequence_number} rejected, which does not wait", self.user)),
            Some(_) if code != "stale-share" => Err(format!("{}: share {sequence_number}: {code}", self.user)),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    fn counts(&self) -> (u64, u64, u64) {
        (self.acknowledged.len() as u64, self.rejected.len() as u64, self.lost)
    }

    /// The device begins anew, with counts of zero.
    pub(super) fn booted(&mut self) {
        self.before = self.counts();
    }

    /// All shares that it knows to count.
    pub(super) const fn acknowledged_shares(&self) -> &BTreeSet<[u8; 32]> {
        &self.acknowledged
    }

    /// The device's own count since it was booted is what its ledger says.
    pub(super) fn compare(&self, accepted: u64, rejected: u64, lost: u64) -> Result<(), String> {
        let (all, before) = (self.counts(), self.before);
        let own = (all.0 - before.0, all.1 - before.1, all.2 - before.2);
        if (accepted, rejected, lost) == own {
            Ok(())
        } else {
            Err(format!(
                "{} counts {accepted} accepted, {rejected} rejected, {lost} lost; its ledger {own:?}",
                self.user
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(user: &str) -> Entry {
        Entry { user: user.as_bytes().to_vec(), difficulty: 1.0 }
    }

    fn store() -> Store {
        let mut store = Store::default();
        for n in 1..=3 {
            store.writing.insert(u64::from(n), ([n; 32], entry("a")));
        }
        store.written(2);
        store
    }

    fn ledger(user: &str) -> Ledger {
        let mut ledger = Ledger::new(user.to_owned());
        (1..=3).for_each(|n| ledger.sent(5, u32::from(n), [n; 32]));
        ledger
    }

    /// D-SHARE-4
    #[test]
    fn acknowledged_is_what_is_on_disk() {
        let mut honest = ledger("a");
        assert_eq!(honest.acknowledged(5, 2, 2, &store()), Ok(()));
        assert!(!honest.is_settled());
        assert!(honest.acknowledged(5, 3, 1, &store()).is_err(), "the third is not written yet");
        assert!(ledger("b").acknowledged(5, 2, 2, &store()).is_err(), "someone else's account");
    }

    #[test]
    fn counts_that_are_off_are_noticed() {
        assert!(ledger("a").acknowledged(5, 2, 1, &store()).is_err(), "fewer than wait");
        assert!(ledger("a").acknowledged(5, 2, 3, &store()).is_err(), "more than wait");
        assert!(ledger("a").acknowledged(5, 9, 3, &store()).is_err(), "a number that was not sent");
        let mut again = ledger("a");
        assert_eq!(again.acknowledged(5, 1, 1, &store()), Ok(()));
        again.sent(5, 7, [1; 32]);
        assert!(again.acknowledged(5, 7, 2, &store()).is_err(), "the same share twice");
    }

    /// D-SHARE-6
    #[test]
    fn only_stale_shares_may_be_rejected() {
        let mut ledger = ledger("a");
        assert_eq!(ledger.rejected(5, 1, "stale-share"), Ok(()));
        assert!(ledger.rejected(5, 1, "stale-share").is_err(), "twice");
        assert!(ledger.rejected(5, 2, "duplicate-share").is_err());
        ledger.disconnected();
        assert_eq!(
            (ledger.compare(0, 3, 1), ledger.is_settled()),
            (Err("a counts 0 accepted, 3 rejected, 1 lost; its ledger (0, 2, 1)".to_owned()), true)
        );
    }
}
