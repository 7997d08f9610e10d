//! What the tests of the pool share: a pool with a provider behind it and scripted devices before it, joined by plain frames.

use std::boxed::Box;
use std::vec::Vec;

use super::{AcceptAll, Policy, Pool, PoolConfig, PoolError, PoolEvent, ProviderEvent, TemplateNews};
use crate::message::MessageSet;
use crate::message::mining::{OpenStandardMiningChannel, SetupFlags, SubmitSharesStandard, ToClient, ToServer};
use crate::mining::server::ServerConfig;
use crate::mining::target::Target;
use crate::mining::vardiff::VardiffConfig;
use crate::protocol::{Initiator, Mining, Responder, TemplateDistribution};
use crate::role::provider::NewTemplate;
use crate::role::{ConnectionId, Provider};
use crate::storage::Storage;
use crate::template::Constraints;
use crate::template::book::Basis;
use crate::template::coinbase::Payout;
use crate::template::server::Request;
use crate::template::testing::{Wire, fields, tip};
use crate::time::Instant;
use crate::wire::{Revision, U256};

pub(super) const SCRIPT: [u8; 22] = [0x51; 22];
pub(super) const PAYOUTS: [Payout<'static>; 1] = [Payout { script_pubkey: &SCRIPT, weight: 1 }];

/// Every hash is a share, and blocks are what the template's target says.
pub(super) fn config() -> PoolConfig<'static> {
    let vardiff = VardiffConfig { shares_per_minute: 6.0, ..VardiffConfig::default() };
    let server = ServerConfig { vardiff, ..ServerConfig::default() };
    PoolConfig { server, tag: b"/test/", ..PoolConfig::new(&PAYOUTS) }
}

