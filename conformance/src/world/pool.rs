//! The pool's node: the core's role, its store, the provider upstream, devices downstream.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use adit::connection::{Connection, Event, InitiatorConfig, ResponderConfig, SetupPolicy};
use adit::error::{Error, Misuse};
use adit::gate::{GateConfig, Ledger as Gate, Network};
use adit::message::common::SetupConnection;
use adit::message::mining::SetupFlags;
use adit::protocol::{Initiator, Mining, Protocol, Responder, TemplateDistribution};
use adit::rate::Rate;
use adit::role::pool::{AcceptAll, PoolConfig, PoolError, PoolEvent, PoolLimits, ProviderEvent, TemplateNews};
use adit::role::{ConnectionId, Pool};
use adit::storage::Heap;
use adit::template::coinbase::Payout;
use adit::time::Instant;

use super::books::{Found, Store};
use super::end::End;
use super::net::{Arrival, Direction, LineId, Net, Node, Task};
use super::security::{Issuer, Period, is_period_refused};

struct Client {
    end: End<Responder, Mining>,
    from: Node,
    id: Option<ConnectionId>,
    starved: bool,
}

struct Upstream {
    end: End<Initiator, TemplateDistribution>,
    open: bool,
    starved: bool,
}

pub(super) struct PoolNode {
    pub(super) role: Box<Pool<Heap>>,
    pub(super) store: Store,
    /// How long the store takes, at most.
    store_takes: Duration,
    issuer: Issuer,
    downstream: ResponderConfig,
    period: Period,
    upstream: InitiatorConfig,
    clients: BTreeMap<LineId, Client>,
    lines: BTreeMap<ConnectionId, LineId>,
    gate: Gate,
    provider: Option<Upstream>,
    armed: Option<Instant>,
    /// Blocks that were found and queued for the provider.
    pub(super) found: Vec<Found>,
    /// Counts the processes; none while there is none.
    pub(super) run: u32,
    pub(super) up: bool,
    /// Strangers that were sent away for their shares.
    pub(super) floods_ended: u64,
}

/// A pay-to-witness-public-key-hash output: where the rewards go.
const SCRIPT: [u8; 22] = [
    0, 20, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17,
    0xad, 0x17,
];

/// Who is let in. The honest have an address each, strangers share a few.
const GATE: GateConfig = GateConfig {
    connections: 2_000,
    handshakes: 256,
    handshakes_per_address: 8,
    per_address: 32,
    per_address_rate: Rate { per_second: 5, burst: 20 },
};

/// The pool's configuration in every world: one payout, defaults, and another extranonce prefix in each run, so that nobody is given again
/// what was searched before a restart.
fn pool(run: u32, store: &Store) -> Box<Pool<Heap>> {
    let payouts = [Payout { script_pubkey: &SCRIPT, weight: 1 }];
    let limits = PoolLimits { shares_per_second: NonZeroU32::new(30), share_burst: 100, ..PoolLimits::default() };
    let (prefix, last_ticket) = ((run as u16).to_be_bytes(), store.durable_ticket);
    let config =
        PoolConfig { tag: b"/adit/", server_prefix: &prefix, last_ticket, limits, ..PoolConfig::new(&payouts) };
    let mut pool = Box::new(Pool::new(&config).expect("a good configuration"));
    for (user, (shares, difficulty)) in store.sums() {
        pool.restore_user(user, shares, difficulty).expect("it had room before");
    }
    pool
}

/// The setup of its listener.
pub(super) fn setup_policy() -> SetupPolicy {
    let config = *pool(0, &Store::default()).config();
    SetupPolicy::new(config.supported_flags().bits()).answering(config.success_flags().bits())
}

/// Where a node connects from.
fn address(node: Node) -> Network {
    let bits = match node {
        Node::Miner(number) => 0x0a00_0000 + number,
        // The numbers say what a stranger does (see `stranger`): those of one kind share an address.
        Node::Stranger(number) => 0xc000_0200 + number % 8,
        Node::Provider | Node::Pool | Node::Rogue => 0xc633_6400,
    };
    Network::from(IpAddr::from(Ipv4Addr::from_bits(bits)))
}

