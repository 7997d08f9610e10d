//! Opening, updating, grouping and closing channels; their extranonce prefix and their target.

use crate::message::{ChannelKind, CurrentOnly, ErrorCode};
use crate::wire::{B032, Seq064K, Str0255, U256};

message! {
    /// Asks for a standard channel (D-OPEN-1, D-OPEN-3 to D-OPEN-5).
    mining, client to server: OpenStandardMiningChannel<'a> "OpenStandardMiningChannel"
        draft(0x10) current(0x10)
    {
        /// Chosen by the client, unique on the connection; the server echoes it (D-OPEN-3).
        request_id: u32,
        /// Account and worker, UTF-8 advised.
        user_identity: Str0255<'a>,
        /// Expected hashes per second, of all devices behind the channel; 0.0 when there are none yet (D-OPEN-4).
        nominal_hash_rate: f32,
        /// Easiest target that the client accepts (D-OPEN-5).
        max_target: U256,
    }
}

message! {
    /// The standard channel is open.
    mining, server to client: OpenStandardMiningChannelSuccess<'a> "OpenStandardMiningChannel.Success"
        draft(0x11) current(0x11)
    {
        /// Of the request.
        request_id: u32,
        /// The new channel, stable for the connection (D-CHAN-1).
        channel_id: u32,
        /// First target of its shares.
        target: U256,
        /// The extranonce with which a group's extended job becomes this channel's merkle root (D-ALG-1).
        extranonce_prefix: B032<'a>,
        /// Group that the channel belongs to (D-CHAN-4).
        group_channel_id: u32,
    }
}

message! {
    /// Asks for an extended channel.
    mining, client to server: OpenExtendedMiningChannel<'a> "OpenExtendedMiningChannel"
        draft(0x13) current(0x13)
    {
        /// Chosen by the client, unique on the connection; the server echoes it (D-OPEN-3).
        request_id: u32,
        /// Account and worker, UTF-8 advised.
        user_identity: Str0255<'a>,
        /// Expected hashes per second, of all devices behind the channel; 0.0 when there are none yet (D-OPEN-4).
        nominal_hash_rate: f32,
        /// Easiest target that the client accepts (D-OPEN-5).
        max_target: U256,
        /// Fewest extranonce bytes that the client needs to roll (D-OPEN-7).
        min_extranonce_size: u16,
    }
}

message! {
    /// The extended channel is open.
    mining, server to client: OpenExtendedMiningChannelSuccess<'a> "OpenExtendedMiningChannel.Success"
        draft(0x14) current(0x14)
    {
        /// Of the request.
        request_id: u32,
        /// The new channel, stable for the connection (D-CHAN-1).
        channel_id: u32,
        /// First target of its shares.
        target: U256,
        /// Extranonce bytes that the client rolls, behind the prefix (D-OPEN-7).
        extranonce_size: u16,
        /// Extranonce bytes that stay fixed (D-ALG-2).
        extranonce_prefix: B032<'a>,
        /// Group that the channel belongs to. In the draft extended channels have none (D-CHAN-4).
        group_channel_id: CurrentOnly<u32>,
    }
}

