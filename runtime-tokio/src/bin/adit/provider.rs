//! The template provider: templates from a [`TemplateSource`] to the clients, their solutions back to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use adit::hash::sha256d;
use adit::mining::header::Header;
use adit::role::provider::NewTemplate;
use adit::template::book::{Basis, BookError};
use adit::template::solution::NoBlock;
use adit::template::{Constraints, Tip};
use adit_native::crypto::Fastest;
use adit_tokio::clock::Clock;
use adit_tokio::link::LinkSettings;
use adit_tokio::listen::Listener;
use adit_tokio::net::Tokio;
use adit_tokio::provider::{FoundBlock, Heard, Place, ProviderEvent, ProviderHandle, Transactions, serve_provider};
use adit_tokio::queue;
use adit_tokio::serve::ServeError;
use adit_tokio::shutdown::Shutdown;
use adit_tokio::watch;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};

use crate::config::LimitsConfig;
use crate::event::Event;
use crate::identity::{IdentityError, Issuer};
use crate::links;
use crate::report::{Events, Flood};
use crate::source::{Solution, Template, TemplateSource, Verdict};

/// Events that wait to be heard; while as many do, the clients that cause them wait too.
const HEARD: usize = 64;

/// Events in a row before others have their turn: the executor's other tasks, which hand the blocks in.
const BURST: usize = 64;

/// Buffers of each kind that wait for reuse.
const BUFFERS: usize = 64;

/// Why there is no provider, or no longer.
#[derive(Debug)]
pub(crate) enum ProviderError {
    /// No certificate.
    Identity(IdentityError),
    /// Serving failed.
    Serve(ServeError),
    /// The source has ended.
    SourceGone,
    /// A template can't be told to clients.
    Template(BookError),
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
            Self::SourceGone => f.write_str("the source of templates has ended"),
            Self::Template(error) => write!(f, "a template can't be told to clients: {error}"),
        }
    }
}

impl std::error::Error for ProviderError {}

/// What a provider is made of, with all settings checked.
pub(crate) struct ProviderSettings {
    /// Where pools and job negotiators connect.
    pub(crate) listener: Listener,
    /// Signs its certificates.
    pub(crate) issuer: Issuer,
    /// Where templates come from.
    pub(crate) source: TemplateSource,
    /// What one process takes on.
    pub(crate) limits: LimitsConfig,
}

/// A provider that listens, before it serves.
pub(crate) struct ReadyProvider {
    /// The URL for its clients.
    pub(crate) url: String,
    listener: Listener,
    responder: watch::Receiver<Arc<adit::connection::ResponderConfig>>,
    links: Arc<LinkSettings>,
    source: TemplateSource,
    events: Events,
    shutdown: Shutdown,
    first_id: u64,
}

impl ProviderSettings {
    /// Makes its certificate. Needs a tokio runtime.
    pub(crate) fn start(
        self,
        clock: Clock,
        events: Events,
        shutdown: Shutdown,
    ) -> Result<ReadyProvider, ProviderError> {
        let mut issuer = self.issuer;
        // Template clients are silent for hours, so there is no limit for that.
        issuer.idle = None;
        let url = issuer.url(self.listener.address());
        let responder = issuer.start(clock, shutdown.clone()).map_err(ProviderError::Identity)?;
        let links = LinkSettings { frames: self.limits.frames(), ..LinkSettings::new(clock, BUFFERS) };
        let links = Arc::new(links.with_large_output());
        // D-TDP-7: above every id of an earlier run, unless that one made 2^20 templates a second.
        let first_id = u64::from(clock.wall().as_secs()) << 20;
        Ok(ReadyProvider {
            url,
            listener: self.listener,
            responder,
            links,
            source: self.source,
            events,
            shutdown,
            first_id,
        })
    }
}

impl ReadyProvider {
    /// Serves until the shutdown is over.
    pub(crate) async fn serve(self) -> Result<(), ProviderError> {
        let (handle, heard) = ProviderHandle::new(self.links.clock, self.first_id, HEARD);
        let (all_left, left) = oneshot::channel();
        let publishing =
            run(self.source, handle.clone(), heard, self.events, left, self.shutdown.clone(), self.links.clock);
        let serving = async {
            let served = serve_provider::<Fastest, _>(
                Tokio,
                vec![self.listener],
                self.responder,
                self.links,
                handle,
                self.shutdown,
            );
            let served = served.await.map_err(ProviderError::Serve);
            // What they found last is still to be judged.
            let _gone = all_left.send(());
            served
        };
        tokio::try_join!(serving, publishing).map(drop)
    }
}

