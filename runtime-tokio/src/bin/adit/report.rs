//! What the roles tell the person or program that runs them: events, their three forms (lines, JSON, the live view's state).
//!
//! Events are about what happened; how they look is decided by the [`Reporter`] alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit_tokio::clock::Clock;
use adit_tokio::rate::{self, Throttle};
use tokio::sync::mpsc;

use crate::event::Event;

/// Everything that the live view shows, gathered from events.
#[derive(Debug)]
pub(crate) struct State {
    /// When the run began.
    pub(crate) started: Instant,
    /// Servers and their URLs.
    pub(crate) servers: Vec<(&'static str, String)>,
    /// Links that are up: from, to.
    pub(crate) links: BTreeSet<(String, String)>,
    /// Jobs given out.
    pub(crate) jobs: u64,
    /// Height that is being mined, and the template's id.
    pub(crate) height: Option<u32>,
    /// Id of the newest template.
    pub(crate) template_id: u64,
    /// The difficulty of each user's last share.
    pub(crate) difficulty: BTreeMap<String, f64>,
    /// Each user's accepted and rejected shares.
    pub(crate) shares: BTreeMap<String, (u64, u64)>,
    /// Hashes a second, the last measurements, oldest first.
    pub(crate) hash_rate: VecDeque<f64>,
    /// Accepted blocks: height and hash, newest last.
    pub(crate) blocks: Vec<(u32, String)>,
    /// The last lines, oldest first.
    pub(crate) lines: VecDeque<String>,
}

/// Measurements of the hash rate that are kept for the view's curve.
const HASH_RATES: usize = 120;

/// Lines that are kept for the view.
const LINES: usize = 64;

impl State {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            servers: Vec::new(),
            links: BTreeSet::new(),
            jobs: 0,
            height: None,
            template_id: 0,
            difficulty: BTreeMap::new(),
            shares: BTreeMap::new(),
            hash_rate: VecDeque::new(),
            blocks: Vec::new(),
            lines: VecDeque::new(),
        }
    }

    /// Shares accepted and rejected, all users together.
    pub(crate) fn share_totals(&self) -> (u64, u64) {
        self.shares.values().fold((0, 0), |sum, user| (sum.0 + user.0, sum.1 + user.1))
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Listening { role, url } => self.servers.push((role, url.clone())),
            Event::LinkUp { from, to } => {
                self.links.insert((from.clone(), to.clone()));
            }
            Event::LinkDown { from, to, .. } => {
                self.links.remove(&(from.clone(), to.clone()));
            }
            Event::Template { template_id, height, .. } => {
                self.height = Some(*height);
                self.template_id = *template_id;
            }
            Event::Job { .. } => self.jobs += 1,
            Event::ShareAccepted { user, difficulty } => {
                self.difficulty.insert(user.clone(), *difficulty);
                self.shares.entry(user.clone()).or_default().0 += 1;
            }
            Event::ShareRejected { user, .. } => self.shares.entry(user.clone()).or_default().1 += 1,
            Event::HashRate { hashes_per_second, .. } => {
                push_bounded(&mut self.hash_rate, *hashes_per_second, HASH_RATES);
            }
            Event::BlockAccepted { height, hash, .. } => self.blocks.push((*height, hash.clone())),
            Event::Shares(_)
            | Event::BlockFound { .. }
            | Event::BlockConfirmed { .. }
            | Event::BlockStale { .. }
            | Event::BlockRejected { .. }
            | Event::BlockUnanswered { .. }
            | Event::BlockUnsent { .. }
            | Event::Warning { .. }
            | Event::Summary(_) => {}
        }
        if !matches!(event, Event::HashRate { .. }) {
            push_bounded(&mut self.lines, event.to_string(), LINES);
        }
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, value: T, bound: usize) {
    if queue.len() == bound {
        queue.pop_front();
    }
    queue.push_back(value);
}

/// Events of which the odd one may go missing when a flood of them comes: their sums are kept by those who send them.
const MOST_CHATTER: usize = 4_096;

