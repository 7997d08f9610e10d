//! A client that trusts nothing: it checks every message of the server against the rules, whatever a hostile or busy peer
//! does meanwhile, and whatever room the buffer has.

use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

use super::testing::*;
use super::*;
use crate::buffer::Output;
use crate::message::mining::{CloseChannel, SetupFlags, ToClient, UpdateChannel};
use crate::message::{ChannelKind, JobStart};
use crate::mining::target::Target;
use crate::wire::U256;
use proptest::prelude::*;

#[derive(Debug)]
struct Seen {
    kind: ChannelKind,
    group: u32,
    prefix: Vec<u8>,
    target: Target,
    /// Jobs that wait for a prevhash.
    future: BTreeSet<u32>,
    /// Jobs that may be mined.
    active: BTreeSet<u32>,
    has_prev_hash: bool,
    /// Shares sent and not answered.
    owed: u32,
}

#[derive(Debug, Default)]
struct Client {
    revision: Option<Revision>,
    open: BTreeMap<u32, Seen>,
    gone: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    jobs: BTreeSet<u32>,
    /// Hashes of all shares that counted.
    counted: BTreeSet<[u8; 32]>,
}

impl Client {
    fn members(&mut self, id: u32) -> Vec<&mut Seen> {
        assert!(!self.gone.contains(&id), "D-CLOSE-1: {id} is closed");
        let group = self.groups.contains(&id);
        let found: Vec<_> = self
            .open
            .iter_mut()
            .filter(|(own, seen)| **own == id || (group && seen.group == id))
            .map(|(_, s)| s)
            .collect();
        assert!(!found.is_empty(), "nobody is {id}");
        found
    }

    fn is_held(&self, prefix: &[u8]) -> bool {
        self.open.values().any(|seen| seen.prefix == prefix)
    }

    fn opened(&mut self, id: u32, kind: ChannelKind, group: u32, prefix: &[u8], target: U256) {
        assert!(!self.gone.contains(&id) && !self.groups.contains(&id), "D-CHAN-1: {id} had another meaning");
        if group != 0 {
            assert!(!self.open.contains_key(&group) && !self.gone.contains(&group), "D-GRP-1");
            self.groups.insert(group);
        }
        assert!(!self.is_held(prefix), "D-CHAN-7: {prefix:?} twice");
        let seen = Seen {
            kind,
            group,
            prefix: prefix.to_vec(),
            target: target.into(),
            future: BTreeSet::new(),
            active: BTreeSet::new(),
            has_prev_hash: false,
            owed: 0,
        };
        assert!(self.open.insert(id, seen).is_none());
    }

    fn job(&mut self, to: u32, job: u32, start: JobStart, extended: bool) {
        let group = self.groups.contains(&to);
        assert!(self.jobs.insert(job), "C-MIN-6: job {job} twice");
        for seen in self.members(to) {
            if !group {
                assert_eq!(extended, seen.kind == ChannelKind::Extended, "D-MIN-10");
            }
            match start {
                JobStart::Future => seen.future.insert(job),
                JobStart::Now { .. } => {
                    assert!(seen.has_prev_hash, "D-MIN-4: a job to start before any prevhash");
                    seen.active.insert(job)
                }
            };
        }
    }

