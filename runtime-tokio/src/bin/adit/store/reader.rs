//! Reading the store beside its writer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::error::{Problem, StoreError};
use super::file::{BLOCKS, JOURNAL, TOTALS};
use super::share::Share;

/// What one account has earned since the store was created, including shares that have left the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    /// Accepted shares.
    pub(crate) shares: u64,
    /// Sum of their work, in expected hashes.
    pub(crate) work: u128,
}

impl Total {
    /// The sum of the shares' difficulty.
    #[expect(clippy::cast_precision_loss, reason = "a figure to show; the exact sum is `work`")]
    pub(crate) fn difficulty(self) -> f64 {
        self.work as f64 / 4_294_967_296.0
    }
}

/// Reads the store. Cheap to clone; each call sees the last commit and does not hold up the writer.
///
/// The file stays locked against other processes while any reader of it lives.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(super) database: Arc<Database>,
    pub(super) path: Arc<Path>,
}

impl Reader {
    /// The totals of all accounts, by their names as they stood on the wire.
    pub(crate) fn totals(&self) -> Result<BTreeMap<Box<[u8]>, Total>, StoreError> {
        self.read(|transaction| {
            let mut totals = BTreeMap::new();
            for entry in transaction.open_table(TOTALS)?.iter()? {
                let (account, total) = entry?;
                let (shares, work) = total.value();
                totals.insert(account.value().into(), Total { shares, work });
            }
            Ok(totals)
        })
    }

    /// The newest shares of the journal, newest first, at most `limit`.
    pub(crate) fn recent(&self, limit: usize) -> Result<Vec<Share>, StoreError> {
        self.newest(JOURNAL, limit)
    }

    /// The newest shares that were blocks, newest first, at most `limit`. They stay when the journal is cut.
    pub(crate) fn blocks(&self, limit: usize) -> Result<Vec<Share>, StoreError> {
        self.newest(BLOCKS, limit)
    }

    #[cfg(test)]
    /// Whether a share with the same header is in the journal, under whatever ticket.
    pub(crate) fn contains(&self, share: &Share) -> Result<bool, StoreError> {
        self.read(|transaction| {
            Ok(transaction.open_table(super::file::INDEX)?.get((share.ntime, &share.hash))?.is_some())
        })
    }

    fn newest(
        &self,
        table: redb::TableDefinition<'_, u64, &'static [u8]>,
        limit: usize,
    ) -> Result<Vec<Share>, StoreError> {
        self.read(|transaction| {
            let mut shares = Vec::new();
            for entry in transaction.open_table(table)?.iter()?.rev().take(limit) {
                let (ticket, bytes) = entry?;
                shares.push(Share::decode(ticket.value(), bytes.value())?);
            }
            Ok(shares)
        })
    }

    fn read<T>(&self, body: impl FnOnce(&redb::ReadTransaction) -> Result<T, Problem>) -> Result<T, StoreError> {
        let inner = || body(&self.database.begin_read()?);
        inner().map_err(|problem| problem.at(&self.path))
    }
}
