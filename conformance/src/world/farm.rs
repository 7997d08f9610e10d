//! What a miner is beside a device: a farm with an extended channel and a standard one on one connection, made of the core's mining client.
//! [`Role`] is either, so that a node need not know which.

use std::time::Duration;

use adit::connection::Event;
use adit::error::Error;
use adit::message::common::SetupConnection;
use adit::message::mining::{SetupFlags, SuccessFlags};
use adit::mining::client::{ClientEvent, MiningClient, NotSent, Open, Out, Solution, Statistics, Terms, Work};
use adit::mining::target::Target;
use adit::protocol::{Initiator, Mining, Protocol};
use adit::role::Device;
use adit::role::device::{Endpoint, Outcome};
use adit::storage::Heap;
use adit::time::Instant;

use crate::entropy::Entropy;

/// Bytes of extranonce that a farm asks for.
const EXTRANONCE: u16 = 4;
/// How long a farm waits for its channels.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a miner heard that its ledger has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    Accepted {
        channel: u32,
        last: u32,
        count: u64,
    },
    Rejected {
        channel: u32,
        sequence: u32,
        code: String,
    },
    /// What an honest server does not say.
    Wrong(String),
}

/// A farm: two channels of one user.
pub(super) struct Farm {
    client: MiningClient<Heap, 2>,
    user: String,
    rate: f32,
    changes: u32,
    /// The setup is to be sent, the channels are to be asked for.
    secured: bool,
    to_open: [bool; 2],
    /// The server must have opened both by then.
    open_by: Option<Instant>,
    over: bool,
}

impl Farm {
    pub(super) fn new(user: String, rate: f32) -> Self {
        let client = MiningClient::new(Terms::default());
        Self { client, user, rate, changes: 0, secured: false, to_open: [false; 2], open_by: None, over: false }
    }

    fn reset(&mut self) {
        self.client.reset(Terms::default());
        (self.secured, self.to_open, self.open_by, self.over) = (false, [false; 2], None, false);
        self.changes += 1;
    }

    fn handle(
        &mut self,
        now: Instant,
        event: &Event<'_, Initiator, Mining>,
        out: &mut Out<'_>,
    ) -> Result<Heard, Error> {
        let heard = match event {
            Event::Secured(_) => {
                self.secured = true;
                Heard::Nothing
            }
            Event::Opened(success) => {
                let imposed = SuccessFlags::from_bits(success.flags);
                self.client.reset(Terms { revision: out.revision(), required: SetupFlags::NONE, imposed });
                self.to_open = [true; 2];
                self.open_by = Some(now.saturating_add(PATIENCE));
                Heard::Nothing
            }
            Event::Message(message) if !self.over => match self.client.handle(now, message) {
                Ok(ClientEvent::Accepted { channel_id, last_sequence_number, count, .. }) => {
                    Heard::Accepted { channel: channel_id, last: last_sequence_number, count }
                }
                Ok(ClientEvent::Rejected { channel_id, sequence_number, error_code }) => {
                    Heard::Rejected { channel: channel_id, sequence: sequence_number, code: error_code.to_string() }
                }
                Ok(
                    wrong @ (ClientEvent::OpenRefused { .. }
                    | ClientEvent::Unusable { .. }
                    | ClientEvent::UpdateRefused { .. }
                    | ClientEvent::Closed { .. }
                    | ClientEvent::Ignored(_)),
                ) => Heard::Wrong(format!("{wrong:?}")),
                Ok(_) => Heard::Nothing,
                Err(violation) => {
                    self.over = true;
                    Heard::Wrong(violation.to_string())
                }
            },
            Event::Refused(_) | Event::Reconnect(_) => Heard::Wrong("not wanted".to_owned()),
            Event::Message(_) | Event::EndpointChanged(_) | Event::Extension(..) => Heard::Nothing,
        };
        if self.client.len() == 2 {
            self.open_by = None;
        }
        self.changes += 1;
        match self.poll_outbound(now, out) {
            Ok(()) | Err(Error::Full) => Ok(heard),
            Err(error) => Err(error),
        }
    }

    fn poll_outbound(&mut self, now: Instant, out: &mut Out<'_>) -> Result<(), Error> {
        if self.secured {
            out.send(&SetupConnection {
                protocol: Mining::NUMBER,
                min_version: 2,
                max_version: 2,
                flags: 0,
                endpoint_host: "pool.example".into(),
                endpoint_port: 34_254,
                vendor: "adit".into(),
                hardware_version: "farm".into(),
                firmware: "".into(),
                device_id: "".into(),
            })?;
            self.secured = false;
        }
        let open = Open { user_identity: &self.user, nominal_hash_rate: self.rate / 2.0, max_target: Target::MAX };
        if self.to_open[0] {
            self.client.open_extended(&open, EXTRANONCE, out).map_err(|_| Error::Full)?;
            self.to_open[0] = false;
        }
        if self.to_open[1] {
            self.client.open_standard(&open, out).map_err(|_| Error::Full)?;
            self.to_open[1] = false;
        }
        self.client.poll_outbound(now, out)
    }
}

