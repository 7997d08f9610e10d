//! Checking a share: everything from the decoded message to the accepted share.
//!
//! Both servers get a job of the same shape and as easy a target as they give, so that nearly every hash is a share; only accepted shares
//! are counted.

use std::hint::black_box;

use adit::{
    buffer::Output,
    message::mining::{
        OpenExtendedMiningChannel, OpenStandardMiningChannel, SetupFlags, SubmitSharesExtended, SubmitSharesStandard,
        ToServer,
    },
    mining::{
        extranonce::ExtranonceSpace,
        header::Header,
        job::{NewJob, PrevHash},
        lanes::Hasher as _,
        merkle::coinbase_txid,
        server::{MiningServer, Out, Proof, Received, ServerConfig, ShareBatch, Shared, Submitted},
        target::Target,
        vardiff::VardiffConfig,
    },
    storage::Heap,
    time::Instant,
    wire::{Revision, U256},
};
use adit_native::hash::Method;
use channels_sv2::{
    extranonce_manager::ExtranonceAllocator,
    server::{extended::ExtendedChannel, share_accounting::ShareValidationResult, standard::StandardChannel},
};
use mining_sv2::{SubmitSharesExtendedOwned, SubmitSharesStandardOwned};
use template_distribution_sv2::{NewTemplateOwned, SetNewPrevHashOwned};

use crate::measure::{Row, Side, side};

const LEVELS: usize = 12;
const NTIME: u32 = 1_745_611_105;
const VERSION: u32 = 0x2000_0000;
const NBITS: u32 = 0x1703_a30c;
const PREV: [u8; 32] = [7; 32];
const BATCH: usize = 64;
/// Coinbase bytes before and behind the extranonce, as long as those of a pool with one payout.
const COINBASE: (usize, usize) = (58, 115);
/// Shares of one sample: what either server takes of a channel on one prevhash.
const SHARES: usize = 2_000;
const SERVER_EXTRANONCE: [u8; 4] = [1, 2, 3, 4];

pub fn rows() -> Vec<Row> {
    let row = |name, ours, peer, limit, batch, aim_limit, aim_peer| Row {
        name,
        ours,
        peer: Some(("channels_sv2 8", peer)),
        limit: Some(limit),
        most: if batch > 1 { 8 } else { SHARES },
        batch,
        aim_limit,
        aim_peer: Some(aim_peer),
        // A channel's memory of shares grows.
        no_allocation: false,
    };
    vec![
        row("check a standard share", standard(), their_standard(), hashes(0), 1, Some(1.3), 3.0),
        row("check standard shares in batches", standard_batch(), their_standard(), lanes(0), BATCH, None, 8.0),
        row("check an extended share", extended(), their_extended(), hashes(LEVELS), 1, Some(1.3), 3.0),
        row("check extended shares in batches", extended_batch(), their_extended(), lanes(LEVELS), BATCH, None, 8.0),
    ]
}

/// The hashes of one share, by the functions that do them fastest: the header, and for an extended channel coinbase and path.
fn hashes(levels: usize) -> Side {
    let method = Method::fastest_for_shares();
    let path = vec![U256([9; 32]); levels];
    side(
        |_| (Header::from_bytes(&[5; 80]), [0; 8], [0; 32]),
        move |(header, words, hash): &mut (Header, [u32; 8], [u8; 32]), _| {
            if !path.is_empty() {
                header.merkle_root = coinbase_id();
                method.fold_paths(&path, std::slice::from_mut(&mut header.merkle_root));
            }
            method.first_hash(&black_box(&*header).parts(), words);
            method.second_hash(words, black_box(hash));
        },
    )
}

/// The same of a batch, in lanes.
fn lanes(levels: usize) -> Side {
    let method = Method::fastest_for_shares();
    let path = vec![U256([9; 32]); levels];
    side(
        |_| (vec![[5; 80]; BATCH], vec![[0; 32]; BATCH]),
        move |(headers, roots): &mut (Vec<[u8; 80]>, Vec<[u8; 32]>), _| {
            if !path.is_empty() {
                roots.iter_mut().for_each(|root| *root = coinbase_id());
                method.fold_paths(&path, roots);
                for (header, root) in headers.iter_mut().zip(roots.iter()) {
                    header[36..68].copy_from_slice(root);
                }
            }
            method.hash_headers(black_box(headers), black_box(roots));
        },
    )
}

fn coinbase_id() -> [u8; 32] {
    let coinbase = black_box([3; COINBASE.0 + 16 + COINBASE.1]);
    let (prefix, rest) = coinbase.split_at(COINBASE.0);
    let (extranonce, suffix) = rest.split_at(16);
    coinbase_txid(prefix, extranonce, &[], suffix)
}

struct Ours {
    server: MiningServer<Heap>,
    shared: Shared<Heap>,
    output: Output<Vec<u8>>,
    now: Instant,
    channel: u32,
    method: Method,
    proof: Proof,
    batch: ShareBatch<Heap>,
}

