//! A miner's node: a device or a farm, a hasher in software that works in virtual time, a ledger.

use std::fmt;
use std::time::Duration;

use adit::connection::{Connection, Event, InitiatorConfig};
use adit::mining::client::{NotSent, Work};
use adit::protocol::{Initiator, Mining};
use adit::role::Device;
use adit::role::device::DeviceConfig;
use adit::time::Instant;

use super::books::{Ledger, Store};
use super::end::End;
use super::farm::{Farm, Heard, Role};
use super::net::{Arrival, Direction, LineId, Net, Node, Task};
use super::security::is_period_refused;
use crate::entropy::Entropy;

/// How often a miner looks at its hasher.
const SLICE: Duration = Duration::from_millis(250);

/// What one channel searches: one header after another.
struct Search {
    work: Work,
    version: u32,
    nonce: u32,
}

/// The hasher: takes turns between the searches.
struct Hasher {
    entropy: Entropy,
    /// Hashes a second.
    rate: u16,
    searches: Vec<Search>,
    changes: u32,
    since: Instant,
    /// Hashes that are due and not done yet, in millionths.
    owed: u64,
}

pub(super) struct Miner {
    number: u32,
    /// Whether it is a farm.
    farm: bool,
    pub(super) role: Role,
    config: InitiatorConfig,
    end: Option<End<Initiator, Mining>>,
    hasher: Hasher,
    pub(super) ledger: Ledger,
    armed: Option<Instant>,
    pub(super) up: bool,
    /// Nobody hashes any more; what is on the way is awaited.
    pub(super) resting: bool,
}

impl Miner {
    pub(super) fn new(number: u32, farm: bool, seed: u64, slowest: u16, config: InitiatorConfig) -> Self {
        let mut entropy = Entropy::seeded(seed ^ (u64::from(number) << 32));
        let rate = slowest + entropy.below(2 * u64::from(slowest) + 1) as u16;
        // Some users have two devices.
        let user = format!("user-{}", number * 2 / 3);
        let role = role(number, farm, &user, rate, &mut entropy);
        let hasher = Hasher { entropy, rate, searches: vec![], changes: u32::MAX, since: Instant::ORIGIN, owed: 0 };
        let ledger = Ledger::new(user);
        Self { number, farm, role, config, end: None, hasher, ledger, armed: None, up: true, resting: false }
    }

    const fn node(&self) -> Node {
        Node::Miner(self.number)
    }

    /// The power is off.
    pub(super) fn kill(&mut self, net: &mut Net) {
        self.retire();
        self.count(net);
        (self.up, self.end, self.armed) = (false, None, None);
    }

    /// It boots, and remembers nothing.
    pub(super) fn start(&mut self, net: &mut Net) {
        self.up = true;
        let Hasher { entropy, rate, .. } = &mut self.hasher;
        self.role = role(self.number, self.farm, self.ledger.user(), *rate, entropy);
        (self.hasher.searches, self.hasher.changes, self.hasher.owed) = (vec![], u32::MAX, 0);
        self.hasher.since = net.time(self.node());
        self.ledger.booted();
        net.schedule_in(Duration::ZERO, Task::ConnectMiner(self.number));
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.end.is_some()
    }

    /// Begins a connection to the pool, or to what it takes for the pool; gives its line.
    pub(super) fn connect(&mut self, net: &mut Net, server: Node) -> LineId {
        let line = net.open(self.node(), server);
        let entropy = net.entropy.bytes32();
        self.role.connecting();
        let connection = Connection::initiator(&self.config, entropy, net.time(self.node()));
        self.end = Some(End::new(connection, self.node(), line, Direction::ToServer));
        line
    }

    fn on(&mut self, line: LineId) -> Option<&mut End<Initiator, Mining>> {
        self.end.as_mut().filter(|end| end.line() == line)
    }

