//! Found blocks on disk until the node has answered: a file each, so that no end of the provider, SIGKILL included, loses one.
//!
//! What is in a file is what `submitblock` takes, so that a person can hand it over too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use adit::hash::sha256d;
use adit::mining::header::Header;

use crate::disk;
use crate::source::SolvedBlock;

/// The directory; made with the first block.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Of two blocks with one header, which differ in the witness of their coinbases, one is wrong, and only the node knows which: so the name tells all
    /// bytes, and with them whether the file is whole.
    fn name(block: &SolvedBlock) -> String {
        let digest = sha256d(&[&block.bytes]);
        format!("{}-{}-{}.hex", block.height, block.hash_hex(), hex::encode(&digest[..8]))
    }

    /// As versions before 2026-12 named it.
    fn former_name(block: &SolvedBlock) -> String {
        format!("{}-{}.hex", block.height, block.hash_hex())
    }

    /// Where a block is.
    pub(super) fn path(&self, block: &SolvedBlock) -> PathBuf {
        self.0.join(Self::name(block))
    }

    /// Writes a block; when this returns, it survives a power cut.
    pub(super) fn keep(&self, block: &SolvedBlock) -> io::Result<()> {
        block.write_hex(&self.0, &Self::name(block)).map(drop)
    }

    /// The node has answered.
    pub(super) fn forget(&self, block: &SolvedBlock) -> io::Result<()> {
        disk::remove(&self.path(block))
    }

    /// What an earlier run left, the highest first. Files that are no blocks are named in the log and left alone; what that run did not come to the end of
    /// writing is taken if it is whole, else removed.
    pub(super) fn left(&self) -> Vec<SolvedBlock> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::error!(directory = %self.0.display(), %error, "blocks that an earlier run may have left can't be read");
                return Vec::new();
            }
        };
        let mut blocks = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            match File::of(&path) {
                File::Block(block) => blocks.push(block),
                File::Former(block) | File::Unfinished(Some(block)) => {
                    // A run that was killed may not have come to that.
                    let synced = fs::File::open(&path).and_then(|file| disk::sync(&path, &file));
                    if let Err(error) = synced.and_then(|()| disk::adopt(&path, &self.path(&block))) {
                        tracing::error!(file = %path.display(), %error, "this block is handed over again at each start, until its file is removed");
                    }
                    blocks.push(block);
                }
                File::Unfinished(None) => {
                    tracing::warn!(file = %path.display(), "a block that an earlier run did not come to the end of writing is removed");
                    if let Err(error) = disk::remove(&path) {
                        tracing::warn!(file = %path.display(), %error, "it can't be removed");
                    }
                }
                File::Damaged => {
                    tracing::error!(file = %path.display(), "this is no block that an earlier run has left, or not all of it");
                }
                File::Other => {}
            }
        }
        blocks.sort_by(|a, b| (b.height, &a.bytes).cmp(&(a.height, &b.bytes)));
        // It may have been written again after it was cut off.
        blocks.dedup();
        blocks
    }
}

/// What a file of the directory is.
enum File {
    /// A whole block.
    Block(SolvedBlock),
    /// One that an earlier version has left.
    Former(SolvedBlock),
    /// One that was being written, if it is whole.
    Unfinished(Option<SolvedBlock>),
    /// It should be a block.
    Damaged,
    Other,
}

impl File {
    fn of(path: &Path) -> Self {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(name) = name.strip_suffix(".hex.part") {
            return Self::Unfinished(read(path).filter(|block| Folder::name(block).strip_suffix(".hex") == Some(name)));
        }
        if path.extension().is_none_or(|extension| extension != "hex") {
            return Self::Other;
        }
        match read(path) {
            Some(block) if name == Folder::name(&block) => Self::Block(block),
            Some(block) if name == Folder::former_name(&block) => Self::Former(block),
            _ => Self::Damaged,
        }
    }
}

