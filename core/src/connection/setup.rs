//! `SetupConnection`: what a responder accepts, and what an initiator accepts as the answer (§3.7).

use core::fmt;

use crate::error::Misuse;
use crate::message::common::{SetupConnection, SetupConnectionError, SetupConnectionSuccess};
use crate::message::mining::{SetupFlags, SuccessFlags};
use crate::protocol::{Mining, Protocol};

/// The only version of the protocol so far (D-CONN-3).
pub const VERSION: u16 = 2;

/// What a responder answers to `SetupConnection`. The same on every server behind one host and port (D-CONN-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetupPolicy {
    /// The lowest version served.
    pub min_version: u16,
    /// The highest version served.
    pub max_version: u16,
    /// The flags of `SetupConnection` that are served. All others are refused by name.
    pub supported_flags: u32,
    /// The flags of `SetupConnection.Success`; other bits than those of the request.
    pub answer_flags: u32,
}

impl SetupPolicy {
    /// Version 2, these flags, and none in the answer.
    #[must_use]
    pub const fn new(supported_flags: u32) -> Self {
        Self { min_version: VERSION, max_version: VERSION, supported_flags, answer_flags: 0 }
    }

    /// The same with these flags in the answer.
    #[must_use]
    pub const fn answering(self, answer_flags: u32) -> Self {
        Self { answer_flags, ..self }
    }

    /// Success or the refusal. Protocol, versions and flags are looked at in this order, and only what is first is named:
    /// flags stay 0 when they are not the cause (D-CONN-9, open question 9 of the current revision).
    pub(super) fn judge(&self, protocol: u8, asked: &SetupConnection<'_>) -> Result<SetupConnectionSuccess, Refusal> {
        if asked.protocol != protocol {
            return Err(Refusal::UnsupportedProtocol);
        }
        // D-CONN-4: one that the client offered; the highest that both have. An empty range has none.
        let used_version = asked.max_version.min(self.max_version);
        if used_version < asked.min_version.max(self.min_version) {
            return Err(Refusal::VersionMismatch);
        }
        // D-CONN-9, D-CONN-11: every one that is not served, so that a probe with all flags set learns all of them.
        match asked.flags & !self.served_flags(protocol) {
            0 => Ok(SetupConnectionSuccess { used_version, flags: self.answer_flags }),
            unsupported => Err(Refusal::UnsupportedFlags(unsupported)),
        }
    }

    /// D-FLAG-4: who announces a fixed version cannot serve a client that must roll it.
    fn served_flags(&self, protocol: u8) -> u32 {
        let answer = SuccessFlags::from_bits(self.answer_flags);
        if protocol == Mining::NUMBER && answer.contains(SuccessFlags::REQUIRES_FIXED_VERSION) {
            self.supported_flags & !SetupFlags::REQUIRES_VERSION_ROLLING.bits()
        } else {
            self.supported_flags
        }
    }
}

/// Why a responder refused `SetupConnection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another sub-protocol than this port's, or an unknown one.
    UnsupportedProtocol,
    /// No version in common, or an empty range.
    VersionMismatch,
    /// These flags are not served.
    UnsupportedFlags(u32),
}

impl Refusal {
    /// The message that says so.
    #[must_use]
    pub fn message(self) -> SetupConnectionError<'static> {
        let (flags, error_code) = match self {
            Self::UnsupportedProtocol => (0, SetupConnectionError::UNSUPPORTED_PROTOCOL),
            Self::VersionMismatch => (0, SetupConnectionError::PROTOCOL_VERSION_MISMATCH),
            Self::UnsupportedFlags(flags) => (flags, SetupConnectionError::UNSUPPORTED_FEATURE_FLAGS),
        };
        SetupConnectionError { flags, error_code: error_code.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedProtocol => f.write_str("unsupported protocol"),
            Self::VersionMismatch => f.write_str("no version in common"),
            Self::UnsupportedFlags(flags) => write!(f, "unsupported flags 0x{flags:08x}"),
        }
    }
}

/// The versions that an initiator offered, kept for its check of the answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offered {
    pub(super) min: u16,
    pub(super) max: u16,
}

impl Offered {
    /// What a `SetupConnection` offers that we are about to send; it has to name `protocol`.
    pub(super) fn read(payload: &[u8], protocol: u8) -> Result<Self, Misuse> {
        // What it begins with; the rest plays no part here.
        match payload {
            [named, a, b, c, d, ..] if *named == protocol => {
                Ok(Self { min: u16::from_le_bytes([*a, *b]), max: u16::from_le_bytes([*c, *d]) })
            }
            _ => Err(Misuse::WrongProtocol),
        }
    }