    pub(super) fn arrive(&mut self, net: &mut Net, line: LineId, arrival: Arrival, store: &Store) {
        let now = net.time(self.node());
        let Self { number, role, end, ledger, .. } = self;
        let Some(end) = end.as_mut().filter(|end| end.line() == line) else { return };
        end.arrive(arrival);
        let (mut failure, mut over) = (None, false);
        let must_refuse = net.must_refuse(line);
        // What a false pool says is nothing to be blamed for, unless a miner believes it.
        let is_lured = net.ends(line).is_some_and(|ends| ends.server == Node::Rogue);
        end.pump(net, |event, out| {
            if must_refuse && matches!(event, Event::Secured(_)) {
                failure.get_or_insert(format!("miner {number} took a pool whose certificate is not valid"));
            }
            let judged = match role.handle(now, &event, out)? {
                Heard::Accepted { .. } if is_lured => Err(format!("miner {number} believes a false pool")),
                Heard::Accepted { channel, last, count } => ledger.acknowledged(channel, last, count, store),
                Heard::Rejected { channel, sequence, code } if !is_lured => ledger.rejected(channel, sequence, &code),
                Heard::Wrong(_) if is_lured => {
                    over = true;
                    Ok(())
                }
                Heard::Wrong(what) => Err(format!("miner {number}: {what}")),
                Heard::Rejected { .. } | Heard::Nothing => Ok(()),
            };
            if let Err(what) = judged {
                failure.get_or_insert(what);
            }
            Ok(())
        });
        if let Some(what) = failure {
            net.fail(|| what);
        }
        if over {
            end.close(net);
        }
        self.settle(net);
    }

    /// Sends what the role has to send; notices the end of the connection.
    fn settle(&mut self, net: &mut Net) {
        let node = self.node();
        let now = net.time(node);
        let Some(end) = &mut self.end else { return };
        if self.role.wants_outbound() {
            end.offer(net, |out| self.role.poll_outbound(now, out));
        }
        let timeout = self.role.poll_timeout();
        net.arm(node, &mut self.armed, timeout, Task::MinerTimer(self.number));
        let Some(over) = end.over() else { return };
        let line = end.line();
        let is_lured = net.ends(line).is_some_and(|ends| ends.server == Node::Rogue);
        if is_period_refused(over) && net.must_refuse(line) {
            net.totals.certificates_refused += 1;
            net.hurt(line);
        } else if !is_lured && !net.is_hurt(line) {
            net.fail(|| format!("miner {} lost its pool on line {line}: {over:?}", self.number));
        }
        end.flush(net);
        self.end = None;
        self.role.reset();
        self.ledger.disconnected();
        let wait = net.around(Duration::from_secs(1));
        net.schedule_in(wait, Task::ConnectMiner(self.number));
    }

    /// Something has left.
    pub(super) fn drained(&mut self, net: &mut Net, line: LineId, store: &Store) {
        if let Some(end) = self.on(line) {
            end.flush(net);
            self.arrive(net, line, Arrival::Nothing, store);
        }
    }

    pub(super) fn limit(&mut self, net: &mut Net, line: LineId) {
        if let Some(end) = self.on(line) {
            end.handle_limit(net);
            self.settle(net);
        }
    }

    pub(super) fn timer(&mut self, net: &mut Net) {
        self.armed = None;
        if let Some(why) = self.role.handle_timeout(net.time(self.node())) {
            let excused = |line| net.is_hurt(line) || net.ends(line).is_some_and(|ends| ends.server == Node::Rogue);
            if !self.end.as_ref().is_none_or(|end| excused(end.line())) {
                net.fail(|| format!("miner {}: {why}", self.number));
            }
            if let Some(end) = &mut self.end {
                end.close(net);
            }
        }
        self.settle(net);
    }

    /// Every share is answered; on a link that the network hurt some answers may never come.
    pub(super) fn is_settled(&self, net: &Net) -> bool {
        let is_hopeless = |line| net.is_hurt(line) || net.ends(line).is_some_and(|ends| ends.server == Node::Rogue);
        self.ledger.is_settled() || self.end.as_ref().is_some_and(|end| is_hopeless(end.line()))
    }

    /// The world is over, or the miner is: what is not answered counts as lost.
    pub(super) fn retire(&mut self) {
        self.role.reset();
        self.ledger.disconnected();
    }

