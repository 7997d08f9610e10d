//! The blocks on disk: one file that only grows, in the layout of Bitcoin Core's `blk*.dat` (network magic, length, block).
//!
//! A block counts once it is written and synced. A process that dies while it writes leaves a torn record at the end; it is cut off on
//! the next start, and nothing else ever is: damage anywhere before the end is an error for a person to look at.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bitcoin::{Block, consensus, p2p::Magic};

use crate::disk;

/// Length of what stands before a block.
const HEAD: usize = 8;

/// Why the file cannot be used.
#[derive(Debug)]
pub(crate) enum FileError {
    /// Reading or writing failed.
    Io { path: PathBuf, error: io::Error },
    /// Another process has it open.
    InUse(PathBuf),
    /// A record before the last is damaged; carries its position in bytes.
    Damaged { path: PathBuf, at: u64 },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::InUse(path) => {
                write!(f, "{} is in use: stop the other process, or name another file", path.display())
            }
            Self::Damaged { path, at } => write!(
                f,
                "{} is damaged at byte {at}, with more blocks behind it: restore the file, or move it away to start a new chain",
                path.display()
            ),
        }
    }
}

impl std::error::Error for FileError {}

/// The open file. Locked against other processes as long as it is.
#[derive(Debug)]
pub(super) struct BlockFile {
    file: File,
    path: PathBuf,
    /// End of the last whole record.
    end: u64,
}

/// What was in the file.
pub(super) struct Loaded {
    pub(super) file: BlockFile,
    pub(super) blocks: Vec<Block>,
    /// Bytes of a torn record that were cut off.
    pub(super) cut: u64,
}

