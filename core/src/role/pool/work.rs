//! From templates to jobs: the pool's coinbase for each template, the tip for all channels.

use core::fmt;

use super::{Pool, ProviderEvent, TemplateNews};
use crate::config::{COINBASE_HEAP, COINBASE_INLINE, PAYOUTS_HEAP, PAYOUTS_INLINE, SCRIPT_HEAP, SCRIPT_INLINE};
use crate::error::Error;
use crate::message::template::ToClient;
use crate::mining::extranonce::ExtranoncePrefix;
use crate::mining::header::Header;
use crate::mining::job::{BookError, NewJob, PrevHash};
use crate::mining::server::{Shared, SolutionSource};
use crate::storage::{List, NoRoom, Storage};
use crate::template::client::{Found, HeldBlock, ProviderViolation, TemplateEvent, ToProvider};
use crate::template::coinbase::{
    Coinbase, CoinbaseError, JOB_NUMBER_LEN, MAX_PREFIX_LEN, MAX_TAG, Payout, payouts_sigops, payouts_size,
    suffix_commits_to_witness,
};
use crate::template::store::{Constraints, Template};
use crate::time::Instant;

/// Why a template gave no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobError {
    /// The coinbase could not be made.
    Coinbase(CoinbaseError),
    /// The job book did not take it.
    Book(BookError),
    /// The coinbase is longer than is kept.
    TooLong,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coinbase(error) => error.fmt(f),
            Self::Book(error) => error.fmt(f),
            Self::TooLong => f.write_str("coinbase longer than is kept"),
        }
    }
}

impl core::error::Error for JobError {}

/// Where the reward goes, and how the pool signs its coinbases.
pub(super) struct Rewards<S: Storage> {
    payouts: S::List<Output<S>, PAYOUTS_INLINE, PAYOUTS_HEAP>,
    tag: heapless::Vec<u8, MAX_TAG>,
    /// Jobs that were made, in the width that coinbases carry.
    jobs: u32,
    /// Coinbase bytes behind the extranonce while a job is made.
    scratch: S::List<u8, COINBASE_INLINE, COINBASE_HEAP>,
}

struct Output<S: Storage> {
    script: S::List<u8, SCRIPT_INLINE, SCRIPT_HEAP>,
    weight: u64,
}

impl<S: Storage> Rewards<S> {
    pub(super) fn new(payouts: &[Payout<'_>], tag: &[u8]) -> Result<Self, CoinbaseError> {
        let tag = heapless::Vec::from_slice(tag).map_err(|_| CoinbaseError::TagTooLong(tag.len()))?;
        if payouts.iter().all(|payout| payout.weight == 0) {
            return Err(CoinbaseError::NoPayout);
        }
        let mut rewards = Self { payouts: Default::default(), tag, jobs: 0, scratch: Default::default() };
        for payout in payouts {
            let mut output: Output<S> = Output { script: Default::default(), weight: payout.weight };
            output.script.extend_from_slice(payout.script_pubkey).map_err(|_| CoinbaseError::NoRoom)?;
            rewards.payouts.push(output).map_err(|_| CoinbaseError::NoRoom)?;
        }
        Ok(rewards)
    }

    fn payouts(&self) -> impl Iterator<Item = Payout<'_>> + Clone {
        self.payouts.iter().map(|output| Payout { script_pubkey: &output.script, weight: output.weight })
    }

    /// What the template provider must leave room for (D-TDP-5).
    pub(super) fn constraints(&self) -> Constraints {
        Constraints {
            max_additional_size: payouts_size(self.payouts()),
            max_additional_sigops: payouts_sigops(self.payouts()),
        }
    }

    /// Makes the job of a template and adds it to the book (D-TDP-8, D-ALG-4).
    ///
    /// Each job has its number behind the pool's tag. Without it templates that are alike (the same one again from a provider whose link broke, or an empty
    /// one after an empty one) would make jobs that are alike, and devices, who begin every job anew, would find the shares of the first one again.
    fn add_job(&mut self, template: &Template<S>, future: bool, shared: &mut Shared<S>) -> Result<(), JobError> {
        self.jobs = self.jobs.wrapping_add(1);
        let mut scratch = core::mem::take(&mut self.scratch);
        let outcome = self.make(template, future, shared, &mut scratch);
        self.scratch = scratch;
        outcome
    }

