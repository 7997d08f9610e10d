//! From a solution to the block.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use adit::mining::header::Header;
use adit::mining::merkle::merkle_root;
use adit::template::transaction::{self, CoinbaseTx};
use bitcoin::VarInt;
use bitcoin::consensus::{Decodable, Encodable};

use super::Template;
use crate::disk;

/// What a client found: `SubmitSolution`'s fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Solution {
    /// Template that it solves.
    pub(crate) template_id: u64,
    /// Header version.
    pub(crate) version: u32,
    /// Header time, seconds since 1970.
    pub(crate) time: u32,
    /// Header nonce.
    pub(crate) nonce: u32,
    /// The whole coinbase, with witness where the template commits to witnesses.
    pub(crate) coinbase: Vec<u8>,
}

/// A block made of a template and its solution. Nothing says yet that it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SolvedBlock {
    /// Height that the template was for.
    pub(crate) height: u32,
    /// SHA-256d of the header, raw order: as a number it is little-endian.
    pub(crate) hash: [u8; 32],
    /// The block in consensus bytes.
    pub(crate) bytes: Vec<u8>,
}

/// The solution does not fit its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The coinbase is no transaction.
    Coinbase(transaction::Malformed),
    /// The header's hash is above the template's target.
    AboveTarget,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coinbase(why) => write!(f, "bad coinbase: {why}"),
            Self::AboveTarget => f.write_str("hash above the template's target"),
        }
    }
}

impl std::error::Error for Malformed {}

impl SolvedBlock {
    /// Joins a template and its solution. A coinbase that breaks what the template demands is joined too: whether the block is valid all
    /// the same is for the chain or the node to say, and a block is too dear to be thrown away for less (D-TDP-18).
    pub(crate) fn new(template: &Template, solution: &Solution) -> Result<Self, Malformed> {
        let parts = &template.parts;
        let coinbase = CoinbaseTx::parse(&solution.coinbase).map_err(Malformed::Coinbase)?;
        let header = Header {
            version: solution.version,
            prev_hash: parts.prev_hash,
            merkle_root: merkle_root(coinbase.txid(), template.merkle_path.iter().map(|hash| hash.0)),
            ntime: solution.time,
            nbits: parts.nbits,
            nonce: solution.nonce,
        };
        let hash = header.hash();
        if !parts.target.is_met_by(&hash) {
            return Err(Malformed::AboveTarget);
        }
        let mut bytes = header.to_bytes().to_vec();
        // Writing to a vector does not fail.
        let _ = VarInt::from(1 + parts.transactions.len()).consensus_encode(&mut bytes);
        bytes.extend_from_slice(&solution.coinbase);
        for tx in &parts.transactions {
            bytes.extend_from_slice(&tx.bytes);
        }
        Ok(Self { height: parts.height, hash, bytes })
    }

    /// The hash as people and nodes write it: highest byte first.
    pub(crate) fn hash_hex(&self) -> String {
        let mut hash = self.hash;
        hash.reverse();
        hex::encode(hash)
    }

    /// How many transactions its bytes say that it has, the coinbase included.
    pub(crate) fn transactions(&self) -> usize {
        let count = self.bytes.get(80..).and_then(|rest| VarInt::consensus_decode(&mut &*rest).ok());
        count.and_then(|VarInt(count)| count.try_into().ok()).unwrap_or_default()
    }

