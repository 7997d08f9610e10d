//! SHA-256d of many block headers at once, in lanes of plain arrays.
//!
//! Two uses: a miner tries consecutive nonces of one header ([`Midstate::top_words`]), a server checks several shares: it works out their
//! merkle roots ([`fold_paths`]) and hashes their headers ([`hash_headers`]). Everything here is portable and without `unsafe`: the compiler turns a lane-wise loop into vector instructions of
//! whatever the calling function may use, which is why all of it is `inline(always)`. A caller that found AVX2 or AVX-512 at run time wraps
//! these functions in one of its own with that `target_feature`. How many lanes pay is therefore the caller's choice; with fewer than 16 LLVM
//! unrolls the loops before it could vectorise them, so use 16 or more.
//!
//! Hashes are in raw SHA-256 order, which read as a number is little-endian: byte 31 is the most significant one.
//!
//! What must not live here: targets, shares, choosing an instruction set.

#![allow(clippy::inline_always, reason = "only an inlined body is compiled with the caller's instruction set")]
#![allow(clippy::many_single_char_names, reason = "the standard's own names for the eight variables and the schedule")]

use sha2::block_api::compress256;

use crate::hash::{IV, K, first_hash, second_hash as second_hash_of_one, sha256d_header};
use crate::mining::header::{Header, HeaderParts};
use crate::mining::merkle::merkle_root;
use crate::wire::U256;

/// One 32-bit word of each of `N` hashes in the making.
#[derive(Clone, Copy)]
struct Lanes<const N: usize>([u32; N]);

impl<const N: usize> Lanes<N> {
    const ZERO: Self = Self([0; N]);

    #[inline(always)]
    fn splat(word: u32) -> Self {
        Self([word; N])
    }

    #[inline(always)]
    fn map(mut self, f: impl Fn(u32) -> u32) -> Self {
        for word in &mut self.0 {
            *word = f(*word);
        }
        self
    }

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word = word.wrapping_add(other);
        }
        self
    }
}

/// Round `t` of the compression function for every lane, on the eight variables in their order of this round.
macro_rules! round {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $t:expr, $w:expr) => {
        let (w, k) = ($w, K[$t]);
        let mut lane = 0;
        // `lane < N`, the length of each array, so no index is out of bounds; iterators over eight arrays at once do not vectorise.
        while lane < N {
            let (a, e) = ($a.0[lane], $e.0[lane]);
            let sum1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = $g.0[lane] ^ (e & ($f.0[lane] ^ $g.0[lane]));
            let t1 = $h.0[lane].wrapping_add(sum1).wrapping_add(choice).wrapping_add(w.0[lane].wrapping_add(k));
            let sum0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & $b.0[lane]) | ($c.0[lane] & (a | $b.0[lane]));
            $d.0[lane] = $d.0[lane].wrapping_add(t1);
            $h.0[lane] = t1.wrapping_add(sum0).wrapping_add(majority);
            lane += 1;
        }
    };
}

/// FIPS 180-4 §6.2.2 in every lane: the state after one more block.
#[inline(always)]
fn compress<const N: usize>(state: [Lanes<N>; 8], mut w: [Lanes<N>; 16]) -> [Lanes<N>; 8] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    // Indices below: `t` is a multiple of 16 below 64, `j` below 16, both within `K` and `w`.
    macro_rules! eight_rounds {
        ($t:expr, $j:expr) => {
            round!(a b c d e f g h, $t + $j, w[$j]);
            round!(h a b c d e f g, $t + $j + 1, w[$j + 1]);
            round!(g h a b c d e f, $t + $j + 2, w[$j + 2]);
            round!(f g h a b c d e, $t + $j + 3, w[$j + 3]);
            round!(e f g h a b c d, $t + $j + 4, w[$j + 4]);
            round!(d e f g h a b c, $t + $j + 5, w[$j + 5]);
            round!(c d e f g h a b, $t + $j + 6, w[$j + 6]);
            round!(b c d e f g h a, $t + $j + 7, w[$j + 7]);
        };
    }
    eight_rounds!(0, 0);
    eight_rounds!(0, 8);
    let mut t = 16;
    while t < 64 {
        let mut j = 0;
        while j < 16 {
            let sigma0 = w[(j + 1) & 15].map(|x| x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3));
            let sigma1 = w[(j + 14) & 15].map(|x| x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10));
            w[j] = w[j].add(sigma0).add(w[(j + 9) & 15]).add(sigma1);
            j += 1;
        }
        eight_rounds!(t, 0);
        eight_rounds!(t, 8);
        t += 16;
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = state;
    [s0.add(a), s1.add(b), s2.add(c), s3.add(d), s4.add(e), s5.add(f), s6.add(g), s7.add(h)]
}