/// What a miner is.
pub(super) enum Role {
    Device(Box<Device<String>>),
    Farm(Box<Farm>),
}

impl Role {
    pub(super) fn connecting(&mut self) {
        match self {
            Self::Device(device) => {
                device.connecting(Endpoint::new("pool.example", 34_254).expect("a short name"));
            }
            Self::Farm(farm) => farm.reset(),
        }
    }

    pub(super) fn reset(&mut self) {
        match self {
            Self::Device(device) => device.reset(),
            Self::Farm(farm) => farm.reset(),
        }
    }

    pub(super) fn handle(
        &mut self,
        now: Instant,
        event: &Event<'_, Initiator, Mining>,
        out: &mut Out<'_>,
    ) -> Result<Heard, Error> {
        let device = match self {
            Self::Device(device) => device,
            Self::Farm(farm) => return farm.handle(now, event, out),
        };
        let channel = device.channel_id().unwrap_or_default();
        Ok(match device.handle(now, event, out)? {
            Outcome::Accepted { last_sequence_number, count, .. } => {
                Heard::Accepted { channel, last: last_sequence_number, count }
            }
            Outcome::Rejected { sequence_number, error_code } => {
                Heard::Rejected { channel, sequence: sequence_number, code: error_code.to_string() }
            }
            unwanted @ (Outcome::SetupRefused { .. }
            | Outcome::OpenRefused { .. }
            | Outcome::ChannelClosed { .. }
            | Outcome::UpdateRefused { .. }
            | Outcome::Reconnect(_)
            | Outcome::Fatal(_)) => Heard::Wrong(format!("{unwanted:?}")),
            Outcome::Done
            | Outcome::Ready
            | Outcome::ChannelOpened { .. }
            | Outcome::NewWork
            | Outcome::NoWork
            | Outcome::NewTarget => Heard::Nothing,
        })
    }

    /// Another number than before: there may be other work.
    pub(super) fn changes(&self) -> u32 {
        match self {
            Self::Device(device) => device.changes(),
            Self::Farm(farm) => farm.changes,
        }
    }

    /// What to search now, one for each channel; an extended one with extranonce that is drawn.
    pub(super) fn works(&self, entropy: &mut Entropy) -> Vec<Work> {
        match self {
            Self::Device(device) => device.work().into_iter().collect(),
            Self::Farm(farm) => {
                let ids: Vec<_> = farm.client.channels().map(|channel| channel.id()).collect();
                let mut works = vec![];
                for id in ids {
                    works.extend(farm.client.work(id));
                    if let Some(extended) = farm.client.extended_work(id) {
                        let bytes = entropy.bytes32();
                        works.extend(extended.work(&bytes[..extended.extranonce_size()]));
                    }
                }
                works
            }
        }
    }

    pub(super) fn submit(&mut self, now: Instant, solution: &Solution, out: &mut Out<'_>) -> Result<u32, NotSent> {
        match self {
            Self::Device(device) => device.submit(now, solution, out),
            Self::Farm(farm) => farm.client.submit(now, solution, out),
        }
    }

    pub(super) fn statistics(&self) -> &Statistics {
        match self {
            Self::Device(device) => device.statistics(),
            Self::Farm(farm) => farm.client.statistics(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Device(device) => device.poll_timeout(),
            Self::Farm(farm) => farm.open_by.into_iter().chain(farm.client.poll_timeout()).min(),
        }
    }

    /// Tells the time; gives why the connection is of no use, if it is.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<String> {
        match self {
            Self::Device(device) => match device.handle_timeout(now) {
                Outcome::Fatal(why) => Some(why.to_string()),
                _ => None,
            },
            Self::Farm(farm) => {
                farm.client.handle_timeout(now);
                let late = farm.open_by.take_if(|by| *by <= now);
                late.map(|_| "no channels for a minute".to_owned())
            }
        }
    }

    pub(super) fn wants_outbound(&self) -> bool {
        match self {
            Self::Device(device) => device.wants_outbound(),
            Self::Farm(farm) => farm.secured || farm.to_open.contains(&true) || farm.client.wants_outbound(),
        }
    }

    pub(super) fn poll_outbound(&mut self, now: Instant, out: &mut Out<'_>) -> Result<(), Error> {
        match self {
            Self::Device(device) => device.poll_outbound(now, out),
            Self::Farm(farm) => farm.poll_outbound(now, out),
        }
    }
}
