//! The network: lines of two directions, what is on the way on them, what is due when; and the record of every byte.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use adit::hash::sha256d;
use adit::time::{Instant, UnixTime};

use super::clock::Clock;
use super::config::{Clocks, Weather};
use crate::entropy::Entropy;

/// A line between two nodes; each connection gets a new one.
pub(super) type LineId = u64;

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    Provider,
    Pool,
    /// A device or a farm.
    Miner(u32),
    /// A peer that means harm.
    Stranger(u32),
    /// A false pool.
    Rogue,
}

/// A direction of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

impl Direction {
    pub(super) const fn back(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

/// What is to happen at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// A segment, or the end of the stream, arrives.
    Arrive(LineId, Direction),
    /// A time limit of a connection's end, named by the direction of what it sends.
    Limit(LineId, Direction),
    /// What was sent has left, so that there is place again.
    Left(LineId, Direction),
    /// A device connects.
    ConnectMiner(u32),
    /// The pool connects to the provider.
    ConnectPool,
    /// A device's own time limit.
    MinerTimer(u32),
    /// A device hashes for a while.
    Mine(u32),
    /// A time limit of the pool.
    PoolTimer,
    /// In this run of the pool: shares up to this ticket are on disk.
    Stored(u32, u64),
    /// The mempool has changed.
    Template,
    /// Somebody else found a block.
    ForeignBlock,
    /// A server asks for a new certificate.
    Renew(Node),
    /// Some node's process ends, or its power fails.
    Restart,
    /// A node that was down starts.
    Start(Node),
    /// A clock is set, or a node is suspended.
    ClockTrouble,
    /// A wall-clock is set right.
    ClockRight(Node),
    /// A stranger does harm.
    Harm(u32),
    /// The false pool says something on a line.
    Lure(LineId),
}

#[derive(Debug)]
enum Segment {
    Bytes(Vec<u8>),
    End,
}

/// One direction.
#[derive(Debug, Default)]
struct Wire {
    on_the_way: VecDeque<Segment>,
    bytes: usize,
    /// Nothing arrives before what was sent earlier.
    last_arrival: Instant,
    closed: bool,
    /// The receiver reads no more.
    unread: bool,
}

/// Who is at a line's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) client: Node,
    pub(super) server: Node,
}

impl Ends {
    /// Who sends in this direction.
    const fn sender(self, direction: Direction) -> Node {
        match direction {
            Direction::ToServer => self.client,
            Direction::ToClient => self.server,
        }
    }
}

#[derive(Debug)]
struct Line {
    ends: Ends,
    wires: [Wire; 2],
    /// A bit was flipped on it, it was cut, or one of its ends was down or asleep: so its ends may say that the peer is at fault.
    hurt: bool,
    /// First and last second of the certificate that its server showed.
    period: (UnixTime, UnixTime),
    /// What its client sent at first, for those who replay it.
    tapped: Vec<u8>,
}

/// Bytes of each line that are kept for replays.
const TAPPED: usize = 2_000;

/// What arrived.
pub(super) enum Arrival {
    Bytes(Vec<u8>),
    End,
    /// Nothing: the line broke meanwhile.
    Nothing,
}

/// Links, agenda and transcript.
pub(super) struct Net {
    pub(super) now: Instant,
    /// For delays, lengths and trouble, and for secrets of handshakes.
    pub(super) entropy: Entropy,
    weather: Weather,
    agenda: BinaryHeap<Reverse<(Instant, u64, Task)>>,
    tasks: u64,
    lines: BTreeMap<LineId, Line>,
    clocks: BTreeMap<Node, Clock>,
    how: Clocks,
    next_line: LineId,
    transcript: [u8; 32],
    pub(super) totals: Totals,
    /// What went wrong first.
    failure: Option<String>,
}

/// Counts of what the network saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that were begun.
    pub lines: u64,
    /// Segments sent.
    pub segments: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Segments that were held up.
    pub stalls: u64,
    /// Bits that were flipped.
    pub flips: u64,
    /// Lines that were broken.
    pub cuts: u64,
    /// Connections that were begun by strangers.
    pub strange_lines: u64,
    /// Nodes whose process was killed or whose power failed.
    pub restarts: u64,
    /// Wall-clocks that were set wrong.
    pub wrong_clocks: u64,
    /// Nodes that were suspended.
    pub suspended: u64,
    /// Servers that were refused because of their certificate's period.
    pub certificates_refused: u64,
    /// Devices that were lured to a false pool.
    pub lured: u64,
}