impl Ours {
    fn new(extended: bool) -> Self {
        let space = ExtranonceSpace::new(&[1, 2], 2, 16).expect("a layout");
        let vardiff = VardiffConfig { shares_per_minute: 1e12, ..VardiffConfig::default() };
        let config = ServerConfig { vardiff, ..ServerConfig::default() };
        let mut shared = Shared::new(config, space, 0);
        let now = Instant::from_secs(1_000);
        let (coinbase_prefix, coinbase_suffix) = (&[3; COINBASE.0][..], &[3; COINBASE.1][..]);
        let job = NewJob { template_id: 1, future: true, version: VERSION, coinbase_prefix, coinbase_suffix };
        shared.add_job(&job, [[9; 32]; LEVELS]).expect("a job");
        let prev = PrevHash {
            prev_hash: PREV,
            min_ntime: NTIME,
            nbits: NBITS,
            network_target: Target::from_nbits(NBITS).expect("a target"),
        };
        shared.set_prev_hash(now, prev, 1).expect("its job");
        let mut ours = Self {
            server: MiningServer::new(Revision::Current, SetupFlags::from_bits(0)),
            shared,
            output: Output::new(vec![0; 16_384]),
            now,
            channel: 0,
            method: Method::fastest_for_shares(),
            proof: Proof::new(),
            batch: ShareBatch::default(),
        };
        let open = if extended {
            ToServer::OpenExtendedMiningChannel(OpenExtendedMiningChannel {
                request_id: 1,
                user_identity: "proxy".into(),
                nominal_hash_rate: 0.0,
                max_target: U256::MAX,
                min_extranonce_size: 4,
            })
        } else {
            ToServer::OpenStandardMiningChannel(OpenStandardMiningChannel {
                request_id: 1,
                user_identity: "miner".into(),
                nominal_hash_rate: 0.0,
                max_target: U256::MAX,
            })
        };
        let Received::Open(request) = ours.receive(&open) else { panic!("an open request") };
        {
            let mut out = Out::plain(&mut ours.output, Revision::Current);
            let opened = ours.server.accept(now, &mut ours.shared, &request.open, 1, &mut out).expect("room");
            let adit::mining::server::Opened::Channel(channel) = opened else { panic!("refused") };
            ours.channel = channel;
            ours.server.poll_outbound(&mut ours.shared, &mut out).expect("room");
        }
        let sent = ours.output.len();
        ours.output.consume(sent).expect("that much");
        ours
    }

    fn receive<'m>(&mut self, message: &ToServer<'m>) -> Received<'m> {
        let mut out = Out::plain(&mut self.output, Revision::Current);
        self.server.receive(self.now, &mut self.shared, message, &mut out).expect("room")
    }

    fn one(&mut self, message: &ToServer<'_>) {
        let Self { server, shared, now, method, proof, .. } = self;
        let checked = match black_box(message) {
            ToServer::SubmitSharesStandard(share) => server.check(*now, shared, &share.into(), method, proof),
            ToServer::SubmitSharesExtended(share) => server.check(*now, shared, &share.into(), method, proof),
            _ => panic!("no share"),
        };
        black_box(checked.expect("accepted"));
    }

    fn many<'m>(&mut self, messages: impl Iterator<Item = ToServer<'m>>) {
        let Self { server, shared, now, method, batch, .. } = self;
        batch.clear();
        for message in messages {
            batch.push(Submitted::of(black_box(&message)).expect("a share")).expect("room");
        }
        server.prepare_batch(*now, shared, batch);
        batch.hash(|path, ids| method.fold_paths(path, ids), |headers, hashes| method.hash_headers(headers, hashes));
        server.conclude_batch(*now, shared, batch);
        while let Some(concluded) = batch.next_concluded() {
            black_box(concluded.expect("accepted"));
        }
    }
}

impl Ours {
    /// With a batch that was in use: a pool keeps a few of them for all its connections.
    fn with_used_batch(extended: bool) -> Self {
        let mut other = Self::new(extended);
        let channel = other.channel;
        other.many(
            (0..BATCH).map(|at| if extended { our_extended(channel, at, &[0; 12]) } else { our_standard(channel, at) }),
        );
        Self { batch: other.batch, ..Self::new(extended) }
    }
}

fn our_standard(channel_id: u32, at: usize) -> ToServer<'static> {
    let n = at as u32;
    ToServer::SubmitSharesStandard(SubmitSharesStandard {
        channel_id,
        sequence_number: n,
        job_id: 1,
        nonce: n,
        ntime: NTIME + 5,
        version: VERSION,
    })
}

fn our_extended(channel_id: u32, at: usize, extranonce: &[u8; 12]) -> ToServer<'_> {
    let n = at as u32;
    ToServer::SubmitSharesExtended(SubmitSharesExtended {
        channel_id,
        sequence_number: n,
        job_id: 1,
        nonce: n,
        ntime: NTIME + 5,
        version: VERSION,
        extranonce: extranonce.into(),
    })
}

