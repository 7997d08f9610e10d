//! What became of found blocks, as far as the pool has seen it.

use std::collections::BTreeMap;

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::error::{Problem, StoreError};
use super::reader::Reader;
use super::share::Share;

/// Ticket of its share to what became of the block. Stores of earlier versions do not have the table, and what they hold is not known.
const FATES: TableDefinition<'_, u64, u8> = TableDefinition::new("fates");

/// What became of a found block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The provider has built on it.
    Confirmed,
    /// The provider has built on another one of its height. It may be confirmed yet, should the network change its mind.
    Stale,
}

impl Fate {
    const fn byte(self) -> u8 {
        match self {
            Self::Confirmed => 1,
            Self::Stale => 2,
        }
    }

    /// What a later version may know besides is not known here.
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Confirmed),
            2 => Some(Self::Stale),
            _ => None,
        }
    }
}

/// Notes them, the last word on each; what was confirmed stays so.
pub(super) fn write(transaction: &WriteTransaction, fates: &[(u64, Fate)]) -> Result<(), Problem> {
    if fates.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(FATES)?;
    for (ticket, fate) in fates {
        let known = table.get(ticket)?.and_then(|known| Fate::of(known.value()));
        if known != Some(Fate::Confirmed) {
            table.insert(ticket, fate.byte())?;
        }
    }
    Ok(())
}

impl Reader {
    /// The newest blocks as [`blocks`](Self::blocks) gives them, each with what became of it where that is known.
    pub(crate) fn fates(&self, limit: usize) -> Result<Vec<(Share, Option<Fate>)>, StoreError> {
        let inner = || -> Result<BTreeMap<u64, Fate>, Problem> {
            let mut fates = BTreeMap::new();
            match self.database.begin_read()?.open_table(FATES) {
                Err(TableError::TableDoesNotExist(_)) => {}
                table => {
                    for entry in table?.iter()? {
                        let (ticket, fate) = entry?;
                        fates.extend(Fate::of(fate.value()).map(|fate| (ticket.value(), fate)));
                    }
                }
            }
            Ok(fates)
        };
        let fates = inner().map_err(|problem| problem.at(&self.path))?;
        let blocks = self.blocks(limit)?;
        let with_fate = |share: Share| {
            let fate = fates.get(&share.ticket).copied();
            (share, fate)
        };
        Ok(blocks.into_iter().map(with_fate).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::{Batch, Store};
    use super::super::share::tests::sample;
    use super::super::{Retention, Settled};
    use super::*;

    fn known(store: &Store) -> Vec<(u64, Option<Fate>)> {
        store.reader().fates(9).unwrap().into_iter().map(|(share, fate)| (share.ticket, fate)).collect()
    }

    #[test]
    fn fates_outlive_the_process_and_a_confirmed_block_stays_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shares");
        let mut store = Store::open(&path, Retention::default()).unwrap();
        let blocks: Vec<_> = (1..=4).map(|ticket| Share { block: true, ..sample(ticket) }).collect();
        store.append(&blocks).unwrap();
        assert_eq!(known(&store), [(4, None), (3, None), (2, None), (1, None)], "a store that never had any");
        let mut note = |fates: &[(u64, Fate)]| {
            let settled = Settled { upto: 4, held: Vec::new(), fates: fates.to_vec() };
            store.append(Batch { settled: Some(&settled), ..Batch::default() }).unwrap();
        };
        note(&[(1, Fate::Stale), (2, Fate::Confirmed)]);
        note(&[(2, Fate::Stale), (1, Fate::Confirmed), (3, Fate::Stale)]);
        drop(store);
        let store = Store::open(&path, Retention::default()).unwrap();
        let expected = [(4, None), (3, Some(Fate::Stale)), (2, Some(Fate::Confirmed)), (1, Some(Fate::Confirmed))];
        assert_eq!(known(&store), expected);
    }
}
