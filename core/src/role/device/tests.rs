//! A device against a whole server: connection, setup and mining server, in bytes on a plain link.

use core::time::Duration;
use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::buffer::{Input, Output};
use crate::config::{DEVICE_INPUT, DEVICE_OUTPUT};
use crate::connection::{Connection, InitiatorConfig, Progress, ResponderConfig, Security, SetupPolicy};
use crate::message::ChannelKind;
use crate::message::common::Reconnect;
use crate::message::mining::{
    CloseChannel, OpenMiningChannelError, OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, SetTarget,
    ToStandardClient,
};
use crate::message::{Message, Unread};
use crate::mining::client::ServerViolation;
use crate::mining::client::hostile::message;
use crate::mining::client::testing::{Pool, mine};
use crate::mining::server::ServerConfig;
use crate::protocol::Responder;
use crate::session::Session;
use crate::time::UnixTime;
use crate::wire::U256;

type Upstream = Session<Initiator, Mining, [u8; DEVICE_INPUT], [u8; DEVICE_OUTPUT]>;
type Downstream = Session<Responder, Mining, Vec<u8>>;

const CONFIG: DeviceConfig = DeviceConfig::new("miner.1", "Adit", "test bench", "1.0", "");

/// A device, its link, and a server that a test may make answer in its own way.
struct Bench {
    device: Device,
    upstream: Upstream,
    downstream: Downstream,
    pool: Pool,
    now: Instant,
    /// What the client said that the pool was not shown.
    unanswered: Vec<String>,
    /// The pool sees what comes.
    serves: bool,
}

impl Bench {
    fn new(config: DeviceConfig, server: ServerConfig) -> Self {
        let policy = SetupPolicy::new(server.supported_flags().bits()).answering(server.success_flags().bits());
        Self::with_policy(config, server, policy)
    }

    fn with_policy(config: DeviceConfig, server: ServerConfig, policy: SetupPolicy) -> Self {
        let now = Instant::from_secs(1_000);
        let mut device = Device::new(config);
        device.connecting(Endpoint::new("pool.example", 3333).unwrap());
        let terms = Terms { required: device.flags(), ..Terms::default() };
        let mut pool = Pool::new(&terms, server);
        pool.block(now, 1);
        let (upstream, downstream) = link(policy, now);
        Self { device, upstream, downstream, pool, now, unanswered: Vec::new(), serves: true }
    }

    /// A device with an open channel and its first work.
    fn ready() -> Self {
        let mut bench = Self::new(CONFIG, ServerConfig::default());
        bench.exchange();
        assert!(bench.device.work().is_some());
        bench
    }

    fn later(&mut self, duration: Duration) {
        self.now = self.now.saturating_add(duration);
    }

    /// Runs both ends until nobody has anything to say; gives what the device made of it, as text.
    fn exchange(&mut self) -> Vec<String> {
        let mut outcomes = Vec::new();
        loop {
            let mut moved = self.device_turn(&mut outcomes);
            moved |= self.server_turn();
            if !moved {
                return outcomes;
            }
        }
    }

    fn device_turn(&mut self, outcomes: &mut Vec<String>) -> bool {
        while let Progress::Event(token) = self.upstream.advance(self.now, UnixTime::default()).unwrap() {
            let (event, mut out) = self.upstream.take_event(token).unwrap();
            let outcome = self.device.handle(self.now, &event, &mut out).unwrap();
            if outcome != Outcome::Done {
                outcomes.push(std::format!("{outcome:?}"));
            }
        }
        if self.device.wants_outbound() {
            self.device.poll_outbound(self.now, &mut self.upstream.outbound()).unwrap();
        }
        let bytes = self.upstream.output().to_vec();
        self.upstream.consume_output(bytes.len()).unwrap();
        self.downstream.input_space()[..bytes.len()].copy_from_slice(&bytes);
        self.downstream.commit_input(bytes.len()).unwrap();
        !bytes.is_empty()
    }

