//! What a power cut leaves of the files that were written before it: all that can be, for every operation at which it may come.
//!
//! Operations are noted as they happen, on one thread. A name that was not kept is there or not, whatever became of the others in its directory; of bytes
//! that were not synced none are there, the first half, zeros in their place, or all. That is more than most file systems do to one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Something that was done, and has succeeded.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    MakeDirectory(PathBuf),
    /// A new file, or one that is empty again.
    Create(PathBuf),
    /// All that is in the file now.
    Write(PathBuf, Vec<u8>),
    /// With what is in it.
    Sync(PathBuf, Vec<u8>),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    /// All names in this directory.
    KeepNames(PathBuf),
    /// What the test wants to know afterwards: somebody was told something.
    Told(usize),
}

thread_local! {
    static NOTED: RefCell<Option<Vec<Operation>>> = const { RefCell::new(None) };
}

/// Notes an operation, if anybody records.
pub(crate) fn note(operation: Operation) {
    NOTED.with_borrow_mut(|noted| noted.as_mut().map(|noted| noted.push(operation)));
}

/// The operations of this thread meanwhile.
pub(crate) fn record(work: impl FnOnce()) -> Vec<Operation> {
    NOTED.set(Some(Vec::new()));
    work();
    NOTED.take().unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Directory,
    File(usize),
}

#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    now: Vec<u8>,
}

/// Names by path.
type Names = BTreeMap<PathBuf, Entry>;

/// A name that comes or goes.
#[derive(Clone, Debug)]
enum Change {
    Set(PathBuf, Entry),
    Unset(PathBuf),
    Move(PathBuf, PathBuf, Entry),
}

