//! Messages of the server, one method each.

use super::MiningClient;
use super::channel::{Body, Channel, NewJob, Taken};
use super::event::{ClientEvent, Ignored, ServerViolation};
use crate::message::ChannelKind;
use crate::message::mining::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
    OpenStandardMiningChannelSuccess, SetExtranoncePrefix, SetGroupChannel, SetNewPrevHash, SetTarget, SetupFlags,
    ToClient, ToStandardClient, UpdateChannelError,
};
use crate::mining::extranonce::MAX_EXTRANONCE_LEN;
use crate::mining::merkle;
use crate::mining::target::Target;
use crate::protocol::{Mining, MiningProtocol, StandardMining};
use crate::storage::{List, Storage};
use crate::time::Instant;
use crate::wire::{Revision, U256};

type Outcome<'m> = Result<ClientEvent<'m>, ServerViolation>;

/// The part of the mining protocol that a client limits itself to, and where its messages go. For use, not for implementing.
pub trait ClientProtocol: MiningProtocol {
    /// See [`MiningClient::handle`].
    #[doc(hidden)]
    fn receive<'m, S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>(
        client: &mut MiningClient<S, CHANNELS, COINBASE, PATH, Self>,
        now: Instant,
        message: &Self::ToClient<'m>,
    ) -> Result<ClientEvent<'m>, ServerViolation>;
}

impl ClientProtocol for Mining {
    fn receive<'m, S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>(
        client: &mut MiningClient<S, CHANNELS, COINBASE, PATH>,
        now: Instant,
        message: &Self::ToClient<'m>,
    ) -> Outcome<'m> {
        match message {
            ToClient::SubmitSharesSuccess(message) => Ok(client.accepted(message)),
            ToClient::SubmitSharesError(message) => Ok(client.rejected(message)),
            ToClient::NewMiningJob(message) => client.standard_job(now, message),
            ToClient::NewExtendedMiningJob(message) => client.extended_job(now, message),
            ToClient::SetNewPrevHash(message) => Ok(client.prev_hash(now, message)),
            ToClient::SetTarget(message) => Ok(client.target(message)),
            ToClient::OpenStandardMiningChannelSuccess(message) => client.opened_standard(message),
            ToClient::OpenExtendedMiningChannelSuccess(message) => client.opened_extended(message),
            ToClient::OpenMiningChannelError(message) => Ok(client.open_refused(message)),
            ToClient::UpdateChannelError(message) => Ok(update_refused(message)),
            ToClient::CloseChannel(message) => Ok(client.closed(message)),
            ToClient::SetExtranoncePrefix(message) => client.prefix(message),
            ToClient::SetCustomMiningJobSuccess(message) => Ok(ClientEvent::Custom(*message)),
            ToClient::SetCustomMiningJobError(message) => Ok(ClientEvent::CustomRefused(*message)),
            ToClient::SetGroupChannel(message) => client.group(message),
        }
    }
}

impl ClientProtocol for StandardMining {
    fn receive<'m, S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>(
        client: &mut MiningClient<S, CHANNELS, COINBASE, PATH, Self>,
        now: Instant,
        message: &Self::ToClient<'m>,
    ) -> Outcome<'m> {
        match message {
            ToStandardClient::SubmitSharesSuccess(message) => Ok(client.accepted(message)),
            ToStandardClient::SubmitSharesError(message) => Ok(client.rejected(message)),
            ToStandardClient::NewMiningJob(message) => client.standard_job(now, message),
            ToStandardClient::SetNewPrevHash(message) => Ok(client.prev_hash(now, message)),
            ToStandardClient::SetTarget(message) => Ok(client.target(message)),
            ToStandardClient::OpenStandardMiningChannelSuccess(message) => client.opened_standard(message),
            ToStandardClient::OpenMiningChannelError(message) => Ok(client.open_refused(message)),
            ToStandardClient::UpdateChannelError(message) => Ok(update_refused(message)),
            ToStandardClient::CloseChannel(message) => Ok(client.closed(message)),
            ToStandardClient::SetExtranoncePrefix(message) => client.prefix(message),
            // D-MIN-10: an extended job for a standard channel. For any other id it means nothing, for there is no group.
            ToStandardClient::NewExtendedMiningJob(message) => {
                let to = message.channel_id();
                let ours = client.find(to).is_some();
                if ours { Err(ServerViolation::JobKind) } else { Ok(ClientEvent::Ignored(Ignored::UnknownChannel(to))) }
            }
            // Never asked for.
            ToStandardClient::OpenExtendedMiningChannelSuccess(_) => Err(ServerViolation::Request),
            ToStandardClient::SetCustomMiningJobSuccess(_) | ToStandardClient::SetCustomMiningJobError(_) => {
                Ok(ClientEvent::Ignored(Ignored::CustomJob))
            }
            // D-FLAG-1
            ToStandardClient::SetGroupChannel(_) => Ok(ClientEvent::Ignored(Ignored::Group)),
        }
    }
}

