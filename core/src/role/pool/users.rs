//! Who mines at a pool: names, and what was credited to each of them.

use core::fmt;

use super::meter::Meter;
use crate::config::{USER_NAME_HEAP, USER_NAME_INLINE, USERS_HEAP, USERS_INLINE};
use crate::hash::sha256d;
use crate::storage::{List, NoRoom, Storage};
use crate::time::Instant;

/// A user of the pool, by the whole `user_identity` (account and worker).
pub struct User<S: Storage> {
    name: S::List<u8, USER_NAME_INLINE, USER_NAME_HEAP>,
    accepted: u64,
    rejected: u64,
    difficulty: f64,
    meter: Meter,
    /// Mark of the sweep that looks for users who are not there any more.
    present: bool,
    /// A sweep has forgotten it: the place is free.
    forgotten: bool,
}

impl<S: Storage> fmt::Debug for User<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({}, {} accepted, {} rejected)", self.name.escape_ascii(), self.accepted, self.rejected)
    }
}

impl<S: Storage> User<S> {
    /// `user_identity` as it came: at most 255 bytes of anything.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Shares accepted.
    #[must_use]
    pub const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Shares rejected.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Sum of the difficulties of accepted shares.
    #[must_use]
    pub const fn difficulty(&self) -> f64 {
        self.difficulty
    }

    /// Hashes a second over the last ten minutes.
    #[must_use]
    pub fn hash_rate(&self, now: Instant) -> f64 {
        self.meter.rate(now)
    }

    /// Nothing was ever credited, so the place may be given to someone else.
    fn is_blank(&self) -> bool {
        self.accepted == 0
    }
}

/// All users. An account number is a place in the list; it belongs to one name as long as anything is credited to it or a channel has it.
pub(super) struct Users<S: Storage> {
    list: S::List<User<S>, USERS_INLINE, USERS_HEAP>,
    /// Hash of a name and its place, sorted: a name is found without a walk.
    index: S::List<(u64, u32), USERS_INLINE, USERS_HEAP>,
    /// Places whose user was forgotten.
    free: S::List<u32, USERS_INLINE, USERS_HEAP>,
    /// Names that came since the last sweep.
    fresh: usize,
}

impl<S: Storage> Default for Users<S> {
    fn default() -> Self {
        Self { list: Default::default(), index: Default::default(), free: Default::default(), fresh: 0 }
    }
}

