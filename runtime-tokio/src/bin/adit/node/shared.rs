//! What the following task, the handles and the submissions have in common: the newest offer, the room that clients want, the
//! templates made of both.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use adit::template::Constraints;
use tokio::sync::watch;

use super::block_template::Offer;
use super::error::{BadTemplate, NodeError};
use crate::source::{Template, Wishes};

/// Templates that are kept for late solutions: as many as the provider's book keeps.
pub(super) const KEPT: usize = 64;

/// Whether the node gives templates.
#[derive(Clone, Debug)]
pub(crate) enum Health {
    /// It has not been heard of.
    Unknown,
    /// It does.
    Good,
    /// It does not, for this reason; it is asked on and on.
    Bad(Arc<NodeError>),
}

pub(super) struct Shared {
    inner: Mutex<Inner>,
    wishes: Wishes,
    /// Set by the first template.
    templates: OnceLock<watch::Sender<Arc<Template>>>,
    health: watch::Sender<Health>,
}

struct Inner {
    offer: Option<Arc<Offer>>,
    room: Constraints,
    next_id: u64,
    /// Oldest first.
    kept: VecDeque<Arc<Template>>,
}

impl Inner {
    /// Keeps a template beside those of its tip and of the tip before, as long as there is room.
    fn keep(&mut self, template: Arc<Template>) {
        let tip = template.parts.prev_hash;
        let before = self.kept.iter().rev().map(|other| other.parts.prev_hash).find(|other| *other != tip);
        self.kept.retain(|other| other.parts.prev_hash == tip || Some(other.parts.prev_hash) == before);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(template);
    }
}

impl Shared {
    /// The first template gets `first_id`, each further one the next number (D-TDP-7).
    pub(super) fn new(first_id: u64) -> Self {
        let inner = Inner { offer: None, room: Constraints::default(), next_id: first_id, kept: VecDeque::new() };
        let (inner, wishes) = (Mutex::new(inner), Wishes::default());
        Self { inner, wishes, templates: OnceLock::new(), health: watch::Sender::new(Health::Unknown) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in it is half done when something panics: offers and templates are put in whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new offer of the node.
    pub(super) fn take_offer(&self, offer: Arc<Offer>) -> Result<(), BadTemplate> {
        let mut inner = self.inner();
        self.show(&mut inner, &offer)?;
        inner.offer = Some(offer);
        drop(inner);
        self.health.send_if_modified(|health| !matches!(std::mem::replace(health, Health::Good), Health::Good));
        Ok(())
    }

    /// Makes a template of an offer and shows it, when it is worth more than the time that it carries. The lock is held, so templates are
    /// shown in the order of their ids.
    fn show(&self, inner: &mut Inner, offer: &Offer) -> Result<(), BadTemplate> {
        let template = Arc::new(offer.build(inner.next_id, inner.room)?);
        let is_shown = self.templates.get().map(|templates| {
            let shown = templates.borrow();
            template.is_same_work(&shown) && template.parts.room == shown.parts.room
        });
        if is_shown == Some(true) {
            return Ok(());
        }
        inner.next_id += 1;
        // Before anyone can solve it.
        inner.keep(Arc::clone(&template));
        match self.templates.get() {
            Some(templates) => drop(templates.send_replace(template)),
            None => drop(self.templates.set(watch::Sender::new(template))),
        }
        Ok(())
    }

    /// Queues a room for [`Self::set_next_room`]. Never waits.
    pub(super) fn wish(&self, room: Constraints) {
        self.wishes.add(room);
    }

    /// See [`TemplateSource::set_room`](crate::source::TemplateSource::set_room): of the room that has waited longest.
    pub(super) fn set_next_room(&self) {
        let mut inner = self.inner();
        let Some(room) = self.wishes.next() else { return };
        let before = std::mem::replace(&mut inner.room, room);
        if before.covers(room) {
            return;
        }
        let Some(offer) = inner.offer.clone() else { return };
        if let Err(error) = self.show(&mut inner, &offer) {
            // One client's impossible wish must not leave the others without templates.
            inner.room = before;
            tracing::warn!(%error, size = room.max_additional_size, "outputs that no template can leave room for");
        }
    }

    /// There is a problem. Said again when it is another one than before.
    pub(super) fn is_bad(&self, error: NodeError) {
        self.health.send_if_modified(|health| {
            let is_new = !matches!(health, Health::Bad(before) if before.to_string() == error.to_string());
            if is_new {
                *health = Health::Bad(Arc::new(error));
            }
            is_new
        });
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// None before there is a first one.
    pub(super) fn templates(&self) -> Option<watch::Receiver<Arc<Template>>> {
        self.templates.get().map(watch::Sender::subscribe)
    }

    pub(super) fn template(&self, id: u64) -> Option<Arc<Template>> {
        self.inner().kept.iter().find(|template| template.parts.id == id).cloned()
    }

    /// Of the newest template; 0 before there is one.
    pub(super) fn height(&self) -> u32 {
        self.inner().kept.back().map_or(0, |template| template.parts.height)
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.inner().kept.len()
    }
}
