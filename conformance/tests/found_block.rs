//! From a template to a block: a provider and a pool of the core with a scripted device before them, all in one thread; the block that comes
//! out is put together and judged by the `bitcoin` crate.

use adit::buffer::Output;
use adit::connection::Outbound;
use adit::frame::Header as FrameHeader;
use adit::hash::sha256d;
use adit::message::mining::{
    OpenExtendedMiningChannel, OpenStandardMiningChannel, SetupFlags, SubmitSharesExtended, SubmitSharesStandard,
    ToClient, ToServer,
};
use adit::mining::header::Header as MiningHeader;
use adit::mining::target::Target;
use adit::protocol::{Initiator, Mining, Protocol, Responder, Side, TemplateDistribution, decode_incoming};
use adit::role::ConnectionId;
use adit::role::pool::{AcceptAll, Pool, PoolConfig, PoolEvent, ProviderEvent, TemplateNews};
use adit::role::provider::{NewTemplate, Provider};
use adit::storage::Heap;
use adit::template::book::Basis;
use adit::template::coinbase::{Payout, TemplateCoinbase};
use adit::template::merkle_path::MerklePath;
use adit::template::server::Request;
use adit::template::{Constraints, Tip};
use adit::time::Instant;
use adit::wire::{B032, Revision, U256};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{
    Amount, Block, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    WitnessMerkleNode, absolute, transaction,
};

const BITS: u32 = 0x207f_ffff;
const NOW: Instant = Instant::from_secs(1000);

/// A plain link: what one side wrote, message by message for the other.
struct Link(Output<Vec<u8>>, Revision);

impl Link {
    fn new(revision: Revision) -> Self {
        Self(Output::new(vec![0; 100_000]), revision)
    }

    fn out<S: Side, Pr: Protocol>(&mut self) -> Outbound<'_, S, Pr> {
        Outbound::plain(&mut self.0, self.1)
    }

    fn drain<S: Side, Pr: Protocol>(&mut self, mut each: impl FnMut(S::Incoming<'_, Pr>)) {
        let bytes = self.0.filled().to_vec();
        self.0.consume(bytes.len()).unwrap();
        let mut rest = &bytes[..];
        while let Some((head, tail)) = rest.split_first_chunk() {
            let header = FrameHeader::decode(*head);
            let (payload, tail) = tail.split_at(header.msg_length());
            each(decode_incoming::<S, Pr>(header, payload, self.1).unwrap());
            rest = tail;
        }
    }
}

fn spend(n: u32) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint { txid: Txid::from_byte_array([1; 32]), vout: n },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[n.to_le_bytes()]),
        }],
        output: vec![TxOut { value: Amount::from_sat(1), script_pubkey: ScriptBuf::new() }],
    }
}

fn commitment(transactions: &[Transaction]) -> TxOut {
    let ids = std::iter::once([0; 32]).chain(transactions.iter().map(|tx| tx.compute_wtxid().to_byte_array()));
    let root = bitcoin::merkle_tree::calculate_root(ids.map(WitnessMerkleNode::from_byte_array)).unwrap();
    let hash = Block::compute_witness_commitment(&root, &[0; 32]);
    let mut data = PushBytesBuf::from([0xaa, 0x21, 0xa9, 0xed]);
    data.extend_from_slice(hash.as_byte_array()).unwrap();
    let script = Builder::new().push_opcode(bitcoin::opcodes::all::OP_RETURN).push_slice(data).into_script();
    TxOut { value: Amount::ZERO, script_pubkey: script }
}

/// A provider with one template of these transactions, and a node's part of the block.
struct House {
    revision: Revision,
    transactions: Vec<Transaction>,
    provider: Provider<Heap>,
    upstream: ConnectionId,
    template_id: u64,
    pool: Pool<Heap>,
    up: Link,
}

