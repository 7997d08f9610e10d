//! SHA-256d with x86's SHA instructions: one header as fast as the instructions follow each other, several two at a time, since each
//! instruction waits for the one before and the processor has room for another hash in between.
//!
//! The `sha2` package knows the same instructions, but takes blocks and states as bytes in memory. A header that was written a moment ago,
//! in other pieces than it is read in, makes the processor wait until all before it is done; here header, states and the hash in between
//! never leave the registers. Choosing this, and all other ways, is the parent's business.

#![allow(clippy::many_single_char_names, reason = "the standard's own names for the eight variables")]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_set1_epi32,
    _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128, _mm_unpackhi_epi64, _mm_unpacklo_epi64,
};

use adit::hash::{IV, K};
use adit::mining::lanes::Midstate;
use adit::wire::U256;

/// The eight variables as the instructions want them, the first named in the highest place.
#[derive(Clone, Copy)]
struct State {
    abef: __m128i,
    cdgh: __m128i,
}

/// 16 words, the first in the lowest place of the first vector.
type Block = [__m128i; 4];

/// The words of a hash.
type Words = [__m128i; 2];

/// Words as they are, the first in the lowest place.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn vector([a, b, c, d]: [u32; 4]) -> __m128i {
    _mm_set_epi32(d.cast_signed(), c.cast_signed(), b.cast_signed(), a.cast_signed())
}

/// Bytes in their order in memory.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn load(bytes: &[u8; 16]) -> __m128i {
    let both = u128::from_le_bytes(*bytes);
    _mm_set_epi64x((both >> 64) as i64, both as i64)
}

/// The first and the second half of a hash.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn halves(hash: &[u8; 32]) -> Words {
    let (halves, _) = hash.as_chunks::<16>();
    // 32 bytes are two chunks of 16.
    [load(&halves[0]), load(&halves[1])]
}

/// Big-endian bytes to words, and back.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn swap(vector: __m128i) -> __m128i {
    _mm_shuffle_epi8(vector, _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203))
}

impl State {
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn new([a, b, c, d, e, f, g, h]: [u32; 8]) -> Self {
        Self { abef: vector([f, e, b, a]), cdgh: vector([h, g, d, c]) }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn words(self) -> Words {
        // Each the other way round: a b e f, c d g h.
        let (abef, cdgh) = (_mm_shuffle_epi32(self.abef, 0b00_01_10_11), _mm_shuffle_epi32(self.cdgh, 0b00_01_10_11));
        [_mm_unpacklo_epi64(abef, cdgh), _mm_unpackhi_epi64(abef, cdgh)]
    }

    /// The most significant word of a SHA-256d as a number, which is its last one.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn top_word(self) -> u32 {
        _mm_extract_epi32(self.cdgh, 0).cast_unsigned().swap_bytes()
    }

    /// The hash of which these are the variables, in raw SHA-256 order.
    #[inline]
    #[target_feature(enable = "sha,sse4.1")]
    fn put(self, hash: &mut [u8; 32]) {
        let (halves, _) = hash.as_chunks_mut::<16>();
        for (half, words) in halves.iter_mut().zip(self.words()) {
            // SAFETY: `half` is 16 bytes that may be written, wherever they begin.
            unsafe { _mm_storeu_si128(half.as_mut_ptr().cast(), swap(words)) }
        }
    }
}

/// FIPS 180-4 §6.2.2: the states behind one more block each.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn compress<const N: usize>(before: [State; N], mut blocks: [Block; N]) -> [State; N] {
    let mut states = before;
    // Four rounds of every hash, with words 4 `$at` to 4 `$at` + 3 of its schedule.
    macro_rules! rounds {
        ($at:literal) => {{
            let k = vector([K[4 * $at], K[4 * $at + 1], K[4 * $at + 2], K[4 * $at + 3]]);
            for (state, w) in states.iter_mut().zip(&mut blocks) {
                if $at >= 4 {
                    // Words 16, 15, 7 and 2 before make the next. All indices are below 4.
                    let seven = _mm_alignr_epi8(w[($at + 3) % 4], w[($at + 2) % 4], 4);
                    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[$at % 4], w[($at + 1) % 4]), seven);
                    w[$at % 4] = _mm_sha256msg2_epu32(sum, w[($at + 3) % 4]);
                }
                let wk = _mm_add_epi32(w[$at % 4], k);
                // Two rounds make the new a, b, e and f; the old ones are c, d, g and h then.
                state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, wk);
                state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, _mm_shuffle_epi32(wk, 0b00_00_11_10));
            }
        }};
    }
    rounds!(0);
    rounds!(1);
    rounds!(2);
    rounds!(3);
    rounds!(4);
    rounds!(5);
    rounds!(6);
    rounds!(7);
    rounds!(8);
    rounds!(9);
    rounds!(10);
    rounds!(11);
    rounds!(12);
    rounds!(13);
    rounds!(14);
    rounds!(15);
    for (state, before) in states.iter_mut().zip(before) {
        state.abef = _mm_add_epi32(state.abef, before.abef);
        state.cdgh = _mm_add_epi32(state.cdgh, before.cdgh);
    }
    states
}

/// FIPS 180-4 §5.1.1: 16 bytes and the padding of a message of 80.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn tail_block(tail: __m128i) -> Block {
    [tail, vector([0x8000_0000, 0, 0, 0]), _mm_setzero_si128(), vector([0, 0, 0, 8 * 80])]
}

/// The second hash of SHA-256d: over the 32 bytes of the first.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn second_hash<const N: usize>(first: [State; N]) -> [State; N] {
    let blocks = first.map(|state| {
        let [low, high] = state.words();
        [low, high, vector([0x8000_0000, 0, 0, 0]), vector([0, 0, 0, 8 * 32])]
    });
    compress([State::new(IV); N], blocks)
}

