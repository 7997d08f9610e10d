//! Jobs of the client's own making (`SetCustomMiningJob`).
//!
//! Whether a token is good, and what the pool wants to be paid, is the owner's to say; the rest is checked here. A custom job is stored as
//! the channel's own, within bounds. It may build on a block that the pool's own provider has not told of yet.

use super::channel::{JobSource, LiveJob, Told};
use super::{MiningServer, Out, Received, Shared};
use crate::error::Error;
use crate::message::ChannelKind;
use crate::message::mining::{SetCustomMiningJob, SetCustomMiningJobError, SetCustomMiningJobSuccess, SetupFlags};
use crate::mining::custom::{CoinbaseFault, MAX_SCRIPT_PREFIX, write_coinbase};
use crate::mining::job::{JobBook, Parts};
use crate::mining::target::Target;
use crate::storage::{List, Storage};
use crate::time::Instant;
use crate::wire::{B064K, Revision};

/// A custom job whose token is to be checked; everything else was.
#[derive(Clone, Copy, Debug)]
pub struct CustomRequest<'m> {
    /// The request as it came.
    pub message: SetCustomMiningJob<'m>,
    /// The account of the channel.
    pub account: u64,
}

impl CustomRequest<'_> {
    /// The token, as job negotiation gave it out.
    #[must_use]
    pub const fn token(&self) -> &[u8] {
        self.message.mining_job_token.as_bytes()
    }
}

/// The coinbase of a custom job.
#[derive(Clone, Copy, Debug)]
pub enum CustomCoinbase<'a> {
    /// As the request describes it: its script begins with the given prefix, then comes the extranonce (C-CUST-5).
    AsGiven,
    /// Made by the pool, without witness; the client of the draft learns it from the answer (D-CUST-4).
    Parts {
        /// Everything before the extranonce.
        prefix: &'a [u8],
        /// Everything behind the extranonce.
        suffix: &'a [u8],
    },
}

/// A stored custom job.
pub(super) struct CustomJob<S: Storage> {
    /// Its number on the connection; 0 for a free place.
    pub(super) id: u32,
    pub(super) channel_id: u32,
    pub(super) prev_hash: [u8; 32],
    pub(super) min_ntime: u32,
    pub(super) nbits: u32,
    pub(super) network_target: Target,
    pub(super) version: u32,
    pub(super) since: Instant,
    /// The pool's prevhash when the job came.
    serial: u32,
    pub(super) parts: Parts<S>,
}

impl<S: Storage> CustomJob<S> {
    fn empty() -> Self {
        Self {
            id: 0,
            channel_id: 0,
            prev_hash: [0; 32],
            min_ntime: 0,
            nbits: 0,
            network_target: Target::ZERO,
            version: 0,
            since: Instant::ORIGIN,
            serial: 0,
            parts: Parts::default(),
        }
    }

    /// Frees the place; its memory stays for the next job.
    pub(super) fn free(&mut self) {
        self.id = 0;
        self.channel_id = 0;
    }

    /// Whether the block that the job builds on can still be the best one: the pool's own prevhash, or one that came
    /// ahead of the pool's and was not contradicted since.
    pub(super) fn is_live(&self, book: &JobBook<S>) -> bool {
        self.id != 0
            && (self.serial == book.prev_hash_serial()
                || book.prev_hash().is_some_and(|prev| prev.prev_hash == self.prev_hash))
    }
}

#[cfg(feature = "alloc")]
impl CustomJob<crate::storage::Heap> {
    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.parts.heap_bytes()
    }
}

/// Why a custom job is refused without asking anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NotNegotiated,
    Channel,
    ScriptPrefix,
    Nbits,
    Outputs,
    ExtranonceSize,
    FutureJob,
    NoRoom,
    TooLarge,
}

impl From<CoinbaseFault> for Fault {
    fn from(fault: CoinbaseFault) -> Self {
        match fault {
            CoinbaseFault::Outputs => Self::Outputs,
            CoinbaseFault::TooLong => Self::TooLarge,
        }
    }
}

