//! What a connection is told at its creation.

use super::setup::SetupPolicy;
use crate::config::Limits;
use crate::noise::x25519;
use crate::wire::Revision;

/// Whether a link is encrypted. There is no default: a plain link is for local networks and has to be asked for (D-SEC-2, D-SEC-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security<N> {
    /// The Noise handshake, then sealed records.
    Noise(N),
    /// Nothing. Whoever is on the way reads and changes everything.
    Plain,
}

/// The configuration of the side that connects.
#[derive(Clone, Copy, Debug)]
pub struct InitiatorConfig {
    /// Encryption, and how the server proves itself.
    pub security: Security<x25519::InitiatorConfig>,
    /// Which text of the protocol both sides speak.
    pub revision: Revision,
    /// What the server may cost.
    pub limits: Limits,
}

impl InitiatorConfig {
    /// The draft revision with default limits.
    #[must_use]
    pub const fn new(security: Security<x25519::InitiatorConfig>) -> Self {
        Self { security, revision: Revision::Draft, limits: Limits::DEFAULT }
    }
}

/// A server's part of the Noise handshake.
#[derive(Clone, Debug)]
pub struct NoiseServer {
    /// The static key and its certificate.
    pub identity: x25519::Identity,
    /// Which profiles and ciphers are served.
    pub policy: x25519::Policy,
}

/// The configuration of the side that is connected to: one for all connections of a port.
#[derive(Clone, Debug)]
pub struct ResponderConfig {
    /// Encryption, and the identity to show.
    pub security: Security<NoiseServer>,
    /// The answer to `SetupConnection`.
    pub setup: SetupPolicy,
    /// Which text of the protocol both sides speak.
    pub revision: Revision,
    /// What a client may cost.
    pub limits: Limits,
}

impl ResponderConfig {
    /// The draft revision with default limits.
    #[must_use]
    pub const fn new(security: Security<NoiseServer>, setup: SetupPolicy) -> Self {
        Self { security, setup, revision: Revision::Draft, limits: Limits::DEFAULT }
    }
}
