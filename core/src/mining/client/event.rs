//! What a message of the server means to the owner of a client.

use core::fmt;

use crate::message::ErrorCode;
use crate::message::mining::{SetCustomMiningJobError, SetCustomMiningJobSuccess};

/// What a message meant. Codes are for people: nothing acts on them (D-ERR-1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClientEvent<'m> {
    /// A channel is open; jobs follow (D-MIN-4).
    Opened {
        /// Of the request.
        request_id: u32,
        /// The channel.
        channel_id: u32,
    },
    /// A channel is not opened (D-OPEN-6).
    OpenRefused {
        /// Of the request.
        request_id: u32,
        /// Why.
        error_code: ErrorCode<'m>,
    },
    /// Other work, or none, for this channel, or for all channels of this group: ask for it and start at once (D-MIN-1, D-MIN-5).
    Work {
        /// The channel or group.
        to: u32,
    },
    /// A job that waits for its prevhash (D-MIN-2).
    Queued {
        /// The channel or group.
        to: u32,
    },
    /// A job that does not fit into this client; work goes on as it was.
    Unusable {
        /// The channel or group.
        to: u32,
        /// The job.
        job_id: u32,
    },
    /// Later jobs have another target (D-TGT-1, D-TGT-2).
    Target {
        /// The channel or group.
        to: u32,
    },
    /// Later jobs have another extranonce prefix (D-EXN-1).
    Prefix {
        /// The channel.
        channel_id: u32,
    },
    /// Channels moved to this group (D-GRP-3).
    Grouped {
        /// The group.
        group: u32,
    },
    /// Shares were accepted (D-SHARE-4).
    Accepted {
        /// The channel.
        channel_id: u32,
        /// Of the last of them.
        last_sequence_number: u32,
        /// How many.
        count: u64,
        /// Sum of their difficulty, as the server counts it.
        difficulty: u64,
    },
    /// A share was rejected (D-SHARE-6).
    Rejected {
        /// The channel.
        channel_id: u32,
        /// Of the share.
        sequence_number: u32,
        /// Why.
        error_code: ErrorCode<'m>,
    },
    /// An update was refused (D-UPD-4); the channel goes on.
    UpdateRefused {
        /// The channel.
        channel_id: u32,
        /// Why.
        error_code: ErrorCode<'m>,
    },
    /// The server closed this channel, or all channels of this group (D-CLOSE-1).
    Closed {
        /// The channel or group.
        id: u32,
        /// Why.
        reason_code: ErrorCode<'m>,
    },
    /// A custom job that the owner asked for may be mined (D-CUST-3): [`MiningClient::start_custom`](super::MiningClient::start_custom).
    Custom(SetCustomMiningJobSuccess<'m>),
    /// A custom job that the owner asked for is refused (D-CUST-5).
    CustomRefused(SetCustomMiningJobError<'m>),
    /// Without effect.
    Ignored(Ignored),
}

/// A message that can be right and still mean nothing here, because it crossed one of ours or comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// No channel and no group of this id is open.
    UnknownChannel(u32),
    /// No request of this number waits.
    UnknownRequest(u32),
    /// Every share of the channel was answered before.
    NothingUnanswered,
    /// Groups mean nothing to a client of standard jobs (D-FLAG-1).
    Group,
    /// Nobody asked for a custom job, which a client of standard jobs cannot (D-CUST-1).
    CustomJob,
    /// The channel that was opened found no memory.
    NoMemory(u32),
}

/// A rule that the server broke, so that the connection is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerViolation {
    /// An opened channel that nobody asked for, or of the other kind (D-OPEN-3).
    Request,
    /// A channel or group id that is in use already (D-CHAN-1, D-GRP-1).
    ChannelId,
    /// Fewer extranonce bytes than were asked for, or more than a share can carry (D-OPEN-7).
    ExtranonceSize,
    /// A standard job for an extended channel or a group, or an extended one for a standard channel (D-MIN-10).
    JobKind,
    /// A job that forbids rolling the version, for a client that requires it (D-FLAG-3).
    FixedVersion,
    /// An extranonce prefix for a group (D-EXN-2).
    GroupPrefix,
}

impl ServerViolation {
    /// The rule's id.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Request => "D-OPEN-3",
            Self::ChannelId => "D-CHAN-1",
            Self::ExtranonceSize => "D-OPEN-7",
            Self::JobKind => "D-MIN-10",
            Self::FixedVersion => "D-FLAG-3",
            Self::GroupPrefix => "D-EXN-2",
        }
    }
}

impl fmt::Display for ServerViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "a channel was opened that nobody asked for",
            Self::ChannelId => "a channel or group id is in use already",
            Self::ExtranonceSize => "extranonce_size is not what was asked for",
            Self::JobKind => "the job is not of the channel's kind",
            Self::FixedVersion => "the job forbids version rolling, which was required",
            Self::GroupPrefix => "SetExtranoncePrefix for a group",
        })?;
        write!(f, " ({})", self.rule())
    }
}

impl core::error::Error for ServerViolation {}
