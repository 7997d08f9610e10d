//! [`Input`]: bytes from the peer, first sealed, then opened in place.

use core::ops::Range;

use super::move_down;
use crate::error::Misuse;

/// Where the regions of an input buffer stand. `plain.start <= plain.end <= sealed.start <= sealed.end <= capacity`.
///
/// ```text
/// | used up | plaintext (its first `lent` bytes are handed over) | used up | as received | free |
///           plain.start                                  plain.end   sealed.start  sealed.end
/// ```
#[derive(Clone, Debug, Default)]
struct Marks {
    plain: Range<usize>,
    sealed: Range<usize>,
    lent: usize,
    ceiling: usize,
}

/// The buffer for bytes from the peer.
///
/// Received bytes go to [`Input::space`] and are announced with [`Input::commit`]. The connection opens records in place;
/// while there is no plaintext waiting, the opened record is the plaintext and nothing moves. A frame that spans records
/// is joined by moving its later parts down.
#[derive(Clone, Debug)]
pub struct Input<B> {
    storage: B,
    marks: Marks,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Input<B> {
    /// An empty buffer over `storage`, which stays as large as it is.
    pub fn new(storage: B) -> Self {
        let ceiling = storage.as_ref().len();
        Self::growable(storage, ceiling)
    }

    /// An empty buffer whose storage the caller may [replace](Input::replace) by one of up to `ceiling` bytes. The
    /// connection says [`Progress::NeedSpace`](crate::connection::Progress::NeedSpace) when a frame needs that.
    pub fn growable(storage: B, ceiling: usize) -> Self {
        Self { storage, marks: Marks { ceiling, ..Marks::default() } }
    }

    /// The free part, to be filled from the link. Moves what waits to the front when that gains more than is free
    /// behind it, so the part is empty only while every byte of the storage waits.
    pub fn space(&mut self) -> &mut [u8] {
        let mut view = self.view();
        view.compact_if_worth();
        let start = self.marks.sealed.end;
        self.storage.as_mut().get_mut(start..).unwrap_or_default()
    }

    /// Announces that the first `n` bytes of [`Input::space`] were filled.
    pub fn commit(&mut self, n: usize) -> Result<(), Misuse> {
        let end = self.marks.sealed.end.checked_add(n).filter(|end| *end <= self.capacity());
        self.marks.sealed.end = end.ok_or(Misuse::CommitBeyondSpace)?;
        Ok(())
    }

    /// Nothing waits and nothing is handed over: the storage may go back to where it came from.
    pub fn is_empty(&self) -> bool {
        self.marks.plain.is_empty() && self.marks.sealed.is_empty()
    }

    /// Bytes that wait, plaintext and sealed ones together.
    pub fn len(&self) -> usize {
        self.marks.plain.len() + self.marks.sealed.len()
    }

    /// Bytes of the present storage.
    pub fn capacity(&self) -> usize {
        self.storage.as_ref().len()
    }

    /// Bytes that the storage may grow to.
    pub fn ceiling(&self) -> usize {
        self.marks.ceiling.max(self.capacity())
    }

    /// Exchanges the storage, taking along what waits, and returns the old one. When `storage` is too small for what
    /// waits, nothing happens and it comes back as the error.
    pub fn replace(&mut self, mut storage: B) -> Result<B, B> {
        if self.is_empty() {
            (self.marks.plain, self.marks.sealed) = (0..0, 0..0);
            return Ok(core::mem::replace(&mut self.storage, storage));
        }
        let (plain, sealed) = (self.marks.plain.clone(), self.marks.sealed.clone());
        let old = self.storage.as_ref();
        let joined = plain.len() + sealed.len();
        let (Some(from_plain), Some(from_sealed)) = (old.get(plain.clone()), old.get(sealed.clone())) else {
            return Err(storage);
        };
        let Some((to_plain, to_sealed)) =
            storage.as_mut().get_mut(..joined).and_then(|to| to.split_at_mut_checked(plain.len()))
        else {
            return Err(storage);
        };
        to_plain.copy_from_slice(from_plain);
        to_sealed.copy_from_slice(from_sealed);
        self.marks.plain = 0..plain.len();
        self.marks.sealed = plain.len()..joined;
        Ok(core::mem::replace(&mut self.storage, storage))
    }

    /// The storage; what waits in it is lost.
    pub fn into_storage(self) -> B {
        self.storage
    }

    /// The buffer without its storage's type, so that a connection is compiled once for all of them.
    pub(crate) fn view(&mut self) -> InputView<'_> {
        InputView { bytes: self.storage.as_mut(), marks: &mut self.marks }
    }

