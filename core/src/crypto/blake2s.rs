//! The hash of the default provider: BLAKE2s-256 of the blake2 crate, block by block.
//!
//! The crate's hasher keeps the last block back, because that one is compressed differently: a state behind a whole block can't be had
//! from it, and a handshake is mostly hashes that begin with the same block. So what is copied, kept back and wiped is decided here; the
//! compression function is the crate's.

#![allow(
    clippy::inline_always,
    reason = "in line the lengths are known, and what is copied and padded becomes a few stores"
)]

use crate::crypto::undisclosed;
use blake2::Blake2s256;
use blake2::digest::block_api::{Buffer, CoreProxy, FixedOutputCore, UpdateCore};

use super::{Hash, Secret, secret::wipe};

/// BLAKE2s-256 of the blake2 crate.
#[derive(Debug)]
pub struct Blake2s;

/// A hash behind whole blocks, with more to come.
type State = <Blake2s256 as CoreProxy>::Core;

/// Bytes that BLAKE2s takes at a time.
const BLOCK: usize = 64;

impl Hash for Blake2s {
    fn digest(parts: impl IntoIterator<Item: AsRef<[u8]>>) -> [u8; 32] {
        let mut hasher = Hasher::default();
        for part in parts {
            hasher.take(part.as_ref());
        }
        hasher.end()
    }

    fn hkdf(salt: &[u8; 32], input: &[u8]) -> (Secret, Secret) {
        // Not by a state behind the first block: that one is the last, too, when there is no input.
        let mut block = padded(salt);
        let hash = Secret::from_bytes(Self::digest([&block, input]));
        turn(&mut block);
        let mut outer = State::default();
        take_block(&mut outer, &block);
        expand(&finish(&outer, hash.expose()), &mut block)
    }
}

/// A key of HMAC-BLAKE2s (RFC 2104), as far as it can be worked out before there is a message: 2 of 4 blocks of a short one.
pub struct HmacKey {
    inner: State,
    outer: State,
}

undisclosed!([] HmacKey, "HmacKey");

impl HmacKey {
    /// Works it out.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self::new_in(key, &mut [0; BLOCK])
    }

    /// As [`new`](Self::new), with a block to work in, which is zero in the end.
    #[inline(always)]
    fn new_in(key: &[u8; 32], block: &mut [u8; BLOCK]) -> Self {
        let (mut inner, mut outer) = (State::default(), State::default());
        *block = padded(key);
        take_block(&mut inner, block);
        turn(block);
        take_block(&mut outer, block);
        wipe(block);
        Self { inner, outer }
    }

    /// The authentication code of `text`, which is not empty.
    #[inline(always)]
    fn mac(&self, text: &[u8]) -> Secret {
        finish(&self.outer, finish(&self.inner, text).expose())
    }

    /// [`Hash::hkdf`] with this key as its salt.
    #[must_use]
    pub fn hkdf(&self, input: &[u8; 32]) -> (Secret, Secret) {
        expand(&self.mac(input), &mut [0; BLOCK])
    }
}

/// The second half of HKDF (RFC 5869 §2.3). Both outputs are under one key: HMAC of a library would hash its pads for each of them, 2 of 10
/// blocks of a key derivation, which is most of what a handshake takes beside its curve operations.
#[inline(always)]
fn expand(key: &Secret, block: &mut [u8; BLOCK]) -> (Secret, Secret) {
    let key = HmacKey::new_in(key.expose(), block);
    let first = key.mac(&[1]);
    let mut text = [2; 33];
    if let Some(front) = text.first_chunk_mut() {
        *front = *first.expose();
    }
    let second = key.mac(&text);
    wipe(&mut text);
    (first, second)
}

/// A key of HMAC as its inner hash begins with it.
fn padded(key: &[u8; 32]) -> [u8; BLOCK] {
    let mut block = [0x36; BLOCK];
    block.iter_mut().zip(key).for_each(|(to, from)| *to ^= from);
    block
}

/// Makes of the block that the inner hash begins with the outer one's.
fn turn(block: &mut [u8; BLOCK]) {
    for byte in block {
        *byte ^= 0x36 ^ 0x5c;
    }
}

/// Takes a whole block. It must not end there: what comes after it is not empty.
#[cfg_attr(target_os = "none", inline(never))]
fn take_block(state: &mut State, block: &[u8; BLOCK]) {
    state.update_blocks(core::slice::from_ref(block.into()));
}

/// The hash of what a state has seen and of `text`.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline(always))]
fn finish(state: &State, text: &[u8]) -> Secret {
    let mut hasher = Hasher { state: state.clone(), rest: <_>::default() };
    hasher.take(text);
    Secret::from_bytes(hasher.end())
}

/// A hash behind any bytes.
#[derive(Default)]
struct Hasher {
    state: State,
    /// What may be the last block.
    rest: Buffer<State>,
}

impl Hasher {
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn take(&mut self, text: &[u8]) {
        let Self { state, rest } = self;
        rest.digest_blocks(text, |blocks| state.update_blocks(blocks));
    }

    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline(always))]
    fn end(&mut self) -> [u8; 32] {
        let mut hash = <_>::default();
        self.state.finalize_fixed_core(&mut self.rest, &mut hash);
        hash.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// D-SEC-12: plain BLAKE2s and HKDF over its HMAC, against Python's hashlib and hmac.
    #[test]
    fn blake2s_known_answers() {
        let parts = [b"ab".as_slice(), &[b'c'; 100]];
        let hash = array("2b65a69a838650a22b8cc9b385fd1425e020f03c558053e1a4e4c716b66f97db");
        assert_eq!(Blake2s::digest(parts), hash);
        let salt = core::array::from_fn(|at| at as u8);
        let mut prepared = 0;
        for (input, first, second) in [
            (
                parts.concat(),
                "a0a7874c4b27842ceb68584bab4f49d3d8eb9436a7fd761085030299151229bc",
                "cc49130b0d52d30de211c4cbbe1b301cd9b54ffc50ee47c8e7a14568298c4dfa",
            ),
            (
                [].into(),
                "7a38c34bf2b8738d7374ca77c44ecb309a11d2b2528304fa86052c365e722624",
                "1a17621f346abdc520746a9fb64d8eb03231d674fc15687537b0780fd9c060fd",
            ),
            (
                [7; 32].into(),
                "a9bd82696b0cd8ebdd9da9cb4ddf3323823f963a5bbf7a639c53aaa5a7c38c43",
                "4957ba7c09affa9cf1268e5e23787c403371060be3c8fb4fc101fa745baa621c",
            ),
        ] {
            let expected = [first, second].map(|text| Secret::from_bytes(array(text)));
            let expected = expected.into();
            assert_eq!(Blake2s::hkdf(&salt, &input), expected);
            if let Ok(input) = input.as_slice().try_into() {
                assert_eq!(HmacKey::new(&salt).hkdf(input), expected);
                assert_eq!(Blake2s::hkdf_known(&salt, input), expected);
                prepared += 1;
            }
        }
        assert_eq!(prepared, 1);
    }
}
