//! The two buffers of a connection, each with its cursors: [`Input`] and [`Output`].
//!
//! Here live positions and the moving of bytes inside one buffer. What the bytes mean must not: records are opened by
//! `connection`, frames are read there too. The storage `B` is the caller's: an array, `&mut [u8]`, `Box<[u8]>`, a pool's
//! lease. While a buffer is empty its storage can be exchanged for any other, so an idle connection needs none.

mod input;
mod output;

use core::ops::Range;

pub use input::Input;
pub(crate) use input::{Fit, InputView};
pub use output::Output;
pub(crate) use output::OutputView;

/// Moves `from` down to `to`, which is not behind it. The condition is what `copy_within` would panic about; it always holds
/// here, and written out it keeps the panic out of the firmware.
fn move_down(bytes: &mut [u8], from: Range<usize>, to: usize) {
    let in_bounds = from.start <= from.end && from.end <= bytes.len();
    if in_bounds && to <= from.start && to <= bytes.len() - (from.end - from.start) {
        bytes.copy_within(from, to);
    }
}
