//! Acknowledging shares in batches, once they are stored.
//!
//! A channel keeps two sums: one that waits for its ticket, and one that gathers behind it. While the store writes, shares gather; when it is
//! done, the waiting sum goes out and the gathered one waits. So batches form by themselves, as large as the store is slow.

use super::channel::Channel;
use super::{MiningServer, Out};
use crate::error::Error;
use crate::message::mining::SubmitSharesSuccess;
use crate::storage::Storage;

#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    count: u32,
    last_sequence_number: u32,
    difficulty: f64,
    /// Of the last share in it.
    ticket: u64,
}

impl Batch {
    fn add(&mut self, sequence_number: u32, difficulty: f64, ticket: u64) {
        self.count = self.count.saturating_add(1);
        self.last_sequence_number = sequence_number;
        self.difficulty += difficulty;
        self.ticket = ticket;
    }
}

/// Accepted shares of a channel that its client was not told of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acks {
    waiting: Batch,
    gathering: Batch,
}

impl Acks {
    pub(super) fn add(&mut self, sequence_number: u32, difficulty: f64, ticket: u64) {
        let batch = if self.waiting.count == 0 { &mut self.waiting } else { &mut self.gathering };
        batch.add(sequence_number, difficulty, ticket);
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting.count != 0
    }
}

impl<S: Storage> MiningServer<S> {
    /// All shares up to this ticket are stored: what was accepted may be acknowledged now (D-SHARE-4), with the next
    /// [`Self::poll_outbound`].
    pub fn stored(&mut self, ticket: u64) {
        self.stored = self.stored.max(ticket);
        self.urgent |= self.slots.queued() != 0;
    }
}

impl<S: Storage> Channel<S> {
    /// D-SHARE-4: last good sequence number, count and sum of difficulty of the batch; each batch begins at zero.
    pub(super) fn acknowledge(&mut self, stored: u64, out: &mut Out<'_>) -> Result<(), Error> {
        while self.acks.waiting.count != 0 && self.acks.waiting.ticket <= stored {
            let mut batch = self.acks.waiting;
            let all = self.acks.gathering.count != 0 && self.acks.gathering.ticket <= stored;
            if all {
                let behind = self.acks.gathering;
                batch.count = batch.count.saturating_add(behind.count);
                batch.last_sequence_number = behind.last_sequence_number;
                batch.difficulty += behind.difficulty;
            }
            out.send(&SubmitSharesSuccess {
                channel_id: self.id,
                last_sequence_number: batch.last_sequence_number,
                new_submits_accepted_count: batch.count,
                new_shares_sum: whole(batch.difficulty),
            })?;
            self.acks.waiting = if all { Batch::default() } else { self.acks.gathering };
            self.acks.gathering = Batch::default();
        }
        Ok(())
    }
}