/// The block in a file whose name begins with its height.
fn read(path: &Path) -> Option<SolvedBlock> {
    let (height, _) = path.file_name()?.to_str()?.split_once('-')?;
    let bytes = hex::decode(fs::read_to_string(path).ok()?.trim()).ok()?;
    let hash = Header::from_bytes(bytes.first_chunk()?).hash();
    Some(SolvedBlock { height: height.parse().ok()?, hash, bytes })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::disk::power_cut::{self, Operation};

    fn block(height: u32, byte: u8) -> SolvedBlock {
        let bytes = vec![byte; 200];
        SolvedBlock { height, hash: Header::from_bytes(bytes.first_chunk().unwrap()).hash(), bytes }
    }

    #[test]
    fn blocks_are_kept_until_they_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::new(directory.path().join("new"));
        assert_eq!(folder.left(), []);
        let blocks = [block(7, 1), block(9, 2), block(7, 3)];
        for block in &blocks {
            folder.keep(block).unwrap();
        }
        folder.keep(&blocks[0]).unwrap();
        // Half a block, another's name, and what is none.
        fs::write(folder.path(&block(8, 8)), "00ff").unwrap();
        fs::copy(folder.path(&blocks[0]), folder.path(&block(8, 9))).unwrap();
        fs::write(directory.path().join("new/readme.txt"), "hello").unwrap();
        let left = folder.left();
        assert_eq!((left.len(), &left[0]), (3, &blocks[1]));
        assert!(blocks.iter().all(|block| left.contains(block)));
        folder.forget(&blocks[1]).unwrap();
        folder.forget(&blocks[1]).unwrap();
        assert_eq!(folder.left().len(), 2);
    }

    /// Whoever sends a block with a wrong witness removes none that has the right one.
    #[test]
    fn blocks_of_one_header_have_a_file_each() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::new(directory.path().to_owned());
        let right = block(7, 1);
        let mut wrong = right.clone();
        wrong.bytes[150] = 0;
        assert_eq!(right.hash, wrong.hash);
        folder.keep(&right).unwrap();
        folder.keep(&wrong).unwrap();
        assert_eq!(folder.left().len(), 2);
        folder.forget(&wrong).unwrap();
        assert_eq!(folder.left(), std::slice::from_ref(&right));
        // Damage within the block shows.
        let path = folder.path(&right);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("0101", "0102", 1)).unwrap();
        assert_eq!(folder.left(), []);
        let damaged = format!("{}{}", &text[..text.len() - 3], "02\n");
        fs::write(&path, damaged).unwrap();
        assert_eq!(folder.left(), []);
    }

    #[test]
    fn blocks_of_an_earlier_version_are_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::new(directory.path().to_owned());
        let block = block(7, 1);
        fs::write(directory.path().join(Folder::former_name(&block)), hex::encode(&block.bytes)).unwrap();
        assert_eq!(folder.left(), std::slice::from_ref(&block));
        assert_eq!(folder.left(), std::slice::from_ref(&block));
        folder.forget(&block).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    /// D-TDP-18: whenever the power goes, each block that was on disk, and that the node had not answered, is found by the next run, once; none that nobody
    /// found is; what is torn is gone after that; and it goes on from there.
    #[test]
    fn a_power_cut_at_any_operation_loses_no_block_that_was_kept() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let blocks = [block(7, 1), block(9, 2), block(7, 3)];
        // What is told: a block by its place when it is kept, by 10 and its place before it is forgotten.
        let operations = power_cut::record(|| {
            let folder = Folder::new(root.join("new/blocks"));
            let tell = |what| power_cut::note(Operation::Told(what));
            let keep = |at: usize| {
                folder.keep(&blocks[at]).unwrap();
                tell(at);
            };
            keep(0);
            keep(1);
            // Told of again, as after a restart.
            keep(0);
            tell(10);
            folder.forget(&blocks[0]).unwrap();
            keep(2);
            tell(11);
            folder.forget(&blocks[1]).unwrap();
        });
        let mut cases = 0;
        power_cut::at_each(root, &operations, |root, told| {
            let folder = Folder::new(root.join("new/blocks"));
            let left = folder.left();
            for (at, block) in blocks.iter().enumerate() {
                let times = left.iter().filter(|other| *other == block).count();
                let is_due = told.contains(&at) && !told.contains(&(10 + at));
                assert!(times == 1 || times == 0 && !is_due, "block {at} is there {times} times after {told:?}");
            }
            assert!(left.iter().all(|block| blocks.contains(block)));
            assert_eq!(folder.left(), left, "and so it stays");
            let names = fs::read_dir(root.join("new/blocks")).into_iter().flatten();
            let names: BTreeSet<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, left.iter().map(|block| Folder::name(block).into()).collect());
            let another = block(8, 4);
            folder.keep(&another).unwrap();
            assert!(folder.left().contains(&another));
            cases += 1;
        });
        assert!(cases > 40, "{cases} cases only");
    }
}
