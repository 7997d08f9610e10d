//! `adit shares`: what a pool's share store holds, for its operator.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};

use adit_tokio::pool::KeptBlock;
use serde::Serialize;

use crate::args::SharesArguments;
use crate::store::{Fate, Retention, Share, Store, StoreError};

/// Why the store can't be shown.
#[derive(Debug)]
pub(crate) enum SharesError {
    /// There is no such file; nothing is made of it.
    Missing(std::path::PathBuf),
    /// The store.
    Store(StoreError),
    /// Standard output.
    Output(io::Error),
}

impl fmt::Display for SharesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(f, "{}: there is no such file; a pool's `store` setting names it", path.display())
            }
            Self::Store(error) => error.fmt(f),
            Self::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for SharesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Output(error) => Some(error),
            Self::Missing(_) | Self::Store(_) => None,
        }
    }
}

impl From<StoreError> for SharesError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for SharesError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A line of the report.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    /// All shares of one account.
    Account { account: String, shares: u64, difficulty: f64 },
    /// One share of the journal; `fate` of one that is a block.
    Share {
        ticket: u64,
        account: String,
        time: u32,
        difficulty: f64,
        hash: String,
        block: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        fate: Option<&'static str>,
    },
    /// A found block that the provider has not taken, or (`told`) perhaps not; the pool hands it over when it runs.
    BlockUnsent {
        template_id: u64,
        prev_hash: String,
        version: u32,
        ntime: u32,
        nonce: u32,
        told: bool,
        coinbase_tx: String,
    },
    /// Everything together.
    Total {
        accounts: usize,
        shares: u64,
        difficulty: f64,
        /// All that were found: those of the three fates together.
        blocks: usize,
        confirmed: usize,
        stale: usize,
        unknown: usize,
    },
}

impl Line {
    fn unsent(block: KeptBlock) -> Self {
        let KeptBlock { template_id, mut prev_hash, version, header_timestamp, header_nonce, coinbase_tx, told } =
            block;
        prev_hash.reverse();
        let (prev_hash, coinbase_tx) = (hex::encode(prev_hash), hex::encode(coinbase_tx));
        Self::BlockUnsent {
            template_id,
            prev_hash,
            version,
            ntime: header_timestamp,
            nonce: header_nonce,
            told,
            coinbase_tx,
        }
    }

    fn share(share: &Share, fate: Option<Fate>) -> Self {
        let mut hash = share.hash;
        hash.reverse();
        Self::Share {
            ticket: share.ticket,
            account: String::from_utf8_lossy(&share.account).into_owned(),
            time: share.time.as_secs(),
            difficulty: share.difficulty(),
            hash: hex::encode(hash),
            block: share.block,
            fate: share.block.then(|| word(fate)),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::event::Difficulty;
        match self {
            Self::Account { account, shares, difficulty } => {
                write!(f, "{account}: {}, difficulty {} in all", Counted(*shares, "share"), Difficulty(*difficulty))
            }
            Self::Share { ticket, account, time, difficulty, hash, fate, .. } => {
                write!(f, "#{ticket} {time} {account} difficulty {} {hash}", Difficulty(*difficulty))?;
                fate.map_or(Ok(()), |fate| write!(f, ", a block ({fate})"))
            }
            Self::BlockUnsent { template_id, prev_hash, version, ntime, nonce, told, coinbase_tx } => write!(
                f,
                "block {}handed over: template {template_id}, on {prev_hash}, version {version:#x}, time {ntime}, nonce {nonce}, coinbase \
                 {coinbase_tx}",
                if *told { "perhaps not " } else { "not " }
            ),
            Self::Total { accounts, shares, difficulty, blocks, confirmed, stale, unknown } => {
                write!(
                    f,
                    "{}, {}, difficulty {} in all, {} found: {confirmed} confirmed, {stale} stale, {unknown} unknown",
                    Counted(*accounts as u64, "account"),
                    Counted(*shares, "share"),
                    Difficulty(*difficulty),
                    Counted(*blocks as u64, "block")
                )
            }
        }
    }
}

/// So many of something.
struct Counted(u64, &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        write!(f, "{count} {what}{}", if *count == 1 { "" } else { "s" })
    }
}

/// What became of a block, in a word.
const fn word(fate: Option<Fate>) -> &'static str {
    match fate {
        Some(Fate::Confirmed) => "confirmed",
        Some(Fate::Stale) => "stale",
        None => "unknown",
    }
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &SharesArguments) -> Result<(), SharesError> {
    if !arguments.store.exists() {
        return Err(SharesError::Missing(arguments.store.clone()));
    }
    let store = Store::open(&arguments.store, Retention::default())?;
    let reader = store.reader();
    let mut out = io::stdout().lock();
    let mut print = |line: Line| -> Result<(), SharesError> {
        if arguments.json {
            serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
            Ok(writeln!(out)?)
        } else {
            Ok(writeln!(out, "{line}")?)
        }
    };
    let fates: BTreeMap<u64, Option<Fate>> =
        reader.fates(usize::MAX)?.into_iter().map(|(share, fate)| (share.ticket, fate)).collect();
    for share in reader.recent(arguments.recent)?.iter().rev() {
        print(Line::share(share, fates.get(&share.ticket).copied().flatten()))?;
    }
    let totals = reader.totals()?;
    let (mut shares, mut difficulty) = (0, 0.0);
    let accounts = totals.len();
    for (account, total) in totals {
        shares += total.shares;
        difficulty += total.difficulty();
        let account = String::from_utf8_lossy(&account).into_owned();
        print(Line::Account { account, shares: total.shares, difficulty: total.difficulty() })?;
    }
    for block in store.held()? {
        print(Line::unsent(block))?;
    }
    let count = |wanted| fates.values().filter(|fate| **fate == wanted).count();
    let (confirmed, stale, unknown) = (count(Some(Fate::Confirmed)), count(Some(Fate::Stale)), count(None));
    print(Line::Total { accounts, shares, difficulty, blocks: fates.len(), confirmed, stale, unknown })
}