message! {
    /// No channel is opened.
    ///
    /// The draft numbers it by the kind of the request (D-OPEN-6, draft open question 9); what counts for the receiver is the
    /// request id.
    mining, server to client: OpenMiningChannelError<'a> "OpenMiningChannel.Error"
        draft(0x12 as "OpenStandardMiningChannel.Error", 0x15 as "OpenExtendedMiningChannel.Error")
        current(0x12)
        numbered by kind
    {
        /// Kind of the request, by which the draft's number is chosen. Not on the wire otherwise: the current revision's
        /// messages always read `Standard`.
        kind: ChannelKind,
        /// Of the request.
        request_id: u32,
        /// Why.
        error_code: ErrorCode<'a>,
    }
    errors {
        /// The server does not know the user identity.
        UNKNOWN_USER = "unknown-user",
        /// No target that the client accepts suits the server.
        MAX_TARGET_OUT_OF_RANGE = "max-target-out-of-range",
        /// Standard channels cannot carry custom work.
        STANDARD_CHANNELS_NOT_SUPPORTED_FOR_CUSTOM_WORK = "standard-channels-not-supported-for-custom-work",
        /// The client takes standard jobs only.
        EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS = "extended-channels-not-supported-for-standard-jobs",
        /// The user identity is not well formed.
        INVALID_USER_IDENTITY = "invalid-user-identity",
        /// The hash rate is not a hash rate.
        INVALID_NOMINAL_HASHRATE = "invalid-nominal-hashrate",
        /// The client wants to roll more extranonce bytes than there are.
        MIN_EXTRANONCE_SIZE_TOO_LARGE = "min-extranonce-size-too-large",
        /// The server cannot grant that many extranonce bytes.
        UNSUPPORTED_MIN_EXTRANONCE_SIZE = "unsupported-min-extranonce-size",
    }
}

message! {
    /// The channel's hash rate or wishes have changed (D-UPD-1, D-UPD-2).
    mining, client to server: UpdateChannel "UpdateChannel"
        draft(0x16 + channel_msg) current(0x16 + channel_msg)
    {
        /// The channel.
        channel_id: u32,
        /// Expected hashes per second from now on.
        nominal_hash_rate: f32,
        /// Easiest target that the client accepts from now on; the server answers by `SetTarget` (D-UPD-3).
        maximum_target: U256,
    }
}

message! {
    /// The update was refused (D-UPD-4).
    mining, server to client: UpdateChannelError<'a> "UpdateChannel.Error"
        draft(0x17 + channel_msg) current(0x17 + channel_msg)
    {
        /// The channel.
        channel_id: u32,
        /// Why.
        error_code: ErrorCode<'a>,
    }
    errors {
        /// No target that the client accepts suits the server.
        MAX_TARGET_OUT_OF_RANGE = "max-target-out-of-range",
        /// No such channel.
        INVALID_CHANNEL_ID = "invalid-channel-id",
        /// The hash rate is not a hash rate (current revision).
        INVALID_NOMINAL_HASHRATE = "invalid-nominal-hashrate",
    }
}

message! {
    /// The channel ends; nothing more is sent for it (D-CLOSE-1).
    mining, either to other: CloseChannel<'a> "CloseChannel"
        draft(0x18 + channel_msg) current(0x18 + channel_msg)
    {
        /// The channel; in the current revision also a group, which closes all its members.
        channel_id: u32,
        /// Why; under the same limits as error codes (C-ERR-4).
        reason_code: ErrorCode<'a>,
    }
}

message! {
    /// Another extranonce prefix for jobs that come after it (D-EXN-1, D-EXN-2).
    mining, server to client: SetExtranoncePrefix<'a> "SetExtranoncePrefix"
        draft(0x19 + channel_msg) current(0x19 + channel_msg)
    {
        /// A standard or extended channel, never a group (D-EXN-2).
        channel_id: u32,
        /// The prefix.
        extranonce_prefix: B032<'a>,
    }
}

message! {
    /// Another target for later jobs (D-TGT-1, D-TGT-2).
    mining, server to client: SetTarget "SetTarget"
        draft(0x21 + channel_msg) current(0x21 + channel_msg)
    {
        /// A channel, or a group and with it all its members (D-TGT-2).
        channel_id: u32,
        /// Largest hash of a good share (D-ALG-6).
        maximum_target: U256,
    }
}

message! {
    /// Puts channels into a group (D-GRP-1 to D-GRP-3).
    mining, server to client: SetGroupChannel<'a> "SetGroupChannel"
        draft(0x26) current(0x25)
    {
        /// The group (D-GRP-1).
        group_channel_id: u32,
        /// Open channels that move to the group: standard ones in the draft, either kind in the current revision (D-GRP-3).
        channel_ids: Seq064K<'a, u32>,
    }
}