    fn make(
        &self,
        template: &Template<S>,
        future: bool,
        shared: &mut Shared<S>,
        suffix: &mut S::List<u8, COINBASE_INLINE, COINBASE_HEAP>,
    ) -> Result<(), JobError> {
        let mut tag: heapless::Vec<u8, { MAX_TAG + JOB_NUMBER_LEN }> = heapless::Vec::new();
        let written = tag.extend_from_slice(&self.tag).and_then(|()| tag.extend_from_slice(&self.jobs.to_le_bytes()));
        written.map_err(|_| JobError::Coinbase(CoinbaseError::TagTooLong(self.tag.len())))?;
        let plan = Coinbase::new(template.coinbase(), self.payouts(), &tag, shared.space().full_len())
            .map_err(JobError::Coinbase)?;
        let mut prefix = [0; MAX_PREFIX_LEN];
        let prefix_len = plan.write_prefix(&mut prefix).map_err(JobError::Coinbase)?;
        resize(suffix, plan.suffix_len()).map_err(|NoRoom| JobError::TooLong)?;
        let suffix_len = plan.write_suffix(suffix).map_err(JobError::Coinbase)?;
        let job = NewJob {
            template_id: template.id(),
            future,
            version: template.version(),
            coinbase_prefix: prefix.get(..prefix_len).unwrap_or_default(),
            coinbase_suffix: suffix.get(..suffix_len).unwrap_or_default(),
        };
        let path = template.merkle_path().iter().map(|hash| hash.0);
        shared.add_job(&job, path).map(|_| ()).map_err(JobError::Book)
    }
}

/// Makes the list `len` zeros long.
fn resize<L: List<u8>>(list: &mut L, len: usize) -> Result<(), NoRoom> {
    const ZEROS: [u8; 64] = [0; 64];
    list.clear();
    while list.len() < len {
        list.extend_from_slice(ZEROS.get(..len - list.len()).unwrap_or(&ZEROS))?;
    }
    Ok(())
}

impl<S: Storage> Pool<S> {
    /// A connection to a template provider is open. Jobs follow its templates; poll its outbound at once.
    pub fn provider_connected(&mut self) {
        self.provider = true;
    }

    /// The connection to the template provider is gone. Devices go on with the job they have; found blocks wait for the next
    /// connection.
    pub fn provider_lost(&mut self) {
        self.provider = false;
        self.resuming = true;
        self.templates.disconnected();
    }

    /// Whether a template provider is connected. Without one the last job goes stale sooner or later.
    #[must_use]
    pub const fn has_provider(&self) -> bool {
        self.provider
    }

