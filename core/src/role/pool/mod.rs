//! A pool: many downstream connections by id, one template provider upstream, jobs made of its templates, shares counted by user.
//!
//! Here live the parts' meeting points and the limits. What a channel is told is [`mining::server`](crate::mining::server)'s, templates are
//! [`template::client`](crate::template::client)'s; storing shares, closing sockets and hashing in batches are the owner's.
//! Job negotiation and declaration will stand beside the policy as further machines, asked by [`Policy::custom_job`].

mod event;
mod meter;
mod policy;
mod settings;
mod users;
mod work;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use core::fmt;

pub use event::{Begun, Block, PendingShare, PoolError, PoolEvent, PoolStatistics, ProviderEvent, Share, TemplateNews};
pub use policy::{AcceptAll, Known, Policy};
pub use settings::{ConfigError, PoolConfig, PoolLimits};
pub use users::User;
pub use work::JobError;

use super::connections::{ConnectionId, Connections};
use crate::config::{DOWNSTREAMS_HEAP, DOWNSTREAMS_INLINE};
use crate::error::Error;
use crate::message::common::Reconnect;
use crate::message::mining::{SetupFlags, ToServer};
use crate::mining::extranonce::ExtranonceSpace;
use crate::mining::lanes::OneByOne;
use crate::mining::server::{
    ANSWER_LEN, Accepted, Hashed, MiningServer, Opened, Out, Proof, Received, Refusal, Rejection, ServerConfig,
    ShareBatch, Shared, Submitted,
};
use crate::rate::Pace;
use crate::storage::{List, Storage};
use crate::template::client::TemplateClient;
use crate::time::{Instant, earliest};
use crate::wire::{Revision, Str0255};

use meter::Meter;
use users::Users;
use work::Rewards;

/// A connection as the pool sees it.
struct Link<S: Storage> {
    server: MiningServer<S>,
    /// When it is given up unless it opens a channel; none while it has one.
    open_by: Option<Instant>,
    /// Within [`PoolLimits::shares_per_second`].
    shares: Pace,
    /// Within [`PoolLimits::opens_per_second`].
    opens: Pace,
    /// The ticket of its last share that waits for storage; 0 for none.
    waits_for: u64,
    /// The last call to leave that it was told.
    told_reconnect: u32,
}

/// Where all clients shall go.
#[derive(Default)]
struct Elsewhere {
    /// Counts the calls; 0 for none.
    call: u32,
    host: heapless::Vec<u8, { Str0255::MAX_LEN }>,
    port: u16,
}

/// A pool.
///
/// Downstream: [`connect`](Self::connect) when a client finished its setup, [`handle`](Self::handle) each message and store what
/// it says, [`disconnect`](Self::disconnect) when the client is gone. Upstream: [`provider_connected`](Self::provider_connected),
/// [`handle_provider`](Self::handle_provider), [`provider_lost`](Self::provider_lost). After any call: when
/// [`provider_wants_outbound`](Self::provider_wants_outbound), [`poll_provider_outbound`](Self::poll_provider_outbound) first; then
/// [`poll_dirty`](Self::poll_dirty) until it is empty, and [`poll_outbound`](Self::poll_outbound) for each id, again after `Full` once its buffer was drained.
/// At [`poll_timeout`](Self::poll_timeout): [`handle_timeout`](Self::handle_timeout). When shares are on disk: [`stored`](Self::stored).
///
/// Channels open before there is a template; their jobs follow with the first one.
pub struct Pool<S: Storage> {
    links: Connections<Link<S>, S, DOWNSTREAMS_INLINE, DOWNSTREAMS_HEAP>,
    shared: Shared<S>,
    templates: TemplateClient<S>,
    provider: bool,
    /// The provider was lost, and no tip came since.
    resuming: bool,
    rewards: Rewards<S>,
    users: Users<S>,
    limits: PoolLimits,
    /// Connections with shares that wait for storage, each once.
    waiting: S::List<ConnectionId, DOWNSTREAMS_INLINE, DOWNSTREAMS_HEAP>,
    channels: usize,
    totals: PoolStatistics,
    meter: Meter,
    elsewhere: Elsewhere,
}

