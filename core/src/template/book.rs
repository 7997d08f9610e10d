//! The provider's templates: stored once, whatever the number of clients.

use core::fmt;

use super::coinbase::TemplateCoinbase;
use super::store::{Constraints, Template, TemplateError, Tip};
use crate::config::{PROVIDER_TEMPLATES_HEAP, PROVIDER_TEMPLATES_INLINE};
use crate::storage::{List, Storage};
use crate::time::Instant;
use crate::wire::U256;

/// What a template builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// On the present tip: to be mined at once (`future_template` false, D-TDP-9).
    Tip,
    /// On a block that is still to come (`future_template` true).
    Next,
}

/// How a known template stands to the present tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It builds on a block to come.
    Future,
    /// It builds on the tip.
    Current,
    /// It builds on the tip before.
    Stale,
}

/// Why the book did not take a template or a tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BookError {
    /// The template itself is at fault.
    Template(TemplateError),
    /// A template on the tip, but there is no tip yet.
    NoTip,
    /// The tip names a template that is unknown or no future one; carries the id.
    NotFuture(u64),
}

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(why) => write!(f, "{why}"),
            Self::NoTip => f.write_str("a template on the tip before there is a tip"),
            Self::NotFuture(id) => write!(f, "the new tip names template {id}, which is no future template"),
        }
    }
}

impl core::error::Error for BookError {}

/// Counts tips; 0 is "none yet".
pub(super) type TipSequence = u64;

struct Entry<S: Storage> {
    template: Template<S>,
    /// What the template leaves room for.
    room: Constraints,
    /// The tip it builds on, none for a future one.
    tip: Option<TipSequence>,
}

/// A template of the book and how it stands.
pub struct Known<'a, S: Storage> {
    /// The template.
    pub template: &'a Template<S>,
    /// What it leaves room for.
    pub room: Constraints,
    /// How it stands to the tip.
    pub standing: Standing,
    /// The tip it builds on; none for a future one.
    pub tip: Option<&'a Tip>,
}

impl<S: Storage> fmt::Debug for Known<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { room, standing, tip, .. } = self;
        f.debug_struct("Known")
            .field("room", room)
            .field("standing", standing)
            .field("tip", tip)
            .finish_non_exhaustive()
    }
}

/// Templates of the present tip, of the one before, and future ones, within bounds: when there is no room the least useful one goes.
pub struct TemplateBook<S: Storage> {
    entries: S::List<Entry<S>, PROVIDER_TEMPLATES_INLINE, PROVIDER_TEMPLATES_HEAP>,
    next_id: u64,
    tips: [Option<Tip>; 2],
    /// When the present tip was set.
    since: Instant,
    sequence: TipSequence,
    /// An earlier run may have told of what is the first tip here.
    counts_on: bool,
}

impl<S: Storage> fmt::Debug for TemplateBook<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateBook").field("tips", &self.tips).field("next_id", &self.next_id).finish_non_exhaustive()
    }
}

impl<S: Storage> Default for TemplateBook<S> {
    fn default() -> Self {
        Self::starting_at(1)
    }
}

impl<S: Storage> TemplateBook<S> {
    /// An empty book whose first template gets `first_id`. A provider that restarts picks one above all that it used before (the
    /// time in microseconds, say), so that a late solution never names another template (D-TDP-7). With an id above 1 an earlier run may have named
    /// another time for the first tip, so that times on it are not judged.
    #[must_use]
    pub fn starting_at(first_id: u64) -> Self {
        let (entries, counts_on) = (Default::default(), first_id > 1);
        Self { entries, next_id: first_id, tips: [None, None], since: Instant::ORIGIN, sequence: 0, counts_on }
    }

    /// Adds a template and gives its id, one above the last (D-TDP-7). `room` is what it leaves for the client's part of the
    /// coinbase (D-TDP-6); only clients that need no more are sent it.
    pub fn add(
        &mut self,
        basis: Basis,
        version: u32,
        coinbase: &TemplateCoinbase<'_>,
        merkle_path: &[U256],
        room: Constraints,
    ) -> Result<u64, BookError> {
        let tip = match basis {
            Basis::Tip if self.sequence == 0 => return Err(BookError::NoTip),
            Basis::Tip => Some(self.sequence),
            Basis::Next => None,
        };
        let template =
            Template::new(self.next_id, version, coinbase, merkle_path.iter().copied()).map_err(BookError::Template)?;
        if self.entries.is_full() {
            self.evict();
        }
        self.entries.push(Entry { template, room, tip }).map_err(|_| BookError::Template(TemplateError::TooLarge))?;
        self.next_id += 1;
        Ok(self.next_id - 1)
    }

    /// Makes room: stale templates go first, then older ones of the tip, then older future ones.
    fn evict(&mut self) {
        let current = Some(self.sequence);
        let oldest = |wanted: &dyn Fn(&Entry<S>) -> bool| self.entries.iter().position(wanted);
        let several = |tip| self.entries.iter().filter(|entry| entry.tip == tip).count() > 1;
        let victim = oldest(&|entry| entry.tip.is_some() && entry.tip != current)
            .or_else(|| several(current).then(|| oldest(&|entry| entry.tip == current)).flatten())
            .or_else(|| oldest(&|entry| entry.tip.is_none()));
        if let Some(index) = victim {
            self.entries.remove(index);
        }
    }

