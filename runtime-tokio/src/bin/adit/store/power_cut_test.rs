//! The store under a power cut at every single operation on its file, and at another one while the next run opens it: what was not flushed may be there,
//! in part or not at all, in any combination, or something else in its place. What `append` returned for has to be there, once, and nothing else.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use adit::hash::sha256d;
use redb::{Builder, StorageBackend};

use super::StoreError;
use super::error::Problem;
use super::file::{Batch, Retention, Store, initialise};
use super::script::{block, check_shares, held, is_block, settled, share};
use crate::disk::power_cut;

/// What a drive writes at once; a write that spans several can be torn between them.
const SECTOR: usize = 512;

const KEPT: u64 = 9;
const BATCHES: u64 = 4;
const BATCH: u64 = 4;

#[derive(Clone, Debug)]
enum Operation {
    Length(usize),
    Bytes(usize, Vec<u8>),
    Sync,
    /// `append` has returned: shares below this ticket are stored.
    Stored(u64),
}

impl Operation {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(len) => image.resize(*len, 0),
            Self::Bytes(at, bytes) => {
                let end = at + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*at..end].copy_from_slice(bytes);
            }
            Self::Sync | Self::Stored(_) => {}
        }
    }
}

/// A file that notes what is done to it.
#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<(Vec<u8>, Vec<Operation>)>>);