    fn server_turn(&mut self) -> bool {
        while let Progress::Event(token) = self.downstream.advance(self.now, UnixTime::default()).unwrap() {
            match self.downstream.take_event(token).unwrap().0 {
                Event::Message(message) if self.serves => self.pool.receive(self.now, &message),
                Event::Message(message) => self.unanswered.push(std::format!("{message:?}")),
                Event::Opened(setup) => {
                    let names = [setup.vendor, setup.hardware_version, setup.firmware, setup.device_id];
                    assert_eq!(names, ["Adit", "test bench", "1.0", ""].map(Str0255::new));
                    assert_eq!((setup.endpoint_host, setup.endpoint_port), ("pool.example".into(), 3333));
                    assert_eq!((setup.min_version, setup.max_version), (2, 2));
                }
                Event::Secured(None) => {}
                other => panic!("{other:?}"),
            }
        }
        let mut bytes = self.downstream.output().to_vec();
        self.downstream.consume_output(bytes.len()).unwrap();
        if self.serves {
            // A plain link: the pool's frames are the bytes.
            bytes.extend(self.pool.sent());
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let space = self.upstream.input_space();
            let n = space.len().min(rest.len());
            let (now, later) = rest.split_at(n);
            space[..n].copy_from_slice(now);
            self.upstream.commit_input(n).unwrap();
            rest = later;
            assert!(n > 0 || rest.is_empty(), "the tests' answers fit");
        }
        !bytes.is_empty()
    }

    /// Something that the server says of its own accord.
    fn say<M>(&mut self, message: &M)
    where
        M: crate::protocol::SentBy<Responder> + crate::protocol::In<Mining>,
    {
        self.downstream.outbound().send(message).unwrap();
    }

    fn submit(&mut self, solution: &Solution) -> Result<u32, NotSent> {
        self.device.submit(self.now, solution, &mut self.upstream.outbound())
    }
}

fn link(policy: SetupPolicy, now: Instant) -> (Upstream, Downstream) {
    let upstream = Connection::initiator(&InitiatorConfig::new(Security::Plain), [0; 32], now);
    let downstream = Connection::responder(&ResponderConfig::new(Security::Plain, policy), [0; 32], now);
    (
        Session::new(upstream, Input::new([0; DEVICE_INPUT]), Output::new([0; DEVICE_OUTPUT])),
        Session::new(downstream, Input::new(vec![0; 4_096]), Output::new(vec![0; 4_096])),
    )
}

/// D-CONN-1, D-CONN-3, D-CONN-5, D-CONN-6, D-OPEN-1, D-CHAN-3: from the link to an acknowledged share.
#[test]
fn a_device_connects_opens_mines_and_counts() {
    let mut bench = Bench::new(CONFIG, ServerConfig::default());
    let changes = bench.device.changes();
    let outcomes = bench.exchange();
    let channel = bench.device.channel_id().unwrap();
    assert_eq!(outcomes, ["Ready", &std::format!("ChannelOpened {{ channel_id: {channel} }}"), "NewWork"]);
    assert_ne!(bench.device.changes(), changes);

    let work = bench.device.work().unwrap();
    assert_eq!(bench.submit(&mine(&work, 0)), Ok(1));
    assert!(bench.exchange().is_empty());
    bench.pool.server.stored(1);
    assert_eq!(bench.exchange(), ["Accepted { last_sequence_number: 1, count: 1, difficulty: 0 }"]);
    assert_eq!((bench.device.statistics().accepted, bench.device.statistics().unanswered()), (1, 0));
}

/// D-CONN-8, D-CONN-9: a refusal ends it, and says why.
#[test]
fn a_refused_setup_is_told() {
    let mut bench = Bench::with_policy(CONFIG, ServerConfig::default(), SetupPolicy::new(0));
    assert_eq!(bench.exchange(), ["SetupRefused { flags: 1, error_code: \"unsupported-feature-flags\" }"]);
    assert!(!bench.device.wants_outbound() && bench.device.poll_timeout().is_none());
}