impl Net {
    pub(super) fn new(seed: u64, weather: Weather, how: Clocks) -> Self {
        Self {
            now: Instant::ORIGIN,
            entropy: Entropy::seeded(seed),
            weather,
            agenda: BinaryHeap::new(),
            tasks: 0,
            lines: BTreeMap::new(),
            clocks: BTreeMap::new(),
            how,
            next_line: 1,
            transcript: [0; 32],
            totals: Totals::default(),
            failure: None,
        }
    }

    /// Gives a node its clocks.
    pub(super) fn add(&mut self, node: Node) {
        let start = self.between((Duration::ZERO, self.how.start));
        let drift = self.entropy.below(2 * u64::from(self.how.drift) + 1) as i32 - i32::from(self.how.drift);
        let offset = self.skew();
        self.clocks.insert(node, Clock::new(start, drift, offset));
    }

    fn skew(&mut self) -> i64 {
        self.entropy.below(2 * u64::from(self.how.skew) + 1).cast_signed() - i64::from(self.how.skew)
    }

    fn clock(&self, node: Node) -> &Clock {
        self.clocks.get(&node).expect("every node has clocks")
    }

    /// What a node's monotonic clock shows.
    pub(super) fn time(&self, node: Node) -> Instant {
        self.clock(node).monotonic(self.now)
    }

    /// What a node's wall-clock shows.
    pub(super) fn wall(&self, node: Node) -> UnixTime {
        self.clock(node).wall(self.now)
    }

    /// A wall-clock is set wrong: by seconds, minutes or hours, ahead or back.
    pub(super) fn set_wrong(&mut self, node: Node) {
        self.totals.wrong_clocks += 1;
        let most = [10, 300, 7_200, 200_000][self.entropy.below(4) as usize];
        let offset = self.entropy.below(2 * most + 1).cast_signed() - most.cast_signed();
        self.clocks.get_mut(&node).expect("every node has clocks").set_wall(offset);
    }

    /// A wall-clock is set right again, as far as clocks here are.
    pub(super) fn set_right(&mut self, node: Node) {
        let offset = self.skew();
        self.clocks.get_mut(&node).expect("every node has clocks").set_wall(offset);
    }

    /// A node sleeps for a while; its peers may lose patience.
    pub(super) fn suspend(&mut self, node: Node) {
        self.totals.suspended += 1;
        let length = self.between((Duration::from_millis(100), Duration::from_secs(40)));
        let leaps = self.entropy.below(2) == 0;
        let now = self.now;
        self.clocks.get_mut(&node).expect("every node has clocks").suspend(now, length, leaps);
        for line in self.lines.values_mut() {
            line.hurt |= line.ends.client == node || line.ends.server == node;
        }
    }

    /// Until when a node sleeps, if it does.
    pub(super) fn asleep(&self, node: Node) -> Option<Instant> {
        Some(self.clock(node).asleep_until).filter(|until| *until > self.now)
    }

    /// Notes a failure; the first one counts.
    pub(super) fn fail(&mut self, what: impl FnOnce() -> String) {
        self.failure.get_or_insert_with(what);
    }

    pub(super) const fn failure(&self) -> Option<&String> {
        self.failure.as_ref()
    }

    pub(super) const fn transcript(&self) -> [u8; 32] {
        self.transcript
    }

    pub(super) fn schedule(&mut self, at: Instant, task: Task) {
        self.tasks += 1;
        self.agenda.push(Reverse((at.max(self.now), self.tasks, task)));
    }

    pub(super) fn schedule_in(&mut self, wait: Duration, task: Task) {
        self.schedule(self.now.saturating_add(wait), task);
    }

