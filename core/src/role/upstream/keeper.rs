//! What a client with names and addresses on the heap knows about its connections: servers, state for those who watch, why one ended.

use alloc::{borrow::ToOwned, format, string::String, string::ToString, vec, vec::Vec};
use core::fmt;
use core::time::Duration;

use super::{Choice, ServerUrlError, authority};
use crate::address::{Host, Url};
use crate::backoff::{Backoff, BackoffConfig};
use crate::connection::{InitiatorConfig, Security};
use crate::link::LinkError;
use crate::noise::x25519::{self, Authentication};
use crate::role::device::{Endpoint, Outcome};
use crate::time::Instant;

/// A server to connect to.
#[derive(Clone, Debug)]
pub struct Server {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Security, revision and limits of the connection.
    pub connection: InitiatorConfig,
}

impl Server {
    /// The server of a `stratum2+tcp://host[:port]/KEY` URL, to be authenticated by the key in it, with defaults for everything else.
    pub fn from_url(url: &str) -> Result<Self, ServerUrlError> {
        let url = Url::parse(url)?;
        let key = authority(&url)?;
        let host = match url.host {
            Host::Name(name) => name.to_owned(),
            Host::Address(address) => address.to_string(),
        };
        let noise = x25519::InitiatorConfig::new(Authentication::Authority(key));
        Ok(Self { host, port: url.port(), connection: InitiatorConfig::new(Security::Noise(noise)) })
    }
}

/// How a client keeps its connection.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// The servers, best first. After a failed attempt the next one is tried, after a connection was lost the first one again.
    pub servers: Vec<Server>,
    /// For one attempt, name look-up included, before the handshake.
    pub connect_limit: Duration,
    /// Between attempts.
    pub backoff: BackoffConfig,
}

impl UpstreamConfig {
    /// One server, ten seconds for connecting, default back-off.
    #[must_use]
    pub fn new(server: Server) -> Self {
        Self { servers: vec![server], connect_limit: Duration::from_secs(10), backoff: BackoffConfig::default() }
    }
}

/// Where a client's connection stands, for those who watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UpstreamState {
    /// Nothing was tried yet.
    #[default]
    Idle,
    /// Connecting, with the handshake and setup.
    Connecting {
        /// `host:port`.
        server: String,
    },
    /// Open.
    Open {
        /// `host:port`.
        server: String,
    },
    /// Waiting before the next attempt.
    Waiting {
        /// `host:port` of the last attempt.
        server: String,
        /// How long.
        wait: Duration,
        /// Why there is no connection.
        why: String,
    },
    /// Shut down.
    Stopped,
}

/// Why a connection ended, as far as the one who ran it knows. `E` is the stream's error.
#[derive(Debug)]
pub enum Ended<E> {
    /// The peer, or the one who ran it, closed it in order.
    Closed,
    /// The server refused the setup, with this code.
    Refused(String),
    /// The server asked to connect there, under the same authority key (D-RECON-4).
    Elsewhere {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// The link failed.
    Failed(LinkError<E>),
    /// The server broke a rule of the sub-protocol: which.
    Broken(String),
}

impl<E> Ended<E> {
    /// The end of a connection that a device's outcome asks for.
    #[must_use]
    pub fn of(outcome: &Outcome<'_>) -> Option<Self> {
        Some(match outcome {
            Outcome::SetupRefused { error_code, .. } => Self::Refused(error_code.to_string()),
            Outcome::Fatal(fatal) => Self::Broken(fatal.to_string()),
            Outcome::Reconnect(endpoint) => Self::Elsewhere { host: endpoint.host().to_owned(), port: endpoint.port() },
            _ => return None,
        })
    }
}

impl<E> From<LinkError<E>> for Ended<E> {
    fn from(error: LinkError<E>) -> Self {
        Self::Failed(error)
    }
}

impl<E: fmt::Display> fmt::Display for Ended<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Refused(code) => write!(f, "the server refused the setup: {code}"),
            Self::Elsewhere { host, port } => write!(f, "sent to {host}:{port}"),
            Self::Failed(error) => write!(f, "{error}"),
            Self::Broken(rule) => write!(f, "the server broke a rule: {rule}"),
        }
    }
}

/// Which server is next, and after which wait. No sockets and no waiting.
///
/// Connect to [`next`](Self::next); say [`opened`](Self::opened) when the setup has succeeded, [`ended`](Self::ended) or
/// [`failed`](Self::failed) when there is no connection (any more), and wait as long as that says.
#[derive(Debug)]
pub struct Keeper {
    config: UpstreamConfig,
    backoff: Backoff,
    choice: Choice,
}

impl Keeper {
    /// Before the first attempt.
    #[must_use]
    pub fn new(config: UpstreamConfig) -> Self {
        let backoff = Backoff::new(config.backoff);
        Self { config, backoff, choice: Choice::default() }
    }

    /// For one attempt, name look-up included.
    #[must_use]
    pub const fn connect_limit(&self) -> Duration {
        self.config.connect_limit
    }

    /// Host, port and configuration of the present attempt; `None` without servers.
    #[must_use]
    pub fn next(&self) -> Option<(String, u16, InitiatorConfig)> {
        let server = self.config.servers.get(self.choice.index(self.config.servers.len())?)?;
        let place = self.choice.elsewhere().map(|place| (place.host().to_owned(), place.port()));
        let (host, port) = place.unwrap_or_else(|| (server.host.clone(), server.port));
        Some((host, port, server.connection))
    }

    /// `host:port` of the present attempt.
    #[must_use]
    pub fn server(&self) -> String {
        self.next().map_or_else(String::new, |(host, port, _)| format!("{host}:{port}"))
    }

