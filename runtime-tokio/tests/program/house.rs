//! A directory with the configuration of a provider, a pool and miners, made as a person makes it: keys by `adit keys`, files from
//! `--example` with some lines changed.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use crate::process::{Program, run};

/// Hashes that a block takes when none is to be found: far more than any test does.
pub(crate) const NEVER: u64 = 1 << 60;

/// The public half of an authority key pair by `adit keys`; the other half is in this new file.
pub(crate) fn key(directory: &Path, file: &str) -> String {
    let made = run(directory, &["keys", "--out", file, "--json"]).well();
    made.events()[0]["public_key"].as_str().unwrap().to_owned()
}

/// The directory, and where the servers in it listen.
pub(crate) struct House {
    directory: TempDir,
    pub(crate) provider_port: u16,
    pub(crate) pool_port: u16,
    pub(crate) pool_key: String,
    /// Nobody else's as long as this lives.
    _ports: [File; 2],
}

impl House {
    /// `provider.toml` and `pool.toml`. A block takes `hashes_per_block` on average, a share about 4,300 at first.
    pub(crate) fn new(hashes_per_block: u64) -> Self {
        Self::with_provider(&[
            ("# directory = \"chain\"", "directory = \"chain\""),
            ("hashes_per_block = 8388608", &format!("hashes_per_block = {hashes_per_block}")),
        ])
    }

    /// The same with these changes to the provider's example.
    pub(crate) fn with_provider(changes: &[(&str, &str)]) -> Self {
        let pool = [
            ("per_minute = 6.0", "per_minute = 6000.0"),
            ("# minimum_difficulty = 0.0001", "minimum_difficulty = 0.000001"),
        ];
        Self::with(changes, &pool)
    }

    /// As a newcomer makes it: the examples with nothing changed but keys and ports.
    pub(crate) fn as_shown() -> Self {
        Self::with(&[], &[])
    }

    fn with(of_provider: &[(&str, &str)], of_pool: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (provider_key, pool_key) = (key(directory.path(), "provider.key"), key(directory.path(), "pool.key"));
        let ((provider_port, provider), (pool_port, pool)) = (port(), port());
        let house = Self { directory, provider_port, pool_port, pool_key, _ports: [provider, pool] };
        let listen = format!("127.0.0.1:{}", house.provider_port);
        let mut provider = vec![("127.0.0.1:8442", listen.as_str())];
        provider.extend(of_provider);
        house.configure("provider", "provider", &provider);
        let listen = format!("127.0.0.1:{}", house.pool_port);
        let mut pool = vec![("127.0.0.1:3333", listen.as_str())];
        let provider = format!("127.0.0.1:{}", house.provider_port);
        pool.extend([("127.0.0.1:8442", provider.as_str()), ("REPLACE-WITH-THE-PROVIDER-KEY", &provider_key)]);
        pool.extend(of_pool);
        house.configure("pool", "pool", &pool);
        house
    }

    /// `NAME.toml` for a miner of this user with one thread, that expects this key of the pool.
    pub(crate) fn configure_miner(&self, name: &str, user: &str, pool_key: &str) {
        self.configure(
            "miner",
            name,
            &[
                ("127.0.0.1:3333", &format!("127.0.0.1:{}", self.pool_port)),
                ("REPLACE-WITH-THE-POOL-KEY", pool_key),
                ("account.worker", user),
                ("threads = 0", "threads = 1"),
            ],
        );
    }

    /// Writes `NAME.toml`: the role's example, in which each of these is changed.
    fn configure(&self, role: &str, name: &str, changes: &[(&str, &str)]) {
        let mut text = run(self.path(), &[role, "--example"]).well().lines.join("\n");
        for (from, to) in changes {
            assert!(text.contains(from), "the example of {role} has no {from:?}");
            text = text.replace(from, to);
        }
        std::fs::write(self.file(name), text).unwrap();
    }

    /// Writes `TO.toml`: what is in `FROM.toml`, with this changed.
    pub(crate) fn vary(&self, from: &str, to: &str, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.file(from)).unwrap();
        assert!(text.contains(old), "{from}.toml has no {old:?}");
        std::fs::write(self.file(to), text.replace(old, new)).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.toml"))
    }

    /// The directory in which its programs run.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a role with `NAME.toml`; it tells what happens as JSON.
    pub(crate) fn start(&self, role: &str, name: &str) -> Program {
        Program::start(self.path(), &[role, "--config", &format!("{name}.toml"), "--json"])
    }

    /// Starts the provider, and waits until it listens.
    pub(crate) fn provider(&self) -> Program {
        self.server("provider")
    }

    /// Starts the pool, and waits until it listens.
    pub(crate) fn pool(&self) -> Program {
        self.server("pool")
    }

    fn server(&self, role: &str) -> Program {
        let mut server = self.start(role, role);
        server.event("listening", |event| event["role"] == role);
        server
    }

    /// The lines of `adit shares` about the pool's store.
    pub(crate) fn shares(&self) -> Vec<serde_json::Value> {
        run(self.path(), &["shares", "shares.redb", "--recent", "1000000", "--json"]).well().events()
    }
}

/// A port for a server that is to come back to it. Below those that the system gives to anybody: in between it must stay free, and a client that
/// knocks at a closed port of that range may be given that very port as its own, and meet itself. As long as the lock lives that comes with it, no
/// other run of these tests takes it.
pub(crate) fn port() -> (u16, File) {
    const RANGE: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(RANGE)) as u16;
    let locks = std::env::temp_dir().join("adit-test-ports");
    std::fs::create_dir_all(&locks).unwrap();
    loop {
        // Other numbers than those of another run of these tests at the same time.
        let port = 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(797)) % RANGE;
        let lock = File::create(locks.join(port.to_string())).unwrap();
        if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return (port, lock);
        }
    }
}
