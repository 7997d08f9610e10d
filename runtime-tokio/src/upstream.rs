//! A client's side of keeping a connection: [`adit::host::upstream`] on this crate's streams.

use adit::host;
pub use adit::host::upstream::{Ended, Server, ServerUrlError, Software, UpstreamConfig, UpstreamState};

use crate::net::Tokio;

/// A client's connection, one after the other.
pub type Upstream = host::upstream::Upstream<Tokio>;

/// A link to a server, fresh: the handshake and setup are to come.
pub type Connected<Pr, P> = host::upstream::Connected<Pr, P, Tokio>;

#[cfg(test)]
#[path = "../../conformance/roles/upstream.rs"]
mod tests;
