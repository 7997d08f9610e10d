//! A server's key, certificate and URL: made from the authority's secret key, renewed while the server runs.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit::address::AuthorityKey;
use adit::connection::{NoiseServer, ResponderConfig, Security, SetupPolicy};
use adit::crypto::{RustCrypto, Secret};
use adit::noise::CertificateError;
use adit::noise::x25519::{Authority, Identity, Policy};
use adit::time::UnixTime;
use adit_tokio::clock::Clock;
use adit_tokio::entropy::{EntropyError, entropy};
use adit_tokio::net::Tokio;
use adit_tokio::shutdown::Shutdown;
use adit_tokio::watch;

use crate::config::{ConfigError, bad};
use crate::keys;

/// A certificate begins to hold this long before it is signed, for clients whose clock is a little late.
const CLOCK_ALLOWANCE: Duration = Duration::from_secs(300);

/// The shortest certificate: renewal comes at half of it, and a handshake must fit in between.
pub(crate) const SHORTEST_VALIDITY: u32 = 60;

/// Why a server has no identity.
#[derive(Debug)]
pub(crate) enum IdentityError {
    /// The system gave no entropy for the static key.
    Entropy(EntropyError),
    /// The certificate's period is none.
    Certificate(CertificateError),
    /// The validity is shorter than [`SHORTEST_VALIDITY`].
    Validity(u32),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entropy(error) => error.fmt(f),
            Self::Certificate(error) => write!(f, "can't sign the server's certificate: {error}"),
            Self::Validity(seconds) => {
                write!(
                    f,
                    "setting `certificate_validity_secs`: {seconds} is too short; take {SHORTEST_VALIDITY} or more"
                )
            }
        }
    }
}

impl std::error::Error for IdentityError {}

/// What a server signs certificates with, and how it answers setups.
pub(crate) struct Issuer {
    /// Signs the certificates.
    pub(crate) authority: Authority<RustCrypto>,
    /// Seconds that a certificate holds.
    pub(crate) validity: u32,
    /// Which profiles of the handshake are served.
    pub(crate) profiles: Policy,
    /// How setups are answered.
    pub(crate) setup: SetupPolicy,
    /// How long a connection may be silent.
    pub(crate) idle: Option<Duration>,
}

/// The authority's secret key: exactly one of the two settings must give it.
pub(crate) fn authority_secret(inline: Option<&str>, file: Option<&Path>) -> Result<Secret, ConfigError> {
    match (inline, file) {
        (Some(text), None) => keys::secret(text).map_err(|error| bad("authority_secret_key", error.to_string())),
        (None, Some(path)) => {
            keys::read_secret(path).map_err(|error| bad("authority_secret_key_file", error.to_string()))
        }
        (None, None) => Err(bad(
            "authority_secret_key, authority_secret_key_file",
            "one of them is needed; `adit keys --out FILE` makes a pair",
        )),
        (Some(_), Some(_)) => {
            Err(bad("authority_secret_key, authority_secret_key_file", "both are there; leave one of them out"))
        }
    }
}

impl Issuer {
    /// The URL that clients are configured with.
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        format!("stratum2+tcp://{address}/{}", self.public_key())
    }

    /// The authority's public key.
    pub(crate) fn public_key(&self) -> AuthorityKey {
        keys::public_key(&self.authority)
    }

    /// A configuration with a fresh static key and certificate.
    pub(crate) fn issue(&self, now: UnixTime) -> Result<Arc<ResponderConfig>, IdentityError> {
        if self.validity < SHORTEST_VALIDITY {
            return Err(IdentityError::Validity(self.validity));
        }
        let secret = Secret::from_bytes(entropy::<Tokio>().map_err(IdentityError::Entropy)?);
        let allowance = u32::try_from(CLOCK_ALLOWANCE.as_secs()).unwrap_or(u32::MAX);
        let from = UnixTime::from_secs(now.as_secs().saturating_sub(allowance));
        let until = UnixTime::from_secs(now.as_secs().saturating_add(self.validity));
        let identity = Identity::issue(secret, &self.authority, from, until).map_err(IdentityError::Certificate)?;
        let mut config =
            ResponderConfig::new(Security::Noise(NoiseServer { identity, policy: self.profiles }), self.setup);
        config.limits.idle = self.idle;
        Ok(Arc::new(config))
    }

    /// Issues the first configuration, and a task that replaces it at half of each certificate's validity until shutdown.
    /// A failed renewal is told in the log and tried again; the old certificate holds for as long again.
    pub(crate) fn start(
        self,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Result<watch::Receiver<Arc<ResponderConfig>>, IdentityError> {
        let (sender, receiver) = watch::channel(self.issue(clock.wall())?);
        tokio::spawn(async move {
            let half = Duration::from_secs(u64::from(self.validity / 2));
            let mut wait = half;
            loop {
                tokio::select! {
                    () = shutdown.started() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                match self.issue(clock.wall()) {
                    Ok(config) => {
                        wait = half;
                        sender.send_replace(config);
                    }
                    Err(error) => {
                        wait = half / 10;
                        tracing::error!(%error, "can't renew the server's certificate; it will be tried again");
                    }
                }
            }
        });
        Ok(receiver)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn issuer(validity: u32) -> Issuer {
        Issuer {
            authority: Authority::from_seed(Secret::from_bytes([3; 32])),
            validity,
            profiles: Policy::default(),
            setup: SetupPolicy::new(0),
            idle: None,
        }
    }

    fn period(config: &ResponderConfig) -> (u32, u32) {
        let Security::Noise(server) = &config.security else { panic!("no certificate") };
        let certificate = server.identity.certificate();
        (certificate.valid_from.as_secs(), certificate.not_valid_after.as_secs())
    }

    #[test]
    fn exactly_one_setting_gives_the_key() {
        assert!(authority_secret(None, None).unwrap_err().to_string().contains("one of them is needed"));
        assert!(authority_secret(Some("x"), Some(Path::new("y"))).unwrap_err().to_string().contains("leave one"));
        let error = authority_secret(Some("REPLACE-WITH-THE-SECRET-KEY"), None).unwrap_err().to_string();
        assert!(error.contains("authority_secret_key") && error.contains("adit keys"), "{error}");
    }

    #[test]
    fn a_certificate_too_short_to_be_renewed_is_refused() {
        let error = issuer(SHORTEST_VALIDITY - 1).issue(UnixTime::from_secs(1_000_000)).err().unwrap();
        assert!(error.to_string().contains("certificate_validity_secs"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_certificate_is_renewed_at_half_its_time_with_another_key() {
        let clock = Clock::start_at(UnixTime::from_secs(1_000_000));
        let shutdown = Shutdown::new(clock);
        let mut configs = issuer(600).start(clock, shutdown.clone()).unwrap();
        let first = Arc::clone(&configs.borrow_and_update());
        assert_eq!(period(&first), (999_700, 1_000_600));
        configs.changed().await.unwrap();
        let second = Arc::clone(&configs.borrow_and_update());
        assert_eq!(period(&second), (1_000_000, 1_000_900));
        let key = |config: &ResponderConfig| match &config.security {
            Security::Noise(server) => *server.identity.static_key(),
            Security::Plain => panic!("no key"),
        };
        assert_ne!(key(&first), key(&second));
        shutdown.start(Duration::ZERO);
        assert!(configs.changed().await.is_err(), "renewal ends with the shutdown");
    }
}
