//! A client's side of keeping a connection: which server is next, under which authority, and when. No I/O.

use core::time::Duration;

use adit::address::{Host, Url, UrlError};
use adit::backoff::{Backoff, BackoffConfig};
use adit::connection::{InitiatorConfig, Security};
use adit::crypto::PublicKey;
use adit::noise::x25519::{self, Authentication};
use adit::role::device::{Endpoint, HostTooLong};
pub use adit::role::upstream::ServerUrlError;
use adit::role::upstream::{Choice, authority};
use adit::time::Instant;

/// A server to connect to.
///
/// Who settles it as a URL has the choice when that is read. A board whose URL comes at run time (over USB, from a web page) calls
/// [`from_url`](Self::from_url): base58 and its checksum take 1.7 KB. Where the parts were checked before, [`new`](Self::new) takes them as they are: a build script reads
/// the URL with the same parser, as that of `firmware` does, or whatever writes a board's settings to its flash stores host, port and key.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// Name, or address as text; one of IPv6 without brackets. At most 255 bytes.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// Security, revision and limits of the connection.
    pub connection: InitiatorConfig,
}

impl<'a> Server<'a> {
    /// A server that must show a certificate of this Ed25519 key (D-URL-1). Nothing is checked: a host that is none does not resolve, and nobody has a
    /// certificate of a key that is none.
    #[must_use]
    pub const fn new(host: &'a str, port: u16, authority: PublicKey) -> Self {
        Self::of(host, port, Authentication::Authority(authority))
    }

    /// Reads `stratum2+tcp://host[:port]/KEY`, for [`new`](Self::new).
    pub fn from_url(url: &'a str) -> Result<Self, ServerUrlError> {
        let parsed = Url::parse(url)?;
        Ok(Self::new(host_in(url, parsed.host), parsed.port(), authority(&parsed)?))
    }

    /// Reads a URL whose key, if there is one, is not used: the link is encrypted to whoever answers, who may be anybody. For tests on a
    /// local network.
    pub fn from_url_without_authentication(url: &'a str) -> Result<Self, UrlError> {
        let parsed = Url::parse(url)?;
        Ok(Self::of(host_in(url, parsed.host), parsed.port(), Authentication::AcceptAnyone))
    }

    const fn of(host: &'a str, port: u16, authentication: Authentication) -> Self {
        let connection = InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(authentication)));
        Self { host, port, connection }
    }
}

/// The host of a URL that was read, as it stands there.
fn host_in<'a>(url: &'a str, host: Host<'a>) -> &'a str {
    if let Host::Name(name) = host {
        return name;
    }
    let authority = url.split('/').nth(2).unwrap_or_default();
    let end = |stop| authority.split(stop).next().unwrap_or_default();
    end(']').strip_prefix('[').unwrap_or_else(|| end(':'))
}

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
    pub const fn new(servers: &'a [Server<'a>]) -> Self {
        Self {
            servers,
            connect_limit: Duration::from_secs(10),
            close_limit: Duration::from_secs(2),
            backoff: BackoffConfig::DEFAULT,
        }
    }
}

/// Which server is next.
#[derive(Debug)]
pub(crate) struct Upstream<'a> {
    config: &'a UpstreamConfig<'a>,
    /// Until when no attempt is made.
    pub(crate) wait: Instant,
    backoff: Backoff<&'a BackoffConfig>,
    choice: Choice,
}

impl<'a> Upstream<'a> {
    pub(crate) fn new(config: &'a UpstreamConfig<'a>) -> Self {
        Self { config, wait: Instant::ORIGIN, backoff: Backoff::new(&config.backoff), choice: Choice::default() }
    }

    /// The server whose turn it is. `None` without servers.
    pub(crate) fn server(&self) -> Option<&'a Server<'a>> {
        self.config.servers.get(self.choice.index(self.config.servers.len())?)
    }

    /// Where to connect: to this server, or where it has sent us.
    pub(crate) fn endpoint(&self, server: &Server<'_>) -> Result<Endpoint, HostTooLong> {
        match self.choice.elsewhere() {
            Some(elsewhere) => Ok(elsewhere.clone()),
            None => Endpoint::new(server.host, server.port),
        }
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
        self.wait = now.saturating_add(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit::address::{AuthorityKey, DEFAULT_PORT};
    use std::string::ToString;

    const KEY: &str = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";

    /// D-URL-1, D-URL-2
    #[test]
    fn a_url_without_a_key_has_to_be_asked_for_by_name() {
        assert_eq!(Server::from_url("stratum2+tcp://pool").unwrap_err(), ServerUrlError::NoKey);
        let open = Server::from_url_without_authentication("stratum2+tcp://pool").unwrap();
        let Security::Noise(noise) = open.connection.security else { panic!("a plain link") };
        assert_eq!(noise.authentication, Authentication::AcceptAnyone);
        let url = std::format!("stratum2+tcp://pool/{KEY}");
        let server = Server::from_url(&url).unwrap();
        let Security::Noise(noise) = server.connection.security else { panic!("a plain link") };
        assert!(matches!(noise.authentication, Authentication::Authority(_)));
        assert_eq!((server.host, server.port), ("pool", DEFAULT_PORT));
        let current = "stratum2+tcp://pool/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        assert_eq!(Server::from_url(current).unwrap_err(), ServerUrlError::OtherRevision);
        assert!(Server::from_url("pool").unwrap_err().to_string().contains("stratum2+tcp://"));
    }

    /// D-URL-2: what a URL says is what parts say that were read before, as in a build script.
    #[test]
    fn a_server_of_parts_is_that_of_its_url() {
        let parts = [
            ("stratum2+tcp://[fe80::1]:1/", "fe80::1", 1),
            ("stratum2+tcp://[::]/", "::", DEFAULT_PORT),
            ("stratum2+tcp://10.0.0.1:1/", "10.0.0.1", 1),
            ("stratum2+tcp://10.0.0.1/", "10.0.0.1", DEFAULT_PORT),
            ("stratum2+tcp://pool.example.:65535/", "pool.example.", 65535),
            ("STRATUM2+TCP://pool/", "pool", DEFAULT_PORT),
        ];
        let Ok(AuthorityKey::Ed25519(key)) = KEY.parse() else { panic!("a key of the draft") };
        for (url, host, port) in parts {
            let open = Server::from_url_without_authentication(url).unwrap();
            assert_eq!((open.host, open.port), (host, port));
            let url = std::format!("{url}{KEY}");
            let (of_url, of_parts) = (Server::from_url(&url).unwrap(), Server::new(host, port, key));
            assert_eq!(std::format!("{of_url:?}"), std::format!("{of_parts:?}"));
        }
    }

    /// D-RECON-1, D-RECON-4
    #[test]
    fn another_place_is_tried_once_and_the_first_server_is_best() {
        let servers = ["stratum2+tcp://a:1", "stratum2+tcp://b:2"];
        let servers = servers.map(|url| Server::from_url_without_authentication(url).unwrap());
        let config = UpstreamConfig::new(&servers);
        let mut upstream = Upstream::new(&config);
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
        assert!(upstream.wait > at(5));
        let none = UpstreamConfig::new(&[]);
        assert!(Upstream::new(&none).server().is_none());
    }
}
