//! Where random numbers come from: a function that the board hands in.
//!
//! Each connection takes 32 bytes for its ephemeral key, and each wait 8 for its jitter. The bytes must be unpredictable and never repeat, also
//! not after a reset: two connections with the same bytes have the same keys.
//!
//! | chip | source |
//! |---|---|
//! | STM32, nRF, ESP32-C6 | the hardware generator behind the HAL's `Rng`, with its error checks on |
//! | RP2040 | the ring oscillator, through a conditioner; RP2350 has a TRNG |
//! | none of that | a secret seed written at the factory, hashed together with a counter in flash that is stepped *before* each boot uses it |
//!
//! A generator of `rand_core` becomes such a function with a closure around its `try_fill_bytes`. embassy-net wants a seed of its own:
//! take it from the same source.

use core::fmt;

/// The board has no random numbers now. Nothing is connected without them; the attempt counts as failed and is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEntropy;

impl fmt::Display for NoEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the board's random number generator has failed")
    }
}

impl core::error::Error for NoEntropy {}

/// Fills all of the bytes, or fails. Every `FnMut(&mut [u8]) -> Result<(), NoEntropy>` is one.
pub trait Entropy {
    /// See [the module](self) for what the bytes must be.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoEntropy>;
}

impl<F: FnMut(&mut [u8]) -> Result<(), NoEntropy>> Entropy for F {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        self(bytes)
    }
}
