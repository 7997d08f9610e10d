//! A mining device: one upstream, one standard channel, [`Work`] out and [`Solution`]s in.
//!
//! The device sets the connection up, opens its channel, opens it again when it is refused or closed, and counts its shares. It owns no
//! hasher, no buffer and no clock, and connects nowhere: the runtime keeps the link and says when it is gone.
//!
//! Order of calls: [`Device::connecting`] before each connection; [`Device::handle`] for every event of its session;
//! [`Device::handle_timeout`] at [`Device::poll_timeout`]; [`Device::poll_outbound`] while [`Device::wants_outbound`];
//! [`Device::submit`] for what was found; [`Device::reset`] when the connection is gone. Whenever [`Device::changes`] has another
//! value, [`Device::work`] is other work, or none.

mod config;
mod leaving;
mod outcome;

pub use config::{ConfigError, DeviceConfig, Endpoint, HostTooLong};
pub use leaving::Leaving;
pub use outcome::{Fatal, Outcome};

use crate::backoff::doubled;
use crate::connection::{Event, VERSION};
use crate::error::Error;
use crate::message::common::{SetupConnection, SetupConnectionSuccess};
use crate::message::mining::{SetupFlags, SuccessFlags};
use crate::mining::client::{
    ClientEvent, ClientProtocol, MiningClient, NotSent, Open, Out, RequestError, Solution, Statistics, Terms, Work,
};
use crate::protocol::{Initiator, Mining, StandardMining};
use crate::storage::Inline;
use crate::time::{Instant, earliest};
use crate::wire::{Revision, Str0255};

/// How far the connection is, as far as the device has a part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No link, or one in its handshake.
    Down,
    /// `SetupConnection` is to be sent.
    Secured,
    /// `SetupConnection` was sent.
    Asked,
    /// The channel's turn.
    Open(Channel),
    /// Of no more use: the owner closes it.
    Over,
}

/// How far the channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    /// To be asked for.
    Wanted,
    /// Asked for; the answer is overdue at this time.
    Asked(Instant),
    /// Open since.
    Open(u32, Instant),
    /// To be asked for again at this time.
    Resting(Instant),
}

/// One mining device. `T` is how its names are held: `&'static str` in firmware, `String` where that is easier.
///
/// `Pr` is [`Mining`], or [`StandardMining`] for a device that never takes anything but standard jobs: the connection is
/// one of the same protocol, and what such a device has no use for is not linked.
#[derive(Debug)]
pub struct Device<T = &'static str, Pr = Mining> {
    config: DeviceConfig<T>,
    endpoint: Endpoint,
    stage: Stage,
    client: MiningClient<Inline, 1, 0, 0, Pr>,
    /// Times in a row that the channel was refused or closed soon.
    failures: u8,
}

impl<T: AsRef<str>> Device<T> {
    /// A device without a connection.
    #[must_use]
    pub fn new(config: DeviceConfig<T>) -> Self {
        Self::unconnected(config)
    }
}

impl<T: AsRef<str>> Device<T, StandardMining> {
    /// A device without a connection, which takes standard jobs only.
    #[must_use]
    pub fn standard(config: DeviceConfig<T>) -> Self {
        Self::unconnected(config)
    }
}

impl<T: AsRef<str>, Pr: ClientProtocol> Device<T, Pr> {
    #[cfg_attr(target_os = "none", inline(never))]
    fn unconnected(mut config: DeviceConfig<T>) -> Self {
        config.nominal_hash_rate = config::hash_rate(config.nominal_hash_rate);
        Self {
            config,
            endpoint: Endpoint::default(),
            stage: Stage::Down,
            client: MiningClient::new(Terms::default()),
            failures: 0,
        }
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &DeviceConfig<T> {
        &self.config
    }

    /// A new connection is under way to this server; the old one is gone.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn connecting(&mut self, endpoint: Endpoint) {
        self.reset();
        self.endpoint = endpoint;
    }

    /// Where the present connection goes, or went.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The connection is gone: there is no work, and shares without an answer are lost. The counts go on.
    pub fn reset(&mut self) {
        self.client.reset(Terms::default());
        self.stage = Stage::Down;
        self.failures = 0;
    }

