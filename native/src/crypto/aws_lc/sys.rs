//! AWS-LC's C functions behind safe ones: the only place that calls C.
//!
//! Its Rust wrapper, aws-lc-rs, does not do. It makes an object of every secret key and works out the public key for it, which nobody asked for
//! and which adds 7 µs to each exchange of 24; and it keeps every cipher key expanded, 600 bytes of heap where 32 will do.
//!
//! Here live calls and their proofs of safety; what the functions mean to the core is in the module above.

#![allow(unsafe_code, reason = "these are C functions")]

use std::{mem::MaybeUninit, ptr, sync::Once};

use adit::crypto::{Cipher, TAG_LEN};
use aws_lc_sys::{
    CRYPTO_library_init, EVP_AEAD_CTX, EVP_AEAD_CTX_cleanup, EVP_AEAD_CTX_init, EVP_AEAD_CTX_open_gather,
    EVP_AEAD_CTX_seal_scatter, EVP_aead_aes_256_gcm, EVP_aead_chacha20_poly1305, OPENSSL_cleanse, X25519,
    X25519_public_from_private,
};

/// What C functions return when they have done it.
const DONE: i32 = 1;

/// Looks at the processor, once. On most systems AWS-LC did so before `main`, and this does nothing.
fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        // SAFETY: takes nothing, and may be called at any time from any thread.
        unsafe { CRYPTO_library_init() }
    });
}

/// The public key of a secret, which is clamped as RFC 7748 says.
pub(super) fn x25519_public(secret: &[u8; 32]) -> [u8; 32] {
    start();
    let mut public = [0; 32];
    // SAFETY: writes 32 bytes to the first and reads 32 of the second; both are as long.
    unsafe { X25519_public_from_private(public.as_mut_ptr(), secret.as_ptr()) };
    public
}

/// The shared secret into `shared`; false when it is all zero.
pub(super) fn x25519(shared: &mut [u8; 32], secret: &[u8; 32], public: &[u8; 32]) -> bool {
    start();
    // SAFETY: writes 32 bytes to the first and reads 32 of the others; all are as long.
    unsafe { X25519(shared.as_mut_ptr(), secret.as_ptr(), public.as_ptr()) == DONE }
}

/// A cipher's key, expanded for use: some 600 bytes, wiped when it is dropped.
#[repr(transparent)]
pub(super) struct Context(EVP_AEAD_CTX);

// SAFETY: all that it points to is AWS-LC's constant table of the cipher, and neither cipher keeps anything that belongs to a thread.
unsafe impl Send for Context {}

impl Context {
    /// Expands a key on the heap. `None` if AWS-LC can't, which does not happen with keys of 32 bytes.
    pub(super) fn boxed(cipher: Cipher, key: &[u8; 32]) -> Option<Box<Self>> {
        let mut place = Box::new_uninit();
        if !Self::expand(&mut place, cipher, key) {
            return None;
        }
        // SAFETY: `expand` has filled the place.
        Some(unsafe { place.assume_init() })
    }

    /// Expands a key on the stack, for one use.
    pub(super) fn with<R>(cipher: Cipher, key: &[u8; 32], act: impl FnOnce(&Self) -> R) -> Option<R> {
        let mut place = MaybeUninit::uninit();
        if !Self::expand(&mut place, cipher, key) {
            return None;
        }
        // SAFETY: `expand` has filled the place.
        let done = act(unsafe { place.assume_init_ref() });
        // SAFETY: it is filled still, and not used again. Dropped where it is, because moving it would leave a copy of the key.
        unsafe { place.assume_init_drop() };
        Some(done)
    }

    /// Whether the place is filled.
    fn expand(place: &mut MaybeUninit<Self>, cipher: Cipher, key: &[u8; 32]) -> bool {
        start();
        // SAFETY: both return the address of a constant table.
        let algorithm = unsafe {
            match cipher {
                Cipher::ChaChaPoly => EVP_aead_chacha20_poly1305(),
                Cipher::AesGcm => EVP_aead_aes_256_gcm(),
            }
        };
        let context = (&raw mut *place).cast();
        // SAFETY: `Self` is laid out as the context that it holds, which is filled without being read; 32 bytes of key are read; no
        // engine is used.
        unsafe { EVP_AEAD_CTX_init(context, algorithm, key.as_ptr(), key.len(), TAG_LEN, ptr::null_mut()) == DONE }
    }

    /// Encrypts in place and writes the tag. False when AWS-LC refuses: texts of gigabytes.
    pub(super) fn seal(&self, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8], tag: &mut [u8; TAG_LEN]) -> bool {
        let text = buf.as_mut_ptr();
        let mut written = 0;
        // SAFETY: each pointer comes with its slice's length. Input and output may be the same; the tag is borrowed exclusively, as the text
        // is, so they do not overlap. There is no extra input.
        let sealed = unsafe {
            EVP_AEAD_CTX_seal_scatter(
                &raw const self.0,
                text,
                tag.as_mut_ptr(),
                &raw mut written,
                tag.len(),
                nonce.as_ptr(),
                nonce.len(),
                text,
                buf.len(),
                ptr::null(),
                0,
                ad.as_ptr(),
                ad.len(),
            )
        };
        sealed == DONE && written == TAG_LEN
    }

    /// Checks the tag in constant time and decrypts in place. After false `buf` is all zero.
    pub(super) fn open(&self, nonce: &[u8; 12], ad: &[u8], buf: &mut [u8], tag: &[u8; TAG_LEN]) -> bool {
        let text = buf.as_mut_ptr();
        // SAFETY: as in `seal`.
        let opened = unsafe {
            EVP_AEAD_CTX_open_gather(
                &raw const self.0,
                text,
                nonce.as_ptr(),
                nonce.len(),
                text,
                buf.len(),
                tag.as_ptr(),
                tag.len(),
                ad.as_ptr(),
                ad.len(),
            )
        };
        opened == DONE
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: a `Context` is always filled. Cleaning up frees what a cipher may have added, which these two do not; it leaves the key
        // in place, so its bytes are overwritten, in a way that no compiler leaves out.
        unsafe {
            EVP_AEAD_CTX_cleanup(&raw mut self.0);
            OPENSSL_cleanse((&raw mut self.0).cast(), size_of::<EVP_AEAD_CTX>());
        }
    }
}