    /// Writes the block to the file `name` in `folder`, which is made where it is missing. The file is there whole or not at all, and once this has
    /// returned it stays.
    pub(crate) fn write_hex(&self, folder: &Path, name: &str) -> io::Result<PathBuf> {
        disk::make_directory(folder)?;
        let path = folder.join(name);
        disk::write_whole(&path, (hex::encode(&self.bytes) + "\n").as_bytes())?;
        Ok(path)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use adit::template::coinbase::{Coinbase, Payout, assemble, assembled_len};
    use bitcoin::{Block, consensus};

    use std::fs;

    use super::super::template::tests::{parts, transaction};
    use super::*;

    /// The coinbase that a pool would make, with its reward on one script.
    pub(crate) fn coinbase_of(template: &Template, script: &[u8], extranonce: u32) -> Vec<u8> {
        let payouts = [Payout { script_pubkey: script, weight: 1 }];
        let plan = Coinbase::new(template.coinbase(), payouts, b"test", 4).expect("valid");
        let (mut prefix, mut suffix) = (vec![0; plan.prefix_len()], vec![0; plan.suffix_len()]);
        plan.write_prefix(&mut prefix).expect("room");
        plan.write_suffix(&mut suffix).expect("room");
        let mut coinbase = vec![0; assembled_len(prefix.len(), 4, suffix.len(), plan.has_witness())];
        assemble(&prefix, &[&extranonce.to_le_bytes()], &suffix, plan.has_witness(), &mut coinbase).expect("room");
        coinbase
    }

    /// Tries nonces until the hash meets the template's target.
    pub(crate) fn solve(template: &Template, coinbase: Vec<u8>, time: u32) -> (Solution, SolvedBlock) {
        let (template_id, version) = (template.parts.id, template.parts.version);
        let mut solution = Solution { template_id, version, time, nonce: 0, coinbase };
        loop {
            match SolvedBlock::new(template, &solution) {
                Ok(block) => return (solution, block),
                Err(Malformed::AboveTarget) => solution.nonce += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_solved_template_is_a_block_that_keeps_its_own_promises() {
        for (count, witness) in [(0, false), (1, false), (1, true), (6, true)] {
            let transactions: Vec<_> = (0..count).map(|number| transaction(number, witness)).collect();
            let template = parts(&transactions).build().expect("built");
            let (solution, solved) = solve(&template, coinbase_of(&template, &[0x51], 7), 1_800_000_001);
            let block: Block = consensus::deserialize(&solved.bytes).expect("a block");
            assert!(block.check_merkle_root() && block.check_witness_commitment(), "{count} {witness}");
            assert_eq!(block.bip34_block_height(), Ok(500));
            assert_eq!(block.block_hash().to_string(), solved.hash_hex());
            assert_eq!(block.txdata[1..], transactions);
            assert_eq!(consensus::serialize(&block.txdata[0]), solution.coinbase);
            assert_eq!(block.txdata[0].output[0].value.to_sat(), 10_000);
            assert_eq!(block.header.time, 1_800_000_001);
            assert_eq!(solved.transactions(), block.txdata.len());
        }
    }

    /// D-TDP-18
    #[test]
    fn a_coinbase_that_breaks_a_demand_is_left_to_the_judge() {
        let template = parts(&[transaction(1, true)]).build().expect("built");
        let mut coinbase = coinbase_of(&template, &[0x51], 7);
        // A byte of the commitment.
        let at = coinbase.len() - 4 - 34 - 20;
        coinbase[at] ^= 1;
        let (solution, solved) = solve(&template, coinbase, 1_800_000_001);
        let block: Block = consensus::deserialize(&solved.bytes).expect("a block");
        assert!(block.check_merkle_root() && !block.check_witness_commitment());
        let garbage = Solution { coinbase: vec![1, 2, 3], ..solution };
        assert!(matches!(SolvedBlock::new(&template, &garbage), Err(Malformed::Coinbase(_))));
    }

    #[test]
    fn blocks_are_written_as_hexadecimal() {
        let folder = tempfile::tempdir().expect("a folder");
        let block = SolvedBlock { height: 123, hash: [0; 32], bytes: vec![0xab, 0x01] };
        let path = block.write_hex(&folder.path().join("new"), "123.hex").expect("written");
        assert_eq!(path.file_name().and_then(|name| name.to_str()), Some("123.hex"));
        assert_eq!(fs::read_to_string(path).expect("read"), "ab01\n");
        assert_eq!(fs::read_dir(folder.path().join("new")).expect("read").count(), 1);
    }
}