    /// Takes an event of the session. What it leads to is sent as far as there is room; the rest waits for
    /// [`Self::poll_outbound`].
    pub fn handle<'m>(
        &mut self,
        now: Instant,
        event: &Event<'m, Initiator, Pr>,
        out: &mut Out<'_, Pr>,
    ) -> Result<Outcome<'m>, Error> {
        let outcome = match event {
            Event::Secured(_) => {
                self.stage = Stage::Secured;
                Outcome::Done
            }
            Event::Opened(success) => self.opened(*success, out.revision()),
            Event::Refused(error) => {
                self.stage = Stage::Over;
                Outcome::SetupRefused { flags: error.flags, error_code: error.error_code }
            }
            Event::Message(message) => self.message(now, message),
            Event::Reconnect(message) => {
                // D-RECON-3
                match self.endpoint.redirected(message) {
                    Some(endpoint) => Outcome::Reconnect(endpoint),
                    // What is no name leads nowhere; the connection may as well be used until the server ends it.
                    None => Outcome::Done,
                }
            }
            Event::EndpointChanged(_) | Event::Extension(..) => Outcome::Done,
        };
        match self.poll_outbound(now, out) {
            Ok(()) | Err(Error::Full) => Ok(outcome),
            Err(error) => Err(error),
        }
    }

    /// D-CONN-7: what the server requires, and whether this device can do with it.
    fn opened(&mut self, success: SetupConnectionSuccess, revision: Revision) -> Outcome<'static> {
        let terms = Terms { revision, required: self.flags(), imposed: SuccessFlags::from_bits(success.flags) };
        // D-FLAG-6
        if terms.imposed.contains(SuccessFlags::REQUIRES_EXTENDED_CHANNELS) {
            return self.give_up(Fatal::ExtendedChannelsOnly);
        }
        // D-FLAG-4
        if self.config.version_rolling && terms.imposed.contains(SuccessFlags::REQUIRES_FIXED_VERSION) {
            return self.give_up(Fatal::FixedVersion);
        }
        self.client.reset(terms);
        self.stage = Stage::Open(Channel::Wanted);
        Outcome::Ready
    }

    fn give_up(&mut self, why: Fatal) -> Outcome<'static> {
        self.client.reset(Terms::default());
        self.stage = Stage::Over;
        Outcome::Fatal(why)
    }

    const fn flags(&self) -> SetupFlags {
        let mut flags = SetupFlags::NONE;
        if Pr::STANDARD_JOBS || self.config.standard_jobs_only {
            flags = flags.union(SetupFlags::REQUIRES_STANDARD_JOBS);
        }
        if self.config.version_rolling {
            flags = flags.union(SetupFlags::REQUIRES_VERSION_ROLLING);
        }
        flags
    }

    fn message<'m>(&mut self, now: Instant, message: &Pr::ToClient<'m>) -> Outcome<'m> {
        let Stage::Open(channel) = self.stage else { return Outcome::Done };
        let event = match self.client.handle(now, message) {
            Ok(event) => event,
            Err(violation) => return self.give_up(Fatal::Server(violation)),
        };
        match event {
            ClientEvent::Opened { channel_id, .. } => {
                self.stage = Stage::Open(Channel::Open(channel_id, now));
                Outcome::ChannelOpened { channel_id }
            }
            ClientEvent::OpenRefused { error_code, .. } => {
                let retry_at = self.rest(now);
                Outcome::OpenRefused { error_code, retry_at }
            }
            ClientEvent::Closed { reason_code, .. } => {
                // A channel that lasted was no failure.
                if matches!(channel, Channel::Open(_, since) if since.saturating_add(self.config.last_retry) <= now) {
                    self.failures = 0;
                }
                let retry_at = self.rest(now);
                Outcome::ChannelClosed { reason_code, retry_at }
            }
            ClientEvent::Work { .. } if self.in_work() != 0 => Outcome::NewWork,
            ClientEvent::Work { .. } => Outcome::NoWork,
            ClientEvent::Accepted { last_sequence_number, count, difficulty, .. } => {
                self.failures = 0;
                Outcome::Accepted { last_sequence_number, count, difficulty }
            }
            ClientEvent::Rejected { sequence_number, error_code, .. } => {
                Outcome::Rejected { sequence_number, error_code }
            }
            ClientEvent::UpdateRefused { error_code, .. } => Outcome::UpdateRefused { error_code },
            ClientEvent::Target { .. } => Outcome::NewTarget,
            ClientEvent::Queued { .. }
            | ClientEvent::Unusable { .. }
            | ClientEvent::Prefix { .. }
            | ClientEvent::Grouped { .. }
            | ClientEvent::Custom(_)
            | ClientEvent::CustomRefused(_)
            | ClientEvent::Ignored(_) => Outcome::Done,
        }
    }

    /// The channel is not open: says when it is asked for again. Each time in a row waits twice as long.
    fn rest(&mut self, now: Instant) -> Instant {
        let at = now.later(doubled(self.config.first_retry, self.failures.into(), self.config.last_retry));
        self.failures = self.failures.saturating_add(1);
        self.stage = Stage::Open(Channel::Resting(at));
        at
    }

    /// The serial of what is in work; 0 when that is nothing.
    fn in_work(&self) -> u64 {
        self.channel_id().map_or(0, |id| self.client.in_work(id))
    }

    /// Another value than before: look at [`Self::work`] again.
    #[must_use]
    pub fn changes(&self) -> u32 {
        // Serials never repeat, and 2^32 later ones nobody has missed.
        self.in_work() as u32
    }

    /// What to search now. None while there is no job, and then there is nothing that could count.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        self.client.work(self.channel_id()?)
    }

    /// The open channel, if there is one.
    #[must_use]
    pub const fn channel_id(&self) -> Option<u32> {
        match self.stage {
            Stage::Open(Channel::Open(id, _)) => Some(id),
            _ => None,
        }
    }

    /// The mining client, to look at.
    #[must_use]
    pub const fn client(&self) -> &MiningClient<Inline, 1, 0, 0, Pr> {
        &self.client
    }

    /// What became of the shares of all connections so far.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        self.client.statistics()
    }

    /// Sends a share and gives its sequence number; see [`MiningClient::submit`].
    pub fn submit(&mut self, now: Instant, solution: &Solution, out: &mut Out<'_, Pr>) -> Result<u32, NotSent> {
        self.client.submit(now, solution, out)
    }

    /// Another hash rate, in hashes a second: the server is told, at most once a second (D-UPD-2), and channels opened later begin
    /// with it. What is no rate (not a number, infinite, negative) counts as 0.
    pub fn set_nominal_hash_rate(&mut self, now: Instant, hash_rate: f32) {
        let hash_rate = config::hash_rate(hash_rate);
        self.config.nominal_hash_rate = hash_rate;
        if let Some(id) = self.channel_id() {
            // The channel is open and the rate is one.
            let _ = self.client.update(now, id, hash_rate, self.config.max_target);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.stage {
            Stage::Open(Channel::Asked(at) | Channel::Resting(at)) => Some(at),
            Stage::Open(Channel::Wanted | Channel::Open(..))
            | Stage::Down
            | Stage::Secured
            | Stage::Asked
            | Stage::Over => None,
        };
        earliest(own, self.client.poll_timeout())
    }

    /// Tells the time. Afterwards there may be something to send.
    pub fn handle_timeout(&mut self, now: Instant) -> Outcome<'static> {
        self.client.handle_timeout(now);
        match self.stage {
            Stage::Open(Channel::Asked(at)) if at <= now => self.give_up(Fatal::NoAnswer),
            Stage::Open(Channel::Resting(at)) if at <= now => {
                self.stage = Stage::Open(Channel::Wanted);
                Outcome::Done
            }
            _ => Outcome::Done,
        }
    }

    /// Whether [`Self::poll_outbound`] has something to send.
    #[must_use]
    pub fn wants_outbound(&self) -> bool {
        matches!(self.stage, Stage::Secured | Stage::Open(Channel::Wanted)) || self.client.wants_outbound()
    }

    /// Sends what is due. After [`Error::Full`] call again when the buffer was drained.
    pub fn poll_outbound(&mut self, now: Instant, out: &mut Out<'_, Pr>) -> Result<(), Error> {
        match self.stage {
            Stage::Secured => {
                self.set_up(out)?;
                self.stage = Stage::Asked;
            }
            Stage::Open(Channel::Wanted) => {
                self.open(out)?;
                self.stage = Stage::Open(Channel::Asked(now.saturating_add(self.config.answer_limit)));
            }
            Stage::Down | Stage::Asked | Stage::Open(_) | Stage::Over => {}
        }
        self.client.poll_outbound(now, out)
    }

    /// D-CONN-1, D-CONN-3, D-CONN-5, D-CONN-6
    fn set_up(&self, out: &mut Out<'_, Pr>) -> Result<(), Error> {
        out.send(&SetupConnection {
            protocol: Pr::NUMBER,
            min_version: VERSION,
            max_version: VERSION,
            flags: self.flags().bits(),
            endpoint_host: Str0255::new(self.endpoint.host()),
            endpoint_port: self.endpoint.port(),
            vendor: Str0255::new(self.config.vendor.as_ref()),
            hardware_version: Str0255::new(self.config.hardware_version.as_ref()),
            firmware: Str0255::new(self.config.firmware.as_ref()),
            device_id: Str0255::new(self.config.device_id.as_ref()),
        })
    }

    /// D-OPEN-1
    fn open(&mut self, out: &mut Out<'_, Pr>) -> Result<(), Error> {
        let open = Open {
            user_identity: self.config.user_identity.as_ref(),
            nominal_hash_rate: self.config.nominal_hash_rate,
            max_target: self.config.max_target,
        };
        match self.client.open_standard(&open, out) {
            Err(RequestError::Send(error)) => Err(error),
            // Else it was sent: the one channel's place is free, the rate is one, and standard channels were checked at the setup. An
            // answer that never comes would be noticed.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
