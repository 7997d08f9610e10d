//! An embedded Bitcoin chain for demonstrations and tests: regtest's rules, real transactions, no network.
//!
//! It mines its first blocks itself, so that there are coinbases to spend, makes transactions ([`traffic`]), hands out templates, and
//! checks every block in full before it takes it ([`check`]). One tip, no reorganisation: a block beside the tip is refused by
//! [`BlockError::NotOnTip`] and forgotten. Blocks are kept in one file if asked ([`mod@file`]).
//!
//! The clock is an argument, and the same seed and calls give the same blocks. Waiting is [`Embedded`]'s alone.

mod check;
mod error;
mod file;
mod keyring;
mod live;
mod spend;
mod state;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use adit::mining::target::Target;
use adit::template::Constraints;
use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::secp256k1::{Secp256k1, VerifyOnly};
use bitcoin::{
    Block, BlockHash, OutPoint, Sequence, Transaction, TxIn, TxMerkleNode, TxOut, Witness, consensus, transaction,
};

pub(crate) use error::BlockError;
pub(crate) use file::FileError;
pub(crate) use live::Embedded;

use crate::source::{Malformed, Parts, Solution, SolvedBlock, Template, Unbuildable};
use file::BlockFile;
use keyring::Keyring;
use state::{Coin, State};
use traffic::Traffic;

/// Blocks that are mined at the start when there is no file: 21 of their coinbases can be spent at once, one more after every block.
pub(crate) const PREMINED: u32 = 120;
/// Version of the headers in templates: no bit of a soft fork is set.
const VERSION: u32 = 0x2000_0000;
/// Transactions that wait in a block's first template.
const FIRST_TRANSACTIONS: usize = 5;
/// Templates that can still be solved: more than one tip gets. An old one of the same tip is as good as the newest but for some fees.
const TEMPLATES: usize = 256;

/// How to open a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Decides the keys, the first blocks and the transactions.
    pub(crate) seed: [u8; 32],
    /// What block hashes must meet beside regtest's own target, which every second hash meets. The harder one counts.
    pub(crate) target: Target,
    /// The file to keep the blocks in; in memory alone without it.
    pub(crate) file: Option<PathBuf>,
    /// A directory in which every block of the chain, the first ones too, is written as `HEIGHT.hex`.
    pub(crate) export: Option<PathBuf>,
}

