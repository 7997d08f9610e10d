//! Peers that mean harm, in the midst of honest ones. What each does follows from its number: see [`Habit`]. None of them keeps to anything;
//! what the pool and the provider do about it is theirs, and the world only looks whether the honest notice.

use adit::connection::{Connection, Event, InitiatorConfig};
use adit::error::Error;
use adit::message::common::SetupConnection;
use adit::message::mining::{
    CloseChannel, OpenStandardMiningChannel, SubmitSharesExtended, SubmitSharesStandard, ToClient, UpdateChannel,
};
use adit::message::template::{CoinbaseOutputConstraints, RequestTransactionData, SubmitSolution};
use adit::protocol::{Initiator, Mining, Protocol, TemplateDistribution};
use adit::wire::{B064K, U256};

use super::end::End;
use super::net::{Arrival, Direction, LineId, Net, Node};
use crate::entropy::Entropy;

/// What a stranger does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Connects to the pool, many times, and says nothing.
    Flood,
    /// Begins handshakes with the pool, a byte at a time.
    Drip,
    /// Sends the pool bytes without meaning.
    Garbage,
    /// Sends the pool what a device sent before.
    Replay,
    /// Opens a channel and sends shares without end: for jobs and channels that there are not, twice, of the wrong kind, some good.
    Shares,
    /// The same, and never reads an answer.
    Deaf,
    /// Asks the provider for transactions without end and sends it false blocks.
    Questions,
    /// Wants room from the provider that no block has, and sends it garbage.
    Greed,
}

const HABITS: [Habit; 8] = [
    Habit::Flood,
    Habit::Drip,
    Habit::Garbage,
    Habit::Replay,
    Habit::Shares,
    Habit::Deaf,
    Habit::Questions,
    Habit::Greed,
];

pub(super) struct Stranger {
    number: u32,
    habit: Habit,
    entropy: Entropy,
    to_pool: InitiatorConfig,
    to_provider: InitiatorConfig,
    /// A line on which it keeps to no protocol.
    raw: Option<LineId>,
    mining: Option<End<Initiator, Mining>>,
    template: Option<End<Initiator, TemplateDistribution>>,
    channel: Option<u32>,
    time: u32,
    sequence: u32,
}

impl Stranger {
    pub(super) fn new(number: u32, seed: u64, to_pool: InitiatorConfig, to_provider: InitiatorConfig) -> Self {
        Self {
            number,
            habit: HABITS[number as usize % HABITS.len()],
            entropy: Entropy::seeded(seed ^ (u64::from(number) << 40)),
            to_pool,
            to_provider,
            raw: None,
            mining: None,
            template: None,
            channel: None,
            time: 0,
            sequence: 0,
        }
    }

    const fn node(&self) -> Node {
        Node::Stranger(self.number)
    }

    /// Whom it bothers.
    pub(super) const fn victim(&self) -> Node {
        match self.habit {
            Habit::Questions | Habit::Greed => Node::Provider,
            _ => Node::Pool,
        }
    }

    /// How many new lines it wants now.
    pub(super) const fn wants(&self) -> u32 {
        match self.habit {
            Habit::Flood => 3,
            Habit::Drip | Habit::Garbage | Habit::Replay => self.raw.is_none() as u32,
            Habit::Shares | Habit::Deaf => self.mining.is_none() as u32,
            Habit::Questions | Habit::Greed => self.template.is_none() as u32,
        }
    }

    /// Begins a connection; gives its line. The victim accepts it next.
    pub(super) fn connect(&mut self, net: &mut Net) -> LineId {
        let (node, victim) = (self.node(), self.victim());
        let line = net.open(node, victim);
        let (entropy, now) = (self.entropy.bytes32(), net.time(node));
        match self.habit {
            Habit::Flood => {}
            Habit::Drip | Habit::Garbage | Habit::Replay => self.raw = Some(line),
            Habit::Shares | Habit::Deaf => {
                let connection = Connection::initiator(&self.to_pool, entropy, now);
                self.channel = None;
                self.mining = Some(End::new(connection, node, line, Direction::ToServer));
            }
            Habit::Questions | Habit::Greed => {
                let connection = Connection::initiator(&self.to_provider, entropy, now);
                self.template = Some(End::new(connection, node, line, Direction::ToServer));
            }
        }
        line
    }

