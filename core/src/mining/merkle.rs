//! From a job's parts to its merkle root. Making paths and coinbases is `template`'s business.

use crate::hash::{sha256d, sha256d_pair};

/// D-ALG-1, D-ALG-2: the id of the coinbase that these parts join to. A standard channel's `extranonce` is empty: its prefix fills
/// the whole length. The parts are hashed where they stand, nothing is joined in memory.
#[must_use]
pub fn coinbase_txid(prefix: &[u8], extranonce_prefix: &[u8], extranonce: &[u8], suffix: &[u8]) -> [u8; 32] {
    sha256d(&[prefix, extranonce_prefix, extranonce, suffix])
}

/// D-ALG-3: folds the path, deepest hash first, onto the coinbase's id.
#[must_use]
pub fn merkle_root<I>(txid: [u8; 32], path: I) -> [u8; 32]
where
    I: IntoIterator<Item = [u8; 32]>,
{
    path.into_iter().fold(txid, |root, sibling| sha256d_pair(&root, &sibling))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn id(hex_digits: &str) -> [u8; 32] {
        let mut bytes: [u8; 32] = hex::decode(hex_digits).unwrap().try_into().unwrap();
        bytes.reverse();
        bytes
    }

    /// D-ALG-3, on block 100,000 with its four transactions.
    #[test]
    fn the_root_of_block_100000() {
        let coinbase = id("8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87");
        let second = id("fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4");
        let third = id("6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4");
        let fourth = id("e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d");
        let path = [second, sha256d(&[&third, &fourth])];
        let expected = id("f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766");
        assert_eq!(merkle_root(coinbase, path), expected);
        assert_eq!(merkle_root(coinbase, []), coinbase, "a block with a coinbase alone");
    }

    proptest! {
        /// D-ALG-1, D-ALG-2: streaming the parts is hashing the joined coinbase.
        #[test]
        fn parts_hash_as_the_joined_coinbase(parts in any::<[Vec<u8>; 4]>()) {
            let [a, b, c, d] = &parts;
            prop_assert_eq!(coinbase_txid(a, b, c, d), sha256d(&[&parts.concat()]));
        }
    }
}
