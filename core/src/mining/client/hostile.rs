//! Whatever a server says, in whatever order and however late: nothing panics, state is bounded, and work belongs to the newest prevhash.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::testing::*;
use super::tests::*;
use super::*;
use crate::config::{CLIENT_JOBS_HEAP, CLIENT_JOBS_INLINE};
use crate::message::JobStart;
use crate::message::mining::{SetGroupChannel, ToClient, ToServer};
use crate::mining::server::{Reason, ServerConfig};
use crate::protocol::decode_incoming;
use crate::wire::Seq064K;

fn to() -> impl Strategy<Value = u32> {
    prop_oneof![1_u32..4, Just(GROUP), Just(GROUP + 1)]
}

fn start() -> impl Strategy<Value = JobStart> {
    prop_oneof![Just(JobStart::Future), Just(NOW), any::<u32>().prop_map(|n| JobStart::Now { min_ntime: Some(n) })]
}

/// Any message, right or wrong, about a few channels, a group and a few jobs.
pub(crate) fn message() -> impl Strategy<Value = ToClient<'static>> {
    prop_oneof![
        4 => (1_u32..9, 1_u32..4).prop_map(|(request, id)| opened(request, id)),
        2 => (1_u32..9, 1_u32..4, 0_u16..40, any::<bool>())
            .prop_map(|(request, id, size, grouped)| opened_extended(request, id, size, grouped)),
        6 => (to(), 1_u32..6, start()).prop_map(|(to, id, start)| job(to, id, start)),
        6 => (to(), 1_u32..6, start()).prop_map(|(to, id, start)| extended_job(to, id, start)),
        8 => (to(), 1_u32..6, any::<u8>()).prop_map(|(to, id, n)| prev_hash(to, id, n)),
        2 => (to(), any::<u8>()).prop_map(|(to, top)| target(to, top)),
        2 => (to(), any::<u8>()).prop_map(|(to, byte)| prefix(to, byte)),
        2 => (to(), any::<u32>()).prop_map(|(to, count)| success(to, count)),
        2 => to().prop_map(|to| error(to, "stale-share")),
        1 => to().prop_map(close),
        1 => (to(), prop::sample::subsequence(vec![1_u32, 2, 3, 9], 0..4)).prop_map(|(to, ids)| {
            let channel_ids = Seq064K::new(ids.leak());
            ToClient::SetGroupChannel(SetGroupChannel { group_channel_id: to, channel_ids })
        }),
    ]
}

/// The newest prevhash of every channel that a message reaches, kept apart from the client's own bookkeeping.
fn note<S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>(
    newest: &mut BTreeMap<u32, [u8; 32]>,
    client: &MiningClient<S, CHANNELS, COINBASE, PATH>,
    message: &ToClient<'static>,
) {
    if let ToClient::SetNewPrevHash(prev) = message {
        for channel in client.channels() {
            if channel.id() == prev.channel_id || channel.group() == Some(prev.channel_id) {
                newest.insert(channel.id(), prev.prev_hash.0);
            }
        }
    }
    newest.retain(|id, _| client.channel(*id).is_some());
}