impl PoolNode {
    pub(super) fn new(net: &mut Net, issuer: Issuer, upstream: InitiatorConfig, store_takes: Duration) -> Self {
        let (downstream, period) = issuer.responder(net.wall(Node::Pool));
        net.schedule_in(issuer.every, Task::Renew(Node::Pool));
        let store = Store::default();
        Self {
            role: pool(0, &store),
            store,
            store_takes,
            issuer,
            downstream,
            period,
            upstream,
            clients: BTreeMap::new(),
            lines: BTreeMap::new(),
            gate: Gate::new(GATE),
            provider: None,
            armed: None,
            found: vec![],
            run: 0,
            up: true,
            floods_ended: 0,
        }
    }

    pub(super) fn renew(&mut self, net: &mut Net) {
        (self.downstream, self.period) = self.issuer.responder(net.wall(Node::Pool));
        net.schedule_in(self.issuer.every, Task::Renew(Node::Pool));
    }

    /// What a device that trusts the pool's authority would be shown by who has stolen the pool's key.
    pub(super) fn stolen(&self) -> (ResponderConfig, Period) {
        (self.downstream.clone(), self.period)
    }

    /// The process has ended: what it knew is gone, what its store wrote is there.
    pub(super) fn kill(&mut self, net: &mut Net) {
        self.count(net);
        self.up = false;
        self.run += 1;
        self.store.crash();
        self.clients.clear();
        self.lines.clear();
        self.provider = None;
        self.armed = None;
    }

    /// It starts anew from its store.
    pub(super) fn start(&mut self, net: &mut Net) {
        self.up = true;
        self.role = pool(self.run, &self.store);
        self.gate = Gate::new(GATE);
        (self.downstream, self.period) = self.issuer.responder(net.wall(Node::Pool));
        net.schedule_in(Duration::ZERO, Task::ConnectPool);
    }

    /// The pool's count of this run is what came to the store.
    pub(super) fn count(&self, net: &mut Net) {
        let counted = self.role.statistics(net.time(Node::Pool)).accepted;
        if counted != self.store.taken {
            net.fail(|| format!("the pool counts {counted} shares, its store got {}", self.store.taken));
        }
    }

    /// Begins a connection to the provider; gives its line.
    pub(super) fn connect(&mut self, net: &mut Net) -> LineId {
        let line = net.open(Node::Pool, Node::Provider);
        let entropy = net.entropy.bytes32();
        let connection = Connection::initiator(&self.upstream, entropy, net.time(Node::Pool));
        let end = End::new(connection, Node::Pool, line, Direction::ToServer);
        self.provider = Some(Upstream { end, open: false, starved: false });
        line
    }

    /// Whether it has a link to the provider, open or not.
    pub(super) const fn is_connected(&self) -> bool {
        self.provider.is_some()
    }

    pub(super) fn accept(&mut self, net: &mut Net, line: LineId) {
        let Some(from) = net.ends(line).map(|ends| ends.client) else { return };
        if let Err(why) = self.gate.admit(address(from), net.time(Node::Pool)) {
            if !is_strange(from) {
                net.fail(|| format!("{from:?} was not let in: {why}"));
            }
            return net.close(line, Direction::ToClient);
        }
        let entropy = net.entropy.bytes32();
        let connection = Connection::responder(&self.downstream, entropy, net.time(Node::Pool));
        net.show(line, self.period);
        let mut end = End::new(connection, Node::Pool, line, Direction::ToClient);
        end.flush(net);
        self.clients.insert(line, Client { end, from, id: None, starved: false });
    }

