//! The server's side of one downstream connection: its channels, and what each of them was told.
//!
//! What all connections of a pool have in common ([`Shared`]: settings, jobs, extranonce space) is stored once and passed in with each
//! call. Nothing here waits in a queue: a channel knows what its client has yet to be told, and [`MiningServer::poll_outbound`] sends
//! what fits. Bytes, ciphers and other connections are not known here.
//!
//! Order of calls: [`MiningServer::receive`] for every message; what it returns may want an answer
//! ([`accept`](MiningServer::accept), [`accept_custom`](MiningServer::accept_custom), [`conclude`](MiningServer::conclude)), or [`MiningServer::check`] for a share; then
//! [`MiningServer::poll_outbound`] whenever [`MiningServer::wants_outbound`]; [`MiningServer::stored`] when shares are on disk;
//! [`MiningServer::handle_timeout`] at [`MiningServer::poll_timeout`]; [`MiningServer::shut_down`] when the connection is gone.

mod ack;
mod batch;
mod channel;
mod check;
mod custom;
mod jobs;
#[cfg(test)]
mod model;
mod open;
mod shared;
mod shares;
mod slots;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod ways;

use core::fmt;

use crate::config::{CUSTOM_JOBS_HEAP, CUSTOM_JOBS_INLINE, GROUPS_HEAP, GROUPS_INLINE};
use crate::connection::Outbound;
use crate::error::Error;
use crate::message::mining::{SetupFlags, ToServer};
use crate::protocol::{Mining, Responder};
use crate::storage::{List, Storage};
use crate::time::{Instant, earliest};
use crate::wire::Revision;

pub use batch::ShareBatch;
pub use channel::{ChannelView, Statistics};
pub use custom::{CustomCoinbase, CustomRequest};
pub use open::{Open, OpenRequest, Opened, Refusal};
pub use shared::{ServerConfig, Shared};
pub use shares::{ANSWER_LEN, Accepted, Hashed, Prepared, Proof, Reason, Rejection, SolutionSource, Submitted};

use channel::Channel;
use custom::CustomJob;
use slots::Slots;

/// The way to send, for a mining server.
pub type Out<'o> = Outbound<'o, Responder, Mining>;

/// What a message of the client asks of the owner.
#[derive(Debug)]
#[must_use]
pub enum Received<'m> {
    /// Nothing: the message was dealt with, and answered where it had to be.
    Done,
    /// A channel is asked for: decide with [`MiningServer::accept`] or [`MiningServer::refuse`].
    Open(OpenRequest<'m>),
    /// A custom job is asked for: check its token, then [`MiningServer::accept_custom`] or [`MiningServer::refuse_custom`].
    Custom(CustomRequest<'m>),
    /// A share whose header is to be hashed, alone or with others, for [`MiningServer::conclude`].
    Share(Prepared),
    /// A share that is bad without hashing; it was answered already.
    Rejected(Rejection),
    /// The client closed this channel, or all channels of this group (current revision).
    Closed(u32),
}

/// One downstream connection.
pub struct MiningServer<S: Storage> {
    revision: Revision,
    flags: SetupFlags,
    slots: Slots<S>,
    /// The groups that channels are in.
    groups: S::List<Group, GROUPS_INLINE, GROUPS_HEAP>,
    groups_made: u16,
    custom: S::List<CustomJob<S>, CUSTOM_JOBS_INLINE, CUSTOM_JOBS_HEAP>,
    /// The last job id given out on this connection.
    last_job: u32,
    /// All tickets up to this one are stored.
    stored: u64,
    /// The change of the job book that all channels were told of, or are marked to be told.
    seen: u64,
    /// Some channel has something to send that was not tried yet.
    urgent: bool,
    /// When silence is looked for next; none without channels.
    check_at: Option<Instant>,
}

/// A group of channels, which is there as long as it has members.
#[derive(Clone, Copy)]
struct Group {
    id: u32,
    /// Counted, for who closes thousands of channels must not have all others looked at for each.
    members: u16,
}

impl<S: Storage> fmt::Debug for MiningServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiningServer")
            .field("flags", &self.flags)
            .field("channels", &self.slots.len())
            .field("last_job", &self.last_job)
            .finish_non_exhaustive()
    }
}

impl<S: Storage> MiningServer<S> {
    /// A connection whose setup succeeded with these flags of the client. It has no channels.
    #[must_use]
    pub fn new(revision: Revision, flags: SetupFlags) -> Self {
        Self {
            revision,
            flags,
            slots: Slots::default(),
            groups: Default::default(),
            groups_made: 0,
            custom: Default::default(),
            last_job: 0,
            stored: 0,
            seen: 0,
            urgent: false,
            check_at: None,
        }
    }

    /// The client's setup flags.
    #[must_use]
    pub const fn flags(&self) -> SetupFlags {
        self.flags
    }

