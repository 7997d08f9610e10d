//! Opening a TCP connection to a host by name or address: [`connect`] with [`Smol`](crate::net::Smol).

pub use adit::host::connect::{ConnectCause, ConnectError, connect};

#[cfg(test)]
#[path = "../../conformance/roles/connect.rs"]
mod tests;
