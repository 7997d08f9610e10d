//! Buffers that connections borrow while bytes are in flight.
//!
//! An idle connection holds none. The pool keeps a bounded number of unused buffers; what is lent out is bounded by the
//! number of connections, which is the listener's business.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A pool of equally long byte buffers. Clones are handles on the same pool.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

struct Shared {
    length: usize,
    keep: usize,
    free: Mutex<Vec<Box<[u8]>>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BufferPool {
    /// A pool of buffers of `length` bytes that keeps at most `keep` unused ones.
    #[must_use]
    pub fn new(length: usize, keep: usize) -> Self {
        Self { shared: Arc::new(Shared { length, keep, free: Mutex::new(Vec::new()) }) }
    }

    /// Bytes in each buffer.
    #[must_use]
    pub fn length(&self) -> usize {
        self.shared.length
    }

    /// Unused buffers that are kept at the moment.
    #[must_use]
    pub fn unused(&self) -> usize {
        self.shared.lock().len()
    }

    /// A buffer of at least `length` bytes. One of the pool's length comes from the pool, or is newly allocated when the pool
    /// has none, and goes back when it is dropped; a longer one is allocated for this lease alone. What it holds is
    /// whatever its last user left, which is ciphertext or protocol messages, never keys.
    #[must_use]
    pub fn lease(&self, length: usize) -> Lease {
        if length > self.shared.length {
            return Lease { bytes: vec![0; length].into_boxed_slice(), home: None };
        }
        let kept = self.shared.lock().pop();
        let bytes = kept.unwrap_or_else(|| vec![0; self.shared.length].into_boxed_slice());
        Lease { bytes, home: Some(Arc::clone(&self.shared)) }
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("length", &self.shared.length)
            .field("keep", &self.shared.keep)
            .field("unused", &self.unused())
            .finish()
    }
}

/// A buffer on loan from a [`BufferPool`]; the default one is empty and costs nothing, for connections at rest.
#[derive(Default)]
pub struct Lease {
    bytes: Box<[u8]>,
    home: Option<Arc<Shared>>,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Lease {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl fmt::Debug for Lease {
    /// The length only: contents may be decrypted messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("length", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else { return };
        let bytes = std::mem::take(&mut self.bytes);
        let mut free = home.lock();
        if free.len() < home.keep {
            free.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_is_used_again() {
        let pool = BufferPool::new(64, 2);
        let mut lease = pool.lease(1);
        lease.as_mut()[0] = 7;
        assert_eq!((lease.as_ref().len(), pool.unused()), (64, 0));
        drop(lease);
        assert_eq!(pool.unused(), 1);
        assert_eq!(pool.lease(64).as_ref()[0], 7, "not cleared, not allocated anew");
    }

    #[test]
    fn no_more_are_kept_than_said_and_no_other_length() {
        let pool = BufferPool::new(8, 2);
        let leases: Vec<_> = (0..10).map(|_| pool.lease(8)).collect();
        drop(leases);
        assert_eq!(pool.unused(), 2);
        let long = pool.lease(9);
        assert_eq!((long.as_ref().len(), pool.unused()), (9, 2));
        drop((long, Lease::default()));
        assert_eq!(pool.unused(), 2);
    }
}
