//! The two buffers of a connection, each with its cursors: [`Input`] and [`Output`].
//!
//! Here live positions and the moving of bytes inside one buffer. What the bytes mean must not: records are opened by
//! `connection`, frames are read there too. The storage `B` is the caller's: an array, `&mut [u8]`, `Box<[u8]>`, a pool's
//! lease. While a buffer is empty its storage can be exchanged for any other, so an idle connection needs none.

mod input;
mod output;

pub use input::Input;
pub(crate) use input::{Fit, InputView};
pub use output::Output;
pub(crate) use output::OutputView;
