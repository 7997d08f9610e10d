//! SHA-256d, the hash of headers, transactions and merkle trees. Nothing of any protocol here.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// FIPS 180-4 §5.3.3: the state before the first block.
pub(crate) const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// SHA-256 of SHA-256 over the parts as if they were joined; 32 bytes in the order in which the function puts them out, which is
/// the order of every hash on the wire (D-TYPE-4).
#[must_use]
pub fn sha256d(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Sha256::digest(hasher.finalize()).into()
}

/// [`sha256d`] of two hashes, a node of a merkle tree. A server does this twelve times for a share of an extended channel, so the blocks go
/// to the compression function as they are: half the time of buffering them is saved.
#[must_use]
pub fn sha256d_pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut block = [0; 64];
    let (first, second) = block.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    let mut state = IV;
    compress256(&mut state, &[block, last_block::<0>(&[], 64)]);
    second_hash(&state)
}

/// [`sha256d`] of a block header.
#[must_use]
pub fn sha256d_header(header: &[u8; 80]) -> [u8; 32] {
    let mut state = IV;
    // 80 bytes are a block and 16 bytes.
    if let (Some(first), Some(tail)) = (header.first_chunk(), header.last_chunk::<16>()) {
        compress256(&mut state, &[*first, last_block(tail, 80)]);
    }
    second_hash(&state)
}

/// A block header with its padding, two blocks as the compression function takes them: who writes headers into one has nothing to copy before
/// it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaddedHeader([[u8; 64]; 2]);

impl Default for PaddedHeader {
    fn default() -> Self {
        Self::new()
    }
}

impl PaddedHeader {
    /// A header of zeros.
    #[must_use]
    pub const fn new() -> Self {
        // FIPS 180-4 §5.1.1: a one behind the last 16 bytes, and the length of 640 bits at the end.
        let mut last = [0; 64];
        last[16] = 0x80;
        last[62] = 0x02;
        last[63] = 0x80;
        Self([[0; 64], last])
    }

    /// The header.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8; 80] {
        // Two blocks are 128 bytes.
        self.0.as_flattened().first_chunk().unwrap_or(&[0; 80])
    }

    /// The header's 80 bytes, to be written.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_flattened_mut().get_mut(..80).unwrap_or_default()
    }

    /// [`sha256d`] of the header, into `hash`.
    #[inline]
    pub fn hash_into(&self, hash: &mut [u8; 32]) {
        let mut state = IV;
        compress256(&mut state, &self.0);
        second_hash_into(&state, hash);
    }
}

/// FIPS 180-4 §5.1.1: the last bytes of a message of `len` bytes, padded. At most 55 fit.
pub(crate) fn last_block<const N: usize>(tail: &[u8; N], len: u16) -> [u8; 64] {
    const { assert!(N < 56, "the padding takes nine bytes") };
    let mut block = [0; 64];
    let (bytes, padding) = block.split_at_mut(N);
    bytes.copy_from_slice(tail);
    if let Some(end) = padding.first_mut() {
        *end = 0x80;
    }
    if let Some(bits) = padding.last_chunk_mut() {
        *bits = (u32::from(len) * 8).to_be_bytes();
    }
    block
}

/// The hash of a finished hash.
pub(crate) fn second_hash(first: &[u32; 8]) -> [u8; 32] {
    let mut hash = [0; 32];
    second_hash_into(first, &mut hash);
    hash
}

#[inline]
fn second_hash_into(first: &[u32; 8], hash: &mut [u8; 32]) {
    let mut state = IV;
    let mut block = HASH_BLOCK;
    put_words(&mut block, first);
    compress256(&mut state, &[block]);
    put_words(hash, &state);
}

/// FIPS 180-4 §5.1.1: the block of a hash of 256 bits, but for the hash.
const HASH_BLOCK: [u8; 64] = {
    let mut block = [0; 64];
    block[32] = 0x80;
    block[62] = 0x01;
    block
};

/// Big-endian.
#[inline]
fn put_words(bytes: &mut [u8], words: &[u32; 8]) {
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn short_ways_give_the_same_hashes(left: [u8; 32], right: [u8; 32], tail: [u8; 16]) {
            prop_assert_eq!(sha256d_pair(&left, &right), sha256d(&[&left, &right]));
            let header: [u8; 80] = [left.as_slice(), &right, &tail].concat().try_into().unwrap();
            prop_assert_eq!(sha256d_header(&header), sha256d(&[&header]));
        }
    }

    #[test]
    fn a_known_answer_and_parts_that_join() {
        let hello = "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50";
        assert_eq!(hex::encode(sha256d(&[b"hello"])), hello);
        assert_eq!(hex::encode(sha256d(&[b"he", b"", b"llo"])), hello);
    }
}
