//! What a pool tells its owner: shares, blocks, jobs, failures, counts. No behaviour.

use core::fmt;

use super::work::JobError;
use crate::error::Error;
use crate::message::template::{RequestTransactionDataError, RequestTransactionDataSuccess};
use crate::mining::extranonce::ExtranoncePrefix;
use crate::mining::header::Header;
use crate::mining::server::{Prepared, Refusal, Rejection};
use crate::mining::target::Target;
use crate::role::ConnectionId;
use crate::template::store::TemplateError;

/// Why a call about a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// The pool has as many connections as it takes. Close the new one.
    TooManyConnections,
    /// The id names no connection (any more).
    UnknownConnection,
    /// The client sends more shares than the limit. Close the connection.
    TooManyShares,
    /// An answer could not be sent; nothing happened. After [`Error::Full`] the same call succeeds once the buffer was drained.
    Send(Error),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyConnections => f.write_str("too many connections"),
            Self::UnknownConnection => f.write_str("no such connection (any more)"),
            Self::TooManyShares => f.write_str("peer: more shares than the limit allows"),
            Self::Send(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PoolError {}

impl From<Error> for PoolError {
    fn from(error: Error) -> Self {
        Self::Send(error)
    }
}

/// An accepted share, complete for the share store. It is acknowledged to its device once [`Pool::stored`](super::Pool::stored) was called with its ticket or a
/// later one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Where it came from.
    pub connection: ConnectionId,
    /// Its channel on that connection.
    pub channel_id: u32,
    /// Its job on that connection.
    pub job_id: u32,
    /// Whose it is; [`Pool::user`](super::Pool::user) has the name.
    pub account: u64,
    /// The device's own count.
    pub sequence_number: u32,
    /// Its number on this server, rising by one with every accepted share.
    pub ticket: u64,
    /// Its header.
    pub header: Header,
    /// The whole extranonce in its coinbase.
    pub extranonce: ExtranoncePrefix,
    /// The header's hash, in raw SHA-256 order.
    pub hash: [u8; 32],
    /// The target of its job, by which it counts.
    pub target: Target,
    /// The same as difficulty.
    pub difficulty: f64,
    /// Set when the share is a block.
    pub block: Option<Block>,
}

/// A found block. Its hash and header are the share's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// It waits for [`Pool::poll_provider_outbound`](super::Pool::poll_provider_outbound), which must follow at once (D-TDP-17). False for a block of a custom job, whose
    /// maker submits it (D-NET-2), and when there was no room for one more.
    pub submitted: bool,
}

/// What came of a client's message.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
#[allow(
    clippy::large_enum_variant,
    reason = "a value lives on the stack for one call, and shares are what it is mostly"
)]
pub enum PoolEvent {
    /// Nothing that the owner must know.
    Nothing,
    /// A channel was opened.
    Opened {
        /// On this connection.
        connection: ConnectionId,
        /// Its id there.
        channel_id: u32,
        /// For this account.
        account: u64,
    },
    /// A channel was refused; the client was told.
    Refused {
        /// On this connection.
        connection: ConnectionId,
        /// For this reason.
        why: Refusal,
    },
    /// The client closed a channel (in the current revision maybe a group).
    Closed {
        /// On this connection.
        connection: ConnectionId,
        /// Its id there.
        channel_id: u32,
    },
    /// A share was accepted: store it.
    Share(Share),
    /// A share was rejected; the client was told.
    Rejected {
        /// On this connection.
        connection: ConnectionId,
        /// Which, and why.
        rejection: Rejection,
    },
}

/// What became of the template provider's jobs and tips.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub enum TemplateNews {
    /// A job was made of a template. With `future` it waits for a tip.
    Job {
        /// The template.
        template_id: u64,
        /// It waits for a tip.
        future: bool,
    },
    /// No job could be made of a template.
    NoJob {
        /// The template.
        template_id: u64,
        /// Why.
        why: JobError,
    },
    /// A template that can't be used.
    Unusable {
        /// The template.
        template_id: u64,
        /// What is wrong with it.
        why: TemplateError,
    },
    /// The network moved on, and all channels with it.
    Tip {
        /// Hash of the block to build on, in raw SHA-256 order.
        prev_hash: [u8; 32],
        /// The template that is mined now.
        template_id: u64,
    },
    /// The network moved on, but there is no job: nothing that is mined now counts until the next template.
    TipWithoutJob {
        /// Hash of the block to build on, in raw SHA-256 order.
        prev_hash: [u8; 32],
    },
}

/// What came of the template provider's message.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub enum ProviderEvent<'m> {
    /// Of a template or a tip.
    Template(TemplateNews),
    /// Transactions that were asked for.
    Transactions(RequestTransactionDataSuccess<'m>),
    /// The provider does not have them.
    NoTransactions(RequestTransactionDataError<'m>),
}

impl ProviderEvent<'_> {
    /// What outlives the message; transactions do not, a pool asks for none by itself.
    #[must_use]
    pub const fn news(&self) -> Option<TemplateNews> {
        match self {
            Self::Template(news) => Some(*news),
            Self::Transactions(_) | Self::NoTransactions(_) => None,
        }
    }
}

/// A share whose header is to be hashed: [`Pool::conclude`](super::Pool::conclude) goes on with the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PendingShare {
    pub(super) connection: ConnectionId,
    pub(super) prepared: Prepared,
}

impl PendingShare {
    /// What is to be hashed.
    #[must_use]
    pub const fn header(&self) -> &Header {
        self.prepared.header()
    }

    /// SHA-256d of the same, in raw order.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.prepared.hash()
    }

    /// Where the share came from.
    #[must_use]
    pub const fn connection(&self) -> ConnectionId {
        self.connection
    }
}

/// The first half of handling a message.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub enum Begun {
    /// It is done.
    Done(PoolEvent),
    /// A share whose header is to be hashed.
    Share(PendingShare),
}

/// Counts of a pool since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PoolStatistics {
    /// Connections at present.
    pub connections: usize,
    /// Channels at present.
    pub channels: usize,
    /// Users that are known.
    pub users: usize,
    /// Shares accepted.
    pub accepted: u64,
    /// Shares rejected.
    pub rejected: u64,
    /// Sum of the difficulties of accepted shares.
    pub difficulty: f64,
    /// Blocks found.
    pub blocks: u64,
    /// Hashes a second over the last ten minutes.
    pub hash_rate: f64,
}
