//! `adit pool`, `adit miner`, `adit provider`: from a configuration file to a running role.

use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use adit::connection::SetupPolicy;
use adit::crypto::Secret;
use adit::mining::target::Target;
use adit::noise::x25519::{CipherList, Policy};
use adit::role::pool::ConfigError as RewardError;
use adit::template::coinbase::CoinbaseError;
use adit_tokio::clock::Clock;
use adit_tokio::listen::{ListenError, Listener};
use adit_tokio::shutdown::Shutdown;

use crate::args::RoleArguments;
use crate::chain::{Chain, Embedded, Settings};
use crate::config::{
    self, ChainConfig, ConfigError, Hidden, LimitsConfig, MinerConfig, NodeConfig, PoolConfig, ProviderConfig, bad,
    example,
};
use crate::disk;
use crate::event::Event;
use crate::hash::Method;
use crate::identity::{Issuer, SHORTEST_VALIDITY, authority_secret};
use crate::interrupts::Interrupts;
use crate::keys;
use crate::miner::{self, MinerSettings};
use crate::node::{Health, Node};
use crate::pool::{PoolError, PoolSettings};
use crate::provider::ProviderSettings;
use crate::remote;
use crate::report::{self, Events, Form, Reporter, Told};
use crate::source::TemplateSource;

type Outcome = Result<(), Box<dyn Error>>;

/// How long a role may take to end in order.
const GRACE: Duration = Duration::from_secs(10);

/// The embedded chain of `adit provider`: one and the same for everybody, so that a file fits any later start.
const CHAIN_SEED: [u8; 32] = *b"adit provider's embedded regtest";

/// What to do about a place where nobody can listen.
const LISTEN: &str =
    "take an address of this machine, or 0.0.0.0 for all of them, and a port that no other program has";

/// The longest a provider's chain may wait between templates when refreshing is off: in effect for ever.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What every role has beside its settings.
struct Frame {
    clock: Clock,
    events: Events,
    told: Told,
    reporter: Reporter,
    interrupts: Interrupts,
    shutdown: Shutdown,
}

impl Frame {
    fn new(arguments: &RoleArguments) -> std::io::Result<Self> {
        let (events, told) = Events::channel();
        let form = if arguments.json { Form::Json } else { Form::Lines };
        let (clock, reporter) = (Clock::start(), Reporter::new(form));
        let shutdown = Shutdown::new(clock);
        Ok(Self { clock, events, told, reporter, interrupts: Interrupts::listen()?, shutdown })
    }

    /// Runs a role until it ends, or the person ends it; tells what happens meanwhile.
    async fn drive<E: Error + 'static>(mut self, role: impl Future<Output = Result<(), E>>) -> Outcome {
        drop(self.events);
        tokio::pin!(role);
        let ended = loop {
            tokio::select! {
                ended = &mut role => break ended,
                Some(event) = self.told.next() => self.reporter.tell(&event).map_err(report::unwritten)?,
                () = self.interrupts.next() => {
                    if self.shutdown.is_started() {
                        return Err("ended at once".into());
                    }
                    if std::io::stderr().is_terminal() {
                        eprintln!("ending; once more ends at once");
                    }
                    self.shutdown.start(GRACE);
                }
            }
        };
        // What happened last is told too: a block that was judged during the shutdown, say.
        while let Some(event) = self.told.waiting() {
            self.reporter.tell(&event).map_err(report::unwritten)?;
        }
        Ok(ended?)
    }
}

/// The configuration file of a role, or its example on standard output.
fn file<'a>(arguments: &'a RoleArguments, example: &str) -> std::io::Result<Option<&'a Path>> {
    if arguments.example {
        let mut out = std::io::stdout().lock();
        out.write_all(example.as_bytes()).and_then(|()| out.flush()).map_err(report::unwritten)?;
    }
    Ok(arguments.config.as_deref().or(arguments.file.as_deref()))
}

/// `adit pool`.
pub(crate) async fn pool(arguments: &RoleArguments) -> Outcome {
    let Some(path) = file(arguments, example::POOL)? else { return Ok(()) };
    let (config, place) = config::load::<PoolConfig>(path)?;
    warn_of_secret("authority_secret_key", config.authority_secret_key.as_ref(), path);
    let settings = pool_settings(config).map_err(|error| place.of(error))?;
    let frame = Frame::new(arguments)?;
    let pool = settings.start(frame.clock, frame.events.clone(), frame.shutdown.clone());
    let pool = pool.map_err(|error| match error {
        PoolError::Listen(error) => place.of(no_listener(&error)).into(),
        PoolError::Config(error @ RewardError::Rewards(CoinbaseError::TagTooLong(_))) => {
            place.of(bad("payout.tag", error.to_string())).into()
        }
        PoolError::Config(error) => place.of(bad("payout", error.to_string())).into(),
        other => Box::<dyn Error>::from(other),
    })?;
    frame.events.tell(Event::Listening { role: "pool", url: pool.url.clone() });
    Box::pin(frame.drive(pool.serve())).await
}

