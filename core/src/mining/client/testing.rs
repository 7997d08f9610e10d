//! What tests of the client and of the device share: a pool with one downstream connection, and a client on it.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::{ClientEvent, MiningClient, Open, Out, ServerViolation, Solution, Terms, Work};
use crate::buffer::Output;
use crate::frame::Header as FrameHeader;
use crate::message::MessageSet;
use crate::message::mining::{SetupFlags, ToClient, ToServer};
use crate::mining::extranonce::ExtranonceSpace;
use crate::mining::job::{NewJob, PrevHash};
use crate::mining::server::{
    self, Accepted, CustomCoinbase, MiningServer, Opened, Received, Rejection, ServerConfig, Shared,
};
use crate::mining::target::Target;
use crate::protocol::{Initiator, Mining, Responder, decode_incoming};
use crate::storage::{Inline, Storage};
use crate::time::Instant;
use crate::wire::Revision;

/// All frames in `bytes`, which must be whole. Leaked: messages borrow, and a test is short.
pub(crate) fn frames(bytes: &[u8]) -> Vec<(FrameHeader, &'static [u8])> {
    let mut bytes: &'static [u8] = Box::leak(bytes.to_vec().into_boxed_slice());
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk() {
        let header = FrameHeader::decode(*head);
        let (payload, rest) = rest.split_at(header.msg_length());
        frames.push((header, payload));
        bytes = rest;
    }
    frames
}

fn drained(output: &mut Output<Vec<u8>>) -> Vec<u8> {
    let bytes = output.filled().to_vec();
    output.consume(bytes.len()).unwrap();
    bytes
}

/// A pool with one downstream connection.
pub(crate) struct Pool {
    pub(crate) server: MiningServer<Inline>,
    pub(crate) shared: Shared<Inline>,
    pub(crate) output: Output<Vec<u8>>,
    revision: Revision,
    templates: u64,
    pub(crate) accepted: Vec<Accepted>,
    /// Of the accepted shares.
    pub(crate) hashes: Vec<[u8; 32]>,
    pub(crate) rejected: Vec<Rejection>,
    /// What the coinbases of custom jobs are made of.
    pub(crate) custom: CustomCoinbase<'static>,
}

impl Pool {
    /// Without jobs. Groups of two get group jobs.
    pub(crate) fn new(terms: &Terms, config: ServerConfig) -> Self {
        let space = ExtranonceSpace::new(&[0xab], 2, 8).unwrap();
        Self {
            server: MiningServer::new(terms.revision, terms.required),
            shared: Shared::new(ServerConfig { group_jobs_from: 2, ..config }, space, 0),
            output: Output::new(vec![0; 16_384]),
            revision: terms.revision,
            templates: 0,
            accepted: Vec::new(),
            hashes: Vec::new(),
            rejected: Vec::new(),
            custom: CustomCoinbase::AsGiven,
        }
    }

    /// A template's job, live or future.
    pub(crate) fn job(&mut self, future: bool) {
        self.templates += 1;
        let suffix = [b"suffix".as_slice(), &self.templates.to_le_bytes()].concat();
        let job = NewJob {
            template_id: self.templates,
            future,
            version: 0x2000_0000,
            coinbase_prefix: b"prefix",
            coinbase_suffix: &suffix,
        };
        self.shared.add_job(&job, [[0x11; 32], [0x22; 32]]).unwrap();
    }

    /// The prevhash for the future job that came last.
    pub(crate) fn prev_hash(&mut self, now: Instant, n: u8) {
        let prev = PrevHash {
            prev_hash: [n; 32],
            min_ntime: 1_700_000_000 + u32::from(n),
            nbits: 0x1703_a30c,
            network_target: Target::from_nbits(0x1703_a30c).unwrap(),
        };
        self.shared.set_prev_hash(now, prev, self.templates).unwrap();
    }

    pub(crate) fn block(&mut self, now: Instant, n: u8) {
        self.job(true);
        self.prev_hash(now, n);
    }

    pub(crate) fn receive(&mut self, now: Instant, message: &ToServer<'_>) {
        let mut out = server::Out::plain(&mut self.output, self.revision);
        match self.server.receive(now, &mut self.shared, message, &mut out).unwrap() {
            Received::Open(request) => {
                let opened = self.server.accept(now, &mut self.shared, &request.open, 7, &mut out).unwrap();
                assert!(matches!(opened, Opened::Channel(_)), "{opened:?}");
            }
            Received::Share(share) => match self.server.conclude(now, &mut self.shared, &share, &share.hash()) {
                Ok(accepted) => {
                    self.accepted.push(accepted);
                    self.hashes.push(share.hash());
                }
                Err(rejection) => {
                    out.send(&rejection.answer()).unwrap();
                    self.rejected.push(rejection);
                }
            },
            Received::Rejected(rejection) => self.rejected.push(rejection),
            Received::Done | Received::Closed(_) => {}
            Received::Custom(request) => {
                let taken = self.server.accept_custom(now, &mut self.shared, &request, self.custom, &mut out).unwrap();
                assert!(taken.is_some());
            }
        }
    }

