//! The store's file: its tables, how it is created and opened, and the one transaction that writes to it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;

use adit_tokio::pool::KeptBlock;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::disk;

use super::error::{Problem, StoreError};
use super::held::{self, Settled};
use super::reader::{Reader, Total};
use super::share::Share;

/// Version of the layout below. Raise it with every change, and carry older files over in [`Store::open`].
const SCHEMA: u64 = 1;

/// `schema`: the layout's version. `last_ticket`: the highest ticket ever stored, also when its share has left the journal.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Ticket to [`Share`].
pub(super) const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
/// Header time and hash to ticket, for exactly the shares in the journal. The hash alone would tell shares apart; behind the time, new
/// keys stand together, so that a commit rewrites a few pages at the end instead of one page for each share.
pub(super) const INDEX: TableDefinition<'_, (u32, &[u8; 32]), u64> = TableDefinition::new("index");
/// Account to count and work of all its shares, those in the journal included.
pub(super) const TOTALS: TableDefinition<'_, &[u8], (u64, u128)> = TableDefinition::new("totals");
/// Ticket to [`Share`], for those that were blocks; never cut.
pub(super) const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");

const LAST_TICKET: &str = "last_ticket";

/// Memory for pages of the file. The hot part is the journal's end and the totals; the rest is the index.
const CACHE: usize = 32 << 20;

/// Shares cut from the journal in one transaction beyond those that it adds: a retention that was lowered a lot is
/// reached over several commits, so that no single one takes long.
const CUT_AT_ONCE: usize = 1_024;

/// How much of the journal stays. Older shares live on in the totals only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// Shares kept one by one, about 300 bytes of disk each. A share is known as a duplicate for as long as it is kept.
    pub(crate) shares: u64,
}

impl Default for Retention {
    /// One million: at one share a second over eleven days, and about 300 MB.
    fn default() -> Self {
        Self { shares: 1_000_000 }
    }
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Appended {
    /// The highest ticket that is on disk now, `None` before the first.
    pub(crate) last: Option<u64>,
    /// Tickets whose share was in the journal already, under another ticket. They were not counted.
    pub(crate) duplicates: Vec<u64>,
}

/// What one transaction writes. Shares alone are one, too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batch<'a> {
    /// Accepted shares, their tickets rising.
    pub(crate) shares: &'a [Share],
    /// Those of them that are blocks to be handed over, by ticket.
    pub(crate) found: &'a [(u64, Arc<KeptBlock>)],
    /// Which blocks are held still.
    pub(crate) settled: Option<&'a Settled>,
}

impl<'a, T: AsRef<[Share]> + ?Sized> From<&'a T> for Batch<'a> {
    fn from(shares: &'a T) -> Self {
        Self { shares: shares.as_ref(), ..Self::default() }
    }
}

/// The store, open for writing. One process at a time can have it.
#[derive(Debug)]
pub(crate) struct Store {
    reader: Reader,
    retention: Retention,
    last: Option<u64>,
}

impl Store {
    /// Opens the store at `path`, creating it when there is no such file; its directory has to exist.
    ///
    /// After a kill or a power cut the file is as the last commit left it. All its pages are read and compared with their
    /// checksums, which takes about a second for a million shares.
    pub(crate) fn open(path: &Path, retention: Retention) -> Result<Self, StoreError> {
        // redb panics on some kinds of damage; for whoever starts a pool that is a damaged file like any other.
        let database = match catch_unwind(|| open_database(path)) {
            Ok(outcome) => outcome.map_err(|problem| problem.at(path))?,
            Err(_) => return Err(Problem::Corrupt("its pages contradict each other".to_owned()).at(path)),
        };
        Self::with_database(database, path, retention)
    }

    /// The store in a database that has been initialised.
    pub(super) fn with_database(database: Database, path: &Path, retention: Retention) -> Result<Self, StoreError> {
        let last = check(&database).map_err(|problem| problem.at(path))?;
        let reader = Reader { database: Arc::new(database), path: path.into() };
        Ok(Self { reader, retention, last })
    }

