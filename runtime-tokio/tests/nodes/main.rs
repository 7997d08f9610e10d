//! The `adit` program on a real Bitcoin node: `adit provider`, `adit pool` and `adit miner` as processes, one scenario for every kind of node.
//!
//! ```text
//! cargo test -p adit-tokio --test nodes -- bcoin DIRECTORY     npm's bcoin, installed there
//! cargo test -p adit-tokio --test nodes -- core PROGRAM        Bitcoin Core's bitcoind or bitcoin-node
//! ```
//!
//! `.ci/run node` and `.ci/run core` see to the nodes.
#![cfg(unix)]

mod chain;
#[path = "../program/house.rs"]
#[allow(dead_code, reason = "the other target needs the rest of it")]
mod house;
mod node;
#[path = "../program/process.rs"]
#[allow(dead_code, reason = "the other target needs the rest of it")]
mod process;
mod rpc;
mod scenario;
mod wallet;

use std::env;
use std::process::ExitCode;

use crate::node::{Kind, Node};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let node = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bcoin", directory] => Node::new(Kind::Bcoin, directory),
        ["core", program] => Node::new(Kind::Core, program),
        _ => {
            eprintln!("which node? `bcoin DIRECTORY` or `core PROGRAM`");
            return ExitCode::from(2);
        }
    };
    scenario::run(node);
    ExitCode::SUCCESS
}