    /// Takes a message of the template provider; makes a job of a template, and moves all channels to a new tip. On an error close
    /// that connection and call [`Self::provider_lost`].
    pub fn handle_provider<'m>(
        &mut self,
        now: Instant,
        message: ToClient<'m>,
    ) -> Result<ProviderEvent<'m>, ProviderViolation> {
        Ok(match self.templates.handle(now, message)? {
            TemplateEvent::Template { id, future } => ProviderEvent::Template(match self.add_job(id) {
                Ok(()) => TemplateNews::Job { template_id: id, future },
                Err(why) => TemplateNews::NoJob { template_id: id, why },
            }),
            TemplateEvent::Unusable { id, why } => {
                ProviderEvent::Template(TemplateNews::Unusable { template_id: id, why })
            }
            TemplateEvent::Tip { template_id } | TemplateEvent::TipWithoutTemplate { template_id } => {
                ProviderEvent::Template(self.new_tip(now, template_id))
            }
            TemplateEvent::Transactions(message) => ProviderEvent::Transactions(message),
            TemplateEvent::NoTransactions(message) => ProviderEvent::NoTransactions(message),
        })
    }

    fn add_job(&mut self, template_id: u64) -> Result<(), JobError> {
        let Some((template, future)) = self.templates.template(template_id) else {
            return Err(JobError::Book(BookError::UnknownTemplate));
        };
        self.rewards.add_job(template, future, &mut self.shared)?;
        self.links.mark_all_dirty();
        Ok(())
    }

    /// D-MIN-4, D-MIN-6: the job of the named template is the current one, all others are gone; each connection is told the job
    /// first, then the prevhash.
    fn new_tip(&mut self, now: Instant, template_id: u64) -> TemplateNews {
        let Some((tip, _)) = self.templates.tip() else { return TemplateNews::TipWithoutJob { prev_hash: [0; 32] } };
        let prev_hash = tip.prev_hash;
        let prev = PrevHash {
            prev_hash,
            // D-TDP-12 says where time starts; a miner's time may not be before it (current open question 34).
            min_ntime: tip.header_timestamp,
            nbits: tip.n_bits,
            network_target: tip.target,
        };
        // A provider that came back (or another one) on the same tip: what is being mined stays good, and is not stale for a restart.
        let resumed = core::mem::take(&mut self.resuming)
            && self
                .shared
                .book()
                .prev_hash()
                .is_some_and(|known| PrevHash { min_ntime: prev.min_ntime, ..*known } == prev)
            && self.add_job(template_id).is_ok();
        if resumed {
            return TemplateNews::Tip { prev_hash, template_id };
        }
        let mut outcome = self.shared.set_prev_hash(now, prev, template_id).map(|_| ()).map_err(JobError::Book);
        if outcome.is_err() {
            // The book had no place for so many future jobs, or the job was not made; the template may be there still.
            outcome = self.add_job(template_id);
        }
        self.links.mark_all_dirty();
        match outcome {
            Ok(()) => TemplateNews::Tip { prev_hash, template_id },
            Err(_) => TemplateNews::TipWithoutJob { prev_hash },
        }
    }

    /// Other payouts or another tag from now on: tells the provider, and makes new jobs of the templates at hand.
    pub fn set_rewards(&mut self, payouts: &[Payout<'_>], tag: &[u8]) -> Result<(), JobError> {
        let rewards = Rewards::new(payouts, tag).map_err(JobError::Coinbase)?;
        // Counted on: to begin anew would make the first jobs once more, should payouts and tag be those of before.
        self.rewards = Rewards { jobs: self.rewards.jobs, ..rewards };
        self.templates.set_constraints(self.rewards.constraints());
        let best = self.templates.best().map(|template| (template, false));
        for (template, future) in self.templates.future().map(|template| (template, true)).chain(best) {
            self.rewards.add_job(template, future, &mut self.shared)?;
        }
        self.links.mark_all_dirty();
        Ok(())
    }

    /// Whether [`Self::poll_provider_outbound`] has something to send.
    #[must_use]
    pub fn provider_wants_outbound(&self) -> bool {
        self.provider && self.templates.is_dirty()
    }

    /// Sends the provider what it has yet to be told: constraints first, then found blocks (D-TDP-1, D-TDP-17). After
    /// [`Error::Full`] call again when the buffer was drained.
    pub fn poll_provider_outbound(&mut self, out: &mut ToProvider<'_>) -> Result<(), Error> {
        self.templates.poll_outbound(out)
    }

    /// Found blocks that no connection to a provider has taken yet, oldest first: to be kept when the pool ends, for nobody else has them.
    pub fn unsent_blocks(&self) -> impl Iterator<Item = HeldBlock<'_>> {
        self.templates.unsent()
    }

    /// All found blocks that may still be of use, told or not, oldest first: to be kept on disk against a crash for as long as they are here.
    pub fn held_blocks(&self) -> impl DoubleEndedIterator<Item = HeldBlock<'_>> {
        self.templates.held()
    }

    /// Whether the provider may yet take a block that no connection has taken, so that it is worth to wait for it, or to connect to it, before the pool ends.
    #[must_use]
    pub fn owes_a_block(&self) -> bool {
        self.templates.owes_a_block()
    }

    /// Queues a block that an earlier run left ([`Self::held_blocks`]). False when there is no room for it.
    pub fn restore_block(&mut self, block: &HeldBlock<'_>) -> bool {
        self.templates.restore(block).is_ok()
    }

    /// Queues a block for the provider (D-TDP-17). False when it can't be sent: a custom job's block is its maker's to submit, or
    /// more blocks wait than are kept.
    pub(super) fn submit(&mut self, source: SolutionSource, header: &Header, extranonce: &ExtranoncePrefix) -> bool {
        let SolutionSource::Job(job) = source else { return false };
        let Some(job) = self.shared.book().live(job) else { return false };
        self.templates
            .submit(&Found {
                template_id: job.template_id(),
                prev_hash: header.prev_hash,
                version: header.version,
                header_timestamp: header.ntime,
                header_nonce: header.nonce,
                coinbase_prefix: job.coinbase_prefix(),
                extranonce: [extranonce.as_slice(), &[]],
                coinbase_suffix: job.coinbase_suffix(),
                witness: suffix_commits_to_witness(job.coinbase_suffix()),
            })
            .is_ok()
    }
}
