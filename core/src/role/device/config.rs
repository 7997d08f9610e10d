//! What a device is told: about itself, and where it connects.

use core::fmt;
use core::time::Duration;

use crate::message::common::Reconnect;
use crate::mining::target::Target;
use crate::wire::{Str0255, is_hash_rate};

/// What a device is and wants. Texts have at most 255 bytes each ([`check`](Self::check)), and with the small buffers of firmware some 400 together
/// ([`DEVICE_OUTPUT`](crate::config::DEVICE_OUTPUT)).
#[derive(Clone, Debug)]
pub struct DeviceConfig<T = &'static str> {
    /// Account and worker.
    pub user_identity: T,
    /// Maker of the device; must not be empty (D-CONN-5).
    pub vendor: T,
    /// Hardware version; should not be empty (D-CONN-6).
    pub hardware_version: T,
    /// Firmware on the device.
    pub firmware: T,
    /// Identifier that the vendor keeps unique; empty without telemetry (D-CONN-6).
    pub device_id: T,
    /// Expected hashes a second; what is no rate (not a number, infinite, negative) counts as 0 (D-OPEN-4).
    pub nominal_hash_rate: f32,
    /// The easiest target that is accepted (D-OPEN-5). Default: any.
    pub max_target: Target,
    /// Standard jobs only: none for groups, which are some 400 bytes each (D-FLAG-1). Default: yes. A device of
    /// [`StandardMining`](crate::protocol::StandardMining) takes no others, whatever this says.
    pub standard_jobs_only: bool,
    /// The hasher needs the version's bits, so a server that fixes them is of no use (D-FLAG-3). Default: no.
    pub version_rolling: bool,
    /// Before a channel that was refused or closed is asked for again; each time in a row doubles it. Default 1 s. Nothing random
    /// is added: owners of many devices give each its own value.
    pub first_retry: Duration,
    /// The wait does not grow beyond this; a channel that was open for so long counts as a success. Default 60 s.
    pub last_retry: Duration,
    /// How long the server may take to open a channel. Default 30 s: someone may have to look into a database.
    pub answer_limit: Duration,
}

impl<T> DeviceConfig<T> {
    /// A device of this identity with defaults for everything else.
    #[must_use]
    pub const fn new(user_identity: T, vendor: T, hardware_version: T, firmware: T, device_id: T) -> Self {
        Self {
            user_identity,
            vendor,
            hardware_version,
            firmware,
            device_id,
            nominal_hash_rate: 0.0,
            max_target: Target::MAX,
            standard_jobs_only: true,
            version_rolling: false,
            first_retry: Duration::from_secs(1),
            last_retry: Duration::from_secs(60),
            answer_limit: Duration::from_secs(30),
        }
    }
}

impl<T: AsRef<str>> DeviceConfig<T> {
    /// Whether a server can be told these texts. Asked once, when they come from a person, it names the one that is wrong; without, every connection
    /// of the device would fail as [`Misuse`](crate::error::Misuse) of the core.
    pub fn check(&self) -> Result<(), ConfigError> {
        let texts = [
            (&self.user_identity, "user_identity"),
            (&self.vendor, "vendor"),
            (&self.hardware_version, "hardware_version"),
            (&self.firmware, "firmware"),
            (&self.device_id, "device_id"),
        ];
        for (text, field) in texts {
            let length = text.as_ref().len();
            if length > Str0255::MAX_LEN {
                return Err(ConfigError::TooLong { field, length });
            }
        }
        if self.vendor.as_ref().is_empty() { Err(ConfigError::NoVendor) } else { Ok(()) }
    }
}

