//! Entropy from the operating system, for handshakes and for jitter.
//!
//! Nothing is buffered or stretched here: every call asks the system, so a fork or a restored snapshot never repeats bytes.

use std::fmt;

/// The system had no entropy to give.
///
/// Nothing that needs a secret may go on without it; a connection attempt fails with this and may be tried again.
#[derive(Clone, Copy, Debug)]
pub struct EntropyError(getrandom::Error);

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operating system gave no entropy: {}", self.0)
    }
}

impl std::error::Error for EntropyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// 32 fresh bytes, what the core takes for a handshake.
pub fn entropy() -> Result<[u8; 32], EntropyError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(EntropyError)?;
    Ok(bytes)
}

/// 64 fresh bits, for jitter.
pub fn jitter() -> Result<u64, EntropyError> {
    getrandom::u64().map_err(EntropyError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_calls_differ() {
        assert_ne!(entropy().unwrap(), entropy().unwrap());
        assert_ne!(jitter().unwrap(), jitter().unwrap());
    }
}