    /// The bytes for the client.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        let mut out = server::Out::plain(&mut self.output, self.revision);
        self.server.poll_outbound(&mut self.shared, &mut out).unwrap();
        drained(&mut self.output)
    }
}

/// A client and its pool.
pub(super) struct Bench<S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize> {
    pub(super) client: MiningClient<S, CHANNELS, COINBASE, PATH>,
    pub(super) output: Output<Vec<u8>>,
    pub(super) pool: Pool,
    pub(super) now: Instant,
}

/// One channel in the default capacities.
pub(super) type Small = Bench<Inline, 1, 0, 0>;
/// Several channels of either kind.
pub(super) type Large = Bench<Inline, 3, 256, 8>;

pub(super) fn terms(revision: Revision, required: SetupFlags) -> Terms {
    Terms { revision, required, ..Terms::default() }
}

impl<S: Storage, const CHANNELS: usize, const COINBASE: usize, const PATH: usize> Bench<S, CHANNELS, COINBASE, PATH> {
    /// A pool with a first job on a first prevhash, and a client that has opened nothing.
    pub(super) fn new(terms: Terms, config: ServerConfig) -> Self {
        let now = Instant::from_secs(1_000);
        let mut pool = Pool::new(&terms, config);
        pool.block(now, 1);
        Self { client: MiningClient::new(terms), output: Output::new(vec![0; 4_096]), pool, now }
    }

    pub(super) fn draft() -> Self {
        Self::new(terms(Revision::Draft, SetupFlags::NONE), ServerConfig::default())
    }

    fn revision(&self) -> Revision {
        self.client.terms().revision
    }

    /// What the client has sent, taken off the link.
    pub(super) fn taken(&mut self) -> Vec<ToServer<'static>> {
        let revision = self.revision();
        let decode = |(header, payload)| decode_incoming::<Responder, Mining>(header, payload, revision).unwrap();
        frames(&drained(&mut self.output)).into_iter().map(decode).collect()
    }

    /// Carries messages both ways until nobody has anything to say.
    pub(super) fn exchange(&mut self) -> Vec<ClientEvent<'static>> {
        let mut events = Vec::new();
        loop {
            let mut out = Out::plain(&mut self.output, self.client.terms().revision);
            self.client.poll_outbound(self.now, &mut out).unwrap();
            for message in self.taken() {
                self.pool.receive(self.now, &message);
            }
            let bytes = self.pool.sent();
            if bytes.is_empty() {
                return events;
            }
            for (header, payload) in frames(&bytes) {
                let message = decode_incoming::<Initiator, Mining>(header, payload, self.revision()).unwrap();
                events.push(self.handle(&message).unwrap());
            }
        }
    }

    pub(super) fn handle(&mut self, message: &ToClient<'static>) -> Result<ClientEvent<'static>, ServerViolation> {
        self.client.handle(self.now, message)
    }

    pub(super) fn ask_standard(&mut self) -> u32 {
        let mut out = Out::plain(&mut self.output, self.client.terms().revision);
        self.client.open_standard(&OPEN, &mut out).unwrap()
    }

    pub(super) fn ask_extended(&mut self) -> u32 {
        let mut out = Out::plain(&mut self.output, self.client.terms().revision);
        self.client.open_extended(&OPEN, 4, &mut out).unwrap()
    }

    /// The channel that the last exchange opened.
    pub(super) fn opened(&mut self) -> u32 {
        let opened = self.exchange().into_iter().find_map(|event| match event {
            ClientEvent::Opened { channel_id, .. } => Some(channel_id),
            _ => None,
        });
        opened.unwrap()
    }

    pub(super) fn submit(&mut self, solution: &Solution) -> Result<u32, super::NotSent> {
        let mut out = Out::plain(&mut self.output, self.client.terms().revision);
        self.client.submit(self.now, solution, &mut out)
    }
}

/// Every hash is a share for it.
pub(super) const OPEN: Open<'static> =
    Open { user_identity: "miner.1", nominal_hash_rate: 0.0, max_target: Target::MAX };

/// A share of this work: the first nonce from `from` whose hash counts.
pub(crate) fn mine(work: &Work, from: u32) -> Solution {
    let counts = |nonce: &u32| work.target.is_met_by(&work.header(work.version, work.min_ntime, *nonce).hash());
    let nonce = (from..=u32::MAX).find(counts).unwrap();
    work.solution(work.version, work.min_ntime, nonce)
}

/// Everything that a message set can say, for matching on names.
pub(super) fn names<'a, M: MessageSet<'a>>(messages: &[M], revision: Revision) -> Vec<&'static str> {
    messages.iter().map(|message| message.entry(revision).unwrap().name).collect()
}