    /// Its lines are there; it does what it does.
    pub(super) fn act(&mut self, net: &mut Net) {
        if let Some(line) = self.raw {
            let bytes = match self.habit {
                Habit::Drip => vec![self.entropy.next_u64() as u8],
                Habit::Replay => net.tap(),
                _ => (0..self.entropy.below(600)).map(|_| self.entropy.next_u64() as u8).collect(),
            };
            net.send(line, Direction::ToServer, &bytes);
            if self.habit != Habit::Drip && self.entropy.below(3) == 0 {
                net.close(line, Direction::ToServer);
                self.raw = None;
            }
        }
        if let (Some(end), Some(channel)) = (&mut self.mining, self.channel) {
            let (entropy, sequence, time) = (&mut self.entropy, &mut self.sequence, self.time);
            for _ in 0..50 {
                *sequence += 1;
                if share(entropy, channel, *sequence, time, end).is_err() {
                    break;
                }
            }
            end.flush(net);
            if self.habit == Habit::Deaf {
                net.stop_reading(end.line(), Direction::ToClient);
            }
        }
        if let (Some(end), true) = (&mut self.template, self.channel.is_some()) {
            for _ in 0..20 {
                let template_id = self.entropy.below(40);
                let garbage = self.entropy.bytes32();
                let solution = SubmitSolution {
                    template_id,
                    version: 0x2000_0000,
                    header_timestamp: 0,
                    header_nonce: 7,
                    coinbase_tx: B064K::new(&garbage),
                };
                let sent = match self.entropy.below(2) {
                    0 => end.outbound().send(&RequestTransactionData { template_id }),
                    _ => end.outbound().send(&solution),
                };
                if sent.is_err() {
                    break;
                }
            }
            end.flush(net);
        }
        self.arrive(net, LineId::MAX, Arrival::Nothing);
    }

    /// Something comes back.
    pub(super) fn arrive(&mut self, net: &mut Net, line: LineId, arrival: Arrival) {
        let (habit, channel, time, number) = (self.habit, &mut self.channel, &mut self.time, self.number);
        if let (Some(raw), Arrival::End) = (self.raw, &arrival)
            && raw == line
        {
            net.close(line, Direction::ToServer);
            self.raw = None;
        }
        if let Some(end) = &mut self.mining {
            if end.line() == line {
                end.arrive(arrival);
            }
            end.pump(net, |event, out| match event {
                Event::Secured(_) => out.send(&setup(Mining::NUMBER)),
                Event::Opened(_) => out.send(&OpenStandardMiningChannel {
                    request_id: 1,
                    user_identity: (&*format!("stranger-{number}")).into(),
                    nominal_hash_rate: 1.0,
                    max_target: U256::MAX,
                }),
                Event::Message(ToClient::OpenStandardMiningChannelSuccess(message)) => {
                    *channel = Some(message.channel_id);
                    Ok(())
                }
                Event::Message(ToClient::SetNewPrevHash(message)) => {
                    *time = message.min_ntime;
                    Ok(())
                }
                _ => Ok(()),
            });
            if end.over().is_some() {
                self.mining = None;
            }
        } else if let Some(end) = &mut self.template {
            if end.line() == line {
                end.arrive(arrival);
            }
            end.pump(net, |event, out| match event {
                Event::Secured(_) => out.send(&setup(TemplateDistribution::NUMBER)),
                Event::Opened(_) => {
                    *channel = Some(0);
                    let size = if habit == Habit::Greed { u32::MAX } else { 50 };
                    out.send(&CoinbaseOutputConstraints {
                        coinbase_output_max_additional_size: size,
                        coinbase_output_max_additional_sigops: 0.into(),
                    })
                }
                _ => Ok(()),
            });
            if end.over().is_some() {
                self.template = None;
                self.channel = None;
            }
        }
    }

    /// Something has left.
    pub(super) fn drained(&mut self, net: &mut Net, line: LineId) {
        if let Some(end) = self.mining.as_mut().filter(|end| end.line() == line) {
            end.flush(net);
        }
        if let Some(end) = self.template.as_mut().filter(|end| end.line() == line) {
            end.flush(net);
        }
        self.arrive(net, line, Arrival::Nothing);
    }

    pub(super) fn limit(&mut self, net: &mut Net, line: LineId) {
        if let Some(end) = self.mining.as_mut().filter(|end| end.line() == line) {
            end.handle_limit(net);
        }
        if let Some(end) = self.template.as_mut().filter(|end| end.line() == line) {
            end.handle_limit(net);
        }
        self.arrive(net, line, Arrival::Nothing);
    }
}

/// One of many things that nobody should send.
fn share(
    entropy: &mut Entropy,
    channel: u32,
    sequence_number: u32,
    ntime: u32,
    end: &mut End<Initiator, Mining>,
) -> Result<(), Error> {
    let channel_id = if entropy.below(4) == 0 { entropy.next_u64() as u32 } else { channel };
    let (job_id, nonce, version) = (entropy.below(6) as u32, entropy.below(1_000) as u32, 0x2000_0000);
    let mut out = end.outbound();
    match entropy.below(20) {
        0 => out.send(&CloseChannel { channel_id: channel_id | 0x8000_0000, reason_code: "".into() }),
        1 => out.send(&UpdateChannel { channel_id, nominal_hash_rate: 5.0, maximum_target: U256::MAX }),
        2 => out.send(&OpenStandardMiningChannel {
            request_id: 1,
            user_identity: (&*format!("stranger-{}", entropy.below(50))).into(),
            nominal_hash_rate: 1.0,
            max_target: U256::MAX,
        }),
        3 => {
            let extranonce = (&[1; 4]).into();
            out.send(&SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce })
        }
        _ => out.send(&SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version }),
    }
}

fn setup(protocol: u8) -> SetupConnection<'static> {
    SetupConnection {
        protocol,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: "".into(),
        endpoint_port: 0,
        vendor: "".into(),
        hardware_version: "".into(),
        firmware: "".into(),
        device_id: "".into(),
    }
}
