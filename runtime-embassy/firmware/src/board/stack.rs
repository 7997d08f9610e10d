//! How deep the stack has ever been: it is painted at the start, and what was overwritten counts.

const PAINT: u32 = 0x5AA5_C33C;

unsafe extern "C" {
    /// End of the image's variables: the stack must not come down to here.
    static __ebss: u32;
    /// Where the stack begins, at the end of the memory.
    static _stack_start: u32;
}

/// Paints what lies below the caller's frame. Call it first of all.
pub fn paint() {
    let end = cortex_m::register::msp::read() as usize - 64;
    let mut at = (&raw const __ebss).addr();
    while at < end {
        // SAFETY: between the variables and the stack there is nothing. This function's own frame is small and above `end`.
        unsafe { core::ptr::with_exposed_provenance_mut::<u32>(at).write_volatile(PAINT) };
        at += 4;
    }
}

/// Bytes of the stack at its deepest since the start.
pub fn deepest() -> usize {
    let top = (&raw const _stack_start).addr();
    let mut at = (&raw const __ebss).addr();
    // SAFETY: memory below the stack, as above.
    while at < top && unsafe { core::ptr::with_exposed_provenance::<u32>(at).read_volatile() } == PAINT {
        at += 4;
    }
    top - at
}
