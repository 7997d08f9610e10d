//! A mining device over TCP: [`adit::host::device`] on this crate's streams.

use adit::host;
pub use adit::host::device::{ConfigError, DeviceHandle, DeviceNews};

use crate::net::Smol;

/// A device that is ready to run.
pub type DeviceTask<T> = host::device::DeviceTask<T, Smol>;

#[cfg(test)]
#[path = "../../conformance/roles/device.rs"]
mod tests;
