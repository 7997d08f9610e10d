//! What handshakes and jitter take of a runtime's entropy.

use core::fmt;
use std::io;

use super::Runtime;

/// The system had no entropy to give.
///
/// Nothing that needs a secret may go on without it; a connection attempt fails with this and may be tried again.
#[derive(Debug)]
pub struct EntropyError(io::Error);

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operating system gave no entropy: {}", self.0)
    }
}

impl core::error::Error for EntropyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// 32 fresh bytes, what the core takes for a handshake.
pub fn entropy<R: Runtime>() -> Result<[u8; 32], EntropyError> {
    let mut bytes = [0; 32];
    R::fill(&mut bytes).map_err(EntropyError)?;
    Ok(bytes)
}

/// 64 fresh bits, for jitter.
pub fn jitter<R: Runtime>() -> Result<u64, EntropyError> {
    let mut bytes = [0; 8];
    R::fill(&mut bytes).map_err(EntropyError)?;
    Ok(u64::from_le_bytes(bytes))
}
