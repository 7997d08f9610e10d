//! A client's side of keeping a connection: which server is next, under which authority, and when. No I/O.

use core::fmt;
use core::time::Duration;

use adit::address::{AuthorityKey, Host, Url, UrlError};
use adit::backoff::{Backoff, BackoffConfig};
use adit::connection::{InitiatorConfig, Security};
use adit::noise::x25519::{self, Authentication};
use adit::role::device::{Endpoint, HostTooLong};
use adit::role::upstream::Choice;
use adit::time::Instant;

/// A server to connect to.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// Name or address.
    pub host: Host<'a>,
    /// TCP port.
    pub port: u16,
    /// Security, revision and limits of the connection.
    pub connection: InitiatorConfig,
}

impl<'a> Server<'a> {
    /// Reads `stratum2+tcp://host[:port]/KEY`: the server must show a certificate of that key (D-URL-1).
    pub fn parse(url: &'a str) -> Result<Self, ServerError> {
        let url = Url::parse(url)?;
        match url.key {
            Some(AuthorityKey::Ed25519(key)) => Ok(Self::of(&url, Authentication::Authority(key))),
            Some(AuthorityKey::Secp256k1XOnly(_)) => Err(ServerError::KeyKind),
            None => Err(ServerError::NoKey),
        }
    }

    /// Reads a URL whose key, if there is one, is not used: the link is encrypted to whoever answers, who may be anybody. For tests on a
    /// local network.
    pub fn parse_without_authentication(url: &'a str) -> Result<Self, ServerError> {
        Ok(Self::of(&Url::parse(url)?, Authentication::AcceptAnyone))
    }

    const fn of(url: &Url<'a>, authentication: Authentication) -> Self {
        let connection = InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(authentication)));
        let port = match url.port {
            Some(port) => port,
            None => adit::address::DEFAULT_PORT,
        };
        Self { host: url.host, port, connection }
    }
}

/// Why a URL names no server that can be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// It cannot be read.
    Url(UrlError),
    /// It has no authority key. Who wants that calls [`Server::parse_without_authentication`].
    NoKey,
    /// The key is one of the current revision; links are secured as the draft says so far.
    KeyKind,
}

impl From<UrlError> for ServerError {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::NoKey => f.write_str("the URL has no authority key behind the host"),
            Self::KeyKind => f.write_str("the authority key is a secp256k1 key; this build knows Ed25519 keys"),
        }
    }
}

impl core::error::Error for ServerError {}

/// How a client keeps its connection.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamConfig<'a> {
    /// The servers, best first. After a failed attempt the next one is tried, after a connection was lost the first one again.
    pub servers: &'a [Server<'a>],
    /// For one attempt, name look-up included, before the handshake.
    pub connect_limit: Duration,
    /// For the last bytes and the stream's end, once a connection is over.
    pub close_limit: Duration,
    /// Between attempts.
    pub backoff: BackoffConfig,
}

impl<'a> UpstreamConfig<'a> {
    /// Ten seconds for connecting, two for closing, default back-off.
    #[must_use]
    pub fn new(servers: &'a [Server<'a>]) -> Self {
        Self {
            servers,
            connect_limit: Duration::from_secs(10),
            close_limit: Duration::from_secs(2),
            backoff: BackoffConfig::default(),
        }
    }
}

/// Which server is next.
#[derive(Debug)]
pub(crate) struct Upstream<'a> {
    pub(crate) config: UpstreamConfig<'a>,
    backoff: Backoff,
    choice: Choice,
    /// Until when no attempt is made.
    pub(crate) wait: Option<Instant>,
}

impl<'a> Upstream<'a> {
    pub(crate) fn new(config: UpstreamConfig<'a>) -> Self {
        Self { config, backoff: Backoff::new(config.backoff), choice: Choice::default(), wait: None }
    }

    /// The server whose turn it is. `None` without servers.
    pub(crate) fn server(&self) -> Option<&'a Server<'a>> {
        self.config.servers.get(self.choice.index(self.config.servers.len())?)
    }

    /// Where to connect: to this server, or where it has sent us.
    pub(crate) fn endpoint(&self, server: &Server<'_>) -> Result<Endpoint, HostTooLong> {
        self.choice.elsewhere().map_or_else(|| endpoint(server), |elsewhere| Ok(elsewhere.clone()))
    }

