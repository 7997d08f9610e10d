//! Buffers that connections borrow while bytes are in flight.
//!
//! An idle connection holds none. The pool keeps a bounded number of unused buffers; what is lent out is bounded by the
//! number of connections, which is the listener's business. No lock: tasks on several threads lease and give back at once.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use concurrent_queue::ConcurrentQueue;

/// A pool of equally long byte buffers. Clones are handles on the same pool.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

struct Shared {
    length: usize,
    /// `None` when none is kept.
    free: Option<ConcurrentQueue<Box<[u8]>>>,
}

impl BufferPool {
    /// A pool of buffers of `length` bytes that keeps at most `keep` unused ones.
    #[must_use]
    pub fn new(length: usize, keep: usize) -> Self {
        // A queue of no places would be a panic.
        let free = (keep > 0).then(|| ConcurrentQueue::bounded(keep));
        Self { shared: Arc::new(Shared { length, free }) }
    }

    /// Bytes in each buffer.
    #[must_use]
    pub fn length(&self) -> usize {
        self.shared.length
    }

    /// Unused buffers that are kept at the moment.
    #[must_use]
    pub fn unused(&self) -> usize {
        self.shared.free.as_ref().map_or(0, ConcurrentQueue::len)
    }

    /// A buffer of at least `length` bytes. One of the pool's length comes from the pool, or is newly allocated when the pool
    /// has none, and goes back when it is dropped; a longer one is allocated for this lease alone. What it holds is
    /// whatever its last user left, which is ciphertext or protocol messages, never keys.
    #[must_use]
    pub fn lease(&self, length: usize) -> Lease {
        if length > self.shared.length {
            return Lease { bytes: zeroed(length), home: None };
        }
        let kept = self.shared.free.as_ref().and_then(|free| free.pop().ok());
        let bytes = kept.unwrap_or_else(|| zeroed(self.shared.length));
        Lease { bytes, home: Some(Arc::clone(&self.shared)) }
    }
}

fn zeroed(length: usize) -> Box<[u8]> {
    alloc::vec![0; length].into_boxed_slice()
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").field("length", &self.shared.length).field("unused", &self.unused()).finish()
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
        if let Some(home) = self.home.take()
            && let Some(free) = &home.free
        {
            // Enough of them are kept: this one is freed.
            let _enough = free.push(core::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

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
        let none = BufferPool::new(8, 0);
        drop(none.lease(8));
        assert_eq!(none.unused(), 0);
    }
}