/// SHA-256 of headers, from their words.
#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn hash_words<const N: usize>(first: [Block; N], tails: [__m128i; N]) -> [State; N] {
    compress(compress([State::new(IV); N], first), tails.map(|tail| tail_block(tail)))
}

/// The words of a header's SHA-256. Numbers come in registers: read from where they were written a moment ago, they would be read together.
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn hash_once(
    version: u32,
    (prev_hash, merkle_root): (&[u8; 32], &[u8; 32]),
    ntime: u32,
    nbits: u32,
    nonce: u32,
    words: &mut [u32; 8],
) {
    let [prev_low, prev_high] = halves(prev_hash);
    let [root_low, root_high] = halves(merkle_root);
    // The version stands before the prevhash and pushes both hashes on by four bytes.
    let version = _mm_set1_epi32(version.cast_signed());
    let first = [
        _mm_alignr_epi8(prev_low, version, 12),
        _mm_alignr_epi8(prev_high, prev_low, 12),
        _mm_alignr_epi8(root_low, prev_high, 12),
        _mm_alignr_epi8(root_high, root_low, 12),
    ];
    let rest = vector([ntime, nbits, nonce, 0]);
    let tail = swap(_mm_alignr_epi8(rest, root_high, 12));
    let [state] = hash_words([first.map(|bytes| swap(bytes))], [tail]);
    let (halves, _) = words.as_chunks_mut::<4>();
    for (half, words) in halves.iter_mut().zip(state.words()) {
        // SAFETY: `half` is 16 bytes that may be written, wherever they begin.
        unsafe { _mm_storeu_si128(half.as_mut_ptr().cast(), words) }
    }
}

/// SHA-256 of a hash, of which these are the words, in raw SHA-256 order.
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn hash_again(words: &[u32; 8], hash: &mut [u8; 32]) {
    let [a, b, c, d, e, f, g, h] = *words;
    let block = [vector([a, b, c, d]), vector([e, f, g, h]), vector([0x8000_0000, 0, 0, 0]), vector([0, 0, 0, 8 * 32])];
    let [state] = compress([State::new(IV)], [block]);
    state.put(hash);
}

/// SHA-256d of each header into the place beside it.
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn hash_headers(headers: &[[u8; 80]], hashes: &mut [[u8; 32]]) {
    let count = headers.len().min(hashes.len());
    let (pairs, rest) = headers[..count].as_chunks::<2>();
    let (pair_hashes, rest_hashes) = hashes[..count].as_chunks_mut::<2>();
    for (pair, hashes) in pairs.iter().zip(pair_hashes) {
        hash_group(pair, hashes);
    }
    for (header, hash) in rest.iter().zip(rest_hashes) {
        hash_group(std::array::from_ref(header), std::array::from_mut(hash));
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn hash_group<const N: usize>(headers: &[[u8; 80]; N], hashes: &mut [[u8; 32]; N]) {
    let parts = headers.each_ref().map(|header| {
        let (parts, _) = header.as_chunks::<16>();
        // 80 bytes are five chunks of 16.
        std::array::from_fn::<_, 5, _>(|at| swap(load(&parts[at])))
    });
    let states = second_hash(hash_words(parts.map(|[a, b, c, d, _]| [a, b, c, d]), parts.map(|[.., tail]| tail)));
    for (state, hash) in states.into_iter().zip(hashes) {
        state.put(hash);
    }
}

/// D-ALG-3: folds a merkle path, deepest hash first, onto each of the coinbase ids.
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn fold_paths(path: &[U256], ids: &mut [[u8; 32]]) {
    let (pairs, rest) = ids.as_chunks_mut::<2>();
    for pair in pairs {
        fold_group(path, pair);
    }
    for id in rest {
        fold_group(path, std::array::from_mut(id));
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1")]
fn fold_group<const N: usize>(path: &[U256], ids: &mut [[u8; 32]; N]) {
    let zero = _mm_setzero_si128();
    let padding = [vector([0x8000_0000, 0, 0, 0]), zero, zero, vector([0, 0, 0, 8 * 64])];
    let mut roots = ids.each_ref().map(|id| halves(id).map(|half| swap(half)));
    for node in path {
        let [low, high] = halves(&node.0).map(|half| swap(half));
        let blocks = roots.map(|[a, b]| [a, b, low, high]);
        let pair = compress(compress([State::new(IV); N], blocks), [padding; N]);
        roots = second_hash(pair).map(|state| state.words());
    }
    for (root, id) in roots.into_iter().zip(ids) {
        let (halves, _) = id.as_chunks_mut::<16>();
        for (half, words) in halves.iter_mut().zip(root) {
            // SAFETY: `half` is 16 bytes that may be written, wherever they begin.
            unsafe { _mm_storeu_si128(half.as_mut_ptr().cast(), swap(words)) }
        }
    }
}

/// Appends those of `count` nonces from `first` on (wrapping) whose hash has at most `top` as its most significant 32 bits.
#[target_feature(enable = "sha,sse4.1")]
pub(super) fn search(midstate: &Midstate, top: u32, first: u32, count: u32, found: &mut Vec<u32>) {
    let state = State::new(*midstate.state());
    let [a, b, c] = *midstate.tail();
    for at in (0..count).step_by(2) {
        let nonces = [first.wrapping_add(at), first.wrapping_add(at + 1)];
        let blocks = nonces.map(|nonce| tail_block(vector([a, b, c, nonce.swap_bytes()])));
        let words = second_hash(compress([state; 2], blocks)).map(|state| state.top_word());
        let lanes = (at..count).zip(nonces).zip(words);
        found.extend(lanes.filter(|(_, word)| *word <= top).map(|((_, nonce), _)| nonce));
    }
}