/// What a device heard.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    Opened(u32),
    Job { channel: u32, job: u32, future: bool },
    PrevHash { job: u32, prev: u8 },
    Acknowledged { last: u32, count: u32 },
    Error(&'static str, Vec<u8>),
    Other(&'static str),
}

pub(super) struct Bench<S: Storage> {
    pub(super) pool: Box<Pool<S>>,
    pub(super) provider: Box<Provider<S>>,
    pub(super) upstream: ConnectionId,
    pub(super) up: Wire<TemplateDistribution>,
    pub(super) down: Wire<Mining>,
    pub(super) now: Instant,
    pub(super) sequence: u32,
}

impl<S: Storage> Bench<S> {
    pub(super) fn new(config: &PoolConfig<'_>) -> Self {
        let mut provider = Box::new(Provider::default());
        let upstream = provider.connect(Revision::Draft).unwrap();
        Self {
            pool: Box::new(Pool::new(config).unwrap()),
            provider,
            upstream,
            up: Wire::new(100_000, Revision::Draft),
            down: Wire::new(100_000, Revision::Draft),
            now: Instant::from_secs(100),
            sequence: 0,
        }
    }

    /// With a provider that has a first tip.
    pub(super) fn running(config: &PoolConfig<'_>) -> Self {
        let mut bench = Self::new(config);
        bench.new_block(1, Target::MAX);
        bench.pool.provider_connected();
        bench.sync();
        bench
    }

    pub(super) fn template(&mut self, basis: Basis) -> u64 {
        let room = Constraints { max_additional_size: 100, max_additional_sigops: 10 };
        let coinbase = fields(&[1, 7]);
        let path = [U256([3; 32])];
        self.provider
            .new_template(&NewTemplate { basis, version: 0x2000_0000, coinbase, merkle_path: &path, room })
            .unwrap()
    }

    pub(super) fn new_block(&mut self, n: u8, target: Target) {
        let id = self.template(Basis::Next);
        self.provider.new_tip(self.now, id, crate::template::Tip { target, ..tip(n) }).unwrap();
    }

    /// Carries messages between pool and provider until both are silent: what the pool said happened, and blocks that came in, with whether
    /// they keep all rules.
    pub(super) fn sync(&mut self) -> (Vec<&'static str>, Vec<bool>) {
        let (mut events, mut blocks) = (Vec::new(), Vec::new());
        loop {
            let Self { pool, provider, up, now, .. } = self;
            let mut busy = false;
            if pool.provider_wants_outbound() {
                busy = true;
                pool.poll_provider_outbound(&mut up.out()).unwrap();
                let mut answers = Wire::<TemplateDistribution>::new(1000, Revision::Draft);
                up.drain::<Responder>(|message| {
                    match provider.handle(*now, self.upstream, message, &mut answers.out()).unwrap() {
                        Some(Request::Solution(solution)) => blocks.push(solution.breach.is_none()),
                        Some(Request::NoBlock(..)) => panic!("no block"),
                        Some(Request::Constraints(_) | Request::Transactions(_)) | None => {}
                    }
                });
            }
            while let Some(id) = provider.poll_dirty() {
                busy = true;
                provider.poll_outbound(id, &mut up.out()).unwrap();
                up.drain::<Initiator>(|message| {
                    events.push(match pool.handle_provider(*now, message).unwrap() {
                        ProviderEvent::Template(TemplateNews::Job { future: true, .. }) => "future job",
                        ProviderEvent::Template(TemplateNews::Job { .. }) => "job",
                        ProviderEvent::Template(TemplateNews::Tip { .. }) => "tip",
                        ProviderEvent::Template(TemplateNews::TipWithoutJob { .. }) => "tip without job",
                        ProviderEvent::Template(TemplateNews::NoJob { .. }) => "no job",
                        ProviderEvent::Template(TemplateNews::Unusable { .. }) => "unusable",
                        ProviderEvent::Transactions(_) | ProviderEvent::NoTransactions(_) => "transactions",
                    });
                });
            }
            if !busy {
                return (events, blocks);
            }
        }
    }

    pub(super) fn connect(&mut self) -> ConnectionId {
        self.pool.connect(self.now, Revision::Draft, SetupFlags::REQUIRES_STANDARD_JOBS).unwrap()
    }

    pub(super) fn handle(&mut self, id: ConnectionId, message: ToServer<'_>) -> Result<PoolEvent, PoolError> {
        self.handle_by(id, message, &mut AcceptAll)
    }

    pub(super) fn handle_by(
        &mut self,
        id: ConnectionId,
        message: ToServer<'_>,
        policy: &mut impl Policy,
    ) -> Result<PoolEvent, PoolError> {
        self.pool.handle(self.now, id, &message, policy, &mut self.down.out())
    }

    pub(super) fn open(&mut self, id: ConnectionId, user: &str) -> Result<PoolEvent, PoolError> {
        self.handle(id, open(user))
    }

    /// What went out so far, then what is sent to this device.
    pub(super) fn heard(&mut self, id: ConnectionId) -> Vec<Heard> {
        self.pool.poll_outbound(id, &mut self.down.out()).unwrap();
        let mut heard = Vec::new();
        self.down.drain::<Initiator>(|message| {
            heard.push(match message {
                ToClient::OpenStandardMiningChannelSuccess(message) => Heard::Opened(message.channel_id),
                ToClient::NewMiningJob(message) => {
                    Heard::Job { channel: message.channel_id, job: message.job_id, future: message.start.is_future() }
                }
                ToClient::SetNewPrevHash(message) => {
                    Heard::PrevHash { job: message.job_id, prev: message.prev_hash.0[0] }
                }
                ToClient::SubmitSharesSuccess(message) => Heard::Acknowledged {
                    last: message.last_sequence_number,
                    count: message.new_submits_accepted_count,
                },
                ToClient::OpenMiningChannelError(message) => {
                    Heard::Error("open", message.error_code.as_bytes().to_vec())
                }
                ToClient::SubmitSharesError(message) => Heard::Error("share", message.error_code.as_bytes().to_vec()),
                ToClient::SetCustomMiningJobError(message) => {
                    Heard::Error("custom", message.error_code.as_bytes().to_vec())
                }
                other => Heard::Other(other.entry(Revision::Draft).unwrap().name),
            });
        });
        heard
    }

    /// The connections that are dirty, each served.
    pub(super) fn serve(&mut self) -> Vec<ConnectionId> {
        let mut served = Vec::new();
        while let Some(id) = self.pool.poll_dirty() {
            self.heard(id);
            served.push(id);
        }
        served
    }

    pub(super) fn share(&mut self, id: ConnectionId, channel_id: u32, job_id: u32) -> Result<PoolEvent, PoolError> {
        self.share_at(id, channel_id, job_id, 1_000_000)
    }

    pub(super) fn share_at(
        &mut self,
        id: ConnectionId,
        channel_id: u32,
        job_id: u32,
        ntime: u32,
    ) -> Result<PoolEvent, PoolError> {
        self.sequence += 1;
        let share = SubmitSharesStandard {
            channel_id,
            sequence_number: self.sequence,
            job_id,
            nonce: self.sequence,
            ntime,
            version: 0x2000_0000,
        };
        self.handle(id, ToServer::SubmitSharesStandard(share))
    }

    /// A connection with a channel that works on a job: connection, channel, job.
    pub(super) fn working(&mut self) -> (ConnectionId, u32, u32) {
        let id = self.connect();
        let PoolEvent::Opened { channel_id, .. } = self.open(id, "worker").unwrap() else { panic!("refused") };
        let heard = self.heard(id);
        let Some(Heard::PrevHash { job, .. }) = heard.last() else { panic!("{heard:?}") };
        (id, channel_id, *job)
    }
}

pub(super) fn open(user: &str) -> ToServer<'_> {
    ToServer::OpenStandardMiningChannel(OpenStandardMiningChannel {
        request_id: 1,
        user_identity: user.into(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
    })
}
