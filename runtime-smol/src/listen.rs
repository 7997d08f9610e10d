//! Accepting TCP connections: [`adit::host::listen`] on smol.

#[cfg(test)]
#[path = "../../conformance/roles/listen.rs"]
mod tests;

use adit::host;
pub use adit::host::listen::ListenError;

use crate::net::Smol;

/// A connection that was let in.
pub type Accepted = host::listen::Accepted<Smol>;

/// A listening socket behind a [`Gate`](crate::gate::Gate).
pub type Listener = host::listen::Listener<Smol>;
