//! The template provider's node: the core's role, the made-up chain behind it, a pool before it.

use std::collections::BTreeMap;

use adit::connection::{Connection, Event, ResponderConfig};
use adit::error::Error;
use adit::message::template::ToServer;
use adit::protocol::{Responder, TemplateDistribution};
use adit::role::provider::ProviderError;
use adit::role::{ConnectionId, Provider};
use adit::storage::Heap;
use adit::template::book::Basis;
use adit::template::server::{HandleError, Request};
use adit::wire::B016M;

use super::books::Found;
use super::chain::{Chain, Times};
use super::end::End;
use super::net::{Arrival, Direction, LineId, Net, Node, Task};
use super::security::{Issuer, Period};

struct Client {
    end: End<Responder, TemplateDistribution>,
    id: Option<ConnectionId>,
    /// There is more to send when something has left.
    starved: bool,
}

pub(super) struct ProviderNode {
    role: Box<Provider<Heap>>,
    pub(super) chain: Chain,
    issuer: Issuer,
    config: ResponderConfig,
    period: Period,
    clients: BTreeMap<LineId, Client>,
    pub(super) up: bool,
    /// No clock stood still since the tip.
    pub(super) steady: bool,
    /// Most ids that there ever were.
    last_id: u64,
}

impl ProviderNode {
    pub(super) fn new(chain: Chain, issuer: Issuer, net: &mut Net) -> Self {
        let (config, period) = issuer.responder(net.wall(Node::Provider));
        let clients = BTreeMap::new();
        let mut node =
            Self { role: Box::default(), chain, issuer, config, period, clients, up: true, steady: true, last_id: 0 };
        node.chain.grow(Some(&mut node.role), times(net));
        net.schedule_in(node.issuer.every, Task::Renew(Node::Provider));
        node
    }

    pub(super) fn renew(&mut self, net: &mut Net) {
        (self.config, self.period) = self.issuer.responder(net.wall(Node::Provider));
        net.schedule_in(self.issuer.every, Task::Renew(Node::Provider));
    }

    /// The process has ended. The node behind it goes on.
    pub(super) fn kill(&mut self) {
        self.up = false;
        self.clients.clear();
        self.chain.forget_templates();
    }

    /// It starts anew. Most providers count on from above all earlier ids, as they should; some begin anew (D-TDP-7 speaks of one run).
    pub(super) fn start(&mut self, net: &mut Net) {
        self.up = true;
        self.last_id += 1_000_000;
        let first = if net.entropy.below(3) == 0 { 1 } else { self.last_id };
        *self.role = Provider::starting_at(first);
        self.chain.counts_on = first > 1;
        (self.config, self.period) = self.issuer.responder(net.wall(Node::Provider));
        self.chain.tell(&mut self.role, times(net));
    }

    pub(super) fn accept(&mut self, net: &mut Net, line: LineId) {
        let entropy = net.entropy.bytes32();
        let connection = Connection::responder(&self.config, entropy, net.time(Node::Provider));
        net.show(line, self.period);
        let mut end = End::new(connection, Node::Provider, line, Direction::ToClient);
        end.flush(net);
        self.clients.insert(line, Client { end, id: None, starved: false });
    }