    /// The frame that was handed over last and not yet released.
    pub(crate) fn lent(&self) -> &[u8] {
        let start = self.marks.plain.start;
        self.storage.as_ref().get(start..start + self.marks.lent).unwrap_or_default()
    }
}

/// Whether a number of bytes can stand in the buffer at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Yes, as the storage is now.
    Now,
    /// After the storage was replaced by one of at least so many bytes.
    Grown(usize),
    /// Not even in the largest storage allowed.
    Never,
}

/// [`Input`] without its storage's type. For `connection` only.
#[derive(Debug)]
pub(crate) struct InputView<'a> {
    bytes: &'a mut [u8],
    marks: &'a mut Marks,
}

impl InputView<'_> {
    /// Plaintext that waits.
    pub(crate) fn plain(&self) -> &[u8] {
        self.bytes.get(self.marks.plain.clone()).unwrap_or_default()
    }

    /// Bytes as received that wait.
    pub(crate) fn sealed(&self) -> &[u8] {
        self.bytes.get(self.marks.sealed.clone()).unwrap_or_default()
    }

    /// The first `n` bytes as received, to be read or opened in place; `None` when fewer wait.
    pub(crate) fn sealed_mut(&mut self, n: usize) -> Option<&mut [u8]> {
        self.bytes.get_mut(self.marks.sealed.clone())?.get_mut(..n)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.plain.is_empty() && self.marks.sealed.is_empty()
    }

    /// Bytes that the storage may grow to, as errors carry it.
    pub(crate) fn ceiling(&self) -> u32 {
        u32::try_from(self.marks.ceiling.max(self.bytes.len())).unwrap_or(u32::MAX)
    }

    /// Whether `n` bytes, counted from the first that waits, can stand here.
    pub(crate) fn fit(&self, n: usize) -> Fit {
        match n {
            n if n <= self.bytes.len() => Fit::Now,
            n if n <= self.marks.ceiling => Fit::Grown(n),
            _ => Fit::Never,
        }
    }

    /// Hands over the first `n` bytes of plaintext, which are there, until [`InputView::release`].
    pub(crate) fn lend(&mut self, n: usize) {
        self.marks.lent = n;
    }

    /// Takes back what was handed over: it is used up.
    pub(crate) fn release(&mut self) {
        self.marks.plain.start += core::mem::take(&mut self.marks.lent);
        self.rewind();
    }

    /// Uses up all that waits, and takes back what was handed over.
    pub(crate) fn clear(&mut self) {
        (self.marks.plain, self.marks.sealed, self.marks.lent) = (0..0, 0..0, 0);
    }

    /// Uses up the first `n` bytes of plaintext, which are there.
    pub(crate) fn drop_plain(&mut self, n: usize) {
        self.lend(n);
        self.release();
    }

    /// Uses up the first `n` bytes as received, which are there.
    pub(crate) fn drop_sealed(&mut self, n: usize) {
        self.marks.sealed.start += n;
        self.rewind();
    }

    /// Uses up the first `total` bytes as received, which are there, and of which `body` (counted from the first) is plaintext now.
    pub(crate) fn take_plain(&mut self, total: usize, body: Range<usize>) {
        let base = self.marks.sealed.start;
        let body = base + body.start..base + body.end;
        if self.marks.plain.is_empty() {
            self.marks.plain = body;
        } else {
            let to = self.marks.plain.end;
            self.marks.plain.end += body.len();
            if to != body.start {
                move_down(self.bytes, body, to);
            }
        }
        self.drop_sealed(total);
    }

    /// Moves what waits to the front if that gains more than is free at the end now: each byte then moves only a
    /// bounded number of times, however small the pieces in which input comes.
    fn compact_if_worth(&mut self) {
        let kept = self.marks.plain.len() + self.marks.sealed.len();
        let free = self.bytes.len().saturating_sub(self.marks.sealed.end);
        let waste = self.bytes.len().saturating_sub(kept + free);
        if waste <= free {
            return;
        }
        let plain = self.marks.plain.len();
        move_down(self.bytes, self.marks.plain.clone(), 0);
        move_down(self.bytes, self.marks.sealed.clone(), plain);
        self.marks.plain = 0..plain;
        self.marks.sealed = plain..kept;
    }

    /// Starts over at the front when nothing waits; costs no move.
    fn rewind(&mut self) {
        if self.is_empty() {
            self.marks.plain = 0..0;
            self.marks.sealed = 0..0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;

    fn fill<B: AsRef<[u8]> + AsMut<[u8]>>(input: &mut Input<B>, bytes: &[u8]) {
        input.space()[..bytes.len()].copy_from_slice(bytes);
        input.commit(bytes.len()).unwrap();
    }

    #[test]
    fn a_record_opened_in_place_is_the_plaintext_without_a_move() {
        let mut input = Input::new([0u8; 16]);
        fill(&mut input, b"__abcTT");
        let mut view = input.view();
        view.take_plain(7, 2..5);
        assert_eq!((view.plain(), view.sealed()), (&b"abc"[..], &b""[..]));
        assert_eq!(view.marks.plain, 2..5);
    }

    #[test]
    fn a_frame_in_two_records_becomes_contiguous() {
        let mut input = Input::new([0u8; 16]);
        fill(&mut input, b"__abcTT__deTT");
        let mut view = input.view();
        view.take_plain(7, 2..5);
        view.take_plain(6, 2..4);
        assert_eq!(view.plain(), b"abcde");
        assert!(view.sealed().is_empty());
    }

    #[test]
    fn space_compacts_only_when_that_gains_more_than_is_free() {
        let mut input = Input::new([0u8; 16]);
        fill(&mut input, b"0123456789");
        let mut view = input.view();
        view.take_plain(10, 0..10);
        view.drop_plain(4);
        // 4 used up, 6 free: stays.
        assert_eq!(input.space().len(), 6);
        fill(&mut input, b"ab");
        input.view().drop_plain(2);
        // 6 used up, 4 free: moves.
        assert_eq!(input.space().len(), 10);
        let view = input.view();
        assert_eq!((view.plain(), view.sealed()), (&b"6789"[..], &b"ab"[..]));
        // Full, and nothing to gain.
        fill(&mut input, &[b'x'; 10]);
        assert_eq!(input.space().len(), 0);
    }

    #[test]
    fn the_buffer_starts_over_when_it_is_used_up() {
        let mut input = Input::new([0u8; 8]);
        fill(&mut input, b"01234567");
        let mut view = input.view();
        view.take_plain(8, 0..8);
        view.lend(8);
        assert_eq!(input.lent(), b"01234567");
        assert!(!input.is_empty());
        input.view().release();
        assert!(input.is_empty());
        assert_eq!(input.space().len(), 8);
    }

    #[test]
    fn committing_more_than_there_is_space_for_is_refused() {
        let mut input = Input::new([0u8; 4]);
        assert_eq!(input.commit(5), Err(Misuse::CommitBeyondSpace));
        assert_eq!(input.commit(usize::MAX), Err(Misuse::CommitBeyondSpace));
        assert_eq!(input.commit(4), Ok(()));
        assert_eq!(input.commit(1), Err(Misuse::CommitBeyondSpace));
    }

    #[test]
    fn storage_is_replaced_with_what_waits_in_it() {
        let boxed = |n: usize| Box::<[u8]>::from(std::vec![0u8; n]);
        let mut input = Input::growable(boxed(8), 32);
        let view = input.view();
        assert_eq!([8, 9, 32, 33].map(|n| view.fit(n)), [Fit::Now, Fit::Grown(9), Fit::Grown(32), Fit::Never]);
        fill(&mut input, b"__ab__cd");
        input.view().take_plain(4, 2..4);
        let refused = input.replace(boxed(5)).unwrap_err();
        assert_eq!(refused.len(), 5);
        assert_eq!(input.replace(boxed(20)).unwrap().len(), 8);
        let view = input.view();
        assert_eq!((view.plain(), view.sealed()), (&b"ab"[..], &b"__cd"[..]));
        assert_eq!(input.space().len(), 14);
    }

    #[test]
    fn an_empty_buffer_gives_its_storage_away() {
        let mut input = Input::growable(Vec::new(), 64);
        assert!(input.space().is_empty());
        assert!(input.replace(std::vec![0u8; 64]).unwrap().is_empty());
        assert_eq!(input.space().len(), 64);
        assert_eq!(input.replace(Vec::new()).unwrap().len(), 64);
    }
}
