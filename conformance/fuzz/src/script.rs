//! Bytes as a script: taken from the front, zero when there are none left, so that every input is a script.

/// What is left of the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Up to `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A frame with whatever header the script says: extension, channel bit, number, then a length of two bytes and that much payload. What the
    /// input lacks is zeros, up to a thousand.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let (extension, msg_type, len) = (self.u16(), self.byte(), usize::from(self.u16()));
        let mut payload = self.take(len).to_vec();
        payload.resize(len.min(payload.len().max(1_000)), 0);
        let len = u32::try_from(payload.len()).expect("two bytes").to_le_bytes();
        [&extension.to_le_bytes()[..], &[msg_type], &len[..3], &payload].concat()
    }
}