impl Change {
    fn directory(&self) -> &Path {
        let (Self::Set(path, _) | Self::Unset(path) | Self::Move(_, path, _)) = self;
        path.parent().unwrap()
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Set(path, entry) => drop(names.insert(path.clone(), *entry)),
            Self::Unset(path) => drop(names.remove(path)),
            Self::Move(from, to, entry) => {
                names.remove(from);
                names.insert(to.clone(), *entry);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    inodes: Vec<Inode>,
    durable: Names,
    now: Names,
    pending: Vec<Change>,
}

impl Disk {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    fn inode(&mut self, path: &Path) -> &mut Inode {
        let Some(Entry::File(inode)) = self.now.get(path) else { panic!("{} is no file", path.display()) };
        &mut self.inodes[*inode]
    }

    fn take(&mut self, operation: Operation) {
        match operation {
            Operation::MakeDirectory(path) => self.change(Change::Set(path, Entry::Directory)),
            Operation::Create(path) if self.now.contains_key(&path) => self.inode(&path).now.clear(),
            Operation::Create(path) => {
                self.inodes.push(Inode::default());
                self.change(Change::Set(path, Entry::File(self.inodes.len() - 1)));
            }
            Operation::Write(path, bytes) => self.inode(&path).now = bytes,
            Operation::Sync(path, bytes) => {
                if !self.now.contains_key(&path) {
                    // Somebody else made it.
                    self.take(Operation::Create(path.clone()));
                }
                let inode = self.inode(&path);
                (inode.durable, inode.now) = (bytes.clone(), bytes);
            }
            Operation::Rename(from, to) => {
                let entry = self.now[&from];
                self.change(Change::Move(from, to, entry));
            }
            Operation::Link(from, to) => {
                let entry = self.now[&from];
                self.change(Change::Set(to, entry));
            }
            Operation::Remove(path) => self.change(Change::Unset(path)),
            Operation::KeepNames(directory) => {
                let Self { durable, pending, .. } = self;
                pending.retain(|change| {
                    let is_kept = change.directory() == directory;
                    if is_kept {
                        change.apply(durable);
                    }
                    !is_kept
                });
            }
            Operation::Told(_) => {}
        }
    }

    /// Hands out what may be there after a cut now: names, and how bytes that were not synced look.
    fn after_cut(&self, mut each: impl FnMut(Names, Vec<Vec<u8>>)) {
        assert!(self.pending.len() < 10, "too many to try all: {:?}", self.pending);
        for kept in 0..1_u32 << self.pending.len() {
            let mut names = self.durable.clone();
            for (at, change) in self.pending.iter().enumerate() {
                if kept >> at & 1 == 1 {
                    change.apply(&mut names);
                }
            }
            let as_they_are: Vec<_> = self.inodes.iter().map(|inode| inode.now.clone()).collect();
            let torn = |tear: fn(&[u8]) -> Vec<u8>| {
                self.inodes
                    .iter()
                    .map(|inode| if inode.now == inode.durable { inode.now.clone() } else { tear(&inode.now) })
                    .collect()
            };
            for contents in [
                self.inodes.iter().map(|inode| inode.durable.clone()).collect(),
                torn(|now| now[..now.len() / 2].to_vec()),
                torn(|now| vec![0; now.len()]),
                torn(|now| {
                    now.iter().enumerate().map(|(at, byte)| if at < now.len() / 2 { 0 } else { *byte }).collect()
                }),
                as_they_are,
            ] {
                each(names.clone(), contents);
            }
        }
    }
}

/// Plays what was recorded below `root` up to each of its operations, cuts the power, and hands over a directory in place of `root` for each thing that this
/// may leave, with what was told until then.
pub(crate) fn at_each(root: &Path, operations: &[Operation], mut each: impl FnMut(&Path, &[usize])) {
    let mut disk = Disk::default();
    let mut told = Vec::new();
    let mut tried = Vec::new();
    for operation in std::iter::once(None).chain(operations.iter().map(Some)) {
        match operation {
            Some(Operation::Told(what)) => told.push(*what),
            Some(operation) => disk.take(operation.clone()),
            None => {}
        }
        disk.after_cut(|names, contents| {
            let files: BTreeMap<_, _> = names
                .iter()
                .map(|(path, entry)| match entry {
                    Entry::Directory => (path.clone(), None),
                    Entry::File(inode) => (path.clone(), Some(contents[*inode].clone())),
                })
                .collect();
            // Many cuts leave the same.
            let case = (files, told.clone());
            if tried.contains(&case) {
                return;
            }
            let directory = tempfile::tempdir().unwrap();
            for (path, bytes) in &case.0 {
                let path = directory.path().join(path.strip_prefix(root).unwrap());
                // What is in a directory that is gone is gone.
                match bytes {
                    _ if !path.parent().unwrap().is_dir() => {}
                    None => fs::create_dir(path).unwrap(),
                    Some(bytes) => fs::write(path, bytes).unwrap(),
                }
            }
            each(directory.path(), &told);
            tried.push(case);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::*;
    use super::*;

    /// What `work` may leave of a file's bytes, beside what was told; `None` for no such file.
    fn outcomes(work: impl FnOnce(&Path)) -> BTreeSet<(Option<Vec<u8>>, Vec<usize>)> {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let operations = record(|| work(&root.join("file")));
        let mut outcomes = BTreeSet::new();
        at_each(root, &operations, |root, told| {
            let _is_new = outcomes.insert((fs::read(root.join("file")).ok(), told.to_vec()));
        });
        outcomes
    }

    /// The simulation sees what is wrong: bytes or names that nobody synced are not there.
    #[test]
    fn what_was_not_synced_may_be_gone() {
        let seen = outcomes(|path| {
            fs::write(path, "abcd").unwrap();
            note(Operation::Create(path.to_owned()));
            note(Operation::Write(path.to_owned(), b"abcd".to_vec()));
            keep_name(path).unwrap();
            note(Operation::Told(1));
        });
        let after: Vec<_> = seen.iter().filter(|(_, told)| *told == [1]).map(|(bytes, _)| bytes.as_deref()).collect();
        assert_eq!(after, [Some(&b""[..]), Some(&[0; 4]), Some(b"\0\0cd"), Some(b"ab"), Some(b"abcd")]);
        let seen = outcomes(|path| {
            fs::write(path, "abcd").unwrap();
            sync(path, &File::open(path).unwrap()).unwrap();
            note(Operation::Told(1));
        });
        assert!(seen.contains(&(None, vec![1])), "its name was not kept");
    }

    #[test]
    fn a_whole_file_is_the_one_before_or_the_new_one() {
        let seen = outcomes(|path| {
            write_whole(path, b"first").unwrap();
            note(Operation::Told(1));
            write_whole(path, b"second").unwrap();
            note(Operation::Told(2));
            remove(path).unwrap();
        });
        let (first, second) = (Some(b"first".to_vec()), Some(b"second".to_vec()));
        let expected = [
            (None, vec![]),
            (first.clone(), vec![]),
            (first, vec![1]),
            (second.clone(), vec![1]),
            (second, vec![1, 2]),
            (None, vec![1, 2]),
        ];
        assert_eq!(seen, expected.into());
    }
}