fn pool_settings(config: PoolConfig) -> Result<PoolSettings, ConfigError> {
    config.limits.check()?;
    let secret = authority_secret(
        config.authority_secret_key.as_ref().map(Hidden::expose),
        config.authority_secret_key_file.as_deref(),
    )?;
    let provider = remote::server("provider", &config.provider, CipherList::default())?;
    let mut payouts = Vec::new();
    for output in &config.payout.outputs {
        let (unchecked, network) = (output.address.clone(), config.payout.network);
        let name = unchecked.clone().assume_checked();
        let address = unchecked.require_network(network).map_err(|_| {
            bad("payout.outputs", format!("{name} is no address of the network {network} that `payout.network` names"))
        })?;
        payouts.push((address.script_pubkey().into_bytes(), u64::from(output.weight)));
    }
    if payouts.iter().all(|(_, weight)| *weight == 0) {
        return Err(bad("payout.outputs", "name at least one address with a weight above 0"));
    }
    if !config.shares.per_minute.is_finite() || config.shares.per_minute <= 0.0 {
        return Err(bad("shares.per_minute", "take a number above 0, such as 6.0"));
    }
    if let Some(most) = honest_shares_beyond_limit(&config) {
        tracing::warn!(
            "settings `limits.shares_per_second` and `shares.per_minute`: a connection with all its channels open is wanted to send {most:.0} \
             shares a second, and closed for it; raise the one or lower the other"
        );
    }
    let easiest_target = Target::from_difficulty(config.minimum_difficulty())
        .ok_or_else(|| bad("shares.minimum_difficulty", "take a number above 0; 1.0 is 2^32 hashes a share"))?;
    Ok(PoolSettings {
        listen: config.listen,
        issuer: issuer(
            secret,
            validity(config.certificate_validity_secs)?,
            Policy { serve_str2: config.allow_str2, serve_legacy: config.allow_legacy, ..Policy::default() },
        ),
        provider,
        store: config.store,
        payouts,
        tag: config.payout.tag.into_bytes(),
        shares_per_minute: config.shares.per_minute,
        easiest_target,
        limits: config.limits,
    })
}

/// The shares a second that variable difficulty aims at on one connection with all its channels, when that is more than it may send.
fn honest_shares_beyond_limit(config: &PoolConfig) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "nobody has 2^52 channels")]
    let most = config.shares.per_minute / 60.0 * config.limits.channels_per_connection as f64;
    let limit = f64::from(config.limits.shares_per_second);
    (limit > 0.0 && most > limit).then_some(most)
}

/// The seconds that a certificate holds.
fn validity(seconds: u32) -> Result<u32, ConfigError> {
    if seconds < SHORTEST_VALIDITY {
        return Err(bad(
            "certificate_validity_secs",
            format!("{seconds} is too short; take {SHORTEST_VALIDITY} or more"),
        ));
    }
    Ok(seconds)
}

/// A secret in the configuration itself is to be kept as one in a file of its own.
fn warn_of_secret(setting: &str, inline: Option<&Hidden>, path: &Path) {
    if inline.is_some() {
        keys::warn_if_open(path, &format!("`{setting}`"));
    }
}

fn issuer(secret: Secret, validity: u32, profiles: Policy) -> Issuer {
    Issuer { authority: keys::authority(secret), validity, profiles, setup: SetupPolicy::new(0), idle: None }
}

/// `adit miner`.
pub(crate) async fn miner(arguments: &RoleArguments) -> Outcome {
    let Some(path) = file(arguments, example::MINER)? else { return Ok(()) };
    let (config, place) = config::load(path)?;
    // First, for the settings measure the hash rate, and a signal that comes meanwhile is to be heard.
    let frame = Frame::new(arguments)?;
    let settings = miner_settings(config).map_err(|error| place.of(error))?;
    let hashes = Arc::new(AtomicU64::new(0));
    let running = settings.run(frame.clock, frame.events.clone(), hashes, frame.shutdown.clone());
    Box::pin(frame.drive(running)).await
}

