//! What is on the heap is wiped before it is given back. What is in values `conformance/hostile/secrets.rs` looks at.

use adit::crypto::{Aead, Cipher, Provider, RustCrypto};
use adit_native::crypto::AwsLc;

use crate::allocator::given_back_with;

const KEY: [u8; 32] = *b"a secret that nobody is to keep.";

fn keys<P: Provider>() {
    for cipher in [Cipher::ChaChaPoly, Cipher::AesGcm] {
        let used = || {
            let key = P::Aead::new(cipher, &KEY).expect("both have both");
            let mut tag = [0; 16];
            key.seal_in_place(0, &[], &mut [0; 100], &mut tag).expect("sealed");
        };
        assert_eq!(given_back_with(&KEY, used), 0, "{cipher}");
    }
}

/// An AES key is on the heap where there is one, expanded: with AES instructions it begins with itself then.
#[test]
fn cipher_keys_are_wiped_before_their_memory_is_given_back() {
    keys::<RustCrypto>();
    keys::<AwsLc>();
}