impl House {
    fn new(revision: Revision, segwit: bool, count: u32) -> Self {
        let transactions: Vec<_> = (0..count).map(spend).collect();
        let outputs = if segwit { serialize(&commitment(&transactions)) } else { Vec::new() };
        let height = Builder::new().push_int(200).into_script();
        let mut path = MerklePath::new();
        for tx in &transactions {
            path.push(tx.compute_txid().to_byte_array()).unwrap();
        }
        let path = path.finish();
        let mut provider = Provider::<Heap>::default();
        let template = NewTemplate {
            basis: Basis::Next,
            version: 0x2000_0000,
            coinbase: TemplateCoinbase {
                tx_version: 2,
                script_prefix: height.as_bytes(),
                input_sequence: 0xffff_fffe,
                value_remaining: 5_000_000_000,
                outputs_count: u32::from(segwit),
                outputs: &outputs,
                lock_time: 0,
            },
            merkle_path: path.hashes(),
            room: Constraints { max_additional_size: 1000, max_additional_sigops: 10 },
        };
        let template_id = provider.new_template(&template).unwrap();
        let tip = Tip { prev_hash: [7; 32], header_timestamp: 1_700_000_000, n_bits: BITS, target: target() };
        provider.new_tip(NOW, template_id, tip).unwrap();
        let upstream = provider.connect(revision).unwrap();
        let payouts = [Payout { script_pubkey: &[0x51], weight: 2 }, Payout { script_pubkey: &[0x52], weight: 1 }];
        let pool = Pool::new(&PoolConfig { tag: b"/adit/", ..PoolConfig::new(&payouts) }).unwrap();
        Self { revision, transactions, provider, upstream, template_id, pool, up: Link::new(revision) }
    }

    /// The pool announces its outputs and gets the template and the tip.
    fn start(&mut self) {
        let Self { provider, pool, up, upstream, revision, .. } = self;
        pool.provider_connected();
        pool.poll_provider_outbound(&mut up.out()).unwrap();
        up.drain::<Responder, TemplateDistribution>(|message| {
            provider.handle(NOW, *upstream, message, &mut Link::new(*revision).out()).unwrap();
        });
        assert_eq!(provider.poll_dirty(), Some(*upstream));
        provider.poll_outbound(*upstream, &mut up.out()).unwrap();
        let mut events = 0;
        up.drain::<Initiator, TemplateDistribution>(|message| {
            events += usize::from(matches!(
                pool.handle_provider(NOW, message).unwrap(),
                ProviderEvent::Template(TemplateNews::Job { .. } | TemplateNews::Tip { .. })
            ));
        });
        assert_eq!(events, 2);
    }

    /// What the pool sends up, put together to a block: header and coinbase come in, the rest is there.
    fn block(&mut self) -> Block {
        let Self { provider, pool, up, upstream, revision, transactions, template_id } = self;
        pool.poll_provider_outbound(&mut up.out()).unwrap();
        let mut found = None;
        up.drain::<Responder, TemplateDistribution>(|message| {
            let request = provider.handle(NOW, *upstream, message, &mut Link::new(*revision).out()).unwrap();
            let Some(Request::Solution(solution)) = request else { panic!("{request:?}") };
            assert_eq!((solution.template_id, solution.breach, solution.stale), (*template_id, None, false));
            let coinbase: Transaction = deserialize(solution.coinbase_tx).unwrap();
            let header = deserialize(&solution.header).unwrap();
            let txdata = std::iter::once(coinbase).chain(transactions.iter().cloned()).collect();
            found = Some(Block { header, txdata });
        });
        found.unwrap()
    }
}

/// Coinbase parts and merkle path of an extended job.
type Parts = (Vec<u8>, Vec<u8>, Vec<[u8; 32]>);

/// A device with one channel, and what it heard of its job.
struct Device {
    id: ConnectionId,
    down: Link,
    channel_id: u32,
    job_id: u32,
    version: u32,
    root: [u8; 32],
    parts: Option<Parts>,
    extranonce_prefix: Vec<u8>,
    rolled: Vec<u8>,
    prev_hash: [u8; 32],
    ntime: u32,
    nbits: u32,
}

