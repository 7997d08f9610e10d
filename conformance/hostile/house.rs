//! A pool on the heap with a template provider's messages put in by hand, hostile clients, and one honest device.

use adit::message::common::SetupConnection;
use adit::message::mining::{
    OpenMiningChannelError, OpenStandardMiningChannel, SetupFlags, SubmitSharesError, SubmitSharesStandard, ToClient,
    ToServer,
};
use adit::message::{MessageSet, template};
use adit::mining::target::Target;
use adit::protocol::{Initiator, Mining, Protocol, Side, decode_incoming};
use adit::role::ConnectionId;
use adit::role::pool::{AcceptAll, Pool, PoolConfig, PoolError, PoolEvent, PoolLimits};
use adit::storage::Heap;
use adit::template::coinbase::Payout;
use adit::time::Instant;
use adit::wire::{B064K, B0255, Revision, Seq0255, Str0255, U256};

use adit::buffer::Output;
use adit::connection::Outbound;
use adit::frame::Header;

pub(crate) const TIME: u32 = 1_700_000_000;

/// What a client of the mining protocol says first.
pub(crate) const SETUP: SetupConnection<'static> = SetupConnection {
    protocol: 0,
    min_version: 2,
    max_version: 2,
    flags: 0,
    endpoint_host: Str0255::new("pool.example"),
    endpoint_port: 34_254,
    vendor: Str0255::new("adit"),
    hardware_version: Str0255::new("test"),
    firmware: Str0255::new(""),
    device_id: Str0255::new(""),
};

/// What one side wrote, for the other to read.
pub(crate) struct Wire(Output<Vec<u8>>);

impl Wire {
    pub(crate) fn new(room: usize) -> Self {
        Self(Output::new(vec![0; room]))
    }

    pub(crate) fn out<S: Side, Pr: Protocol>(&mut self) -> Outbound<'_, S, Pr> {
        Outbound::plain(&mut self.0, Revision::Draft)
    }

    /// Empties the buffer and hands each message over.
    pub(crate) fn drain<S: Side, Pr: Protocol>(&mut self, mut each: impl FnMut(S::Incoming<'_, Pr>)) {
        let bytes = self.0.filled();
        let (len, mut rest) = (bytes.len(), bytes);
        while let Some((head, tail)) = rest.split_first_chunk() {
            let header = Header::decode(*head);
            let (payload, tail) = tail.split_at(header.msg_length());
            each(decode_incoming::<S, Pr>(header, payload, Revision::Draft).expect("a message of ours"));
            rest = tail;
        }
        self.0.consume(len).expect("what is filled");
    }
}

pub(crate) struct House {
    pub(crate) pool: Box<Pool<Heap>>,
    pub(crate) now: Instant,
    pub(crate) wire: Wire,
    templates: u64,
    honest: (ConnectionId, u32),
    job: u32,
    shares: u32,
}

pub(crate) fn open(request_id: u32, name: &str) -> ToServer<'_> {
    ToServer::OpenStandardMiningChannel(OpenStandardMiningChannel {
        request_id,
        user_identity: name.into(),
        nominal_hash_rate: 0.0,
        max_target: U256::MAX,
    })
}

pub(crate) fn share(channel_id: u32, job_id: u32, nonce: u32) -> ToServer<'static> {
    ToServer::SubmitSharesStandard(SubmitSharesStandard {
        channel_id,
        sequence_number: nonce,
        job_id,
        nonce,
        ntime: TIME,
        version: 0x2000_0000,
    })
}

impl House {
    /// A pool with a job and an honest device on it.
    pub(crate) fn new(limits: PoolLimits) -> Self {
        let payouts = [Payout { script_pubkey: &[0x51; 22], weight: 1 }];
        let mut pool =
            Box::new(Pool::new(&PoolConfig { limits, ..PoolConfig::new(&payouts) }).expect("a configuration"));
        let now = Instant::from_secs(1_000);
        pool.provider_connected();
        let id = pool.connect(now, Revision::Draft, SetupFlags::REQUIRES_STANDARD_JOBS).expect("a place");
        let mut house = Self { pool, now, wire: Wire::new(1 << 20), templates: 0, honest: (id, 0), job: 0, shares: 0 };
        house.new_block();
        let Ok(PoolEvent::Opened { channel_id, .. }) = house.handle(id, &open(1, "honest")) else { panic!("refused") };
        house.honest.1 = channel_id;
        house
    }