/// The second hash of SHA-256d: over the 32 bytes of the first.
#[inline(always)]
fn second_hash<const N: usize>([a, b, c, d, e, f, g, h]: [Lanes<N>; 8]) -> [Lanes<N>; 8] {
    let zero = Lanes::ZERO;
    let (end, bits) = (Lanes::splat(0x8000_0000), Lanes::splat(8 * 32));
    compress(IV.map(Lanes::splat), [a, b, c, d, e, f, g, h, end, zero, zero, zero, zero, zero, zero, bits])
}

/// The second block of an 80-byte header: its last 16 bytes and the padding.
#[inline(always)]
fn tail_block<const N: usize>([a, b, c, d]: [Lanes<N>; 4]) -> [Lanes<N>; 16] {
    let zero = Lanes::ZERO;
    let (end, bits) = (Lanes::splat(0x8000_0000), Lanes::splat(8 * 80));
    [a, b, c, d, end, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, bits]
}

fn words<const W: usize>(bytes: &[u8]) -> [u32; W] {
    let mut words = [0; W];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

fn bytes<const B: usize>(words: &[u32]) -> [u8; B] {
    let mut bytes = [0; B];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
    bytes
}

/// What all nonces of a header share: the hash state behind its first 64 bytes, and the 12 bytes before the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Midstate {
    state: [u32; 8],
    tail: [u32; 3],
}

impl Midstate {
    /// Of an 80-byte header; its nonce does not matter.
    #[must_use]
    pub fn new(header: &[u8; 80]) -> Self {
        let (first, rest) = header.split_at(64);
        let mut state = IV;
        if let Some(block) = first.first_chunk() {
            compress256(&mut state, core::slice::from_ref(block));
        }
        Self { state, tail: words(rest) }
    }

    /// The eight variables behind the first 64 bytes.
    #[must_use]
    pub const fn state(&self) -> &[u32; 8] {
        &self.state
    }

    /// The words before the nonce: the end of the merkle root, nTime and nbits, each read big-endian as the function takes them.
    #[must_use]
    pub const fn tail(&self) -> &[u32; 3] {
        &self.tail
    }

    /// The header's SHA-256d with this nonce, in raw SHA-256 order; by `sha2`, thus with the processor's SHA instructions where it has them.
    #[must_use]
    pub fn hash(&self, nonce: u32) -> [u8; 32] {
        let [a, b, c] = self.tail;
        let mut state = self.state;
        let block = [a, b, c, nonce.swap_bytes(), 0x8000_0000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8 * 80];
        compress256(&mut state, &[bytes(&block)]);
        second_hash_of_one(&state)
    }

    /// The most significant 32 bits of the SHA-256d of `N` consecutive nonces from `first` on (wrapping), each lane one nonce. The hash
    /// as a number is at least this times 2^224, so a miner needs the full [`Self::hash`] only where this is not above its target's.
    #[inline(always)]
    #[must_use]
    pub fn top_words<const N: usize>(&self, first: u32) -> [u32; N] {
        let mut nonce = Lanes::<N>::ZERO;
        let mut next = first;
        for word in &mut nonce.0 {
            *word = next.swap_bytes();
            next = next.wrapping_add(1);
        }
        let [a, b, c] = self.tail.map(Lanes::splat);
        let first_hash = compress(self.state.map(Lanes::splat), tail_block([a, b, c, nonce]));
        let [.., top] = second_hash(first_hash);
        top.map(u32::swap_bytes).0
    }
}

/// SHA-256d of each header into the place beside it in `hashes`, `N` at a time and the rest one by one. Headers without a place are not hashed.
#[inline(always)]
pub fn hash_headers<const N: usize>(headers: &[[u8; 80]], hashes: &mut [[u8; 32]]) {
    let count = headers.len().min(hashes.len());
    let (headers, hashes) = (headers.get(..count).unwrap_or_default(), hashes.get_mut(..count).unwrap_or_default());
    let (groups, rest) = headers.as_chunks::<N>();
    let (group_hashes, rest_hashes) = hashes.as_chunks_mut::<N>();
    for (group, hashes) in groups.iter().zip(group_hashes) {
        hash_group(group, hashes);
    }
    OneByOne.hash_headers(rest, rest_hashes);
}

