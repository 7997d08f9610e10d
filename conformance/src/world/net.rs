//! The network: lines of two directions, what is on the way on them, what is due when; and the record of every byte.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use adit::hash::sha256d;
use adit::time::{Instant, UnixTime};

use super::config::Weather;
use crate::entropy::Entropy;
use crate::pair::WALL;

/// A line between two nodes; each connection gets a new one.
pub(super) type LineId = u64;

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
    /// A device connects.
    ConnectDevice(u32),
    /// The pool connects to the provider.
    ConnectPool,
    /// A device's own time limit.
    DeviceTimer(u32),
    /// A device hashes for a while.
    Mine(u32),
    /// A time limit of the pool.
    PoolTimer,
    /// Shares up to this ticket are on disk.
    Stored(u64),
    /// The mempool has changed.
    Template,
    /// Somebody else found a block.
    ForeignBlock,
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
}

/// Who is at the client's end of a line. At the server's is the provider or the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Pool,
    Device(u32),
}

#[derive(Debug)]
struct Line {
    client: Client,
    wires: [Wire; 2],
    /// A bit was flipped on it or it was cut, so its ends may say that the peer is at fault.
    hurt: bool,
}

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
}

impl Net {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            now: Instant::ORIGIN,
            entropy: Entropy::seeded(seed),
            weather,
            agenda: BinaryHeap::new(),
            tasks: 0,
            lines: BTreeMap::new(),
            next_line: 1,
            transcript: [0; 32],
            totals: Totals::default(),
            failure: None,
        }
    }

    /// The wall-clock, which goes with the monotonic one. Clocks that jump would begin here.
    pub(super) fn wall(&self) -> UnixTime {
        let secs = self.now.saturating_since(Instant::ORIGIN).as_secs();
        UnixTime::from_secs(WALL.as_secs().saturating_add(u32::try_from(secs).unwrap_or(u32::MAX)))
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

    /// Schedules a time limit, unless it is already. A limit that moved later is scheduled anew when the old one comes.
    pub(super) fn arm(&mut self, armed: &mut Option<Instant>, at: Option<Instant>, task: Task) {
        let Some(at) = at else { return };
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

    pub(super) fn open(&mut self, client: Client) -> LineId {
        let id = self.next_line;
        self.next_line += 1;
        self.totals.lines += 1;
        let line = Line { client, wires: [Wire::default(), Wire::default()], hurt: false };
        self.lines.insert(id, line);
        id
    }

    pub(super) fn client(&self, id: LineId) -> Option<Client> {
        self.lines.get(&id).map(|line| line.client)
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
        self.totals.segments += 1;
        self.totals.bytes += segment.len() as u64;
        let mut wait = self.between(self.weather.delay);
        if self.happens(self.weather.stalls) {
            self.totals.stalls += 1;
            wait += self.weather.stall_for;
        }
        let mut hurt = false;
        if self.happens(self.weather.flips) {
            self.totals.flips += 1;
            hurt = true;
            let bit = self.entropy.below(8 * segment.len() as u64) as usize;
            segment[bit / 8] ^= 1 << (bit % 8);
        }
        let cut = self.happens(self.weather.cuts);
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