/// What is given out, and where it came from.
struct Publisher {
    source: TemplateSource,
    handle: ProviderHandle,
    events: Events,
    /// Templates that clients may still solve, by the id that clients know.
    given: BTreeMap<u64, Arc<Template>>,
    waiting: Waiting,
    false_solutions: Flood,
    links: Flood,
}

/// Gives out templates and takes solutions until all clients have left and what they found is judged. `heard` is what
/// [`ProviderHandle::new`] gave.
pub(crate) async fn run(
    source: TemplateSource,
    handle: ProviderHandle,
    mut heard: queue::Receiver<Heard>,
    events: Events,
    mut left: oneshot::Receiver<()>,
    shutdown: Shutdown,
    clock: Clock,
) -> Result<(), ProviderError> {
    let mut wanted = handle.wanted();
    let mut templates = source.templates();
    templates.mark_changed();
    let mut publisher = Publisher {
        source,
        handle,
        events,
        given: BTreeMap::new(),
        waiting: Waiting::default(),
        false_solutions: Flood::new("false solutions", clock),
        links: Flood::new("connections and disconnections", clock),
    };
    // A node that restarts is asked again for minutes; nothing else waits for that.
    let mut submissions = JoinSet::new();
    publisher.resubmit(&mut submissions).await;
    let mut burst = 0;
    loop {
        // Once a round: who sends false solutions without end keeps no template, verdict or room from the others.
        if templates.has_changed().map_err(|_| ProviderError::SourceGone)? {
            let template = Arc::clone(&templates.borrow_and_update());
            publisher.publish(template).map_err(ProviderError::Template)?;
        }
        while let Some(judged) = submissions.try_join_next() {
            publisher.judged(judged, &mut submissions);
        }
        if wanted.has_changed() == Ok(true) {
            publisher.leave_room(&mut wanted);
        }
        if burst == BURST {
            burst = 0;
            tokio::task::yield_now().await;
        }
        tokio::select! {
            biased;
            // Solutions first: a block that waits may become an orphan.
            Some(heard) = heard.recv() => {
                burst += 1;
                publisher.hear(heard, &mut submissions);
                continue;
            }
            Some(judged) = submissions.join_next() => publisher.judged(judged, &mut submissions),
            changed = templates.changed() => {
                changed.map_err(|_| ProviderError::SourceGone)?;
                templates.mark_changed();
            }
            Ok(()) = wanted.changed() => publisher.leave_room(&mut wanted),
            // Their last events are all heard, for this comes last.
            _ = &mut left => break,
        }
        // It waited, so the others had their turn.
        burst = 0;
    }
    loop {
        tokio::select! {
            judged = submissions.join_next() => match judged {
                Some(judged) => publisher.judged(judged, &mut submissions),
                None => return Ok(()),
            },
            () = shutdown.over() => {
                let reason = "the program ended before the node answered; its next run asks again".into();
                publisher.events.tell(Event::BlockUnanswered { reason });
                return Ok(());
            }
        }
    }
}

/// Blocks that wait for the source's word, by [`Claim`]. A pool tells a block again on each new connection, and a miner that negotiates its own jobs tells
/// it beside its pool: it is one block all the same.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<BTreeSet<[u8; 32]>>>);

/// That a block is being handed in. Dropping it says that there is a verdict, or that nobody waits for one.
struct Claim {
    /// Of header and coinbase: a header does not say which witness its coinbase has, and a wrong one must not take the right one's place.
    digest: [u8; 32],
    waiting: Waiting,
}