    /// What reads the store, also while a [`super::Writer`] has it.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The lowest ticket that the next share may have.
    pub(crate) fn next_ticket(&self) -> u64 {
        self.last.map_or(0, |last| last.saturating_add(1))
    }

    /// Stores a batch in one transaction. When this returns, it survives a power cut.
    ///
    /// Tickets have to rise. A share whose header hash is in the journal is left out and reported. After an error nothing
    /// of the call is counted as stored, though it may be; open the file again to know.
    #[allow(single_use_lifetimes, reason = "it can't be left out there")]
    pub(crate) fn append<'a>(&mut self, batch: impl Into<Batch<'a>>) -> Result<Appended, StoreError> {
        let batch @ Batch { shares, .. } = batch.into();
        let inner = || -> Result<Appended, Problem> {
            let mut last = self.last;
            for share in shares {
                match last {
                    Some(last) if share.ticket <= last => {
                        return Err(Problem::TicketOrder { last, got: share.ticket });
                    }
                    _ => last = Some(share.ticket),
                }
            }
            if shares.is_empty() && batch.settled.is_none() {
                return Ok(Appended { last, duplicates: Vec::new() });
            }
            let duplicates = self.commit(&batch, last)?;
            Ok(Appended { last, duplicates })
        };
        let appended = inner().map_err(|problem| problem.at(&self.reader.path))?;
        self.last = appended.last;
        Ok(appended)
    }

    /// The transaction of [`Self::append`]; returns the duplicates' tickets.
    fn commit(&self, batch: &Batch<'_>, newest: Option<u64>) -> Result<Vec<u64>, Problem> {
        let shares = batch.shares;
        let mut duplicates = Vec::new();
        let mut earned = BTreeMap::<&[u8], Total>::new();
        let mut transaction = self.reader.database.begin_write()?;
        // A one-phase commit relies on a checksum that is not made to withstand an adversary, and miners choose much of what is written here.
        transaction.set_two_phase_commit(true);
        {
            let mut journal = transaction.open_table(JOURNAL)?;
            let mut index = transaction.open_table(INDEX)?;
            let mut totals = transaction.open_table(TOTALS)?;
            let mut blocks = transaction.open_table(BLOCKS)?;
            for share in shares {
                if index.get((share.ntime, &share.hash))?.is_some() {
                    duplicates.push(share.ticket);
                    continue;
                }
                let bytes = share.encode()?;
                index.insert((share.ntime, &share.hash), share.ticket)?;
                journal.insert(share.ticket, bytes.as_slice())?;
                if share.block {
                    blocks.insert(share.ticket, bytes.as_slice())?;
                }
                earned.entry(&share.account).or_default().add(share);
            }
            for (account, mut sum) in earned {
                if let Some(before) = totals.get(account)? {
                    let (shares, work) = before.value();
                    sum = Total { shares: sum.shares.saturating_add(shares), work: sum.work.saturating_add(work) };
                }
                totals.insert(account, (sum.shares, sum.work))?;
            }
            let above = journal.len()?.saturating_sub(self.retention.shares);
            for _ in 0..above.min((shares.len() + CUT_AT_ONCE) as u64) {
                let Some((ticket, bytes)) = journal.pop_first()? else { break };
                let share = Share::decode(ticket.value(), bytes.value())?;
                index.remove((share.ntime, &share.hash))?;
            }
            if let Some(newest) = newest {
                transaction.open_table(META)?.insert(LAST_TICKET, newest)?;
            }
        }
        held::write(&transaction, batch.found, batch.settled)?;
        transaction.commit()?;
        Ok(duplicates)
    }
}

impl Total {
    /// Counts one more share. Neither sum can reach its end: 2^64 shares, 2^128 hashes.
    fn add(&mut self, share: &Share) {
        self.shares = self.shares.saturating_add(1);
        self.work = self.work.saturating_add(share.work);
    }
}

