//! Ways to hash headers, and which of them is the fastest here: for miners, and for servers with several shares at hand.
//!
//! The lanes themselves are the core's ([`adit::mining::lanes`]) and portable; here they are compiled for instruction sets that are
//! found at run time, which takes `unsafe`.
//!
//! Every method is correct on every input and tested to agree with the others; [`Method::fastest`] and [`Method::fastest_for_shares`] measure
//! those that the processor supports for a few milliseconds at the start and keep the best. Figures of one core (AMD EPYC of 2022, 2.6 GHz
//! base, rustc 1.95, release build), in nanoseconds: a nonce of a header, a whole header of 64 different ones (one compression more, and in
//! lanes a transposition), a path of twelve nodes of 64 shares, and of one:
//!
//! | method | lanes | nonce | header | path | one path |
//! |---|---|---|---|---|---|
//! | [`Method::Avx512`] | 64, 16 | 41 | 67 | 697 | 1,472 |
//! | [`Method::ShaNi`] | 2 | 49 | 67 | 659 | 1,311 |
//! | [`Method::Avx2`] | 16 | 86 | 135 | 1,550 | 1,462 |
//! | [`Method::Sha2`] | 1 | 93 | 108 | 1,426 | 1,472 |
//! | [`Method::Portable`] | 32 | 241 | 378 | 4,426 | 1,472 |
//!
//! Without SHA instructions `sha2` takes some twelve times as long. Loops of 8 lanes are unrolled before they could be vectorised and stay
//! scalar, hence the wide counts; of fewer headers than lanes the rest goes one by one, where two at a time lose nothing. The order differs
//! between processors, which is why it is measured.

#![allow(
    unsafe_code,
    reason = "calling what is compiled for an instruction set is unsafe, however well it was looked for"
)]

#[cfg(target_arch = "x86_64")]
mod sha_ni;

use std::fmt;
use std::sync::OnceLock;
use std::time::Instant;

use adit::mining::header::HeaderParts;
use adit::mining::lanes::{self, Hasher, Midstate, OneByOne};
use adit::wire::U256;

