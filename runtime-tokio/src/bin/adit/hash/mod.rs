//! The CPU miner's engine: threads that look for nonces, by the fastest way that this processor knows.
//!
//! [`Method`] is how headers are hashed, [`Engine`] the threads that do it. Jobs, shares and connections are the device's.
//!
//! Every method is correct on every input and tested to agree with the others; [`Method::fastest`] measures those that the processor
//! supports for a few milliseconds at the start and keeps the best. Figures of one core (AMD EPYC of 2022, 2.6 GHz base, rustc 1.95,
//! release build), in million SHA-256d of headers a second:
//!
//! | method | lanes | MH/s | other lane counts tried |
//! |---|---|---|---|
//! | [`Method::Avx512`] | 64 | 23.8 | 8: 3.5, 16: 13.9, 32: 20.0 |
//! | [`Method::Avx2`] | 16 | 12.0 | 8: 3.1, 32: 11.3 |
//! | [`Method::Sha2`] | 1 | 11.4 with the SHA instructions | about 0.9 without |
//! | [`Method::Portable`] | 32 | 4.1 with SSE2, the x86-64 baseline | 1: 2.4, 8: 2.2, 16: 3.6 |
//!
//! Loops of 8 lanes are unrolled before they could be vectorised and stay scalar, hence the wide counts. The order differs between
//! processors (one with SHA instructions but without AVX-512 is about even between two methods), which is why it is measured.
//! Whole headers of 16 different shares ([`Method::hash_headers`]) take one compression more and a transposition: 8.3 MH/s with
//! AVX-512, 7.3 with the SHA instructions, 6.2 with AVX2.

mod engine;
mod method;

pub(crate) use engine::{Engine, Event, Work};
pub(crate) use method::Method;
