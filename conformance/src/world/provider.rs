//! The template provider's node: the core's role, the made-up chain behind it, a pool before it.

use std::collections::BTreeMap;

use adit::connection::{Connection, Event, ResponderConfig};
use adit::error::Error;
use adit::protocol::{Responder, TemplateDistribution};
use adit::role::provider::ProviderError;
use adit::role::{ConnectionId, Provider};
use adit::storage::Heap;
use adit::template::book::Basis;
use adit::template::server::{HandleError, Request};
use adit::wire::B016M;

use super::chain::Chain;
use super::end::End;
use super::net::{Arrival, Direction, LineId, Net};

struct Client {
    end: End<Responder, TemplateDistribution>,
    id: Option<ConnectionId>,
    /// There is more to send when something has left.
    starved: bool,
}

pub(super) struct ProviderNode {
    role: Box<Provider<Heap>>,
    pub(super) chain: Chain,
    config: ResponderConfig,
    clients: BTreeMap<LineId, Client>,
    /// Solutions that came, those too late for a block among them.
    pub(super) solutions: u64,
}

impl ProviderNode {
    pub(super) fn new(chain: Chain, config: ResponderConfig, net: &Net) -> Self {
        let mut node = Self { role: Box::default(), chain, config, clients: BTreeMap::new(), solutions: 0 };
        node.chain.grow(&mut node.role, (net.now, net.wall()));
        node
    }

    pub(super) fn accept(&mut self, net: &mut Net, line: LineId) {
        let entropy = net.entropy.bytes32();
        let connection = Connection::responder(&self.config, entropy, net.now);
        let mut end = End::new(connection, line, Direction::ToClient);
        end.flush(net);
        self.clients.insert(line, Client { end, id: None, starved: false });
    }

    pub(super) fn arrive(&mut self, net: &mut Net, line: LineId, arrival: Arrival) {
        let Self { role, chain, config, clients, solutions } = self;
        let Some(client) = clients.get_mut(&line) else { return };
        client.end.arrive(arrival);
        let (now, wall) = (net.now, net.wall());
        let mut failure = None;
        let id = &mut client.id;
        client.end.pump(net, |event, out| {
            match event {
                Event::Opened(_) => *id = Some(role.connect(config.revision).expect("a place")),
                Event::Message(message) => {
                    let Some(id) = *id else { return Ok(()) };
                    match role.handle(now, id, message, out) {
                        Ok(Some(Request::Solution(solution))) => {
                            *solutions += 1;
                            if let Err(why) = chain.judge(role, &solution, (now, wall)) {
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
                        Ok(Some(Request::NoBlock(template, why))) => {
                            failure.get_or_insert(format!("solution for template {template} is no block: {why}"));
                        }
                        Ok(Some(Request::Constraints(_)) | None) => {}
                        Err(ProviderError::Handle(HandleError::Send(Error::Full))) => return Err(Error::Full),
                        Err(error) => {
                            failure.get_or_insert(format!("provider: {error}"));
                        }
                    }
                }
                _ => {}
            }
            Ok(())
        });
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
    pub(super) fn drained(&mut self, net: &mut Net, line: LineId) {
        let Some(client) = self.clients.get_mut(&line) else { return };
        client.end.flush(net);
        if client.starved {
            self.send(net, line);
        }
        self.arrive(net, line, Arrival::Nothing);
    }

    pub(super) fn limit(&mut self, net: &mut Net, line: LineId) {
        if let Some(client) = self.clients.get_mut(&line) {
            client.end.handle_limit(net);
            self.sweep(net, line);
        }
    }

    /// The mempool has changed.
    pub(super) fn template(&mut self, net: &mut Net) {
        let basis = if net.entropy.below(4) == 0 { Basis::Next } else { Basis::Tip };
        self.chain.offer(&mut self.role, basis);
        self.serve(net);
    }

    pub(super) fn foreign_block(&mut self, net: &mut Net) {
        self.chain.grow(&mut self.role, (net.now, net.wall()));
        self.serve(net);
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
