//! Configuration files of the roles: their shape, their checks, and errors that say what to do.
//! Example files stand in `runtime-tokio/config` and are what `--example` prints.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_tokio::gate::{Gate, GateConfig};
use adit_tokio::rate::Rate;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::payee;
use crate::place::Place;

/// The commented example of each role's file.
pub(crate) mod example {
    /// `adit pool --example`.
    pub(crate) const POOL: &str = include_str!("../../../config/pool.toml");
    /// `adit miner --example`.
    pub(crate) const MINER: &str = include_str!("../../../config/miner.toml");
    /// `adit provider --example`.
    pub(crate) const PROVIDER: &str = include_str!("../../../config/provider.toml");
}

/// Why a configuration can't be used.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    Read(PathBuf, std::io::Error),
    /// It is not the TOML that the role takes.
    Parse {
        /// Where.
        place: String,
        /// What is wrong there.
        problem: String,
    },
    /// It is the configuration of another role, whose subcommand this is.
    OtherRole(PathBuf, &'static str),
    /// A placeholder of the example was left in.
    Placeholder {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The setting.
        setting: String,
    },
    /// A setting has a value that can't be used: which setting, what is wrong, what to do.
    Value {
        /// File and line, once they are known: [`Place::of`].
        place: Option<String>,
        /// The setting, as a dotted path.
        setting: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => {
                write!(f, "can't read {}: {error}. `--example` prints a file to start from", path.display())
            }
            Self::Parse { place, problem } => {
                write!(f, "{place}: {problem}. `--example` prints every setting with what it means")
            }
            Self::OtherRole(path, role) => {
                let path = path.display();
                write!(f, "{path}: this is the configuration of a {role}; did you mean `adit {role} --config {path}`?")
            }
            Self::Placeholder { path, line, setting } => write!(
                f,
                "{}, line {line}: setting `{setting}`: replace the placeholder REPLACE-WITH-... by a key. `adit keys` makes a pair: the secret \
                 half is for the server, the public half for the URL that its clients have",
                path.display()
            ),
            Self::Value { place: Some(place), setting, problem } => {
                write!(f, "{place}: {}: {problem}", Named(setting))
            }
            Self::Value { place: None, setting, problem } => write!(f, "{}: {problem}", Named(setting)),
        }
    }
}

/// A setting, or several with commas between them, as a person is told.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = if self.0.contains(", ") { "s" } else { "" };
        write!(f, "setting{several} `{}`", self.0.replace(", ", "`, `"))
    }
}

impl std::error::Error for ConfigError {}

/// Shorthand for a [`ConfigError::Value`].
pub(crate) fn bad(setting: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value { place: None, setting, problem: problem.into() }
}

/// Reads and parses a role's file. Unknown settings are errors: a misspelt one must not be passed over.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<(T, Place), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read(path.to_owned(), error))?;
    let text = Zeroizing::new(text);
    let parsed = toml::from_str(&text);
    if parsed.is_err()
        && let Some(role) = role_of(&text)
    {
        return Err(ConfigError::OtherRole(path.to_owned(), role));
    }
    if let Some((line, setting)) = placeholder(&text) {
        return Err(ConfigError::Placeholder { path: path.to_owned(), line, setting });
    }
    let place = Place { path: path.to_owned(), text };
    match parsed {
        Ok(config) => Ok((config, place)),
        Err(error) => Err(place.unparsed(&error)),
    }
}

/// The role that would take this file.
fn role_of(text: &str) -> Option<&'static str> {
    fn is<T: DeserializeOwned>(text: &str) -> bool {
        toml::from_str::<T>(text).is_ok()
    }
    let roles = [
        ("pool", is::<PoolConfig> as fn(&str) -> bool),
        ("miner", is::<MinerConfig>),
        ("provider", is::<ProviderConfig>),
    ];
    roles.into_iter().find(|(_, is)| is(text)).map(|(role, _)| role)
}

/// The first line, counted from 1, whose value the example leaves to the person, and its setting.
fn placeholder(text: &str) -> Option<(usize, String)> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with('#'));
    let mut settings = lines.filter_map(|(line, number)| Some((number, line.split_once('=')?)));
    settings
        .find(|(_, (_, value))| value.contains("REPLACE-WITH-"))
        .map(|(number, (name, _))| (number, name.trim().to_owned()))
}

/// A setting that is a secret: never printed, and wiped when it is dropped.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Hidden(Zeroizing<String>);

impl Hidden {
    /// The text, by a name that stands out in review.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// Where a server listens.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format_args!("`listen` is {text:?}: take an address and port such as 127.0.0.1:3333"))
    })
}