/// D-CONN-7, D-FLAG-6: a server for extended channels only is of no use.
#[test]
fn extended_channels_only_is_fatal() {
    let config = ServerConfig { extended_channels_only: true, ..ServerConfig::default() };
    let policy = SetupPolicy::new(1).answering(config.success_flags().bits());
    let mut bench = Bench::with_policy(CONFIG, config, policy);
    assert_eq!(bench.exchange(), ["Fatal(ExtendedChannelsOnly)"]);
    assert!(!bench.device.wants_outbound());
}

/// D-CONN-7, D-FLAG-4: a fixed version is fatal to who must roll it, and obeyed by everyone else.
#[test]
fn a_fixed_version_is_fatal_to_who_rolls() {
    let config = ServerConfig { fixed_version: true, ..ServerConfig::default() };
    let mut bench = Bench::new(CONFIG, config);
    bench.exchange();
    let work = bench.device.work().unwrap();
    assert_eq!(work.version_mask, 0);
    let rolled = work.solution(work.version ^ 0x2000, work.min_ntime, 0);
    assert_eq!(bench.submit(&rolled), Err(NotSent::VersionBits));

    // A server that breaks the rule: the responder of this crate would not.
    let mut device = Device::new(DeviceConfig { version_rolling: true, ..CONFIG });
    let mut output = Output::new([0; DEVICE_OUTPUT]);
    let mut out = Out::plain(&mut output, Revision::Draft);
    let success = SetupConnectionSuccess { used_version: 2, flags: SuccessFlags::REQUIRES_FIXED_VERSION.bits() };
    let outcome = device.handle(bench.now, &Event::Opened(success), &mut out);
    assert_eq!(outcome, Ok(Outcome::Fatal(Fatal::FixedVersion)));
}