    fn check(&mut self, message: &ToClient<'static>) {
        match message {
            ToClient::OpenStandardMiningChannelSuccess(m) => {
                self.opened(
                    m.channel_id,
                    ChannelKind::Standard,
                    m.group_channel_id,
                    m.extranonce_prefix.as_bytes(),
                    m.target,
                );
            }
            ToClient::OpenExtendedMiningChannelSuccess(m) => {
                assert_eq!(usize::from(m.extranonce_size) + m.extranonce_prefix.len(), 8, "C-CHAN-5");
                let group = m.group_channel_id.get().unwrap_or(0);
                self.opened(m.channel_id, ChannelKind::Extended, group, m.extranonce_prefix.as_bytes(), m.target);
            }
            ToClient::NewMiningJob(m) => self.job(m.channel_id, m.job_id, m.start, false),
            ToClient::NewExtendedMiningJob(m) => self.job(m.channel_id, m.job_id, m.start, true),
            ToClient::SetNewPrevHash(m) => {
                for seen in self.members(m.channel_id) {
                    assert!(seen.future.contains(&m.job_id), "C-MIN-9: {} was not announced", m.job_id);
                    seen.future.clear();
                    seen.active = BTreeSet::from([m.job_id]);
                    seen.has_prev_hash = true;
                }
            }
            ToClient::SetTarget(m) => {
                for seen in self.members(m.channel_id) {
                    assert_ne!(seen.target, Target::from(m.maximum_target), "told twice");
                    seen.target = m.maximum_target.into();
                }
            }
            ToClient::SetExtranoncePrefix(m) => {
                assert!(!self.groups.contains(&m.channel_id), "D-EXN-2");
                let prefix = m.extranonce_prefix.as_bytes().to_vec();
                assert!(!self.is_held(&prefix), "D-CHAN-7: {prefix:?} twice");
                let mut members = self.members(m.channel_id);
                assert_eq!(members[0].prefix.len(), prefix.len());
                members[0].prefix = prefix;
            }
            ToClient::SubmitSharesSuccess(m) => {
                for seen in self.members(m.channel_id) {
                    let left = seen.owed.checked_sub(m.new_submits_accepted_count);
                    seen.owed = left.expect("acknowledged more than was sent");
                }
            }
            ToClient::SubmitSharesError(m) => {
                if let Some(seen) = self.open.get_mut(&m.channel_id) {
                    seen.owed = seen.owed.checked_sub(1).expect("rejected more than was sent");
                }
            }
            ToClient::OpenMiningChannelError(_) | ToClient::UpdateChannelError(_) => {}
            other => panic!("not expected here: {other:?}"),
        }
    }

