//! [`Output`]: bytes for the peer, encoded and sealed in place.

use core::ops::Range;

use super::move_down;
use crate::error::{Full, Misuse};

/// Where the filled part of an output buffer stands, and what the last refused write wanted.
#[derive(Clone, Debug, Default)]
struct Marks {
    filled: Range<usize>,
    ceiling: usize,
    wanted: usize,
}

/// The buffer for bytes to the peer.
///
/// Messages are encoded and sealed at its end. What is in it leaves in order: write [`Output::filled`] to the link and say
/// how much of it went with [`Output::consume`].
#[derive(Clone, Debug)]
pub struct Output<B> {
    storage: B,
    marks: Marks,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Output<B> {
    /// An empty buffer over `storage`, which stays as large as it is.
    pub fn new(storage: B) -> Self {
        let ceiling = storage.as_ref().len();
        Self::growable(storage, ceiling)
    }

    /// An empty buffer whose storage the caller may [replace](Output::replace) by one of up to `ceiling` bytes when
    /// [`Output::wanted`] says that a message needs it.
    pub fn growable(storage: B, ceiling: usize) -> Self {
        Self { storage, marks: Marks { ceiling, ..Marks::default() } }
    }

    /// What is to be written to the link next.
    pub fn filled(&self) -> &[u8] {
        self.storage.as_ref().get(self.marks.filled.clone()).unwrap_or_default()
    }

    /// Announces that the first `n` bytes of [`Output::filled`] were written.
    pub fn consume(&mut self, n: usize) -> Result<(), Misuse> {
        let start = self.marks.filled.start.checked_add(n).filter(|start| *start <= self.marks.filled.end);
        self.marks.filled.start = start.ok_or(Misuse::ConsumeBeyondFilled)?;
        if self.marks.filled.is_empty() {
            self.marks.filled = 0..0;
        }
        Ok(())
    }

    /// Everything was written: the storage may go back to where it came from.
    pub fn is_empty(&self) -> bool {
        self.marks.filled.is_empty()
    }

    /// Bytes that wait to be written.
    pub fn len(&self) -> usize {
        self.marks.filled.len()
    }

    /// Bytes of the present storage.
    pub fn capacity(&self) -> usize {
        self.storage.as_ref().len()
    }

    /// Bytes that can still be added.
    pub fn room(&self) -> usize {
        self.capacity().saturating_sub(self.len())
    }

    /// Bytes of room that the last refused write needed, 0 after one that fitted. More than [`Output::capacity`] means
    /// that draining alone does not help: [replace](Output::replace) the storage by one of at least that size.
    pub fn wanted(&self) -> usize {
        self.marks.wanted
    }

    /// Exchanges the storage, taking along what waits, and returns the old one. When `storage` is too small for what
    /// waits, nothing happens and it comes back as the error.
    pub fn replace(&mut self, mut storage: B) -> Result<B, B> {
        let len = self.len();
        let Some(to) = storage.as_mut().get_mut(..len) else {
            return Err(storage);
        };
        to.copy_from_slice(self.filled());
        self.marks.filled = 0..len;
        Ok(core::mem::replace(&mut self.storage, storage))
    }

    /// The storage; what waits in it is lost.
    pub fn into_storage(self) -> B {
        self.storage
    }

    /// The buffer without its storage's type, so that encoding and sealing are compiled once for all of them.
    pub(crate) fn view(&mut self) -> OutputView<'_> {
        OutputView { bytes: self.storage.as_mut(), marks: &mut self.marks }
    }
}

/// [`Output`] without its storage's type.
#[derive(Debug)]
pub(crate) struct OutputView<'o> {
    bytes: &'o mut [u8],
    marks: &'o mut Marks,
}

