//! The store under a power cut at every single operation on its file: what was not flushed may be there, in part or not
//! at all, in any combination. What `append` returned for has to be there, once.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{Builder, StorageBackend};

use super::file::{Retention, Store, initialise};
use super::share::tests::sample;

/// What a drive writes at once; a write that spans several can be torn between them.
const SECTOR: usize = 512;

const KEPT: u64 = 9;
const BATCHES: u64 = 8;
const BATCH: u64 = 4;

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Change {
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
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// What surely survives.
    durable: Vec<u8>,
    /// What the process sees.
    seen: Vec<u8>,
    /// From one to the other, in order.
    pending: Vec<Change>,
    /// Operations that may still happen before the power goes.
    left: usize,
}

/// A disk whose power goes after a number of operations.
#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn new(image: Vec<u8>, left: usize) -> Self {
        Self(Arc::new(Mutex::new(State { durable: image.clone(), seen: image, pending: Vec::new(), left })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The state, unless the power is gone; uses up one operation.
    fn step(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.left = state.left.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        Ok(state)
    }

    /// What is found after the power came back: what was flushed, and of the rest what `chance` picks, sector by sector.
    fn after_power_cut(&self, mut chance: impl FnMut() -> bool) -> Vec<u8> {
        let state = self.state();
        let mut image = state.durable.clone();
        for change in &state.pending {
            match change {
                Change::Length(_) => change.apply(&mut image),
                Change::Bytes(at, bytes) => {
                    let mut at = *at;
                    let mut rest = bytes.as_slice();
                    while !rest.is_empty() {
                        let (sector, behind) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                        if chance() {
                            Change::Bytes(at, sector.to_vec()).apply(&mut image);
                        }
                        at += sector.len();
                        rest = behind;
                    }
                }
            }
        }
        image
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let at = offset as usize;
        let bytes = state.seen.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.step()?;
        state.durable = state.seen.clone();
        state.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Bytes(offset as usize, data.to_vec()))
    }
}

impl Disk {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.step()?;
        change.apply(&mut state.seen);
        state.pending.push(change);
        Ok(())
    }
}

fn open(disk: &Disk) -> Result<Store, super::StoreError> {
    let path = Path::new("shares");
    let database = Builder::new()
        .set_cache_size(1 << 20)
        .create_with_backend(disk.clone())
        .map_err(|error| super::error::Problem::from(error).at(path))?;
    Store::with_database(database, path, Retention { shares: KEPT })
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

#[test]
fn a_power_cut_at_any_operation_loses_no_stored_share_and_counts_none_twice() {
    let disk = Disk::new(Vec::new(), usize::MAX);
    initialise(&Builder::new().create_with_backend(disk.clone()).unwrap()).unwrap();
    let empty = disk.state().durable.clone();

    let mut finished = false;
    let mut operations = 0;
    while !finished {
        for seed in 1..=3 {
            let disk = Disk::new(empty.clone(), operations);
            let mut stored = 0;
            if let Ok(mut store) = open(&disk) {
                for batch in 0..BATCHES {
                    let first = batch * BATCH;
                    let shares: Vec<_> = (first..first + BATCH).map(sample).collect();
                    if store.append(&shares).is_err() {
                        break;
                    }
                    stored = first + BATCH;
                }
            }
            finished = stored == BATCHES * BATCH && disk.state().left > 0;
            let mut pick = xorshift(operations as u64 * 8 + seed);
            // None of it, all of it, or a half.
            let image = disk.after_power_cut(|| seed == 1 || (seed == 2 && pick().is_multiple_of(2)));
            verify(image, stored, operations);
        }
        operations += 1;
    }
    assert!(operations as u64 > 8 * BATCHES, "the cut went through {operations} operations only");
}

fn verify(image: Vec<u8>, stored: u64, operations: usize) {
    let mut store = open(&Disk::new(image, usize::MAX)).unwrap_or_else(|error| panic!("{operations}: {error}"));
    let next = store.next_ticket();
    // The batch that was cut off may have reached the disk whole; never in part.
    assert!(next == stored || next == stored + BATCH, "{operations}: {stored} were stored, {next} are there");
    let shares: u64 = store.reader().totals().unwrap().values().map(|total| total.shares).sum();
    let work: u128 = store.reader().totals().unwrap().values().map(|total| total.work).sum();
    assert_eq!(shares, next, "{operations}");
    assert_eq!(work, (0..next).map(|ticket| sample(ticket).work).sum(), "{operations}");
    let recent = store.reader().recent(usize::MAX).unwrap();
    assert_eq!(recent, (next.saturating_sub(KEPT)..next).rev().map(sample).collect::<Vec<_>>(), "{operations}");
    // And it goes on from there.
    store.append(&[sample(next)]).unwrap();
    assert_eq!(store.reader().recent(1).unwrap(), [sample(next)]);
}