/// `adit pool`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PoolConfig {
    #[serde(deserialize_with = "listen")]
    pub(crate) listen: SocketAddr,
    pub(crate) authority_secret_key: Option<Hidden>,
    pub(crate) authority_secret_key_file: Option<PathBuf>,
    #[serde(default = "default_validity")]
    pub(crate) certificate_validity_secs: u32,
    #[serde(default)]
    pub(crate) allow_str2: bool,
    #[serde(default)]
    pub(crate) allow_legacy: bool,
    pub(crate) provider: String,
    pub(crate) store: PathBuf,
    pub(crate) payout: PayoutConfig,
    #[serde(default)]
    pub(crate) shares: SharesConfig,
    #[serde(default)]
    pub(crate) limits: LimitsConfig,
}

/// `[payout]`: who is paid by the coinbase.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayoutConfig {
    pub(crate) network: bitcoin::Network,
    pub(crate) outputs: Vec<PayoutOutput>,
    #[serde(default = "default_tag")]
    pub(crate) tag: String,
}

/// One payout output; the reward is split by weight.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayoutOutput {
    #[serde(deserialize_with = "payee::address")]
    pub(crate) address: bitcoin::Address<bitcoin::address::NetworkUnchecked>,
    #[serde(default = "default_weight")]
    pub(crate) weight: u32,
}

/// `[shares]`: how difficult they are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SharesConfig {
    pub(crate) per_minute: f64,
    /// Left out, see [`PoolConfig::minimum_difficulty`].
    pub(crate) minimum_difficulty: Option<f64>,
}

impl PoolConfig {
    /// What is asked for, else what suits the network: on the main one miners are ASICs, to which variable difficulty gives far more; elsewhere
    /// processors mine too, and blocks may be as easy as the easiest share of an ASIC.
    pub(crate) fn minimum_difficulty(&self) -> f64 {
        self.shares.minimum_difficulty.unwrap_or(match self.payout.network {
            bitcoin::Network::Bitcoin => 1.0,
            _ => 0.0001,
        })
    }
}

/// `[limits]`: what one process takes on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsConfig {
    pub(crate) connections: usize,
    pub(crate) connections_per_address: usize,
    pub(crate) handshakes: usize,
    pub(crate) channels_per_connection: usize,
    /// 0: as many as are asked for.
    pub(crate) channel_opens_per_second: u32,
    /// 0: no limit.
    pub(crate) idle_secs: u32,
    /// 0: no limit.
    pub(crate) messages_per_second: u32,
    pub(crate) message_burst: u32,
    /// 0: no limit.
    pub(crate) shares_per_second: u32,
    pub(crate) share_burst: u32,
}

impl LimitsConfig {
    /// Limits under which nobody could do anything.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let burst = |rate: u32, burst: u32| usize::from(rate == 0 || burst > 0);
        for (setting, value, without) in [
            ("limits.connections", self.connections, "nobody could connect"),
            ("limits.connections_per_address", self.connections_per_address, "nobody could connect"),
            ("limits.handshakes", self.handshakes, "nobody could connect"),
            ("limits.channels_per_connection", self.channels_per_connection, "nobody could mine"),
            ("limits.message_burst", burst(self.messages_per_second, self.message_burst), "nobody could say anything"),
            (
                "limits.share_burst",
                burst(self.shares_per_second, self.share_burst),
                "the first share would close its connection",
            ),
        ] {
            if value == 0 {
                return Err(bad(setting, format!("{without}; take 1 or more, or leave it out")));
            }
        }
        Ok(())
    }

    /// Who is let in.
    pub(crate) fn gate(&self) -> Gate {
        Gate::new(GateConfig {
            connections: self.connections,
            handshakes: self.handshakes,
            handshakes_per_address: self.handshakes.div_ceil(2),
            per_address: self.connections_per_address,
            ..GateConfig::default()
        })
    }

    /// How long a connection may be silent.
    pub(crate) fn idle(&self) -> Option<Duration> {
        (self.idle_secs > 0).then(|| Duration::from_secs(u64::from(self.idle_secs)))
    }

    /// What a link takes of its peer.
    pub(crate) fn frames(&self) -> Option<Rate> {
        let rate = Rate { per_second: self.messages_per_second, burst: self.message_burst.max(1) };
        (rate.per_second > 0).then_some(rate)
    }
}

/// `adit miner`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinerConfig {
    pub(crate) pool: String,
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) threads: usize,
    pub(crate) nominal_hash_rate: Option<f32>,
    #[serde(default = "default_ciphers")]
    pub(crate) ciphers: Vec<CipherName>,
}

/// A cipher as configuration files name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum CipherName {
    /// ChaCha20-Poly1305.
    ChaChaPoly,
    /// AES-256-GCM.
    #[serde(rename = "AESGCM")]
    AesGcm,
}