/// Where a name is looked for. Nobody can choose names that fall together.
fn key(name: &[u8]) -> u64 {
    let hash = sha256d(&[name]);
    // The first eight of 32.
    hash.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

impl<S: Storage> Users<S> {
    /// The account of a name, if it has one.
    pub(super) fn find(&self, name: &[u8]) -> Option<u64> {
        let key = key(name);
        let from = self.index.partition_point(|(other, _)| *other < key);
        let same = self.index.get(from..)?.iter().take_while(|(other, _)| *other == key);
        let is_it = |place: &u32| self.list.get(*place as usize).is_some_and(|user| *user.name == *name);
        same.map(|(_, place)| *place).find(is_it).map(u64::from)
    }

    /// Whether a new name needs a [`Self::sweep`] first: when there is no place, or when so many came since the last one that it costs
    /// little for each. So names that somebody makes up do not pile up.
    pub(super) fn wants_sweep(&self, channels: usize) -> bool {
        let full = self.list.is_full() && self.free.is_empty();
        full || self.fresh >= channels.max(self.list.len() / 2).max(1024)
    }

    /// The account of a name, a new one when it has none.
    pub(super) fn enter(&mut self, name: &[u8]) -> Result<u64, NoRoom> {
        if let Some(account) = self.find(name) {
            return Ok(account);
        }
        let mut user: User<S> = User {
            name: Default::default(),
            accepted: 0,
            rejected: 0,
            difficulty: 0.0,
            meter: Meter::default(),
            present: false,
            forgotten: false,
        };
        user.name.extend_from_slice(name)?;
        let last = self.free.len().checked_sub(1);
        let reused = last.and_then(|last| self.free.get(last).copied());
        let place = match reused {
            Some(place) => place,
            None => u32::try_from(self.list.len()).map_err(|_| NoRoom)?,
        };
        let key = key(name);
        let at = self.index.partition_point(|(other, _)| *other < key);
        self.index.push((key, place)).map_err(|_| NoRoom)?;
        if let Some(behind) = self.index.get_mut(at..) {
            behind.rotate_right(1);
        }
        match self.list.get_mut(place as usize) {
            Some(old) => {
                *old = user;
                self.free.truncate(last.unwrap_or_default());
            }
            None => {
                if self.list.push(user).is_err() {
                    self.index.remove(at);
                    return Err(NoRoom);
                }
            }
        }
        self.fresh += 1;
        Ok(u64::from(place))
    }

    /// Forgets users to whom nothing was credited and who have no channel. `present` are the accounts of all open channels.
    pub(super) fn sweep(&mut self, present: impl Iterator<Item = u64>) {
        for account in present {
            if let Some(user) = self.at_mut(account) {
                user.present = true;
            }
        }
        self.fresh = 0;
        let (list, free) = (&mut self.list, &mut self.free);
        self.index.retain(|(_, place)| {
            let Some(user) = list.get_mut(*place as usize) else { return false };
            let stays = core::mem::take(&mut user.present) || !user.is_blank();
            // The list of free places is as long as that of users.
            user.forgotten = !stays && free.push(*place).is_ok();
            !user.forgotten
        });
    }

    fn at_mut(&mut self, account: u64) -> Option<&mut User<S>> {
        self.list.get_mut(usize::try_from(account).ok()?)
    }

    pub(super) fn get(&self, account: u64) -> Option<&User<S>> {
        // A free place still holds whom it was of last. Asked for each share, so no name is hashed to find that out.
        self.list.get(usize::try_from(account).ok()?).filter(|user| !user.forgotten)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &User<S>)> {
        self.index.iter().filter_map(|(_, place)| Some((u64::from(*place), self.list.get(*place as usize)?)))
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn accept(&mut self, account: u64, now: Instant, difficulty: f64, hashes: f64) {
        if let Some(user) = self.at_mut(account) {
            user.accepted = user.accepted.saturating_add(1);
            user.difficulty += difficulty;
            user.meter.record(now, hashes);
        }
    }

    pub(super) fn reject(&mut self, account: u64) {
        if let Some(user) = self.at_mut(account) {
            user.rejected = user.rejected.saturating_add(1);
        }
    }

    pub(super) fn credit(&mut self, account: u64, shares: u64, difficulty: f64) {
        if let Some(user) = self.at_mut(account) {
            user.accepted = user.accepted.saturating_add(shares);
            user.difficulty += difficulty;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use super::*;
    use crate::storage::Inline;

    #[test]
    fn a_name_keeps_its_account() {
        let mut users = Users::<Inline>::default();
        let (a, b) = (users.enter(b"a").unwrap(), users.enter(b"b").unwrap());
        assert_ne!(a, b);
        assert_eq!((users.enter(b"a"), users.find(b"b"), users.find(b"c")), (Ok(a), Some(b), None));
        users.accept(a, Instant::ORIGIN, 2.0, 8.0e9);
        users.credit(a, 10, 5.0);
        users.reject(b);
        let user = users.get(a).unwrap();
        assert_eq!((user.name(), user.accepted(), user.rejected()), (&b"a"[..], 11, 0));
        assert!((user.difficulty() - 7.0).abs() < 1e-9 && user.hash_rate(Instant::ORIGIN) > 0.0);
        assert_eq!(users.get(b).unwrap().rejected(), 1);
        assert_eq!(users.iter().count(), 2);
        assert!(users.enter(&[b'x'; USER_NAME_INLINE + 1]).is_err());
        assert_eq!(users.len(), 2);
    }

    #[test]
    fn names_that_come_and_go_leave_no_trace() {
        let mut users = Users::<Inline>::default();
        let kept = users.enter(b"earner").unwrap();
        users.credit(kept, 1, 1.0);
        let busy = users.enter(b"busy").unwrap();
        for n in 0..1000_u32 {
            if users.wants_sweep(1) {
                users.sweep([busy].into_iter());
                assert_eq!(users.len(), 2);
            }
            let account = users.enter(&n.to_le_bytes()).unwrap();
            assert!(account != kept && account != busy);
            assert_eq!(users.get(account).map(User::accepted), Some(0));
        }
        assert_eq!(users.find(b"earner"), Some(kept));
        users.sweep(core::iter::empty());
        assert!(users.get(busy).is_none(), "its place is free");
        assert_eq!(users.len(), 1);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn made_up_names_do_not_pile_up() {
        let mut users = Users::<crate::storage::Heap>::default();
        for n in 0..100_000_u32 {
            if users.wants_sweep(1) {
                users.sweep(core::iter::empty());
            }
            users.enter(&n.to_le_bytes()).unwrap();
        }
        assert!(users.list.len() <= 2048, "{}", users.list.len());
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(names in proptest::collection::vec("[ab]{0,4}", 0..60)) {
            let mut users = Users::<Inline>::default();
            let mut model: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
            for name in names {
                let name = name.into_bytes();
                match users.enter(&name) {
                    Ok(account) => {
                        let known = *model.entry(name).or_insert(account);
                        prop_assert_eq!(known, account);
                    }
                    Err(NoRoom) => prop_assert!(model.len() == USERS_INLINE && !model.contains_key(&name)),
                }
            }
            for (name, account) in &model {
                prop_assert_eq!(users.find(name), Some(*account));
                prop_assert_eq!(users.get(*account).map(User::name), Some(&name[..]));
            }
        }
    }
}
