//! What the tests of the server share: one connection, one pool, and what went out.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::{
    Accepted, MiningServer, Opened, Out, Prepared, Proof, Received, Rejection, ServerConfig, ShareBatch, Shared,
    SolutionSource, Submitted,
};
use crate::buffer::Output;
use crate::error::Error;
use crate::frame::Header as FrameHeader;
use crate::message::ChannelKind;
use crate::message::mining::{
    OpenExtendedMiningChannel, OpenStandardMiningChannel, SetupFlags, SubmitSharesExtended, SubmitSharesStandard,
    ToClient, ToServer,
};
use crate::mining::extranonce::ExtranonceSpace;
use crate::mining::job::{JobId, NewJob, PrevHash};
use crate::mining::lanes::{self, OneByOne};
use crate::mining::target::Target;
use crate::protocol::{Initiator, Mining, decode_incoming};
use crate::storage::Inline;
use crate::time::Instant;
use crate::wire::{Revision, U256};

pub(super) type Store = Inline;

/// One downstream connection to a pool of its own.
pub(super) struct Bench {
    pub(super) server: MiningServer<Store>,
    pub(super) shared: Shared<Store>,
    pub(super) now: Instant,
    pub(super) output: Output<Vec<u8>>,
    pub(super) revision: Revision,
    templates: u64,
    requests: u32,
}

/// Hashes a second at which six shares a minute have the target of difficulty 1.
pub(super) const RATE: f32 = 4.295e8;

impl Bench {
    pub(super) fn new(revision: Revision, flags: SetupFlags, config: ServerConfig) -> Self {
        let space = ExtranonceSpace::new(&[0xab], 2, 8).unwrap();
        Self {
            server: MiningServer::new(revision, flags),
            shared: Shared::new(config, space, 0),
            now: Instant::from_secs(1_000),
            output: Output::new(vec![0; 16_384]),
            revision,
            templates: 0,
            requests: 0,
        }
    }

    /// The draft, no flags, with a first job on a first prevhash.
    pub(super) fn draft() -> Self {
        let mut bench = Self::new(Revision::Draft, SetupFlags::from_bits(0), config());
        bench.block(1);
        bench
    }

    /// A template's job, live or future.
    pub(super) fn job(&mut self, future: bool) -> JobId {
        self.templates += 1;
        let suffix = [b"suffix".as_slice(), &self.templates.to_le_bytes()].concat();
        let job = NewJob {
            template_id: self.templates,
            future,
            version: 0x2000_0000,
            coinbase_prefix: b"prefix",
            coinbase_suffix: &suffix,
        };
        self.shared.add_job(&job, [[0x11; 32], [0x22; 32]]).unwrap()
    }

    /// A future job and the prevhash that names it.
    pub(super) fn block(&mut self, n: u8) {
        self.job(true);
        self.prev_hash(n);
    }

    /// The prevhash for the future job that came last.
    pub(super) fn prev_hash(&mut self, n: u8) {
        self.shared.set_prev_hash(self.now, prev(n), self.templates).unwrap();
    }

    /// A new block on a network of this target.
    pub(super) fn block_of(&mut self, n: u8, network_target: Target) {
        self.job(true);
        self.shared.set_prev_hash(self.now, PrevHash { network_target, ..prev(n) }, self.templates).unwrap();
    }

    pub(super) fn receive(&mut self, message: &ToServer<'static>) -> Result<Received<'static>, Error> {
        let mut out = Out::plain(&mut self.output, self.revision);
        self.server.receive(self.now, &mut self.shared, message, &mut out)
    }

    /// Sends what is pending and gives all that went out since the last call.
    pub(super) fn sent(&mut self) -> Vec<ToClient<'static>> {
        let mut out = Out::plain(&mut self.output, self.revision);
        self.server.poll_outbound(&mut self.shared, &mut out).unwrap();
        assert!(!self.server.wants_outbound(&self.shared));
        self.taken()
    }