/// The draft's two numbers for the open error (D-OPEN-6) lead to the same: another try, each time later.
#[test]
fn a_refused_channel_is_asked_for_again_with_back_off() {
    let mut bench = Bench::new(CONFIG, ServerConfig::default());
    bench.serves = false;
    bench.exchange();
    let mut waits = Vec::new();
    for request_id in 1..=9 {
        assert_eq!(bench.unanswered.len() as u32, request_id, "D-OPEN-3: {:?}", bench.unanswered);
        let kind = if request_id % 2 == 0 { ChannelKind::Standard } else { ChannelKind::Extended };
        bench.say(&OpenMiningChannelError { kind, request_id, error_code: "unknown-user".into() });
        let outcomes = bench.exchange();
        assert!(outcomes[0].starts_with("OpenRefused { error_code: \"unknown-user\""), "{outcomes:?}");
        let at = bench.device.poll_timeout().unwrap();
        waits.push(at.saturating_since(bench.now).as_secs());
        bench.now = at;
        assert_eq!(bench.device.handle_timeout(at), Outcome::Done);
        assert!(bench.device.wants_outbound());
        bench.exchange();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut bench = Bench::new(CONFIG, ServerConfig::default());
    bench.serves = false;
    bench.exchange();
    let at = bench.device.poll_timeout().unwrap();
    assert_eq!(at.saturating_since(bench.now), Duration::from_secs(30));
    assert_eq!(bench.device.handle_timeout(bench.now), Outcome::Done);
    assert_eq!(bench.device.handle_timeout(at), Outcome::Fatal(Fatal::NoAnswer));
    assert!(bench.device.poll_timeout().is_none());
}

/// D-CLOSE-1: a closed channel leaves no work; another one is opened. One that lasted starts the back-off anew.
#[test]
fn a_closed_channel_is_opened_again() {
    let mut bench = Bench::ready();
    let work = bench.device.work().unwrap();
    bench.submit(&mine(&work, 0)).unwrap();
    bench.later(Duration::from_secs(61));
    bench.say(&CloseChannel { channel_id: work.channel_id, reason_code: "maintenance".into() });
    bench.serves = false;
    let changes = bench.device.changes();
    let outcomes = bench.exchange();
    assert!(outcomes[0].starts_with("ChannelClosed { reason_code: \"maintenance\""), "{outcomes:?}");
    assert!(bench.device.work().is_none() && bench.device.changes() != changes);
    assert_eq!(bench.device.statistics().lost, 1);
    assert_eq!(bench.submit(&mine(&work, 1)), Err(NotSent::Stale));

    let at = bench.device.poll_timeout().unwrap();
    assert_eq!(at.saturating_since(bench.now), Duration::from_secs(1));
    bench.now = at;
    bench.serves = true;
    assert_eq!(bench.device.handle_timeout(at), Outcome::Done);
    bench.exchange();
    assert!(bench.device.work().is_some_and(|new| new.channel_id != work.channel_id && new.serial > work.serial));
}

/// D-RECON-1 to D-RECON-4: where to go, with what was left open filled in; channel and shares of the old connection are gone.
#[test]
fn a_reconnect_says_where_to_go() {
    let mut bench = Bench::ready();
    let mut go = |new_host: &'static str, new_port| {
        bench.say(&Reconnect { new_host: new_host.into(), new_port });
        bench.exchange().remove(0)
    };
    assert_eq!(go("", 0), "Reconnect(Endpoint { host: \"pool.example\", port: 3333 })");
    assert_eq!(go("b.example", 0), "Reconnect(Endpoint { host: \"b.example\", port: 3333 })");
    assert_eq!(go("b.example", 7), "Reconnect(Endpoint { host: \"b.example\", port: 7 })");

    let work = bench.device.work().unwrap();
    bench.submit(&mine(&work, 0)).unwrap();
    bench.device.connecting(Endpoint::new("b.example", 7).unwrap());
    assert!(bench.device.work().is_none() && !bench.device.wants_outbound());
    assert_eq!((bench.device.statistics().lost, bench.device.statistics().unanswered()), (1, 0));
    assert_eq!(bench.submit(&mine(&work, 1)), Err(NotSent::Stale));
}

/// The same device over a second connection: other work under other serials, so that old solutions can't be taken for new ones.
#[test]
fn a_lost_connection_starts_over() {
    let mut bench = Bench::ready();
    let old = bench.device.work().unwrap();
    bench.submit(&mine(&old, 0)).unwrap();
    bench.device.reset();
    bench.device.reset();
    let (upstream, downstream) = link(SetupPolicy::new(1), bench.now);
    (bench.upstream, bench.downstream) = (upstream, downstream);
    bench.pool = Pool::new(&Terms { required: bench.device.flags(), ..Terms::default() }, ServerConfig::default());
    bench.pool.block(bench.now, 1);
    bench.exchange();
    let new = bench.device.work().unwrap();
    assert_eq!((new.channel_id, new.job_id, new.prev_hash), (old.channel_id, old.job_id, old.prev_hash));
    assert_eq!(bench.submit(&mine(&old, 1)), Err(NotSent::Stale));
    assert_eq!(bench.submit(&mine(&new, 0)), Ok(1));
    let statistics = bench.device.statistics();
    assert_eq!((statistics.submitted, statistics.lost, statistics.not_sent, statistics.unanswered()), (2, 1, 1, 1));
}