impl OutputView<'_> {
    /// Bytes that can still be added.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.marks.filled.len())
    }

    /// Bytes that could be added to the empty buffer at its largest.
    pub(crate) fn ceiling(&self) -> usize {
        self.marks.ceiling.max(self.bytes.len())
    }

    /// The same view for a shorter time.
    pub(crate) fn reborrow(&mut self) -> OutputView<'_> {
        OutputView { bytes: self.bytes, marks: self.marks }
    }

    /// Makes sure of `n` bytes behind the filled part and returns exactly those; with less room nothing changes but
    /// [`Output::wanted`].
    pub(crate) fn reserve(&mut self, n: usize) -> Result<&mut [u8], Full> {
        if self.room() < n {
            self.want(n);
            return Err(Full);
        }
        self.marks.wanted = 0;
        let len = self.marks.filled.len();
        if self.bytes.len().saturating_sub(self.marks.filled.end) < n {
            move_down(self.bytes, self.marks.filled.clone(), 0);
            self.marks.filled = 0..len;
        }
        self.bytes.get_mut(self.marks.filled.end..).and_then(|tail| tail.get_mut(..n)).ok_or(Full)
    }

    /// All room there is, in one piece behind the filled part.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        self.reserve(self.room()).unwrap_or_default()
    }

    /// Notes that a write of `n` bytes waits for room.
    pub(crate) fn want(&mut self, n: usize) {
        self.marks.wanted = n;
    }

    /// Adds the first `n` bytes of what [`OutputView::reserve`] or [`OutputView::spare`] returned last to the filled part. It has as many.
    pub(crate) fn push(&mut self, n: usize) {
        self.marks.filled.end += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn put<B: AsRef<[u8]> + AsMut<[u8]>>(output: &mut Output<B>, bytes: &[u8]) -> Result<(), Full> {
        let mut view = output.view();
        view.reserve(bytes.len())?.copy_from_slice(bytes);
        view.push(bytes.len());
        Ok(())
    }

    #[test]
    fn bytes_leave_in_order_through_partial_writes() {
        let mut output = Output::new([0u8; 8]);
        put(&mut output, b"abcdef").unwrap();
        output.consume(3).unwrap();
        assert_eq!(output.filled(), b"def");
        // Five bytes of room, two of them at the front: the rest moves down.
        put(&mut output, b"ghijk").unwrap();
        assert_eq!(output.filled(), b"defghijk");
        output.consume(8).unwrap();
        assert!(output.is_empty());
        assert_eq!(output.room(), 8);
    }

    #[test]
    fn a_write_without_room_changes_nothing_and_says_what_it_wanted() {
        let mut output = Output::new([0u8; 4]);
        put(&mut output, b"abc").unwrap();
        assert_eq!(put(&mut output, b"de"), Err(Full));
        assert_eq!((output.filled(), output.wanted()), (&b"abc"[..], 2));
        output.consume(1).unwrap();
        put(&mut output, b"de").unwrap();
        assert_eq!((output.filled(), output.wanted()), (&b"bcde"[..], 0));
    }

    #[test]
    fn consuming_more_than_is_filled_is_refused() {
        let mut output = Output::new([0u8; 4]);
        put(&mut output, b"ab").unwrap();
        assert_eq!(output.consume(3), Err(Misuse::ConsumeBeyondFilled));
        assert_eq!(output.consume(usize::MAX), Err(Misuse::ConsumeBeyondFilled));
        assert_eq!(output.filled(), b"ab");
    }

    #[test]
    fn storage_is_replaced_with_what_waits_in_it() {
        let mut output = Output::growable(Vec::new(), 16);
        assert_eq!(put(&mut output, b"abc"), Err(Full));
        assert!(output.wanted() > output.capacity());
        output.replace(std::vec![0; 4]).unwrap();
        put(&mut output, b"abcd").unwrap();
        output.consume(1).unwrap();
        assert!(output.replace(std::vec![0; 2]).is_err());
        output.replace(std::vec![0; 16]).unwrap();
        assert_eq!(output.filled(), b"bcd");
        assert_eq!(output.view().ceiling(), 16);
    }
}
