//! Accepting TCP connections: [`adit::host::listen`] on tokio.

#[cfg(test)]
#[path = "../../conformance/roles/listen.rs"]
mod tests;

use adit::host;
pub use adit::host::listen::ListenError;

use crate::net::Tokio;

/// A connection that was let in.
pub type Accepted = host::listen::Accepted<Tokio>;

/// A listening socket behind a [`Gate`](crate::gate::Gate).
pub type Listener = host::listen::Listener<Tokio>;
