//! Opening and updating channels.

use super::ack::Acks;
use super::channel::{Channel, Statistics, Told};
use super::{MiningServer, Out, Received, Shared, slots};
use crate::error::Error;
use crate::message::ChannelKind;
use crate::message::mining::{
    OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, SetGroupChannel, SetupFlags, UpdateChannel, UpdateChannelError,
};
use crate::mining::duplicates::Duplicates;
use crate::mining::target::{PackedTarget, Target};
use crate::mining::vardiff::Vardiff;
use crate::storage::{List, Storage};
use crate::time::Instant;
use crate::wire::{Revision, Seq064K, Str0255, is_hash_rate};

/// What is asked for when a channel is to be opened. Borrows nothing, so that it can wait for a look into a database.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open {
    /// The client's number for the request, echoed in the answer (D-OPEN-3).
    pub request_id: u32,
    /// Standard or extended.
    pub kind: ChannelKind,
    /// Hashes a second that the client expects; 0 when there is no miner yet (D-OPEN-4).
    pub nominal_hash_rate: f32,
    /// The easiest target that the client accepts (D-OPEN-5).
    pub max_target: Target,
    /// Extranonce bytes that the client needs to roll; 0 for standard channels (D-OPEN-7).
    pub min_extranonce_size: u16,
}

/// A request to open a channel, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest<'m> {
    /// What is asked for.
    pub open: Open,
    /// Account and worker.
    pub user_identity: Str0255<'m>,
}

impl<'m> OpenRequest<'m> {
    pub(super) fn standard(message: &OpenStandardMiningChannel<'m>) -> Self {
        let open = Open {
            request_id: message.request_id,
            kind: ChannelKind::Standard,
            nominal_hash_rate: message.nominal_hash_rate,
            max_target: message.max_target.into(),
            min_extranonce_size: 0,
        };
        Self { open, user_identity: message.user_identity }
    }

    pub(super) fn extended(message: &OpenExtendedMiningChannel<'m>) -> Self {
        let open = Open {
            request_id: message.request_id,
            kind: ChannelKind::Extended,
            nominal_hash_rate: message.nominal_hash_rate,
            max_target: message.max_target.into(),
            min_extranonce_size: message.min_extranonce_size,
        };
        Self { open, user_identity: message.user_identity }
    }
}

/// Why a channel is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody is known by this identity.
    UnknownUser,
    /// The identity is not well formed.
    InvalidUser,
    /// The client accepts only targets that are harder than the pool allows (D-OPEN-5).
    TargetOutOfRange,
    /// Not a number, infinite, or negative.
    InvalidHashRate,
    /// The client wants to roll more bytes than there are (D-OPEN-7).
    ExtranonceTooLarge,
    /// The server takes extended channels only (D-FLAG-6).
    StandardRefused,
    /// The client takes standard jobs only, so an extended channel is of no use to it (D-FLAG-1).
    ExtendedRefused,
    /// The connection has as many channels as it may.
    TooManyChannels,
    /// The connection asks for channels faster than it may.
    TooManyRequests,
    /// No extranonce prefix is free. Other channels go on.
    ExtranonceExhausted,
}

impl Refusal {
    /// The code for the client. Beside the listed ones some of our own, for causes that the lists do not have.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnknownUser => OpenMiningChannelError::UNKNOWN_USER,
            Self::InvalidUser => OpenMiningChannelError::INVALID_USER_IDENTITY,
            Self::TargetOutOfRange => OpenMiningChannelError::MAX_TARGET_OUT_OF_RANGE,
            Self::InvalidHashRate => OpenMiningChannelError::INVALID_NOMINAL_HASHRATE,
            Self::ExtranonceTooLarge => OpenMiningChannelError::MIN_EXTRANONCE_SIZE_TOO_LARGE,
            Self::StandardRefused => "standard-channels-not-supported",
            Self::ExtendedRefused => OpenMiningChannelError::EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS,
            Self::TooManyChannels => "too-many-channels",
            Self::TooManyRequests => "too-many-requests",
            Self::ExtranonceExhausted => "extranonce-space-exhausted",
        }
    }
}

/// What became of an accepted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Opened {
    /// The channel with this id is open.
    Channel(u32),
    /// It could not be opened after all; the client was told.
    Refused(Refusal),
}

