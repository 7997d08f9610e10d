//! Ways to hash headers, and which of them is the fastest here: for miners, and for servers with several shares at hand.
//!
//! The lanes themselves are the core's ([`adit::mining::lanes`]) and portable; here they are compiled for instruction sets that are
//! found at run time, which takes `unsafe`.
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

#![allow(
    unsafe_code,
    reason = "calling what is compiled for an instruction set is unsafe, however well it was looked for"
)]

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use adit::mining::lanes::{self, Hasher, Midstate};
use adit::mining::merkle::merkle_root;
use adit::wire::U256;

/// A way to hash headers. All give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// One by one with the `sha2` package, which uses the processor's SHA instructions where there are any.
    Sha2,
    /// In lanes, with the instructions that every processor of this architecture has.
    Portable,
    /// In lanes with AVX2.
    Avx2,
    /// In lanes with AVX-512F.
    Avx512,
}

/// What a method is asked to do. A value, so that each instruction set needs one entry and one proof of its safety.
enum Task<'a> {
    /// Put every nonce of `count` from `first` on into `found` whose hash has at most `top` as its most significant 32 bits.
    Search { midstate: &'a Midstate, top: u32, first: u32, count: u32, found: &'a mut Vec<u32> },
    /// Fold a merkle path onto each of the coinbase ids.
    Fold { path: &'a [U256], ids: &'a mut [[u8; 32]] },
    /// Put the hash of each header into the place beside it.
    Headers { headers: &'a [[u8; 80]], hashes: &'a mut [[u8; 32]] },
}

impl Method {
    const ALL: [Self; 4] = [Self::Sha2, Self::Portable, Self::Avx2, Self::Avx512];

    /// Whether this processor has the instructions. An unsupported method still works: it does what [`Self::Portable`] does.
    #[must_use]
    pub fn is_supported(self) -> bool {
        match self {
            Self::Sha2 | Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Those that this processor supports.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|method| method.is_supported())
    }

    /// The fastest one here, measured on the first call, which takes about ten milliseconds.
    #[must_use]
    pub fn fastest() -> Self {
        static FASTEST: OnceLock<Method> = OnceLock::new();
        *FASTEST
            .get_or_init(|| Self::supported().min_by_key(|method| method.time_of_a_batch()).unwrap_or(Self::Portable))
    }

    /// The shortest of a few runs: whatever else the machine does only ever makes one longer.
    fn time_of_a_batch(self) -> Duration {
        let midstate = Midstate::new(&[0x5a; 80]);
        let mut found = Vec::new();
        let run = |count| {
            let start = Instant::now();
            self.search(&midstate, 0, 0, count, &mut found);
            start.elapsed()
        };
        // The first run warms caches and vector units up.
        [256, 2_048, 2_048, 2_048].map(run)[1..].iter().min().copied().unwrap_or(Duration::MAX)
    }

    /// Appends those of the `count` nonces from `first` on (wrapping) to `found` whose hash has at most `top` as its most significant 32
    /// bits. A caller with a full target checks it on these few.
    pub fn search(self, midstate: &Midstate, top: u32, first: u32, count: u32, found: &mut Vec<u32>) {
        self.run(Task::Search { midstate, top, first, count, found });
    }

    /// SHA-256d of each header into the place beside it, raw SHA-256 order: how a server checks the shares at hand in one go.
    pub fn hash_headers(self, headers: &[[u8; 80]], hashes: &mut [[u8; 32]]) {
        self.run(Task::Headers { headers, hashes });
    }

    /// Folds a merkle path, deepest hash first, onto each of the coinbase ids, which becomes its root.
    pub fn fold_paths(self, path: &[U256], ids: &mut [[u8; 32]]) {
        self.run(Task::Fold { path, ids });
    }