impl BlockFile {
    /// Opens or makes the file and reads what it holds.
    pub(super) fn open(path: &Path) -> Result<Loaded, FileError> {
        let failed = |error| FileError::Io { path: path.to_owned(), error };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FileError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let (mut blocks, mut at) = (Vec::new(), 0);
        while let Some((block, len)) = bytes.get(at..).and_then(record) {
            blocks.push(block);
            at += len;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        if !is_torn(at, rest) {
            return Err(FileError::Damaged { path: path.to_owned(), at: at as u64 });
        }
        let cut = rest.len() as u64;
        if cut > 0 {
            file.set_len(at as u64).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        // A new file is only there after a crash when its name is on the disk too.
        disk::keep_name(path).map_err(failed)?;
        let file = Self { file, path: path.to_owned(), end: at as u64 };
        Ok(Loaded { file, blocks, cut })
    }

    /// Writes blocks behind the others; they are on the disk when this returns. After a failure none of them counts.
    pub(super) fn append(&mut self, blocks: &[Block]) -> Result<(), FileError> {
        let before = self.end;
        // One at a time: so no more than one record is ever torn, in whichever order its parts reach the disk.
        blocks.iter().try_for_each(|block| self.append_one(block)).map_err(|error| {
            // Should this fail as well, the next start cuts off what is torn, and the next block overwrites it.
            let _ = self.file.set_len(before);
            self.end = before;
            FileError::Io { path: self.path.clone(), error }
        })
    }

    fn append_one(&mut self, block: &Block) -> io::Result<()> {
        let block = consensus::serialize(block);
        let mut bytes = Magic::REGTEST.to_bytes().to_vec();
        bytes.extend_from_slice(&(block.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&block);
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

/// The record at the start of `bytes` and its length.
fn record(bytes: &[u8]) -> Option<(Block, usize)> {
    let block = declared(bytes)?;
    // Every block on the chain has work in it, so its merkle root tells whether all bytes are as they were written.
    let decoded: Block = consensus::deserialize(block).ok()?;
    (decoded.check_merkle_root() && decoded.check_witness_commitment()).then_some((decoded, HEAD + block.len()))
}

/// The bytes that the head of a record announces, when they are all there.
fn declared(bytes: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    if *magic != Magic::REGTEST.to_bytes() {
        return None;
    }
    rest.get(..u32::from_le_bytes(*len) as usize)
}

/// Whether what is no record, behind so many bytes of records, can be what a dying process or a power cut left: an unfinished record, or space that was
/// never filled, or not all of it.
fn is_torn(before: usize, rest: &[u8]) -> bool {
    if before > 0 {
        // Only the last record can be torn, and what is behind one is not the last.
        return !(1..rest.len()).any(|at| rest.get(at..).and_then(record).is_some());
    }
    // It may not be ours at all.
    if rest.iter().all(|byte| *byte == 0) {
        return true;
    }
    let magic = Magic::REGTEST.to_bytes();
    if rest.len() < HEAD {
        return rest.iter().zip(magic).all(|(byte, magic)| *byte == magic || *byte == 0);
    }
    match declared(rest) {
        // All bytes are there but they are not right: torn only when it was the last.
        Some(block) => rest.len() == HEAD + block.len(),
        None => rest.starts_with(&magic),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bitcoin::constants::genesis_block;
    use bitcoin::{Network, absolute::LockTime};

    use super::*;

    fn blocks(count: u32) -> Vec<Block> {
        let genesis = genesis_block(Network::Regtest);
        let block = |number| {
            let mut block = genesis.clone();
            block.txdata[0].lock_time = LockTime::from_consensus(number);
            block.header.merkle_root = block.compute_merkle_root().expect("one transaction");
            block
        };
        (0..count).map(block).collect()
    }

    fn write(path: &Path, blocks: &[Block]) -> Vec<u8> {
        let mut loaded = BlockFile::open(path).expect("opened");
        loaded.file.append(blocks).expect("written");
        drop(loaded);
        fs::read(path).expect("read")
    }

    #[test]
    fn blocks_come_back_in_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blocks.dat");
        let three = blocks(3);
        write(&path, &three[..1]);
        let bytes = write(&path, &three[1..]);
        assert_eq!(bytes[..4], [0xfa, 0xbf, 0xb5, 0xda]);
        let loaded = BlockFile::open(&path).expect("opened");
        assert_eq!((loaded.blocks, loaded.cut), (three, 0));
    }

    #[test]
    fn a_record_torn_at_any_byte_is_cut_off_and_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blocks.dat");
        let two = blocks(2);
        let whole = write(&path, &two);
        let first = HEAD + consensus::serialize(&two[0]).len();
        for len in first..whole.len() {
            fs::write(&path, &whole[..len]).expect("written");
            let mut loaded = BlockFile::open(&path).expect("opened");
            assert_eq!((&loaded.blocks[..], loaded.cut), (&two[..1], (len - first) as u64), "{len} bytes");
            loaded.file.append(&two[1..]).expect("written");
            drop(loaded);
            assert_eq!(fs::read(&path).expect("read"), whole);
        }
    }

    #[test]
    fn a_last_record_of_zeros_or_wrong_bytes_is_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blocks.dat");
        let two = blocks(2);
        let whole = write(&path, &two);
        let first = HEAD + consensus::serialize(&two[0]).len();
        let mut zeros = whole.clone();
        zeros[first..].fill(0);
        // Space was given to the file and its length written, but only half of the block.
        let mut half = whole.clone();
        half[first + 100..].fill(0);
        for bytes in [zeros, half] {
            fs::write(&path, bytes).expect("written");
            let loaded = BlockFile::open(&path).expect("opened");
            assert_eq!((&loaded.blocks[..], loaded.cut), (&two[..1], (whole.len() - first) as u64));
        }
    }

    /// The parts of a write reach the disk in any order: whichever of the last record's are missing, it is cut off, and nothing before it. A header torn by
    /// itself is found by the chain's checks, not by the file.
    #[test]
    fn a_power_cut_takes_the_last_record_at_most() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blocks.dat");
        let three = blocks(3);
        let whole = write(&path, &three);
        let last = whole.len() - HEAD - consensus::serialize(&three[2]).len();
        for first in (last..whole.len()).step_by(7) {
            for end in (first + 1..=whole.len()).step_by(11) {
                for byte in [0, 0xa5] {
                    let mut torn = whole.clone();
                    torn[first..end].fill(byte);
                    if record(&torn[last..]).is_some_and(|(block, _)| block.txdata == three[2].txdata) {
                        continue;
                    }
                    fs::write(&path, &torn).expect("written");
                    let mut loaded = BlockFile::open(&path).unwrap_or_else(|error| panic!("{first} to {end}: {error}"));
                    assert_eq!((&loaded.blocks[..], loaded.cut), (&three[..2], (whole.len() - last) as u64));
                    loaded.file.append(&three[2..]).expect("written");
                    drop(loaded);
                    assert_eq!(fs::read(&path).expect("read"), whole);
                }
            }
        }
    }

    #[test]
    fn damage_before_the_last_record_is_an_error_and_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blocks.dat");
        let three = blocks(3);
        let whole = write(&path, &three);
        let first = HEAD + consensus::serialize(&three[0]).len();
        for at in [first, first + 60, first + 100] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, &bytes).expect("written");
            let error = BlockFile::open(&path).err().expect("refused");
            assert!(matches!(error, FileError::Damaged { at, .. } if at == first as u64), "{error}");
            assert_eq!(fs::read(&path).expect("read"), bytes);
        }
        fs::write(&path, "something else entirely").expect("written");
        assert!(matches!(BlockFile::open(&path).err(), Some(FileError::Damaged { at: 0, .. })));
    }

    #[test]
    fn a_second_process_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blocks.dat");
        let first = BlockFile::open(&path).expect("opened");
        assert!(matches!(BlockFile::open(&path).err(), Some(FileError::InUse(_))));
        drop(first);
        assert!(BlockFile::open(&path).is_ok());
        let missing = BlockFile::open(&folder.path().join("no/such/folder")).err().expect("refused");
        assert!(missing.to_string().contains("no/such/folder"), "{missing}");
    }
}