/// Difficulties may have fractions, the field has none: the batch's sum is cut off (draft open question 30).
#[allow(clippy::cast_sign_loss, reason = "a sum of positive numbers; the conversion saturates")]
const fn whole(difficulty: f64) -> u64 {
    difficulty as u64
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::super::testing::*;
    use super::*;
    use crate::message::ChannelKind;
    use crate::message::mining::ToClient;
    use crate::mining::target::Target;
    use proptest::prelude::*;

    fn acks(sent: &[ToClient<'static>]) -> Vec<SubmitSharesSuccess> {
        let ack = |message: &ToClient<'static>| match message {
            ToClient::SubmitSharesSuccess(ack) => Some(*ack),
            _ => None,
        };
        sent.iter().filter_map(ack).collect()
    }

    /// D-SHARE-4: nothing is acknowledged before it is stored; what gathered meanwhile is the next batch; each begins at zero.
    #[test]
    fn batches_form_while_the_store_writes() {
        let mut bench = Bench::draft();
        let (channel, job) = bench.ready(ChannelKind::Standard);
        let submit = |bench: &mut Bench, n| bench.submit(&standard(channel, job, n)).unwrap().ticket;
        let first = submit(&mut bench, 10);
        assert!(acks(&bench.sent()).is_empty());
        submit(&mut bench, 11);
        let third = submit(&mut bench, 12);
        bench.server.stored(first);
        let sent = acks(&bench.sent());
        assert_eq!(
            sent.iter().map(|ack| (ack.last_sequence_number, ack.new_submits_accepted_count)).collect::<Vec<_>>(),
            [(10, 1)]
        );
        bench.server.stored(third - 1);
        assert!(acks(&bench.sent()).is_empty(), "the batch waits for its last share");
        bench.server.stored(third);
        let sent = acks(&bench.sent());
        let [ack] = sent[..] else { panic!("{sent:?}") };
        assert_eq!((ack.channel_id, ack.last_sequence_number, ack.new_submits_accepted_count), (channel, 12, 2));
        let fourth = submit(&mut bench, 13);
        bench.server.stored(fourth);
        bench.server.stored(first);
        assert_eq!(acks(&bench.sent()).len(), 1, "what is stored stays stored");
        assert!(acks(&bench.sent()).is_empty());
    }

    /// Draft open question 30: the sum is of the job's difficulty, for all shares of the batch.
    #[test]
    fn the_sum_is_of_the_jobs_difficulty() {
        let mut acks = Acks::default();
        let difficulty = Target::from_difficulty(1_000.0).unwrap().difficulty();
        for n in 0..10 {
            acks.add(n, difficulty, u64::from(n));
        }
        assert_eq!(whole(acks.waiting.difficulty), 1_000);
        assert_eq!(whole(acks.gathering.difficulty), 9_000);
        assert_eq!((whole(-1.0), whole(f64::INFINITY)), (0, u64::MAX));
    }

    proptest! {
        /// Whatever the order of shares, stores and polls on two channels: each accepted share is acknowledged exactly once, after
        /// it was stored, and a server in which all is stored and polled owes nothing.
        #[test]
        fn every_share_is_acknowledged_once(steps in proptest::collection::vec(0_u8..5, 0..150)) {
            let mut bench = Bench::draft();
            let channels = [bench.ready(ChannelKind::Standard), bench.ready(ChannelKind::Standard)];
            let mut accepted: Vec<(u32, u32, u64)> = Vec::new();
            let mut acked = [(channels[0].0, 0, 0), (channels[1].0, 0, 0)];
            let mut stored = 0;
            let steps = steps.into_iter().chain([3, 4]);
            for (n, step) in (1_u32..).zip(steps) {
                match step {
                    0..=1 => {
                        let (channel, job) = channels[usize::from(step)];
                        if let Ok(share) = bench.submit(&standard(channel, job, n)) {
                            accepted.push((channel, n, share.ticket));
                        }
                    }
                    2 => {
                        stored = stored.max(bench.shared.last_ticket() / 2);
                        bench.server.stored(stored);
                    }
                    3 => {
                        stored = bench.shared.last_ticket();
                        bench.server.stored(stored);
                    }
                    _ => {
                        for ack in acks(&bench.sent()) {
                            let sum = acked.iter_mut().find(|sum| sum.0 == ack.channel_id).unwrap();
                            sum.1 += ack.new_submits_accepted_count;
                            sum.2 = ack.last_sequence_number;
                            let of = accepted.iter().find(|share| share.0 == ack.channel_id && share.1 == ack.last_sequence_number);
                            prop_assert!(of.unwrap().2 <= stored, "acknowledged before it was stored");
                        }
                    }
                }
            }
            for (channel, count, last) in acked {
                let own: Vec<_> = accepted.iter().filter(|share| share.0 == channel).collect();
                prop_assert_eq!(own.len(), count as usize);
                prop_assert_eq!(own.last().map_or(0, |share| share.1), last);
            }
        }
    }
}