    /// Schedules a time limit of a node's clock, unless it is already. A limit that moved later is scheduled anew when the old one comes.
    pub(super) fn arm(&mut self, node: Node, armed: &mut Option<Instant>, at: Option<Instant>, task: Task) {
        let Some(at) = at.map(|at| self.clock(node).true_time(at)) else { return };
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.schedule(at, task);
        }
    }

    /// The next thing that happens; the clock goes there.
    pub(super) fn next(&mut self) -> Option<Task> {
        let Reverse((at, _, task)) = self.agenda.pop()?;
        self.now = at;
        Some(task)
    }

    /// A time between these.
    pub(super) fn between(&mut self, (from, to): (Duration, Duration)) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let span = micros(to).saturating_sub(micros(from)).saturating_add(1);
        from + Duration::from_micros(self.entropy.below(span))
    }

    /// A time around this one: from half of it to one and a half.
    pub(super) fn around(&mut self, time: Duration) -> Duration {
        self.between((time / 2, time / 2 + time))
    }

    pub(super) fn open(&mut self, client: Node, server: Node) -> LineId {
        let id = self.next_line;
        self.next_line += 1;
        self.totals.lines += 1;
        self.totals.strange_lines += u64::from(matches!(client, Node::Stranger(_)));
        self.totals.lured += u64::from(server == Node::Rogue);
        let line = Line {
            ends: Ends { client, server },
            wires: [Wire::default(), Wire::default()],
            hurt: [client, server].into_iter().any(|node| self.asleep(node).is_some()),
            period: (UnixTime::from_secs(0), UnixTime::from_secs(u32::MAX)),
            tapped: vec![],
        };
        self.lines.insert(id, line);
        id
    }

    pub(super) fn ends(&self, id: LineId) -> Option<Ends> {
        self.lines.get(&id).map(|line| line.ends)
    }

    /// Who has to do something for this to happen.
    pub(super) fn doer(&self, task: Task) -> Option<Node> {
        let of_line = |line, direction| self.ends(line).map(|ends| ends.sender(direction));
        match task {
            Task::Arrive(line, direction) => of_line(line, direction.back()),
            Task::Left(line, direction) | Task::Limit(line, direction) => of_line(line, direction),
            Task::ConnectMiner(number) | Task::MinerTimer(number) | Task::Mine(number) => Some(Node::Miner(number)),
            Task::ConnectPool | Task::PoolTimer | Task::Stored(..) => Some(Node::Pool),
            Task::Template | Task::ForeignBlock => Some(Node::Provider),
            Task::Renew(node) => Some(node),
            Task::Harm(number) => Some(Node::Stranger(number)),
            Task::Lure(_) => Some(Node::Rogue),
            Task::Restart | Task::Start(_) | Task::ClockTrouble | Task::ClockRight(_) => None,
        }
    }

    /// The period of the certificate that a line's server shows.
    pub(super) fn show(&mut self, id: LineId, period: (UnixTime, UnixTime)) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.period = period;
        }
    }

    /// Whether a line's client must refuse its server at this moment, for the certificate's period.
    pub(super) fn must_refuse(&self, id: LineId) -> bool {
        self.lines.get(&id).is_some_and(|line| {
            let wall = self.wall(line.ends.client);
            wall < line.period.0 || line.period.1 < wall
        })
    }

    /// A node gave its peer a reason to be surprised.
    pub(super) fn hurt(&mut self, id: LineId) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.hurt = true;
        }
    }

    /// What some device's first bytes were on some line, for those who replay it.
    pub(super) fn tap(&mut self) -> Vec<u8> {
        let of_miners = |line: &&Line| matches!(line.ends.client, Node::Miner(_)) && line.ends.server == Node::Pool;
        let count = self.lines.values().filter(of_miners).count() as u64;
        if count == 0 {
            return vec![];
        }
        let chosen = self.entropy.below(count) as usize;
        self.lines.values().filter(of_miners).nth(chosen).map(|line| line.tapped.clone()).unwrap_or_default()
    }

    /// The receiver of this direction reads no more.
    pub(super) fn stop_reading(&mut self, id: LineId, direction: Direction) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.wires[direction as usize].unread = true;
        }
    }

    /// A node's process has ended: what is on the way to it is lost, what it has sent arrives, then the end. When its `power` failed the peers
    /// are told nothing until the network gives up on what they send.
    pub(super) fn kill(&mut self, node: Node, power: bool) {
        let of_node = |(id, line): (&LineId, &Line)| match line.ends {
            Ends { client, .. } if client == node => Some((*id, Direction::ToServer)),
            Ends { server, .. } if server == node => Some((*id, Direction::ToClient)),
            _ => None,
        };
        let killed: Vec<_> = self.lines.iter().filter_map(of_node).collect();
        for (id, direction) in killed {
            let wait =
                if power { self.between((Duration::from_secs(20), Duration::from_secs(60))) } else { Duration::ZERO };
            let Some(line) = self.lines.get_mut(&id) else { continue };
            line.hurt = true;
            let back = &mut line.wires[direction.back() as usize];
            back.bytes = 0;
            back.on_the_way.clear();
            back.closed = true;
            let wire = &mut line.wires[direction as usize];
            if power {
                wire.bytes = 0;
                wire.on_the_way.clear();
            }
            wire.last_arrival = wire.last_arrival.max(self.now.saturating_add(wait));
            self.close(id, direction);
        }
    }

    pub(super) fn is_hurt(&self, id: LineId) -> bool {
        self.lines.get(&id).is_some_and(|line| line.hurt)
    }

    /// Takes as much as there is place for on the way; says how much.
    pub(super) fn send(&mut self, id: LineId, direction: Direction, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let Some(line) = self.lines.get(&id) else { return bytes.len() };
            let wire = &line.wires[direction as usize];
            if wire.closed {
                // The sender will see the end; what it says until then goes nowhere.
                return bytes.len();
            }
            let place = self.weather.window.saturating_sub(wire.bytes);
            if place == 0 {
                break;
            }
            let longest = self.weather.segment.min(place).min(bytes.len() - taken);
            let len = 1 + self.entropy.below(longest as u64) as usize;
            let segment = bytes[taken..taken + len].to_vec();
            taken += len;
            self.send_segment(id, direction, segment);
        }
        taken
    }

    fn happens(&mut self, once_in: u64) -> bool {
        once_in != 0 && self.entropy.below(once_in) == 0
    }

    fn send_segment(&mut self, id: LineId, direction: Direction, mut segment: Vec<u8>) {
        self.record(id, direction, &segment);
        if direction == Direction::ToServer
            && let Some(line) = self.lines.get_mut(&id)
        {
            let place = TAPPED - line.tapped.len();
            line.tapped.extend(segment.iter().take(place));
        }
        self.totals.segments += 1;
        self.totals.bytes += segment.len() as u64;
        let mut wait = self.between(self.weather.delay);
        if self.happens(self.weather.stalls) {
            self.totals.stalls += 1;
            wait += self.weather.stall_for;
        }
        // Only the honest have bad luck.
        let strange = self.ends(id).is_some_and(|ends| matches!(ends.client, Node::Stranger(_)));
        let mut hurt = false;
        if !strange && self.happens(self.weather.flips) {
            self.totals.flips += 1;
            hurt = true;
            let bit = self.entropy.below(8 * segment.len() as u64) as usize;
            segment[bit / 8] ^= 1 << (bit % 8);
        }
        let cut = !strange && self.happens(self.weather.cuts);
        if cut {
            self.totals.cuts += 1;
            hurt = true;
            let kept = self.entropy.below(segment.len() as u64) as usize;
            segment.truncate(kept);
        }
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.hurt |= hurt;
        let wire = &mut line.wires[direction as usize];
        let at = self.now.saturating_add(wait).max(wire.last_arrival);
        wire.last_arrival = at;
        wire.bytes += segment.len();
        wire.on_the_way.push_back(Segment::Bytes(segment));
        self.schedule(at, Task::Arrive(id, direction));
        if cut {
            let Some(line) = self.lines.get_mut(&id) else { return };
            let back = &mut line.wires[direction.back() as usize];
            back.bytes = 0;
            // Their arrivals come to nothing.
            back.on_the_way.clear();
            self.close(id, direction);
            self.close(id, direction.back());
        }
    }

    /// The sender says no more: the end arrives behind what is on the way.
    pub(super) fn close(&mut self, id: LineId, direction: Direction) {
        let wait = self.between(self.weather.delay);
        let Some(line) = self.lines.get_mut(&id) else { return };
        let wire = &mut line.wires[direction as usize];
        if wire.closed {
            return;
        }
        wire.closed = true;
        wire.on_the_way.push_back(Segment::End);
        let at = self.now.saturating_add(wait).max(wire.last_arrival);
        wire.last_arrival = at;
        self.record(id, direction, &[]);
        self.schedule(at, Task::Arrive(id, direction));
    }

    pub(super) fn arrive(&mut self, id: LineId, direction: Direction) -> Arrival {
        let Some(line) = self.lines.get_mut(&id) else { return Arrival::Nothing };
        let wire = &mut line.wires[direction as usize];
        if wire.unread {
            return Arrival::Nothing;
        }
        match wire.on_the_way.pop_front() {
            Some(Segment::Bytes(bytes)) => {
                wire.bytes = wire.bytes.saturating_sub(bytes.len());
                Arrival::Bytes(bytes)
            }
            Some(Segment::End) => Arrival::End,
            None => Arrival::Nothing,
        }
    }

    fn record(&mut self, id: LineId, direction: Direction, bytes: &[u8]) {
        self.transcript = sha256d(&[
            &self.transcript,
            &self.now.as_micros().to_le_bytes(),
            &id.to_le_bytes(),
            &[direction as u8],
            &(bytes.len() as u64).to_le_bytes(),
            bytes,
        ]);
    }
}