/// D-UPD-2, D-OPEN-4: the announced rate, and what is no rate.
#[test]
fn the_hash_rate_is_told_and_kept() {
    let mut bench = Bench::new(DeviceConfig { nominal_hash_rate: f32::NAN, ..CONFIG }, ServerConfig::default());
    bench.exchange();
    let id = bench.device.channel_id().unwrap();
    let told = |bench: &Bench| bench.pool.server.channel(id).unwrap().nominal_hash_rate();
    assert_eq!(told(&bench).to_bits(), 0);
    bench.device.set_nominal_hash_rate(bench.now, 5e9);
    bench.exchange();
    assert_eq!(told(&bench).to_bits(), 5e9_f32.to_bits());
    bench.device.set_nominal_hash_rate(bench.now, -1.0);
    bench.exchange();
    assert_eq!(told(&bench).to_bits(), 5e9_f32.to_bits(), "within the same second");
    bench.now = bench.device.poll_timeout().unwrap();
    assert_eq!(bench.device.handle_timeout(bench.now), Outcome::Done);
    bench.exchange();
    assert_eq!(told(&bench).to_bits(), 0);
    assert_eq!(bench.device.config().nominal_hash_rate.to_bits(), 0);
}

/// What can't be sent now is sent later, and nothing twice.
#[test]
fn a_full_buffer_delays_and_loses_nothing() {
    let mut device = Device::new(CONFIG);
    let mut output = Output::new([0; 120]);
    let now = Instant::ORIGIN;
    Out::<Mining>::plain(&mut output, Revision::Draft)
        .send(&OpenStandardMiningChannel {
            request_id: 0,
            user_identity: "x".repeat(60).as_str().into(),
            nominal_hash_rate: 0.0,
            max_target: U256::MAX,
        })
        .unwrap();
    let filled = output.len();
    let mut out = Out::plain(&mut output, Revision::Draft);
    assert_eq!(device.handle(now, &Event::Secured(None), &mut out), Ok(Outcome::Done));
    assert!(device.wants_outbound());
    assert_eq!(device.poll_outbound(now, &mut out), Err(Error::Full));
    output.consume(filled).unwrap();
    let mut out = Out::plain(&mut output, Revision::Draft);
    device.poll_outbound(now, &mut out).unwrap();
    assert!(!device.wants_outbound());
    let sent = out.room();
    device.poll_outbound(now, &mut out).unwrap();
    assert_eq!(out.room(), sent);
}