    /// From the provider.
    pub(super) fn arrive_upstream(&mut self, net: &mut Net, line: LineId, arrival: Arrival) {
        let Self { role, provider, .. } = self;
        let Some(upstream) = provider.as_mut().filter(|upstream| upstream.end.line() == line) else { return };
        upstream.end.arrive(arrival);
        let now = net.time(Node::Pool);
        let mut failure = None;
        let must_refuse = net.must_refuse(line);
        let open = &mut upstream.open;
        upstream.end.pump(net, |event, out| {
            match event {
                Event::Secured(_) => {
                    if must_refuse {
                        failure.get_or_insert_with(|| {
                            "the pool took a provider whose certificate is not valid".to_owned()
                        });
                    }
                    out.send(&setup())?;
                }
                Event::Opened(_) => {
                    *open = true;
                    role.provider_connected();
                }
                Event::Message(message) => match role.handle_provider(now, message) {
                    Ok(ProviderEvent::Template(TemplateNews::NoJob { template_id, why })) => {
                        failure.get_or_insert(format!("no job of template {template_id}: {why}"));
                    }
                    Ok(ProviderEvent::Template(TemplateNews::Unusable { template_id, why })) => {
                        failure.get_or_insert(format!("template {template_id}: {why}"));
                    }
                    Ok(_) => {}
                    Err(violation) => {
                        failure.get_or_insert(format!("provider: {violation}"));
                    }
                },
                _ => {}
            }
            Ok(())
        });
        if let Some(what) = failure {
            net.fail(|| what);
        }
        self.sweep_upstream(net);
        self.serve(net);
    }

    fn sweep_upstream(&mut self, net: &mut Net) {
        let Some(upstream) = &mut self.provider else { return };
        let Some(over) = upstream.end.over() else { return };
        let line = upstream.end.line();
        if is_period_refused(over) && net.must_refuse(line) {
            net.totals.certificates_refused += 1;
            net.hurt(line);
        } else if !net.is_hurt(line) {
            net.fail(|| format!("the pool lost its provider on line {line}: {over:?}"));
        }
        upstream.end.flush(net);
        self.provider = None;
        self.role.provider_lost();
        let wait = net.around(Duration::from_secs(1));
        net.schedule_in(wait, Task::ConnectPool);
    }

    /// From a device.
    pub(super) fn arrive(&mut self, net: &mut Net, line: LineId, arrival: Arrival) {
        let Self {
            role, store, clients, lines, gate, downstream, store_takes, found, run, provider, floods_ended, ..
        } = self;
        let upstream = provider.as_ref().filter(|upstream| upstream.open).map(|upstream| upstream.end.line());
        let Some(client) = clients.get_mut(&line) else { return };
        client.end.arrive(arrival);
        let now = net.time(Node::Pool);
        let (mut failure, mut tickets, mut broken) = (None, vec![], false);
        let (id, from) = (&mut client.id, client.from);
        // What gathers while a node sleeps may be more at once than is allowed.
        let slept = net.is_hurt(line);
        client.end.pump(net, |event, out| {
            match event {
                Event::Opened(setup) => {
                    let flags = SetupFlags::from_bits(setup.flags);
                    let new = role.connect(now, downstream.revision, flags).expect("a place");
                    *id = Some(new);
                    lines.insert(new, line);
                    gate.established(address(from));
                }
                Event::Message(message) => {
                    let Some(id) = *id else { return Ok(()) };
                    match role.handle(now, id, &message, &mut AcceptAll, out) {
                        Ok(PoolEvent::Share(share)) => {
                            let name = role.user(share.account).map_or(&[][..], |user| user.name());
                            if let Err(why) = store.take(&share, name) {
                                failure.get_or_insert(why);
                            }
                            tickets.push(share.ticket);
                            match share.block {
                                Some(block) if block.submitted => {
                                    found.push(Found::new(share.hash, share.header, *run, upstream));
                                }
                                Some(_) => {
                                    failure.get_or_insert(format!("no room for the block of ticket {}", share.ticket));
                                }
                                None => {}
                            }
                        }
                        Ok(_) => {}
                        Err(PoolError::Send(error)) => return Err(error),
                        Err(error) if is_strange(from) || slept && error == PoolError::TooManyShares => {
                            *floods_ended += u64::from(is_strange(from));
                            broken = true;
                            // The connection is over: what else has come is not looked at.
                            return Err(Error::Misuse(Misuse::Closed));
                        }
                        Err(error) => {
                            failure.get_or_insert(format!("pool: {error}"));
                        }
                    }
                }
                _ => {}
            }
            Ok(())
        });
        let (takes, run) = (*store_takes, *run);
        if broken {
            client.end.close(net);
        }
        for ticket in tickets {
            let wait = net.between((Duration::ZERO, takes));
            net.schedule_in(wait, Task::Stored(run, ticket));
        }
        if let Some(what) = failure {
            net.fail(|| what);
        }
        self.sweep(net, line);
        self.serve(net);
    }