impl<S: Storage, Pr: ClientProtocol, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>
    MiningClient<S, CHANNELS, COINBASE, PATH, Pr>
{
    /// Takes a message of the server. After a violation the state is what it was before the message.
    pub fn handle<'m>(&mut self, now: Instant, message: &Pr::ToClient<'m>) -> Outcome<'m> {
        Pr::receive(self, now, message)
    }

    fn is_group(&self, id: u32) -> bool {
        !Pr::STANDARD_JOBS && self.channels.iter().any(|channel| channel.group == Some(id))
    }

    /// Does something with the channel of this id, or with the members of the group of it; false when there is none. Ids of both share one space
    /// (D-CHAN-1).
    fn each_addressed(&mut self, id: u32, mut action: impl FnMut(&mut Channel<S, COINBASE, PATH>)) -> bool {
        if let Some(channel) = self.find_mut(id) {
            action(channel);
            return true;
        }
        let mut known = false;
        if !Pr::STANDARD_JOBS {
            for channel in self.channels.iter_mut().filter(|channel| channel.group == Some(id)) {
                action(channel);
                known = true;
            }
        }
        known
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn next_serial(&mut self) -> u64 {
        // Not reached by counting messages.
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// The request of this number, which has its answer.
    #[cfg_attr(target_os = "none", inline(never))]
    fn answered(&self, id: u32) -> Option<usize> {
        if Self::ONE {
            return self.requests.first().filter(|request| request.id == id).map(|_| 0);
        }
        self.requests.iter().position(|request| request.id == id)
    }

    /// The request for a channel of this kind.
    fn asked_for(&self, id: u32, kind: ChannelKind) -> Result<usize, ServerViolation> {
        let kind = |at: &usize| self.requests.get(*at).is_some_and(|request| request.kind == kind);
        self.answered(id).filter(kind).ok_or(ServerViolation::Request)
    }

    fn opened_standard<'m>(&mut self, message: &OpenStandardMiningChannelSuccess<'_>) -> Outcome<'m> {
        let at = self.asked_for(message.request_id, ChannelKind::Standard)?;
        self.opened(&Opened {
            request: at,
            id: message.channel_id,
            kind: ChannelKind::Standard,
            target: &message.target,
            prefix: message.extranonce_prefix.as_bytes(),
            extranonce_size: 0,
            group: Some(message.group_channel_id),
        })
    }

    fn opened<'m>(&mut self, opened: &Opened<'_>) -> Outcome<'m> {
        let id = opened.id;
        let group = opened.group.filter(|_| self.groups());
        if opened.prefix.len() > MAX_EXTRANONCE_LEN {
            return Err(ServerViolation::ExtranonceSize);
        }
        // D-CHAN-1, D-GRP-1: both kinds of ids are unique and differ from each other.
        let group_is_channel = group.is_some_and(|group| group == id || self.find(group).is_some());
        if self.find(id).is_some() || self.is_group(id) || group_is_channel {
            return Err(ServerViolation::ChannelId);
        }
        let Some(request) = self.requests.get(opened.request) else { return Err(ServerViolation::Request) };
        let request_id = request.id;
        let at = if Self::ONE { 0 } else { self.channels.partition_point(|other| other.id < id) };
        // Room was kept when the channel was asked for; only the allocator can refuse. It is filled in its place, for it is large.
        if self.channels.push(Channel::default()).is_err() {
            self.forget_request(opened.request);
            return Ok(ClientEvent::Ignored(Ignored::NoMemory(id)));
        }
        if let Some(channel) = self.channels.last_mut() {
            channel.id = id;
            channel.kind = opened.kind;
            channel.group = group;
            channel.target = Target::from(*opened.target);
            channel.prefix.set(opened.prefix);
            channel.extranonce_size = opened.extranonce_size;
            channel.nominal_hash_rate = request.nominal_hash_rate;
            channel.max_target = request.max_target;
        }
        self.forget_request(opened.request);
        // At least the new one is there. Said again, it keeps the panic of `rotate_right` out of firmware.
        if let Some(behind) = self.channels.get_mut(at..).filter(|behind| !Self::ONE && !behind.is_empty()) {
            behind.rotate_right(1);
        }
        Ok(ClientEvent::Opened { request_id, channel_id: id })
    }

    /// The request at this place has its answer.
    fn forget_request(&mut self, at: usize) {
        if Self::ONE {
            self.requests.clear();
        } else {
            self.requests.remove(at);
        }
    }

    /// D-OPEN-6: by the request's number, whichever of the two message numbers it came with (draft open question 9).
    fn open_refused<'m>(&mut self, message: &OpenMiningChannelError<'m>) -> ClientEvent<'m> {
        match self.answered(message.request_id) {
            Some(at) => {
                self.forget_request(at);
                ClientEvent::OpenRefused { request_id: message.request_id, error_code: message.error_code }
            }
            None => ClientEvent::Ignored(Ignored::UnknownRequest(message.request_id)),
        }
    }

    fn standard_job<'m>(&mut self, now: Instant, message: &NewMiningJob) -> Outcome<'m> {
        let to = message.channel_id;
        let serial = self.next_serial();
        let Some(channel) = self.find_mut(to) else {
            // D-MIN-10
            let unknown = ClientEvent::Ignored(Ignored::UnknownChannel(to));
            return if self.is_group(to) { Err(ServerViolation::JobKind) } else { Ok(unknown) };
        };
        if channel.is_extended() {
            return Err(ServerViolation::JobKind);
        }
        let job = NewJob {
            id: message.job_id,
            start: message.start,
            version: message.version,
            rolling: true,
            body: Body::Root(&message.merkle_root.0),
        };
        Ok(added_job(channel.take(now, serial, &job), to, job.id))
    }

    /// D-MIN-5 to D-MIN-7.
    fn prev_hash<'m>(&mut self, now: Instant, message: &SetNewPrevHash) -> ClientEvent<'m> {
        let to = message.channel_id;
        let serial = self.next_serial();
        if self.each_addressed(to, |channel| channel.set_prev_hash(now, serial, message)) {
            ClientEvent::Work { to }
        } else {
            ClientEvent::Ignored(Ignored::UnknownChannel(to))
        }
    }

    /// D-TGT-1, D-TGT-2: for jobs that begin later.
    fn target<'m>(&mut self, message: &SetTarget) -> ClientEvent<'m> {
        let to = message.channel_id;
        let target = Target::from(message.maximum_target);
        if self.each_addressed(to, |channel| channel.target = target) {
            ClientEvent::Target { to }
        } else {
            ClientEvent::Ignored(Ignored::UnknownChannel(to))
        }
    }

    /// D-EXN-1, D-EXN-2: for jobs that come later.
    fn prefix<'m>(&mut self, message: &SetExtranoncePrefix<'_>) -> Outcome<'m> {
        let channel_id = message.channel_id;
        let Some(channel) = self.find_mut(channel_id) else {
            let unknown = ClientEvent::Ignored(Ignored::UnknownChannel(channel_id));
            return if self.is_group(channel_id) { Err(ServerViolation::GroupPrefix) } else { Ok(unknown) };
        };
        if channel.prefix.set(message.extranonce_prefix.as_bytes()) {
            Ok(ClientEvent::Prefix { channel_id })
        } else {
            Err(ServerViolation::ExtranonceSize)
        }
    }

    /// D-CLOSE-1. A group closes with all its members, which only the current revision knows (C-CLOSE-6).
    fn closed<'m>(&mut self, message: &CloseChannel<'m>) -> ClientEvent<'m> {
        let (id, reason_code) = (message.channel_id, message.reason_code);
        if self.find(id).is_some() {
            self.forget(id);
        } else if self.terms.revision == Revision::Current && self.is_group(id) {
            while let Some(member) = self.channels.iter().find(|channel| channel.group == Some(id)).map(|it| it.id) {
                self.forget(member);
            }
        } else {
            return ClientEvent::Ignored(Ignored::UnknownChannel(id));
        }
        ClientEvent::Closed { id, reason_code }
    }
}

