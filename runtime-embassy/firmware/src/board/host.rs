//! Semihosting: what the emulator does for the image. A board with a probe on it answers the same calls.

const OPEN: usize = 0x01;
const CLOSE: usize = 0x02;
const WRITE: usize = 0x05;
const READ: usize = 0x06;
const TIME: usize = 0x11;
const EXIT: usize = 0x18;

/// Calls the host. `arguments` is a pointer to the call's block, or its only argument.
///
/// # Safety
/// They have to be what the call expects.
unsafe fn call(operation: usize, arguments: usize) -> usize {
    let result;
    // SAFETY: the breakpoint is taken by the emulator, which reads the block and changes r0 only.
    unsafe {
        core::arch::asm!("bkpt 0xAB", inlateout("r0") operation => result, in("r1") arguments, options(nostack));
    }
    result
}

/// Opens a file of the host; the name ends in a zero byte.
fn open(name: &[u8], mode: usize) -> Option<usize> {
    let block = [name.as_ptr().expose_provenance(), mode, name.len() - 1];
    // SAFETY: name, mode, length without the zero.
    let handle = unsafe { call(OPEN, block.as_ptr().expose_provenance()) };
    (handle.cast_signed() >= 0).then_some(handle)
}

/// Writes to the console.
pub fn write(bytes: &[u8]) {
    static CONSOLE: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(usize::MAX);
    let mut console = CONSOLE.load(core::sync::atomic::Ordering::Relaxed);
    if console == usize::MAX {
        // Mode 4: write, which is standard output.
        let Some(opened) = open(b":tt\0", 4) else { return };
        console = opened;
        CONSOLE.store(console, core::sync::atomic::Ordering::Relaxed);
    }
    let mut rest = bytes;
    // The host may be interrupted, and then takes a part or nothing; one that never takes anything is given up.
    for _ in 0..100 {
        let block = [console, rest.as_ptr().expose_provenance(), rest.len()];
        // SAFETY: handle, address, length.
        let missing = unsafe { call(WRITE, block.as_ptr().expose_provenance()) };
        match rest.len().checked_sub(missing).and_then(|written| rest.get(written..)) {
            Some(left) if !left.is_empty() => rest = left,
            _ => return,
        }
    }
}

/// Fills `bytes` with random ones of the host's.
pub fn random(bytes: &mut [u8]) -> Option<()> {
    // Mode 1: read, binary.
    let handle = open(b"/dev/urandom\0", 1)?;
    let block = [handle, bytes.as_mut_ptr().expose_provenance(), bytes.len()];
    // SAFETY: handle, address, length; what is read is written there.
    let missing = unsafe { call(READ, block.as_ptr().expose_provenance()) };
    let block = [handle];
    // SAFETY: the handle.
    unsafe { call(CLOSE, block.as_ptr().expose_provenance()) };
    (missing == 0).then_some(())
}

/// Seconds since 1970.
pub fn time() -> Option<u32> {
    // SAFETY: the call has no arguments.
    let secs = unsafe { call(TIME, 0) };
    u32::try_from(secs).ok().filter(|secs| *secs != u32::MAX)
}

/// Ends the emulator, whose exit status is 0 when all went well.
pub fn exit(well: bool) -> ! {
    // Application exit, or a run-time error.
    let reason = if well { 0x20026 } else { 0x20023 };
    loop {
        // SAFETY: the reason is the argument.
        unsafe { call(EXIT, reason) };
    }
}
