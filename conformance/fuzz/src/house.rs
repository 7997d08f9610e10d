//! A pool with an honest template provider behind it and an honest device before it: what hostile peers must not harm.

use adit::message::mining::{OpenStandardMiningChannel, SetupFlags, SubmitSharesStandard, ToClient, ToServer};
use adit::mining::target::Target;
use adit::protocol::{Initiator, Mining, Responder, TemplateDistribution};
use adit::role::ConnectionId;
use adit::role::pool::{AcceptAll, Pool, PoolConfig, PoolEvent, PoolLimits};
use adit::role::provider::{NewTemplate, Provider};
use adit::storage::Inline;
use adit::template::book::Basis;
use adit::template::coinbase::{Payout, TemplateCoinbase};
use adit::template::{Constraints, Tip};
use adit::time::Instant;
use adit::wire::{Revision, U256};
use std::num::NonZeroU32;
use std::time::Duration;

use super::link::Link;

/// Template ids of a provider that comes after any other.
pub(crate) const LATE_ID: u64 = 1 << 40;

pub(crate) struct House {
    pub(crate) pool: Box<Pool<Inline>>,
    pub(crate) provider: Box<Provider<Inline>>,
    pub(crate) upstream: ConnectionId,
    pub(crate) now: Instant,
    honest: Option<ConnectionId>,
    channel: u32,
    /// The job in work, and the one that waits for a prevhash.
    job: u32,
    waiting: u32,
    shares: u32,
    /// All accepted shares of the house, and the last ticket.
    pub(crate) accepted: u64,
    pub(crate) ticket: u64,
    heights: u8,
}

impl House {
    /// A pool that has a job, unless the upstream is the test's own.
    pub(crate) fn new(first_template: u64) -> Self {
        let payouts = [Payout { script_pubkey: &[0x51; 22], weight: 1 }];
        let limits = PoolLimits { shares_per_second: NonZeroU32::new(20), share_burst: 50, ..PoolLimits::default() };
        let mut provider = Box::new(Provider::starting_at(first_template));
        let upstream = provider.connect(Revision::Draft).expect("a place");
        Self {
            pool: Box::new(Pool::new(&PoolConfig { limits, ..PoolConfig::new(&payouts) }).expect("a configuration")),
            provider,
            upstream,
            now: Instant::from_secs(1_000),
            honest: None,
            channel: 0,
            job: 0,
            waiting: 0,
            shares: 0,
            accepted: 0,
            ticket: 0,
            heights: 0,
        }
    }

    pub(crate) fn later(&mut self, seconds: u8) {
        self.now = self.now.saturating_add(Duration::from_secs(u64::from(seconds)));
        while let Some(overdue) = self.pool.handle_timeout(self.now) {
            assert_ne!(Some(overdue), self.honest, "the honest device has a channel");
            self.pool.disconnect(overdue);
        }
    }

    /// The honest provider has a new template.
    pub(crate) fn template(&mut self, basis: Basis) -> u64 {
        let coinbase = TemplateCoinbase {
            tx_version: 2,
            script_prefix: &[1, 7],
            input_sequence: u32::MAX,
            value_remaining: 5_000,
            outputs_count: 0,
            outputs: &[],
            lock_time: 0,
        };
        let room = Constraints { max_additional_size: 1_000, max_additional_sigops: 100 };
        let template = NewTemplate { basis, version: 0x2000_0000, coinbase, merkle_path: &[U256([3; 32])], room };
        self.provider.new_template(&template).expect("a good template")
    }

    pub(crate) fn new_block(&mut self) {
        let id = self.template(Basis::Next);
        self.heights = self.heights.wrapping_add(1);
        let tip = Tip {
            prev_hash: [self.heights; 32],
            header_timestamp: 1_700_000_000,
            n_bits: 0x207f_ffff,
            target: Target::MAX,
        };
        self.provider.new_tip(self.now, id, tip).expect("a future template");
    }