/// `adit provider`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderConfig {
    #[serde(deserialize_with = "listen")]
    pub(crate) listen: SocketAddr,
    pub(crate) authority_secret_key: Option<Hidden>,
    pub(crate) authority_secret_key_file: Option<PathBuf>,
    #[serde(default = "default_validity")]
    pub(crate) certificate_validity_secs: u32,
    pub(crate) chain: Option<ChainConfig>,
    pub(crate) node: Option<NodeConfig>,
    #[serde(default)]
    pub(crate) limits: ProviderLimits,
}

/// `[limits]` of a provider: nobody has channels or shares there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProviderLimits {
    connections: usize,
    connections_per_address: usize,
    handshakes: usize,
    messages_per_second: u32,
    message_burst: u32,
}

impl Default for ProviderLimits {
    fn default() -> Self {
        let LimitsConfig {
            connections, connections_per_address, handshakes, messages_per_second, message_burst, ..
        } = LimitsConfig::default();
        Self { connections, connections_per_address, handshakes, messages_per_second, message_burst }
    }
}

impl From<ProviderLimits> for LimitsConfig {
    fn from(limits: ProviderLimits) -> Self {
        let ProviderLimits { connections, connections_per_address, handshakes, messages_per_second, message_burst } =
            limits;
        Self { connections, connections_per_address, handshakes, messages_per_second, message_burst, ..Self::default() }
    }
}

/// `[chain]`: the embedded regtest chain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChainConfig {
    pub(crate) directory: Option<PathBuf>,
    #[serde(default = "default_hashes_per_block")]
    pub(crate) hashes_per_block: u64,
    #[serde(default = "default_refresh")]
    pub(crate) refresh_secs: u64,
}

/// `[node]`: a Bitcoin node over JSON-RPC.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeConfig {
    pub(crate) url: String,
    pub(crate) cookie_file: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Hidden>,
    /// Where found blocks are until the node has answered; none keeps them nowhere.
    #[serde(default = "default_blocks_directory")]
    pub(crate) blocks_directory: Option<PathBuf>,
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL either: it may have a password in it, which is refused later only.
        f.debug_struct("NodeConfig").field("cookie_file", &self.cookie_file).finish_non_exhaustive()
    }
}

const fn default_validity() -> u32 {
    86_400
}

fn default_tag() -> String {
    "/adit/".into()
}

const fn default_weight() -> u32 {
    1
}

const fn default_hashes_per_block() -> u64 {
    1 << 23
}

const fn default_refresh() -> u64 {
    30
}

#[allow(clippy::unnecessary_wraps, reason = "what serde asks for")]
fn default_blocks_directory() -> Option<PathBuf> {
    Some("unanswered-blocks".into())
}

fn default_ciphers() -> Vec<CipherName> {
    vec![CipherName::ChaChaPoly, CipherName::AesGcm]
}

