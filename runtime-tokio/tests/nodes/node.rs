//! A Bitcoin node on regtest, started from nothing, killed and started again. It ends with its value.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Block, BlockHash, Transaction, Txid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::house::port;
use crate::process::PATIENCE;
use crate::rpc::Rpc;

/// The password of bcoin's API; any name goes with it.
const PASSWORD: &str = "secret";

/// Where blocks that are made by the node itself pay: nobody's key.
const ELSEWHERE: &str = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// npm's bcoin. Its chain is in memory, so a restart begins anew.
    Bcoin,
    /// Bitcoin Core.
    Core,
}

pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// bcoin: the directory with `node.js` and what npm installed. Core: the program.
    what: PathBuf,
    directory: TempDir,
    port: u16,
    /// Nobody else's port as long as this lives.
    _lock: File,
    rpc: Rpc,
    child: Option<Child>,
}

impl Node {
    /// A node that is not running yet.
    pub(crate) fn new(kind: Kind, what: &str) -> Self {
        let what = std::fs::canonicalize(what).unwrap_or_else(|error| panic!("{what}: {error}"));
        let (port, lock) = port();
        let directory = tempfile::tempdir().unwrap();
        Self { kind, what, directory, port, _lock: lock, rpc: Rpc::new(port), child: None }
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none());
        let log = |name: &str| {
            let path = self.directory.path().join(name);
            std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap()
        };
        let mut command = match self.kind {
            Kind::Bcoin => {
                let mut command = Command::new("node");
                command.arg(self.what.join("node.js")).args([&self.port.to_string(), PASSWORD]);
                command
            }
            Kind::Core => {
                let mut command = Command::new(&self.what);
                command
                    .args(["-regtest", "-server", "-listen=0", "-printtoconsole=0"])
                    .args([format!("-datadir={}", self.directory.path().display()), format!("-rpcport={}", self.port)]);
                command
            }
        };
        // A pipe that nobody writes to: bcoin ends when it closes.
        command.stdin(Stdio::piped()).stdout(log("node.log")).stderr(log("node.log"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.child = Some(child);
        let until = Instant::now() + PATIENCE;
        loop {
            let Err(problem) = self.try_call("getblockcount", &json!([])) else { return };
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            let waits = ended.is_none() && Instant::now() < until;
            assert!(waits, "{:?} does not answer ({problem}, {ended:?}):\n{}", self.kind, self.log());
            self.rpc.pause(Duration::from_millis(50));
        }
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        let path = match self.kind {
            Kind::Bcoin => self.directory.path().join("node.log"),
            Kind::Core => self.directory.path().join("regtest/debug.log"),
        };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Takes it away, and waits until it is gone: bcoin by SIGKILL, Core by SIGTERM, for it writes its chain to disk once an hour and when it
    /// ends, and would begin anew like bcoin.
    pub(crate) fn end(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let signal = match self.kind {
            Kind::Bcoin => "KILL",
            Kind::Core => "TERM",
        };
        // The shell has `kill` built in.
        let number = child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -$0 $1", signal, &number]).status().unwrap().success());
        child.wait().unwrap();
    }

    /// Whether the chain outlives a restart.
    pub(crate) fn keeps_chain(&self) -> bool {
        self.kind == Kind::Core
    }

    /// Changes to the provider's example that put it on this node.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let mut changes = vec![
            ("[chain]".to_owned(), "[node]".to_owned()),
            ("hashes_per_block = 8388608".into(), format!("url = \"http://127.0.0.1:{}\"", self.port)),
        ];
        changes.push((
            "refresh_secs = 30".into(),
            match self.kind {
                Kind::Bcoin => format!("user = \"any\"\npassword = \"{PASSWORD}\""),
                Kind::Core => format!("cookie_file = \"{}\"", self.cookie().display()),
            },
        ));
        changes
    }

    fn cookie(&self) -> PathBuf {
        self.directory.path().join(Path::new("regtest/.cookie"))
    }

    fn try_call(&self, method: &str, params: &Value) -> Result<Value, String> {
        let user = match self.kind {
            Kind::Bcoin => format!("any:{PASSWORD}"),
            Kind::Core => std::fs::read_to_string(self.cookie()).map_err(|error| format!("cookie: {error}"))?,
        };
        self.rpc.call(&user, method, params)
    }

    /// Calls the node, which has to take it.
    pub(crate) fn call(&self, method: &str, params: &Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub(crate) fn height(&self) -> u32 {
        number(&self.call("getblockcount", &json!([])))
    }

    /// The hash in the best chain.
    pub(crate) fn hash_at(&self, height: u32) -> BlockHash {
        text(&self.call("getblockhash", &json!([height]))).parse().unwrap()
    }

    pub(crate) fn block(&self, hash: BlockHash) -> Block {
        deserialize_hex(text(&self.call("getblock", &json!([hash.to_string(), false])))).unwrap()
    }

    /// Makes the node mine a block on its tip, as another miner would. Gives hash and height.
    pub(crate) fn mine_one(&self) -> (BlockHash, u32) {
        let made = match self.kind {
            Kind::Bcoin => self.call("generate", &json!([1])),
            Kind::Core => self.call("generatetoaddress", &json!([1, ELSEWHERE])),
        };
        let hash = text(&made[0]);
        let header = self.call("getblockheader", &json!([hash, true]));
        (hash.parse().unwrap(), number(&header["height"]))
    }

    /// Hands a transaction to the mempool.
    pub(crate) fn send(&self, transaction: &Transaction) -> Txid {
        let raw = bitcoin::consensus::encode::serialize_hex(transaction);
        text(&self.call("sendrawtransaction", &json!([raw]))).parse().unwrap()
    }

    /// Transactions that wait.
    pub(crate) fn mempool(&self) -> Vec<Txid> {
        let waiting = self.call("getrawmempool", &json!([]));
        waiting.as_array().unwrap().iter().map(|id| text(id).parse().unwrap()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // In vain when it has ended.
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("{value} is no height"))
}
