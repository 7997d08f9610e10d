//! The books: what the pool has stored, and what each device was told of its shares.

use std::collections::{BTreeMap, BTreeSet};

use adit::role::Pool;
use adit::role::pool::Share;
use adit::storage::Heap;

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
}

impl Store {
    /// Takes an accepted share. Fails when its ticket does not rise by one or its header was counted before.
    pub(super) fn take(&mut self, share: &Share, user: &[u8]) -> Result<(), String> {
        if share.ticket != self.last_ticket + 1 {
            return Err(format!("ticket {} behind {}", share.ticket, self.last_ticket));
        }
        self.last_ticket = share.ticket;
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
        self.durable.extend(std::mem::replace(&mut self.writing, behind).into_values());
    }

    pub(super) fn is_settled(&self) -> bool {
        self.writing.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.durable.len()
    }

    /// Whether the share is on disk, under this name.
    fn holds(&self, hash: &[u8; 32], user: &str) -> bool {
        self.durable.get(hash).is_some_and(|entry| entry.user == user.as_bytes())
    }

    /// The pool's own account of each user is what the store has of it.
    pub(super) fn compare(&self, pool: &Pool<Heap>) -> Result<(), String> {
        let mut sums: BTreeMap<&[u8], (u64, f64)> = BTreeMap::new();
        for entry in self.durable.values() {
            let sum = sums.entry(&entry.user).or_default();
            sum.0 += 1;
            sum.1 += entry.difficulty;
        }
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

/// What one device sent and what it was told.
pub(super) struct Ledger {
    user: String,
    /// Shares without an answer, by sequence number.
    waiting: BTreeMap<u32, [u8; 32]>,
    acknowledged: BTreeSet<[u8; 32]>,
    pub(super) rejected: u64,
    /// Shares whose connection ended first: the pool may have them or not.
    pub(super) lost: u64,
}

impl Ledger {
    pub(super) const fn new(user: String) -> Self {
        Self { user, waiting: BTreeMap::new(), acknowledged: BTreeSet::new(), rejected: 0, lost: 0 }
    }

    /// The connection is gone, and with it all answers that were on the way.
    pub(super) fn disconnected(&mut self) {
        self.lost += self.waiting.len() as u64;
        self.waiting.clear();
    }

    pub(super) fn sent(&mut self, sequence_number: u32, hash: [u8; 32]) {
        self.waiting.insert(sequence_number, hash);
    }

    /// D-SHARE-4: exactly the shares up to `last` that wait, each of them on disk before it is acknowledged.
    pub(super) fn acknowledged(&mut self, last: u32, count: u64, store: &Store) -> Result<(), String> {
        let behind = self.waiting.split_off(&last.saturating_add(1));
        let told = std::mem::replace(&mut self.waiting, behind);
        if told.len() as u64 != count || !told.contains_key(&last) {
            return Err(format!("{}: {count} shares acknowledged up to {last}, waiting were {told:?}", self.user));
        }
        for (sequence, hash) in told {
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
    pub(super) fn rejected(&mut self, sequence_number: u32, code: &str) -> Result<(), String> {
        self.rejected += 1;
        match self.waiting.remove(&sequence_number) {
            None => Err(format!("{}: share {sequence_number} rejected, which does not wait", self.user)),
            Some(_) if code != "stale-share" => Err(format!("{}: share {sequence_number}: {code}", self.user)),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }

    /// The device's own count is what its ledger says.
    pub(super) fn compare(&self, accepted: u64, rejected: u64, lost: u64) -> Result<(), String> {
        let own = (self.acknowledged.len() as u64, self.rejected, self.lost);
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
        (1..=3).for_each(|n| ledger.sent(u32::from(n), [n; 32]));
        ledger
    }

    /// D-SHARE-4
    #[test]
    fn acknowledged_is_what_is_on_disk() {
        let mut honest = ledger("a");
        assert_eq!(honest.acknowledged(2, 2, &store()), Ok(()));
        assert!(!honest.is_settled());
        assert!(honest.acknowledged(3, 1, &store()).is_err(), "the third is not written yet");
        assert!(ledger("b").acknowledged(2, 2, &store()).is_err(), "someone else's account");
    }

    #[test]
    fn counts_that_are_off_are_noticed() {
        assert!(ledger("a").acknowledged(2, 1, &store()).is_err(), "fewer than wait");
        assert!(ledger("a").acknowledged(2, 3, &store()).is_err(), "more than wait");
        assert!(ledger("a").acknowledged(9, 3, &store()).is_err(), "a number that was not sent");
        let mut again = ledger("a");
        assert_eq!(again.acknowledged(1, 1, &store()), Ok(()));
        again.sent(7, [1; 32]);
        assert!(again.acknowledged(7, 2, &store()).is_err(), "the same share twice");
    }

    /// D-SHARE-6
    #[test]
    fn only_stale_shares_may_be_rejected() {
        let mut ledger = ledger("a");
        assert_eq!(ledger.rejected(1, "stale-share"), Ok(()));
        assert!(ledger.rejected(1, "stale-share").is_err(), "twice");
        assert!(ledger.rejected(2, "duplicate-share").is_err());
        ledger.disconnected();
        assert_eq!(
            (ledger.compare(0, 2, 1), ledger.is_settled()),
            (Err("a counts 0 accepted, 2 rejected, 1 lost; its ledger (0, 3, 1)".to_owned()), true)
        );
    }
}