impl Waiting {
    /// None while the same block waits.
    fn claim(&self, header: &[u8; 80], coinbase: &[u8]) -> Option<Claim> {
        let digest = sha256d(&[header, coinbase]);
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        is_new.then(|| Claim { digest, waiting: self.clone() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

/// What became of a found block.
struct Judged {
    transactions: usize,
    stale: bool,
    verdict: Verdict,
    finder: Finder,
}

/// What a found block holds until there is a verdict. Nothing, if an earlier run has left it.
#[derive(Default)]
struct Finder {
    /// Of its client: only so many of one wait, see [`ProviderHandle::new`].
    _place: Option<Place>,
    _claim: Option<Claim>,
}

impl Publisher {
    /// Tells clients of a template, as one for a block to come and a new tip when the tip changed (D-TDP-2, D-TDP-3, D-TDP-10, D-TDP-11).
    fn publish(&mut self, template: Arc<Template>) -> Result<(), BookError> {
        let before = self.given.last_key_value().map(|(_, template)| template);
        let new_tip = before.is_none_or(|before| before.parts.prev_hash != template.parts.prev_hash);
        let new = NewTemplate {
            basis: if new_tip { Basis::Next } else { Basis::Tip },
            version: template.parts.version,
            coinbase: template.coinbase(),
            merkle_path: &template.merkle_path,
            room: template.parts.room,
        };
        let transactions = template.parts.transactions.iter().map(|tx| tx.bytes.clone()).collect();
        let transactions = Transactions { excess_data: Vec::new(), transactions };
        let id = self.handle.new_template(&new, transactions)?;
        if new_tip {
            let tip = Tip {
                prev_hash: template.parts.prev_hash,
                header_timestamp: template.parts.time,
                n_bits: template.parts.nbits,
                target: template.parts.target,
            };
            self.handle.new_tip(id, tip)?;
        }
        self.events.tell(Event::Template {
            template_id: id,
            height: template.parts.height,
            transactions: template.parts.transactions.len() + 1,
            fees: template.fees(),
            new_tip,
        });
        self.given.insert(id, template);
        // What the handle has forgotten can't be solved any more.
        self.given.retain(|id, _| self.handle.transactions(*id).is_some());
        Ok(())
    }

    /// A client has caused an event.
    fn hear(&mut self, Heard { event, place }: Heard, submissions: &mut JoinSet<Judged>) {
        match event {
            ProviderEvent::Solution(found) => self.submit(found, place, submissions),
            event => {
                if matches!(event, ProviderEvent::Disconnected(_)) {
                    // What it alone wanted need not be left any more; but when nobody is left, the room is kept for who comes back, or the
                    // first template of the next tip would have none for it and a second one be needed.
                    let room = self.handle.constraints();
                    if room != Constraints::default() {
                        self.source.set_room(in_steps(room));
                    }
                }
                self.tell(&event);
            }
        }
    }

    /// D-TDP-5, D-TDP-6: a client needs more room in the coinbase than the present template leaves, or none does any more.
    fn leave_room(&self, wanted: &mut watch::Receiver<Option<Constraints>>) {
        let asked = *wanted.borrow_and_update();
        if let Some(room) = asked {
            self.source.set_room(in_steps(room));
        }
    }

    /// Builds the block and hands it to the source at once (D-TDP-18), whatever rule its finder broke: the source's word is what counts.
    fn submit(&self, found: FoundBlock, place: Option<Place>, submissions: &mut JoinSet<Judged>) {
        let FoundBlock { peer, template_id, header, coinbase_tx, breach, stale, .. } = found;
        let Some(claim) = self.waiting.claim(&header, &coinbase_tx) else {
            // Its place is free again: it costs nothing.
            return tracing::debug!(%peer, "a block that waits for its verdict was sent again");
        };
        if let Some(breach) = breach {
            self.events.tell(Event::Warning { message: format!("{peer} found a block, but {breach}; it is tried") });
        }
        let Some(template) = self.given.get(&template_id) else {
            let reason = format!("template {template_id} is not known any more");
            return self.events.tell(Event::BlockRejected { reason });
        };
        let header = Header::from_bytes(&header);
        let solution = Solution {
            template_id: template.parts.id,
            version: header.version,
            time: header.ntime,
            nonce: header.nonce,
            coinbase: coinbase_tx,
        };
        let transactions = template.parts.transactions.len() + 1;
        let (source, finder) = (self.source.clone(), Finder { _place: place, _claim: Some(claim) });
        submissions
            .spawn(async move { Judged { transactions, stale, verdict: source.submit(solution).await, finder } });
    }

    /// Hands in what an earlier run has left. Most likely the network has moved on since.
    async fn resubmit(&self, submissions: &mut JoinSet<Judged>) {
        for block in self.source.left().await {
            let message = format!(
                "block {} at height {} was found by an earlier run, which did not hear what became of it; it is handed over again",
                block.hash_hex(),
                block.height
            );
            self.events.tell(Event::Warning { message });
            let (source, transactions) = (self.source.clone(), block.transactions());
            submissions.spawn(async move {
                Judged { transactions, stale: true, verdict: source.resubmit(block).await, finder: Finder::default() }
            });
        }
    }

    /// Tells what became of a block, and goes on with one that was not answered. Most likely the network has moved on by then.
    fn judged(&self, judged: Result<Judged, JoinError>, submissions: &mut JoinSet<Judged>) {
        self.events.tell(match judged {
            Ok(Judged { verdict: Verdict::Unanswered(block, reason), transactions, finder, .. }) => {
                let source = self.source.clone();
                submissions.spawn(async move {
                    Judged { transactions, stale: true, verdict: source.insist(block).await, finder }
                });
                Event::BlockUnanswered { reason }
            }
            Ok(Judged { verdict: Verdict::Accepted(block), transactions, .. }) => {
                let hash = block.hash_hex();
                Event::BlockAccepted { height: block.height, hash, transactions }
            }
            Ok(Judged { verdict: Verdict::NotBest(block), .. }) => Event::BlockStale {
                reason: format!("{} at height {} is valid, but another is the tip", block.hash_hex(), block.height),
            },
            Ok(
                Judged { verdict: Verdict::Stale(reason), .. }
                | Judged { verdict: Verdict::Rejected(reason), stale: true, .. },
            ) => Event::BlockStale { reason },
            Ok(Judged { verdict: Verdict::Rejected(reason), .. }) => Event::BlockRejected { reason },
            Ok(Judged { verdict: Verdict::Lost(reason), .. }) => Event::BlockUnanswered { reason },
            Err(error) => Event::BlockUnanswered { reason: format!("the block was not handed over: {error}") },
        });
    }

    fn tell(&mut self, event: &ProviderEvent) {
        match event {
            ProviderEvent::NoBlock { .. } if !self.false_solutions.pass(&self.events) => {}
            ProviderEvent::Connected(_) | ProviderEvent::Disconnected(_) if !self.links.pass(&self.events) => {}
            ProviderEvent::NoBlock { peer, template_id, why } => self.events.tell(Event::Warning {
                message: format!(
                    "{peer} sent a solution of template {template_id} that is none: {why}{}",
                    match why {
                        NoBlock::UnknownTemplate =>
                            "; templates of an earlier run are gone with it, and blocks that were found for them meanwhile",
                        _ => "",
                    }
                ),
            }),
            ProviderEvent::Connected(peer) => self.events.tell(links::came(peer, "provider")),
            ProviderEvent::Disconnected(peer) => self.events.tell(links::went(peer, "provider")),
            // A solution is judged elsewhere.
            _ => {}
        }
    }
}

/// What is left for a wish: rounded up to a power of two. Each new template is sent to all clients, and makes jobs for all of their devices, so one
/// that wishes for a little more in each message must not have one made for each.
fn in_steps(wish: Constraints) -> Constraints {
    let most = Constraints::LARGEST;
    let step = |wish: u32, least: u32| if wish == 0 { 0 } else { wish.max(least).next_power_of_two() };
    let size = step(wish.max_additional_size.min(most.max_additional_size), 128).min(most.max_additional_size);
    let sigops = step(wish.max_additional_sigops.min(most.max_additional_sigops).into(), 8);
    Constraints {
        max_additional_size: size,
        max_additional_sigops: u16::try_from(sigops).unwrap_or(u16::MAX).min(most.max_additional_sigops),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// D-TDP-5, D-TDP-6: every wish is granted, but few differ.
    #[test]
    fn wishes_for_a_little_more_are_granted_in_steps() {
        let wish = |size, sigops| Constraints { max_additional_size: size, max_additional_sigops: sigops };
        let mut rooms = BTreeSet::new();
        for size in 0..=Constraints::LARGEST.max_additional_size {
            for sigops in [0, u16::try_from(size / 10).unwrap()] {
                let room = in_steps(wish(size, sigops));
                assert!(
                    room.covers(wish(size, sigops)) && Constraints::LARGEST.covers(room),
                    "{size} {sigops} {room:?}"
                );
                assert!(room.max_additional_size <= (2 * size).max(128), "{size} {room:?}");
                rooms.insert((room.max_additional_size, room.max_additional_sigops));
            }
        }
        assert!(rooms.len() <= 40, "{}", rooms.len());
        assert_eq!(in_steps(wish(0, 0)), wish(0, 0));
    }
}
