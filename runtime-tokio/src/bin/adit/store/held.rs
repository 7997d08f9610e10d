//! Found blocks on their way to the provider: on disk with their share, from when they are found until they are of no use any more, so that no end of
//! the pool, SIGKILL included, loses one.

use std::sync::Arc;

use adit_tokio::pool::KeptBlock;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::error::{Problem, StoreError};
use super::fate::{self, Fate};
use super::file::Store;

/// Template, block before, version, time and nonce, whether it was told, coinbase.
type Row<'a> = (u64, &'a [u8; 32], (u32, u32, u32), bool, &'a [u8]);

/// The same without whether it was told: none was.
type OldRow<'a> = (u64, &'a [u8; 32], (u32, u32, u32), &'a [u8]);

/// Ticket of its share to the block. Stores of earlier versions do not have the table.
const HELD: TableDefinition<'_, u64, Row<'_>> = TableDefinition::new("held");

/// What earlier versions wrote when a pool ended: place in the list to the block.
const UNSENT: TableDefinition<'_, u64, OldRow<'_>> = TableDefinition::new("unsent");

/// What the pool still holds: of the blocks up to a ticket, no others are of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The ticket. Blocks of later shares are none of this list's business.
    pub(crate) upto: u64,
    /// The blocks.
    pub(crate) held: Vec<KeptBlock>,
    /// What became of blocks since this was told last, by their shares' tickets.
    pub(crate) fates: Vec<(u64, Fate)>,
}

/// What tells one block from another.
fn id(block: &KeptBlock) -> (&[u8; 32], u32, u32, u32) {
    (&block.prev_hash, block.version, block.header_timestamp, block.header_nonce)
}

/// Adds blocks by the tickets of their shares, then takes out what is not held any more.
pub(super) fn write(
    transaction: &WriteTransaction,
    found: &[(u64, Arc<KeptBlock>)],
    settled: Option<&Settled>,
) -> Result<(), Problem> {
    if found.is_empty() && settled.is_none() {
        return Ok(());
    }
    let mut table = transaction.open_table(HELD)?;
    for (ticket, block) in found {
        table.insert(ticket, row(block))?;
    }
    let Some(Settled { upto, held, fates }) = settled else { return Ok(()) };
    fate::write(transaction, fates)?;
    let mut changed = Vec::new();
    for entry in table.range(..=*upto)? {
        let (ticket, value) = entry?;
        let block = block(value.value());
        match held.iter().find(|held| id(held) == id(&block)) {
            Some(same) if *same == block => {}
            other => changed.push((ticket.value(), other)),
        }
    }
    for (ticket, now) in changed {
        match now {
            Some(now) => drop(table.insert(ticket, row(now))?),
            None => drop(table.remove(ticket)?),
        }
    }
    Ok(())
}

fn row(block: &KeptBlock) -> Row<'_> {
    let header = (block.version, block.header_timestamp, block.header_nonce);
    (block.template_id, &block.prev_hash, header, block.told, &block.coinbase_tx)
}

fn block((template_id, prev_hash, header, told, coinbase_tx): Row<'_>) -> KeptBlock {
    let (version, header_timestamp, header_nonce) = header;
    let (prev_hash, coinbase_tx) = (*prev_hash, coinbase_tx.to_vec());
    KeptBlock { template_id, prev_hash, version, header_timestamp, header_nonce, coinbase_tx, told }
}

impl Store {
    /// The blocks that the last run left, oldest first.
    pub(crate) fn held(&self) -> Result<Vec<KeptBlock>, StoreError> {
        let inner = || -> Result<Vec<KeptBlock>, Problem> {
            let transaction = self.reader().database.begin_read()?;
            let mut blocks = Vec::new();
            match transaction.open_table(UNSENT) {
                Err(TableError::TableDoesNotExist(_)) => {}
                table => {
                    for entry in table?.iter()? {
                        let (_, value) = entry?;
                        let (template_id, prev_hash, header, coinbase_tx) = value.value();
                        blocks.push(block((template_id, prev_hash, header, false, coinbase_tx)));
                    }
                }
            }
            match transaction.open_table(HELD) {
                Err(TableError::TableDoesNotExist(_)) => {}
                table => {
                    for entry in table?.iter()? {
                        blocks.push(block(entry?.1.value()));
                    }
                }
            }
            Ok(blocks)
        };
        inner().map_err(|problem| problem.at(&self.reader().path))
    }

