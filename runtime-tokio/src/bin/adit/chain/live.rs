//! The chain as a source that lives: new transactions come with time, templates follow, solutions are judged.
//!
//! Signatures and disks take their time, so all that touches the chain runs on threads that may wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit::template::Constraints;
use adit_tokio::clock::Clock;
use tokio::sync::watch;
use tokio::task;
use tokio::time::{MissedTickBehavior, interval};

use super::{BlockError, Chain, SubmitError};
use crate::source::{Solution, Template, Unbuildable, Verdict, Wishes};

/// A running chain; copies are the same one. It ends with its last copy.
#[derive(Clone)]
pub(crate) struct Embedded(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    wishes: Wishes,
    templates: watch::Sender<Arc<Template>>,
    clock: Clock,
}

struct Inner {
    chain: Chain,
    room: Constraints,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic in the chain would leave a state that its checks still hold to; the next caller finds out.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a template of what there is now and shows it, when it is worth more than the time it carries. The lock is held, so
    /// templates are shown in the order of their ids.
    fn publish(&self, inner: &mut Inner) -> Result<(), Unbuildable> {
        let template = inner.chain.template(inner.room, self.now())?;
        self.templates.send_if_modified(|shown| {
            let news = !template.is_same_work(shown) || template.parts.room != shown.parts.room;
            if news {
                *shown = template;
            }
            news
        });
        Ok(())
    }

    fn publish_or_tell(&self, inner: &mut Inner) {
        if let Err(error) = self.publish(inner) {
            tracing::error!(%error, "no template from the embedded chain");
        }
    }

    fn now(&self) -> u32 {
        self.clock.wall().as_secs()
    }
}

