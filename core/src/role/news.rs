//! What owners of roles hear and hand in, in values that outlive a message: for logs, views and books. Feature `alloc`.
//!
//! Where the news go, and who may miss them, is the runtime's.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::net::SocketAddr;

use super::ConnectionId;
use super::device::{Fatal, Outcome};
use super::pool::{Pool, PoolEvent, Share, TemplateNews};
use crate::connection::Outbound;
use crate::error::{Error, Misuse};
use crate::message::template::{RequestTransactionDataError, RequestTransactionDataSuccess};
use crate::mining::client::NotSent;
use crate::mining::server::Rejection;
use crate::protocol::{Responder, TemplateDistribution};
use crate::storage::Heap;
use crate::template::client::HeldBlock;
use crate::template::server::Request;
use crate::template::solution::{Breach, NoBlock};
use crate::time::UnixTime;
use crate::wire::{B016M, B064K, Seq064K};

/// Something that happened to a device, for logs and views. Codes are the server's words, for people.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DeviceNews {
    /// The connection is set up; the channel is asked for.
    Ready,
    /// The server refuses the connection.
    SetupRefused {
        /// Why.
        code: String,
    },
    /// The channel is open.
    ChannelOpened {
        /// Its id on this connection.
        channel_id: u32,
    },
    /// No channel for now; it is asked for again.
    OpenRefused {
        /// Why.
        code: String,
    },
    /// The server closed the channel; it is asked for again.
    ChannelClosed {
        /// Why.
        code: String,
    },
    /// Other work, or none.
    Work,
    /// Later jobs have another target.
    NewTarget,
    /// Shares were accepted.
    Accepted {
        /// Of the last of them.
        last_sequence_number: u32,
        /// How many.
        count: u64,
        /// Sum of their difficulty, as the server counts it.
        difficulty: u64,
    },
    /// A share was rejected.
    Rejected {
        /// Of the share.
        sequence_number: u32,
        /// Why.
        code: String,
    },
    /// A solution was not sent, since it could not count.
    NotSent(NotSent),
    /// The server does not take the announced hash rate.
    UpdateRefused {
        /// Why.
        code: String,
    },
    /// The server asks to connect elsewhere.
    Reconnect {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// The connection is of no use.
    Fatal(Fatal),
}

impl DeviceNews {
    /// What outlives the outcome; nothing where nothing happened.
    #[must_use]
    pub fn of(outcome: &Outcome<'_>) -> Option<Self> {
        Some(match outcome {
            Outcome::Done => return None,
            Outcome::Ready => Self::Ready,
            Outcome::SetupRefused { error_code, .. } => Self::SetupRefused { code: error_code.to_string() },
            Outcome::ChannelOpened { channel_id } => Self::ChannelOpened { channel_id: *channel_id },
            Outcome::OpenRefused { error_code, .. } => Self::OpenRefused { code: error_code.to_string() },
            Outcome::ChannelClosed { reason_code, .. } => Self::ChannelClosed { code: reason_code.to_string() },
            Outcome::NewWork | Outcome::NoWork => Self::Work,
            Outcome::NewTarget => Self::NewTarget,
            Outcome::Accepted { last_sequence_number, count, difficulty } => {
                Self::Accepted { last_sequence_number: *last_sequence_number, count: *count, difficulty: *difficulty }
            }
            Outcome::Rejected { sequence_number, error_code } => {
                Self::Rejected { sequence_number: *sequence_number, code: error_code.to_string() }
            }
            Outcome::UpdateRefused { error_code } => Self::UpdateRefused { code: error_code.to_string() },
            Outcome::Reconnect(endpoint) => Self::Reconnect { host: endpoint.host().to_owned(), port: endpoint.port() },
            Outcome::Fatal(fatal) => Self::Fatal(*fatal),
        })
    }
}

/// Something that happened at a pool, for logs and views.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PoolNews {
    /// A client has connected and finished its setup.
    Connected {
        /// Its id at the pool.
        connection: ConnectionId,
        /// Its address.
        peer: SocketAddr,
    },
    /// It is gone.
    Disconnected {
        /// Its id at the pool.
        connection: ConnectionId,
        /// Its address.
        peer: SocketAddr,
    },
    /// A share was accepted; it may be a block.
    Share(AcceptedShare),
    /// A share was rejected; the client was told.
    Rejected {
        /// On this connection.
        connection: ConnectionId,
        /// Which, and why.
        rejection: Rejection,
        /// Whose it is; empty when it named no channel.
        user: Arc<[u8]>,
    },
    /// What came of another message of a client.
    Downstream(PoolEvent),
    /// What came of the template provider's message.
    Template(TemplateNews),
}

/// An accepted share on its way to the store.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedShare {
    /// The share.
    pub share: Share,
    /// Whose it is: `user_identity` as it came, at most 255 bytes of anything.
    pub user: Arc<[u8]>,
    /// When it was accepted.
    pub at: UnixTime,
    /// Set when it is a block that this pool hands over: all that is needed to do so again after a crash.
    pub block: Option<Arc<KeptBlock>>,
}

