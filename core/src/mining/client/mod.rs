//! The client's side of one upstream connection: its channels, what they mine, what became of their shares.
//!
//! A job is kept as far as a share of it could still count: jobs that wait for their prevhash, the one in work, and those that it
//! replaced on the same prevhash. What can be hashed comes out as [`Work`]; what was found goes in as [`Solution`]. How to hash, when to
//! open a channel and where to connect are the owner's; bytes and ciphers are not known here.
//!
//! Order of calls: [`MiningClient::reset`] when a connection has opened; [`MiningClient::open_standard`] or
//! [`open_extended`](MiningClient::open_extended); [`MiningClient::handle`] for every message; [`MiningClient::submit`] for what was
//! found; [`MiningClient::handle_timeout`] at [`MiningClient::poll_timeout`], and [`MiningClient::poll_outbound`] while
//! [`MiningClient::wants_outbound`].
//!
//! Capacities are chosen by type. The default is one standard channel, in a kilobyte. An extended channel needs room for the parts of its
//! jobs: `MiningClient<Inline, 1, 512, 16>` keeps 512 bytes of coinbase and 16 merkle levels of each in the value, `MiningClient<Heap>` keeps
//! what comes on the heap. The last parameter is what the connection is for: a client of [`StandardMining`](crate::protocol::StandardMining) takes
//! standard jobs only, and is in no group. What the types rule out is not linked.

mod channel;
mod custom;
mod event;
mod incoming;
mod request;
mod share;
mod work;

use core::fmt;
use core::marker::PhantomData;

use crate::config::CLIENT_CHANNELS_HEAP;
use crate::connection::Outbound;
use crate::message::ChannelKind;
use crate::message::mining::{SetupFlags, SuccessFlags};
use crate::mining::extranonce::ExtranoncePrefix;
use crate::mining::header::{VERSION_MASK_BIP320, VERSION_MASK_BIP323};
use crate::mining::target::Target;
use crate::protocol::{Initiator, Mining};
use crate::storage::{Inline, List, Storage};
use crate::wire::Revision;

pub use custom::NotStarted;
pub use event::{ClientEvent, Ignored, ServerViolation};
pub use incoming::ClientProtocol;
pub use request::{Open, RequestError};
pub use share::{NotSent, Statistics};
pub use work::{ExtendedWork, Solution, Work};

use channel::Channel;
use request::Request;

/// The way to send, for a mining client.
pub type Out<'o, Pr = Mining> = Outbound<'o, Initiator, Pr>;

/// What both sides have agreed on in the setup of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The text of the protocol that both speak.
    pub revision: Revision,
    /// What this side required.
    pub required: SetupFlags,
    /// What the server requires (D-CONN-7).
    pub imposed: SuccessFlags,
}

impl Terms {
    /// D-ALG-8, D-ALG-9: the version bits that may change in a job that allows it, or does not. Jobs of standard channels carry no such
    /// flag and allow it (draft open question 35).
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    pub const fn version_mask(&self, job_allows: bool) -> u32 {
        match (job_allows && !self.imposed.contains(SuccessFlags::REQUIRES_FIXED_VERSION), self.revision) {
            (false, _) => 0,
            (true, Revision::Draft) => VERSION_MASK_BIP320,
            (true, Revision::Current) => VERSION_MASK_BIP323,
        }
    }
}

impl Default for Terms {
    /// The draft, with no flags.
    fn default() -> Self {
        Self { revision: Revision::Draft, required: SetupFlags::NONE, imposed: SuccessFlags::NONE }
    }
}

/// One upstream connection: `CHANNELS` channels inline, for each job `COINBASE` bytes and `PATH` merkle levels inline. `Pr` is the whole protocol,
/// or the part of it that the client limits itself to.
pub struct MiningClient<
    S: Storage = Inline,
    const CHANNELS: usize = 1,
    const COINBASE: usize = 0,
    const PATH: usize = 0,
    Pr = Mining,
> {
    terms: Terms,
    /// Sorted by id.
    channels: S::List<Channel<S, COINBASE, PATH>, CHANNELS, CLIENT_CHANNELS_HEAP>,
    /// Requests that wait for their answer. With the channels no more than there is room for.
    requests: S::List<Request, CHANNELS, CLIENT_CHANNELS_HEAP>,
    last_request: u32,
    /// The last job's number here. Never starts anew, so that work of a former connection is known as such.
    serial: u64,
    /// Channels with an update to tell.
    updates: usize,
    statistics: Statistics,
    protocol: PhantomData<fn() -> Pr>,
}

impl<S: Storage, Pr, const CHANNELS: usize, const COINBASE: usize, const PATH: usize> fmt::Debug
    for MiningClient<S, CHANNELS, COINBASE, PATH, Pr>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiningClient")
            .field("terms", &self.terms)
            .field("channels", &self.channels.len())
            .field("requests", &self.requests.len())
            .field("statistics", &self.statistics)
            .finish_non_exhaustive()
    }
}

