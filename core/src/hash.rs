//! SHA-256d, the hash of headers, transactions and merkle trees. Nothing of any protocol here.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// FIPS 180-4 §5.3.3: the state before the first block.
pub const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// FIPS 180-4 §4.2.2: what each round adds.
#[rustfmt::skip]
pub const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

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
    second_hash(&first_hash(header))
}

/// The words of a block header's SHA-256.
#[must_use]
pub fn first_hash(header: &[u8; 80]) -> [u32; 8] {
    let mut state = IV;
    // 80 bytes are a block and 16 bytes.
    if let (Some(first), Some(tail)) = (header.first_chunk(), header.last_chunk::<16>()) {
        compress256(&mut state, &[*first, last_block(tail, 80)]);
    }
    state
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

/// SHA-256 of a hash, of which these are the words: what makes [`sha256d`] of it.
#[must_use]
pub fn second_hash(first: &[u32; 8]) -> [u8; 32] {
    let mut state = IV;
    let mut block = HASH_BLOCK;
    put_words(&mut block, first);
    compress256(&mut state, &[block]);
    let mut hash = [0; 32];
    put_words(&mut hash, &state);
    hash
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
