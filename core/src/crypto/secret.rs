//! Secret bytes: wiped on drop, compared in constant time, never printed.

use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes: an X25519 secret, an Ed25519 seed, a chaining key.
#[derive(Clone)]
#[cfg_attr(target_os = "none", derive(ZeroizeOnDrop))]
pub struct Secret([u8; 32]);

/// Overwrites secret bytes. What zeroize does to an array is one store for each byte: small, as a board wants it, but a handshake
/// wipes some thousand of them, so that elsewhere it is done at once.
pub(super) fn wipe<const N: usize>(bytes: &mut [u8; N]) {
    #[cfg(target_os = "none")]
    bytes.zeroize();
    #[cfg(not(target_os = "none"))]
    {
        *bytes = [0; N];
        zeroize::optimization_barrier(bytes);
    }
}

impl Secret {
    /// Takes the bytes over. The caller's copy is the caller's to wipe.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, by a name that stands out in review.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Zeroize for Secret {
    fn zeroize(&mut self) {
        wipe(&mut self.0);
    }
}

#[cfg(not(target_os = "none"))]
impl Drop for Secret {
    fn drop(&mut self) {
        self.zeroize();
    }
}

#[cfg(not(target_os = "none"))]
impl ZeroizeOnDrop for Secret {}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

/// `Debug` of what has secrets, or is made of them: its name and no more.
macro_rules! undisclosed {
    ([$($generics:tt)*] $type:ty, $name:literal) => {
        impl<$($generics)*> core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!($name, "(..)"))
            }
        }
    };
}
pub(crate) use undisclosed;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", Secret::from_bytes([0xab; 32])), "Secret(..)");
    }

    #[test]
    fn zeroize_wipes_and_equality_sees_every_byte() {
        let mut secret = Secret::from_bytes([7; 32]);
        for at in 0..32 {
            let mut bytes = [7; 32];
            bytes[at] ^= 0x80;
            assert_ne!(secret, Secret::from_bytes(bytes));
        }
        assert_eq!(secret, Secret::from_bytes([7; 32]));
        secret.zeroize();
        assert_eq!(secret.expose(), &[0; 32]);
    }
}
