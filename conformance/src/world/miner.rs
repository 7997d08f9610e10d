//! A device's node: the core's role, a hasher in software that works in virtual time, a ledger.

use std::fmt;
use std::time::Duration;

use adit::connection::{Connection, InitiatorConfig};
use adit::mining::client::{NotSent, Work};
use adit::protocol::{Initiator, Mining};
use adit::role::Device;
use adit::role::device::{DeviceConfig, Endpoint, Outcome};
use adit::time::Instant;

use super::books::{Ledger, Store};
use super::end::End;
use super::net::{Arrival, Client, Direction, LineId, Net, Task};
use crate::entropy::Entropy;

/// How often a device looks at its hasher.
const SLICE: Duration = Duration::from_millis(250);

/// The hasher: one header after another.
struct Hasher {
    entropy: Entropy,
    /// Hashes a second.
    rate: u16,
    work: Option<Work>,
    changes: u32,
    version: u32,
    nonce: u32,
    since: Instant,
    /// Hashes that are due and not done yet, in millionths.
    owed: u64,
}

pub(super) struct Miner {
    number: u32,
    pub(super) role: Box<Device<String>>,
    config: InitiatorConfig,
    end: Option<End<Initiator, Mining>>,
    hasher: Hasher,
    pub(super) ledger: Ledger,
    armed: Option<Instant>,
    /// Nobody hashes any more; what is on the way is awaited.
    pub(super) resting: bool,
}

impl Miner {
    pub(super) fn new(number: u32, seed: u64, slowest: u16, config: InitiatorConfig) -> Self {
        let mut entropy = Entropy::seeded(seed ^ (u64::from(number) << 32));
        let rate = slowest + entropy.below(2 * u64::from(slowest) + 1) as u16;
        // Some users have two devices.
        let user = format!("user-{}", number * 2 / 3);
        let mut device = DeviceConfig::new(
            user.clone(),
            "adit".to_owned(),
            "world".to_owned(),
            String::new(),
            format!("device-{number}"),
        );
        // One in four does not know how fast it is: the pool has to find out.
        device.nominal_hash_rate = if entropy.below(4) == 0 { 0.0 } else { f32::from(rate) };
        device.standard_jobs_only = entropy.below(2) == 0;
        Self {
            number,
            role: Box::new(Device::new(device)),
            config,
            end: None,
            hasher: Hasher {
                entropy,
                rate,
                work: None,
                changes: u32::MAX,
                version: 0,
                nonce: 0,
                since: Instant::ORIGIN,
                owed: 0,
            },
            ledger: Ledger::new(user),
            armed: None,
            resting: false,
        }
    }

    /// Begins a connection to the pool; gives its line.
    pub(super) fn connect(&mut self, net: &mut Net) -> LineId {
        let line = net.open(Client::Device(self.number));
        let entropy = net.entropy.bytes32();
        self.role.connecting(Endpoint::new("pool.example", 34_254).expect("a short name"));
        let connection = Connection::initiator(&self.config, entropy, net.now);
        self.end = Some(End::new(connection, line, Direction::ToServer));
        line
    }

    fn on(&mut self, line: LineId) -> Option<&mut End<Initiator, Mining>> {
        self.end.as_mut().filter(|end| end.line() == line)
    }

    pub(super) fn arrive(&mut self, net: &mut Net, line: LineId, arrival: Arrival, store: &Store) {
        let Self { number, role, end, ledger, .. } = self;
        let Some(end) = end.as_mut().filter(|end| end.line() == line) else { return };
        end.arrive(arrival);
        let now = net.now;
        let mut failure = None;
        end.pump(net, |event, out| {
            let judged = match role.handle(now, &event, out)? {
                Outcome::Accepted { last_sequence_number, count, .. } => {
                    ledger.acknowledged(last_sequence_number, count, store)
                }
                Outcome::Rejected { sequence_number, error_code } => {
                    ledger.rejected(sequence_number, &error_code.to_string())
                }
                unwanted @ (Outcome::SetupRefused { .. }
                | Outcome::OpenRefused { .. }
                | Outcome::ChannelClosed { .. }
                | Outcome::UpdateRefused { .. }
                | Outcome::Reconnect(_)
                | Outcome::Fatal(_)) => Err(format!("device {number}: {unwanted:?}")),
                Outcome::Done
                | Outcome::Ready
                | Outcome::ChannelOpened { .. }
                | Outcome::NewWork
                | Outcome::NoWork
                | Outcome::NewTarget => Ok(()),
            };
            if let Err(what) = judged {
                failure.get_or_insert(what);
            }
            Ok(())
        });
        if let Some(what) = failure {
            net.fail(|| what);
        }
        self.settle(net);
    }

