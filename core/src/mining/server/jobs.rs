//! Telling channels and groups what to mine.
//!
//! A channel compares what it was told with the job book, and sends the difference step by step; each step is one message, and
//! the state follows only when the message is in the buffer. Where all members of a group need the same step, one message does it.

use super::channel::{Channel, JobSource, LiveJob, Step};
use super::{MiningServer, Out, Shared};
use crate::error::Error;
use crate::message::mining::{
    NewExtendedMiningJob, NewMiningJob, SetExtranoncePrefix, SetNewPrevHash, SetTarget, SetupFlags,
};
use crate::message::{ChannelKind, JobStart};
use crate::mining::job::{Job, JobBook, JobId};
use crate::storage::Storage;
use crate::wire::{Seq0255, U256};

impl<S: Storage> MiningServer<S> {
    /// Sends what the client has yet to be told, as far as there is room. After [`Error::Full`] call again when the buffer was drained: what
    /// became outdated meanwhile is left out. For each channel the order is prefix, target, job, prevhash, acknowledgement.
    pub fn poll_outbound(&mut self, shared: &mut Shared<S>, out: &mut Out<'_>) -> Result<(), Error> {
        self.urgent = false;
        let outcome = self.flush(shared, out);
        self.urgent |= outcome.is_err();
        outcome
    }

    fn flush(&mut self, shared: &mut Shared<S>, out: &mut Out<'_>) -> Result<(), Error> {
        if self.seen != shared.book().changes() {
            self.end_custom_work(shared.book());
            for at in 0..self.groups.len() {
                if let Some(group) = self.groups.get(at).copied() {
                    self.tell_group(group.id, shared, out)?;
                }
            }
            for index in self.slots.indexes() {
                self.slots.enqueue(index);
            }
            self.seen = shared.book().changes();
        }
        for _ in 0..self.slots.queued() {
            let Some(index) = self.slots.front() else { break };
            let id = &mut self.last_job;
            let Some(channel) = self.slots.at_mut(index) else { break };
            channel.tell(shared, id, out)?;
            channel.acknowledge(self.stored, out)?;
            let waits = channel.acks.is_waiting();
            self.slots.dequeue();
            if waits {
                // For its ticket: `stored` calls again.
                self.slots.enqueue(index);
            }
        }
        Ok(())
    }

    /// Sends to the whole group as long as all its members need the same (D-MIN-7).
    fn tell_group(&mut self, group: u32, shared: &mut Shared<S>, out: &mut Out<'_>) -> Result<(), Error> {
        // C-MIN and D-CUST: a group message would end the jobs of those who bring their own.
        if self.flags.contains(SetupFlags::REQUIRES_WORK_SELECTION) {
            return Ok(());
        }
        let members = self.slots.iter().filter(|channel| channel.group == group).count();
        if members < shared.config().group_jobs_from.max(2) {
            return Ok(());
        }
        for channel in self.slots.iter_mut().filter(|channel| channel.group == group) {
            channel.tell_prefix_and_target(shared, out)?;
        }
        loop {
            let Some(step) = self.common_step(group, shared.book()) else { return Ok(()) };
            match step {
                Step::Announce(job) | Step::Start(job) => {
                    let future = matches!(step, Step::Announce(_));
                    let Some(job) = find(shared.book(), job) else { return Ok(()) };
                    let id = self.last_job.checked_add(1).unwrap_or(1);
                    send_extended(group, id, job, future, shared, out)?;
                    let job = job.id();
                    let id = self.next_job_id();
                    for channel in self.slots.iter_mut().filter(|channel| channel.group == group) {
                        channel.was_told(id, job, future, None, shared);
                    }
                }
                Step::Activate(id) => {
                    send_prev_hash(group, id, shared.book(), out)?;
                    for channel in self.slots.iter_mut().filter(|channel| channel.group == group) {
                        channel.activate(id, shared);
                    }
                }
            }
        }
    }
}

impl<S: Storage> MiningServer<S> {
    /// What all members of a group have to hear next, if it is the same for all.
    fn common_step(&self, group: u32, book: &JobBook<S>) -> Option<Step> {
        let mut steps =
            self.slots.iter().filter(|channel| channel.group == group).map(|channel| channel.next_step(book));
        let first = steps.next().flatten()?;
        steps.all(|step| step == Some(first)).then_some(first)
    }
}

/// A job of the book, live or the newest future one: what steps name.
fn find<S: Storage>(book: &JobBook<S>, id: JobId) -> Option<&Job<S>> {
    book.live(id).or_else(|| book.future().filter(|job| job.id() == id))
}