    /// What went out, without asking for more.
    pub(super) fn taken(&mut self) -> Vec<ToClient<'static>> {
        // Leaked: messages borrow, and a test is short.
        let mut bytes: &'static [u8] = Box::leak(self.output.filled().to_vec().into_boxed_slice());
        self.output.consume(bytes.len()).unwrap();
        let mut messages = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk() {
            let header = FrameHeader::decode(*head);
            let (payload, rest) = rest.split_at(header.msg_length());
            messages.push(decode_incoming::<Initiator, Mining>(header, payload, self.revision).unwrap());
            bytes = rest;
        }
        messages
    }

    pub(super) fn try_open(&mut self, message: &ToServer<'static>) -> Option<u32> {
        match self.receive(message).unwrap() {
            Received::Open(request) => {
                let mut out = Out::plain(&mut self.output, self.revision);
                match self.server.accept(self.now, &mut self.shared, &request.open, 77, &mut out).unwrap() {
                    Opened::Channel(id) => Some(id),
                    Opened::Refused(_) => None,
                }
            }
            Received::Done => None,
            other => panic!("{other:?}"),
        }
    }

    /// Opens a channel whose target every hash meets, unless vardiff moves it. What goes out stays to be looked at.
    pub(super) fn open(&mut self, kind: ChannelKind) -> u32 {
        self.requests += 1;
        let request = match kind {
            ChannelKind::Standard => open_standard(self.requests, 0.0),
            ChannelKind::Extended => open_extended(self.requests, 0.0, 4),
        };
        self.try_open(&request).unwrap()
    }

    /// Opens a channel and forgets what went out. Gives the channel and its active job.
    pub(super) fn ready(&mut self, kind: ChannelKind) -> (u32, u32) {
        let channel = self.open(kind);
        let job = self.sent().iter().rev().find_map(|message| match message {
            ToClient::SetNewPrevHash(prev) if prev.channel_id == channel => Some(prev.job_id),
            _ => None,
        });
        (channel, job.unwrap())
    }

    /// A share, and its check, a millisecond after the last one.
    pub(super) fn submit(&mut self, share: &ToServer<'static>) -> Result<Accepted, Rejection> {
        self.submit_and_keep(share).map(|(accepted, _)| accepted)
    }

    /// The same, with what was prepared.
    pub(super) fn submit_and_keep(&mut self, share: &ToServer<'static>) -> Result<(Accepted, Prepared), Rejection> {
        self.now = self.now.saturating_add(core::time::Duration::from_millis(1));
        match self.receive(share).unwrap() {
            Received::Share(prepared) => {
                let outcome = self.server.conclude(self.now, &mut self.shared, &prepared, &prepared.hash());
                if let Err(rejection) = &outcome {
                    Out::plain(&mut self.output, self.revision).send(&rejection.answer()).unwrap();
                }
                outcome.map(|accepted| (accepted, prepared))
            }
            Received::Rejected(rejection) => Err(rejection),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn poll_timeout(&mut self) {
        self.now = self.server.poll_timeout().unwrap();
        self.server.handle_timeout(self.now, &self.shared);
    }
}

/// Defaults with little slack: six shares a minute, as easy as the client likes.
pub(super) fn config() -> ServerConfig {
    ServerConfig { ntime_slack: 10, ..ServerConfig::default() }
}

/// A prevhash on a network so hard that no share of a test is a block.
pub(super) fn prev(n: u8) -> PrevHash {
    PrevHash {
        prev_hash: [n; 32],
        min_ntime: 1_700_000_000 + u32::from(n),
        nbits: 0x1703_a30c,
        network_target: Target::from_nbits(0x1703_a30c).unwrap(),
    }
}

pub(super) fn open_standard(request_id: u32, nominal_hash_rate: f32) -> ToServer<'static> {
    ToServer::OpenStandardMiningChannel(OpenStandardMiningChannel {
        request_id,
        user_identity: "miner.1".into(),
        nominal_hash_rate,
        max_target: U256::MAX,
    })
}

pub(super) fn open_extended(request_id: u32, nominal_hash_rate: f32, min_extranonce_size: u16) -> ToServer<'static> {
    ToServer::OpenExtendedMiningChannel(OpenExtendedMiningChannel {
        request_id,
        user_identity: "proxy".into(),
        nominal_hash_rate,
        max_target: U256::MAX,
        min_extranonce_size,
    })
}

pub(super) fn share(channel_id: u32, job_id: u32, n: u32) -> SubmitSharesStandard {
    SubmitSharesStandard {
        channel_id,
        sequence_number: n,
        job_id,
        nonce: n,
        ntime: 1_700_000_005,
        version: 0x2000_0000,
    }
}

pub(super) fn standard(channel_id: u32, job_id: u32, n: u32) -> ToServer<'static> {
    ToServer::SubmitSharesStandard(share(channel_id, job_id, n))
}

pub(super) fn extended(channel_id: u32, job_id: u32, n: u32, extranonce: &'static [u8]) -> ToServer<'static> {
    let SubmitSharesStandard { sequence_number, nonce, ntime, version, .. } = share(channel_id, job_id, n);
    ToServer::SubmitSharesExtended(SubmitSharesExtended {
        channel_id,
        sequence_number,
        job_id,
        nonce,
        ntime,
        version,
        extranonce: extranonce.into(),
    })
}

/// All shares in batches of `at_once`, or each alone for 0, or each alone in two halves for none.
pub(super) fn check(
    bench: &mut Bench,
    shares: &[ToServer<'static>],
    at_once: Option<usize>,
) -> Vec<Result<Accepted, Rejection>> {
    let mut seen = Vec::new();
    if at_once == Some(0) {
        let mut proof = Proof::new();
        for share in shares.iter().filter_map(Submitted::of) {
            let checked = bench.server.check(bench.now, &mut bench.shared, &share, &OneByOne, &mut proof);
            if let Ok(accepted) = checked {
                assert_eq!(proof.header().hash(), *proof.hash());
                let extranonce = bench.server.extranonce(&bench.shared, &share).unwrap();
                let job = match accepted.block {
                    Some(SolutionSource::Job(job)) => bench.shared.book().live(job),
                    _ => None,
                };
                let root = job.map(|job| job.merkle_root(extranonce.as_slice(), &[]));
                assert!(root.is_none_or(|root| root == proof.header().merkle_root));
            }
            seen.push(checked);
        }
        return seen;
    }
    let Some(at_once) = at_once else {
        for share in shares {
            seen.push(match bench.receive(share).unwrap() {
                Received::Share(share) => bench.server.conclude(bench.now, &mut bench.shared, &share, &share.hash()),
                Received::Rejected(rejection) => Err(rejection),
                other => panic!("{other:?}"),
            });
        }
        return seen;
    };
    let mut batch = ShareBatch::default();
    for some in shares.chunks(at_once) {
        batch.clear();
        for share in some {
            batch.push(Submitted::of(share).unwrap()).unwrap();
        }
        bench.server.prepare_batch(bench.now, &bench.shared, &mut batch);
        batch.hash(lanes::fold_paths::<4>, lanes::hash_headers::<4>);
        bench.server.conclude_batch(bench.now, &mut bench.shared, &mut batch);
        while let Some(next) = batch.next_concluded() {
            seen.push(next.map(|(accepted, share)| {
                assert_eq!(share.header.hash(), *share.hash);
                accepted
            }));
        }
    }
    seen
}
