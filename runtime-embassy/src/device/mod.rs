//! A mining device: the core's [`Device`] and its connections, one after the other.

#[cfg(test)]
mod board_tests;
mod news;
mod run;
#[cfg(test)]
#[path = "../../../conformance/roles/device.rs"]
mod tests;

use core::fmt;

use adit::config::{DEVICE_INPUT, DEVICE_OUTPUT};
use adit::crypto::{ChaChaPolyOnly, Provider, RustCrypto};
use adit::protocol::StandardMining;
use adit::role::device::{Device, DeviceConfig};
use embassy_sync::blocking_mutex::raw::RawMutex;

pub use news::{Ended, News, Period};

use crate::clock::{WallClock, WithoutClock};
use crate::connect::Connect;
use crate::entropy::Entropy;
use crate::hashing::{Desk, FOUND};
use crate::link::LinkSettings;
use crate::upstream::UpstreamConfig;
use run::Miner;

/// How a device connects, and with whom. Best a `static`, which stays in flash.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'d> {
    /// The servers, and the waits between attempts.
    pub upstream: UpstreamConfig<'d>,
    /// What to do while nobody has set the wall clock.
    pub without_clock: WithoutClock,
    /// Time limits of the link beside those of each server's connection.
    pub link: LinkSettings,
}

/// What a board hands in.
#[derive(Debug)]
pub struct Board<'d, C, E, M: RawMutex, const N: usize = FOUND> {
    /// Its network.
    pub network: C,
    /// Its random numbers.
    pub entropy: E,
    /// Its wall clock.
    pub wall: &'d WallClock<M>,
    /// Where its hasher finds work.
    pub desk: &'d Desk<M, N>,
}

/// A mining device with its connections: about 4 KiB, buffers included, so let it live in a `static` or in a task, not on the stack.
///
/// `C` is the board's network, `E` its entropy, `M` the mutex of clock and desk, `N` the desk's places, `P` the cryptography; the default links one
/// cipher only.
pub struct DeviceTask<'d, C, E, M: RawMutex, const N: usize = FOUND, P: Provider = RustCrypto<ChaChaPolyOnly>> {
    miner: Miner<'d, M, N>,
    network: C,
    entropy: E,
    input: [u8; DEVICE_INPUT],
    output: [u8; DEVICE_OUTPUT],
    provider: core::marker::PhantomData<fn() -> P>,
}

impl<'d, C, E, M, P, const N: usize> DeviceTask<'d, C, E, M, N, P>
where
    C: Connect,
    E: Entropy,
    M: RawMutex,
    P: Provider,
{
    /// A device that has not been started.
    #[must_use]
    pub fn new(device: DeviceConfig<&'d str>, settings: &'d Settings<'d>, board: Board<'d, C, E, M, N>) -> Self {
        let Board { network, entropy, wall, desk } = board;
        Self {
            miner: Miner::new(device, settings, wall, desk),
            network,
            entropy,
            input: [0; DEVICE_INPUT],
            output: [0; DEVICE_OUTPUT],
            provider: core::marker::PhantomData,
        }
    }

    /// The device, to look at its counts.
    #[must_use]
    pub const fn device(&self) -> &Device<&'d str, StandardMining> {
        &self.miner.device
    }
}

impl<C, E, M: RawMutex, P: Provider, const N: usize> fmt::Debug for DeviceTask<'_, C, E, M, N, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceTask").field("device", &self.miner.device).finish_non_exhaustive()
    }
}