    /// Pool and honest provider talk until both are silent.
    pub(crate) fn sync(&mut self) {
        let Self { pool, provider, upstream, now, .. } = self;
        let mut link = Link::default();
        loop {
            let mut busy = false;
            if pool.provider_wants_outbound() {
                busy = true;
                pool.poll_provider_outbound(&mut link.out()).expect("room");
                link.drain::<Responder, TemplateDistribution>(|message| {
                    let taken = provider.handle(*now, *upstream, message, &mut Link::default().out());
                    assert!(taken.is_ok(), "the pool broke a rule: {taken:?}");
                });
            }
            while let Some(id) = provider.poll_dirty() {
                if id != *upstream {
                    continue;
                }
                busy = true;
                provider.poll_outbound(id, &mut link.out()).expect("room");
                link.drain::<Initiator, TemplateDistribution>(|message| {
                    let taken = pool.handle_provider(*now, message);
                    assert!(taken.is_ok(), "the provider broke a rule: {taken:?}");
                });
            }
            if !busy {
                return;
            }
        }
    }

    /// The honest device comes and opens its channel.
    pub(crate) fn honest(&mut self) {
        let id = self.pool.connect(self.now, Revision::Draft, SetupFlags::REQUIRES_STANDARD_JOBS).expect("a place");
        self.honest = Some(id);
        let open = ToServer::OpenStandardMiningChannel(OpenStandardMiningChannel {
            request_id: 1,
            user_identity: "honest".into(),
            nominal_hash_rate: 0.0,
            max_target: U256::MAX,
        });
        let mut link = Link::default();
        let opened = self.pool.handle(self.now, id, &open, &mut AcceptAll, &mut link.out());
        let Ok(PoolEvent::Opened { channel_id, .. }) = opened else { panic!("{opened:?}") };
        self.channel = channel_id;
        self.listen();
    }

    /// The honest device hears what the pool has to tell it.
    fn listen(&mut self) {
        let id = self.honest.expect("it is connected");
        let mut link = Link::default();
        self.pool.poll_outbound(id, &mut link.out()).expect("room");
        let (job, waiting) = (&mut self.job, &mut self.waiting);
        link.drain::<Initiator, Mining>(|message| match message {
            ToClient::NewMiningJob(message) if message.start.is_future() => *waiting = message.job_id,
            ToClient::NewMiningJob(message) => *job = message.job_id,
            ToClient::SetNewPrevHash(message) => {
                assert_eq!(message.job_id, *waiting, "a prevhash names the job that was announced");
                *job = message.job_id;
            }
            ToClient::SubmitSharesError(error) => panic!("an honest share was rejected: {error:?}"),
            _ => {}
        });
    }

    /// Takes note of an event: tickets rise, and nothing is counted that was not returned.
    pub(crate) fn note(&mut self, event: &PoolEvent) {
        if let PoolEvent::Share(share) = event {
            assert!(share.ticket > self.ticket, "tickets rise");
            assert!(share.target.is_met_by(&share.hash) && share.hash == share.header.hash());
            self.ticket = share.ticket;
            self.accepted += 1;
        }
        assert_eq!(self.pool.statistics(self.now).accepted, self.accepted);
    }

    /// Whatever happened before: the honest device's shares count, and a new block reaches it.
    pub(crate) fn check_honest(&mut self) {
        self.listen();
        self.share();
        self.new_block();
        self.sync();
        let before = self.job;
        self.listen();
        assert_ne!(self.job, before, "the new block did not reach the honest device");
        self.share();
        self.pool.stored(self.ticket);
    }

    /// The honest device finds the next share on its job.
    fn share(&mut self) {
        let id = self.honest.expect("it is connected");
        let connection = self.pool.connection(id).expect("it is connected");
        let channel = connection.channel(self.channel).expect("its channel is open");
        // Variable difficulty makes it easier after silence, never harder without shares; the pool's easiest target is any hash.
        assert_eq!(channel.account(), self.pool.account_of(b"honest").expect("it has an account"));
        self.shares += 1;
        let share = ToServer::SubmitSharesStandard(SubmitSharesStandard {
            channel_id: self.channel,
            sequence_number: self.shares,
            job_id: self.job,
            nonce: self.shares,
            ntime: 1_700_000_000,
            version: 0x2000_0000,
        });
        let event = self.pool.handle(self.now, id, &share, &mut AcceptAll, &mut Link::default().out());
        match event {
            Ok(event @ PoolEvent::Share(_)) => self.note(&event),
            other => panic!("an honest share did not count: {other:?}"),
        }
    }
}
