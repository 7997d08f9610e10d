//! The system's allocator with counts for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Calls that asked for memory. No destructor, so it may be used whenever the allocator is.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes asked for and not given back.
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

pub(crate) struct Counting;

fn count(allocations: u64, bytes: i64) {
    ALLOCATIONS.set(ALLOCATIONS.get() + allocations);
    LIVE.set(LIVE.get() + bytes);
}

/// No object is larger than `isize::MAX`.
fn len(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

// SAFETY: every call is passed on to the system's allocator as it came, so its guarantees are this one's; counting touches thread-local
// integers only, which neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, len(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, len(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, len(new_size) - len(layout.size()));
        // SAFETY: the caller keeps the contract of `realloc`, which is the same; the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -len(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`, which is the same; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations of this thread during `work`, and what it returned.
pub(crate) fn allocations<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.get();
    let outcome = work();
    (ALLOCATIONS.get() - before, outcome)
}

/// Bytes that this thread has on the heap now.
pub(crate) fn live() -> i64 {
    LIVE.get()
}

#[test]
fn the_allocator_counts() {
    let before = live();
    let (count, kept) = allocations(|| vec![0_u8; 1000]);
    assert_eq!((count, live() - before), (1, 1000));
    let (count, kept) = allocations(move || {
        let mut kept = kept;
        kept.reserve_exact(2000);
        kept
    });
    assert_eq!((count, live() - before), (1, 3000));
    drop(kept);
    assert_eq!((allocations(|| ()).0, live()), (0, before));
}
