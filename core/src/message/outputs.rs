//! Coinbase outputs inside messages: Bitcoin's own serialization, which a receiver checks before it uses it.
//!
//! Malformed outputs are no decode error of the message: their sender gets an error reply and keeps its connection.

use core::fmt;

use crate::message::{FieldType, Slot};
use crate::wire::{B064K, CompactSize, DataType, Decode, DecodeError, DecodeErrorKind, Encode, EncodeError};
use crate::wire::{EncodeErrorKind, Reader, Revision, Seq064K, Writer};

/// A transaction output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TxOut<'a> {
    /// Amount in satoshis.
    pub value: u64,
    /// Who can spend it.
    pub script_pubkey: &'a [u8],
}

/// As Bitcoin serializes it: amount, length of the script, script.
impl Encode for TxOut<'_> {
    fn encoded_len(&self, revision: Revision) -> usize {
        let script = self.script_pubkey.len();
        CompactSize(script as u64).encoded_len(revision).saturating_add(8).saturating_add(script)
    }

    fn encode(&self, writer: &mut Writer<'_>, revision: Revision) -> Result<(), EncodeError> {
        self.value.encode(writer, revision)?;
        CompactSize(self.script_pubkey.len() as u64).encode(writer, revision)?;
        writer.bytes(self.script_pubkey)
    }
}

impl<'a> Decode<'a> for TxOut<'a> {
    fn read(reader: &mut Reader<'a>, revision: Revision) -> Self {
        let value = u64::read(reader, revision);
        let CompactSize(length) = CompactSize::read(reader, revision);
        // What no address can say is more than there is.
        let script_pubkey = reader.read_slice(usize::try_from(length).unwrap_or(usize::MAX));
        Self { value, script_pubkey }
    }
}

/// Reads a known number of serialized outputs that must fill their bytes exactly. After an error it ends.
#[derive(Clone, Debug)]
pub struct TxOuts<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> TxOuts<'a> {
    /// The `count` outputs in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8], count: u64) -> Self {
        Self { reader: Reader::new(bytes), left: count }
    }

    /// The outputs in `bytes`, which begin with their `CompactSize` count. Without any byte there are none.
    fn counted(bytes: &'a [u8]) -> Self {
        let mut reader = Reader::new(bytes);
        if bytes.is_empty() {
            return Self { reader, left: 0 };
        }
        match CompactSize::decode(&mut reader, Revision::Current) {
            Ok(CompactSize(left)) => Self { reader, left },
            // Nothing was counted, so that the bytes themselves are what is left over and wrong.
            Err(_) => Self { reader: Reader::new(bytes), left: 0 },
        }
    }

    /// Drops what is left, so that the iteration ends behind the error.
    fn fail(&mut self, error: DecodeError) -> DecodeError {
        *self = Self::new(&[], 0);
        error
    }
}

impl<'a> Iterator for TxOuts<'a> {
    type Item = Result<TxOut<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(left) = self.left.checked_sub(1) else {
            if self.reader.is_empty() {
                return None;
            }
            return Some(Err(self.fail(self.reader.error(DecodeErrorKind::TrailingBytes))));
        };
        self.left = left;
        Some(TxOut::decode(&mut self.reader, Revision::Current).map_err(|error| self.fail(error)))
    }
}

/// The outputs of a custom job's coinbase: `SEQ0_64K[B0_64K]`, one output an element, in the draft; one `B0_64K` with a
/// `CompactSize` count before the outputs in the current revision (draft open question 20).
///
/// In the draft they are those that come last in the coinbase, in the current revision all of them.
#[derive(Clone, Copy)]
pub struct CoinbaseOutputs<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Built(&'a [TxOut<'a>]),
    Draft(Seq064K<'a, B064K<'a>>),
    Current(B064K<'a>),
}

impl<'a> CoinbaseOutputs<'a> {
    /// Outputs to send.
    #[must_use]
    pub const fn new(outputs: &'a [TxOut<'a>]) -> Self {
        Self(Source::Built(outputs))
    }

    /// The outputs in their order, each checked when it is asked for. After an error the iteration ends.
    #[must_use]
    pub fn iter(&self) -> CoinbaseOutputsIter<'a> {
        CoinbaseOutputsIter(match self.0 {
            Source::Built(outputs) => Cursor::Built(outputs.iter()),
            Source::Draft(elements) => Cursor::Draft(elements.iter()),
            Source::Current(bytes) => Cursor::Current(TxOuts::counted(bytes.as_bytes())),
        })
    }

    /// How many outputs there are and how many bytes they take, each of them with `overhead` more.
    fn measure(&self, revision: Revision, overhead: usize) -> (usize, usize) {
        self.iter().flatten().fold((0, 0), |(count, bytes): (usize, usize), output| {
            let len = output.encoded_len(revision).saturating_add(overhead);
            (count.saturating_add(1), bytes.saturating_add(len))
        })
    }
}