impl Device {
    fn open(pool: &mut Pool<Heap>, revision: Revision, extended: bool) -> Self {
        let flags = if extended { SetupFlags::NONE } else { SetupFlags::REQUIRES_STANDARD_JOBS };
        let id = pool.connect(NOW, revision, flags).unwrap();
        let standard = OpenStandardMiningChannel {
            request_id: 1,
            user_identity: "device".into(),
            nominal_hash_rate: 0.0,
            max_target: U256::MAX,
        };
        let OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target } = standard;
        let min_extranonce_size = 4;
        let open = if extended {
            ToServer::OpenExtendedMiningChannel(OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            })
        } else {
            ToServer::OpenStandardMiningChannel(standard)
        };
        let mut down = Link::new(revision);
        let event = pool.handle(NOW, id, &open, &mut AcceptAll, &mut down.out()).unwrap();
        assert!(matches!(event, PoolEvent::Opened { .. }));
        pool.poll_outbound(id, &mut down.out()).unwrap();
        let mut device = Self {
            id,
            down,
            channel_id: 0,
            job_id: 0,
            version: 0,
            root: [0; 32],
            parts: None,
            extranonce_prefix: Vec::new(),
            rolled: Vec::new(),
            prev_hash: [0; 32],
            ntime: 0,
            nbits: 0,
        };
        device.listen();
        assert_eq!(device.parts.is_some(), extended);
        device
    }

    fn listen(&mut self) {
        let mut down = std::mem::replace(&mut self.down, Link::new(Revision::Draft));
        down.drain::<Initiator, Mining>(|message| match message {
            ToClient::OpenStandardMiningChannelSuccess(message) => self.channel_id = message.channel_id,
            ToClient::OpenExtendedMiningChannelSuccess(message) => {
                self.channel_id = message.channel_id;
                self.extranonce_prefix = message.extranonce_prefix.as_bytes().to_vec();
                self.rolled = vec![0xa5; usize::from(message.extranonce_size)];
            }
            ToClient::NewMiningJob(message) => {
                (self.job_id, self.version, self.root) = (message.job_id, message.version, message.merkle_root.0);
            }
            ToClient::NewExtendedMiningJob(message) => {
                (self.job_id, self.version) = (message.job_id, message.version);
                self.parts = Some((
                    message.coinbase_tx_prefix.as_bytes().to_vec(),
                    message.coinbase_tx_suffix.as_bytes().to_vec(),
                    message.merkle_path.iter().map(|hash| hash.0).collect(),
                ));
            }
            ToClient::SetNewPrevHash(message) => {
                (self.prev_hash, self.ntime, self.nbits) = (message.prev_hash.0, message.min_ntime, message.nbits);
            }
            other => panic!("{other:?}"),
        });
        self.down = down;
        if let Some((prefix, suffix, path)) = &self.parts {
            // D-ALG-2, D-ALG-3
            let txid = sha256d(&[prefix, &self.extranonce_prefix, &self.rolled, suffix]);
            self.root = path.iter().fold(txid, |root, hash| sha256d(&[&root, hash]));
        }
    }

    /// Finds a header at or below the target, with a version bit rolled, and submits it.
    fn mine(&mut self, pool: &mut Pool<Heap>) {
        let mut header = MiningHeader {
            version: self.version | 0x0000_4000,
            prev_hash: self.prev_hash,
            merkle_root: self.root,
            ntime: self.ntime,
            nbits: self.nbits,
            nonce: 0,
        };
        while !target().is_met_by(&header.hash()) {
            header.nonce += 1;
        }
        let MiningHeader { version, ntime, nonce, .. } = header;
        let (channel_id, job_id, sequence_number) = (self.channel_id, self.job_id, 0);
        let share = if self.parts.is_some() {
            let extranonce = B032::new(&self.rolled);
            ToServer::SubmitSharesExtended(SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            })
        } else {
            ToServer::SubmitSharesStandard(SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            })
        };
        let event = pool.handle(NOW, self.id, &share, &mut AcceptAll, &mut self.down.out()).unwrap();
        let PoolEvent::Share(share) = event else { panic!("{event:?}") };
        assert!(share.block.is_some_and(|block| block.submitted));
    }
}

fn target() -> Target {
    Target::from_nbits(BITS).unwrap()
}

/// D-ALG-1 to D-ALG-6, D-TDP-8, D-TDP-17, D-TDP-18, D-NET-2: on every kind of channel, in both revisions, with and without witness.
#[test]
fn blocks_found_on_any_channel_hold_by_the_rules_of_another_implementation() {
    for revision in [Revision::Draft, Revision::Current] {
        for extended in [false, true] {
            for (segwit, count) in [(true, 0), (true, 1), (true, 6), (false, 0)] {
                let mut house = House::new(revision, segwit, count);
                house.start();
                Device::open(&mut house.pool, revision, extended).mine(&mut house.pool);
                let block = house.block();
                assert!(block.check_merkle_root());
                assert!(block.check_witness_commitment());
                assert_eq!(block.bip34_block_height(), Ok(200));
                let target = CompactTarget::from_consensus(BITS).into();
                assert_eq!(block.header.validate_pow(target), Ok(block.block_hash()));
                let coinbase = block.coinbase().unwrap();
                let values: Vec<_> = coinbase.output.iter().map(|output| output.value.to_sat()).collect();
                assert_eq!(values[..2], [3_333_333_334, 1_666_666_666]);
                assert_eq!(coinbase.output.len(), 2 + usize::from(segwit));
            }
        }
    }
}