    fn closed(&mut self, id: u32) {
        let group = self.groups.contains(&id) && self.revision == Some(Revision::Current);
        let gone: Vec<u32> = self
            .open
            .iter()
            .filter(|(own, seen)| **own == id || (group && seen.group == id))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.open.remove(&id);
            self.gone.insert(id);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open(bool),
    Close(u8),
    CloseGroup,
    Update(u8, f64),
    Share {
        channel: u8,
        job: u8,
        n: u16,
    },
    Job(bool),
    PrevHash,
    Wait(u8),
    Store,
    /// Sends into a buffer with this much room.
    Poll(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<bool>().prop_map(Step::Open),
        1 => any::<u8>().prop_map(Step::Close),
        1 => Just(Step::CloseGroup),
        1 => (any::<u8>(), 1e-9_f64..1e3).prop_map(|(channel, difficulty)| Step::Update(channel, difficulty)),
        12 => any::<(u8, u8, u16)>().prop_map(|(channel, job, n)| Step::Share { channel, job, n: n % 400 }),
        2 => any::<bool>().prop_map(Step::Job),
        1 => Just(Step::PrevHash),
        1 => any::<u8>().prop_map(Step::Wait),
        2 => Just(Step::Store),
        6 => (90_u16..1_200).prop_map(Step::Poll),
    ]
}

fn pick<T: Copy>(from: impl IntoIterator<Item = T>, which: u8) -> Option<T> {
    let all: Vec<T> = from.into_iter().collect();
    (!all.is_empty()).then(|| all[usize::from(which) % all.len()])
}

fn play(revision: Revision, flags: SetupFlags, steps: Vec<Step>) {
    let config = ServerConfig { group_jobs_from: 2, ..config() };
    let mut bench = Bench::new(revision, flags, config);
    bench.block(1);
    let mut client = Client { revision: Some(revision), ..Client::default() };
    let mut future = false;
    for (n, step) in (1_u32..).zip(steps) {
        match step {
            Step::Open(standard) => {
                let request = if standard { open_standard(n, 0.0) } else { open_extended(n, RATE, 5) };
                bench.try_open(&request);
            }
            Step::Close(which) => {
                if let Some(channel_id) = pick(client.open.keys().copied(), which) {
                    let close = CloseChannel { channel_id, reason_code: "".into() };
                    let _ = bench.receive(&ToServer::CloseChannel(close)).unwrap();
                    client.closed(channel_id);
                }
            }
            Step::CloseGroup => {
                if let Some(channel_id) = pick(client.groups.iter().copied(), 0).filter(|_| n % 7 == 0) {
                    let close = CloseChannel { channel_id, reason_code: "".into() };
                    let _ = bench.receive(&ToServer::CloseChannel(close)).unwrap();
                    client.closed(channel_id);
                }
            }
            Step::Update(which, difficulty) => {
                let channel_id = pick(client.open.keys().copied(), which).unwrap_or(3);
                let maximum_target = Target::from_difficulty(difficulty).unwrap().into();
                let update = UpdateChannel { channel_id, nominal_hash_rate: RATE, maximum_target };
                let _ = bench.receive(&ToServer::UpdateChannel(update)).unwrap();
            }
            Step::Share { channel, job, n } => {
                // Mostly sensible, sometimes for jobs of others or for nothing.
                let (id, kind) = pick(client.open.iter().map(|(id, seen)| (*id, seen.kind)), channel)
                    .unwrap_or((9, ChannelKind::Standard));
                let own = client.open.get(&id).and_then(|seen| pick(seen.active.iter().copied(), job));
                let job = if n % 16 == 0 { u32::from(n) } else { own.unwrap_or(1) };
                if let Some(seen) = client.open.get_mut(&id) {
                    seen.owed += 1;
                }
                let share = match kind {
                    ChannelKind::Standard => standard(id, job, u32::from(n)),
                    ChannelKind::Extended => extended(id, job, u32::from(n), &[0; 5]),
                };
                let active = client.open.get(&id).is_some_and(|seen| seen.active.contains(&job));
                let outcome = bench.submit_and_keep(&share);
                assert!(active || outcome.is_err(), "a share of no job of this channel counts");
                if let Ok((_, share)) = outcome {
                    assert!(client.counted.insert(share.hash()), "D-CHAN-7: one header counts twice");
                }
            }
            Step::Job(wait) => {
                bench.job(wait);
                future = wait;
            }
            Step::PrevHash => {
                if !std::mem::take(&mut future) {
                    bench.job(true);
                }
                bench.prev_hash((n % 200) as u8);
            }
            Step::Wait(seconds) => {
                bench.now = bench.now.saturating_add(core::time::Duration::from_secs(seconds.into()));
                bench.server.handle_timeout(bench.now, &bench.shared);
                assert!(bench.server.poll_timeout().is_none_or(|at| at > bench.now), "a deadline in the past");
            }
            Step::Store => bench.server.stored(bench.shared.last_ticket()),
            Step::Poll(room) => {
                let mut output = Output::new(vec![0; usize::from(room)]);
                let mut out = Out::plain(&mut output, revision);
                let outcome = bench.server.poll_outbound(&mut bench.shared, &mut out);
                assert!(matches!(outcome, Ok(()) | Err(Error::Full | Error::Misuse(_))), "{outcome:?}");
                assert!(outcome.is_err() || !bench.server.wants_outbound(&bench.shared));
                std::mem::swap(&mut bench.output, &mut output);
                let sent = bench.taken();
                std::mem::swap(&mut bench.output, &mut output);
                for message in &sent {
                    client.check(message);
                }
            }
        }
        // Answers to what was received.
        bench.taken().iter().for_each(|message| client.check(message));
        assert_eq!(client.open.len(), bench.server.len());
        assert!(bench.shared.space().in_use() <= 2 * bench.server.len(), "a number got lost");
    }
    // When all is stored and told, nothing is owed.
    bench.server.stored(bench.shared.last_ticket());
    bench.sent().iter().for_each(|message| client.check(message));
    for (id, seen) in &client.open {
        assert_eq!(seen.owed, 0, "shares of {id} without an answer");
        assert!(!seen.active.is_empty() || bench.shared.book().current().is_none(), "{id} has nothing to do");
        assert_eq!(bench.server.channel(*id).unwrap().target(), seen.target);
        let prefix = bench.server.channel(*id).unwrap().extranonce_prefix(&bench.shared);
        assert_eq!(prefix.as_slice(), seen.prefix);
    }
    bench.server.shut_down(&mut bench.shared);
    assert_eq!(bench.shared.space().in_use(), 0, "a number got lost");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// D-CHAN-1, D-CHAN-7, D-CLOSE-1, D-EXN-2, D-MIN-4, D-MIN-6, D-MIN-10, D-GRP-1, D-SHARE-4, D-SHARE-6, C-MIN-6, C-MIN-9.
    #[test]
    fn the_server_keeps_the_rules_in_the_draft(steps in proptest::collection::vec(step(), 0..500)) {
        play(Revision::Draft, SetupFlags::from_bits(0), steps);
    }

    /// The same in the current revision.
    #[test]
    fn the_server_keeps_the_rules_in_the_current_revision(steps in proptest::collection::vec(step(), 0..500)) {
        play(Revision::Current, SetupFlags::from_bits(0), steps);
    }

    /// D-FLAG-1, and the same without groups.
    #[test]
    fn the_server_keeps_the_rules_with_standard_jobs_only(steps in proptest::collection::vec(step(), 0..300)) {
        play(Revision::Draft, SetupFlags::REQUIRES_STANDARD_JOBS, steps);
    }
}
