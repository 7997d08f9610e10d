//! The fast cryptography provider, for servers.
//!
//! [`AwsLc`] does what thousands of connections spend their time on, the X25519 exchange and the ciphers, with AWS-LC: C and
//! assembler that a C compiler builds without other tools. What is rare keeps to the core's own provider: Ed25519, because its strict
//! verification refuses encodings that AWS-LC accepts, and BLAKE2s, which AWS-LC does not have. Both providers give the same bytes.
//!
//! What must not live here: anything of the protocol. Without the feature `aws-lc` there is [`Fastest`] alone, and nothing of C.

#[cfg(feature = "aws-lc")]
mod aws_lc;

#[cfg(feature = "aws-lc")]
pub use aws_lc::{AwsLc, Blake2s, Key};

/// The fastest provider of this build.
#[cfg(feature = "aws-lc")]
pub type Fastest = AwsLc;

/// The fastest provider of this build.
#[cfg(not(feature = "aws-lc"))]
pub type Fastest = adit::crypto::RustCrypto;