/// The database in the file at `path`, created when there is none, its pages verified.
fn open_database(path: &Path) -> Result<Database, Problem> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    let mut database = match builder.open(path) {
        Err(redb::DatabaseError::Storage(redb::StorageError::Io(error))) if error.kind() == io::ErrorKind::NotFound => {
            create(path)?;
            builder.open(path)?
        }
        outcome => outcome?,
    };
    if database.check_integrity()? { Ok(database) } else { Err(Problem::Repaired) }
}

/// Writes an empty store under another name and links it to `path` when it is whole, so that a file at `path` is always
/// one that can be opened. When two processes do so at once, one of them wins and the other finds the winner's file.
fn create(path: &Path) -> Result<(), Problem> {
    let Some(name) = path.file_name() else {
        return Err(Problem::Io(io::Error::new(io::ErrorKind::IsADirectory, "no file name in the path")));
    };
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}.new", std::process::id()));
    let draft = path.with_file_name(draft);
    // One left behind by an earlier process that had the same number.
    disk::remove(&draft)?;
    let outcome = (|| {
        initialise(&Builder::new().set_cache_size(CACHE).create(&draft)?)?;
        disk::sync(&draft, &fs::File::open(&draft)?)?;
        Ok(disk::link(&draft, path)?)
    })();
    disk::remove(&draft)?;
    outcome
}

/// Creates the tables and says which layout they have.
pub(super) fn initialise(database: &Database) -> Result<(), Problem> {
    let transaction = database.begin_write()?;
    transaction.open_table(JOURNAL)?;
    transaction.open_table(INDEX)?;
    transaction.open_table(TOTALS)?;
    transaction.open_table(BLOCKS)?;
    transaction.open_table(META)?.insert("schema", SCHEMA)?;
    transaction.commit()?;
    Ok(())
}