impl<'a> IntoIterator for &CoinbaseOutputs<'a> {
    type Item = Result<TxOut<'a>, DecodeError>;
    type IntoIter = CoinbaseOutputsIter<'a>;

    fn into_iter(self) -> CoinbaseOutputsIter<'a> {
        self.iter()
    }
}

/// The outputs of a [`CoinbaseOutputs`], or the error that ends them.
#[derive(Clone, Debug)]
pub struct CoinbaseOutputsIter<'a>(Cursor<'a>);

#[derive(Clone, Debug)]
enum Cursor<'a> {
    Built(core::slice::Iter<'a, TxOut<'a>>),
    Draft(crate::wire::SeqIter<'a, B064K<'a>>),
    Current(TxOuts<'a>),
}

impl<'a> Iterator for CoinbaseOutputsIter<'a> {
    type Item = Result<TxOut<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Cursor::Built(outputs) => outputs.next().copied().map(Ok),
            Cursor::Draft(elements) => {
                let mut reader = Reader::new(elements.next()?.as_bytes());
                let output = match TxOut::decode(&mut reader, Revision::Draft) {
                    Ok(_) if !reader.is_empty() => Err(reader.error(DecodeErrorKind::TrailingBytes)),
                    other => other,
                };
                if output.is_err() {
                    self.0 = Cursor::Built([].iter());
                }
                Some(output)
            }
            Cursor::Current(outputs) => outputs.next(),
        }
    }
}

