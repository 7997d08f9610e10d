//! The system's allocator with counts for each thread, and with an eye on what is given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Calls that asked for memory. No destructor, so it may be used whenever the allocator is.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes asked for and not given back.
    static LIVE: Cell<i64> = const { Cell::new(0) };
    /// What is looked for in memory that is given back.
    static SOUGHT: Cell<Option<[u8; 16]>> = const { Cell::new(None) };
    /// Pieces of memory with it.
    static FOUND: Cell<u64> = const { Cell::new(0) };
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
        if SOUGHT.get().is_some() {
            // So that all of it can be read.
            // SAFETY: the caller keeps the contract of `alloc`, which is the same.
            return unsafe { System.alloc_zeroed(layout) };
        }
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
        if let Some(sought) = SOUGHT.get() {
            // SAFETY: allocated with this layout, zeroed when that was while something is sought, and the caller has no use for it any more.
            let bytes = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
            FOUND.set(FOUND.get() + u64::from(bytes.windows(sought.len()).any(|window| window == sought)));
        }
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

/// Pieces of memory that this thread gives back during `work`, all of which it has to have from `work`, with the first 16 bytes of `secret` in them.
pub(crate) fn given_back_with(secret: &[u8; 32], work: impl FnOnce()) -> u64 {
    FOUND.set(0);
    SOUGHT.set(secret.first_chunk().copied());
    work();
    SOUGHT.set(None);
    FOUND.get()
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

#[test]
fn what_is_given_back_is_looked_through() {
    const SECRET: [u8; 32] = *b"a secret that nobody is to keep.";
    assert_eq!(given_back_with(&SECRET, || drop(Box::new(SECRET))), 1);
    assert_eq!(given_back_with(&SECRET, || drop(vec![SECRET, SECRET])), 1);
    assert_eq!(given_back_with(&SECRET, || drop(Box::new([7; 32]))), 0);
}