fn any_server<S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize>(
    mut bench: Bench<S, CHANNELS, COINBASE, PATH>,
    messages: &[ToClient<'static>],
    extended: bool,
    jobs: usize,
) -> Result<(), TestCaseError> {
    let mut newest = BTreeMap::new();
    let mut former: Vec<(Work, [u8; 32])> = Vec::new();
    for message in messages {
        let mut out = Out::plain(&mut bench.output, bench.client.terms().revision);
        // As long as there is room one of each is asked for.
        let _ = bench.client.open_standard(&OPEN, &mut out);
        if extended {
            let _ = bench.client.open_extended(&OPEN, 4, &mut out);
        }
        bench.now = bench.now.saturating_add(Duration::from_millis(300));
        // A violation is an error as a value; one that goes on all the same must not come to harm.
        let _ = bench.handle(message);
        note(&mut newest, &bench.client, message);

        let ids: Vec<u32> = bench.client.channels().map(|channel| channel.id()).collect();
        prop_assert!(ids.len() <= CHANNELS.max(3));
        for id in ids {
            let view = bench.client.channel(id).unwrap();
            prop_assert!(view.waiting_jobs() <= jobs);
            let work = bench.client.work(id).or_else(|| {
                let extended = bench.client.extended_work(id)?;
                let rolled = vec![1; extended.extranonce_size()];
                extended.work(&rolled)
            });
            let Some(work) = work else { continue };
            prop_assert_eq!(Some(&work.prev_hash), newest.get(&id), "work of an old prevhash");
            let solution = work.solution(work.version ^ 0x2000, work.max_ntime(bench.now), 1);
            prop_assert!(bench.submit(&solution).is_ok(), "work that can't be submitted");
            former.push((work, work.prev_hash));
        }
        bench.taken();
        // What was found on an older prevhash, or for a closed channel, never goes out.
        for (work, prev) in &former {
            let sent = bench.submit(&work.solution(work.version, work.max_ntime(bench.now), 2));
            prop_assert!(sent.is_err() || newest.get(&work.channel_id) == Some(prev), "{:?} was sent", work);
        }
        bench.taken();
        former.truncate(20);
        let statistics = bench.client.statistics();
        let answered = statistics.accepted + statistics.rejected + statistics.lost;
        prop_assert!(answered <= statistics.submitted);
        let open: u64 = bench.client.channels().map(|channel| channel.statistics().unanswered()).sum();
        prop_assert_eq!(statistics.unanswered(), open);
    }
    Ok(())
}

/// One thing that happens between a client and an honest server with a slow link.
#[derive(Clone, Copy, Debug)]
enum Step {
    Job,
    Future,
    Block,
    /// So many of the server's messages arrive.
    ToClient(usize),
    /// So many of the client's messages arrive.
    ToServer(usize),
    Mine(usize),
    Wait(u64),
    Update(f32),
    Store,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Job),
        Just(Step::Future),
        Just(Step::Block),
        (1_usize..5).prop_map(Step::ToClient),
        (1_usize..5).prop_map(Step::ToServer),
        (0_usize..3).prop_map(Step::Mine),
        (0_usize..3).prop_map(Step::Mine),
        (1_u64..20_000).prop_map(Step::Wait),
        (0.0_f32..100.0).prop_map(Step::Update),
        Just(Step::Store),
    ]
}

/// A link on which messages stay until they are let through.
struct Slow {
    bench: Large,
    down: VecDeque<ToClient<'static>>,
    up: VecDeque<ToServer<'static>>,
    blocks: u8,
    nonce: u32,
}

impl Slow {
    fn collect(&mut self) {
        let revision = self.bench.client.terms().revision;
        for (header, payload) in frames(&self.bench.pool.sent()) {
            self.down.push_back(decode_incoming::<Initiator, Mining>(header, payload, revision).unwrap());
        }
        let mut out = Out::plain(&mut self.bench.output, revision);
        self.bench.client.handle_timeout(self.bench.now);
        self.bench.client.poll_outbound(self.bench.now, &mut out).unwrap();
        self.up.extend(self.bench.taken());
    }