impl Fault {
    /// D-CUST-5 in the draft, the newer codes in the current revision.
    const fn code(self, revision: Revision) -> &'static str {
        match (self, revision) {
            (Self::NotNegotiated, _) => SetCustomMiningJobError::JD_NOT_SUPPORTED,
            (Self::Channel, _) => SetCustomMiningJobError::INVALID_CHANNEL_ID,
            (Self::ScriptPrefix, Revision::Draft) => "invalid-job-param-value-coinbase_prefix",
            (Self::ScriptPrefix, Revision::Current) => SetCustomMiningJobError::INVALID_COINBASE_PREFIX,
            (Self::Nbits, Revision::Draft) => "invalid-job-param-value-nbits",
            (Self::Nbits, Revision::Current) => SetCustomMiningJobError::INVALID_NBITS,
            (Self::Outputs | Self::TooLarge, Revision::Draft) => "invalid-job-param-value-coinbase_tx_outputs",
            (Self::Outputs, Revision::Current) => SetCustomMiningJobError::INVALID_COINBASE_TX_OUTPUTS,
            (Self::TooLarge, Revision::Current) => SetCustomMiningJobError::INVALID_COINBASE_TX,
            (Self::ExtranonceSize, _) => "invalid-job-param-value-extranonce_size",
            (Self::FutureJob, _) => "invalid-job-param-value-future_job",
            // Not in the lists, which know no server with bounded memory.
            (Self::NoRoom, _) => "too-many-custom-jobs",
        }
    }
}

