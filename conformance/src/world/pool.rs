//! The pool's node: the core's role, its store, the provider upstream, devices downstream.

use std::collections::BTreeMap;
use std::time::Duration;

use adit::connection::{Connection, Event, InitiatorConfig, ResponderConfig};
use adit::message::common::SetupConnection;
use adit::message::mining::SetupFlags;
use adit::protocol::{Initiator, Mining, Protocol, Responder, TemplateDistribution};
use adit::role::pool::{AcceptAll, PoolConfig, PoolError, PoolEvent, ProviderEvent, TemplateNews};
use adit::role::{ConnectionId, Pool};
use adit::storage::Heap;
use adit::template::coinbase::Payout;
use adit::time::Instant;

use super::books::Store;
use super::end::End;
use super::net::{Arrival, Client as LineClient, Direction, LineId, Net, Task};

struct Client {
    end: End<Responder, Mining>,
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
    downstream: ResponderConfig,
    upstream: InitiatorConfig,
    clients: BTreeMap<LineId, Client>,
    lines: BTreeMap<ConnectionId, LineId>,
    provider: Option<Upstream>,
    armed: Option<Instant>,
    /// Blocks that were found and queued for the provider.
    pub(super) found: u64,
    /// Connections to the provider that the network hurt: a block may have been on the way.
    pub(super) upstreams_hurt: u64,
}

/// A pay-to-witness-public-key-hash output: where the rewards go.
const SCRIPT: [u8; 22] = [
    0, 20, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17, 0xad, 0x17,
    0xad, 0x17,
];

/// The pool's configuration in every world: one payout, defaults.
pub(super) fn pool() -> Pool<Heap> {
    let payouts = [Payout { script_pubkey: &SCRIPT, weight: 1 }];
    Pool::new(&PoolConfig { tag: b"/adit/", ..PoolConfig::new(&payouts) }).expect("a good configuration")
}

impl PoolNode {
    pub(super) fn new(
        role: Pool<Heap>,
        downstream: ResponderConfig,
        upstream: InitiatorConfig,
        store_takes: Duration,
    ) -> Self {
        Self {
            role: Box::new(role),
            store: Store::default(),
            store_takes,
            downstream,
            upstream,
            clients: BTreeMap::new(),
            lines: BTreeMap::new(),
            provider: None,
            armed: None,
            found: 0,
            upstreams_hurt: 0,
        }
    }

    /// Begins a connection to the provider; gives its line.
    pub(super) fn connect(&mut self, net: &mut Net) -> LineId {
        let line = net.open(LineClient::Pool);
        let entropy = net.entropy.bytes32();
        let connection = Connection::initiator(&self.upstream, entropy, net.now);
        let end = End::new(connection, line, Direction::ToServer);
        self.provider = Some(Upstream { end, open: false, starved: false });
        line
    }

    pub(super) fn accept(&mut self, net: &mut Net, line: LineId) {
        let entropy = net.entropy.bytes32();
        let connection = Connection::responder(&self.downstream, entropy, net.now);
        let mut end = End::new(connection, line, Direction::ToClient);
        end.flush(net);
        self.clients.insert(line, Client { end, id: None, starved: false });
    }

    /// From the provider.
    pub(super) fn arrive_upstream(&mut self, net: &mut Net, line: LineId, arrival: Arrival) {
        let Self { role, provider, .. } = self;
        let Some(upstream) = provider.as_mut().filter(|upstream| upstream.end.line() == line) else { return };
        upstream.end.arrive(arrival);
        let now = net.now;
        let mut failure = None;
        let open = &mut upstream.open;
        upstream.end.pump(net, |event, out| {
            match event {
                Event::Secured(_) => out.send(&setup())?,
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
        if net.is_hurt(line) {
            self.upstreams_hurt += 1;
        } else {
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
        let Self { role, store, clients, lines, downstream, store_takes, found, .. } = self;
        let Some(client) = clients.get_mut(&line) else { return };
        client.end.arrive(arrival);
        let now = net.now;
        let (mut failure, mut tickets) = (None, vec![]);
        let id = &mut client.id;
        client.end.pump(net, |event, out| {
            match event {
                Event::Opened(setup) => {
                    let flags = SetupFlags::from_bits(setup.flags);
                    let new = role.connect(now, downstream.revision, flags).expect("a place");
                    *id = Some(new);
                    lines.insert(new, line);
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
                                Some(block) if block.submitted => *found += 1,
                                Some(_) => {
                                    failure.get_or_insert(format!("no room for the block of ticket {}", share.ticket));
                                }
                                None => {}
                            }
                        }
                        Ok(_) => {}
                        Err(PoolError::Send(error)) => return Err(error),
                        Err(error) => {
                            failure.get_or_insert(format!("pool: {error}"));
                        }
                    }
                }
                _ => {}
            }
            Ok(())
        });
        for ticket in tickets {
            let wait = net.between((Duration::ZERO, *store_takes));
            net.schedule_in(wait, Task::Stored(ticket));
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
            && !net.is_hurt(line)
        {
            net.fail(|| format!("the pool dropped an honest device on line {line}: {error}"));
        }
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
        self.armed = None;
        while let Some(id) = self.role.handle_timeout(net.now) {
            let Some(line) = self.lines.get(&id).copied() else { continue };
            // A device that is cut off again and again may never get as far as its channel.
            if !net.is_hurt(line) {
                net.fail(|| format!("a device on line {line} is without a channel for too long"));
            }
            if let Some(client) = self.clients.get_mut(&line) {
                client.end.close(net);
            }
            self.sweep(net, line);
        }
        self.serve(net);
    }

    pub(super) fn stored(&mut self, net: &mut Net, ticket: u64) {
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
        net.arm(&mut self.armed, timeout, Task::PoolTimer);
    }

    fn send(&mut self, net: &mut Net, line: LineId) {
        let Self { role, clients, .. } = self;
        let Some(Client { end, id: Some(id), starved }) = clients.get_mut(&line) else { return };
        *starved = !end.offer(net, |out| role.poll_outbound(*id, out));
    }
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