    /// A new best block: `template_id` names the future template to go on with (D-TDP-10, D-TDP-11). The templates of the tip
    /// before become stale, older ones and the other future ones are forgotten.
    ///
    /// `now` is what a solution's time is judged by (D-TDP-20): nobody can have heard of the tip earlier.
    pub fn set_tip(&mut self, now: Instant, template_id: u64, tip: Tip) -> Result<(), BookError> {
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| entry.template.id() == template_id && entry.tip.is_none())
            .ok_or(BookError::NotFuture(template_id))?;
        let stale = self.sequence;
        self.sequence += 1;
        entry.tip = Some(self.sequence);
        self.entries.retain(|entry| entry.tip.is_some_and(|tip| tip >= stale));
        let [latest, _] = self.tips;
        self.tips = [Some(tip), latest];
        self.since = now;
        Ok(())
    }

    /// The present tip.
    #[must_use]
    pub const fn tip(&self) -> Option<&Tip> {
        self.tips[0].as_ref()
    }

    /// When the present tip was set; the origin while there is none.
    pub(super) const fn tip_since(&self) -> Instant {
        self.since
    }

    /// Whether a solution's time on the tip of a template that stands so can be judged (D-TDP-20): not on one that an earlier run may have told of,
    /// by another time and from another moment on. A client that goes on across the restart, as it should, is within what it was told.
    pub(super) const fn knows_times(&self, standing: Standing) -> bool {
        let tip = match standing {
            Standing::Future | Standing::Current => self.sequence,
            Standing::Stale => self.sequence.saturating_sub(1),
        };
        !self.counts_on || tip > 1
    }

    /// How many tips there were.
    pub(super) const fn sequence(&self) -> TipSequence {
        self.sequence
    }

    /// The template `id`, when it is still known.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Known<'_, S>> {
        let entry = self.entries.iter().find(|entry| entry.template.id() == id)?;
        let (standing, tip) = match entry.tip {
            None => (Standing::Future, None),
            Some(sequence) if sequence == self.sequence => (Standing::Current, self.tips[0].as_ref()),
            Some(_) => (Standing::Stale, self.tips[1].as_ref()),
        };
        Some(Known { template: &entry.template, room: entry.room, standing, tip })
    }

    /// The newest template on the tip with room for `need`.
    #[must_use]
    pub fn best(&self, need: Constraints) -> Option<&Template<S>> {
        self.newest(Some(self.sequence), need)
    }

    /// The newest future template with room for `need`.
    #[must_use]
    pub fn future(&self, need: Constraints) -> Option<&Template<S>> {
        self.newest(None, need)
    }

    fn newest(&self, tip: Option<TipSequence>, need: Constraints) -> Option<&Template<S>> {
        // Ids rise, so the last one is the newest.
        self.entries.iter().rev().find(|entry| entry.tip == tip && entry.room.covers(need)).map(|entry| &entry.template)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::Inline;
    use crate::template::testing::{ROOM, add, fields, tip};

    #[test]
    fn what_can_not_be_a_template_is_refused() {
        let mut book = TemplateBook::<Inline>::default();
        let mut refused = |basis, fields: &TemplateCoinbase<'_>| book.add(basis, 1, fields, &[], ROOM).err();
        assert_eq!(refused(Basis::Tip, &fields(&[])), Some(BookError::NoTip));
        let long = TemplateError::ScriptPrefixTooLong(9);
        assert_eq!(refused(Basis::Next, &fields(&[1; 9])), Some(BookError::Template(long)));
        let none = TemplateCoinbase { outputs_count: 2, ..fields(&[]) };
        assert!(matches!(refused(Basis::Next, &none), Some(BookError::Template(TemplateError::Outputs(_)))));
        let large = std::vec![0; 9 * 40];
        let many = TemplateCoinbase { outputs_count: 40, outputs: &large, ..fields(&[]) };
        assert_eq!(refused(Basis::Next, &many), Some(BookError::Template(TemplateError::TooLarge)));
        assert_eq!(book.set_tip(Instant::ORIGIN, 1, tip(1)), Err(BookError::NotFuture(1)));
    }

    #[test]
    fn one_tip_back_is_stale_and_two_are_forgotten() {
        let mut book = TemplateBook::<Inline>::starting_at(10);
        for n in 1..4 {
            let id = add(&mut book, Basis::Next, ROOM);
            book.set_tip(Instant::ORIGIN, id, tip(n)).expect("future");
        }
        assert!(book.get(10).is_none());
        let stale = book.get(11).expect("kept");
        assert_eq!((stale.standing, stale.tip.map(|tip| tip.prev_hash)), (Standing::Stale, Some([2; 32])));
        let current = book.get(12).expect("kept");
        assert_eq!((current.standing, current.tip.map(|tip| tip.prev_hash)), (Standing::Current, Some([3; 32])));
        assert_eq!(book.set_tip(Instant::ORIGIN, 12, tip(4)), Err(BookError::NotFuture(12)));
    }

    proptest! {
        /// D-TDP-7: ids rise whatever happens, the newest template of the tip and the newest future one are always there.
        #[test]
        fn the_newest_are_kept(steps in proptest::collection::vec(0..4_u8, 0..100)) {
            let mut book = TemplateBook::<Inline>::default();
            let (mut last, mut best, mut future) = (0, None, None);
            for step in steps {
                match step {
                    0 if future.is_some() => {
                        best = future.take();
                        prop_assert_eq!(book.set_tip(Instant::ORIGIN, best.expect("future"), tip(1)), Ok(()));
                    }
                    1 | 2 if best.is_some() => {
                        let id = add(&mut book, Basis::Tip, ROOM);
                        prop_assert!(id > last);
                        (last, best) = (id, Some(id));
                    }
                    _ => {
                        let id = add(&mut book, Basis::Next, ROOM);
                        prop_assert!(id > last);
                        (last, future) = (id, Some(id));
                    }
                }
                prop_assert_eq!(book.best(ROOM).map(Template::id), best);
                prop_assert_eq!(book.future(ROOM).map(Template::id), future);
            }
        }
    }
}
