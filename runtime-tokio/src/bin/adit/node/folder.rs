//! Found blocks on disk until the node has answered: a file each, so that no end of the provider, SIGKILL included, loses one.
//!
//! What is in a file is what `submitblock` takes, so that a person can hand it over too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use adit::mining::header::Header;

use crate::source::SolvedBlock;

/// The directory; made with the first block.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn name(block: &SolvedBlock) -> String {
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
        match fs::remove_file(self.path(block)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What an earlier run left, the highest first. Files that are no blocks are named in the log and left alone.
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
            if path.extension().is_none_or(|extension| extension != "hex") {
                continue;
            }
            if let Some(block) = read(&path) {
                blocks.push(block);
            } else {
                tracing::error!(file = %path.display(), "this is no block that an earlier run has left");
            }
        }
        blocks.sort_by_key(|block| std::cmp::Reverse(block.height));
        blocks
    }
}

/// A block whose file has its name.
fn read(path: &Path) -> Option<SolvedBlock> {
    let (height, _) = path.file_name()?.to_str()?.split_once('-')?;
    let bytes = hex::decode(fs::read_to_string(path).ok()?.trim()).ok()?;
    let hash = Header::from_bytes(bytes.first_chunk()?).hash();
    let block = SolvedBlock { height: height.parse().ok()?, hash, bytes };
    (Folder::name(&block) == path.file_name()?.to_str()?).then_some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