/// The roles' end of the way to the [`Reporter`]. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    sender: mpsc::UnboundedSender<Event>,
    chatter: Arc<AtomicUsize>,
}

/// Keeps what strangers cause from filling disks: lets so much of it through, counts the rest, and tells how much that was.
#[derive(Debug)]
pub(crate) struct Flood {
    what: &'static str,
    throttle: Throttle,
    clock: Clock,
}

/// What passes of one kind. A farm that reconnects may be loud for a moment.
const FLOOD_RATE: rate::Rate = rate::Rate { per_second: 10, burst: 500 };

impl Flood {
    /// `what` is in the plural.
    pub(crate) fn new(what: &'static str, clock: Clock) -> Self {
        Self { what, throttle: Throttle::new(FLOOD_RATE, clock.now()), clock }
    }

    /// Whether the next one may be told.
    pub(crate) fn pass(&mut self, events: &Events) -> bool {
        let Some(held_back) = self.throttle.pass(self.clock.now()) else { return false };
        if held_back > 0 {
            let message = format!("{held_back} {} are not shown: they came too fast", self.what);
            events.tell(Event::Warning { message });
        }
        true
    }
}

/// The reporter's end.
#[derive(Debug)]
pub(crate) struct Told {
    receiver: mpsc::UnboundedReceiver<Event>,
    chatter: Arc<AtomicUsize>,
}

impl Events {
    /// A way for events; what is told in a flood beyond [`MOST_CHATTER`] is dropped, blocks and links never.
    pub(crate) fn channel() -> (Self, Told) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let chatter = Arc::new(AtomicUsize::new(0));
        (Self { sender, chatter: Arc::clone(&chatter) }, Told { receiver, chatter })
    }

    /// Tells an event.
    pub(crate) fn tell(&self, event: Event) {
        if event.is_chatter() && self.chatter.fetch_add(1, Ordering::Relaxed) >= MOST_CHATTER {
            self.chatter.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // Nobody listens any more when the program ends.
        let _gone = self.sender.send(event);
    }
}

impl Told {
    /// The next event; `None` when all senders are gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let event = self.receiver.recv().await?;
        Some(self.taken(event))
    }

    /// The next event that was told already, if there is one.
    pub(crate) fn waiting(&mut self) -> Option<Event> {
        let event = self.receiver.try_recv().ok()?;
        Some(self.taken(event))
    }

    fn taken(&self, event: Event) -> Event {
        if event.is_chatter() {
            self.chatter.fetch_sub(1, Ordering::Relaxed);
        }
        event
    }
}

/// How events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One line an event.
    Lines,
    /// One JSON object an event and line.
    Json,
    /// The live view draws from [`Reporter::state`]; only the summary is printed, after the view has closed.
    View,
}

/// Takes events, keeps their sum, prints them in one form.
pub(crate) struct Reporter {
    form: Form,
    state: State,
    printed_rate: Option<Instant>,
}

/// In the form of lines a hash rate is printed this often at most.
const RATE_LINE_EVERY: Duration = Duration::from_secs(5);

/// The same, with what could not be written.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn unwritten(error: std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("standard output: {error}"))
}

impl Reporter {
    /// A reporter that prints in this form to standard output.
    pub(crate) fn new(form: Form) -> Self {
        Self { form, state: State::new(), printed_rate: None }
    }

    /// What has been told so far.
    pub(crate) const fn state(&self) -> &State {
        &self.state
    }

