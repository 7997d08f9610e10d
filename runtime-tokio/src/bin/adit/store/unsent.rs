//! Found blocks that the provider has not taken: kept when a pool ends, handed over by the next run.

use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::error::{Problem, StoreError};
use super::file::Store;

/// Template, block before, version, time and nonce, coinbase.
type Row<'a> = (u64, &'a [u8; 32], (u32, u32, u32), &'a [u8]);

/// Place in the list to [`Unsent`]. Stores of earlier versions do not have the table.
const UNSENT: TableDefinition<'_, u64, Row<'_>> = TableDefinition::new("unsent");

/// A found block without the transactions of its template, which the provider has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsent {
    /// The provider's template.
    pub(crate) template_id: u64,
    /// The block that it builds on, in raw SHA-256 order.
    pub(crate) prev_hash: [u8; 32],
    /// The header's version.
    pub(crate) version: u32,
    /// The header's time.
    pub(crate) ntime: u32,
    /// The header's nonce.
    pub(crate) nonce: u32,
    /// The coinbase transaction as it opens the block.
    pub(crate) coinbase_tx: Vec<u8>,
}

impl Store {
    /// The blocks that the last run left, oldest first.
    pub(crate) fn unsent(&self) -> Result<Vec<Unsent>, StoreError> {
        let inner = || -> Result<Vec<Unsent>, Problem> {
            let table = match self.reader().database.begin_read()?.open_table(UNSENT) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut blocks = Vec::new();
            for entry in table.iter()? {
                let (_, value) = entry?;
                let (template_id, prev_hash, (version, ntime, nonce), coinbase_tx) = value.value();
                let (prev_hash, coinbase_tx) = (*prev_hash, coinbase_tx.to_vec());
                blocks.push(Unsent { template_id, prev_hash, version, ntime, nonce, coinbase_tx });
            }
            Ok(blocks)
        };
        inner().map_err(|problem| problem.at(&self.reader().path))
    }

    /// Keeps these instead, in one durable transaction.
    pub(crate) fn keep_unsent(&mut self, blocks: &[Unsent]) -> Result<(), StoreError> {
        let inner = || -> Result<(), Problem> {
            let mut transaction = self.reader().database.begin_write()?;
            // For the same reason as in `append`.
            transaction.set_two_phase_commit(true);
            {
                let mut table = transaction.open_table(UNSENT)?;
                table.retain(|_, _| false)?;
                for (place, block) in (0..).zip(blocks) {
                    let header = (block.version, block.ntime, block.nonce);
                    table.insert(place, (block.template_id, &block.prev_hash, header, block.coinbase_tx.as_slice()))?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        inner().map_err(|problem| problem.at(&self.reader().path))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Retention;
    use super::super::share::tests::sample;
    use super::*;

    fn block(nonce: u32) -> Unsent {
        let coinbase_tx = vec![7; 200 + nonce as usize];
        Unsent { template_id: 1 << 50, prev_hash: [3; 32], version: 0x2000_0000, ntime: 5, nonce, coinbase_tx }
    }

    #[test]
    fn unsent_blocks_outlive_the_process_and_are_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shares");
        let open = || Store::open(&path, Retention::default()).unwrap();
        let mut store = open();
        assert_eq!(store.unsent().unwrap(), [], "a store that never had any");
        store.append(&[sample(1)]).unwrap();
        let blocks = [block(1), block(2), block(3)];
        store.keep_unsent(&blocks).unwrap();
        drop(store);
        let mut store = open();
        assert_eq!(store.unsent().unwrap(), blocks);
        assert_eq!(store.next_ticket(), 2, "shares are where they were");
        store.keep_unsent(&blocks[2..]).unwrap();
        assert_eq!(store.unsent().unwrap(), blocks[2..]);
        store.keep_unsent(&[]).unwrap();
        drop(store);
        assert_eq!(open().unsent().unwrap(), []);
    }
}