    /// D-CONN-4.
    pub(super) const fn contains(self, version: u16) -> bool {
        self.min <= version && version <= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Revision;
    use crate::wire::{Encode, Writer};
    use proptest::prelude::*;

    fn asked(protocol: u8, min_version: u16, max_version: u16, flags: u32) -> SetupConnection<'static> {
        SetupConnection {
            protocol,
            min_version,
            max_version,
            flags,
            endpoint_host: "pool.example".into(),
            endpoint_port: 34_254,
            vendor: "adit".into(),
            hardware_version: "".into(),
            firmware: "".into(),
            device_id: "".into(),
        }
    }

    /// D-CONN-3, D-CONN-4: what is sent is what is kept, in either revision.
    #[test]
    fn what_is_offered_is_read_from_what_is_sent() {
        let mut payload = [0; 128];
        for revision in [Revision::Draft, Revision::Current] {
            asked(2, 3, 0x0405, 6).encode(&mut Writer::new(&mut payload), revision).unwrap();
            let offered = Offered::read(&payload, 2).unwrap();
            assert_eq!((offered.min, offered.max), (3, 0x0405));
            assert_eq!(Offered::read(&payload, 0).unwrap_err(), Misuse::WrongProtocol);
        }
        assert!(Offered::read(&[2, 0, 0, 1], 2).is_err());
    }

    /// D-CONN-2, D-CONN-3, D-CONN-4
    #[test]
    fn the_highest_common_version_is_used() {
        let policy = SetupPolicy { max_version: 4, ..SetupPolicy::new(0) };
        let used = |min, max| policy.judge(0, &asked(0, min, max, 0)).map(|success| success.used_version);
        assert_eq!(used(2, 2), Ok(2));
        assert_eq!(used(1, 3), Ok(3));
        assert_eq!(used(3, 9), Ok(4));
        assert_eq!(used(5, 9), Err(Refusal::VersionMismatch));
        assert_eq!(used(0, 1), Err(Refusal::VersionMismatch));
        assert_eq!(used(3, 2), Err(Refusal::VersionMismatch));
    }

    /// D-CONN-9: flags are 0 when another condition is the cause, and lists every unsupported one otherwise.
    #[test]
    fn a_refusal_names_its_cause_only() {
        let policy = SetupPolicy::new(0b101);
        let refused = |asked| policy.judge(0, &asked).unwrap_err().message();
        let message = refused(asked(9, 7, 7, u32::MAX));
        assert_eq!((message.flags, message.error_code.as_bytes()), (0, &b"unsupported-protocol"[..]));
        let message = refused(asked(0, 7, 7, u32::MAX));
        assert_eq!((message.flags, message.error_code.as_bytes()), (0, &b"protocol-version-mismatch"[..]));
        let message = refused(asked(0, 2, 2, u32::MAX));
        assert_eq!((message.flags, message.error_code.as_bytes()), (!0b101, &b"unsupported-feature-flags"[..]));
    }

    /// D-FLAG-4
    #[test]
    fn a_fixed_version_and_version_rolling_exclude_each_other() {
        let policy = SetupPolicy::new(0b111).answering(SuccessFlags::REQUIRES_FIXED_VERSION.bits());
        assert_eq!(policy.judge(0, &asked(0, 2, 2, 0b111)), Err(Refusal::UnsupportedFlags(0b100)));
        assert!(policy.judge(0, &asked(0, 2, 2, 0b011)).is_ok());
        // Bits have other meanings in other protocols.
        assert!(policy.judge(2, &asked(2, 2, 2, 0b111)).is_ok());
    }

    proptest! {
        /// D-CONN-4, D-CONN-9, D-CONN-10, D-CONN-11
        #[test]
        fn success_is_always_what_was_offered(min: u16, max: u16, flags: u32, low: u16, high: u16, supported: u32) {
            let policy = SetupPolicy { min_version: low, max_version: high, ..SetupPolicy::new(supported) };
            // Another server with this policy answers the same, whatever it was asked before.
            let other = policy;
            let _ = other.judge(2, &asked(2, low, high, !flags));
            prop_assert_eq!(other.judge(2, &asked(2, min, max, flags)), policy.judge(2, &asked(2, min, max, flags)));
            match policy.judge(2, &asked(2, min, max, flags)) {
                Ok(success) => {
                    let offered = Offered { min, max };
                    prop_assert!(offered.contains(success.used_version));
                    prop_assert!((low..=high).contains(&success.used_version));
                    prop_assert_eq!(flags & !supported, 0);
                }
                Err(Refusal::UnsupportedFlags(named)) => prop_assert_eq!(named, flags & !supported),
                Err(Refusal::VersionMismatch) => prop_assert!(max.min(high) < min.max(low)),
                Err(Refusal::UnsupportedProtocol) => prop_assert!(false),
            }
        }
    }
}