    fn run(self, task: Task<'_>) {
        match self {
            Self::Sha2 => one_by_one(task),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 if self.is_supported() => {
                // SAFETY: the guard saw AVX2 on this processor, all that `avx2` needs.
                unsafe { avx2(task) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 if self.is_supported() => {
                // SAFETY: the guard saw AVX-512F on this processor, all that `avx512` needs.
                unsafe { avx512(task) }
            }
            _ => in_lanes::<32, 16>(task),
        }
    }
}

impl Hasher for Method {
    fn hash_headers(&self, headers: &[[u8; 80]], hashes: &mut [[u8; 32]]) {
        (*self).hash_headers(headers, hashes);
    }

    fn fold_paths(&self, path: &[U256], ids: &mut [[u8; 32]]) {
        (*self).fold_paths(path, ids);
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha2 => "sha2",
            Self::Portable => "portable lanes",
            Self::Avx2 => "AVX2 lanes",
            Self::Avx512 => "AVX-512 lanes",
        })
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(task: Task<'_>) {
    in_lanes::<16, 16>(task);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(task: Task<'_>) {
    in_lanes::<64, 16>(task);
}

/// Nonces `N` at a time; headers too, and `M` at a time what remains, because a server rarely has many at hand.
#[allow(clippy::inline_always, reason = "only an inlined body is compiled with the caller's instruction set")]
#[inline(always)]
fn in_lanes<const N: usize, const M: usize>(task: Task<'_>) {
    match task {
        Task::Search { midstate, top, mut first, mut count, found } => {
            while count > 0 {
                let words = midstate.top_words::<N>(first);
                // One branch for all lanes: a hit is rare at any target worth mining for.
                if words.iter().copied().fold(u32::MAX, u32::min) <= top {
                    let lanes = (0..count).zip(words);
                    found.extend(lanes.filter(|(_, word)| *word <= top).map(|(lane, _)| first.wrapping_add(lane)));
                }
                first = first.wrapping_add(N as u32);
                count = count.saturating_sub(N as u32);
            }
        }
        Task::Fold { path, ids } => {
            let wide = ids.len() / N * N;
            let (ids, rest) = ids.split_at_mut(wide);
            lanes::fold_paths::<N>(path, ids);
            lanes::fold_paths::<M>(path, rest);
        }
        Task::Headers { headers, hashes } => {
            // As many as fill wide lanes, then narrower ones.
            let wide = headers.len().min(hashes.len()) / N * N;
            let (headers, rest) = headers.split_at(wide);
            let (hashes, rest_hashes) = hashes.split_at_mut(wide);
            lanes::hash_headers::<N>(headers, hashes);
            lanes::hash_headers::<M>(rest, rest_hashes);
        }
    }
}

fn one_by_one(task: Task<'_>) {
    match task {
        Task::Search { midstate, top, first, count, found } => {
            let nonces = (0..count).map(|at| first.wrapping_add(at));
            found.extend(nonces.filter(|nonce| {
                let [.., a, b, c, d] = midstate.hash(*nonce);
                u32::from_le_bytes([a, b, c, d]) <= top
            }));
        }
        Task::Fold { path, ids } => {
            for id in ids {
                *id = merkle_root(*id, path.iter().map(|node| node.0));
            }
        }
        Task::Headers { headers, hashes } => {
            for (header, hash) in headers.iter().zip(hashes) {
                *hash = adit::hash::sha256d_header(header);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Header of the first block of the main chain, by its published fields, and its nonce.
    const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";
    const GENESIS_NONCE: u32 = 2_083_236_893;

    #[test]
    fn every_method_finds_the_genesis_nonce_and_no_other() {
        let header: [u8; 80] = hex::decode(GENESIS).expect("hex").try_into().expect("80 bytes");
        let midstate = Midstate::new(&header);
        for method in Method::ALL {
            for before in [0, 1, 15, 16, 63, 64, 200] {
                let mut found = vec![];
                method.search(&midstate, 0, GENESIS_NONCE - before, before + 1, &mut found);
                assert_eq!(found, [GENESIS_NONCE], "{method}, {before} nonces before it");
                found.clear();
                method.search(&midstate, 0, GENESIS_NONCE - before, before, &mut found);
                assert_eq!(found, [0; 0], "{method}: the last nonce is left out of the range");
            }
        }
    }

    #[test]
    fn the_fastest_method_is_one_that_the_processor_supports() {
        assert!(Method::supported().any(|method| method == Method::fastest()));
        assert!(Method::Portable.is_supported() && Method::Sha2.is_supported());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn methods_agree_on_nonces(
            header in proptest::collection::vec(any::<u8>(), 80), first: u32, count in 0..300_u32, bits in 0..8_u32,
        ) {
            let midstate = Midstate::new(&header.try_into().expect("80 bytes"));
            let top = u32::MAX >> bits;
            let mut expected = vec![];
            Method::Sha2.search(&midstate, top, first, count, &mut expected);
            prop_assert!(bits > 0 || expected.len() == count as usize);
            for method in Method::ALL {
                let mut found = vec![];
                method.search(&midstate, top, first, count, &mut found);
                prop_assert_eq!(&found, &expected, "{}", method);
            }
        }

        #[test]
        fn methods_agree_on_paths(
            ids in proptest::collection::vec(any::<[u8; 32]>(), 0..90), path in proptest::collection::vec(any::<[u8; 32]>(), 0..14),
        ) {
            let path: Vec<_> = path.into_iter().map(U256).collect();
            let mut expected = ids.clone();
            Method::Sha2.fold_paths(&path, &mut expected);
            for method in Method::ALL {
                let mut roots = ids.clone();
                method.fold_paths(&path, &mut roots);
                prop_assert_eq!(&roots, &expected, "{}", method);
            }
        }

        #[test]
        fn methods_agree_on_headers(bytes in proptest::collection::vec(any::<u8>(), 0..80 * 70)) {
            let headers = bytes.as_chunks::<80>().0;
            let mut expected = vec![[0; 32]; headers.len()];
            Method::Sha2.hash_headers(headers, &mut expected);
            for method in Method::ALL {
                let mut hashes = vec![[0; 32]; headers.len()];
                method.hash_headers(headers, &mut hashes);
                prop_assert_eq!(&hashes, &expected, "{}", method);
            }
        }
    }
}
