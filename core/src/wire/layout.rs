//! [`Layout`]: a data type as the specification names it, as a value that tests and tools can walk.

use core::fmt;

/// How a data type lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Always `size` bytes.
    Fixed {
        /// Name in the specification.
        name: &'static str,
        /// Bytes.
        size: u32,
    },
    /// A length of `prefix` bytes, then up to `max` bytes.
    Bytes {
        /// Name in the specification.
        name: &'static str,
        /// Bytes of the length.
        prefix: u32,
        /// Most bytes that may follow.
        max: u32,
    },
    /// A count of `prefix` bytes, then up to `max` items. `OPTION` is a sequence of at most one.
    Sequence {
        /// Name in the specification, without its item.
        name: &'static str,
        /// Bytes of the count.
        prefix: u32,
        /// Most items that may follow.
        max: u32,
        /// The item.
        item: &'static Layout,
    },
}

impl Layout {
    /// Fewest bytes that a value takes.
    #[must_use]
    pub const fn min_len(&self) -> u64 {
        match *self {
            Self::Fixed { size, .. } => size as u64,
            Self::Bytes { prefix, .. } | Self::Sequence { prefix, .. } => prefix as u64,
        }
    }

    /// Most bytes that a value takes, without regard to the frame's own limit.
    #[must_use]
    pub const fn max_len(&self) -> u64 {
        match *self {
            Self::Fixed { size, .. } => size as u64,
            Self::Bytes { prefix, max, .. } => prefix as u64 + max as u64,
            Self::Sequence { prefix, max, item, .. } => prefix as u64 + (max as u64).saturating_mul(item.max_len()),
        }
    }
}

/// The name as the specification's tables print it, `SEQ0_255[U256]` for one.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { name, .. } | Self::Bytes { name, .. } => f.write_str(name),
            Self::Sequence { name, item, .. } => write!(f, "{name}[{item}]"),
        }
    }
}

/// A type of the specification's table of data types (§3.1): the same in both revisions.
pub trait DataType {
    /// Name and size.
    const LAYOUT: Layout;
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::wire::{B064K, Seq064K, Seq0255, U256};

    #[test]
    fn layouts_print_and_add_up_as_the_tables_do() {
        let path = <Seq0255<'_, U256> as DataType>::LAYOUT;
        assert_eq!((path.to_string().as_str(), path.min_len(), path.max_len()), ("SEQ0_255[U256]", 1, 8161));
        let option = <Option<u32> as DataType>::LAYOUT;
        assert_eq!((option.to_string().as_str(), option.min_len(), option.max_len()), ("OPTION[U32]", 1, 5));
        let outputs = <Seq064K<'_, B064K<'_>> as DataType>::LAYOUT;
        assert_eq!(outputs.to_string(), "SEQ0_64K[B0_64K]");
        assert_eq!(outputs.max_len(), 2 + 65_535 * 65_537);
    }
}