/// The start of a job: a future one, or now, on the prevhash's own earliest time.
fn start<S: Storage>(book: &JobBook<S>, future: bool) -> JobStart {
    if future { JobStart::Future } else { JobStart::Now { min_ntime: book.prev_hash().map(|prev| prev.min_ntime) } }
}

/// D-MIN-10: to an extended channel or to a group.
fn send_extended<S: Storage>(
    to: u32,
    id: u32,
    job: &Job<S>,
    future: bool,
    shared: &Shared<S>,
    out: &mut Out<'_>,
) -> Result<(), Error> {
    out.send(&NewExtendedMiningJob {
        channel_id: to,
        job_id: id,
        start: start(shared.book(), future),
        version: job.version(),
        // D-FLAG-3, D-FLAG-5.
        version_rolling_allowed: !shared.config().fixed_version,
        merkle_path: Seq0255::new(job.merkle_path()),
        coinbase_tx_prefix: job.coinbase_prefix().into(),
        coinbase_tx_suffix: job.coinbase_suffix().into(),
    })
}

fn send_prev_hash<S: Storage>(to: u32, id: u32, book: &JobBook<S>, out: &mut Out<'_>) -> Result<(), Error> {
    // A job can only be activated on a prevhash.
    let Some(prev) = book.prev_hash() else { return Ok(()) };
    out.send(&SetNewPrevHash {
        channel_id: to,
        job_id: id,
        prev_hash: U256(prev.prev_hash),
        min_ntime: prev.min_ntime,
        nbits: prev.nbits,
    })
}

impl<S: Storage> Channel<S> {
    /// D-EXN-1, D-TGT-1: prefix and target count for jobs behind them, so they go first.
    fn tell_prefix_and_target(&mut self, shared: &mut Shared<S>, out: &mut Out<'_>) -> Result<(), Error> {
        self.move_if_due(shared);
        // The tip may be new, and its blocks easier.
        self.keep_blocks(shared);
        if self.prefix_pending {
            let prefix = self.prefix(self.duplicates.generation(), shared);
            out.send(&SetExtranoncePrefix { channel_id: self.id, extranonce_prefix: prefix.as_slice().into() })?;
            self.prefix_pending = false;
        }
        if self.target != self.told_target {
            out.send(&SetTarget { channel_id: self.id, maximum_target: self.target.target().into() })?;
            self.told_target = self.target;
        }
        Ok(())
    }

    fn tell(&mut self, shared: &mut Shared<S>, last_id: &mut u32, out: &mut Out<'_>) -> Result<(), Error> {
        self.tell_prefix_and_target(shared, out)?;
        while let Some(step) = self.next_step(shared.book()) {
            match step {
                Step::Announce(job) | Step::Start(job) => {
                    let future = matches!(step, Step::Announce(_));
                    let Some(job) = find(shared.book(), job) else { return Ok(()) };
                    let id = last_id.checked_add(1).unwrap_or(1);
                    let root = self.send_job(id, job, future, shared, out)?;
                    let job = job.id();
                    *last_id = id;
                    self.was_told(id, job, future, root, shared);
                }
                Step::Activate(id) => {
                    send_prev_hash(self.id, id, shared.book(), out)?;
                    self.activate(id, shared);
                }
            }
        }
        Ok(())
    }

    /// Sends a job to this channel alone; gives the merkle root, if it had to be worked out.
    fn send_job(
        &self,
        id: u32,
        job: &Job<S>,
        future: bool,
        shared: &Shared<S>,
        out: &mut Out<'_>,
    ) -> Result<Option<[u8; 32]>, Error> {
        if self.kind == ChannelKind::Extended {
            send_extended(self.id, id, job, future, shared, out)?;
            return Ok(None);
        }
        let prefix = self.prefix(self.duplicates.generation(), shared);
        let root = job.merkle_root(prefix.as_slice(), &[]);
        out.send(&NewMiningJob {
            channel_id: self.id,
            job_id: id,
            start: start(shared.book(), future),
            version: job.version(),
            merkle_root: U256(root),
        })?;
        Ok(Some(root))
    }

    /// The job went out, to this channel or to its group.
    fn was_told(&mut self, id: u32, job: JobId, future: bool, root: Option<[u8; 32]>, shared: &mut Shared<S>) {
        let live = LiveJob {
            id,
            source: JobSource::Book(job),
            // The bound of the book is below 256.
            book_place: shared.book().place(job).and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX),
            target: self.told_target,
            root,
            generation: self.duplicates.generation(),
            future,
        };
        self.add_job(live, shared);
        if future {
            self.told.future = Some(job);
        } else {
            self.told.active = Some(job);
        }
    }
}
