//! Links the core the way a firmware image does: no std, no allocator. A static library is a final artefact, so rustc
//! refuses it when a crate below needs a global allocator, and when std brings a second panic handler.
#![no_std]

extern crate adit;

#[cfg(feature = "std")]
extern crate std;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
