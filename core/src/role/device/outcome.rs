//! What an event meant for a device.

use core::fmt;

use super::Endpoint;
use crate::message::ErrorCode;
use crate::mining::client::ServerViolation;
use crate::time::Instant;

/// What an event meant. Codes are for people: nothing acts on them (D-ERR-1).
#[derive(Clone, Debug, PartialEq)]
#[must_use]
#[allow(clippy::large_enum_variant, reason = "the host of a Reconnect has nowhere else to be without an allocator")]
pub enum Outcome<'m> {
    /// Nothing that the owner has to know.
    Done,
    /// The connection is set up; the channel is asked for (D-OPEN-1).
    Ready,
    /// The server refuses the connection (D-CONN-8). Close it; another server may do better.
    SetupRefused {
        /// What it does not support (D-CONN-9).
        flags: u32,
        /// Why.
        error_code: ErrorCode<'m>,
    },
    /// The channel is open; its first job follows.
    ChannelOpened {
        /// The channel.
        channel_id: u32,
    },
    /// No channel for now.
    OpenRefused {
        /// Why.
        error_code: ErrorCode<'m>,
        /// When it is asked for again.
        retry_at: Instant,
    },
    /// The server closed the channel. There is no work until another one is open.
    ChannelClosed {
        /// Why.
        reason_code: ErrorCode<'m>,
        /// When it is asked for.
        retry_at: Instant,
    },
    /// Other work: leave the old one at once (D-MIN-1, D-MIN-5).
    NewWork,
    /// The old work is over and there is none until a job comes.
    NoWork,
    /// Later jobs have another target (D-TGT-1).
    NewTarget,
    /// Shares were accepted (D-SHARE-4).
    Accepted {
        /// Of the last of them.
        last_sequence_number: u32,
        /// How many.
        count: u64,
        /// Sum of their difficulty, as the server counts it.
        difficulty: u64,
    },
    /// A share was rejected (D-SHARE-6).
    Rejected {
        /// Of the share.
        sequence_number: u32,
        /// Why.
        error_code: ErrorCode<'m>,
    },
    /// The server does not take the announced hash rate or target; the channel goes on (D-UPD-4).
    UpdateRefused {
        /// Why.
        error_code: ErrorCode<'m>,
    },
    /// The server asks to connect there, what it left open filled in from the present connection (D-RECON-3). Close this connection, and
    /// make the new one as the old one: with its handshake (D-RECON-1), under the same authority key (D-RECON-4). Everything of the
    /// old one is gone with it (D-RECON-2).
    Reconnect(Endpoint),
    /// The connection is of no use. Close it.
    Fatal(Fatal),
}

/// Why a connection is of no use to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// The server takes extended channels only (D-FLAG-6, D-CONN-7).
    ExtendedChannelsOnly,
    /// The server fixes the version although the device requires version rolling (D-FLAG-4, D-CONN-7).
    FixedVersion,
    /// The server broke a rule.
    Server(ServerViolation),
    /// The server did not answer the request for a channel in time.
    NoAnswer,
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExtendedChannelsOnly => "the server takes extended channels only (D-FLAG-6)",
            Self::FixedVersion => "the server fixes the version, which this device must roll (D-FLAG-4)",
            Self::Server(violation) => return violation.fmt(f),
            Self::NoAnswer => "the server does not answer the request for a channel",
        })
    }
}

impl core::error::Error for Fatal {}