/// Something that happens to a device.
#[derive(Clone, Debug)]
enum Step {
    Event(Event<'static, Initiator, Mining>),
    Wait(u64),
    Rate(f32),
    Submit,
    Lost,
}

fn step() -> impl Strategy<Value = Step> {
    let opened = |flags| Event::Opened(SetupConnectionSuccess { used_version: 2, flags });
    prop_oneof![
        40 => message().prop_map(|message| Step::Event(Event::Message(message))),
        6 => (0_u64..70_000).prop_map(Step::Wait),
        2 => any::<f32>().prop_map(Step::Rate),
        8 => Just(Step::Submit),
        1 => Just(Step::Lost),
        1 => Just(Step::Event(Event::Secured(None))),
        2 => (0_u32..6).prop_map(move |flags| Step::Event(opened(flags & !2))),
        1 => any::<u16>().prop_map(|new_port| {
            Step::Event(Event::Reconnect(Reconnect { new_host: Str0255::from_bytes(&[0xff]), new_port }))
        }),
    ]
}

proptest! {
    /// Whatever happens in whatever order: nothing panics, other work shows in the counter, deadlines lie ahead once they were obeyed,
    /// and a share of the present work can be sent.
    #[test]
    fn any_order_of_events_is_survived(steps in prop::collection::vec(step(), 1..80), standard_jobs_only: bool) {
        let mut device = Device::new(DeviceConfig { standard_jobs_only, ..CONFIG });
        let mut output = Output::new([0; DEVICE_OUTPUT]);
        let mut now = Instant::from_secs(1);
        let opened = Event::Opened(SetupConnectionSuccess { used_version: 2, flags: 0 });
        drop(device.handle(now, &opened, &mut Out::plain(&mut output, Revision::Draft)).unwrap());
        for step in steps {
            let before = (device.changes(), device.work());
            let mut out = Out::plain(&mut output, Revision::Draft);
            match step {
                Step::Event(event) => drop(device.handle(now, &event, &mut out).unwrap()),
                Step::Wait(millis) => {
                    now = now.saturating_add(Duration::from_millis(millis));
                    drop(device.handle_timeout(now));
                    prop_assert!(device.poll_timeout().is_none_or(|at| at > now));
                }
                Step::Rate(rate) => device.set_nominal_hash_rate(now, rate),
                Step::Submit => {
                    if let Some(work) = device.work() {
                        let sent = device.submit(now, &work.solution(work.version, work.max_ntime(now), 0), &mut out);
                        prop_assert!(sent.is_ok(), "{:?}", sent);
                    }
                }
                Step::Lost => device.reset(),
            }
            prop_assert_eq!(before.1 == device.work(), before.0 == device.changes());
            device.poll_outbound(now, &mut Out::plain(&mut output, Revision::Draft)).unwrap();
            prop_assert!(!device.wants_outbound());
            output.consume(output.len()).unwrap();
        }
    }
}

/// A server that breaks a rule is told apart from one that is merely late, and leaves no work behind.
#[test]
fn a_broken_rule_is_fatal() {
    let mut bench = Bench::ready();
    let work = bench.device.work().unwrap();
    bench.say(&crate::message::mining::NewExtendedMiningJob {
        channel_id: work.channel_id,
        job_id: 1,
        start: crate::message::JobStart::Future,
        version: 0,
        version_rolling_allowed: true,
        merkle_path: crate::wire::Seq0255::new(&[]),
        coinbase_tx_prefix: b"".as_slice().into(),
        coinbase_tx_suffix: b"".as_slice().into(),
    });
    assert_eq!(bench.exchange(), ["Fatal(Server(JobKind))"]);
    assert!(bench.device.work().is_none());
    bench.say(&SetTarget { channel_id: work.channel_id, maximum_target: U256::MAX });
    assert!(bench.exchange().is_empty(), "nothing of it counts any more");
}

/// D-MIN-10, D-FLAG-1: a device whose type says standard jobs only asks for them whatever its configuration says, and judges an extended job for its
/// channel without having read it.
#[test]
fn a_standard_device_judges_what_it_does_not_read() {
    let mut device = Device::standard(DeviceConfig { standard_jobs_only: false, ..CONFIG });
    let mut output = Output::new([0; DEVICE_OUTPUT]);
    let now = Instant::ORIGIN;
    let mut handle = |event| {
        let mut out = Out::plain(&mut output, Revision::Draft);
        let outcome = device.handle(now, &event, &mut out).unwrap();
        let sent = output.filled().to_vec();
        output.consume(sent.len()).unwrap();
        (outcome, sent)
    };
    let (_, sent) = handle(Event::Secured(None));
    let setup = SetupConnection::from_payload(0, &sent[6..], Revision::Draft).unwrap();
    assert_eq!(setup.flags, SetupFlags::REQUIRES_STANDARD_JOBS.bits());
    let _ = handle(Event::Opened(SetupConnectionSuccess { used_version: 2, flags: 0 }));
    let opened = ToStandardClient::OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess {
        request_id: 1,
        channel_id: 7,
        target: U256::MAX,
        extranonce_prefix: (&[1]).into(),
        group_channel_id: 9,
    });
    assert_eq!(handle(Event::Message(opened)).0, Outcome::ChannelOpened { channel_id: 7 });
    let job = |id: &'static [u8; 4]| Event::Message(ToStandardClient::NewExtendedMiningJob(Unread::new(id)));
    assert_eq!(handle(job(&[9, 0, 0, 0])).0, Outcome::Done, "a job of no group of this device");
    assert_eq!(handle(job(&[7, 0, 0, 0])).0, Outcome::Fatal(Fatal::Server(ServerViolation::JobKind)));
}
