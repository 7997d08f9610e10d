//! What the roles tell the person or program that runs them: events, their three forms (lines, JSON, the live view's state).
//!
//! Events are about what happened; how they look is decided by the [`Reporter`] alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit_tokio::clock::Clock;
use adit_tokio::rate::{self, Throttle};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::sums::Shares;

/// Something worth telling.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A server listens; this is what its clients are configured with.
    Listening {
        /// The role that listens.
        role: &'static str,
        /// `stratum2+tcp://` URL with the authority key.
        url: String,
    },
    /// A link to a server came up, through handshake and setup.
    LinkUp {
        /// Who connected.
        from: String,
        /// Where to.
        to: String,
    },
    /// A link went down.
    LinkDown {
        /// Who was connected.
        from: String,
        /// Where to.
        to: String,
        /// Why.
        reason: String,
    },
    /// The provider gave out a template.
    Template {
        /// Its id.
        template_id: u64,
        /// Height of the block to be found.
        height: u32,
        /// Transactions in it, the coinbase included.
        transactions: usize,
        /// What they pay, in satoshis.
        fees: u64,
        /// True when the tip changed, false for other transactions on the same tip.
        new_tip: bool,
    },
    /// The pool made a job of a template.
    Job {
        /// The template's id.
        template_id: u64,
        /// True when the tip changed with it.
        new_tip: bool,
    },
    /// The pool accepted a share; it is acknowledged once it is stored.
    ShareAccepted {
        /// Account and worker.
        user: String,
        /// Difficulty of the target that it met; 1 is 2^32 hashes on average.
        difficulty: f64,
    },
    /// The pool rejected a share.
    ShareRejected {
        /// Account and worker.
        user: String,
        /// The error code of SubmitShares.Error.
        reason: String,
    },
    /// What became of shares in a stretch of time.
    Shares(Shares),
    /// Hashes a second, measured over the last while, all devices together.
    HashRate {
        /// Hashes a second.
        hashes_per_second: f64,
    },
    /// The pool accepted a share that is a block. Told when it is on disk.
    BlockFound {
        /// Its height, where it is to be handed over.
        height: Option<u32>,
        /// Its hash as block explorers print it.
        hash: String,
        /// Account and worker that found it.
        user: String,
        /// `yes`; `waits` for the provider, who is away; `no`: it is a custom job's, whose maker hands it over, or too many wait already.
        handed_over: &'static str,
    },
    /// The provider builds on a block that the pool has found: the node has taken it.
    BlockConfirmed {
        /// Its height.
        height: Option<u32>,
        /// Its hash as block explorers print it.
        hash: String,
        /// Account and worker that found it.
        user: String,
    },
    /// The chain or node accepted a block that a provider's client has found.
    BlockAccepted {
        /// Its height.
        height: u32,
        /// Its hash as block explorers print it.
        hash: String,
        /// Transactions in it, the coinbase included.
        transactions: usize,
    },
    /// A block came a moment after another one of the same height: nobody's fault.
    BlockStale {
        /// What the chain or node said of it.
        reason: String,
    },
    /// A block was rejected by the chain or node: something is wrong.
    BlockRejected {
        /// Why.
        reason: String,
    },
    /// Nobody knows yet what the node thinks of a block.
    BlockUnanswered {
        /// Why, and where the block is.
        reason: String,
    },
    /// A block was found, and the pool ends before the provider could be told. This is all that there is of it beside the template's
    /// transactions, which the provider has; the share store keeps it for the next run.
    BlockUnsent {
        /// The provider's template.
        template_id: u64,
        /// The block that it builds on, as block explorers print it.
        prev_hash: String,
        /// The header's version.
        version: u32,
        /// The header's time.
        ntime: u32,
        /// The header's nonce.
        nonce: u32,
        /// The coinbase transaction in hexadecimal.
        coinbase_tx: String,
    },
    /// Something that the person should know and may act on.
    Warning {
        /// What happened and what to do.
        message: String,
    },
    /// The last event.
    Summary(Summary),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Blocks that the chain accepted.
    pub(crate) blocks: u32,
    /// Height of the chain's tip.
    pub(crate) tip_height: u32,
    /// Shares acknowledged.
    pub(crate) shares_accepted: u64,
    /// Shares rejected.
    pub(crate) shares_rejected: u64,
    /// Seconds since the start.
    pub(crate) seconds: f64,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { role, url } => write!(f, "{role} listens at {url}"),
            Self::LinkUp { from, to } => write!(f, "link up    {from} -> {to}"),
            Self::LinkDown { from, to, reason } => write!(f, "link down  {from} -> {to}: {reason}"),
            Self::Template { template_id, height, transactions, fees, new_tip } => {
                let tip = if *new_tip { "new tip" } else { "same tip" };
                write!(
                    f,
                    "template   {template_id}: height {height}, {tip}, {transactions} transactions, fees {fees} sat"
                )
            }
            Self::Job { template_id, new_tip } => {
                write!(f, "job        of template {template_id}, {} tip", if *new_tip { "new" } else { "same" })
            }
            Self::ShareAccepted { user, difficulty } => {
                write!(f, "share      accepted, difficulty {}, {user}", Difficulty(*difficulty))
            }
            Self::ShareRejected { user, reason } => write!(f, "share      rejected, {reason}, {user}"),
            Self::Shares(shares) => shares.fmt(f),
            // Exactly none: there is no work.
            Self::HashRate { hashes_per_second: 0.0 } => f.write_str("hash rate  idle"),
            Self::HashRate { hashes_per_second } => write!(f, "hash rate  {}", Rate(*hashes_per_second)),
            Self::BlockFound { height, hash, user, handed_over } => {
                let height = height.map_or_else(String::new, |height| format!("height {height}, "));
                let fate = match *handed_over {
                    "yes" => "",
                    "waits" => {
                        "; the provider is away: it is handed over as soon as it comes back, also by the next run"
                    }
                    _ => {
                        "; it is not handed over: its job was a miner's own, or too many blocks wait already. The share store has its header"
                    }
                };
                write!(f, "BLOCK      found by {user}: {height}{hash}{fate}")
            }
            Self::BlockConfirmed { height, hash, user } => {
                let height = height.map_or_else(String::new, |height| format!("height {height}, "));
                write!(f, "BLOCK      of {user} is the tip: {height}{hash}")
            }
            Self::BlockAccepted { height, hash, transactions } => {
                write!(f, "BLOCK      accepted: height {height}, {transactions} transactions, {hash}")
            }
            Self::BlockStale { reason } => write!(f, "block      too late: {reason}"),
            Self::BlockRejected { reason } => write!(f, "BLOCK      rejected: {reason}"),
            Self::BlockUnanswered { reason } => write!(f, "BLOCK      UNANSWERED: {reason}"),
            Self::BlockUnsent { template_id, prev_hash, version, ntime, nonce, coinbase_tx } => write!(
                f,
                "BLOCK      NOT HANDED OVER, for the provider can't be reached; the next run of this pool tries again: template {template_id}, \
                 on {prev_hash}, version {version:#x}, time {ntime}, nonce {nonce}, coinbase {coinbase_tx}"
            ),
            Self::Warning { message } => write!(f, "warning    {message}"),
            Self::Summary(summary) => summary.fmt(f),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} blocks, tip at height {}, {} shares accepted, {} rejected, in {:.1} s",
            self.blocks, self.tip_height, self.shares_accepted, self.shares_rejected, self.seconds
        )
    }
}