    /// Takes one event. Fails only when standard output does.
    pub(crate) fn tell(&mut self, event: &Event) -> std::io::Result<()> {
        if self.form == Form::View {
            // Nobody else looks at it, and users are as many as strangers make up names.
            self.state.apply(event);
        }
        let silent = match self.form {
            Form::Json => false,
            Form::Lines => !self.is_worth_a_line(event),
            Form::View => !matches!(event, Event::Summary(_)),
        };
        if silent {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        match self.form {
            Form::Json => {
                serde_json::to_writer(&mut out, event).map_err(std::io::Error::from)?;
                out.write_all(b"\n")?;
            }
            Form::Lines | Form::View => writeln!(out, "{event}")?,
        }
        out.flush()
    }

    /// Accepted shares are counted for people ([`Event::Shares`]); programs that read JSON get each.
    fn is_worth_a_line(&mut self, event: &Event) -> bool {
        match event {
            Event::ShareAccepted { .. } => return false,
            Event::HashRate { .. } => {}
            _ => return true,
        }
        let due = self.printed_rate.is_none_or(|at| at.elapsed() >= RATE_LINE_EVERY);
        if due {
            self.printed_rate = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_bounded_and_adds_up() {
        let mut state = State::new();
        for _ in 0..1_000 {
            state.apply(&Event::ShareAccepted { user: "a.b".into(), difficulty: 1.0 });
            state.apply(&Event::HashRate { hashes_per_second: 1.0, idle: None });
        }
        state.apply(&Event::ShareRejected { user: "a.c".into(), reason: "stale-share".into() });
        assert_eq!(state.share_totals(), (1_000, 1));
        assert_eq!((state.lines.len(), state.hash_rate.len()), (LINES, HASH_RATES));
    }

    #[tokio::test]
    async fn a_flood_of_shares_is_bounded_and_pushes_no_block_out() {
        let (events, mut told) = Events::channel();
        for _ in 0..2 * MOST_CHATTER {
            events.tell(Event::ShareAccepted { user: "a.b".into(), difficulty: 1.0 });
        }
        events.tell(Event::BlockAccepted { height: 1, hash: "00".into(), transactions: 1 });
        drop(events);
        let mut seen = Vec::new();
        while let Some(event) = told.next().await {
            seen.push(event);
        }
        assert_eq!(seen.len(), MOST_CHATTER + 1);
        assert!(matches!(seen.last(), Some(Event::BlockAccepted { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn what_strangers_cause_in_floods_is_counted_instead_of_told() {
        let (events, mut told) = Events::channel();
        let mut flood = Flood::new("false solutions", Clock::start());
        let passed = (0..10_000).filter(|_| flood.pass(&events)).count();
        assert_eq!(passed, FLOOD_RATE.burst as usize);
        tokio::time::advance(Duration::from_secs(1)).await;
        let later = (0..10_000).filter(|_| flood.pass(&events)).count();
        assert_eq!(later, FLOOD_RATE.per_second as usize);
        drop(events);
        let Some(Event::Warning { message }) = told.next().await else { panic!("what was held back is told") };
        assert_eq!(message, "9500 false solutions are not shown: they came too fast");
        assert!(told.next().await.is_none());
    }

    #[test]
    fn made_up_users_are_kept_for_the_view_only() {
        for (form, kept) in [(Form::Lines, 0), (Form::View, 3)] {
            let mut reporter = Reporter::new(form);
            for n in 0..3 {
                reporter.tell(&Event::ShareRejected { user: format!("u{n}"), reason: "stale-share".into() }).unwrap();
            }
            assert_eq!(reporter.state().shares.len(), kept);
        }
    }

    #[test]
    fn a_share_has_no_line_of_its_own_what_happens_seldom_has() {
        let mut reporter = Reporter::new(Form::Lines);
        let share = Event::ShareAccepted { user: "a.b".into(), difficulty: 1.0 };
        assert!((0..3).all(|_| !reporter.is_worth_a_line(&share)));
        for event in [
            Event::BlockAccepted { height: 1, hash: "00".into(), transactions: 1 },
            Event::LinkUp { from: "a".into(), to: "pool".into() },
            Event::ShareRejected { user: "a.b".into(), reason: "stale-share".into() },
        ] {
            assert!(reporter.is_worth_a_line(&event), "{event}");
        }
    }

    #[test]
    fn a_link_that_went_down_is_no_longer_shown() {
        let mut state = State::new();
        let (from, to) = ("device 1".to_owned(), "pool".to_owned());
        state.apply(&Event::LinkUp { from: from.clone(), to: to.clone() });
        assert_eq!(state.links.len(), 1);
        state.apply(&Event::LinkDown { from, to, reason: "closed".into() });
        assert!(state.links.is_empty());
    }
}