impl Embedded {
    /// Sets a chain going. Every `refresh` a transaction comes in, and with it a template that pays more. Needs a tokio runtime.
    pub(crate) fn start(mut chain: Chain, refresh: Duration, clock: Clock) -> Result<Self, Unbuildable> {
        let room = Constraints::default();
        let first = chain.template(room, clock.wall().as_secs())?;
        let inner = Mutex::new(Inner { chain, room });
        let wishes = Wishes::default();
        let shared = Arc::new(Shared { inner, wishes, templates: watch::Sender::new(first), clock });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            // A period of zero would panic.
            let mut ticks = interval(refresh.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first tick comes at once.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let Some(shared) = weak.upgrade() else { return };
                let work = task::spawn_blocking(move || {
                    let mut inner = shared.inner();
                    if inner.chain.add_transaction() {
                        shared.publish_or_tell(&mut inner);
                    }
                });
                if work.await.is_err() {
                    return;
                }
            }
        });
        Ok(Self(shared))
    }

    /// See [`TemplateSource::templates`](crate::source::TemplateSource::templates).
    pub(crate) fn templates(&self) -> watch::Receiver<Arc<Template>> {
        self.0.templates.subscribe()
    }

    /// See [`TemplateSource::set_room`](crate::source::TemplateSource::set_room).
    pub(crate) fn set_room(&self, room: Constraints) {
        let shared = Arc::clone(&self.0);
        shared.wishes.add(room);
        task::spawn_blocking(move || {
            let mut inner = shared.inner();
            let Some(room) = shared.wishes.next() else { return };
            let before = std::mem::replace(&mut inner.room, room);
            if before.covers(room) {
                return;
            }
            if let Err(error) = shared.publish(&mut inner) {
                // One client's impossible wish must not leave the others without templates.
                inner.room = before;
                tracing::warn!(%error, size = room.max_additional_size, "outputs that no template can leave room for");
            }
        });
    }

    /// See [`TemplateSource::submit`](crate::source::TemplateSource::submit).
    pub(crate) async fn submit(&self, solution: Solution) -> Verdict {
        let shared = Arc::clone(&self.0);
        let work = task::spawn_blocking(move || {
            let now = shared.now();
            let mut inner = shared.inner();
            match inner.chain.submit(&solution, now) {
                Ok(block) => {
                    shared.publish_or_tell(&mut inner);
                    Verdict::Accepted(block)
                }
                // Two devices find one at nearly the same time, or a pool that was killed tells of one again: nobody's fault.
                Err(error @ SubmitError::Block(BlockError::NotOnTip { .. } | BlockError::Known)) => {
                    Verdict::Stale(error.to_string())
                }
                Err(error @ SubmitError::File(_)) => Verdict::Lost(error.to_string()),
                Err(error) => Verdict::Rejected(error.to_string()),
            }
        });
        work.await.unwrap_or_else(|error| Verdict::Lost(format!("the embedded chain failed: {error}")))
    }

    /// Height of the tip.
    pub(crate) async fn height(&self) -> Option<u32> {
        let shared = Arc::clone(&self.0);
        task::spawn_blocking(move || shared.inner().chain.height()).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use adit::mining::target::Target;
    use adit::time::UnixTime;

    use super::super::{PREMINED, Settings};
    use super::*;
    use crate::source::TemplateSource;
    use crate::source::tests::{coinbase_of, solve};

    const NOW: u32 = 1_800_000_000;

    fn start() -> TemplateSource {
        let settings = Settings { seed: [3; 32], target: Target::MAX, file: None, export: None };
        let chain = Chain::open(settings, NOW).expect("opened");
        let clock = Clock::start_at(UnixTime::from_secs(NOW));
        TemplateSource::Chain(Embedded::start(chain, Duration::from_secs(30), clock).expect("started"))
    }

    #[tokio::test(start_paused = true)]
    async fn templates_gain_fees_with_time_and_name_the_time() {
        let source = start();
        let mut templates = source.templates();
        let first = templates.borrow_and_update().clone();
        templates.changed().await.expect("the source lives");
        let second = templates.borrow_and_update().clone();
        assert_eq!(second.parts.prev_hash, first.parts.prev_hash);
        assert!(second.fees() > first.fees() && second.parts.id > first.parts.id);
        assert_eq!((first.parts.time, second.parts.time), (NOW, NOW + 30));
    }

    #[tokio::test(start_paused = true)]
    async fn an_accepted_block_brings_a_template_on_top_of_it_at_once() {
        let source = start();
        let mut templates = source.templates();
        source.set_room(Constraints { max_additional_size: 100, max_additional_sigops: 4 });
        templates.changed().await.expect("the source lives");
        let template = templates.borrow_and_update().clone();
        assert_eq!(template.parts.room.max_additional_size, 100);
        let (solution, block) = solve(&template, coinbase_of(&template, &[0x51], 1), NOW);
        let before = tokio::time::Instant::now();
        assert_eq!(source.submit(solution.clone()).await, Verdict::Accepted(block.clone()));
        let next = templates.borrow_and_update().clone();
        assert_eq!((next.parts.prev_hash, next.parts.height), (block.hash, PREMINED + 2));
        assert_eq!(before.elapsed(), Duration::ZERO);
        let Verdict::Stale(reason) = source.submit(solution).await else { panic!("a block twice") };
        assert!(reason.starts_with("duplicate: "), "{reason}");
        let (rival, _) = solve(&template, coinbase_of(&template, &[0x52], 1), NOW);
        let Verdict::Stale(reason) = source.submit(rival).await else { panic!("a second block of one height") };
        assert!(reason.starts_with("stale-prevblk: "), "{reason}");
        let unknown = Solution { template_id: 99, version: 4, time: NOW, nonce: 0, coinbase: vec![] };
        let Verdict::Rejected(reason) = source.submit(unknown).await else { panic!("no such template") };
        assert!(reason.contains("template 99"), "{reason}");
        let TemplateSource::Chain(chain) = &source else { panic!("another source") };
        assert_eq!(chain.height().await, Some(PREMINED + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_what_was_asked_for_last() {
        let source = start();
        let mut templates = source.templates();
        let room = |size| Constraints { max_additional_size: size, max_additional_sigops: 0 };
        source.set_room(room(300));
        templates.changed().await.expect("the source lives");
        source.set_room(room(200));
        // The next template is the one that time brings.
        templates.changed().await.expect("the source lives");
        let template = templates.borrow_and_update().clone();
        assert_eq!((template.parts.time, template.parts.room), (NOW + 30, room(200)));
        // What no block has room for leaves the template as it is.
        source.set_room(room(5_000_000));
        templates.changed().await.expect("the source lives");
        let template = templates.borrow_and_update().clone();
        assert_eq!((template.parts.time, template.parts.room), (NOW + 60, room(200)));
    }

    /// Whichever of the threads that wait for the chain comes first.
    #[tokio::test]
    async fn rooms_are_set_in_the_order_of_the_calls() {
        let source = start();
        let TemplateSource::Chain(Embedded(shared)) = &source else { panic!("another source") };
        let room = |size| Constraints { max_additional_size: size, max_additional_sigops: 0 };
        {
            let _nobody_else = shared.inner();
            (1..=64).for_each(|size| source.set_room(room(size)));
        }
        loop {
            {
                let inner = shared.inner();
                if shared.wishes.is_empty() {
                    assert_eq!(inner.room, room(64));
                    return;
                }
            }
            task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_source_ends_with_its_last_copy() {
        let source = start();
        let mut templates = source.templates();
        let copy = source.clone();
        drop(source);
        templates.changed().await.expect("a copy is left");
        drop(copy);
        while templates.changed().await.is_ok() {}
    }
}