impl Disk {
    fn new(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new((image, Vec::new()))))
    }

    fn state(&self) -> MutexGuard<'_, (Vec<u8>, Vec<Operation>)> {
        self.0.lock().unwrap()
    }

    fn note(&self, operation: Operation) {
        let mut state = self.state();
        operation.apply(&mut state.0);
        state.1.push(operation);
    }

    fn operations(&self) -> Vec<Operation> {
        self.state().1.clone()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        out.copy_from_slice(self.state().0.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(Operation::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(Operation::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(Operation::Bytes(offset as usize, data.to_vec()));
        Ok(())
    }
}

/// What becomes of operations that were not followed by a flush.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Lost,
    There,
    /// The first ones, up to the middle of one of them.
    Torn,
    /// Sectors are there or not, whichever was written first.
    Some,
    /// The same, and the file has only its former length.
    Short,
    /// Where the file has grown it is zeros; elsewhere sectors are there or not.
    Zeros,
    /// Sectors are as they were, or something else; those of the header, which is written at once, are there or not.
    Garbage,
}

impl Rest {
    const ALL: [Self; 7] = [Self::Lost, Self::There, Self::Torn, Self::Some, Self::Short, Self::Zeros, Self::Garbage];

    /// What is found after the power came back.
    fn image(self, before: &[u8], operations: &[Operation], mut pick: impl FnMut() -> u64) -> Vec<u8> {
        let flushed =
            operations.iter().rposition(|operation| matches!(operation, Operation::Sync)).map_or(0, |at| at + 1);
        let (flushed, rest) = operations.split_at(flushed);
        let mut image = before.to_vec();
        for operation in flushed {
            operation.apply(&mut image);
        }
        let durable = image.len();
        let torn = pick() as usize % (rest.len() + 1);
        for (at, operation) in rest.iter().enumerate() {
            let Operation::Bytes(start, bytes) = operation else {
                match self {
                    Self::Lost | Self::Short => {}
                    Self::Torn if at >= torn => {}
                    _ => operation.apply(&mut image),
                }
                continue;
            };
            let (mut start, mut bytes) = (*start, bytes.as_slice());
            let half = start + bytes.len() / 2;
            while !bytes.is_empty() {
                let (sector, behind) = bytes.split_at(bytes.len().min(SECTOR - start % SECTOR));
                let is_new = start >= durable;
                let now = match self {
                    Self::Lost => None,
                    Self::There => Some(sector.to_vec()),
                    Self::Torn => (at < torn || at == torn && start < half).then(|| sector.to_vec()),
                    Self::Short if is_new => None,
                    Self::Zeros if is_new => Some(vec![0; sector.len()]),
                    Self::Garbage if start >= SECTOR => {
                        pick().is_multiple_of(2).then(|| vec![pick() as u8; sector.len()])
                    }
                    Self::Some | Self::Short | Self::Zeros | Self::Garbage => {
                        pick().is_multiple_of(2).then(|| sector.to_vec())
                    }
                };
                if let Some(now) = now {
                    Operation::Bytes(start, now).apply(&mut image);
                }
                start += sector.len();
                bytes = behind;
            }
        }
        if matches!(self, Self::Short) {
            image.truncate(durable);
        }
        image
    }
}

fn open(disk: &Disk) -> Result<Store, StoreError> {
    let path = Path::new("shares");
    let database = Builder::new()
        .set_cache_size(1 << 20)
        .create_with_backend(disk.clone())
        .map_err(|error| Problem::from(error).at(path))?;
    Store::with_database(database, path, Retention { shares: KEPT })
}

fn append(store: &mut Store, disk: &Disk, tickets: Range<u64>) {
    let shares: Vec<_> = tickets.clone().map(share).collect();
    let found: Vec<_> =
        tickets.clone().filter(|&ticket| is_block(ticket)).map(|ticket| (ticket, Arc::new(block(ticket)))).collect();
    let settled = tickets.clone().filter_map(settled).next_back();
    store.append(Batch { shares: &shares, found: &found, settled: settled.as_ref() }).unwrap();
    disk.note(Operation::Stored(tickets.end));
}

/// A generator for the picks; any will do, as long as it is the same every time.
fn xorshift(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// The highest ticket that was acknowledged, and one more.
fn stored(operations: &[Operation]) -> u64 {
    let stored = |operation: &Operation| if let Operation::Stored(next) = operation { Some(*next) } else { None };
    operations.iter().rev().find_map(stored).unwrap_or(0)
}

#[test]
fn a_power_cut_at_any_operation_loses_no_stored_share_and_counts_none_twice() {
    let disk = Disk::new(Vec::new());
    initialise(&Builder::new().create_with_backend(disk.clone()).unwrap()).unwrap();
    let empty = disk.state().0.clone();
    let disk = Disk::new(empty.clone());
    for batch in 0..BATCHES {
        // Half of the time in a run of its own.
        let mut store = open(&disk).unwrap();
        for first in [2 * batch, 2 * batch + 1].map(|batch| batch * BATCH) {
            append(&mut store, &disk, first..first + BATCH);
        }
    }
    let operations = disk.operations();
    let (mut tried, mut pick) = (BTreeSet::new(), xorshift(7));
    let mut again = 0;
    for cut in 0..=operations.len() {
        let done = &operations[..cut];
        for rest in Rest::ALL {
            let image = rest.image(&empty, done, &mut pick);
            // Many cuts leave the same.
            if !tried.insert((sha256d(&[&image]), stored(done))) {
                continue;
            }
            let case = format!("cut at {cut}, rest {rest:?}");
            let disk = Disk::new(image.clone());
            let before = stored(done);
            let next = verify(&disk, [before, before + BATCH], &case);
            // The power goes while the next run opens the store, or stores its first share.
            let opening = disk.operations();
            let second = pick() as usize % (opening.len() + 1);
            let rest = Rest::ALL[pick() as usize % Rest::ALL.len()];
            let image = rest.image(&image, &opening[..second], &mut pick);
            let case = format!("{case}, then at {second} of {}, rest {rest:?}", opening.len());
            verify(&Disk::new(image), [next.max(stored(&opening[..second])), next + 1], &case);
            again += usize::from(second > 0);
        }
    }
    assert!(tried.len() > 400 && again > 300, "{} of {} cuts, {again} again", tried.len(), operations.len());
}

/// Opens the store and compares all of it, then goes on from there. The next ticket is one of `expected`: what was cut off may have reached the disk whole,
/// never in part.
fn verify(disk: &Disk, expected: [u64; 2], case: &str) -> u64 {
    let mut store = open(disk).unwrap_or_else(|error| panic!("{case}: {error}"));
    let next = store.next_ticket();
    assert!(expected.contains(&next), "{case}: {next} are there and not {expected:?}");
    check_shares(&store, KEPT);
    assert!(store.held().unwrap() == held(next, next), "{case}: {:?}", store.held());
    append(&mut store, disk, next..next + 1);
    check_shares(&store, KEPT);
    next
}

/// The file itself, while it is made: it is not there, or a store without a share.
#[test]
fn a_power_cut_while_the_store_is_made_leaves_none_or_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shares");
    let mut operations = power_cut::record(|| drop(Store::open(&path, Retention { shares: KEPT }).unwrap()));
    operations.push(power_cut::Operation::Told(1));
    let mut seen = BTreeSet::new();
    power_cut::at_each(directory.path(), &operations, |root, told| {
        let path = root.join("shares");
        let is_there = path.exists();
        assert!(is_there || told.is_empty(), "it was opened");
        assert_eq!(Store::open(&path, Retention { shares: KEPT }).unwrap().next_ticket(), 0);
        seen.insert(is_there);
    });
    assert_eq!(seen.len(), 2);
}