impl Default for CoinbaseOutputs<'_> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl PartialEq for CoinbaseOutputs<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for CoinbaseOutputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl FieldType for CoinbaseOutputs<'_> {
    const DRAFT: Option<Slot> = Some(Slot { name: None, layout: <Seq064K<'_, B064K<'_>> as DataType>::LAYOUT });
    const CURRENT: Option<Slot> = Some(Slot { name: None, layout: <B064K<'_> as DataType>::LAYOUT });
}

impl Encode for CoinbaseOutputs<'_> {
    fn encoded_len(&self, revision: Revision) -> usize {
        match (self.0, revision) {
            (Source::Draft(elements), Revision::Draft) => elements.encoded_len(revision),
            (Source::Current(bytes), Revision::Current) => bytes.encoded_len(revision),
            (_, Revision::Draft) => self.measure(revision, 2).1.saturating_add(2),
            (_, Revision::Current) => {
                let (count, bytes) = self.measure(revision, 0);
                bytes.saturating_add(CompactSize(count as u64).encoded_len(revision)).saturating_add(2)
            }
        }
    }

    fn encode(&self, writer: &mut Writer<'_>, revision: Revision) -> Result<(), EncodeError> {
        match (self.0, revision) {
            (Source::Draft(elements), Revision::Draft) => return elements.encode(writer, revision),
            (Source::Current(bytes), Revision::Current) => return bytes.encode(writer, revision),
            _ => {}
        }
        let (count, bytes) = self.measure(revision, 0);
        match revision {
            Revision::Draft => prefix(writer, count)?,
            Revision::Current => {
                let count = CompactSize(count as u64);
                prefix(writer, bytes.saturating_add(count.encoded_len(revision)))?;
                count.encode(writer, revision)?;
            }
        }
        for output in self {
            let output = output.map_err(|_| EncodeError::new(EncodeErrorKind::Invalid))?;
            if revision == Revision::Draft {
                prefix(writer, output.encoded_len(revision))?;
            }
            output.encode(writer, revision)?;
        }
        Ok(())
    }
}

/// The two bytes before a `B0_64K` or a `SEQ0_64K`.
fn prefix(writer: &mut Writer<'_>, length: usize) -> Result<(), EncodeError> {
    match u16::try_from(length) {
        Ok(length) => writer.array(length.to_le_bytes()),
        Err(_) => Err(EncodeError::new(EncodeErrorKind::TooLong)),
    }
}

impl<'a> Decode<'a> for CoinbaseOutputs<'a> {
    fn read(reader: &mut Reader<'a>, revision: Revision) -> Self {
        Self(match revision {
            Revision::Draft => Source::Draft(Seq064K::read(reader, revision)),
            Revision::Current => Source::Current(B064K::read(reader, revision)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn encode(outputs: &CoinbaseOutputs<'_>, revision: Revision) -> Result<Vec<u8>, EncodeError> {
        let mut buffer = vec![0; outputs.encoded_len(revision)];
        let mut writer = Writer::new(&mut buffer);
        outputs.encode(&mut writer, revision)?;
        assert_eq!(writer.room(), 0);
        Ok(buffer)
    }

    fn decode(bytes: &[u8], revision: Revision) -> CoinbaseOutputs<'_> {
        CoinbaseOutputs::decode(&mut Reader::new(bytes), revision).unwrap()
    }

    #[test]
    fn one_value_two_layouts() {
        let outputs = [TxOut { value: 1, script_pubkey: &[0x51] }, TxOut { value: 2, script_pubkey: &[] }];
        let built = CoinbaseOutputs::new(&outputs);
        let draft = encode(&built, Revision::Draft).unwrap();
        assert_eq!(draft, [2, 0, 10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x51, 9, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        let current = encode(&built, Revision::Current).unwrap();
        assert_eq!(current, [20, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x51, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode(&draft, Revision::Draft), built);
        assert_eq!(decode(&current, Revision::Current), built);
        assert_eq!(encode(&decode(&draft, Revision::Draft), Revision::Current).unwrap(), current);
        assert_eq!(encode(&decode(&current, Revision::Current), Revision::Draft).unwrap(), draft);
    }

    #[test]
    fn no_outputs_have_a_count_of_zero_and_an_empty_field_is_taken_for_it() {
        assert_eq!(encode(&CoinbaseOutputs::default(), Revision::Current).unwrap(), [1, 0, 0]);
        assert_eq!(encode(&CoinbaseOutputs::default(), Revision::Draft).unwrap(), [0, 0]);
        let empty = decode(&[0, 0], Revision::Current);
        assert_eq!(empty, CoinbaseOutputs::default());
        assert_eq!(encode(&empty, Revision::Current).unwrap(), [0, 0]);
    }

    /// Malformed outputs come out as one error, and cannot be carried over into the other revision.
    #[test]
    fn malformed_outputs_are_seen_when_they_are_read() {
        let output = [1, 0, 0, 0, 0, 0, 0, 0, 1, 0x51];
        let with = |head: &[u8], tail: &[u8]| [head, &output[..], tail].concat();
        for (bytes, revision, before) in [
            (with(&[1, 0, 11, 0], &[9]), Revision::Draft, 0), // a byte behind the output
            (vec![1, 0, 2, 0, 1, 2], Revision::Draft, 0),     // cut short
            (with(&[11, 0, 2], &[]), Revision::Current, 1),   // counts two, holds one
            (with(&[12, 0, 1], &[9]), Revision::Current, 1),  // a byte behind the last
            (with(&[13, 0, 253, 1, 0], &[]), Revision::Current, 0), // a count not in its shortest form
        ] {
            let outputs = decode(&bytes, revision);
            let all: Vec<_> = outputs.iter().collect();
            assert_eq!(all.len(), before + 1, "{bytes:?}");
            assert!(all[before].is_err() && all[..before].iter().all(Result::is_ok), "{bytes:?}");
            assert_eq!(encode(&outputs, revision).unwrap(), bytes);
            let other = if revision == Revision::Draft { Revision::Current } else { Revision::Draft };
            assert_eq!(encode(&outputs, other).unwrap_err().kind(), EncodeErrorKind::Invalid);
        }
    }

    #[test]
    fn too_many_bytes_fail_to_encode() {
        let script = vec![0; 0x1_0000];
        let outputs = [TxOut { value: 0, script_pubkey: &script }];
        for revision in [Revision::Draft, Revision::Current] {
            let error = encode(&CoinbaseOutputs::new(&outputs), revision).unwrap_err();
            assert_eq!(error.kind(), EncodeErrorKind::TooLong);
        }
    }

    proptest! {
        #[test]
        fn outputs_survive_both_layouts(outputs: Vec<(u64, Vec<u8>)>) {
            let outputs: Vec<_> =
                outputs.iter().map(|(value, script)| TxOut { value: *value, script_pubkey: script }).collect();
            let built = CoinbaseOutputs::new(&outputs);
            for revision in [Revision::Draft, Revision::Current] {
                let bytes = encode(&built, revision).unwrap();
                prop_assert_eq!(decode(&bytes, revision), built);
            }
        }

        #[test]
        fn any_bytes_end_after_at_most_one_error(bytes: Vec<u8>, count: u64) {
            let errors = TxOuts::new(&bytes, count).filter(Result::is_err).count();
            prop_assert!(errors <= 1);
        }
    }
}
