//! Time from the two CMSDK timers, which count down at 25 MHz: one runs through, the other is the alarm.
//!
//! The emulator runs with one instruction a nanosecond (`-icount shift=0`), so a cycle of these timers is 40 instructions.

use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;

use super::{enable, register};

pub const CLOCK: i16 = 8;
pub const ALARM: i16 = 9;

const CYCLES_PER_MICRO: u32 = 25;
const INSTRUCTIONS_PER_CYCLE: u32 = 40;

/// A timer's registers.
struct Timer(usize);

impl Timer {
    const CTRL: usize = 0x0;
    const VALUE: usize = 0x4;
    const RELOAD: usize = 0x8;
    const INTERRUPT: usize = 0xC;
    /// Counting, with an interrupt at zero.
    const RUN: u32 = 0b1001;

    fn read(&self, offset: usize) -> u32 {
        // SAFETY: a register of the timer.
        unsafe { register(self.0 + offset).read_volatile() }
    }

    fn write(&self, offset: usize, value: u32) {
        // SAFETY: a register of the timer.
        unsafe { register(self.0 + offset).write_volatile(value) };
    }

    /// Counts down from `cycles`, then from `reload` for ever.
    fn start(&self, cycles: u32, reload: u32) {
        self.write(Self::CTRL, 0);
        self.write(Self::RELOAD, reload);
        self.write(Self::VALUE, cycles);
        self.write(Self::INTERRUPT, 1);
        self.write(Self::CTRL, Self::RUN);
    }
}

const COUNTER: Timer = Timer(0x4000_0000);
const ALERT: Timer = Timer(0x4000_1000);

/// How often the counter has come to zero: the upper half of the time.
static WRAPS: AtomicU32 = AtomicU32::new(0);
/// Cycles asleep; wraps around.
static ASLEEP: AtomicU32 = AtomicU32::new(0);
/// A task wants to be polled.
static PENDING: AtomicBool = AtomicBool::new(true);

struct Clock {
    queue: Mutex<RefCell<Queue>>,
}

time_driver_impl!(static DRIVER: Clock = Clock { queue: Mutex::new(RefCell::new(Queue::new())) });

pub fn start() {
    COUNTER.start(u32::MAX, u32::MAX);
    enable(CLOCK);
    enable(ALARM);
}

/// Cycles since the start.
fn cycles() -> u64 {
    critical_section::with(|_| {
        let low = !COUNTER.read(Timer::VALUE);
        // It may have come to zero since the section began; then the upper half is yet to be counted.
        let missed = COUNTER.read(Timer::INTERRUPT) & 1;
        let low = if missed == 1 { !COUNTER.read(Timer::VALUE) } else { low };
        u64::from(WRAPS.load(Relaxed).wrapping_add(missed)) << 32 | u64::from(low)
    })
}

/// Cycles that the processor was awake; wraps around.
pub fn busy_cycles() -> u32 {
    (!COUNTER.read(Timer::VALUE)).wrapping_sub(ASLEEP.load(Relaxed))
}

/// As instructions of the emulated processor.
pub fn instructions(cycles: u32) -> u32 {
    cycles.saturating_mul(INSTRUCTIONS_PER_CYCLE)
}

/// Waits for an interrupt, unless a task is ready.
pub fn sleep() {
    critical_section::with(|_| {
        let pending = PENDING.load(Relaxed);
        PENDING.store(false, Relaxed);
        if !pending {
            let begin = COUNTER.read(Timer::VALUE);
            // Wakes with interrupts masked as well; their handlers run behind this section.
            cortex_m::asm::wfi();
            let slept = begin.wrapping_sub(COUNTER.read(Timer::VALUE));
            ASLEEP.store(ASLEEP.load(Relaxed).wrapping_add(slept), Relaxed);
        }
    });
}

/// Called by the executor when a task is to be polled.
#[unsafe(export_name = "__pender")]
fn pender(_: *mut ()) {
    PENDING.store(true, Relaxed);
}

pub fn on_clock() {
    COUNTER.write(Timer::INTERRUPT, 1);
    WRAPS.store(WRAPS.load(Relaxed).wrapping_add(1), Relaxed);
}

pub fn on_alarm() {
    ALERT.write(Timer::CTRL, 0);
    ALERT.write(Timer::INTERRUPT, 1);
    critical_section::with(|cs| DRIVER.arm(cs));
}

impl Clock {
    /// Wakes who is due and sets the alarm for the next.
    fn arm(&self, cs: CriticalSection<'_>) {
        // Nobody else has it: it is borrowed in critical sections only, and none of them calls another.
        let Ok(mut queue) = self.queue.borrow(cs).try_borrow_mut() else { return };
        loop {
            let now = self.now();
            let next = queue.next_expiration(now);
            if next == u64::MAX {
                return;
            }
            if next > now {
                // The alarm is at most a minute off; who is due later is looked at again then.
                let micros = u32::try_from(next - now).unwrap_or(u32::MAX).min(60_000_000);
                ALERT.start(micros * CYCLES_PER_MICRO, u32::MAX);
                return;
            }
        }
    }
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        cycles() / u64::from(CYCLES_PER_MICRO)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let changed = self.queue.borrow(cs).try_borrow_mut().is_ok_and(|mut queue| queue.schedule_wake(at, waker));
            if changed {
                self.arm(cs);
            }
        });
    }
}