    /// Sends what the role has to send; notices the end of the connection.
    fn settle(&mut self, net: &mut Net) {
        let now = net.now;
        let Some(end) = &mut self.end else { return };
        if self.role.wants_outbound() {
            end.offer(net, |out| self.role.poll_outbound(now, out));
        }
        let timeout = self.role.poll_timeout();
        net.arm(&mut self.armed, timeout, Task::DeviceTimer(self.number));
        let Some(over) = end.over() else { return };
        let line = end.line();
        if !net.is_hurt(line) {
            net.fail(|| format!("device {} lost its pool on line {line}: {over:?}", self.number));
        }
        end.flush(net);
        self.end = None;
        self.role.reset();
        self.ledger.disconnected();
        let wait = net.around(Duration::from_secs(1));
        net.schedule_in(wait, Task::ConnectDevice(self.number));
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
        if let Outcome::Fatal(why) = self.role.handle_timeout(net.now) {
            let hurt = self.end.as_ref().is_none_or(|end| net.is_hurt(end.line()));
            if !hurt {
                net.fail(|| format!("device {}: {why}", self.number));
            }
            if let Some(end) = &mut self.end {
                end.close(net);
            }
        }
        self.settle(net);
    }

    /// Every share is answered; on a link that the network hurt some answers may never come.
    pub(super) fn is_settled(&self, net: &Net) -> bool {
        self.ledger.is_settled() || self.end.as_ref().is_some_and(|end| net.is_hurt(end.line()))
    }

    /// The world is over: what is not answered counts as lost.
    pub(super) fn retire(&mut self) {
        self.role.reset();
        self.ledger.disconnected();
    }

    /// Does the hashing that was due since the last time, and sends what it finds.
    pub(super) fn mine(&mut self, net: &mut Net) {
        if self.resting {
            return;
        }
        let found = self.hasher.hash(&self.role, net.now);
        for (work, nonce) in found {
            let Some(end) = &mut self.end else { break };
            let ntime = work.max_ntime(self.hasher.since);
            let solution = work.solution(self.hasher.version, ntime, nonce);
            match self.role.submit(net.now, &solution, &mut end.outbound()) {
                Ok(sequence) => {
                    self.ledger.sent(sequence, work.header(self.hasher.version, ntime, nonce).hash());
                }
                // A stalled link takes no more; a device drops what it can't send.
                Err(NotSent::Send(_)) => {}
                Err(why) => net.fail(|| format!("device {}: {why}", self.number)),
            }
            end.flush(net);
        }
        let wait = net.around(SLICE);
        net.schedule_in(wait, Task::Mine(self.number));
    }
}

impl fmt::Display for Miner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = self.end.as_ref().map(|end| (end.line(), end.state()));
        write!(f, "device {} on {connection:?}, {:?}", self.number, self.role.statistics())
    }
}

impl Hasher {
    /// Hashes for the time that has passed; gives the work and nonces that meet its target.
    fn hash(&mut self, role: &Device<String>, now: Instant) -> Vec<(Work, u32)> {
        let passed = now.saturating_since(self.since).as_micros() as u64;
        self.owed += passed * u64::from(self.rate);
        self.since = now;
        if self.changes != role.changes() {
            self.changes = role.changes();
            self.work = role.work();
            self.nonce = 0;
            if let Some(work) = &self.work {
                // Some devices roll versions.
                let rolled = self.entropy.next_u64() as u32 & work.version_mask;
                self.version =
                    if self.entropy.below(2) == 0 { work.version } else { work.version & !work.version_mask | rolled };
            }
        }
        let count = self.owed / 1_000_000;
        self.owed %= 1_000_000;
        let Some(work) = self.work else { return vec![] };
        let ntime = work.max_ntime(now);
        let from = self.nonce;
        self.nonce = from.wrapping_add(count as u32);
        (from..self.nonce)
            .filter(|nonce| work.target.is_met_by(&work.header(self.version, ntime, *nonce).hash()))
            .map(|nonce| (work, nonce))
            .collect()
    }
}
