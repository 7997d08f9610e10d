//! Keys and certificates of a world: one authority for each kind of server, certificates that are renewed.

use std::time::Duration;

use adit::config::Limits;
use adit::connection::{InitiatorConfig, NoiseServer, ResponderConfig, Security, SetupPolicy};
use adit::crypto::{RustCrypto, Secret};
use adit::error::{Error, PeerError};
use adit::noise::x25519::{self, Authentication, Authority, CipherList, Identity, Policy, Profile};
use adit::noise::{CertificateError, Fault};
use adit::time::UnixTime;
use adit::wire::Revision;

use super::config::WorldConfig;
use crate::entropy::Entropy;

/// First and last second of a certificate.
pub(super) type Period = (UnixTime, UnixTime);

/// What a kind of server shows its clients.
pub(super) struct Issuer {
    authority: Authority<RustCrypto>,
    key: [u8; 32],
    noise: bool,
    setup: SetupPolicy,
    limits: Limits,
    before: Duration,
    after: Duration,
    /// How often it asks for a new one.
    pub(super) every: Duration,
}

impl Issuer {
    pub(super) fn new(seeds: &mut Entropy, config: &WorldConfig, setup: SetupPolicy, idle: Option<Duration>) -> Self {
        let (before, after, every) = config.clocks.certificate;
        Self {
            authority: Authority::from_seed(Secret::from_bytes(seeds.bytes32())),
            key: seeds.bytes32(),
            noise: config.noise,
            setup,
            limits: Limits { idle, ..Limits::DEFAULT },
            before,
            after,
            every,
        }
    }

    /// What clients are configured with.
    pub(super) fn initiator(&self) -> InitiatorConfig {
        let security = if self.noise {
            let authentication = Authentication::Authority(*self.authority.public_key());
            Security::Noise(x25519::InitiatorConfig {
                profile: Profile::Str3,
                ciphers: CipherList::CHACHAPOLY_FIRST,
                ..x25519::InitiatorConfig::new(authentication)
            })
        } else {
            Security::Plain
        };
        InitiatorConfig { security, revision: Revision::Draft, limits: self.limits }
    }

    /// What a server is configured with whose wall-clock shows this, and the period of its certificate.
    pub(super) fn responder(&self, wall: UnixTime) -> (ResponderConfig, Period) {
        let shifted = |secs: i64| {
            let at = i64::from(wall.as_secs()) + secs;
            UnixTime::from_secs(u32::try_from(at.max(0)).unwrap_or(u32::MAX))
        };
        let (security, period) = if self.noise {
            let period = (shifted(-self.before.as_secs().cast_signed()), shifted(self.after.as_secs().cast_signed()));
            let key = Secret::from_bytes(self.key);
            let identity =
                Identity::issue(key, &self.authority, period.0, period.1).expect("a period that is not empty");
            (Security::Noise(NoiseServer { identity, policy: Policy::default() }), period)
        } else {
            (Security::Plain, (UnixTime::from_secs(0), UnixTime::from_secs(u32::MAX)))
        };
        (ResponderConfig { security, setup: self.setup, revision: Revision::Draft, limits: self.limits }, period)
    }
}

/// Whether a client refused a server for its certificate's period.
pub(super) fn is_period_refused(over: Result<(), Error>) -> bool {
    matches!(over, Err(Error::Peer(PeerError::Handshake(error)))
        if matches!(error.fault, Fault::Certificate(CertificateError::NotYetValid { .. } | CertificateError::Expired { .. })))
}
