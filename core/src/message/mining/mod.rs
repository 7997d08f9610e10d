//! Mining messages (draft 04, current 05): flags, channels, jobs, shares.

mod channel;
mod custom;
mod job;
mod share;

pub use channel::*;
pub use custom::*;
pub use job::*;
pub use share::*;

use super::Unread;

flags! {
    /// `SetupConnection.flags` of a mining connection: what the client requires.
    pub struct SetupFlags {
        /// The client takes standard jobs only: none for groups, no `SetGroupChannel` (D-FLAG-1).
        REQUIRES_STANDARD_JOBS = 0,
        /// The client will send `SetCustomMiningJob` (D-FLAG-2).
        REQUIRES_WORK_SELECTION = 1,
        /// The client needs jobs whose version it may roll (D-FLAG-3).
        REQUIRES_VERSION_ROLLING = 2,
    }
}

flags! {
    /// `SetupConnection.Success.flags` of a mining connection: what the server requires.
    pub struct SuccessFlags {
        /// The server accepts no change of the version (D-FLAG-4, D-FLAG-5).
        REQUIRES_FIXED_VERSION = 0,
        /// The server accepts no standard channel (D-FLAG-6).
        REQUIRES_EXTENDED_CHANNELS = 1,
    }
}

message_set! {
    /// Mining messages that a client sends.
    pub enum ToServer<'a> {
        SubmitSharesStandard(SubmitSharesStandard),
        SubmitSharesExtended(SubmitSharesExtended<'a>),
        UpdateChannel(UpdateChannel),
        OpenStandardMiningChannel(OpenStandardMiningChannel<'a>),
        OpenExtendedMiningChannel(OpenExtendedMiningChannel<'a>),
        CloseChannel(CloseChannel<'a>),
        SetCustomMiningJob(SetCustomMiningJob<'a>),
    }
}

message_set! {
    /// Mining messages that a server sends.
    pub enum ToClient<'a> {
        SubmitSharesSuccess(SubmitSharesSuccess),
        SubmitSharesError(SubmitSharesError<'a>),
        NewMiningJob(NewMiningJob),
        NewExtendedMiningJob(NewExtendedMiningJob<'a>),
        SetNewPrevHash(SetNewPrevHash),
        SetTarget(SetTarget),
        OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess<'a>),
        OpenExtendedMiningChannelSuccess(OpenExtendedMiningChannelSuccess<'a>),
        OpenMiningChannelError(OpenMiningChannelError<'a>),
        UpdateChannelError(UpdateChannelError<'a>),
        CloseChannel(CloseChannel<'a>),
        SetExtranoncePrefix(SetExtranoncePrefix<'a>),
        SetCustomMiningJobSuccess(SetCustomMiningJobSuccess<'a>),
        SetCustomMiningJobError(SetCustomMiningJobError<'a>),
        SetGroupChannel(SetGroupChannel<'a>),
    }
}

message_set! {
    /// Mining messages that a server sends to a client of standard jobs (D-FLAG-1). What only other clients may get is not read.
    pub enum ToStandardClient<'a> {
        SubmitSharesSuccess(SubmitSharesSuccess),
        SubmitSharesError(SubmitSharesError<'a>),
        NewMiningJob(NewMiningJob),
        SetNewPrevHash(SetNewPrevHash),
        SetTarget(SetTarget),
        OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess<'a>),
        OpenMiningChannelError(OpenMiningChannelError<'a>),
        UpdateChannelError(UpdateChannelError<'a>),
        CloseChannel(CloseChannel<'a>),
        SetExtranoncePrefix(SetExtranoncePrefix<'a>),
        NewExtendedMiningJob(Unread<'a, NewExtendedMiningJob<'a>>),
        OpenExtendedMiningChannelSuccess(Unread<'a, OpenExtendedMiningChannelSuccess<'a>>),
        SetCustomMiningJobSuccess(Unread<'a, SetCustomMiningJobSuccess<'a>>),
        SetCustomMiningJobError(Unread<'a, SetCustomMiningJobError<'a>>),
        SetGroupChannel(Unread<'a, SetGroupChannel<'a>>),
    }
}