fn miner_settings(config: MinerConfig) -> Result<MinerSettings, ConfigError> {
    let server = remote::server("pool", &config.pool, remote::ciphers("ciphers", &config.ciphers)?)?;
    if config.user.is_empty() || config.user.len() > 255 {
        return Err(bad("user", "take a name of 1 to 255 bytes"));
    }
    if config.threads > miner::MOST_THREADS {
        let (asked, most) = (config.threads, miner::MOST_THREADS);
        return Err(bad("threads", format!("{asked} are too many; take at most {most}, or 0 for one each core")));
    }
    let (threads, method) = (miner::threads(config.threads), Method::fastest());
    let nominal_hash_rate = match config.nominal_hash_rate {
        Some(rate) if rate.is_finite() && rate >= 0.0 => rate,
        Some(_) => return Err(bad("nominal_hash_rate", "take a number of hashes a second, 0 or more")),
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "an estimate for the wire's F32"
        )]
        None => (miner::measure(method) * threads.get() as f64) as f32,
    };
    let name = config.user.clone();
    Ok(MinerSettings { server, name, user: config.user, threads, method, nominal_hash_rate, sums: true })
}

/// `adit provider`.
pub(crate) async fn provider(arguments: &RoleArguments) -> Outcome {
    let Some(path) = file(arguments, example::PROVIDER)? else { return Ok(()) };
    let (config, place) = config::load::<ProviderConfig>(path)?;
    warn_of_secret("authority_secret_key", config.authority_secret_key.as_ref(), path);
    warn_of_secret("password", config.node.as_ref().and_then(|node| node.password.as_ref()), path);
    let mut frame = Frame::new(arguments)?;
    let settings = provider_settings(config, &mut frame).await.map_err(|error| place.of_any(error))?;
    // It was asked to end before there was anything to provide.
    let Some(settings) = settings else { return Ok(()) };
    let provider = settings.start(frame.clock, frame.events.clone(), frame.shutdown.clone())?;
    frame.events.tell(Event::Listening { role: "provider", url: provider.url.clone() });
    Box::pin(frame.drive(provider.serve())).await
}

async fn provider_settings(
    config: ProviderConfig,
    frame: &mut Frame,
) -> Result<Option<ProviderSettings>, Box<dyn Error>> {
    let limits = LimitsConfig::from(config.limits);
    limits.check()?;
    let validity = validity(config.certificate_validity_secs)?;
    let secret = authority_secret(
        config.authority_secret_key.as_ref().map(Hidden::expose),
        config.authority_secret_key_file.as_deref(),
    )?;
    let listen =
        |frame: &Frame| Listener::bind(config.listen, limits.gate(), frame.clock).map_err(|error| no_listener(&error));
    let (listener, source) = match (config.chain, config.node) {
        // First, so that there is no chain of a provider that never ran.
        (Some(chain), None) => (listen(frame)?, TemplateSource::Chain(embedded(&chain, frame.clock)?)),
        // Until there is a template, clients shall hear that nobody is here; the person hears at once when it will not do.
        (None, Some(node)) => {
            drop(listen(frame)?);
            let Some(node) = follow(&node, frame).await? else { return Ok(None) };
            (listen(frame)?, TemplateSource::Node(node))
        }
        (None, None) => {
            return Err(bad("chain, node", "where do templates come from? add one of these sections").into());
        }
        (Some(_), Some(_)) => return Err(bad("chain, node", "both sections are there; leave one of them out").into()),
    };
    Ok(Some(ProviderSettings { listener, issuer: issuer(secret, validity, Policy::default()), source, limits }))
}

fn no_listener(error: &ListenError) -> ConfigError {
    bad("listen", format!("{error}; {LISTEN}"))
}

/// Waits for the node's first template, and tells why there is none yet; `None` when it was asked to end.
async fn follow(config: &NodeConfig, frame: &mut Frame) -> Result<Option<Node>, Box<dyn Error>> {
    let mut starting = Node::follow(config, frame.clock)?;
    let node = loop {
        tokio::select! {
            ready = starting.ready() => match ready {
                Ok(node) => break node,
                Err(problem) => {
                    let message = format!("no template from the node yet, so nobody can connect: {problem}");
                    frame.reporter.tell(&Event::Warning { message })?;
                }
            },
            () = frame.interrupts.next() => return Ok(None),
        }
    };
    let (mut health, events) = (node.health(), frame.events.clone());
    tokio::spawn(async move {
        while health.changed().await.is_ok() {
            if let Health::Bad(problem) = &*health.borrow_and_update() {
                events.tell(Event::Warning { message: format!("no templates from the node: {problem}") });
            }
        }
    });
    Ok(Some(node))
}

