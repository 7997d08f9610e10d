//! Ways to hash headers, and which of them is the fastest here.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use adit::mining::lanes::{self, Midstate};

/// A way to hash headers. All give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
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
    /// Put the hash of each header into the place beside it.
    Headers { headers: &'a [[u8; 80]], hashes: &'a mut [[u8; 32]] },
}

impl Method {
    const ALL: [Self; 4] = [Self::Sha2, Self::Portable, Self::Avx2, Self::Avx512];

    /// Whether this processor has the instructions. An unsupported method still works: it does what [`Self::Portable`] does.
    pub(crate) fn is_supported(self) -> bool {
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
    pub(crate) fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|method| method.is_supported())
    }

    /// The fastest one here, measured on the first call, which takes about ten milliseconds.
    pub(crate) fn fastest() -> Self {
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
    pub(crate) fn search(self, midstate: &Midstate, top: u32, first: u32, count: u32, found: &mut Vec<u32>) {
        self.run(Task::Search { midstate, top, first, count, found });
    }

    #[cfg_attr(not(test), expect(dead_code, reason = "for servers that check shares in batches"))]
    /// SHA-256d of each header into the place beside it, raw SHA-256 order: how a server checks the shares at hand in one go.
    pub(crate) fn hash_headers(self, headers: &[[u8; 80]], hashes: &mut [[u8; 32]]) {
        self.run(Task::Headers { headers, hashes });
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

/// Nonces `N` at a time; headers `M` at a time, which is less because a server rarely has many at hand.
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
        Task::Headers { headers, hashes } => lanes::hash_headers::<M>(headers, hashes),
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
        Task::Headers { headers, hashes } => {
            for (header, hash) in headers.iter().zip(hashes) {
                *hash = lanes::hash_header(header);
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