    /// Number of open channels. A connection that stays without any for long is not worth its place (D-OPEN-2).
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// True when no channel is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    /// A channel by its id.
    #[must_use]
    pub fn channel(&self, channel_id: u32) -> Option<ChannelView<'_, S>> {
        self.slots.get(channel_id).map(ChannelView::new)
    }

    /// All open channels, in no particular order.
    pub fn channels(&self) -> impl Iterator<Item = ChannelView<'_, S>> {
        self.slots.iter().map(ChannelView::new)
    }

    /// Takes a message of the client. What is wrong with it is answered here, hence `out`: an answer always fits
    /// when the session handed the message over ([`ANSWER_ROOM`](crate::config::ANSWER_ROOM)); if it does not, nothing happened.
    pub fn receive<'m>(
        &mut self,
        now: Instant,
        shared: &mut Shared<S>,
        message: &ToServer<'m>,
        out: &mut Out<'_>,
    ) -> Result<Received<'m>, Error> {
        match message {
            ToServer::SubmitSharesStandard(share) => {
                let prepared = self.prepare(now, shared, &share.into());
                Self::answer_share(prepared, out)
            }
            ToServer::SubmitSharesExtended(share) => {
                let prepared = self.prepare(now, shared, &share.into());
                Self::answer_share(prepared, out)
            }
            ToServer::UpdateChannel(update) => self.update(now, shared, update, out),
            ToServer::OpenStandardMiningChannel(request) => {
                self.check_open(shared, OpenRequest::standard(request), out)
            }
            ToServer::OpenExtendedMiningChannel(request) => {
                self.check_open(shared, OpenRequest::extended(request), out)
            }
            ToServer::CloseChannel(close) => Ok(self.closed_by_client(shared, close.channel_id)),
            ToServer::SetCustomMiningJob(request) => self.check_custom(shared, request, out),
        }
    }

    /// Whether [`Self::poll_outbound`] might have something to send.
    #[must_use]
    pub fn wants_outbound(&self, shared: &Shared<S>) -> bool {
        self.urgent || (self.seen != shared.book().changes() && !self.is_empty())
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.check_at
    }

    /// Looks for channels that went silent or came to life. All channels of the connection share one rhythm, so that a proxy with
    /// thousands of them costs one walk in each interval.
    pub fn handle_timeout(&mut self, now: Instant, shared: &Shared<S>) {
        if self.check_at.is_none_or(|at| now < at) {
            return;
        }
        self.check_at = Some(now.saturating_add(shared.config().vardiff.check_every));
        for index in self.slots.indexes() {
            if self.slots.at_mut(index).is_some_and(|channel| channel.retarget(now, shared)) {
                self.mark(index);
            }
        }
    }

    /// Notes that a channel has something to tell its client.
    fn mark(&mut self, index: u16) {
        self.slots.enqueue(index);
        self.urgent = true;
    }

    fn next_job_id(&mut self) -> u32 {
        // Four billion jobs on one connection; should it come to that, the live ones are not 1 any more.
        self.last_job = self.last_job.checked_add(1).unwrap_or(1);
        self.last_job
    }

    /// Ends a channel from this side: tells the client, then forgets it (D-CLOSE-1). Nothing happens for an unknown id.
    pub fn close(
        &mut self,
        shared: &mut Shared<S>,
        channel_id: u32,
        reason_code: &str,
        out: &mut Out<'_>,
    ) -> Result<(), Error> {
        if self.slots.get(channel_id).is_some() {
            let message = crate::message::mining::CloseChannel { channel_id, reason_code: reason_code.into() };
            out.send(&message)?;
            self.forget(shared, channel_id);
        }
        Ok(())
    }

    /// The connection is gone: gives the extranonce numbers of all channels back. Dropping the value without this call would
    /// keep them from being used again.
    pub fn shut_down(&mut self, shared: &mut Shared<S>) {
        for index in self.slots.indexes() {
            if let Some(id) = self.slots.id_at(index) {
                self.forget(shared, id);
            }
        }
    }

    fn closed_by_client(&mut self, shared: &mut Shared<S>, id: u32) -> Received<'static> {
        if self.slots.get(id).is_some() {
            self.forget(shared, id);
            return Received::Closed(id);
        }
        // C-CLOSE-6: a group closes with all its members. The draft knows no such thing.
        if self.revision == Revision::Current && self.groups.iter().any(|group| group.id == id) {
            for index in self.slots.indexes() {
                if self.slots.at(index).is_some_and(|channel| channel.group == id)
                    && let Some(member) = self.slots.id_at(index)
                {
                    self.forget(shared, member);
                }
            }
            return Received::Closed(id);
        }
        // Both sides may close at once: nothing to answer, nothing wrong.
        Received::Done
    }

    fn forget(&mut self, shared: &mut Shared<S>, channel_id: u32) {
        self.custom.iter_mut().filter(|job| job.channel_id == channel_id).for_each(CustomJob::free);
        let Some(channel) = self.slots.remove(channel_id) else { return };
        let group = channel.group;
        channel.release(shared);
        self.leave_group(group);
        if self.is_empty() {
            self.check_at = None;
        }
    }

    /// A channel is in this group from now on; 0 is none. There has to be room for a group that is not there yet.
    fn join_group(&mut self, id: u32) {
        match self.groups.iter_mut().find(|group| group.id == id) {
            Some(group) => group.members = group.members.saturating_add(1),
            None if id != 0 => {
                let _ = self.groups.push(Group { id, members: 1 });
            }
            None => {}
        }
    }

    /// A channel is not in this group any more, which goes with its last member.
    fn leave_group(&mut self, id: u32) {
        if let Some(group) = self.groups.iter_mut().find(|group| group.id == id) {
            group.members = group.members.saturating_sub(1);
            if group.members == 0 {
                self.groups.retain(|group| group.id != id);
            }
        }
    }

    fn schedule_check(&mut self, now: Instant, shared: &Shared<S>) {
        let next = now.saturating_add(shared.config().vardiff.check_every);
        self.check_at = earliest(self.check_at, Some(next));
    }
}

#[cfg(feature = "alloc")]
impl MiningServer<crate::storage::Heap> {
    /// Bytes of state, heap included: what the connection costs while no bytes are in flight.
    #[must_use]
    pub fn memory(&self) -> usize {
        let custom = self.custom.iter().map(CustomJob::heap_bytes).sum::<usize>();
        size_of::<Self>() + self.slots.heap_bytes() + self.groups.heap_bytes() + self.custom.heap_bytes() + custom
    }
}

#[cfg(test)]
mod tests;