    /// The setup has succeeded: from now on the connection counts as up.
    pub(crate) fn opened(&mut self, now: Instant) {
        self.backoff.up(now);
    }

    /// The server sends us there (D-RECON-1), which is where the next attempt goes.
    pub(crate) fn sent(&mut self, elsewhere: Endpoint) {
        self.choice.sent(elsewhere);
    }

    /// The connection has ended, or the attempt has failed: how long to wait. `sent` when it ended because of [`Self::sent`].
    pub(crate) fn ended(&mut self, now: Instant, sent: bool, jitter: u64) -> Duration {
        if !sent {
            self.choice.ended(self.backoff.is_up());
        }
        let wait = self.backoff.down(now, jitter);
        self.wait = Some(now.saturating_add(wait));
        wait
    }
}

fn endpoint(server: &Server<'_>) -> Result<Endpoint, HostTooLong> {
    // The longest address has 45 characters and two brackets, which a host in a message does not have.
    let mut text = heapless::String::<64>::new();
    let host = match server.host {
        Host::Name(name) => name,
        Host::Address(address) => {
            fmt::write(&mut text, format_args!("{address}")).map_err(|_| HostTooLong)?;
            &text
        }
    };
    Endpoint::new(host, server.port)
}

/// A host as messages carry it.
#[cfg_attr(target_os = "none", inline(never))]
pub(crate) fn host(text: &str) -> Host<'_> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    const KEY: &str = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";

    /// D-URL-1, D-URL-2
    #[test]
    fn a_url_without_a_key_has_to_be_asked_for_by_name() {
        assert_eq!(Server::parse("stratum2+tcp://pool").unwrap_err(), ServerError::NoKey);
        let open = Server::parse_without_authentication("stratum2+tcp://pool").unwrap();
        let Security::Noise(noise) = open.connection.security else { panic!("a plain link") };
        assert_eq!(noise.authentication, Authentication::AcceptAnyone);
        let url = std::format!("stratum2+tcp://pool/{KEY}");
        let server = Server::parse(&url).unwrap();
        let Security::Noise(noise) = server.connection.security else { panic!("a plain link") };
        assert!(matches!(noise.authentication, Authentication::Authority(_)));
        assert_eq!((server.host, server.port), (Host::Name("pool"), adit::address::DEFAULT_PORT));
        let current = "stratum2+tcp://pool/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        assert_eq!(Server::parse(current).unwrap_err(), ServerError::KeyKind);
        assert!(Server::parse("pool").unwrap_err().to_string().contains("stratum2+tcp://"));
    }

    #[test]
    fn hosts_survive_the_way_through_a_message() {
        for text in ["stratum2+tcp://[fe80::1]:1", "stratum2+tcp://10.0.0.1:1", "stratum2+tcp://pool.example:1"] {
            let server = Server::parse_without_authentication(text).unwrap();
            let endpoint = endpoint(&server).unwrap();
            assert_eq!((host(endpoint.host()), endpoint.port()), (server.host, 1));
        }
        assert_eq!(host("[::1]"), Host::Address("::1".parse().unwrap()));
    }

    /// D-RECON-1, D-RECON-4
    #[test]
    fn another_place_is_tried_once_and_the_first_server_is_best() {
        let servers = ["stratum2+tcp://a:1", "stratum2+tcp://b:2"];
        let servers = servers.map(|url| Server::parse_without_authentication(url).unwrap());
        let mut upstream = Upstream::new(UpstreamConfig::new(&servers));
        let next = |upstream: &Upstream<'_>| upstream.endpoint(upstream.server().unwrap()).unwrap().port();
        let at = Instant::from_secs;
        assert_eq!(next(&upstream), 1);
        upstream.ended(at(0), false, 0);
        assert_eq!(next(&upstream), 2, "a failed attempt leads to the next server");
        upstream.opened(at(1));
        upstream.sent(Endpoint::new("c", 3).unwrap());
        upstream.ended(at(2), true, 0);
        assert_eq!(next(&upstream), 3);
        upstream.ended(at(3), false, 0);
        assert_eq!(next(&upstream), 2, "the new place failed: back to the one that sent us there");
        upstream.opened(at(4));
        upstream.ended(at(5), false, 0);
        assert_eq!(next(&upstream), 1, "after a connection the best one again");
        assert!(upstream.wait.unwrap() > at(5));
        let none = Upstream::new(UpstreamConfig::new(&[]));
        assert!(none.server().is_none());
    }
}
