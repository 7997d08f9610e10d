//! Shares and their acknowledgement.

use crate::message::ErrorCode;
use crate::wire::B032;

message! {
    /// A share of a standard channel.
    mining, client to server: SubmitSharesStandard "SubmitSharesStandard"
        draft(0x1a + channel_msg) current(0x1a + channel_msg)
    {
        /// The channel.
        channel_id: u32,
        /// Counted by the client, for each channel (D-SHARE-1).
        sequence_number: u32,
        /// The job worked on.
        job_id: u32,
        /// Nonce of the block header.
        nonce: u32,
        /// Time of the block header, in seconds since 1970 (D-SHARE-2).
        ntime: u32,
        /// Version of the block header, all of it, after rolling (D-ALG-9).
        version: u32,
    }
}

message! {
    /// A share of an extended channel.
    mining, client to server: SubmitSharesExtended<'a> "SubmitSharesExtended"
        draft(0x1b + channel_msg) current(0x1b + channel_msg)
    {
        /// The channel.
        channel_id: u32,
        /// Counted by the client, for each channel (D-SHARE-1).
        sequence_number: u32,
        /// The job worked on.
        job_id: u32,
        /// Nonce of the block header.
        nonce: u32,
        /// Time of the block header, in seconds since 1970 (D-SHARE-2).
        ntime: u32,
        /// Version of the block header, all of it, after rolling (D-ALG-9).
        version: u32,
        /// The rolled bytes, as many as the channel was granted (D-SHARE-3).
        extranonce: B032<'a>,
    }
}

message! {
    /// Shares that were accepted since the last of these (D-SHARE-4).
    mining, server to client: SubmitSharesSuccess "SubmitShares.Success"
        draft(0x1c + channel_msg) current(0x1c + channel_msg)
    {
        /// The channel.
        channel_id: u32,
        /// Latest accepted sequence number.
        last_sequence_number: u32,
        /// Submissions that this message accepts.
        new_submits_accepted_count: u32,
        /// Sum of the difficulties of their targets (draft open question 30).
        new_shares_sum: u64,
    }
}

message! {
    /// A share that was refused (D-SHARE-6).
    mining, server to client: SubmitSharesError<'a> "SubmitShares.Error"
        draft(0x1d + channel_msg) current(0x1d + channel_msg)
    {
        /// The channel.
        channel_id: u32,
        /// Of the refused submission.
        sequence_number: u32,
        /// Why.
        error_code: ErrorCode<'a>,
    }
    errors {
        /// No such channel.
        INVALID_CHANNEL_ID = "invalid-channel-id",
        /// The job builds on a block that is no longer the best, or was replaced.
        STALE_SHARE = "stale-share",
        /// The hash is above the target (D-TGT-3).
        DIFFICULTY_TOO_LOW = "difficulty-too-low",
        /// No such job.
        INVALID_JOB_ID = "invalid-job-id",
        /// The share cannot be checked: its time is out of bounds, for one.
        INVALID_SHARE = "invalid-share",
        /// The same share was accepted before.
        DUPLICATE_SHARE = "duplicate-share",
        /// The extranonce has not the length that the channel was granted (D-SHARE-3).
        BAD_EXTRANONCE_SIZE = "bad-extranonce-size",
        /// The version was rolled where it must not be (D-ALG-8).
        VERSION_ROLLING_NOT_ALLOWED = "version-rolling-not-allowed",
        /// A bit of the version outside the mask was changed (D-ALG-9).
        INVALID_NON_ROLLABLE_VERSION_BIT = "invalid-non-rollable-version-bit",
    }
}