impl Default for SharesConfig {
    fn default() -> Self {
        Self { per_minute: 6.0, minimum_difficulty: None }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 1_000,
            handshakes: 256,
            channels_per_connection: 100,
            channel_opens_per_second: 10,
            idle_secs: 600,
            // A share costs a pool 5 µs, so one connection may have a fiftieth of a core.
            messages_per_second: 4_000,
            message_burst: 8_000,
            // A hundred times what variable difficulty aims at with all channels open. The burst is for the seconds until it has set in.
            shares_per_second: 1_000,
            share_burst: 20_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_parses_and_names_all_settings() {
        let pool: PoolConfig = toml::from_str(example::POOL).unwrap();
        assert_eq!(pool.limits, LimitsConfig::default(), "the example shows the defaults");
        pool.limits.check().unwrap();
        LimitsConfig::from(ProviderLimits::default()).check().unwrap();
        assert_eq!(pool.payout.outputs.len(), 1);
        pool.payout.outputs[0].address.clone().require_network(pool.payout.network).unwrap();
        let miner: MinerConfig = toml::from_str(example::MINER).unwrap();
        assert_eq!(miner.ciphers, default_ciphers());
        let provider: ProviderConfig = toml::from_str(example::PROVIDER).unwrap();
        assert!(provider.chain.is_some() && provider.node.is_none());
    }

    #[test]
    fn the_easiest_share_suits_the_network_unless_it_is_said() {
        let of = |changes: &[(&str, &str)]| {
            let text = changes.iter().fold(example::POOL.to_owned(), |text, (from, to)| {
                assert!(text.contains(from), "{from}");
                text.replace(from, to)
            });
            let config: PoolConfig = toml::from_str(&text).unwrap();
            config.minimum_difficulty().to_string()
        };
        assert_eq!(of(&[]), "0.0001");
        let mainnet = ("network = \"regtest\"", "network = \"bitcoin\"");
        assert_eq!(of(&[mainnet]), "1");
        let said = ("# minimum_difficulty = 0.0001", "minimum_difficulty = 0.5");
        assert_eq!([of(&[said]), of(&[said, mainnet])], ["0.5", "0.5"]);
    }

    #[test]
    fn a_placeholder_is_named_with_its_line() {
        let text = "# a = \"REPLACE-WITH-X\"\nuser = \"u\"\npool = \"stratum2+tcp://h/REPLACE-WITH-THE-POOL-KEY\"";
        assert_eq!(placeholder(text), Some((3, "pool".into())));
        assert_eq!(placeholder("# a = \"REPLACE-WITH-X\""), None);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("miner.toml");
        std::fs::write(&path, example::MINER).unwrap();
        let error = load::<MinerConfig>(&path).unwrap_err().to_string();
        assert!(error.contains("setting `pool`: replace the placeholder") && error.contains("adit keys"), "{error}");
    }

    #[test]
    fn a_name_is_no_address_to_listen_at() {
        for (example, address) in [(example::POOL, "127.0.0.1:3333"), (example::PROVIDER, "127.0.0.1:8442")] {
            let text = example.replace(&format!("listen = \"{address}\""), "listen = \"localhost\"");
            let error = if example == example::POOL {
                toml::from_str::<PoolConfig>(&text).unwrap_err().to_string()
            } else {
                toml::from_str::<ProviderConfig>(&text).unwrap_err().to_string()
            };
            assert!(error.contains("\"localhost\": take an address and port such as 127.0.0.1:3333"), "{error}");
        }
    }

    #[test]
    fn limits_can_be_lifted() {
        let lifted: LimitsConfig = toml::from_str("messages_per_second = 0\nshares_per_second = 0").unwrap();
        assert_eq!((lifted.frames(), lifted.shares_per_second), (None, 0));
        assert_eq!(LimitsConfig::default().frames(), Some(Rate { per_second: 4_000, burst: 8_000 }));
    }

    #[test]
    fn limits_that_let_nobody_do_anything_are_named() {
        for setting in [
            "connections",
            "connections_per_address",
            "handshakes",
            "channels_per_connection",
            "message_burst",
            "share_burst",
        ] {
            let limits: LimitsConfig = toml::from_str(&format!("{setting} = 0")).unwrap();
            let error = limits.check().unwrap_err().to_string();
            assert!(error.contains(&format!("`limits.{setting}`")) && error.contains("take 1 or more"), "{error}");
        }
        let lifted: LimitsConfig = toml::from_str("idle_secs = 0\nmessages_per_second = 0\nmessage_burst = 0").unwrap();
        assert_eq!((lifted.check().is_ok(), lifted.idle()), (true, None));
        let error = toml::from_str::<ProviderLimits>("shares_per_second = 1").unwrap_err().to_string();
        assert!(error.contains("shares_per_second"), "a provider has none: {error}");
    }

    #[test]
    fn a_misspelt_setting_is_named_with_its_line() {
        let text = example::MINER.replace("threads = 0", "thread = 0");
        let error = toml::from_str::<MinerConfig>(&text).unwrap_err().to_string();
        assert!(error.contains("thread") && error.contains("line"), "{error}");
    }

    #[test]
    fn a_node_password_is_not_printed() {
        let node = NodeConfig {
            url: "http://127.0.0.1:8332".into(),
            cookie_file: None,
            user: Some("u".into()),
            password: Some("hunter2".to_owned().into()),
            blocks_directory: None,
        };
        assert!(!format!("{node:?}").contains("hunter2"));
        let node = NodeConfig { url: "http://u:hunter2@127.0.0.1:8332".into(), ..node };
        assert!(!format!("{node:?}").contains("hunter2"));
    }

    #[test]
    fn a_secret_key_in_a_configuration_is_not_printed() {
        let inline = |text: &str, file: &str| text.replace(file, "authority_secret_key = \"hunter2\"");
        let pool: PoolConfig =
            toml::from_str(&inline(example::POOL, "authority_secret_key_file = \"pool.key\"")).unwrap();
        let provider: ProviderConfig =
            toml::from_str(&inline(example::PROVIDER, "authority_secret_key_file = \"provider.key\"")).unwrap();
        assert_eq!(pool.authority_secret_key.as_ref().map(Hidden::expose), Some("hunter2"));
        assert_eq!(provider.authority_secret_key.as_ref().map(Hidden::expose), Some("hunter2"));
        assert!(!format!("{pool:?} {provider:?}").contains("hunter2"));
    }

    #[test]
    fn a_missing_file_says_where_to_start() {
        let error = load::<MinerConfig>(Path::new("no-such-file.toml")).unwrap_err().to_string();
        assert!(error.contains("no-such-file.toml") && error.contains("--example"), "{error}");
    }
}