#[inline(always)]
fn hash_group<const N: usize>(headers: &[[u8; 80]; N], hashes: &mut [[u8; 32]; N]) {
    let mut block = [Lanes::<N>::ZERO; 16];
    let mut tail = [Lanes::<N>::ZERO; 4];
    for (lane, header) in headers.iter().enumerate() {
        let (first, last) = header.split_at(64);
        for (word, bytes) in block.iter_mut().zip(first.as_chunks::<4>().0) {
            // `lane` counts the N headers, and a word has N lanes.
            word.0[lane] = u32::from_be_bytes(*bytes);
        }
        for (word, bytes) in tail.iter_mut().zip(last.as_chunks::<4>().0) {
            word.0[lane] = u32::from_be_bytes(*bytes);
        }
    }
    let state = compress(IV.map(Lanes::splat), block);
    let state = second_hash(compress(state, tail_block(tail)));
    for (lane, hash) in hashes.iter_mut().enumerate() {
        for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(&state) {
            *bytes = word.0[lane].to_be_bytes();
        }
    }
}

/// D-ALG-3: folds a merkle path, deepest hash first, onto each of the coinbase ids, which becomes its root; `N` at a time and the rest one by
/// one. All lanes go up the same path, so nothing is transposed but the ids and the roots.
#[inline(always)]
pub fn fold_paths<const N: usize>(path: &[U256], ids: &mut [[u8; 32]]) {
    let (groups, rest) = ids.as_chunks_mut::<N>();
    for group in groups {
        fold_group(path, group);
    }
    OneByOne.fold_paths(path, rest);
}