/// A difficulty with as many digits as tell it apart.
pub(crate) struct Difficulty(pub(crate) f64);

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value >= 100.0 => write!(f, "{value:.0}"),
            value if value >= 0.01 => write!(f, "{value:.4}"),
            value => write!(f, "{value:.3e}"),
        }
    }
}

/// A hash rate in its usual unit.
pub(crate) struct Rate(pub(crate) f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"];
        let (mut value, mut unit) = (self.0, 0);
        while value >= 1000.0 && unit + 1 < units.len() {
            value /= 1000.0;
            unit += 1;
        }
        write!(f, "{value:.2} {}", units[unit])
    }
}

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
            Event::HashRate { hashes_per_second } => push_bounded(&mut self.hash_rate, *hashes_per_second, HASH_RATES),
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

impl Event {
    /// Whether it comes as often as shares do.
    const fn is_chatter(&self) -> bool {
        matches!(self, Self::ShareAccepted { .. } | Self::ShareRejected { .. } | Self::HashRate { .. })
    }
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
    fn the_summary_is_one_flat_object() {
        let summary = Summary { blocks: 3, tip_height: 104, shares_accepted: 40, shares_rejected: 1, seconds: 12.5 };
        let text = serde_json::to_string(&Event::Summary(summary)).unwrap();
        assert_eq!(
            text,
            r#"{"event":"summary","blocks":3,"tip_height":104,"shares_accepted":40,"shares_rejected":1,"seconds":12.5}"#
        );
    }

    #[test]
    fn a_miner_without_work_is_idle() {
        let line = |hashes_per_second| Event::HashRate { hashes_per_second }.to_string();
        assert_eq!([line(0.0), line(2_500.0)], ["hash rate  idle", "hash rate  2.50 kH/s"]);
    }

    #[test]
    fn the_state_is_bounded_and_adds_up() {
        let mut state = State::new();
        for _ in 0..1_000 {
            state.apply(&Event::ShareAccepted { user: "a.b".into(), difficulty: 1.0 });
            state.apply(&Event::HashRate { hashes_per_second: 1.0 });
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

    #[test]
    fn numbers_read_well() {
        assert_eq!(Rate(3_200_000.0).to_string(), "3.20 MH/s");
        assert_eq!(Rate(12.0).to_string(), "12.00 H/s");
        assert_eq!(Difficulty(0.000_123).to_string(), "1.230e-4");
        assert_eq!(Difficulty(0.25).to_string(), "0.2500");
        assert_eq!(Difficulty(1234.6).to_string(), "1235");
    }
}
