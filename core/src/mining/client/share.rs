//! Sending shares and counting what became of them.

use core::fmt;

use super::event::{ClientEvent, Ignored};
use super::work::{Solution, max_ntime};
use super::{ClientProtocol, MiningClient, Out};
use crate::error::Error;
use crate::message::mining::{SubmitSharesError, SubmitSharesExtended, SubmitSharesStandard, SubmitSharesSuccess};
use crate::storage::Storage;
use crate::time::Instant;

/// Why a share was not sent. Nothing has changed but [`Statistics::not_sent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotSent {
    /// The work is over: another prevhash came, the job was pushed out by newer ones, the channel or the connection ended.
    Stale,
    /// The time is below the job's, or further ahead than the seconds that have passed (D-SHARE-2).
    Time,
    /// A version bit was changed that may not be (D-ALG-8, D-ALG-9).
    VersionBits,
    /// The extranonce has another length than was granted (D-SHARE-3).
    ExtranonceSize,
    /// The connection does not take it: [`Error::Full`] until the output buffer was drained, anything else for good. Not counted.
    Send(Error),
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "share not sent: its work is over",
            Self::Time => "share not sent: its time is out of bounds (D-SHARE-2)",
            Self::VersionBits => "share not sent: version bits changed that are fixed (D-ALG-9)",
            Self::ExtranonceSize => "share not sent: not the granted extranonce length (D-SHARE-3)",
            Self::Send(error) => return write!(f, "share not sent: {error}"),
        })
    }
}

impl core::error::Error for NotSent {}

/// What became of shares. Shares are counted one by one, so that none of the counts comes to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Sent.
    pub submitted: u64,
    /// Accepted by the server.
    pub accepted: u64,
    /// Rejected by the server.
    pub rejected: u64,
    /// Not answered before their channel or connection ended.
    pub lost: u64,
    /// Found, but not sent, because they could not count any more.
    pub not_sent: u64,
    /// Sum of the accepted ones' difficulty, as the server counts it (draft open question 30).
    pub difficulty: u64,
}

impl Statistics {
    /// Sent and not answered yet.
    #[must_use]
    #[cfg_attr(target_os = "none", inline(never))]
    pub const fn unanswered(&self) -> u64 {
        // Each share is counted as submitted first, and has one end.
        self.submitted.wrapping_sub(self.accepted).wrapping_sub(self.rejected).wrapping_sub(self.lost)
    }

    /// So many shares were accepted.
    #[cfg_attr(target_os = "none", inline(never))]
    const fn accept(&mut self, count: u64, difficulty: u64) {
        self.accepted = self.accepted.wrapping_add(count);
        // What a server says.
        self.difficulty = self.difficulty.saturating_add(difficulty);
    }

    /// A channel with these counts has ended.
    pub(super) const fn lose(&mut self, channel: &Self) {
        self.lost = self.lost.wrapping_add(channel.unanswered());
    }
}

impl<S: Storage, Pr: ClientProtocol, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>
    MiningClient<S, CHANNELS, COINBASE, PATH, Pr>
{
    /// Sends a share and gives its sequence number (D-SHARE-1). What could not count is not sent.
    ///
    /// The hash is not worked out again: the hasher has compared it with the target of the work.
    pub fn submit(&mut self, now: Instant, solution: &Solution, out: &mut Out<'_, Pr>) -> Result<u32, NotSent> {
        let result = self.try_submit(now, solution, out);
        match result {
            Ok(_) => self.statistics.submitted = self.statistics.submitted.wrapping_add(1),
            Err(NotSent::Send(_)) => {}
            Err(_) => self.statistics.not_sent = self.statistics.not_sent.wrapping_add(1),
        }
        result
    }

    fn try_submit(&mut self, now: Instant, solution: &Solution, out: &mut Out<'_, Pr>) -> Result<u32, NotSent> {
        let terms = self.terms;
        let channel = self.find_mut(solution.channel_id).ok_or(NotSent::Stale)?;
        let job = channel.workable(solution.serial).ok_or(NotSent::Stale)?;
        // D-SHARE-2
        if !(job.min_ntime..=max_ntime(job.min_ntime, job.since, now)).contains(&solution.ntime) {
            return Err(NotSent::Time);
        }
        // D-ALG-8, D-ALG-9
        if (solution.version ^ job.version) & !terms.version_mask(job.rolling) != 0 {
            return Err(NotSent::VersionBits);
        }
        // D-SHARE-3
        let extranonce = solution.extranonce.as_slice();
        let size = if channel.is_extended() { usize::from(channel.extranonce_size) } else { 0 };
        if extranonce.len() != size {
            return Err(NotSent::ExtranonceSize);
        }
        // D-SHARE-1: counted for each channel, from 1.
        let sequence_number = channel.sequence_number.wrapping_add(1);
        let (channel_id, job_id) = (channel.id, job.id);
        let Solution { version, ntime, nonce, .. } = *solution;
        if channel.is_extended() {
            out.send(&SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: extranonce.into(),
            })
        } else {
            out.send(&SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version })
        }
        .map_err(NotSent::Send)?;
        channel.sequence_number = sequence_number;
        channel.statistics.submitted = channel.statistics.submitted.wrapping_add(1);
        Ok(sequence_number)
    }

    /// D-SHARE-4. A server that accepts more than was sent is believed as far as something was.
    pub(super) fn accepted<'m>(&mut self, message: &SubmitSharesSuccess) -> ClientEvent<'m> {
        let Some(channel) = self.find_mut(message.channel_id) else {
            return ClientEvent::Ignored(Ignored::UnknownChannel(message.channel_id));
        };
        let count = u64::from(message.new_submits_accepted_count).min(channel.statistics.unanswered());
        if count == 0 {
            return ClientEvent::Ignored(Ignored::NothingUnanswered);
        }
        let difficulty = message.new_shares_sum;
        channel.statistics.accept(count, difficulty);
        self.statistics.accept(count, difficulty);
        ClientEvent::Accepted {
            channel_id: message.channel_id,
            last_sequence_number: message.last_sequence_number,
            count,
            difficulty,
        }
    }

    /// D-SHARE-6, D-ERR-1: counted and told, whatever the code says. What to stop working on is told by jobs, not by codes; so both
    /// spellings of `difficulty-too-low` are the same here (draft open question 22).
    pub(super) fn rejected<'m>(&mut self, message: &SubmitSharesError<'m>) -> ClientEvent<'m> {
        let Some(channel) = self.find_mut(message.channel_id) else {
            return ClientEvent::Ignored(Ignored::UnknownChannel(message.channel_id));
        };
        if channel.statistics.unanswered() == 0 {
            return ClientEvent::Ignored(Ignored::NothingUnanswered);
        }
        channel.statistics.rejected = channel.statistics.rejected.wrapping_add(1);
        self.statistics.rejected = self.statistics.rejected.wrapping_add(1);
        ClientEvent::Rejected {
            channel_id: message.channel_id,
            sequence_number: message.sequence_number,
            error_code: message.error_code,
        }
    }
}
