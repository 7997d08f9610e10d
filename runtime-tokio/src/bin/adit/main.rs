//! The `adit` program: template provider, pool and miner, each alone or all together as a demo.

mod args;
mod blocks;
mod chain;
mod config;
mod demo;
mod disk;
mod event;
mod hash;
mod identity;
mod interrupts;
mod keys;
mod links;
mod miner;
mod node;
mod order;
mod payee;
mod place;
mod pool;
mod provider;
mod remote;
mod report;
mod roles;
mod rolling;
mod shares;
mod source;
mod store;
mod sums;
mod view;

use std::error::Error;
use std::io::{ErrorKind, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let default = match &arguments.command {
        // The demo tells what happens by itself.
        Command::Demo(_) => "error",
        // So do the roles of their links.
        _ => "warn,adit=info,adit::host=warn,adit::host::upstream=error",
    };
    if let Err(problem) = log(arguments.log.as_deref(), default) {
        eprintln!("adit: {problem}");
        return ExitCode::from(2);
    }
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output, `head` say, has seen enough.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.filter_map(|error| error.downcast_ref::<std::io::Error>()).any(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Sends log lines to standard error: what the person asks for, else what `RUST_LOG` says, else `default`.
fn log(asked: Option<&str>, default: &str) -> Result<(), String> {
    let filter = match asked {
        Some(filter) => EnvFilter::try_new(filter).map_err(|error| format!("--log {filter}: {error}"))?,
        None => match std::env::var(EnvFilter::DEFAULT_ENV) {
            Ok(filter) => EnvFilter::try_new(&filter).map_err(|error| format!("RUST_LOG={filter}: {error}"))?,
            Err(_) => EnvFilter::new(default),
        },
    };
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ansi = std::io::stderr().is_terminal() && !plain;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    Ok(())
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match &command {
        Command::Keys(arguments) => return Ok(keys::run(arguments)?),
        Command::Shares(arguments) => return Ok(shares::run(arguments)?),
        Command::Demo(_) | Command::Pool(_) | Command::Miner(_) | Command::Provider(_) => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Demo(arguments) => Ok(demo::run(arguments).await?),
            Command::Pool(arguments) => Box::pin(roles::pool(&arguments)).await,
            Command::Miner(arguments) => Box::pin(roles::miner(&arguments)).await,
            Command::Provider(arguments) => Box::pin(roles::provider(&arguments)).await,
            Command::Keys(_) | Command::Shares(_) => Ok(()),
        }
    });
    // Blocking tasks that are still under way, a long poll say, must not keep the program.
    runtime.shutdown_background();
    outcome
}