/// Why a chain cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The file cannot be used.
    File(FileError),
    /// A block in the file breaks a rule.
    Block { path: PathBuf, height: u32, error: BlockError },
    /// The blocks in the file were made with another seed.
    OtherSeed(PathBuf),
    /// The first blocks can't be written to this directory.
    Export(PathBuf, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Block { path, height, error } => write!(
                f,
                "{}: block {height} is not valid: {error}; restore the file, or move it away to start a new chain",
                path.display()
            ),
            Self::Export(path, error) => write!(f, "can't write blocks to {}: {error}", path.display()),
            Self::OtherSeed(path) => {
                write!(f, "{} holds a chain of another seed: set that seed, or name another file", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// Why a solution did not become a block.
#[derive(Debug)]
pub(crate) enum SubmitError {
    /// No such template, or one of a tip long gone.
    UnknownTemplate(u64),
    /// The solution does not fit its template.
    Malformed(Malformed),
    /// The block breaks a rule.
    Block(BlockError),
    /// The block is valid but could not be stored, so it does not count.
    File(FileError),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTemplate(id) => write!(f, "template {id} is not known (any more)"),
            Self::Malformed(error) => error.fmt(f),
            Self::Block(error) => error.fmt(f),
            Self::File(error) => {
                write!(f, "block not stored: {error}; make room for the chain's file, and let this user write it")
            }
        }
    }
}

impl std::error::Error for SubmitError {}

/// The chain, its waiting transactions and its templates.
pub(crate) struct Chain {
    settings: Settings,
    secp: Secp256k1<VerifyOnly>,
    state: State,
    keyring: Keyring,
    /// Unspent outputs of the keyring.
    wallet: BTreeMap<OutPoint, Coin>,
    traffic: Traffic,
    /// Oldest first.
    templates: VecDeque<Arc<Template>>,
    last_id: u64,
    file: Option<BlockFile>,
    cut: u64,
}

impl Chain {
    /// Opens the chain of `settings`, and mines its first blocks where there are none. `now` is wall-clock time in seconds since 1970.
    pub(crate) fn open(settings: Settings, now: u32) -> Result<Self, OpenError> {
        let state = State::genesis();
        let traffic = Traffic::new(BTreeMap::new(), 0, state.tip().block_hash(), &settings.seed);
        let mut chain = Self {
            secp: Secp256k1::verification_only(),
            keyring: Keyring::new(&settings.seed),
            wallet: BTreeMap::new(),
            templates: VecDeque::new(),
            last_id: 0,
            file: None,
            cut: 0,
            state,
            traffic,
            settings,
        };
        let mut loaded = Vec::new();
        if let Some(path) = chain.settings.file.clone() {
            let file = BlockFile::open(&path).map_err(OpenError::File)?;
            chain.load(&path, &file.blocks)?;
            chain.cut = file.cut;
            chain.file = Some(file.file);
            loaded = file.blocks;
        }
        let mut premined = Vec::new();
        while chain.state.height() < PREMINED {
            let block = chain.premine();
            chain.check_and_apply(&block, now).map_err(|error| OpenError::Block {
                path: chain.settings.file.clone().unwrap_or_default(),
                height: chain.state.height() + 1,
                error,
            })?;
            premined.push(block);
        }
        if let Some(file) = &mut chain.file {
            file.append(&premined).map_err(OpenError::File)?;
        }
        if let Some(directory) = chain.settings.export.clone() {
            for (height, block) in (1..).zip(loaded.iter().chain(&premined)) {
                export(&directory, height, block).map_err(|error| OpenError::Export(directory.clone(), error))?;
            }
        }
        chain.renew_traffic();
        Ok(chain)
    }

    fn load(&mut self, path: &Path, blocks: &[Block]) -> Result<(), OpenError> {
        for block in blocks {
            let height = self.state.height() + 1;
            if height == 1 && *block != self.premine() {
                return Err(OpenError::OtherSeed(path.to_owned()));
            }
            // The clock may be wrong today: what was accepted once was not too new then.
            self.check_and_apply(block, u32::MAX).map_err(|error| OpenError::Block {
                path: path.to_owned(),
                height,
                error,
            })?;
        }
        Ok(())
    }

    /// The next of the first blocks, ten minutes after the one before: the coinbase goes to the keyring.
    fn premine(&self) -> Block {
        let height = self.state.height() + 1;
        let mut engine = sha256::Hash::engine();
        engine.input(b"adit embedded chain, first block");
        engine.input(&self.settings.seed);
        let tag = PushBytesBuf::from(sha256::Hash::from_engine(engine).to_byte_array());
        let coinbase = Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: Builder::new().push_int(i64::from(height)).push_slice(tag).into_script(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: vec![TxOut {
                value: state::subsidy(height),
                script_pubkey: self.keyring.script(height as usize).clone(),
            }],
        };
        let tip = self.state.tip();
        let mut header = Header {
            version: Version::from_consensus(VERSION.cast_signed()),
            prev_blockhash: tip.block_hash(),
            merkle_root: TxMerkleNode::from_raw_hash(coinbase.compute_txid().to_raw_hash()),
            time: tip.time + 600,
            bits: tip.bits,
            nonce: 0,
        };
        // Every second hash will do.
        while !header.target().is_met_by(header.block_hash()) {
            header.nonce += 1;
        }
        Block { header, txdata: vec![coinbase] }
    }

    /// Height of the tip.
    pub(crate) fn height(&self) -> u32 {
        self.state.height()
    }

    /// Hash of the tip.
    pub(crate) fn tip(&self) -> BlockHash {
        self.state.tip().block_hash()
    }

    /// Bytes of a torn record that were cut off the end of the file when it was opened.
    pub(crate) fn cut_off(&self) -> u64 {
        self.cut
    }

    /// Makes one more transaction for the next template, as if a wallet had sent it. False when there is nothing to make it of.
    pub(crate) fn add_transaction(&mut self) -> bool {
        self.traffic.add(&self.keyring)
    }

    /// A template with all that waits, leaving `room` to the client's outputs.
    pub(crate) fn template(&mut self, room: Constraints, now: u32) -> Result<Arc<Template>, Unbuildable> {
        let (height, tip) = (self.state.height() + 1, *self.state.tip());
        let min_time = self.state.median_time(self.state.height()) + 1;
        let transactions: Vec<_> = self.traffic.waiting().cloned().collect();
        let fees = transactions.iter().filter_map(|tx| tx.fee).sum::<u64>();
        let nbits = tip.bits.to_consensus();
        let parts = Parts {
            id: self.last_id + 1,
            height,
            version: VERSION,
            prev_hash: tip.block_hash().to_byte_array(),
            nbits,
            target: Target::from_nbits(nbits).map_or(self.settings.target, |own| own.min(self.settings.target)),
            time: now.max(min_time),
            value: state::subsidy(height).to_sat() + fees,
            script_extra: Vec::new(),
            transactions,
            witness: true,
            weight_limit: check::MAX_WEIGHT,
            sigops_limit: check::MAX_SIGOPS_COST,
            room,
        };
        let template = Arc::new(parts.build()?);
        self.last_id += 1;
        if self.templates.len() == TEMPLATES {
            self.templates.pop_front();
        }
        self.templates.push_back(Arc::clone(&template));
        Ok(template)
    }

    /// Makes a block of a template and its solution, checks it in full, stores it, and puts it on the tip.
    pub(crate) fn submit(&mut self, solution: &Solution, now: u32) -> Result<SolvedBlock, SubmitError> {
        let id = solution.template_id;
        let template = self.templates.iter().find(|template| template.parts.id == id);
        let template = template.ok_or(SubmitError::UnknownTemplate(id))?;
        let solved = SolvedBlock::new(template, solution).map_err(SubmitError::Malformed)?;
        let block = consensus::deserialize(&solved.bytes).map_err(|_| SubmitError::Block(BlockError::Undecodable))?;
        self.accept(&block, now)?;
        Ok(solved)
    }

    /// Checks a block in full, stores it, and puts it on the tip.
    pub(crate) fn accept(&mut self, block: &Block, now: u32) -> Result<(), SubmitError> {
        let changes = check::check(&self.secp, &self.state, block, now).map_err(SubmitError::Block)?;
        if let Some(file) = &mut self.file {
            file.append(slice::from_ref(block)).map_err(SubmitError::File)?;
        }
        self.apply(block, changes);
        self.renew_traffic();
        if let Some(directory) = &self.settings.export
            && let Err(error) = export(directory, self.state.height(), block)
        {
            // The block counts all the same.
            tracing::error!(%error, directory = %directory.display(), "block not exported");
        }
        Ok(())
    }

    fn check_and_apply(&mut self, block: &Block, now: u32) -> Result<(), BlockError> {
        let changes = check::check(&self.secp, &self.state, block, now)?;
        self.apply(block, changes);
        Ok(())
    }

    fn apply(&mut self, block: &Block, changes: state::Changes) {
        for (output, coin) in &changes {
            match coin {
                Some(coin) if self.keyring.owns(&coin.output.script_pubkey) => {
                    self.wallet.insert(*output, coin.clone());
                }
                Some(_) => {}
                None => drop(self.wallet.remove(output)),
            }
        }
        self.state.apply(block, changes);
    }

    /// After a new tip: what was not taken waits on, and some more comes.
    fn renew_traffic(&mut self) {
        let next = self.state.height() + 1;
        let ripe = |coin: &Coin| !coin.coinbase || next - coin.height >= check::MATURITY;
        let coins = self.wallet.iter().filter(|(_, coin)| ripe(coin));
        let coins = coins.map(|(output, coin)| (*output, coin.output.clone())).collect();
        let traffic = Traffic::new(coins, self.state.height(), self.tip(), &self.settings.seed);
        let before = std::mem::replace(&mut self.traffic, traffic);
        self.traffic.keep(before);
        while self.traffic.waiting().len() < FIRST_TRANSACTIONS && self.add_transaction() {}
    }
}

fn export(directory: &Path, height: u32, block: &Block) -> io::Result<()> {
    let solved = SolvedBlock { height, hash: block.block_hash().to_byte_array(), bytes: consensus::serialize(block) };
    solved.write_hex(directory, &format!("{}.hex", solved.height)).map(drop)
}
