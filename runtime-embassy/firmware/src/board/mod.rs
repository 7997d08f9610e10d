//! The board: QEMU's mps2-an386, a Cortex-M4F at 25 MHz with a LAN9118 Ethernet controller.
//!
//! All that a port replaces: [`NAME`], [`ethernet`], [`entropy`], [`wall_clock`], [`stop`], [`print`], the time driver, and `main`. What belongs to
//! measuring ([`busy_cycles`], [`instructions`], [`deepest_stack`]) may return 0 elsewhere.

mod host;
mod lan9118;
mod stack;
mod time;

use core::fmt;

use adit::time::UnixTime;
use adit_embassy::entropy::NoEntropy;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::{entry, exception};
use embassy_executor::raw::Executor;
use static_cell::StaticCell;

pub use lan9118::Ethernet;
pub use stack::deepest as deepest_stack;
pub use time::{busy_cycles, instructions};

/// What the pool is told as the hardware's version.
pub const NAME: &str = "mps2-an386";

/// Writes a line to the log.
#[macro_export]
macro_rules! log {
    ($($what:tt)*) => { $crate::board::print(format_args!($($what)*)) };
}

/// A line of the log, with the time since the start in milliseconds.
pub fn print(line: fmt::Arguments<'_>) {
    let mut text = heapless::String::<200>::new();
    let millis = (embassy_time_driver::now() / 1_000) as u32;
    // A line that is too long is cut.
    let _cut = fmt::write(&mut text, format_args!("{millis:>7} {line}"));
    host::write(text.as_bytes());
    host::write(b"\n");
}

/// The Ethernet controller; call it once.
pub fn ethernet() -> Ethernet {
    Ethernet::start([0x02, 0, 0, 0xAD, 0x17, 0x01])
}

/// Random bytes. The emulated board has no generator, so they are the host's.
pub fn entropy(bytes: &mut [u8]) -> Result<(), NoEntropy> {
    host::random(bytes).ok_or(NoEntropy)
}

/// The time of the day, from the host.
pub fn wall_clock() -> Option<UnixTime> {
    host::time().map(UnixTime::from_secs)
}

/// Ends the emulator. On a board that is a reset.
pub fn stop(well: bool) -> ! {
    host::exit(well)
}

#[entry]
fn main() -> ! {
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    stack::paint();
    time::start();
    let executor: &'static Executor = EXECUTOR.init(Executor::new(core::ptr::null_mut()));
    crate::start(executor.spawner());
    loop {
        // SAFETY: only here, and not from within itself.
        unsafe { executor.poll() };
        time::sleep();
    }
}

/// All interrupts come here; the vector table is the runtime's own.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    match number {
        time::CLOCK => time::on_clock(),
        time::ALARM => time::on_alarm(),
        lan9118::INTERRUPT => lan9118::on_interrupt(),
        _ => stop(false),
    }
}

/// An interrupt's number, for the interrupt controller.
#[derive(Clone, Copy)]
struct Irq(i16);

// SAFETY: the numbers are those of the board's manual (application note AN386, table 4-1).
unsafe impl cortex_m::interrupt::InterruptNumber for Irq {
    fn number(self) -> u16 {
        self.0.unsigned_abs()
    }
}

fn enable(irq: i16) {
    // SAFETY: the handlers' data is shared through critical sections and atomics.
    unsafe { NVIC::unmask(Irq(irq)) };
}

/// A device register.
fn register(address: usize) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut(address)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    // To say where costs 14 KB of paths and tables: every panic's location stays in the image only if this function looks at it.
    if cfg!(any(debug_assertions, feature = "locations")) {
        log!("{info}");
    } else {
        log!("panic");
    }
    stop(false)
}