fn extranonce(at: usize) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&(at as u32).to_le_bytes());
    bytes
}

fn standard() -> Side {
    side(|_| Ours::new(false), |ours, at| ours.one(&our_standard(ours.channel, at)))
}

fn extended() -> Side {
    side(|_| Ours::new(true), |ours, at| ours.one(&our_extended(ours.channel, at, &extranonce(at))))
}

fn standard_batch() -> Side {
    side(
        |_| Ours::with_used_batch(false),
        |ours, at| {
            let channel = ours.channel;
            ours.many((at * BATCH..).take(BATCH).map(|at| our_standard(channel, at)));
        },
    )
}

fn extended_batch() -> Side {
    side(
        |count| {
            let extranonces: Vec<_> = (0..count * BATCH).map(extranonce).collect();
            (Ours::with_used_batch(true), extranonces)
        },
        |(ours, extranonces), at| {
            let channel = ours.channel;
            let batch = extranonces.iter().enumerate().skip(at * BATCH).take(BATCH);
            ours.many(batch.map(|(at, extranonce)| our_extended(channel, at, extranonce)));
        },
    )
}

fn template(future: bool) -> NewTemplateOwned {
    NewTemplateOwned {
        template_id: 1,
        future_template: future,
        version: VERSION,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![2, 159, 0, 0].try_into().expect("short"),
        coinbase_tx_input_sequence: u32::MAX - 1,
        coinbase_tx_value_remaining: 5_000_000_000,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: [&[0; 8][..], &[38, 106, 36, 170, 33, 169, 237], &[5; 32]]
            .concat()
            .try_into()
            .expect("short"),
        coinbase_tx_locktime: 158,
        merkle_path: vec![[9; 32].into(); LEVELS].try_into().expect("short"),
    }
}

fn tip() -> SetNewPrevHashOwned {
    SetNewPrevHashOwned {
        template_id: 1,
        prev_hash: PREV.into(),
        header_timestamp: NTIME,
        n_bits: NBITS,
        target: [0; 32].into(),
    }
}

fn payout() -> Vec<bitcoin::TxOut> {
    let script = [&[0, 20][..], &[0x51; 20]].concat();
    vec![bitcoin::TxOut { value: bitcoin::Amount::from_sat(5_000_000_000), script_pubkey: script.into() }]
}

/// So low that a share is expected at each hash.
const HASH_RATE: f32 = 0.001;
/// Shares a minute that they expect: their memory of shares grows with it.
const RATE: f32 = 60.0;

fn their_target() -> bitcoin::Target {
    bitcoin::Target::from_le_bytes([0xff; 32])
}

fn their_standard() -> Side {
    side(
        |_| {
            let mut space = ExtranonceAllocator::new(SERVER_EXTRANONCE.to_vec(), 16, 1_000).expect("a layout");
            let prefix = space.allocate_standard().expect("a place");
            let mut channel = StandardChannel::new_for_pool(
                1,
                "miner".into(),
                prefix,
                their_target(),
                HASH_RATE,
                100,
                RATE,
                "test".into(),
                None,
            )
            .expect("a channel");
            channel.on_new_template(template(true), payout()).expect("a job");
            channel.on_set_new_prev_hash(tip()).expect("its job");
            (channel, space)
        },
        |(channel, _), at| {
            let n = at as u32;
            let share = SubmitSharesStandardOwned {
                channel_id: 1,
                sequence_number: n,
                job_id: 1,
                nonce: n,
                ntime: NTIME + 5,
                version: VERSION,
            };
            let checked = channel.validate_share(black_box(share));
            assert!(matches!(checked, Ok(ShareValidationResult::Valid(_))), "{checked:?}");
        },
    )
}

fn their_extended() -> Side {
    side(
        |_| {
            let mut space = ExtranonceAllocator::new(SERVER_EXTRANONCE.to_vec(), 16, 1_000).expect("a layout");
            let prefix = space.allocate_extended(4).expect("a place");
            let rollable = space.rollable_extranonce_size();
            let mut channel = ExtendedChannel::new_for_pool(
                1,
                "proxy".into(),
                prefix,
                their_target(),
                HASH_RATE,
                true,
                u16::from(rollable),
                100,
                RATE,
                "test".into(),
                None,
            )
            .expect("a channel");
            channel.on_new_template(template(true), payout()).expect("a job");
            channel.on_set_new_prev_hash(tip()).expect("its job");
            (channel, space, usize::from(rollable))
        },
        |(channel, _, rollable), at| {
            let n = at as u32;
            let share = SubmitSharesExtendedOwned {
                channel_id: 1,
                sequence_number: n,
                job_id: 1,
                nonce: n,
                ntime: NTIME + 5,
                version: VERSION,
                extranonce: extranonce(at)[..*rollable].to_vec().try_into().expect("short"),
            };
            let checked = channel.validate_share(black_box(share));
            assert!(matches!(checked, Ok(ShareValidationResult::Valid(_))), "{checked:?}");
        },
    )
}