impl<S: Storage> MiningServer<S> {
    /// What is wrong whatever the token says is refused here.
    pub(super) fn check_custom<'m>(
        &mut self,
        shared: &Shared<S>,
        message: &SetCustomMiningJob<'m>,
        out: &mut Out<'_>,
    ) -> Result<Received<'m>, Error> {
        match self.custom_fault(shared, message) {
            Ok(account) => Ok(Received::Custom(CustomRequest { message: *message, account })),
            Err(fault) => {
                Self::send_custom_error(message, fault.code(self.revision), out)?;
                Ok(Received::Done)
            }
        }
    }

    fn custom_fault(&self, shared: &Shared<S>, message: &SetCustomMiningJob<'_>) -> Result<u64, Fault> {
        // D-FLAG-2.
        if !shared.config().custom_jobs || !self.flags.contains(SetupFlags::REQUIRES_WORK_SELECTION) {
            return Err(Fault::NotNegotiated);
        }
        // D-CUST-1. Groups, which the current revision allows, are refused too: replies are described for single channels only.
        let channel = self.slots.get(message.channel_id).ok_or(Fault::Channel)?;
        if channel.kind != ChannelKind::Extended {
            return Err(Fault::Channel);
        }
        if message.coinbase_prefix.len() > MAX_SCRIPT_PREFIX {
            return Err(Fault::ScriptPrefix);
        }
        if Target::from_nbits(message.nbits).is_err() {
            return Err(Fault::Nbits);
        }
        if message.coinbase_tx_outputs.iter().any(|output| output.is_err()) {
            return Err(Fault::Outputs);
        }
        let size = message.extranonce_size.get();
        if size.is_some_and(|size| usize::from(size) != shared.space.rollable_len()) {
            return Err(Fault::ExtranonceSize);
        }
        // Draft open question 21.
        if message.future_job.get() == Some(true) {
            return Err(Fault::FutureJob);
        }
        Ok(channel.account)
    }

    fn send_custom_error(message: &SetCustomMiningJob<'_>, code: &str, out: &mut Out<'_>) -> Result<(), Error> {
        out.send(&SetCustomMiningJobError {
            channel_id: message.channel_id,
            request_id: message.request_id,
            error_code: code.into(),
        })
    }

    /// Refuses a custom job, for a bad token with [`SetCustomMiningJobError::INVALID_MINING_JOB_TOKEN`] (D-CUST-5).
    pub fn refuse_custom(&self, request: &CustomRequest<'_>, code: &str, out: &mut Out<'_>) -> Result<(), Error> {
        Self::send_custom_error(&request.message, code, out)
    }

    /// Accepts a custom job: stores it, and tells the client its number (D-CUST-2 to D-CUST-4). None when it could not be stored after all; the
    /// client was told then. As long as it can be mined the channel hears of no other jobs; a prevhash that ends it comes with
    /// the pool's own.
    pub fn accept_custom(
        &mut self,
        now: Instant,
        shared: &mut Shared<S>,
        request: &CustomRequest<'_>,
        coinbase: CustomCoinbase<'_>,
        out: &mut Out<'_>,
    ) -> Result<Option<u32>, Error> {
        let message = &request.message;
        let outcome = self
            .custom_fault(shared, message)
            .and_then(|_| Self::custom_job(now, shared, message, coinbase))
            .and_then(|job| Ok((self.custom_place(shared.book(), message.channel_id).ok_or(Fault::NoRoom)?, job)));
        let (at, mut job) = match outcome {
            Ok(found) => found,
            Err(fault) => {
                Self::send_custom_error(message, fault.code(self.revision), out)?;
                return Ok(None);
            }
        };
        let id = self.last_job.checked_add(1).unwrap_or(1);
        // It was found above. What is in it lives on until the answer is in the buffer.
        let Some(place) = self.custom.get_mut(at) else { return Ok(None) };
        out.send(&SetCustomMiningJobSuccess {
            channel_id: message.channel_id,
            request_id: message.request_id,
            job_id: id,
            coinbase_tx_prefix: B064K::new(job.parts.prefix()).into(),
            coinbase_tx_suffix: B064K::new(job.parts.suffix()).into(),
        })?;
        job.id = id;
        *place = job;
        self.last_job = id;
        if let Some(channel) = self.slots.index_of(message.channel_id).and_then(|index| self.slots.at_mut(index)) {
            channel.custom = true;
            // Known when it was opened, unless the operator has allowed custom jobs since.
            channel.may_bring = true;
            // Jobs of blocks that are over; their shares stay remembered, for the client may bring such a block again.
            let (book, custom) = (shared.book(), &self.custom);
            channel.jobs.retain(|job| match job.source {
                JobSource::Book(book_id) => book.live(book_id).is_some(),
                JobSource::Custom => custom.iter().any(|custom| custom.id == job.id && custom.is_live(book)),
            });
            let live = LiveJob {
                id,
                source: JobSource::Custom,
                book_place: u8::MAX,
                target: channel.told_target,
                root: None,
                generation: channel.duplicates.generation(),
                future: false,
            };
            channel.add_job(live, shared);
        }
        Ok(Some(id))
    }

    /// D-MIN-6: channels whose last custom job was ended by a prevhash are back at the pool's jobs, so that nobody mines for nothing while
    /// the next one is negotiated. Their client may bring one at any time.
    pub(super) fn end_custom_work(&mut self, book: &JobBook<S>) {
        let custom = &self.custom;
        for channel in self.slots.iter_mut().filter(|channel| channel.custom) {
            let id = channel.id;
            if !custom.iter().any(|job| job.channel_id == id && job.is_live(book)) {
                channel.custom = false;
                channel.jobs.retain(|job| job.source != JobSource::Custom);
                channel.told = Told::default();
            }
        }
    }

    /// A place for a job of this channel: a free one, one whose job is over, a new one, or that of the channel's own oldest job.
    fn custom_place(&mut self, book: &JobBook<S>, channel_id: u32) -> Option<usize> {
        if let Some(at) = self.custom.iter().position(|job| !job.is_live(book)) {
            return Some(at);
        }
        if self.custom.push(CustomJob::empty()).is_ok() {
            return self.custom.len().checked_sub(1);
        }
        let own = self.custom.iter().enumerate().filter(|(_, job)| job.channel_id == channel_id);
        own.min_by_key(|(_, job)| job.id).map(|(at, _)| at)
    }

    /// The job that a request describes, yet without a number.
    fn custom_job(
        now: Instant,
        shared: &Shared<S>,
        message: &SetCustomMiningJob<'_>,
        coinbase: CustomCoinbase<'_>,
    ) -> Result<CustomJob<S>, Fault> {
        let mut job = CustomJob {
            id: 0,
            channel_id: message.channel_id,
            prev_hash: message.prev_hash.0,
            min_ntime: message.min_ntime,
            nbits: message.nbits,
            network_target: Target::from_nbits(message.nbits).map_err(|_| Fault::Nbits)?,
            version: message.version,
            since: now,
            serial: shared.book().prev_hash_serial(),
            parts: Parts::default(),
        };
        let parts = &mut job.parts;
        match coinbase {
            CustomCoinbase::Parts { prefix, suffix } => {
                parts.push_prefix(prefix).and_then(|()| parts.push_suffix(suffix)).map_err(|_| Fault::TooLarge)?;
            }
            CustomCoinbase::AsGiven => write_coinbase(message, shared.space.full_len(), parts)?,
        }
        // What the answer's fields can carry.
        if parts.prefix().len().max(parts.suffix().len()) > usize::from(u16::MAX) {
            return Err(Fault::TooLarge);
        }
        message.merkle_path.iter().try_for_each(|hash| parts.push_path(hash)).map_err(|_| Fault::TooLarge)?;
        Ok(job)
    }
}

#[cfg(test)]
mod tests;
