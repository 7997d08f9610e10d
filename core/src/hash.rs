//! SHA-256d, the hash of headers, transactions and merkle trees. Nothing of any protocol here.

use sha2::{Digest, Sha256};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_answer_and_parts_that_join() {
        let hello = "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50";
        assert_eq!(hex::encode(sha256d(&[b"hello"])), hello);
        assert_eq!(hex::encode(sha256d(&[b"he", b"", b"llo"])), hello);
    }
}