impl<S: Storage, Pr: ClientProtocol, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>
    MiningClient<S, CHANNELS, COINBASE, PATH, Pr>
{
    /// A connection without channels.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            channels: Default::default(),
            requests: Default::default(),
            last_request: 0,
            serial: 0,
            updates: 0,
            statistics: Statistics::default(),
            protocol: PhantomData,
        }
    }

    /// Another connection: the old one's channels and jobs are gone (D-RECON-2), its unanswered shares are lost. The counts go on.
    pub fn reset(&mut self, terms: Terms) {
        for channel in self.channels.iter().take(Self::MOST) {
            self.statistics.lose(&channel.statistics);
        }
        self.channels.clear();
        self.requests.clear();
        self.last_request = 0;
        self.updates = 0;
        self.terms = terms;
    }

    /// What was agreed on in the setup.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Counts of all channels, closed ones and those of former connections included.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Number of open channels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// True when no channel is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// A channel by its id.
    #[must_use]
    pub fn channel(&self, channel_id: u32) -> Option<ChannelView<'_, S, COINBASE, PATH>> {
        self.find(channel_id).map(ChannelView)
    }

    /// All open channels, by rising id.
    pub fn channels(&self) -> impl Iterator<Item = ChannelView<'_, S, COINBASE, PATH>> {
        self.channels.iter().map(ChannelView)
    }

    /// What a standard channel mines now, all of it. None while it has no job, and for extended channels.
    #[must_use]
    pub fn work(&self, channel_id: u32) -> Option<Work> {
        self.find(channel_id)?.work(&self.terms)
    }

    /// What an extended channel mines now, but for the extranonce to roll. None while it has no job, and for standard channels.
    #[must_use]
    pub fn extended_work(&self, channel_id: u32) -> Option<ExtendedWork<'_, S, COINBASE, PATH>> {
        self.find(channel_id)?.extended_work(&self.terms)
    }

    /// The serial of what a channel mines now, as in its [`Work`]; 0 when that is nothing.
    pub(crate) fn in_work(&self, channel_id: u32) -> u64 {
        self.find(channel_id).map_or(0, Channel::in_work)
    }

    /// Whether there is one channel at most. Then nothing is searched or sorted, and what would do it is left out of the program.
    const ONE: bool = !S::GROWS && CHANNELS == 1;

    /// All channels; where there is one at most, the compiler sees that nothing is repeated.
    fn each(&self) -> impl Iterator<Item = &Channel<S, COINBASE, PATH>> {
        self.channels.iter().take(Self::MOST)
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut Channel<S, COINBASE, PATH>> {
        self.channels.iter_mut().take(Self::MOST)
    }

    /// So many channels there are at most, as far as the type tells.
    const MOST: usize = if Self::ONE { 1 } else { usize::MAX };

    /// D-FLAG-1: who takes standard jobs only is in no group, whatever the server says.
    fn groups(&self) -> bool {
        !Pr::STANDARD_JOBS && !self.terms.required.contains(SetupFlags::REQUIRES_STANDARD_JOBS)
    }

    fn position(&self, channel_id: u32) -> Option<usize> {
        if Self::ONE {
            return self.channels.first().filter(|channel| channel.id == channel_id).map(|_| 0);
        }
        self.channels.binary_search_by_key(&channel_id, |channel| channel.id).ok()
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn find(&self, channel_id: u32) -> Option<&Channel<S, COINBASE, PATH>> {
        self.channels.get(self.position(channel_id)?)
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn find_mut(&mut self, channel_id: u32) -> Option<&mut Channel<S, COINBASE, PATH>> {
        let at = self.position(channel_id)?;
        self.channels.get_mut(at)
    }

    /// The channel is over: its unanswered shares are lost.
    fn forget(&mut self, channel_id: u32) {
        let Some(at) = self.position(channel_id) else { return };
        if let Some(channel) = self.channels.get(at) {
            self.statistics.lose(&channel.statistics);
            self.updates = self.updates.saturating_sub(usize::from(channel.update.is_some()));
        }
        if Self::ONE {
            self.channels.clear();
        } else {
            self.channels.remove(at);
        }
    }
}

/// An open channel, to look at.
pub struct ChannelView<'a, S: Storage, const COINBASE: usize, const PATH: usize>(&'a Channel<S, COINBASE, PATH>);

impl<S: Storage, const COINBASE: usize, const PATH: usize> fmt::Debug for ChannelView<'_, S, COINBASE, PATH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("id", &self.0.id)
            .field("kind", &self.0.kind)
            .field("group", &self.0.group)
            .field("target", &self.0.target)
            .finish_non_exhaustive()
    }
}

impl<S: Storage, const COINBASE: usize, const PATH: usize> ChannelView<'_, S, COINBASE, PATH> {
    /// Its id on the connection (D-CHAN-1).
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.0.id
    }

    /// Standard or extended.
    #[must_use]
    pub const fn kind(&self) -> ChannelKind {
        self.0.kind
    }

    /// Its group, if it is in one.
    #[must_use]
    pub const fn group(&self) -> Option<u32> {
        self.0.group
    }

    /// The target of later jobs; a job in work has its own (D-TGT-1).
    #[must_use]
    pub const fn target(&self) -> Target {
        self.0.target
    }

    /// The extranonce prefix of later jobs (D-EXN-1).
    #[must_use]
    pub const fn extranonce_prefix(&self) -> ExtranoncePrefix {
        self.0.prefix
    }

    /// Bytes that the client rolls behind the prefix; 0 for standard channels.
    #[must_use]
    pub fn extranonce_size(&self) -> usize {
        usize::from(self.0.extranonce_size)
    }

    /// Hashes a second, as announced last.
    #[must_use]
    pub const fn nominal_hash_rate(&self) -> f32 {
        self.0.nominal_hash_rate
    }

    /// Jobs that wait for a prevhash that names them.
    #[must_use]
    pub fn waiting_jobs(&self) -> usize {
        self.0.waiting()
    }

    /// Counts since the channel was opened.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.0.statistics
    }
}

#[cfg(test)]
mod conversation;
#[cfg(test)]
pub(crate) mod hostile;
#[cfg(test)]
mod standard;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
