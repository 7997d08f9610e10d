//! A template provider over TCP: [`adit::host::provider`] on tokio.

#[cfg(test)]
#[path = "../../conformance/roles/provider.rs"]
mod tests;

pub use adit::host::provider::{
    FoundBlock, Heard, PLACES, PLACES_OF_ALL, Place, ProviderEvent, Transactions, serve_provider,
};

use crate::clock::Clock;

/// The owner's side of a provider: clones are handles on the same one.
pub type ProviderHandle = adit::host::provider::ProviderHandle<Clock>;