impl<S: Storage> MiningServer<S> {
    /// What can be refused without asking anyone is refused here.
    pub(super) fn check_open<'m>(
        &mut self,
        shared: &Shared<S>,
        request: OpenRequest<'m>,
        out: &mut Out<'_>,
    ) -> Result<Received<'m>, Error> {
        match self.refusal(shared, &request.open) {
            Some(why) => {
                self.refuse(&request.open, why, out)?;
                Ok(Received::Done)
            }
            None => Ok(Received::Open(request)),
        }
    }

    fn refusal(&self, shared: &Shared<S>, open: &Open) -> Option<Refusal> {
        let config = shared.config();
        let standard = open.kind == ChannelKind::Standard;
        if standard && config.extended_channels_only {
            Some(Refusal::StandardRefused)
        } else if !standard && self.flags.contains(SetupFlags::REQUIRES_STANDARD_JOBS) {
            Some(Refusal::ExtendedRefused)
        } else if !is_hash_rate(open.nominal_hash_rate) {
            Some(Refusal::InvalidHashRate)
        } else if open.max_target < config.hardest_target || open.max_target == Target::ZERO {
            Some(Refusal::TargetOutOfRange)
        } else if !standard && usize::from(open.min_extranonce_size) > shared.space.rollable_len() {
            Some(Refusal::ExtranonceTooLarge)
        } else if self.len() >= config.max_channels || !self.slots.has_room() {
            Some(Refusal::TooManyChannels)
        } else {
            None
        }
    }

    /// Refuses a request, by the number that its kind of request has (D-OPEN-6).
    pub fn refuse(&mut self, open: &Open, why: Refusal, out: &mut Out<'_>) -> Result<(), Error> {
        out.send(&OpenMiningChannelError {
            kind: open.kind,
            request_id: open.request_id,
            error_code: why.code().into(),
        })
    }

    /// Opens the channel that was asked for. `account` is the owner's number for whoever is paid, and comes back with each share.
    ///
    /// The first target is that of the announced hash rate. The first job follows with [`Self::poll_outbound`] (D-MIN-4).
    pub fn accept(
        &mut self,
        now: Instant,
        shared: &mut Shared<S>,
        open: &Open,
        account: u64,
        out: &mut Out<'_>,
    ) -> Result<Opened, Error> {
        if let Some(why) = self.refusal(shared, open) {
            self.refuse(open, why, out)?;
            return Ok(Opened::Refused(why));
        }
        let Ok(number) = shared.space.allocate() else {
            self.refuse(open, Refusal::ExtranonceExhausted, out)?;
            return Ok(Opened::Refused(Refusal::ExtranonceExhausted));
        };
        let group = self.group_for(open.kind);
        let id = self.slots.next_id();
        let mut channel = Channel {
            id,
            kind: open.kind,
            group,
            account,
            nominal_hash_rate: open.nominal_hash_rate,
            max_target: PackedTarget::floor(open.max_target),
            target: PackedTarget::floor(open.max_target),
            told_target: PackedTarget::floor(open.max_target),
            number,
            old_number: None,
            prefix_pending: false,
            custom: false,
            may_bring: open.kind == ChannelKind::Extended
                && shared.config().custom_jobs
                && self.flags.contains(SetupFlags::REQUIRES_WORK_SELECTION),
            told: Told::default(),
            jobs: Default::default(),
            duplicates: Duplicates::default(),
            vardiff: Vardiff::new(now),
            acks: Acks::default(),
            statistics: Statistics::default(),
        };
        channel.target_from_hash_rate(shared);
        channel.told_target = channel.target;
        if let Err(error) = Self::send_opened(&channel, open.request_id, shared, out) {
            channel.release(shared);
            return Err(error);
        }
        match self.slots.insert(channel) {
            Ok(id) => {
                if group != 0 {
                    // There is room: it is the only group, or none was made.
                    self.join_group(group);
                    self.groups_made = self.groups_made.max(1);
                }
                if let Some(index) = self.slots.index_of(id) {
                    self.mark(index);
                }
                self.schedule_check(now, shared);
                Ok(Opened::Channel(id))
            }
            // Not reached: room was checked above.
            Err(channel) => {
                channel.release(shared);
                Ok(Opened::Refused(Refusal::TooManyChannels))
            }
        }
    }

    /// D-CHAN-4: every standard channel sits in a group unless the client takes standard jobs only; extended ones do in the
    /// current revision only (C-CHAN-6). New channels join the connection's first group.
    fn group_for(&self, kind: ChannelKind) -> u32 {
        let grouped = kind == ChannelKind::Standard || self.revision == Revision::Current;
        if grouped && !self.flags.contains(SetupFlags::REQUIRES_STANDARD_JOBS) {
            self.groups.first().map_or(slots::group_id(self.groups_made.max(1)), |group| group.id)
        } else {
            0
        }
    }

    fn send_opened(channel: &Channel<S>, request_id: u32, shared: &Shared<S>, out: &mut Out<'_>) -> Result<(), Error> {
        let prefix = channel.prefix(channel.duplicates.generation(), shared);
        let target = channel.told_target.target().into();
        match channel.kind {
            ChannelKind::Standard => out.send(&OpenStandardMiningChannelSuccess {
                request_id,
                channel_id: channel.id,
                target,
                extranonce_prefix: prefix.as_slice().into(),
                group_channel_id: channel.group,
            }),
            ChannelKind::Extended => out.send(&OpenExtendedMiningChannelSuccess {
                request_id,
                channel_id: channel.id,
                target,
                // At most 32.
                extranonce_size: shared.space.rollable_len() as u16,
                extranonce_prefix: prefix.as_slice().into(),
                group_channel_id: channel.group.into(),
            }),
        }
    }

    /// D-UPD-3, D-UPD-4: a good update is answered by `SetTarget` at most, a bad one by an error.
    pub(super) fn update(
        &mut self,
        now: Instant,
        shared: &Shared<S>,
        update: &UpdateChannel,
        out: &mut Out<'_>,
    ) -> Result<Received<'static>, Error> {
        let channel_id = update.channel_id;
        let max_target = Target::from(update.maximum_target);
        let index = self.slots.index_of(channel_id);
        let fault = if index.is_none() {
            Some(UpdateChannelError::INVALID_CHANNEL_ID)
        } else if !is_hash_rate(update.nominal_hash_rate) {
            Some(UpdateChannelError::INVALID_NOMINAL_HASHRATE)
        } else if max_target < shared.config().hardest_target || max_target == Target::ZERO {
            Some(UpdateChannelError::MAX_TARGET_OUT_OF_RANGE)
        } else {
            None
        };
        if let Some(code) = fault {
            out.send(&UpdateChannelError { channel_id, error_code: code.into() })?;
            return Ok(Received::Done);
        }
        if let Some(index) = index
            && let Some(channel) = self.slots.at_mut(index)
        {
            channel.max_target = PackedTarget::floor(max_target);
            // The same rate as before says nothing new: what was measured since is better.
            if update.nominal_hash_rate.to_bits() == channel.nominal_hash_rate.to_bits() {
                channel.set_target(channel.target.target(), shared);
            } else {
                channel.nominal_hash_rate = update.nominal_hash_rate;
                channel.target_from_hash_rate(shared);
                channel.vardiff = Vardiff::new(now);
            }
            if channel.has_target_news() {
                self.mark(index);
            }
        }
        Ok(Received::Done)
    }

    /// Puts channels into a new group of their own (D-GRP-1, D-GRP-3) and gives its id. None,
    /// and nothing happens, when the client takes no groups (D-GRP-2), when one of the ids is no channel that can be in a
    /// group (D-CHAN-4), or when there are too many groups.
    pub fn regroup(&mut self, channel_ids: &[u32], out: &mut Out<'_>) -> Result<Option<u32>, Error> {
        if self.flags.contains(SetupFlags::REQUIRES_STANDARD_JOBS) || self.groups.is_full() {
            return Ok(None);
        }
        let Some(made) = self.groups_made.checked_add(1) else { return Ok(None) };
        let group = slots::group_id(made);
        let draft = self.revision == Revision::Draft;
        let joins = |channel: &Channel<S>| !draft || channel.kind == ChannelKind::Standard;
        let all_join = !channel_ids.is_empty() && channel_ids.iter().all(|id| self.slots.get(*id).is_some_and(joins));
        if !all_join {
            return Ok(None);
        }
        out.send(&SetGroupChannel { group_channel_id: group, channel_ids: Seq064K::new(channel_ids) })?;
        for id in channel_ids {
            if let Some(index) = self.slots.index_of(*id)
                && let Some(channel) = self.slots.at_mut(index)
            {
                let before = core::mem::replace(&mut channel.group, group);
                // Room was checked above, so the new one is there before the last of an old one goes.
                self.join_group(group);
                self.leave_group(before);
            }
        }
        self.groups_made = made;
        Ok(Some(group))
    }
}

impl<S: Storage> Channel<S> {
    /// The target of the announced hash rate; the easiest one while there is no miner (D-OPEN-4).
    fn target_from_hash_rate(&mut self, shared: &Shared<S>) {
        let aim = shared.config().vardiff.shares_per_minute;
        let target = Target::from_hash_rate(f64::from(self.nominal_hash_rate), aim);
        self.set_target(target.unwrap_or(Target::MAX), shared);
    }
}