    /// The setup has succeeded: from now on the connection counts as up.
    pub fn opened(&mut self, now: Instant) -> UpstreamState {
        self.backoff.up(now);
        UpstreamState::Open { server: self.server() }
    }

    /// The connection has ended: until when to wait, and what to tell. `jitter` is any 64 random bits.
    pub fn ended<E: fmt::Display>(&mut self, why: &Ended<E>, now: Instant, jitter: u64) -> (Instant, UpstreamState) {
        let place = match why {
            Ended::Elsewhere { host, port } => Endpoint::new(host, *port).ok(),
            _ => None,
        };
        self.wait(place, why, now, jitter)
    }

    /// The attempt has failed: as for [`ended`](Self::ended).
    pub fn failed(&mut self, why: &impl fmt::Display, now: Instant, jitter: u64) -> (Instant, UpstreamState) {
        self.wait(None, why, now, jitter)
    }

    fn wait(
        &mut self,
        place: Option<Endpoint>,
        why: &impl fmt::Display,
        now: Instant,
        jitter: u64,
    ) -> (Instant, UpstreamState) {
        let server = self.server();
        match place {
            Some(place) => self.choice.sent(place),
            None => self.choice.ended(self.backoff.is_up()),
        }
        let wait = self.backoff.down(now, jitter);
        (now.saturating_add(wait), UpstreamState::Waiting { server, wait, why: why.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AuthorityKey;
    use crate::address::DEFAULT_PORT;

    /// Another authority for each.
    fn key(host: &str) -> [u8; 32] {
        [host.len() as u8 ^ host.as_bytes()[0]; 32]
    }

    /// Whom the next server has to be vouched for by.
    fn authority(keeper: &Keeper) -> Authentication {
        match keeper.next().unwrap().2.security {
            Security::Noise(noise) => noise.authentication,
            Security::Plain => Authentication::AcceptAnyone,
        }
    }

    fn server(host: &str) -> Server {
        let noise = x25519::InitiatorConfig::new(Authentication::Authority(key(host)));
        Server { host: host.to_owned(), port: 1, connection: InitiatorConfig::new(Security::Noise(noise)) }
    }

    /// D-RECON-1, D-RECON-4: where a server sends us we go once, under its own authority's key, and a failure there leads back.
    #[test]
    fn a_client_goes_where_it_is_sent_and_comes_back() {
        let servers = vec![server("a"), server("b")];
        let mut keeper = Keeper::new(UpstreamConfig { servers, ..UpstreamConfig::new(server("a")) });
        let at = Instant::from_secs;
        let gone = "nobody there".to_owned();
        assert_eq!(keeper.server(), "a:1");
        let (until, state) = keeper.failed(&gone, at(1), u64::MAX);
        assert!(until > at(1));
        assert!(matches!(state, UpstreamState::Waiting { server, why, .. } if server == "a:1" && why == gone));
        assert_eq!(keeper.server(), "b:1", "the next one after a failed attempt");
        assert_eq!(keeper.opened(at(2)), UpstreamState::Open { server: "b:1".to_owned() });
        let elsewhere = Ended::<String>::Elsewhere { host: "c".to_owned(), port: 3 };
        assert_eq!(elsewhere.to_string(), "sent to c:3");
        keeper.ended(&elsewhere, at(3), 0);
        assert_eq!(keeper.server(), "c:3");
        assert_eq!(authority(&keeper), Authentication::Authority(key("b")));
        keeper.failed(&gone, at(4), 0);
        assert_eq!(keeper.server(), "b:1", "back to the one that sent us there");
        assert_eq!(authority(&keeper), Authentication::Authority(key("b")));
        keeper.opened(at(5));
        keeper.ended(&Ended::<String>::Closed, at(6), 0);
        assert_eq!(keeper.server(), "a:1", "the best one after a connection was lost");
        let unknown = Ended::<String>::Elsewhere { host: "x".repeat(300), port: 3 };
        keeper.ended(&unknown, at(7), 0);
        assert_eq!(keeper.server(), "b:1", "a place that cannot be named is a failed attempt");
    }

    /// D-URL-1, D-URL-2
    #[test]
    fn a_url_makes_a_server_that_has_to_prove_itself() {
        const KEY: &str = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";
        let key = match KEY.parse() {
            Ok(AuthorityKey::Ed25519(key)) => key,
            other => panic!("{other:?}"),
        };
        for (place, host, port) in [("pool.example", "pool.example", DEFAULT_PORT), ("[::1]:7", "::1", 7)] {
            let server = Server::from_url(&format!("stratum2+tcp://{place}/{KEY}")).unwrap();
            assert_eq!((server.host.as_str(), server.port), (host, port));
            let Security::Noise(noise) = server.connection.security else { panic!("a plain link") };
            assert_eq!(noise.authentication, Authentication::Authority(key));
        }
        let wrong = |url: &str| Server::from_url(url).unwrap_err();
        assert_eq!(wrong("stratum2+tcp://pool.example"), ServerUrlError::NoKey);
        let current = "stratum2+tcp://h/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        assert_eq!(wrong(current), ServerUrlError::OtherRevision);
        assert!(matches!(wrong("http://pool.example"), ServerUrlError::Url(_)));
    }

    #[test]
    fn without_servers_there_is_no_attempt() {
        let keeper = Keeper::new(UpstreamConfig { servers: Vec::new(), ..UpstreamConfig::new(server("a")) });
        assert!(keeper.next().is_none());
        assert_eq!((keeper.server().as_str(), keeper.connect_limit().as_secs()), ("", 10));
    }
}
