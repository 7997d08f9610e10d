//! A client's side of keeping a connection: [`adit::host::upstream`] on this crate's streams.

use adit::host;
pub use adit::host::upstream::{Ended, Server, ServerUrlError, Software, UpstreamConfig, UpstreamState};

use crate::net::Smol;

/// A client's connection, one after the other.
pub type Upstream = host::upstream::Upstream<Smol>;

/// A link to a server, fresh: the handshake and setup are to come.
pub type Connected<Pr, P> = host::upstream::Connected<Pr, P, Smol>;

#[cfg(test)]
#[path = "../../conformance/roles/upstream.rs"]
mod tests;