    /// A hostile client's connection.
    pub(crate) fn connect(&mut self) -> ConnectionId {
        self.pool.connect(self.now, Revision::Draft, SetupFlags::NONE).expect("a place")
    }

    pub(crate) fn handle(&mut self, id: ConnectionId, message: &ToServer<'_>) -> Result<PoolEvent, PoolError> {
        self.pool.handle(self.now, id, message, &mut AcceptAll, &mut self.wire.out())
    }

    /// A template on the tip, or for the next one.
    pub(crate) fn template(&mut self, future_template: bool) {
        self.templates += 1;
        let path = [U256([7; 32]); 12];
        let message = template::ToClient::NewTemplate(template::NewTemplate {
            template_id: self.templates,
            future_template,
            version: 0x2000_0000,
            coinbase_tx_version: 2,
            coinbase_prefix: B0255::new(&[1, 7]),
            coinbase_tx_input_sequence: u32::MAX,
            coinbase_tx_value_remaining: 5_000,
            coinbase_tx_outputs_count: 0,
            coinbase_tx_outputs: B064K::new(&[]),
            coinbase_tx_locktime: 0,
            merkle_path: Seq0255::new(&path),
        });
        assert!(self.pool.handle_provider(self.now, message).is_ok());
    }

    /// A new tip on which every hash is a share and none is a block.
    pub(crate) fn new_block(&mut self) {
        self.template(true);
        let message = template::ToClient::SetNewPrevHash(template::SetNewPrevHash {
            template_id: self.templates,
            prev_hash: U256([self.templates as u8; 32]),
            header_timestamp: TIME,
            n_bits: 0x1703_a30c,
            target: Target::from_nbits(0x1703_a30c).expect("a target").into(),
        });
        assert!(self.pool.handle_provider(self.now, message).is_ok());
    }

    /// What was answered so far, thrown away.
    pub(crate) fn ignore_answers(&mut self) {
        self.wire.drain::<Initiator, Mining>(|_| ());
    }

    /// Tells a client what it has to be told, and gives the job that it works on when that is another one.
    pub(crate) fn hear(&mut self, id: ConnectionId) -> Option<u32> {
        assert!(self.pool.poll_outbound(id, &mut self.wire.out()).is_ok());
        let mut job = None;
        self.wire.drain::<Initiator, Mining>(|message| match message {
            ToClient::NewMiningJob(message) if !message.start.is_future() => job = Some(message.job_id),
            ToClient::SetNewPrevHash(message) => job = Some(message.job_id),
            _ => {}
        });
        job
    }

    /// The codes of what was refused so far, and the names of other answers.
    pub(crate) fn answers(&mut self) -> Vec<String> {
        let mut answers = vec![];
        self.wire.drain::<Initiator, Mining>(|message| {
            answers.push(match message {
                ToClient::SubmitSharesError(SubmitSharesError { error_code, .. })
                | ToClient::OpenMiningChannelError(OpenMiningChannelError { error_code, .. }) => {
                    String::from_utf8_lossy(error_code.as_bytes()).into_owned()
                }
                other => other.entry(Revision::Draft).map_or("", |entry| entry.name).to_string(),
            });
        });
        answers
    }

    /// Whatever went on: an honest share counts and is acknowledged.
    pub(crate) fn check_honest(&mut self) {
        self.ignore_answers();
        let (id, channel_id) = self.honest;
        self.job = self.hear(id).unwrap_or(self.job);
        let job_id = self.job;
        self.shares += 1;
        let event = self.handle(id, &share(channel_id, job_id, self.shares));
        let Ok(PoolEvent::Share(share)) = event else { panic!("an honest share did not count: {event:?}") };
        self.pool.stored(share.ticket);
        assert!(self.pool.poll_outbound(id, &mut self.wire.out()).is_ok());
        assert_eq!(self.answers(), ["SubmitShares.Success"]);
    }
}