/// What a server cannot be told of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A text of more than 255 bytes, which no message can carry.
    TooLong {
        /// The field of [`DeviceConfig`].
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// `vendor` is empty (D-CONN-5).
    NoVendor,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { field, length } => {
                write!(f, "{field} has {length} bytes; messages carry at most {}", Str0255::MAX_LEN)
            }
            Self::NoVendor => f.write_str("vendor is empty"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// 0 for what is no rate.
#[cfg_attr(target_os = "none", inline(never))]
pub(super) fn hash_rate(rate: f32) -> f32 {
    if is_hash_rate(rate) { rate } else { 0.0 }
}

/// A host name or address of more than 255 bytes, which no message can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostTooLong;

impl fmt::Display for HostTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("host names have at most 255 bytes")
    }
}

impl core::error::Error for HostTooLong {}

/// Where a connection goes: a copy, at most 255 bytes of host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    host: heapless::String<{ Str0255::MAX_LEN }>,
    port: u16,
}

impl Endpoint {
    /// This host name or address, this TCP port.
    pub fn new(host: &str, port: u16) -> Result<Self, HostTooLong> {
        let host = heapless::String::try_from(host).map_err(|_| HostTooLong)?;
        Ok(Self { host, port })
    }

    /// Where `message` sends who is connected here: what it leaves open stays as it is (D-RECON-3). None when the new host is not ASCII, as names and
    /// addresses are. (What takes any text is [`reconnect_target`](crate::connection::reconnect_target); a board has no other use for UTF-8.)
    #[must_use]
    pub fn redirected(&self, message: &Reconnect<'_>) -> Option<Self> {
        let mut to = self.clone();
        if !message.new_host.is_empty() {
            to.host.clear();
        }
        for byte in message.new_host.as_bytes() {
            if !byte.is_ascii_graphic() {
                return None;
            }
            to.host.push(char::from(*byte)).ok()?;
        }
        if message.new_port != 0 {
            to.port = message.new_port;
        }
        Some(to)
    }

    /// Host name or address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::ToOwned;
    use std::string::ToString;

    /// D-CONN-5, D-CONN-6: a maker there must be; what is too long is called by its name.
    #[test]
    fn a_text_that_no_server_can_be_told_is_named() {
        let long = ["x"; 256].concat();
        let config = |texts: [&'static str; 5]| {
            let [user, vendor, hardware, firmware, id] = texts;
            DeviceConfig::new(user.to_owned(), vendor.into(), hardware.into(), firmware.into(), id.into())
        };
        let fits = DeviceConfig { user_identity: long[1..].to_owned(), ..config(["", "Adit", "", "", ""]) };
        assert_eq!(fits.check(), Ok(()));
        let too_long = DeviceConfig { user_identity: long.clone(), ..fits.clone() };
        let error = too_long.check().unwrap_err();
        assert_eq!(error.to_string(), "user_identity has 256 bytes; messages carry at most 255");
        let of_another = DeviceConfig { device_id: long, ..fits }.check();
        assert_eq!(of_another, Err(ConfigError::TooLong { field: "device_id", length: 256 }));
        assert_eq!(config(["user", "", "S9", "1", ""]).check(), Err(ConfigError::NoVendor));
    }

    /// D-RECON-3: what is empty stays as it is; what no host is called leads nowhere.
    #[test]
    fn a_redirection_fills_in_what_is_left_open() {
        let here = Endpoint::new("old", 1).unwrap();
        let to = |new_host: &'static [u8], new_port| {
            here.redirected(&Reconnect { new_host: Str0255::from_bytes(new_host), new_port })
        };
        for (new_host, new_port, host, port) in [
            ("", 0, "old", 1),
            ("new.example", 0, "new.example", 1),
            ("", 2, "old", 2),
            ("[fe80::1]", 2, "[fe80::1]", 2),
        ] {
            assert_eq!(to(new_host.as_bytes(), new_port), Some(Endpoint::new(host, port).unwrap()));
        }
        assert_eq!(to(&[b'x'; 255], 0).unwrap().host().len(), 255);
        for refused in [&b"\xff"[..], b"a b", b"a\n", "grün".as_bytes(), &[b'x'; 256]] {
            assert_eq!(to(refused, 3), None, "{refused:?}");
        }
    }
}
