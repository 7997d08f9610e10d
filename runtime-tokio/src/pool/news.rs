//! What a pool tells those who watch it.

use std::net::SocketAddr;

use adit::{
    role::{
        ConnectionId,
        pool::{JobError, PoolEvent, ProviderEvent},
    },
    template::store::TemplateError,
};

/// Something that happened, for logs and views.
#[derive(Clone, Debug, PartialEq)]
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
    /// What came of a client's message.
    Downstream(PoolEvent),
    /// What came of the template provider's message.
    Template(TemplateNews),
}

/// What came of the template provider's message.
#[derive(Clone, Copy, Debug, PartialEq)]
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

impl TemplateNews {
    /// What outlives the message; transactions do not, a pool asks for none by itself.
    pub(super) fn of(event: ProviderEvent<'_>) -> Option<Self> {
        match event {
            ProviderEvent::Job { template_id, future } => Some(Self::Job { template_id, future }),
            ProviderEvent::NoJob { template_id, why } => Some(Self::NoJob { template_id, why }),
            ProviderEvent::Unusable { template_id, why } => Some(Self::Unusable { template_id, why }),
            ProviderEvent::Tip { prev_hash, template_id } => Some(Self::Tip { prev_hash, template_id }),
            ProviderEvent::TipWithoutJob { prev_hash } => Some(Self::TipWithoutJob { prev_hash }),
            ProviderEvent::Transactions(_) | ProviderEvent::NoTransactions(_) => None,
        }
    }
}