    fn sweep(&mut self, net: &mut Net, line: LineId) {
        let Some(client) = self.clients.get_mut(&line) else { return };
        let Some(over) = client.end.over() else { return };
        if let Err(error) = over
            && !is_strange(client.from)
            && !net.is_hurt(line)
        {
            net.fail(|| format!("the pool dropped an honest device on line {line}: {error}"));
        }
        self.gate.leave(address(client.from), client.id.is_some());
        if let Some(id) = client.id {
            self.role.disconnect(id);
            self.lines.remove(&id);
        }
        client.end.flush(net);
        self.clients.remove(&line);
    }

    /// Something has left on this line downstream.
    pub(super) fn drained(&mut self, net: &mut Net, line: LineId) {
        let Some(client) = self.clients.get_mut(&line) else { return };
        client.end.flush(net);
        if client.starved {
            self.send(net, line);
        }
        // A frame may wait for room for its answer.
        self.arrive(net, line, Arrival::Nothing);
    }

    /// Something has left towards the provider.
    pub(super) fn drained_upstream(&mut self, net: &mut Net, line: LineId) {
        if let Some(upstream) = self.provider.as_mut().filter(|upstream| upstream.end.line() == line) {
            upstream.end.flush(net);
            self.arrive_upstream(net, line, Arrival::Nothing);
        }
    }

    pub(super) fn limit(&mut self, net: &mut Net, line: LineId) {
        if let Some(client) = self.clients.get_mut(&line) {
            client.end.handle_limit(net);
            self.sweep(net, line);
        }
    }

    pub(super) fn limit_upstream(&mut self, net: &mut Net, line: LineId) {
        if let Some(upstream) = self.provider.as_mut().filter(|upstream| upstream.end.line() == line) {
            upstream.end.handle_limit(net);
            self.sweep_upstream(net);
        }
    }

    pub(super) fn timer(&mut self, net: &mut Net) {
        if !self.up {
            return;
        }
        self.armed = None;
        while let Some(id) = self.role.handle_timeout(net.time(Node::Pool)) {
            let Some(line) = self.lines.get(&id).copied() else { continue };
            // A device that is cut off again and again may never get as far as its channel.
            let is_honest = net.ends(line).is_some_and(|ends| !is_strange(ends.client));
            if is_honest && !net.is_hurt(line) {
                net.fail(|| format!("a device on line {line} is without a channel for too long"));
            }
            if let Some(client) = self.clients.get_mut(&line) {
                client.end.close(net);
            }
            self.sweep(net, line);
        }
        self.serve(net);
    }

    pub(super) fn stored(&mut self, net: &mut Net, run: u32, ticket: u64) {
        if run != self.run {
            // The process that wrote it is no more.
            return;
        }
        self.store.written(ticket);
        self.role.stored(ticket);
        self.serve(net);
    }

    /// Sends what there is to send: blocks first (D-TDP-17).
    fn serve(&mut self, net: &mut Net) {
        if let Some(upstream) = self.provider.as_mut().filter(|upstream| upstream.open)
            && (upstream.starved || self.role.provider_wants_outbound())
        {
            let role = &mut self.role;
            upstream.starved = !upstream.end.offer(net, |out| role.poll_provider_outbound(out));
        }
        while let Some(id) = self.role.poll_dirty() {
            if let Some(line) = self.lines.get(&id).copied() {
                self.send(net, line);
            }
        }
        let timeout = self.role.poll_timeout();
        net.arm(Node::Pool, &mut self.armed, timeout, Task::PoolTimer);
    }

    fn send(&mut self, net: &mut Net, line: LineId) {
        let Self { role, clients, .. } = self;
        let Some(Client { end, id: Some(id), starved, .. }) = clients.get_mut(&line) else { return };
        *starved = !end.offer(net, |out| role.poll_outbound(*id, out));
    }
}

const fn is_strange(node: Node) -> bool {
    matches!(node, Node::Stranger(_))
}

fn setup() -> SetupConnection<'static> {
    SetupConnection {
        protocol: TemplateDistribution::NUMBER,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: "provider.example".into(),
        endpoint_port: 8_442,
        vendor: "adit".into(),
        hardware_version: "world".into(),
        firmware: "".into(),
        device_id: "".into(),
    }
}