    fn take(&mut self, step: Step) {
        let bench = &mut self.bench;
        match step {
            Step::Job => bench.pool.job(false),
            Step::Future => bench.pool.job(true),
            Step::Block => {
                self.blocks = self.blocks.wrapping_add(1);
                bench.pool.block(bench.now, self.blocks);
            }
            Step::ToClient(count) => {
                for message in self.down.drain(..count.min(self.down.len())) {
                    let event = bench.handle(&message).unwrap();
                    assert!(!matches!(event, ClientEvent::Ignored(_)), "{message:?}: {event:?}");
                }
            }
            Step::ToServer(count) => {
                for message in self.up.drain(..count.min(self.up.len())) {
                    bench.pool.receive(bench.now, &message);
                }
            }
            Step::Mine(which) => {
                let Some(id) = bench.client.channels().nth(which).map(|channel| channel.id()) else { return };
                let extended = || bench.client.extended_work(id)?.work(&[3; 5]);
                if let Some(work) = bench.client.work(id).or_else(extended) {
                    let solution = mine(&work, self.nonce);
                    self.nonce = solution.nonce.wrapping_add(1);
                    bench.submit(&solution).unwrap();
                }
            }
            Step::Wait(millis) => {
                bench.now = bench.now.saturating_add(Duration::from_millis(millis));
                if bench.pool.server.poll_timeout().is_some_and(|at| at <= bench.now) {
                    bench.pool.server.handle_timeout(bench.now, &bench.pool.shared);
                }
            }
            Step::Update(rate) => {
                let first = bench.client.channels().next().map(|channel| channel.id());
                if let Some(id) = first {
                    bench.client.update(bench.now, id, rate, Target::MAX).unwrap();
                }
            }
            Step::Store => bench.pool.server.stored(bench.pool.shared.last_ticket()),
        }
        self.collect();
    }
}

proptest! {
    /// D-MIN-5, D-MIN-6, D-SHARE-4
    #[test]
    fn work_belongs_to_the_newest_prevhash(messages in prop::collection::vec(message(), 1..80), current: bool) {
        let revision = if current { Revision::Current } else { Revision::Draft };
        let terms = terms(revision, SetupFlags::NONE);
        any_server(Small::new(terms, ServerConfig::default()), &messages, false, CLIENT_JOBS_INLINE)?;
        any_server(Large::new(terms, ServerConfig::default()), &messages, true, CLIENT_JOBS_INLINE)?;
        #[cfg(feature = "alloc")]
        {
            let bench = Bench::<crate::storage::Heap, 0, 0, 0>::new(terms, ServerConfig::default());
            any_server(bench, &messages, true, CLIENT_JOBS_HEAP)?;
        }
        let _ = CLIENT_JOBS_HEAP;
    }

    /// D-TGT-1, D-EXN-1, D-MIN-1, D-MIN-5, D-SHARE-2: with an honest server both sides agree on every share, whatever is on the way. Only
    /// a prevhash, or a prefix that was moved twice, can come between.
    #[test]
    fn an_honest_server_takes_every_share_that_is_not_late(steps in prop::collection::vec(step(), 1..80), current: bool) {
        let revision = if current { Revision::Current } else { Revision::Draft };
        let config = ServerConfig { ntime_slack: 0, ..ServerConfig::default() };
        let mut bench = Large::new(terms(revision, SetupFlags::NONE), config);
        bench.ask_standard();
        bench.ask_extended();
        bench.ask_standard();
        bench.exchange();
        prop_assert_eq!(bench.client.len(), 3);
        let mut slow = Slow { bench, down: VecDeque::new(), up: VecDeque::new(), blocks: 1, nonce: 0 };
        for step in steps {
            slow.take(step);
        }
        loop {
            slow.take(Step::ToServer(usize::MAX));
            slow.take(Step::Store);
            slow.take(Step::ToClient(usize::MAX));
            if slow.up.is_empty() && slow.down.is_empty() {
                break;
            }
        }
        let pool = &slow.bench.pool;
        prop_assert!(pool.rejected.iter().all(|rejection| rejection.reason == Reason::Stale), "{:?}", pool.rejected);
        let statistics = slow.bench.client.statistics();
        prop_assert_eq!(statistics.unanswered(), 0);
        prop_assert_eq!(statistics.accepted, pool.accepted.len() as u64);
        prop_assert_eq!(statistics.rejected, pool.rejected.len() as u64);
        let prev = pool.shared.book().prev_hash().unwrap().prev_hash;
        for channel in slow.bench.client.channels() {
            let extended = || slow.bench.client.extended_work(channel.id())?.work(&[0; 5]);
            let work = slow.bench.client.work(channel.id()).or_else(extended).unwrap();
            prop_assert_eq!(work.prev_hash, prev);
            prop_assert_eq!(channel.target(), pool.server.channel(channel.id()).unwrap().target());
        }
    }
}