    /// Keeps these instead, and notes what became of others, in one durable transaction. They are fewer than tickets were ever given out, so that the
    /// next share's is free.
    pub(crate) fn hold(&mut self, blocks: &[KeptBlock], fates: &[(u64, Fate)]) -> Result<(), StoreError> {
        let inner = || -> Result<(), Problem> {
            let mut transaction = self.reader().database.begin_write()?;
            // For the same reason as in `append`.
            transaction.set_two_phase_commit(true);
            transaction.delete_table(UNSENT)?;
            {
                let mut table = transaction.open_table(HELD)?;
                table.retain(|_, _| false)?;
                for (place, block) in (0..).zip(blocks) {
                    table.insert(place, row(block))?;
                }
            }
            fate::write(&transaction, fates)?;
            transaction.commit()?;
            Ok(())
        };
        inner().map_err(|problem| problem.at(&self.reader().path))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Retention;
    use super::super::file::Batch;
    use super::super::share::tests::sample;
    use super::*;

    /// A block that differs from others by `nonce`.
    pub(crate) fn held(nonce: u32, told: bool) -> KeptBlock {
        KeptBlock {
            template_id: 1 << 50,
            prev_hash: [3; 32],
            version: 0x2000_0000,
            header_timestamp: 5,
            header_nonce: nonce,
            coinbase_tx: vec![7; 200 + nonce as usize % 7],
            told,
        }
    }

    fn open(directory: &tempfile::TempDir) -> Store {
        Store::open(&directory.path().join("shares"), Retention::default()).unwrap()
    }

    #[test]
    fn blocks_outlive_the_process_and_are_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(&directory);
        assert_eq!(store.held().unwrap(), [], "a store that never had any");
        store.append(&[sample(1)]).unwrap();
        let blocks = [held(1, false), held(2, true), held(3, false)];
        store.hold(&blocks, &[]).unwrap();
        drop(store);
        let mut store = open(&directory);
        assert_eq!(store.held().unwrap(), blocks);
        assert_eq!(store.next_ticket(), 2, "shares are where they were");
        store.hold(&blocks[2..], &[]).unwrap();
        assert_eq!(store.held().unwrap(), blocks[2..]);
        store.hold(&[], &[]).unwrap();
        drop(store);
        assert_eq!(open(&directory).held().unwrap(), []);
    }

    #[test]
    fn a_block_is_there_with_its_share_until_it_is_settled() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(&directory);
        let shares: Vec<_> = (1..=4).map(sample).collect();
        let found = [(2, Arc::new(held(2, false))), (4, Arc::new(held(4, false)))];
        store.append(Batch { shares: &shares, found: &found, settled: None }).unwrap();
        assert_eq!(store.held().unwrap(), [held(2, false), held(4, false)]);
        // The pool looked when the fourth had not come yet.
        let settle = |upto, held: &[KeptBlock]| Settled { upto, held: held.to_vec(), fates: Vec::new() };
        let look = settle(3, &[held(2, true)]);
        assert_eq!(store.append(Batch { settled: Some(&look), ..Batch::default() }).unwrap().last, Some(4));
        assert_eq!(store.held().unwrap(), [held(2, true), held(4, false)]);
        // Found and settled in one transaction.
        let (found, look) = ([(5, Arc::new(held(5, false)))], settle(5, &[held(5, true)]));
        store.append(Batch { shares: &[sample(5)], found: &found, settled: Some(&look) }).unwrap();
        assert_eq!(store.held().unwrap(), [held(5, true)]);
    }

    #[test]
    fn what_an_earlier_version_left_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = open(&directory);
        let transaction = store.reader().database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(UNSENT).unwrap();
            let KeptBlock { template_id, prev_hash, coinbase_tx, .. } = held(1, false);
            table.insert(0, (template_id, &prev_hash, (0x2000_0000, 5, 1), coinbase_tx.as_slice())).unwrap();
        }
        transaction.commit().unwrap();
        assert_eq!(store.held().unwrap(), [held(1, false)]);
        store.hold(&[held(1, false)], &[]).unwrap();
        assert_eq!(store.held().unwrap(), [held(1, false)], "once");
    }
}
