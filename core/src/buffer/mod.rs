//! The two buffers of a connection, each with its cursors: [`Input`] and [`Output`].
//!
//! Here live positions and the moving of bytes inside one buffer. What the bytes mean must not: records are opened by
//! `connection`, frames are read there too. The storage `B` is the caller's: an array, `&mut [u8]`, `Box<[u8]>`, a pool's
//! lease. While a buffer is empty its storage can be exchanged for any other, so an idle connection needs none.

mod input;
mod output;
#[cfg(feature = "alloc")]
mod pool;

use core::ops::Range;

pub use input::Input;
pub(crate) use input::{Fit, InputView};
pub use output::Output;
pub(crate) use output::OutputView;
#[cfg(feature = "alloc")]
pub use pool::{BufferPool, Lease};

/// Moves `from` down to `to`, which is not behind it. The conditions are what `copy_within` would panic about; they always hold
/// here, and written out, for a range with one end, they keep the panic out of the firmware.
fn move_down(bytes: &mut [u8], from: Range<usize>, to: usize) {
    if let (Some(window), Some(distance)) = (bytes.get_mut(to..from.end), from.start.checked_sub(to))
        && distance <= window.len()
    {
        window.copy_within(distance.., 0);
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// What can happen to an input buffer. Numbers are cut to what is possible.
    #[derive(Clone, Copy, Debug)]
    enum Receive {
        Fill(usize),
        Open { total: usize, before: usize, after: usize },
        HandOver(usize),
        DropSealed(usize),
        Replace(usize),
    }

    fn receive() -> impl Strategy<Value = Receive> {
        prop_oneof![
            (0_usize..40).prop_map(Receive::Fill),
            (0_usize..40, 0_usize..4, 0_usize..4).prop_map(|(total, before, after)| Receive::Open {
                total,
                before,
                after
            }),
            (0_usize..40).prop_map(Receive::HandOver),
            (0_usize..8).prop_map(Receive::DropSealed),
            (0_usize..64).prop_map(Receive::Replace),
        ]
    }

    proptest! {
        /// Against two plain lists of bytes: nothing is lost, doubled or reordered, and space is refused only when all
        /// of the storage waits.
        #[test]
        fn input_keeps_what_two_lists_would(steps in proptest::collection::vec(receive(), 0..80)) {
            let mut input = Input::growable(vec![0; 32], 64);
            let (mut plain, mut sealed, mut next) = (Vec::new(), Vec::new(), 0_u8);
            for step in steps {
                match step {
                    Receive::Fill(n) => {
                        let space = input.space();
                        let n = n.min(space.len());
                        for byte in &mut space[..n] {
                            *byte = next;
                            sealed.push(next);
                            next = next.wrapping_add(1);
                        }
                        input.commit(n).unwrap();
                    }
                    Receive::Open { total, before, after } => {
                        let total = total.min(sealed.len());
                        let body = before.min(total)..total.saturating_sub(after).max(before.min(total));
                        plain.extend_from_slice(&sealed[body.clone()]);
                        sealed.drain(..total);
                        input.view().take_plain(total, body);
                    }
                    Receive::HandOver(n) => {
                        let n = n.min(plain.len());
                        input.view().lend(n);
                        prop_assert_eq!(input.lent(), &plain[..n]);
                        prop_assert_eq!(input.space().is_empty(), input.len() == input.capacity());
                        prop_assert_eq!(input.lent(), &plain[..n]);
                        input.view().release();
                        plain.drain(..n);
                    }
                    Receive::DropSealed(n) => {
                        let n = n.min(sealed.len());
                        input.view().drop_sealed(n);
                        sealed.drain(..n);
                    }
                    Receive::Replace(n) => {
                        prop_assert_eq!(input.replace(vec![0xff; n]).is_ok(), n >= plain.len() + sealed.len());
                    }
                }
                prop_assert_eq!(input.len(), plain.len() + sealed.len());
                prop_assert_eq!(input.is_empty(), plain.is_empty() && sealed.is_empty());
                let view = input.view();
                prop_assert_eq!(view.plain(), &plain[..]);
                prop_assert_eq!(view.sealed(), &sealed[..]);
                prop_assert_eq!(input.space().is_empty(), input.len() == input.capacity());
            }
        }

        /// Against one list: bytes leave in the order in which they came, through any partial writes.
        #[test]
        fn output_keeps_what_a_list_would(steps in proptest::collection::vec((0_usize..3, 0_usize..40), 0..80)) {
            let mut output = Output::growable(vec![0; 32], 64);
            let (mut waiting, mut next) = (Vec::new(), 0_u8);
            for (step, n) in steps {
                match step {
                    0 => {
                        let fits = waiting.len() + n <= output.capacity();
                        let mut view = output.view();
                        if let Ok(space) = view.reserve(n) {
                            for byte in space {
                                *byte = next;
                                waiting.push(next);
                                next = next.wrapping_add(1);
                            }
                            view.push(n);
                            prop_assert!(fits);
                        } else {
                            prop_assert!(!fits);
                            prop_assert_eq!(output.wanted(), n);
                        }
                    }
                    1 => {
                        let consumed = output.consume(n).is_ok();
                        prop_assert_eq!(consumed, n <= waiting.len());
                        waiting.drain(..if consumed { n } else { 0 });
                    }
                    _ => prop_assert_eq!(output.replace(vec![0xff; n]).is_ok(), n >= waiting.len()),
                }
                prop_assert_eq!(output.filled(), &waiting[..]);
                prop_assert_eq!(output.room(), output.capacity() - waiting.len());
            }
        }
    }
}