    pub(super) fn arrive(&mut self, net: &mut Net, line: LineId, arrival: Arrival, found: &mut [Found]) {
        let honest = net.ends(line).is_some_and(|ends| ends.client == Node::Pool);
        let Self { role, chain, config, clients, steady, .. } = self;
        let Some(client) = clients.get_mut(&line) else { return };
        client.end.arrive(arrival);
        let times = times(net);
        let (mut failure, mut broken) = (None, false);
        let id = &mut client.id;
        client.end.pump(net, |event, out| {
            match event {
                Event::Opened(_) => *id = Some(role.connect(config.revision).expect("a place")),
                Event::Message(message) => {
                    let Some(id) = *id else { return Ok(()) };
                    let solution = match message {
                        ToServer::SubmitSolution(solution) => Some(solution),
                        _ => None,
                    };
                    match role.handle(times.now, id, message, out) {
                        Ok(Some(Request::Solution(solution))) => {
                            let before = chain.tip();
                            let judged = if honest { Found::arrives(found, &solution.hash, line) } else { Ok(()) };
                            let judged = judged.and_then(|()| chain.judge(role, &solution, *steady, times));
                            *steady |= chain.tip() != before;
                            if let Err(why) = judged {
                                failure.get_or_insert(why);
                            }
                        }
                        Ok(Some(Request::Transactions(template))) => {
                            let transactions: Vec<_> = chain
                                .transactions(template)
                                .unwrap_or_default()
                                .iter()
                                .map(|tx| B016M::new(tx))
                                .collect();
                            role.send_transactions(id, template, &[], &transactions, out)?;
                        }
                        Ok(Some(Request::NoBlock(template, why))) if honest => {
                            let known = solution.map(|solution| {
                                let coinbase = solution.coinbase_tx.as_bytes();
                                let root = chain.root(solution.template_id, coinbase);
                                let times = (solution.version, solution.header_timestamp, solution.header_nonce);
                                Found::is_unknown(found, times, root)
                            });
                            if known != Some(true) {
                                failure.get_or_insert(format!("solution for template {template} is no block: {why}"));
                            }
                        }
                        Ok(Some(Request::Constraints(_) | Request::NoBlock(..)) | None) => {}
                        Err(ProviderError::Handle(HandleError::Send(Error::Full))) => return Err(Error::Full),
                        Err(_) if !honest => broken = true,
                        Err(error) => {
                            failure.get_or_insert(format!("provider: {error}"));
                        }
                    }
                }
                _ => {}
            }
            Ok(())
        });
        if broken {
            client.end.close(net);
        }
        if let Some(what) = failure {
            net.fail(|| what);
        }
        self.sweep(net, line);
        self.serve(net);
    }

    /// Forgets a client that is gone.
    fn sweep(&mut self, net: &mut Net, line: LineId) {
        let Some(client) = self.clients.get_mut(&line) else { return };
        let Some(over) = client.end.over() else { return };
        if let Err(error) = over
            && net.ends(line).is_some_and(|ends| ends.client == Node::Pool)
            && !net.is_hurt(line)
        {
            net.fail(|| format!("provider dropped the pool on line {line}: {error}"));
        }
        if let Some(id) = client.id {
            self.role.disconnect(id);
        }
        client.end.flush(net);
        self.clients.remove(&line);
    }

    /// Something has left on this line.
    pub(super) fn drained(&mut self, net: &mut Net, line: LineId, found: &mut [Found]) {
        let Some(client) = self.clients.get_mut(&line) else { return };
        client.end.flush(net);
        if client.starved {
            self.send(net, line);
        }
        self.arrive(net, line, Arrival::Nothing, found);
    }

    pub(super) fn limit(&mut self, net: &mut Net, line: LineId) {
        if let Some(client) = self.clients.get_mut(&line) {
            client.end.handle_limit(net);
            self.sweep(net, line);
        }
    }

    /// The mempool has changed.
    pub(super) fn template(&mut self, net: &mut Net) {
        if !self.up {
            return;
        }
        let basis = if net.entropy.below(4) == 0 { Basis::Next } else { Basis::Tip };
        self.chain.offer(&mut self.role, basis);
        self.serve(net);
    }

    pub(super) fn foreign_block(&mut self, net: &mut Net) {
        self.steady = true;
        self.chain.grow(self.up.then_some(&mut self.role), times(net));
        if self.up {
            self.serve(net);
        }
    }

    fn serve(&mut self, net: &mut Net) {
        while let Some(id) = self.role.poll_dirty() {
            if let Some(line) = self.clients.iter().find(|(_, client)| client.id == Some(id)).map(|(line, _)| *line) {
                self.send(net, line);
            }
        }
    }

    fn send(&mut self, net: &mut Net, line: LineId) {
        let Self { role, clients, .. } = self;
        let Some(Client { end, id: Some(id), starved }) = clients.get_mut(&line) else { return };
        *starved = !end.offer(net, |out| role.poll_outbound(*id, out));
    }
}

fn times(net: &Net) -> Times {
    Times { now: net.time(Node::Provider), wall: net.wall(Node::Provider), truly: net.now }
}