/// What clients of standard jobs have no part in.
impl<S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>
    MiningClient<S, CHANNELS, COINBASE, PATH>
{
    fn opened_extended<'m>(&mut self, message: &OpenExtendedMiningChannelSuccess<'_>) -> Outcome<'m> {
        if !Channel::<S, COINBASE, PATH>::EXTENDED {
            // Never asked for.
            return Err(ServerViolation::Request);
        }
        let at = self.asked_for(message.request_id, ChannelKind::Extended)?;
        // D-OPEN-7, and what the field of a share can carry (D-SHARE-3).
        let least = self.requests.get(at).map_or(0, |request| request.min_extranonce_size);
        let granted = Some(message.extranonce_size).filter(|size| *size >= least);
        let granted = granted.and_then(|size| u8::try_from(size).ok());
        let granted = granted.filter(|size| usize::from(*size) <= MAX_EXTRANONCE_LEN);
        self.opened(&Opened {
            request: at,
            id: message.channel_id,
            kind: ChannelKind::Extended,
            target: &message.target,
            prefix: message.extranonce_prefix.as_bytes(),
            extranonce_size: granted.ok_or(ServerViolation::ExtranonceSize)?,
            group: message.group_channel_id.get(),
        })
    }

    fn extended_job<'m>(&mut self, now: Instant, message: &NewExtendedMiningJob<'_>) -> Outcome<'m> {
        let to = message.channel_id;
        // D-MIN-10
        if self.find(to).is_some_and(|channel| !channel.is_extended()) {
            return Err(ServerViolation::JobKind);
        }
        // D-FLAG-3
        let must_roll = self.terms.required.contains(SetupFlags::REQUIRES_VERSION_ROLLING);
        if must_roll && !message.version_rolling_allowed {
            return Err(ServerViolation::FixedVersion);
        }
        let serial = self.next_serial();
        let (prefix, suffix) = (message.coinbase_tx_prefix.as_bytes(), message.coinbase_tx_suffix.as_bytes());
        let mut taken = Taken::default();
        let known = self.each_addressed(to, |channel| {
            let root;
            let body = if channel.is_extended() {
                Body::Coinbase { path: message.merkle_path, prefix, suffix }
            } else {
                // D-ALG-1, D-ALG-3: a group's job as this channel's, whose prefix is the whole extranonce. Nothing of the coinbase is kept.
                let txid = merkle::coinbase_txid(prefix, channel.prefix.as_slice(), &[], suffix);
                root = merkle::merkle_root(txid, message.merkle_path.iter().map(|hash| hash.0));
                Body::Root(&root)
            };
            let job = NewJob {
                id: message.job_id,
                start: message.start,
                version: message.version,
                rolling: message.version_rolling_allowed,
                body,
            };
            let one = channel.take(now, serial, &job);
            taken.added |= one.added;
            taken.changed |= one.changed;
        });
        if !known {
            return Ok(ClientEvent::Ignored(Ignored::UnknownChannel(to)));
        }
        Ok(added_job(taken, to, message.job_id))
    }

    /// D-GRP-1 to D-GRP-3. In the draft standard channels only (D-CHAN-4); ids of channels that are closed by now mean nothing.
    fn group<'m>(&mut self, message: &SetGroupChannel<'_>) -> Outcome<'m> {
        let group = message.group_channel_id;
        if !self.groups() {
            return Ok(ClientEvent::Ignored(Ignored::Group));
        }
        if self.find(group).is_some() {
            return Err(ServerViolation::ChannelId);
        }
        let draft = self.terms.revision == Revision::Draft;
        for id in message.channel_ids {
            if let Some(channel) = self.find_mut(id)
                && (!channel.is_extended() || !draft)
            {
                channel.group = Some(group);
            }
        }
        Ok(ClientEvent::Grouped { group })
    }
}

/// A channel that the server has opened.
struct Opened<'a> {
    /// The place of the request.
    request: usize,
    id: u32,
    kind: ChannelKind,
    target: &'a U256,
    prefix: &'a [u8],
    extranonce_size: u8,
    group: Option<u32>,
}

fn update_refused<'m>(message: &UpdateChannelError<'m>) -> ClientEvent<'m> {
    ClientEvent::UpdateRefused { channel_id: message.channel_id, error_code: message.error_code }
}

/// A job that waits can end the one in work, when it comes under the same id.
fn added_job<'m>(taken: Taken, to: u32, job_id: u32) -> ClientEvent<'m> {
    match (taken.changed, taken.added) {
        (true, _) => ClientEvent::Work { to },
        (false, true) => ClientEvent::Queued { to },
        (false, false) => ClientEvent::Unusable { to, job_id },
    }
}