/// A way to hash headers. All give the same results. Those that not every processor has come from [`Method::supported`] only, so that
/// whoever has one may use it; nobody else can make one:
///
/// ```compile_fail,E0603
/// let method = adit_native::hash::Method::ShaNi;
/// ```
/// ```compile_fail,E0603
/// let method = adit_native::hash::Method::Avx2;
/// ```
/// ```compile_fail,E0603
/// let method = adit_native::hash::Method::Avx512;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// One by one with the `sha2` package, which uses the processor's SHA instructions where there are any.
    Sha2,
    /// In lanes, with the instructions that every processor of this architecture has.
    Portable,
    /// Two at a time, with x86's SHA instructions.
    #[non_exhaustive]
    ShaNi,
    /// In lanes with AVX2.
    #[non_exhaustive]
    Avx2,
    /// In lanes with AVX-512F.
    #[non_exhaustive]
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
    const ALL: [Self; 5] = [Self::Sha2, Self::Portable, Self::ShaNi, Self::Avx2, Self::Avx512];

    /// Whether this processor has the instructions.
    fn is_supported(self) -> bool {
        match self {
            Self::Sha2 | Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::ShaNi | Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// Those that this processor supports.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|method| method.is_supported())
    }

    /// The fastest one here for a miner, who tries nonces: measured on the first call, which takes about ten milliseconds.
    #[must_use]
    pub fn fastest() -> Self {
        static FASTEST: OnceLock<Method> = OnceLock::new();
        *FASTEST.get_or_init(|| {
            let midstate = Midstate::new(&[0x5a; 80]);
            Self::measured(|method| {
                let mut found = Vec::new();
                method.search(&midstate, 0, 0, 2_048, &mut found);
            })
        })
    }

    /// The fastest one here for a server, who has a few shares at hand: measured on the first call, which takes a few milliseconds.
    #[must_use]
    pub fn fastest_for_shares() -> Self {
        static FASTEST: OnceLock<Method> = OnceLock::new();
        *FASTEST.get_or_init(|| {
            let headers = [[0x5a; 80]; 16];
            Self::measured(|method| {
                for _ in 0..32 {
                    method.hash_headers(&headers, &mut [[0; 32]; 16]);
                }
            })
        })
    }

    /// The one that does it in the shortest of a few runs: whatever else the machine does only ever makes one longer.
    fn measured(run: impl Fn(Self)) -> Self {
        let shortest = |method: &Self| {
            let time = || {
                let start = Instant::now();
                run(*method);
                start.elapsed()
            };
            // The first run warms caches and vector units up.
            time();
            [time(), time(), time()].into_iter().min()
        };
        Self::supported().min_by_key(shortest).unwrap_or(Self::Portable)
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
            Self::ShaNi => {
                // SAFETY: `supported` saw the SHA instructions and SSE4.1 on this processor, all that `sha_ni` needs.
                unsafe { with_sha_ni(task) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                // SAFETY: `supported` saw AVX2 on this processor, all that `avx2` needs.
                unsafe { avx2(task) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                // SAFETY: `supported` saw AVX-512F on this processor, all that `avx512` needs.
                unsafe { avx512(task) }
            }
            _ => in_lanes::<32, 16>(task),
        }
    }
}

impl Hasher for Method {
    #[inline]
    fn first_hash(&self, header: &HeaderParts<'_>, words: &mut [u32; 8]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => {
                // SAFETY: `supported` saw the SHA instructions and SSE4.1 on this processor, all that `hash_once` needs.
                unsafe {
                    let hashes = (header.prev_hash, header.merkle_root);
                    sha_ni::hash_once(header.version, hashes, header.ntime, header.nbits, header.nonce, words);
                }
            }
            _ => OneByOne.first_hash(header, words),
        }
    }

    #[inline]
    fn second_hash(&self, words: &[u32; 8], hash: &mut [u8; 32]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi => {
                // SAFETY: `supported` saw the SHA instructions and SSE4.1 on this processor, all that `hash_again` needs.
                unsafe { sha_ni::hash_again(words, hash) }
            }
            _ => OneByOne.second_hash(words, hash),
        }
    }

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
            Self::ShaNi => "SHA instructions",
            Self::Avx2 => "AVX2 lanes",
            Self::Avx512 => "AVX-512 lanes",
        })
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sha,sse4.1")]
fn with_sha_ni(task: Task<'_>) {
    match task {
        Task::Search { midstate, top, first, count, found } => sha_ni::search(midstate, top, first, count, found),
        Task::Fold { path, ids } => sha_ni::fold_paths(path, ids),
        Task::Headers { headers, hashes } => sha_ni::hash_headers(headers, hashes),
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
        Task::Fold { path, ids } => OneByOne.fold_paths(path, ids),
        Task::Headers { headers, hashes } => OneByOne.hash_headers(headers, hashes),
    }
}

#[cfg(test)]
mod tests {
    use adit::mining::header::Header;
    use proptest::prelude::*;

    use super::*;

    /// Header of the first block of the main chain, by its published fields, and its nonce.
    const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";
    const GENESIS_NONCE: u32 = 2_083_236_893;

    #[test]
    fn every_method_finds_the_genesis_nonce_and_no_other() {
        let header: [u8; 80] = hex::decode(GENESIS).expect("hex").try_into().expect("80 bytes");
        let midstate = Midstate::new(&header);
        for method in Method::supported() {
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
        assert!(Method::supported().any(|method| method == Method::fastest_for_shares()));
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
            for method in Method::supported() {
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
            for method in Method::supported() {
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
            for method in Method::supported() {
                let mut hashes = vec![[0; 32]; headers.len()];
                method.hash_headers(headers, &mut hashes);
                prop_assert_eq!(&hashes, &expected, "{}", method);
                let mut words = [0; 8];
                for (header, expected) in headers.iter().zip(&expected) {
                    method.first_hash(&Header::from_bytes(header).parts(), &mut words);
                    let mut hash = [0; 32];
                    method.second_hash(&words, &mut hash);
                    prop_assert_eq!(&hash, expected, "{}, in halves", method);
                }
            }
        }
    }
}