/// Makes sure that the file is a store that this program knows, and reads its last ticket.
fn check(database: &Database) -> Result<Option<u64>, Problem> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let schema = meta.get("schema")?.ok_or(Problem::NotAStore)?.value();
    if schema > SCHEMA {
        return Err(Problem::NewerSchema { found: schema, known: SCHEMA });
    }
    let last = meta.get(LAST_TICKET)?.map(|last| last.value());
    let journal = transaction.open_table(JOURNAL)?;
    let newest = journal.last()?.map(|(ticket, _)| ticket.value());
    let index = transaction.open_table(INDEX)?;
    if newest > last || journal.len()? != index.len()? {
        return Err(Problem::Corrupt("journal, index and last ticket contradict each other".to_owned()));
    }
    transaction.open_table(TOTALS)?;
    transaction.open_table(BLOCKS)?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::super::share::tests::sample;
    use super::*;
    use proptest::prelude::*;

    fn open(path: &Path) -> Store {
        Store::open(path, Retention::default()).unwrap()
    }

    /// What the totals have to be when exactly these shares were counted.
    fn counted(shares: impl IntoIterator<Item = Share>) -> BTreeMap<Box<[u8]>, Total> {
        let mut totals = BTreeMap::<Box<[u8]>, Total>::new();
        for share in shares {
            totals.entry(share.account.clone()).or_default().add(&share);
        }
        totals
    }

    #[test]
    fn what_was_stored_is_read_back_after_opening_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shares");
        let shares: Vec<_> = (5..40).map(sample).collect();
        let mut store = open(&path);
        assert_eq!(store.next_ticket(), 0);
        assert_eq!(store.append(&[]).unwrap(), Appended::default());
        assert_eq!(store.append(&shares[..20]).unwrap(), Appended { last: Some(24), duplicates: vec![] });
        assert_eq!(store.append(&shares[20..]).unwrap(), Appended { last: Some(39), duplicates: vec![] });
        drop(store);

        let store = open(&path);
        let reader = store.reader();
        assert_eq!(store.next_ticket(), 40);
        assert_eq!(reader.totals().unwrap(), counted(shares.clone()));
        assert_eq!(reader.recent(3).unwrap(), [sample(39), sample(38), sample(37)]);
        assert_eq!(reader.recent(usize::MAX).unwrap().len(), 35);
        assert_eq!(reader.blocks(usize::MAX).unwrap(), [sample(33), sample(22), sample(11)]);
        assert!(reader.contains(&sample(5)).unwrap());
        assert!(!reader.contains(&sample(4)).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the draft is gone");
    }

    #[test]
    fn a_share_is_counted_once_also_across_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shares");
        open(&path).append(&[sample(0), Share { ticket: 1, ..sample(0) }, sample(2)]).unwrap();
        let mut store = open(&path);
        let appended = store.append(&[Share { ticket: 3, ..sample(2) }, sample(4), Share { ticket: 5, ..sample(0) }]);
        assert_eq!(appended.unwrap(), Appended { last: Some(5), duplicates: vec![3, 5] });
        let totals = store.reader().totals().unwrap();
        assert_eq!(totals, counted([sample(0), sample(2), sample(4)]));
        let difficulty = |account: &[u8]| totals[account].difficulty().to_string();
        assert_eq!([difficulty(b"farm1.worker"), difficulty(b"farm2.worker")], ["4", "2"]);
        assert_eq!(store.next_ticket(), 6, "a duplicate uses up its ticket");
    }

    #[test]
    fn tickets_have_to_rise() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(&directory.path().join("shares"));
        store.append(&[sample(7)]).unwrap();
        for batch in [vec![sample(7)], vec![sample(6)], vec![sample(9), sample(8)], vec![sample(9), sample(9)]] {
            let error = store.append(&batch).unwrap_err();
            assert!(matches!(error.problem, Problem::TicketOrder { .. }), "{error}");
        }
        assert_eq!(store.reader().recent(9).unwrap(), [sample(7)], "nothing of a refused batch is stored");
        store.append(&[sample(8)]).unwrap();
    }

    #[test]
    fn a_lowered_retention_is_reached_step_by_step_and_changes_no_total() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shares");
        let shares: Vec<_> = (0..3_000).map(sample).collect();
        open(&path).append(&shares).unwrap();
        let mut store = Store::open(&path, Retention { shares: 10 }).unwrap();
        for (ticket, left) in
            [(3_000, 3_001 - 1 - CUT_AT_ONCE), (3_001, 3_000 - 2 * (1 + CUT_AT_ONCE) + 2), (3_002, 10)]
        {
            store.append(&[sample(ticket)]).unwrap();
            assert_eq!(store.reader().recent(usize::MAX).unwrap().len(), left);
        }
        assert_eq!(store.reader().totals().unwrap(), counted((0..3_003).map(sample)));
        assert_eq!(store.reader().blocks(usize::MAX).unwrap().len(), 273, "blocks stay");
        assert!(!store.reader().contains(&sample(0)).unwrap());
        assert!(store.reader().contains(&sample(2_993)).unwrap());
    }

    #[test]
    fn a_second_opener_is_told_that_the_store_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shares");
        let _first = open(&path);
        let error = Store::open(&path, Retention::default()).unwrap_err();
        assert!(matches!(error.problem, Problem::Locked), "{error:?}");
        assert!(
            error.to_string().contains("another process has it open, a pool that runs say; stop that one"),
            "{error}"
        );
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn another_program_s_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        for content in [&b"# not a store at all\n"[..], b"", &[0; 9_000]] {
            fs::write(&path, content).unwrap();
            let error = Store::open(&path, Retention::default()).unwrap_err();
            assert!(matches!(error.problem, Problem::NotAStore), "{error:?}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        // One of the same library, but not of this program.
        fs::remove_file(&path).unwrap();
        drop(Database::create(&path).unwrap());
        let error = Store::open(&path, Retention::default()).unwrap_err();
        assert!(matches!(error.problem, Problem::NotAStore), "{error:?}");
    }

    #[test]
    fn a_newer_layout_is_refused_with_both_versions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shares");
        drop(open(&path));
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("schema", SCHEMA + 1).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = Store::open(&path, Retention::default()).unwrap_err();
        assert!(error.to_string().contains("layout 2, this one knows up to 1"), "{error}");
    }

    #[test]
    fn a_missing_directory_is_named_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let error = Store::open(&directory.path().join("none/shares"), Retention::default()).unwrap_err();
        assert!(error.to_string().contains("create its directory"), "{error}");
        let error = Store::open(directory.path(), Retention::default()).unwrap_err();
        assert!(matches!(error.problem, Problem::Io(_)), "{error:?}");
    }

    /// Every page is behind a checksum, and redb's panics on damage are caught.
    #[test]
    fn a_cut_file_or_a_flipped_bit_is_noticed_or_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shares");
        let shares: Vec<_> = (0..1_000).map(sample).collect();
        open(&path).append(&shares).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut noticed = 0;
        for at in (0..whole.len()).step_by(1_499) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, &damaged).unwrap();
            match Store::open(&path, Retention::default()) {
                Err(error) => {
                    let problem = &error.problem;
                    assert!(
                        matches!(problem, Problem::Corrupt(_) | Problem::Repaired | Problem::NotAStore),
                        "{at}: {error}"
                    );
                    noticed += 1;
                }
                Ok(store) => {
                    assert!(store.reader().recent(usize::MAX).unwrap().iter().rev().eq(&shares), "{at}");
                    assert_eq!(store.reader().totals().unwrap(), counted(shares.clone()), "{at}");
                }
            }
        }
        assert!(noticed > 50, "{noticed}");
        for len in [10, 100, 4_096, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..len]).unwrap();
            let problem = Store::open(&path, Retention::default()).unwrap_err().problem;
            assert!(matches!(problem, Problem::Corrupt(_) | Problem::NotAStore), "{len}: {problem:?}");
        }
    }

    #[test]
    fn values_that_are_not_shares_are_reported_with_their_ticket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shares");
        open(&path).append(&[sample(0), sample(1)]).unwrap();
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(JOURNAL).unwrap().insert(1, &[1, 2, 3][..]).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = open(&path).reader().recent(2).unwrap_err();
        assert!(error.to_string().contains("ticket 1 can't be read"), "{error}");
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(JOURNAL).unwrap().remove(1).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = Store::open(&path, Retention::default()).unwrap_err();
        assert!(error.to_string().contains("contradict each other"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Against a model: any batches, any repeats, any retention, opened anew now and then.
        #[test]
        fn the_store_agrees_with_a_plain_list(
            batches in prop::collection::vec((prop::collection::vec(0_u64..60, 0..12), any::<bool>()), 1..12),
            kept in 0_u64..30,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("shares");
            let mut store = Store::open(&path, Retention { shares: kept }).unwrap();
            let mut journal: Vec<Share> = Vec::new();
            let mut ever: Vec<Share> = Vec::new();
            for (batch, reopen) in batches {
                let first = store.next_ticket();
                let shares: Vec<_> = batch.iter().enumerate().map(|(i, &seed)| Share { ticket: first + i as u64, ..sample(seed) }).collect();
                let mut duplicates = Vec::new();
                for share in &shares {
                    if journal.iter().any(|known| known.hash == share.hash) {
                        duplicates.push(share.ticket);
                    } else {
                        journal.push(share.clone());
                        ever.push(share.clone());
                    }
                }
                if !shares.is_empty() {
                    journal.drain(..journal.len().saturating_sub(kept as usize));
                }
                prop_assert_eq!(store.append(&shares).unwrap().duplicates, duplicates);
                if reopen {
                    drop(store);
                    store = Store::open(&path, Retention { shares: kept }).unwrap();
                }
                let mut recent = store.reader().recent(usize::MAX).unwrap();
                recent.reverse();
                prop_assert_eq!(&recent, &journal);
                prop_assert_eq!(store.reader().totals().unwrap(), counted(ever.clone()));
            }
        }
    }
}