    /// The role's counts since it was booted are the ledger's.
    pub(super) fn count(&self, net: &mut Net) {
        let statistics = self.role.statistics();
        if let Err(what) = self.ledger.compare(statistics.accepted, statistics.rejected, statistics.lost) {
            net.fail(|| what);
        }
    }

    /// Does the hashing that was due since the last time, and sends what it finds.
    pub(super) fn mine(&mut self, net: &mut Net) {
        if self.resting {
            return;
        }
        let now = net.time(self.node());
        let found = if self.up { self.hasher.hash(&self.role, now) } else { vec![] };
        for (work, version, ntime, nonce) in found {
            let Some(end) = &mut self.end else { break };
            let solution = work.solution(version, ntime, nonce);
            match self.role.submit(now, &solution, &mut end.outbound()) {
                Ok(sequence) => {
                    self.ledger.sent(work.channel_id, sequence, work.header(version, ntime, nonce).hash());
                }
                // A stalled link takes no more; a device drops what it can't send.
                Err(NotSent::Send(_)) => {}
                Err(why) => net.fail(|| format!("miner {}: {why}", self.number)),
            }
            end.flush(net);
        }
        let wait = net.around(SLICE);
        net.schedule_in(wait, Task::Mine(self.number));
    }
}

fn role(number: u32, farm: bool, user: &str, rate: u16, entropy: &mut Entropy) -> Role {
    // One in four does not know how fast it is: the pool has to find out.
    let nominal = if entropy.below(4) == 0 { 0.0 } else { f32::from(rate) };
    let standard_jobs_only = entropy.below(2) == 0;
    if farm {
        return Role::Farm(Box::new(Farm::new(user.to_owned(), nominal)));
    }
    let mut device = DeviceConfig::new(
        user.to_owned(),
        "adit".to_owned(),
        "world".to_owned(),
        String::new(),
        format!("device-{number}"),
    );
    device.nominal_hash_rate = nominal;
    device.standard_jobs_only = standard_jobs_only;
    Role::Device(Box::new(Device::new(device)))
}

impl fmt::Display for Miner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = self.end.as_ref().map(|end| (end.line(), end.state()));
        write!(f, "miner {} on {connection:?}, {:?}", self.number, self.role.statistics())
    }
}

impl Hasher {
    /// Hashes for the time that has passed, a second at most; gives the work with version, time and nonces that meet its target.
    fn hash(&mut self, role: &Role, now: Instant) -> Vec<(Work, u32, u32, u32)> {
        let passed = now.saturating_since(self.since).min(Duration::from_secs(1)).as_micros() as u64;
        self.owed += passed * u64::from(self.rate);
        self.since = now;
        if self.changes != role.changes() {
            self.changes = role.changes();
            self.renew(role);
        }
        let count = self.owed / 1_000_000;
        self.owed %= 1_000_000;
        let mut found = vec![];
        let searches = self.searches.len().max(1) as u64;
        for (search, turn) in self.searches.iter_mut().zip(0..) {
            let Search { work, version, nonce } = search;
            let count = count / searches + u64::from(turn < count % searches);
            let (ntime, from) = (work.max_ntime(now), *nonce);
            *nonce = from.wrapping_add(count as u32);
            let meets = |nonce: &u32| work.target.is_met_by(&work.header(*version, ntime, *nonce).hash());
            found.extend((from..*nonce).filter(meets).map(|nonce| (*work, *version, ntime, nonce)));
        }
        found
    }

    /// Other work, where it is other.
    fn renew(&mut self, role: &Role) {
        let Self { entropy, searches, .. } = self;
        let works = role.works(entropy);
        let mut before = std::mem::take(searches);
        for work in works {
            // Work of one serial is the same, whatever extranonce was drawn now.
            let known = before
                .iter()
                .position(|search| (search.work.serial, search.work.channel_id) == (work.serial, work.channel_id));
            if let Some(index) = known {
                searches.push(before.swap_remove(index));
                continue;
            }
            // Some devices roll versions.
            let rolled = entropy.next_u64() as u32 & work.version_mask;
            let roll = entropy.below(2) == 0;
            let version = if roll { work.version & !work.version_mask | rolled } else { work.version };
            searches.push(Search { work, version, nonce: 0 });
        }
    }
}