fn embedded(config: &ChainConfig, clock: Clock) -> Result<Embedded, Box<dyn Error>> {
    #[allow(clippy::cast_precision_loss, reason = "an average, of which nobody counts the last digit")]
    let target = Target::from_expected_hashes(config.hashes_per_block as f64)
        .ok_or_else(|| bad("chain.hashes_per_block", "take 1 or more"))?;
    if let Some(directory) = &config.directory {
        disk::make_directory(directory).map_err(|error| {
            bad(
                "chain.directory",
                format!("can't make the directory {}: {error}; name another one", directory.display()),
            )
        })?;
    }
    let file = config.directory.as_ref().map(|directory| directory.join("blocks.dat"));
    let chain = Chain::open(Settings { seed: CHAIN_SEED, target, file, export: None }, clock.wall().as_secs())?;
    if config.directory.is_none() {
        tracing::warn!(
            "the chain is in memory only and ends with this provider; set `directory` in [chain] to keep it"
        );
    }
    if chain.cut_off() > 0 {
        tracing::warn!(bytes = chain.cut_off(), "the last block in the file was not whole and was cut off");
    }
    let refresh = if config.refresh_secs == 0 { NEVER } else { Duration::from_secs(config.refresh_secs) };
    Ok(Embedded::start(chain, refresh, clock)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool_with(change: impl FnOnce(&mut String)) -> Result<PoolSettings, String> {
        let key = keys::public_key(&keys::authority(Secret::from_bytes([1; 32])));
        let secret = adit::address::tagged_secret_text(&Secret::from_bytes([2; 32]));
        let mut text = example::POOL.replace("REPLACE-WITH-THE-PROVIDER-KEY", &key.to_string()).replace(
            "authority_secret_key_file = \"pool.key\"",
            &format!("authority_secret_key = \"{}\"", secret.as_str()),
        );
        change(&mut text);
        let config = toml::from_str(&text).map_err(|error| error.to_string())?;
        pool_settings(config).map_err(|error| error.to_string())
    }

    #[test]
    fn the_pools_example_works_once_its_keys_are_filled_in() {
        let settings = pool_with(|_| {}).unwrap();
        assert_eq!((settings.payouts.len(), settings.payouts[0].0.len()), (1, 22));
        assert_eq!((settings.provider.host.as_str(), settings.provider.port), ("127.0.0.1", 8442));
    }

    #[test]
    fn a_limit_on_shares_that_honest_miners_meet_is_noticed() {
        let beyond = |per_minute: &str, limit: &str| {
            let text = example::POOL.replace("per_minute = 6.0", &format!("per_minute = {per_minute}"));
            let text = text.replace("shares_per_second = 1000", &format!("shares_per_second = {limit}"));
            honest_shares_beyond_limit(&toml::from_str(&text).unwrap())
        };
        assert_eq!([beyond("6.0", "1000"), beyond("6.0", "9"), beyond("6000.0", "0")], [None, Some(10.0), None]);
        assert_eq!(beyond("6000.0", "1000"), Some(10_000.0));
    }

    #[test]
    fn each_bad_setting_of_a_pool_is_named() {
        let bad = |from: &str, to: &str| {
            let changed = pool_with(|text| {
                assert!(text.contains(from));
                *text = text.replace(from, to);
            });
            changed.err().unwrap()
        };
        let error = bad("network = \"regtest\"", "network = \"bitcoin\"");
        assert!(
            error.contains("payout.outputs") && error.contains("bcrt1q6rhpng") && error.contains("network bitcoin"),
            "{error}"
        );
        assert!(bad("weight = 1", "weight = 0").contains("payout.outputs"));
        assert!(bad("per_minute = 6.0", "per_minute = -1.0").contains("shares.per_minute"));
        assert!(bad("# minimum_difficulty = 0.0001", "minimum_difficulty = 0.0").contains("minimum_difficulty"));
        assert!(bad("provider = \"stratum2+tcp://", "provider = \"http://").contains("provider"));
    }

    #[test]
    fn each_bad_setting_of_a_miner_is_named() {
        let key = keys::public_key(&keys::authority(Secret::from_bytes([1; 32]))).to_string();
        let text = example::MINER.replace("REPLACE-WITH-THE-POOL-KEY", &key);
        let settings = |text: &str| miner_settings(toml::from_str(text).unwrap());
        let mined = settings(&text).unwrap();
        assert!(mined.nominal_hash_rate > 0.0 && mined.user == "account.worker");
        let error = settings(&text.replace("\"account.worker\"", "\"\"")).err().unwrap();
        assert!(error.to_string().contains("`user`"));
        let error = settings(&text.replace("threads = 0", "threads = 100000")).err().unwrap();
        assert!(error.to_string().contains("setting `threads`: 100000 are too many"), "{error}");
        let error = settings(&text.replace("\"AESGCM\"]", "\"ChaChaPoly\"]")).err().unwrap();
        assert!(error.to_string().contains("`ciphers`"));
    }
}
