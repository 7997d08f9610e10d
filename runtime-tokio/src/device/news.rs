//! What a device tells those who watch it.

use adit::{
    mining::client::NotSent,
    role::device::{Fatal, Outcome},
};

/// Something that happened, for logs and views. Codes are the server's words, for people.
#[derive(Clone, Debug, PartialEq)]
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
    /// What outlives the event; nothing where nothing happened.
    pub(super) fn of(outcome: &Outcome<'_>) -> Option<Self> {
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