impl AcceptedShare {
    /// What the store is to have of a share that `pool` has accepted just now.
    #[inline]
    #[must_use]
    pub fn new(pool: &Pool<Heap>, share: Share, user: Arc<[u8]>, at: UnixTime) -> Self {
        let is_it = |block: &HeldBlock<'_>| {
            (block.prev_hash, block.version, block.header_timestamp, block.header_nonce)
                == (share.header.prev_hash, share.header.version, share.header.ntime, share.header.nonce)
        };
        let submitted = share.block.is_some_and(|block| block.submitted);
        let held = submitted.then(|| pool.held_blocks().rev().find(is_it)).flatten();
        Self { share, user, at, block: held.map(|held| Arc::new(held.into())) }
    }
}

/// A found block on its way to the provider, as a store keeps it: all of it but its template's transactions, which the provider has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBlock {
    /// The template that it was made of, as the provider counted.
    pub template_id: u64,
    /// The block that it builds on, in raw SHA-256 order.
    pub prev_hash: [u8; 32],
    /// The header's version.
    pub version: u32,
    /// The header's time.
    pub header_timestamp: u32,
    /// The header's nonce.
    pub header_nonce: u32,
    /// The coinbase transaction, as it opens the block.
    pub coinbase_tx: Vec<u8>,
    /// It was written to some connection: the provider may have it.
    pub told: bool,
}

impl From<HeldBlock<'_>> for KeptBlock {
    fn from(held: HeldBlock<'_>) -> Self {
        let HeldBlock { template_id, prev_hash, version, header_timestamp, header_nonce, coinbase_tx, told } = held;
        let coinbase_tx = coinbase_tx.to_vec();
        Self { template_id, prev_hash, version, header_timestamp, header_nonce, coinbase_tx, told }
    }
}

impl KeptBlock {
    /// For [`Pool::restore_block`].
    #[must_use]
    pub fn held(&self) -> HeldBlock<'_> {
        HeldBlock {
            template_id: self.template_id,
            prev_hash: self.prev_hash,
            version: self.version,
            header_timestamp: self.header_timestamp,
            header_nonce: self.header_nonce,
            coinbase_tx: &self.coinbase_tx,
            told: self.told,
        }
    }
}

/// A solution whose hash meets the target: to be built into a block and broadcast at once, even when a rule was broken on the way
/// ([`breach`](Self::breach)), for the node's judgement is what counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBlock {
    /// The client that found it.
    pub peer: SocketAddr,
    /// The template whose transactions follow the coinbase.
    pub template_id: u64,
    /// The block's header.
    pub header: [u8; 80],
    /// The block's hash, in raw SHA-256 order.
    pub hash: [u8; 32],
    /// The coinbase transaction, serialized as it opens the block.
    pub coinbase_tx: Vec<u8>,
    /// The block builds on the tip before the present one.
    pub stale: bool,
    /// A rule that the client broke.
    pub breach: Option<Breach>,
}

/// What the owner of a provider hears.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderEvent {
    /// A client has connected and finished its setup.
    Connected(SocketAddr),
    /// It is gone.
    Disconnected(SocketAddr),
    /// A client found a block.
    Solution(FoundBlock),
    /// A client believed so, but it is none.
    NoBlock {
        /// The client.
        peer: SocketAddr,
        /// The template that it named.
        template_id: u64,
        /// Why it is no block.
        why: NoBlock,
    },
}

impl ProviderEvent {
    /// What the owner of a provider is to be told of a client's request; nothing where it has no part in it.
    #[must_use]
    pub fn of(peer: SocketAddr, request: Request<'_>) -> Option<Self> {
        match request {
            Request::Solution(solution) => Some(Self::Solution(FoundBlock {
                peer,
                template_id: solution.template_id,
                header: solution.header,
                hash: solution.hash,
                coinbase_tx: solution.coinbase_tx.to_vec(),
                stale: solution.stale,
                breach: solution.breach,
            })),
            Request::NoBlock(template_id, why) => Some(Self::NoBlock { peer, template_id, why }),
            Request::Constraints(_) | Request::Transactions(_) => None,
        }
    }
}

/// A template's transactions without its coinbase, in block order with their witnesses, for clients that ask.
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    /// Extra data that the block may need (`excess_data`).
    pub excess_data: Vec<u8>,
    /// The transactions.
    pub transactions: Vec<Vec<u8>>,
}

impl Transactions {
    /// Answers `RequestTransactionData`: with these transactions; with an error when the template is not known any more, or its
    /// transactions are more than a message holds. They may be megabytes, so this is no call to make under a lock.
    pub fn answer(
        found: Option<&Self>,
        template_id: u64,
        out: &mut Outbound<'_, Responder, TemplateDistribution>,
    ) -> Result<(), Error> {
        if let Some(found) = found {
            let list: Vec<_> = found.transactions.iter().map(|transaction| B016M::new(transaction)).collect();
            let sent = out.send(&RequestTransactionDataSuccess {
                template_id,
                excess_data: B064K::new(&found.excess_data),
                transaction_list: Seq064K::new(&list),
            });
            if sent != Err(Error::Misuse(Misuse::TooLarge)) {
                return sent;
            }
        }
        out.send(&RequestTransactionDataError {
            template_id,
            error_code: RequestTransactionDataError::TEMPLATE_ID_NOT_FOUND.into(),
        })
    }
}
