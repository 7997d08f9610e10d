//! The command line: what each subcommand takes. No behaviour lives here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Stratum V2: provider, pool and miner in one program.
#[derive(Debug, Parser)]
#[command(name = "adit", version, propagate_version = true)]
pub(crate) struct Arguments {
    /// What to run.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Which log lines to print, in the syntax of `RUST_LOG` (`info`, `adit::host=debug`, ...). They go to standard error.
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Template provider, pool and miners in one process, over loopback TCP and Noise, until blocks are found.
    Demo(DemoArguments),
    /// Pool: takes templates from a provider, gives jobs to devices, counts their shares.
    #[command(override_usage = "adit pool --config <FILE> [--json]\n       adit pool --example > <FILE>")]
    Pool(RoleArguments),
    /// Miner: a mining device that hashes on this machine's cores.
    #[command(override_usage = "adit miner --config <FILE> [--json]\n       adit miner --example > <FILE>")]
    Miner(RoleArguments),
    /// Template provider: an embedded regtest chain, or a Bitcoin node over JSON-RPC.
    #[command(override_usage = "adit provider --config <FILE> [--json]\n       adit provider --example > <FILE>")]
    Provider(RoleArguments),
    /// Shows what a pool's share store holds. The pool must not be running.
    Shares(SharesArguments),
    /// Makes an authority key pair, or shows the public key of a secret one.
    Keys(KeysArguments),
}

/// `adit demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// How many blocks to find at least before the demo ends.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) blocks: u32,
    /// How many devices mine, each with its own connection; the cores are shared between them.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) devices: u16,
    /// Hashing threads in all; 0 means one for each core.
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Hashes a block takes on average. Left out, as many as this machine does in three seconds.
    #[arg(long, value_name = "HASHES", value_parser = clap::value_parser!(u64).range(2..=1 << 40))]
    pub(crate) hashes_per_block: Option<u64>,
    /// One JSON object a line on standard output; the last one is the summary.
    #[arg(long)]
    pub(crate) json: bool,
    /// Plain lines even in a terminal.
    #[arg(long, conflicts_with = "json")]
    pub(crate) plain: bool,
    /// Writes each block of the chain, the found ones and those before them, as HEIGHT.hex into this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) blocks_dir: Option<PathBuf>,
    /// Keeps the pool's share store here instead of in a temporary directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,
    /// Gives up after this many seconds, with exit status 1.
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) time_limit: u64,
}

/// `adit pool`, `adit miner`, `adit provider`.
#[derive(Debug, Args)]
pub(crate) struct RoleArguments {
    /// The configuration, a TOML file.
    #[arg(long, short, value_name = "FILE", required_unless_present_any = ["file", "example"])]
    pub(crate) config: Option<PathBuf>,
    /// The same without `--config`. People try it, and nothing else is meant by it; one way is enough to be told of.
    #[arg(value_name = "FILE", conflicts_with = "config", hide = true)]
    pub(crate) file: Option<PathBuf>,
    /// Prints an example configuration with every setting explained, and ends.
    #[arg(long, exclusive = true)]
    pub(crate) example: bool,
    /// One JSON object a line on standard output instead of plain lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `adit keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArguments {
    /// Shows the public key of the secret key in this file instead of making a new pair.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Takes the secret key in this file, which an earlier version wrote without saying that it is one, instead of making a new pair.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub(crate) convert: Option<PathBuf>,
    /// Writes the secret key to this file, readable by its owner only, instead of printing it.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub(crate) out: Option<PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `adit shares`.
#[derive(Debug, Args)]
pub(crate) struct SharesArguments {
    /// The store, as the pool's configuration names it.
    pub(crate) store: PathBuf,
    /// Shows this many of the newest shares one by one too.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub(crate) recent: usize,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}
