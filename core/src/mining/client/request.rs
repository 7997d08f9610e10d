//! What a client asks for: channels, updates of them, their end.

use core::fmt;
use core::time::Duration;

use super::channel::Update;
use super::{ClientProtocol, MiningClient, Out};
use crate::error::Error;
use crate::message::ChannelKind;
use crate::message::mining::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, SetupFlags, SuccessFlags, UpdateChannel,
};
use crate::mining::job::Parts;
use crate::mining::target::Target;
use crate::storage::{List, Storage};
use crate::time::Instant;
use crate::wire::{Str0255, is_hash_rate};

/// D-UPD-2: updates of a channel are this far apart at least.
const UPDATE_EVERY: Duration = Duration::from_secs(1);

/// What is asked for when a channel is to be opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open<'a> {
    /// Account and worker; at most 255 bytes.
    pub user_identity: &'a str,
    /// Hashes a second that are expected; 0 while there is no miner (D-OPEN-4).
    pub nominal_hash_rate: f32,
    /// The easiest target that is accepted (D-OPEN-5).
    pub max_target: Target,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) id: u32,
    pub(super) kind: ChannelKind,
    pub(super) min_extranonce_size: u16,
    pub(super) nominal_hash_rate: f32,
    pub(super) max_target: Target,
}

/// Why nothing was asked for. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// As many channels are open or asked for as there is room for.
    NoRoom,
    /// Not a hash rate: not a number, infinite or negative.
    HashRate,
    /// The server takes extended channels only (D-FLAG-6).
    StandardRefused,
    /// This connection was set up for standard jobs only (D-FLAG-1), or jobs of extended channels have no room in this client.
    NoExtendedJobs,
    /// Jobs of its own making are for extended channels, on connections that were set up for them (D-CUST-1, D-FLAG-2).
    NoCustomJobs,
    /// The coinbase's script begins with more than 8 bytes of the client's (C-CUST-4).
    CoinbasePrefix,
    /// No such channel.
    UnknownChannel,
    /// The connection does not take it: [`Error::Full`] until the output buffer was drained.
    Send(Error),
}

