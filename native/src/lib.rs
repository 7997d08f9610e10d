//! What a processor with an operating system does faster than the portable core: for servers and miners, on any runtime.
//!
//! - [`crypto`]: a provider of the core's cryptography in C and assembler.
//! - [`hash`]: headers in lanes, by whatever instructions the processor has.
//!
//! What must not live here: anything of the protocol, I/O, a runtime. Nothing of it is needed: without this package all is the
//! core's own Rust, the same bytes, slower. Firmware never links it. It is the only one of Adit's libraries with `unsafe` code, and that is in
//! two places: calls into what was compiled for an instruction set, and calls of C.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod crypto;
pub mod hash;