impl<S: Storage> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("connections", &self.links.len())
            .field("channels", &self.channels)
            .field("provider", &self.provider)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl<S: Storage> Pool<S> {
    /// A pool without connections.
    pub fn new(config: &PoolConfig<'_>) -> Result<Self, ConfigError> {
        let rewards = Rewards::new(config.payouts, config.tag).map_err(ConfigError::Rewards)?;
        let space = ExtranonceSpace::new(config.server_prefix, config.channel_number_len, config.extranonce_len)
            .map_err(ConfigError::Extranonce)?;
        Ok(Self {
            links: Connections::default(),
            shared: Shared::new(config.server, space, config.last_ticket),
            templates: TemplateClient::new(rewards.constraints()),
            provider: false,
            resuming: false,
            rewards,
            users: Users::default(),
            limits: config.limits,
            waiting: Default::default(),
            channels: 0,
            totals: PoolStatistics::default(),
            meter: Meter::default(),
            elsewhere: Elsewhere::default(),
        })
    }

    /// What the operator decided about channels: among it the setup flags that the listener offers.
    #[must_use]
    pub const fn config(&self) -> &ServerConfig {
        self.shared.config()
    }

    /// Other decisions from now on, see [`Shared::set_config`].
    pub const fn set_config(&mut self, config: ServerConfig) {
        self.shared.set_config(config);
    }

    /// Other limits, for what comes from now on.
    pub const fn set_limits(&mut self, limits: PoolLimits) {
        self.limits = limits;
    }

    /// A client finished its setup with these flags.
    pub fn connect(&mut self, now: Instant, revision: Revision, flags: SetupFlags) -> Result<ConnectionId, PoolError> {
        if self.links.len() >= self.limits.connections {
            return Err(PoolError::TooManyConnections);
        }
        let open_by = self.limits.without_channel.map(|time| now.saturating_add(time));
        let told_reconnect = self.elsewhere.call;
        let (server, pace) = (MiningServer::new(revision, flags), Pace::new(now));
        let link = Link { server, open_by, shares: pace, opens: pace, waits_for: 0, told_reconnect };
        let id = self.links.insert(|_| link).map_err(|_| PoolError::TooManyConnections)?;
        self.links.set_deadline(id, open_by);
        Ok(id)
    }

    /// The client is gone, its channels with it. Its id names nothing from now on; shares of it that wait for storage count all the same.
    pub fn disconnect(&mut self, id: ConnectionId) {
        if let Some(mut link) = self.links.remove(id) {
            self.channels = self.channels.saturating_sub(link.server.len());
            link.server.shut_down(&mut self.shared);
            self.waiting.retain(|waiting| *waiting != id);
        }
    }

    /// Takes a message of a client and does all that it asks, hashing a share on the way.
    pub fn handle(
        &mut self,
        now: Instant,
        id: ConnectionId,
        message: &ToServer<'_>,
        policy: &mut impl Policy,
        out: &mut Out<'_>,
    ) -> Result<PoolEvent, PoolError> {
        // Each on a way of its own: one for both would have the share in memory first.
        match message {
            ToServer::SubmitSharesStandard(share) => return self.check(now, id, &share.into(), out),
            ToServer::SubmitSharesExtended(share) => return self.check(now, id, &share.into(), out),
            _ => {}
        }
        match self.begin(now, id, message, policy, out)? {
            Begun::Done(event) => Ok(event),
            Begun::Share(share) => self.conclude(now, &share, &share.hash(), out),
        }
    }

    fn check(
        &mut self,
        now: Instant,
        id: ConnectionId,
        share: &Submitted<&[u8]>,
        out: &mut Out<'_>,
    ) -> Result<PoolEvent, PoolError> {
        let link = self.links.get_mut(id).ok_or(PoolError::UnknownConnection)?;
        if !link.may_share(now, &self.limits) {
            return Err(PoolError::TooManyShares);
        }
        check_room(out)?;
        let mut proof = Proof::new();
        let event = match link.server.check(now, &mut self.shared, share, &OneByOne, &mut proof) {
            Ok(accepted) => {
                // The share was accepted a moment ago, so its job is there.
                let extranonce = link.server.extranonce(&self.shared, share).unwrap_or_default();
                let hashed = Hashed { header: *proof.header(), hash: proof.hash(), extranonce: &extranonce };
                self.accepted(now, id, &accepted, &hashed)
            }
            Err(rejection) => {
                out.send(&rejection.answer())?;
                self.rejected(id, rejection)
            }
        };
        self.touched(id);
        Ok(event)
    }

    /// The first half of [`Self::handle`], for owners who hash many headers at once, or outside of a lock: stops before a share's header is
    /// hashed.
    pub fn begin(
        &mut self,
        now: Instant,
        id: ConnectionId,
        message: &ToServer<'_>,
        policy: &mut impl Policy,
        out: &mut Out<'_>,
    ) -> Result<Begun, PoolError> {
        let link = self.links.get_mut(id).ok_or(PoolError::UnknownConnection)?;
        if matches!(message, ToServer::SubmitSharesStandard(_) | ToServer::SubmitSharesExtended(_))
            && !link.may_share(now, &self.limits)
        {
            return Err(PoolError::TooManyShares);
        }
        let before = link.server.len();
        let event = match link.server.receive(now, &mut self.shared, message, out)? {
            Received::Share(prepared) => return Ok(Begun::Share(PendingShare { connection: id, prepared })),
            Received::Done => PoolEvent::Nothing,
            Received::Open(request) => {
                let decision = if !link.may_open(now, &self.limits) {
                    Err(Refusal::TooManyRequests)
                } else if self.channels >= self.limits.channels {
                    Err(Refusal::TooManyChannels)
                } else {
                    let name = request.user_identity.as_bytes();
                    policy.authorize(id, &request).and_then(|()| self.account(name))
                };
                let link = self.links.get_mut(id).ok_or(PoolError::UnknownConnection)?;
                match decision {
                    Err(why) => {
                        link.server.refuse(&request.open, why, out)?;
                        PoolEvent::Refused { connection: id, why }
                    }
                    Ok(account) => match link.server.accept(now, &mut self.shared, &request.open, account, out)? {
                        Opened::Channel(channel_id) => PoolEvent::Opened { connection: id, channel_id, account },
                        Opened::Refused(why) => PoolEvent::Refused { connection: id, why },
                    },
                }
            }
            Received::Custom(request) => {
                match policy.custom_job(id, &request) {
                    Ok(coinbase) => {
                        link.server.accept_custom(now, &mut self.shared, &request, coinbase, out)?;
                    }
                    Err(code) => link.server.refuse_custom(&request, code, out)?,
                }
                PoolEvent::Nothing
            }
            Received::Rejected(rejection) => self.rejected(id, rejection),
            Received::Closed(channel_id) => PoolEvent::Closed { connection: id, channel_id },
        };
        if let Some(link) = self.links.get_mut(id) {
            self.channels = (self.channels + link.server.len()).saturating_sub(before);
            let grace = || self.limits.without_channel.map(|time| now.saturating_add(time));
            link.open_by = if link.server.is_empty() { link.open_by.or_else(grace) } else { None };
        }
        self.touched(id);
        Ok(Begun::Done(event))
    }

    /// The second half of [`Self::handle`]: `hash` is the SHA-256d of the share's header, in raw order.
    ///
    /// What happened since the first half counts: a share of a connection that is gone is [`PoolError::UnknownConnection`] and lost.
    pub fn conclude(
        &mut self,
        now: Instant,
        share: &PendingShare,
        hash: &[u8; 32],
        out: &mut Out<'_>,
    ) -> Result<PoolEvent, PoolError> {
        let (id, share) = (share.connection, &share.prepared);
        let link = self.links.get_mut(id).ok_or(PoolError::UnknownConnection)?;
        check_room(out)?;
        let event = match link.server.conclude(now, &mut self.shared, share, hash) {
            Ok(accepted) => {
                let hashed = Hashed { header: *share.header(), hash, extranonce: share.extranonce() };
                self.accepted(now, id, &accepted, &hashed)
            }
            Err(rejection) => {
                out.send(&rejection.answer())?;
                self.rejected(id, rejection)
            }
        };
        self.touched(id);
        Ok(event)
    }

    /// Counts a share, and hands it over when it is a block. In line, so that what is told of it is written once.
    #[inline]
    fn accepted(&mut self, now: Instant, id: ConnectionId, accepted: &Accepted, share: &Hashed<'_>) -> PoolEvent {
        if let Some(link) = self.links.get_mut(id) {
            if link.waits_for == 0 {
                // There is a place for each connection.
                let _ = self.waiting.push(id);
            }
            link.waits_for = accepted.ticket;
        }
        let hashes = accepted.target.expected_hashes();
        self.users.accept(accepted.account, now, accepted.difficulty, hashes);
        self.meter.record(now, hashes);
        self.totals.accepted = self.totals.accepted.saturating_add(1);
        self.totals.difficulty += accepted.difficulty;
        let block = accepted.block.map(|source| {
            self.totals.blocks = self.totals.blocks.saturating_add(1);
            Block { submitted: self.submit(source, &share.header, share.extranonce) }
        });
        PoolEvent::Share(Share {
            connection: id,
            channel_id: accepted.channel_id,
            job_id: accepted.job_id,
            account: accepted.account,
            sequence_number: accepted.sequence_number,
            ticket: accepted.ticket,
            header: share.header,
            extranonce: *share.extranonce,
            hash: *share.hash,
            target: accepted.target.target(),
            difficulty: accepted.difficulty,
            block,
        })
    }

    /// [`Self::begin`] for shares that came together: all but their hashes, for [`ShareBatch::hash`]. Nothing is sent here, for bad
    /// shares are answered in their turn.
    ///
    /// With [`PoolError::TooManyShares`] only those are left in the batch that came before the limit: they count, so go on with
    /// them, and close the connection then.
    pub fn begin_batch(&mut self, now: Instant, id: ConnectionId, batch: &mut ShareBatch<S>) -> Result<(), PoolError> {
        let link = self.links.get_mut(id).ok_or(PoolError::UnknownConnection)?;
        let within = (0..batch.len()).take_while(|_| link.may_share(now, &self.limits)).count();
        let all = within == batch.len();
        batch.truncate(within);
        link.server.prepare_batch(now, &self.shared, batch);
        if all { Ok(()) } else { Err(PoolError::TooManyShares) }
    }

    /// [`Self::conclude`] for the next share of a batch, until there is none: the first call concludes them all. There must be room for so many
    /// answers of [`ANSWER_LEN`] bytes: a bad share without room for its answer is an error.
    #[inline]
    pub fn conclude_next(
        &mut self,
        now: Instant,
        id: ConnectionId,
        batch: &mut ShareBatch<S>,
        out: &mut Out<'_>,
    ) -> Option<Result<PoolEvent, PoolError>> {
        if !batch.is_concluded() {
            let Some(link) = self.links.get_mut(id) else {
                return batch.next_concluded().map(|_| Err(PoolError::UnknownConnection));
            };
            link.server.conclude_batch(now, &mut self.shared, batch);
            self.touched(id);
        }
        Some(match batch.next_concluded()? {
            Ok((accepted, share)) => Ok(self.accepted(now, id, &accepted, &share)),
            Err(rejection) => {
                let event = self.rejected(id, rejection);
                out.send(&rejection.answer()).map(|()| event).map_err(PoolError::Send)
            }
        })
    }

    /// The account of a name; makes room when there are too many that never earned anything.
    fn account(&mut self, name: &[u8]) -> Result<u64, Refusal> {
        if self.users.wants_sweep(self.channels) && self.users.find(name).is_none() {
            let channels = self.links.iter().flat_map(|(_, link)| link.server.channels());
            self.users.sweep(channels.map(|channel| channel.account()));
        }
        self.users.enter(name).map_err(|_| Refusal::InvalidUser)
    }

    fn rejected(&mut self, id: ConnectionId, rejection: Rejection) -> PoolEvent {
        self.totals.rejected = self.totals.rejected.saturating_add(1);
        let channel = self.links.get(id).and_then(|link| link.server.channel(rejection.channel_id));
        if let Some(account) = channel.map(|channel| channel.account()) {
            self.users.reject(account);
        }
        PoolEvent::Rejected { connection: id, rejection }
    }

    /// Notes what a connection wants after something happened to it.
    fn touched(&mut self, id: ConnectionId) {
        let Some(link) = self.links.get(id) else { return };
        let deadline = earliest(link.server.poll_timeout(), link.open_by);
        if link.server.wants_outbound(&self.shared) {
            self.links.mark_dirty(id);
        }
        self.links.set_deadline(id, deadline);
    }

    /// All shares up to this ticket are stored: their devices are told with the next [`Self::poll_outbound`]. Touches connections with
    /// unstored shares only.
    pub fn stored(&mut self, ticket: u64) {
        let links = &mut self.links;
        self.waiting.retain(|id| {
            let Some(link) = links.get_mut(*id) else { return false };
            link.server.stored(ticket);
            let still = link.waits_for > ticket;
            if !still {
                link.waits_for = 0;
            }
            links.mark_dirty(*id);
            still
        });
    }

    /// The next connection with something to be sent. Follow it with [`Self::poll_outbound`].
    pub fn poll_dirty(&mut self) -> Option<ConnectionId> {
        self.links.pop_dirty()
    }

    /// Sends a client what it has yet to be told. After [`Error::Full`] call again when its buffer was drained: what became outdated meanwhile is
    /// left out. A client that is gone has nothing, and [`poll_dirty`](Self::poll_dirty) does not name one that was told all.
    pub fn poll_outbound(&mut self, id: ConnectionId, out: &mut Out<'_>) -> Result<(), Error> {
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        if link.told_reconnect != self.elsewhere.call {
            out.send(&Reconnect {
                new_host: Str0255::from_bytes(&self.elsewhere.host),
                new_port: self.elsewhere.port,
            })?;
            link.told_reconnect = self.elsewhere.call;
        }
        link.server.poll_outbound(&mut self.shared, out)?;
        let deadline = earliest(link.server.poll_timeout(), link.open_by);
        self.links.set_deadline(id, deadline);
        self.links.mark_clean(id);
        Ok(())
    }

    /// Asks all clients to connect elsewhere (D-RECON-2, D-RECON-3): an empty host or port 0 keeps the present one. Returns false, and
    /// nothing happens, for a host of more than 255 bytes. Connections that come later are not asked.
    pub fn reconnect_all(&mut self, host: &str, port: u16) -> bool {
        let Ok(host) = heapless::Vec::from_slice(host.as_bytes()) else { return false };
        self.elsewhere = Elsewhere { call: self.elsewhere.call.wrapping_add(1), host, port };
        self.links.mark_all_dirty();
        true
    }

    /// Ends a channel from this side (D-CLOSE-1).
    pub fn close_channel(
        &mut self,
        id: ConnectionId,
        channel_id: u32,
        reason_code: &str,
        out: &mut Out<'_>,
    ) -> Result<(), PoolError> {
        let link = self.links.get_mut(id).ok_or(PoolError::UnknownConnection)?;
        let before = link.server.len();
        link.server.close(&mut self.shared, channel_id, reason_code, out)?;
        self.channels = (self.channels + link.server.len()).saturating_sub(before);
        self.touched(id);
        Ok(())
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.links.next_deadline()
    }

    /// Looks at connections whose time has come, and gives the next one that stayed without a channel for too long (D-OPEN-2): close it
    /// and call again, until there is none.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ConnectionId> {
        while let Some(id) = self.links.pop_due(now) {
            let Some(link) = self.links.get_mut(id) else { continue };
            link.server.handle_timeout(now, &self.shared);
            let overdue = link.open_by.is_some_and(|at| at <= now);
            if overdue {
                link.open_by = None;
            }
            self.touched(id);
            if overdue {
                return Some(id);
            }
        }
        None
    }

    /// The jobs, the extranonce space and the tickets.
    #[must_use]
    pub const fn shared(&self) -> &Shared<S> {
        &self.shared
    }

    /// The template provider's side.
    #[must_use]
    pub const fn templates(&self) -> &TemplateClient<S> {
        &self.templates
    }

    /// A connection, with its channels.
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<&MiningServer<S>> {
        self.links.get(id).map(|link| &link.server)
    }

    /// All connections: walks every place.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, &MiningServer<S>)> {
        self.links.iter().map(|(id, link)| (id, &link.server))
    }

    /// A user by account.
    #[must_use]
    pub fn user(&self, account: u64) -> Option<&User<S>> {
        self.users.get(account)
    }

    /// The account of a name, if it has one.
    #[must_use]
    pub fn account_of(&self, user_identity: &[u8]) -> Option<u64> {
        self.users.find(user_identity)
    }

    /// All users with their accounts, in no particular order.
    pub fn users(&self) -> impl Iterator<Item = (u64, &User<S>)> {
        self.users.iter()
    }

    /// Credits a user with what the share store knows of an earlier run; gives the account. None when there is no room or the name is too long.
    pub fn restore_user(&mut self, user_identity: &[u8], shares: u64, difficulty: f64) -> Option<u64> {
        let account = self.account(user_identity).ok()?;
        self.users.credit(account, shares, difficulty);
        Some(account)
    }

    /// Counts of this run; `now` is for the hash rate.
    #[must_use]
    pub fn statistics(&self, now: Instant) -> PoolStatistics {
        PoolStatistics {
            connections: self.links.len(),
            channels: self.channels,
            users: self.users.len(),
            hash_rate: self.meter.rate(now),
            ..self.totals
        }
    }
}

/// Nothing may happen when the answer to a bad share would not fit.
fn check_room(out: &Out<'_>) -> Result<(), Error> {
    if out.room() < ANSWER_LEN { Err(Error::Full) } else { Ok(()) }
}

impl<S: Storage> Link<S> {
    /// Whether one more share is within the limit; counts it when it is.
    fn may_share(&mut self, now: Instant, limits: &PoolLimits) -> bool {
        limits.shares_per_second.is_none_or(|rate| self.shares.take(now, rate, limits.share_burst))
    }

    /// The same for a channel that is asked for.
    fn may_open(&mut self, now: Instant, limits: &PoolLimits) -> bool {
        limits.opens_per_second.is_none_or(|rate| self.opens.take(now, rate, limits.open_burst))
    }
}
