//! The LAN9118 Ethernet controller, by its data sheet: FIFOs that the processor reads and writes, one frame at a time.

use core::cell::Cell;
use core::task::{Context, Waker};

use critical_section::Mutex;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};

use super::{enable, register};

pub const INTERRUPT: i16 = 13;

const BASE: usize = 0x4020_0000;
const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const IRQ_CFG: usize = 0x54;
const INT_STS: usize = 0x58;
const INT_EN: usize = 0x5C;
const FIFO_INT: usize = 0x68;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_DP_CTL: usize = 0x78;
const RX_FIFO_INF: usize = 0x7C;
const TX_FIFO_INF: usize = 0x80;
const MAC_CSR_CMD: usize = 0xA4;
const MAC_CSR_DATA: usize = 0xA8;

const MAC_CR: u32 = 1;
const ADDRH: u32 = 2;
const ADDRL: u32 = 3;

/// A status waits in the receive FIFO.
const RSFL: u32 = 1 << 3;
/// Frames of Ethernet without their check sequence.
const MTU: usize = 1514;
const WORDS: usize = MTU.div_ceil(4);

static WAKER: Mutex<Cell<Option<Waker>>> = Mutex::new(Cell::new(None));

fn read(offset: usize) -> u32 {
    // SAFETY: a register of the controller.
    unsafe { register(BASE + offset).read_volatile() }
}

fn write(offset: usize, value: u32) {
    // SAFETY: a register of the controller.
    unsafe { register(BASE + offset).write_volatile(value) };
}

/// Writes a register of the MAC behind the controller.
fn write_mac(index: u32, value: u32) {
    write(MAC_CSR_DATA, value);
    write(MAC_CSR_CMD, 1 << 31 | index);
    while read(MAC_CSR_CMD) & 1 << 31 != 0 {}
}

pub fn on_interrupt() {
    // Quiet until the FIFO has been emptied.
    write(INT_EN, 0);
    write(INT_STS, u32::MAX);
    if let Some(waker) = critical_section::with(|cs| WAKER.borrow(cs).take()) {
        waker.wake();
    }
}

/// The controller with room for a frame each way.
pub struct Ethernet {
    address: [u8; 6],
    received: [u32; WORDS],
    to_send: [u32; WORDS],
}

impl Ethernet {
    /// Sets the controller up.
    pub fn start(address: [u8; 6]) -> Self {
        // Soft reset.
        write(HW_CFG, 1);
        while read(HW_CFG) & 1 != 0 {}
        let [a, b, c, d, high @ ..] = address;
        write_mac(ADDRL, u32::from_le_bytes([a, b, c, d]));
        write_mac(ADDRH, u16::from_le_bytes(high).into());
        // Transmitter and receiver on, full duplex.
        write_mac(MAC_CR, 1 << 20 | 1 << 3 | 1 << 2);
        write(TX_CFG, 1 << 1);
        write(FIFO_INT, 0);
        // Interrupts on, the line driven and active high.
        write(IRQ_CFG, 1 << 8 | 1 << 4 | 1);
        enable(INTERRUPT);
        Self { address, received: [0; WORDS], to_send: [0; WORDS] }
    }

    /// Takes the next frame without an error out of the FIFO: its length.
    fn fetch(&mut self) -> Option<usize> {
        while read(RX_FIFO_INF) >> 16 & 0xFF != 0 {
            let status = read(RX_STATUS);
            let length = (status >> 16 & 0x3FFF) as usize;
            // The check sequence is the last four bytes.
            let payload = length.saturating_sub(4);
            if status & 1 << 15 != 0 || payload > MTU {
                // Fast forward over it.
                write(RX_DP_CTL, 1 << 31);
                while read(RX_DP_CTL) & 1 << 31 != 0 {}
                continue;
            }
            for index in 0..length.div_ceil(4) {
                let word = read(RX_DATA);
                if let Some(place) = self.received.get_mut(index) {
                    *place = word.to_le();
                }
            }
            return Some(payload);
        }
        None
    }
}

fn can_send() -> bool {
    // Bytes free in the data FIFO; two words of command besides the frame.
    (read(TX_FIFO_INF) & 0xFFFF) as usize >= MTU + 16
}

/// The first `len` bytes of the words.
fn bytes(words: &mut [u32; WORDS], len: usize) -> &mut [u8] {
    // SAFETY: all bytes of the array, which has no padding; bytes have no alignment.
    let bytes = unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), WORDS * 4) };
    bytes.get_mut(..len).unwrap_or_default()
}

pub struct RxToken<'a> {
    frame: &'a mut [u32; WORDS],
    len: usize,
}

impl embassy_net_driver::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(bytes(self.frame, self.len))
    }
}

pub struct TxToken<'a> {
    frame: &'a mut [u32; WORDS],
}

impl embassy_net_driver::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let len = len.min(MTU);
        let result = f(bytes(self.frame, len));
        // Command A: first and last segment, its length. Command B: the frame's length.
        write(TX_DATA, 1 << 13 | 1 << 12 | len as u32);
        write(TX_DATA, len as u32);
        for word in self.frame.iter().take(len.div_ceil(4)) {
            write(TX_DATA, u32::from_le(*word));
        }
        // Statuses of what has left; nobody asks for them.
        while read(TX_FIFO_INF) >> 16 & 0xFF != 0 {
            read(TX_STATUS);
        }
        crate::report::frame_sent();
        result
    }
}

impl Driver for Ethernet {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxToken<'_>, TxToken<'_>)> {
        if !can_send() {
            // The FIFO drains by itself, in microseconds.
            cx.waker().wake_by_ref();
            return None;
        }
        let Some(len) = self.fetch() else {
            critical_section::with(|cs| WAKER.borrow(cs).set(Some(cx.waker().clone())));
            write(INT_STS, RSFL);
            write(INT_EN, RSFL);
            return None;
        };
        Some((RxToken { frame: &mut self.received, len }, TxToken { frame: &mut self.to_send }))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<TxToken<'_>> {
        if !can_send() {
            cx.waker().wake_by_ref();
            return None;
        }
        Some(TxToken { frame: &mut self.to_send })
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MTU;
        capabilities.max_burst_size = Some(1);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}
