//! The 80 bytes that are hashed. Where their parts come from is the business of jobs and channels.

use crate::hash::sha256d_header;

/// Length of a header.
pub const HEADER_LEN: usize = 80;

/// Version bits that a miner may roll in the draft revision (D-CHAN-8, D-ALG-9): BIP320.
pub const VERSION_MASK_BIP320: u32 = 0x1fff_e000;

/// Version bits that a miner may roll in the current revision: BIP323.
pub const VERSION_MASK_BIP323: u32 = 0x1fff_ffe0;

/// A block header (D-ALG-5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Version with its rolled bits.
    pub version: u32,
    /// Hash of the block before, in raw SHA-256 order.
    pub prev_hash: [u8; 32],
    /// Merkle root, in raw SHA-256 order.
    pub merkle_root: [u8; 32],
    /// Seconds since 1970.
    pub ntime: u32,
    /// The network's target in compact form.
    pub nbits: u32,
    /// Nonce.
    pub nonce: u32,
}

/// A [`Header`] whose hashes stand where they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderParts<'a> {
    /// Version with its rolled bits.
    pub version: u32,
    /// Hash of the block before, in raw SHA-256 order.
    pub prev_hash: &'a [u8; 32],
    /// Merkle root, in raw SHA-256 order.
    pub merkle_root: &'a [u8; 32],
    /// Seconds since 1970.
    pub ntime: u32,
    /// The network's target in compact form.
    pub nbits: u32,
    /// Nonce.
    pub nonce: u32,
}

impl From<HeaderParts<'_>> for Header {
    #[inline]
    fn from(parts: HeaderParts<'_>) -> Self {
        let HeaderParts { version, prev_hash, merkle_root, ntime, nbits, nonce } = parts;
        Self { version, prev_hash: *prev_hash, merkle_root: *merkle_root, ntime, nbits, nonce }
    }
}

impl Header {
    /// The same without its hashes.
    #[must_use]
    pub const fn parts(&self) -> HeaderParts<'_> {
        let Self { version, prev_hash, merkle_root, ntime, nbits, nonce } = self;
        HeaderParts { version: *version, prev_hash, merkle_root, ntime: *ntime, nbits: *nbits, nonce: *nonce }
    }

    /// D-ALG-5: version, `prev_hash`, `merkle_root`, nTime, nbits, nonce; numbers little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        put(&mut bytes, 4, &self.prev_hash);
        put_merkle_root(&mut bytes, &self.merkle_root);
        put(&mut bytes, 72, &self.nbits.to_le_bytes());
        put_rolled(&mut bytes, self.version, self.ntime, self.nonce);
        bytes
    }

    /// Reads the 80 bytes back.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Self {
        // The parts' lengths add up to 80, so the defaults are never taken.
        fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
            bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
        }
        Self {
            version: u32::from_le_bytes(part(bytes, 0)),
            prev_hash: part(bytes, 4),
            merkle_root: part(bytes, 36),
            ntime: u32::from_le_bytes(part(bytes, 68)),
            nbits: u32::from_le_bytes(part(bytes, 72)),
            nonce: u32::from_le_bytes(part(bytes, 76)),
        }
    }

    /// SHA-256d of the header, in raw SHA-256 order.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256d_header(&self.to_bytes())
    }
}

/// Changes the merkle root of a header that is laid out already.
#[inline]
pub(crate) fn put_merkle_root(header: &mut [u8], root: &[u8; 32]) {
    put(header, 36, root);
}

/// D-ALG-5: puts in what a miner chooses; numbers little-endian.
#[inline]
pub(crate) fn put_rolled(header: &mut [u8], version: u32, ntime: u32, nonce: u32) {
    put(header, 0, &version.to_le_bytes());
    put(header, 68, &ntime.to_le_bytes());
    put(header, 76, &nonce.to_le_bytes());
}

/// Arrays and not slices: byte by byte it took longer than the hash behind it, and slices leave a panic about their lengths in firmware.
#[inline]
fn put<const N: usize>(header: &mut [u8], at: usize, part: &[u8; N]) {
    // Every place above is within the header.
    if let Some(place) = header.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = *part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";

    /// D-ALG-5, on the block that everyone knows.
    #[test]
    fn the_genesis_header_hashes_to_the_genesis_hash() {
        let bytes: [u8; 80] = hex::decode(GENESIS).unwrap().try_into().unwrap();
        let header = Header::from_bytes(&bytes);
        assert_eq!(
            (header.version, header.ntime, header.nbits, header.nonce),
            (1, 1_231_006_505, 0x1d00_ffff, 0x7c2b_ac1d)
        );
        assert_eq!(header.to_bytes(), bytes);
        let mut hash = header.hash();
        hash.reverse();
        assert_eq!(hex::encode(hash), "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
    }

    /// D-CHAN-8, D-ALG-9: 16 bits in the draft, 24 in the current revision, none in common with the fixed ones.
    #[test]
    fn the_masks_cover_what_their_proposals_say() {
        assert_eq!(VERSION_MASK_BIP320, (0..16).fold(0, |mask, bit| mask | 1 << (13 + bit)));
        assert_eq!(VERSION_MASK_BIP323, (0..24).fold(0, |mask, bit| mask | 1 << (5 + bit)));
    }

    proptest! {
        #[test]
        fn bytes_round_trip(halves in any::<([u8; 32], [u8; 32], [u8; 16])>()) {
            let bytes: std::vec::Vec<u8> = [&halves.0[..], &halves.1, &halves.2].concat();
            let bytes: [u8; 80] = bytes.try_into().unwrap();
            prop_assert_eq!(Header::from_bytes(&bytes).to_bytes(), bytes);
            let mut changed = bytes;
            put_merkle_root(&mut changed, &halves.1);
            let expected = Header { merkle_root: halves.1, ..Header::from_bytes(&bytes) };
            prop_assert_eq!(Header::from_bytes(&changed), expected);
        }
    }
}