impl From<Error> for RequestError {
    fn from(error: Error) -> Self {
        Self::Send(error)
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "no room for another channel",
            Self::HashRate => "not a hash rate",
            Self::StandardRefused => "the server takes extended channels only (D-FLAG-6)",
            Self::NoExtendedJobs => "extended jobs are not taken on this connection",
            Self::NoCustomJobs => "custom jobs are not taken on this channel",
            Self::CoinbasePrefix => "the prefix of a custom job's coinbase has more than 8 bytes",
            Self::UnknownChannel => "no such channel",
            Self::Send(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for RequestError {}

impl<S: Storage, Pr: ClientProtocol, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>
    MiningClient<S, CHANNELS, COINBASE, PATH, Pr>
{
    /// Asks for a standard channel and gives the request's number (D-OPEN-3). The answer is
    /// [`Opened`](super::ClientEvent::Opened) or [`OpenRefused`](super::ClientEvent::OpenRefused).
    pub fn open_standard(&mut self, open: &Open<'_>, out: &mut Out<'_, Pr>) -> Result<u32, RequestError> {
        if self.terms.imposed.contains(SuccessFlags::REQUIRES_EXTENDED_CHANNELS) {
            return Err(RequestError::StandardRefused);
        }
        let request = self.request(ChannelKind::Standard, open, 0)?;
        out.send(&OpenStandardMiningChannel {
            request_id: request.id,
            user_identity: Str0255::new(open.user_identity),
            nominal_hash_rate: open.nominal_hash_rate,
            max_target: open.max_target.into(),
        })?;
        self.asked(request)
    }

    fn request(&self, kind: ChannelKind, open: &Open<'_>, min_extranonce_size: u16) -> Result<Request, RequestError> {
        if self.channels.len().saturating_add(self.requests.len()) >= self.channels.bound() {
            return Err(RequestError::NoRoom);
        }
        if !is_hash_rate(open.nominal_hash_rate) {
            return Err(RequestError::HashRate);
        }
        // D-OPEN-3: four billion requests on one connection apart, each number is new.
        let mut id = self.last_request;
        loop {
            id = id.wrapping_add(1);
            // Where there is one channel at most, no other request waits.
            if Self::ONE || !self.requests.iter().any(|request| request.id == id) {
                break;
            }
        }
        let (nominal_hash_rate, max_target) = (open.nominal_hash_rate, open.max_target);
        Ok(Request { id, kind, min_extranonce_size, nominal_hash_rate, max_target })
    }

    fn asked(&mut self, request: Request) -> Result<u32, RequestError> {
        self.last_request = request.id;
        self.requests.push(request).map_err(|_| RequestError::NoRoom)?;
        Ok(request.id)
    }

    /// Tells the server of another hash rate or of other wishes, at most once a second (D-UPD-2): at the next
    /// [`Self::poll_outbound`], or when [`Self::poll_timeout`] says. Of several updates within a second the last one is told.
    pub fn update(
        &mut self,
        now: Instant,
        channel_id: u32,
        nominal_hash_rate: f32,
        max_target: Target,
    ) -> Result<(), RequestError> {
        let channel = self.find_mut(channel_id).ok_or(RequestError::UnknownChannel)?;
        if !is_hash_rate(nominal_hash_rate) {
            return Err(RequestError::HashRate);
        }
        channel.nominal_hash_rate = nominal_hash_rate;
        channel.max_target = max_target;
        if channel.update.is_none() {
            channel.update = Some(if channel.update_from > now { Update::Later } else { Update::Due });
            self.updates = self.updates.saturating_add(1);
        }
        Ok(())
    }

    /// Closes a channel: nothing more of it is taken from now on.
    pub fn close(&mut self, channel_id: u32, reason_code: &str, out: &mut Out<'_, Pr>) -> Result<(), RequestError> {
        if self.find(channel_id).is_none() {
            return Err(RequestError::UnknownChannel);
        }
        out.send(&CloseChannel { channel_id, reason_code: reason_code.into() })?;
        self.forget(channel_id);
        Ok(())
    }

    /// When an update that was held back is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.updates == 0 {
            return None;
        }
        let held = self.each().filter(|channel| channel.update == Some(Update::Later));
        held.map(|channel| channel.update_from).min()
    }

    /// Lets updates go that were held back long enough: [`Self::wants_outbound`] holds afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.updates == 0 {
            return;
        }
        for channel in self.each_mut() {
            if channel.update == Some(Update::Later) && channel.update_from <= now {
                channel.update = Some(Update::Due);
            }
        }
    }

    /// Whether [`Self::poll_outbound`] has something to send.
    #[must_use]
    pub fn wants_outbound(&self) -> bool {
        self.updates != 0 && self.each().any(|channel| channel.update == Some(Update::Due))
    }

    /// Sends what is due, as far as there is room. After [`Error::Full`] call again when the buffer was drained.
    pub fn poll_outbound(&mut self, now: Instant, out: &mut Out<'_, Pr>) -> Result<(), Error> {
        if self.updates == 0 {
            return Ok(());
        }
        let channels = self.channels.iter_mut().take(Self::MOST);
        for channel in channels.filter(|channel| channel.update == Some(Update::Due)) {
            out.send(&UpdateChannel {
                channel_id: channel.id,
                nominal_hash_rate: channel.nominal_hash_rate,
                maximum_target: channel.max_target.into(),
            })?;
            channel.update = None;
            channel.update_from = now.saturating_add(UPDATE_EVERY);
            self.updates = self.updates.saturating_sub(1);
        }
        Ok(())
    }
}

impl<S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>
    MiningClient<S, CHANNELS, COINBASE, PATH>
{
    /// Asks for an extended channel with at least `min_extranonce_size` bytes to roll (D-OPEN-7), and gives the request's number.
    pub fn open_extended(
        &mut self,
        open: &Open<'_>,
        min_extranonce_size: u16,
        out: &mut Out<'_>,
    ) -> Result<u32, RequestError> {
        let standard_only = self.terms.required.contains(SetupFlags::REQUIRES_STANDARD_JOBS);
        // One byte of coinbase is little, but none means that the client was made for standard channels.
        if standard_only || !Parts::<S, COINBASE, PATH>::default().takes(1, 0) {
            return Err(RequestError::NoExtendedJobs);
        }
        let request = self.request(ChannelKind::Extended, open, min_extranonce_size)?;
        out.send(&OpenExtendedMiningChannel {
            request_id: request.id,
            user_identity: Str0255::new(open.user_identity),
            nominal_hash_rate: open.nominal_hash_rate,
            max_target: open.max_target.into(),
            min_extranonce_size,
        })?;
        self.asked(request)
    }
}