#[inline(always)]
fn fold_group<const N: usize>(path: &[U256], ids: &mut [[u8; 32]; N]) {
    let mut state = [Lanes::<N>::ZERO; 8];
    for (lane, id) in ids.iter().enumerate() {
        for (word, bytes) in state.iter_mut().zip(id.as_chunks::<4>().0) {
            // `lane` counts the N ids, and a word has N lanes.
            word.0[lane] = u32::from_be_bytes(*bytes);
        }
    }
    let zero = Lanes::ZERO;
    let (end, bits) = (Lanes::splat(0x8000_0000), Lanes::splat(8 * 64));
    let padding = [end, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, bits];
    for node in path {
        let [a, b, c, d, e, f, g, h] = state;
        let [i, j, k, l, m, n, o, p] = words::<8>(&node.0).map(Lanes::splat);
        let pair = compress(IV.map(Lanes::splat), [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
        state = second_hash(compress(pair, padding));
    }
    for (lane, id) in ids.iter_mut().enumerate() {
        for (bytes, word) in id.as_chunks_mut::<4>().0.iter_mut().zip(&state) {
            *bytes = word.0[lane].to_be_bytes();
        }
    }
}

/// What hashes the shares that a server has at hand, with whatever the processor has. All give the same results.
pub trait Hasher: core::fmt::Debug + Send + Sync {
    /// The words of one header's SHA-256: the first half of its SHA-256d. In halves, since a processor has time for other things in between: its
    /// SHA instructions wait for each other.
    fn first_hash(&self, header: &HeaderParts<'_>, words: &mut [u32; 8]) {
        *words = first_hash(&Header::from(*header).to_bytes());
    }

    /// The second half: SHA-256 of a hash of these words, in raw SHA-256 order.
    fn second_hash(&self, words: &[u32; 8], hash: &mut [u8; 32]) {
        *hash = second_hash_of_one(words);
    }

    /// Puts the SHA-256d of each header into the place beside it, raw SHA-256 order.
    fn hash_headers(&self, headers: &[[u8; 80]], hashes: &mut [[u8; 32]]);

    /// Folds a merkle path, deepest hash first, onto each of the coinbase ids, which becomes its root (D-ALG-3).
    fn fold_paths(&self, path: &[U256], ids: &mut [[u8; 32]]);
}

/// One by one, by the `sha2` package, which uses the processor's SHA instructions where there are any.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneByOne;

impl Hasher for OneByOne {
    fn hash_headers(&self, headers: &[[u8; 80]], hashes: &mut [[u8; 32]]) {
        for (header, hash) in headers.iter().zip(hashes) {
            *hash = sha256d_header(header);
        }
    }

    fn fold_paths(&self, path: &[U256], ids: &mut [[u8; 32]]) {
        for id in ids {
            *id = merkle_root(*id, path.iter().map(|node| node.0));
        }
    }
}

/// `N` lanes, compiled for whatever the whole program is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable<const N: usize>;

impl<const N: usize> Hasher for Portable<N> {
    fn hash_headers(&self, headers: &[[u8; 80]], hashes: &mut [[u8; 32]]) {
        hash_headers::<N>(headers, hashes);
    }

    fn fold_paths(&self, path: &[U256], ids: &mut [[u8; 32]]) {
        fold_paths::<N>(path, ids);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};
    use std::vec::Vec;

    use super::*;

    /// Header of the first block of the main chain, by its published fields.
    const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";
    const GENESIS_HASH: &str = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";

    fn header(bytes: &[u8]) -> [u8; 80] {
        bytes.try_into().expect("80 bytes")
    }

    fn reference(header: &[u8; 80]) -> [u8; 32] {
        Sha256::digest(Sha256::digest(header)).into()
    }

    fn top(hash: &[u8; 32]) -> u32 {
        u32::from_le_bytes(*hash.last_chunk().expect("32 bytes"))
    }

    #[test]
    fn the_genesis_header_is_found_by_its_nonce() {
        let header = header(&hex::decode(GENESIS).expect("hex"));
        let mut hash = sha256d_header(&header);
        hash.reverse();
        assert_eq!(hex::encode(hash), GENESIS_HASH);
        let nonce = 2_083_236_893_u32;
        let words = Midstate::new(&header).top_words::<16>(nonce - 7);
        assert_eq!(words.iter().position(|word| *word == 0), Some(7), "only this nonce has 32 zero bits");
        assert_eq!(words.iter().filter(|word| **word == 0).count(), 1);
    }

    #[test]
    fn nonces_wrap_at_the_end_of_their_range() {
        let header = header(&hex::decode(GENESIS).expect("hex"));
        let midstate = Midstate::new(&header);
        let words = midstate.top_words::<16>(u32::MAX - 3);
        for (lane, word) in words.into_iter().enumerate() {
            let nonce = (u32::MAX - 3).wrapping_add(u32::try_from(lane).expect("16 lanes"));
            assert_eq!(word, top(&midstate.hash(nonce)), "nonce {nonce:#x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn lanes_agree_with_sha2_for_every_nonce(bytes in proptest::collection::vec(any::<u8>(), 80), first: u32) {
            let mut header = header(&bytes);
            let midstate = Midstate::new(&header);
            let (few, many) = (midstate.top_words::<3>(first), midstate.top_words::<16>(first));
            prop_assert_eq!(&few[..], &many[..3]);
            for (lane, word) in many.into_iter().enumerate() {
                let nonce = first.wrapping_add(u32::try_from(lane).expect("16 lanes"));
                header[76..].copy_from_slice(&nonce.to_le_bytes());
                let hash = reference(&header);
                prop_assert_eq!(midstate.hash(nonce), hash);
                prop_assert_eq!(word, top(&hash));
            }
        }

        #[test]
        fn batches_of_any_length_agree_with_sha2(
            headers in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 80), 0..40),
            places in 0..40_usize,
        ) {
            let headers: Vec<[u8; 80]> = headers.iter().map(|bytes| header(bytes)).collect();
            let mut hashes = std::vec![[0xa5; 32]; places];
            hash_headers::<16>(&headers, &mut hashes);
            for (at, hash) in hashes.iter().enumerate() {
                prop_assert_eq!(*hash, headers.get(at).map_or([0xa5; 32], reference));
            }
            for header in &headers {
                let (mut words, mut hash) = ([0; 8], [0; 32]);
                OneByOne.first_hash(&Header::from_bytes(header).parts(), &mut words);
                OneByOne.second_hash(&words, &mut hash);
                prop_assert_eq!(hash, reference(header));
            }
        }

        /// D-ALG-3
        #[test]
        fn paths_fold_as_they_do_one_by_one(
            mut ids in proptest::collection::vec(any::<[u8; 32]>(), 0..40), path in proptest::collection::vec(any::<[u8; 32]>(), 0..14),
        ) {
            let expected: Vec<_> = ids.iter().map(|id| merkle_root(*id, path.iter().copied())).collect();
            let path: Vec<_> = path.into_iter().map(U256).collect();
            fold_paths::<16>(&path, &mut ids);
            prop_assert_eq!(ids, expected);
        }
    }
}
