//! A client's servers: which one is next, and what it is told about the client. No sockets and no waiting.

#[cfg(feature = "alloc")]
mod keeper;

#[cfg(feature = "alloc")]
pub use keeper::{Ended, Keeper, Server, UpstreamConfig, UpstreamState};

use core::fmt;

use super::device::Endpoint;
use crate::address::{AuthorityKey, Url, UrlError};
use crate::connection::VERSION;
use crate::crypto::PublicKey;
use crate::message::common::SetupConnection;
use crate::wire::Str0255;

/// Why a URL names no server to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerUrlError {
    /// It is none.
    Url(UrlError),
    /// It has no authority key, so nobody could tell the server from an impostor (D-URL-1). Who wants that all the same asks for it by name.
    NoKey,
    /// Its key is of the protocol's current revision, whose handshake is not built yet.
    OtherRevision,
}

impl From<UrlError> for ServerUrlError {
    fn from(error: UrlError) -> Self {
        Self::Url(error)
    }
}

impl fmt::Display for ServerUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::NoKey => f.write_str("the URL ends without the server's authority key"),
            Self::OtherRevision => f.write_str(
                "the URL's key is one of the protocol's current revision, of which there is no handshake yet",
            ),
        }
    }
}

impl core::error::Error for ServerUrlError {}

/// The authority whose certificate the server of this URL must show in the draft's handshake (D-URL-1).
pub const fn authority(url: &Url<'_>) -> Result<PublicKey, ServerUrlError> {
    match url.key {
        Some(AuthorityKey::Ed25519(key)) => Ok(key),
        Some(AuthorityKey::Secp256k1XOnly(_)) => Err(ServerUrlError::OtherRevision),
        None => Err(ServerUrlError::NoKey),
    }
}

/// Which of several servers is next: the first one as long as it serves, after a failed attempt the next one, after a connection was
/// lost the first one again.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    index: usize,
    elsewhere: Option<Endpoint>,
}

impl Choice {
    /// The index of the next server of `servers`; `None` when there are none.
    #[must_use]
    pub const fn index(&self, servers: usize) -> Option<usize> {
        self.index.checked_rem(servers)
    }

    /// Where to connect instead of that server's own place, under its authority key all the same (D-RECON-4).
    #[must_use]
    pub const fn elsewhere(&self) -> Option<&Endpoint> {
        self.elsewhere.as_ref()
    }

    /// The server sent us there (D-RECON-1).
    pub fn sent(&mut self, to: Endpoint) {
        self.elsewhere = Some(to);
    }

    /// The attempt failed, or the connection ended; `was_up` when it had opened. When the place that we were sent to fails, the server that
    /// sent us is asked again.
    pub fn ended(&mut self, was_up: bool) {
        if was_up {
            *self = Self::default();
        } else if self.elsewhere.take().is_none() {
            self.index = self.index.wrapping_add(1);
        }
    }
}

/// What a client says about itself in `SetupConnection`, for the operator of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software<T = &'static str> {
    /// Who made it; must not be empty (D-CONN-5).
    pub vendor: T,
    /// Hardware, or name of the software.
    pub hardware_version: T,
    /// Version.
    pub firmware: T,
    /// Identifier of this very device or installation; empty says nothing.
    pub device_id: T,
}

impl<T: From<&'static str>> Default for Software<T> {
    /// This library.
    fn default() -> Self {
        Self {
            vendor: "Adit".into(),
            hardware_version: env!("CARGO_PKG_NAME").into(),
            firmware: env!("CARGO_PKG_VERSION").into(),
            device_id: "".into(),
        }
    }
}

impl<T: AsRef<str>> Software<T> {
    /// The setup of a connection to `host`; strings longer than 255 bytes are cut.
    #[must_use]
    pub fn setup<'a>(&'a self, protocol: u8, flags: u32, host: &'a str, port: u16) -> SetupConnection<'a> {
        SetupConnection {
            protocol,
            min_version: VERSION,
            max_version: VERSION,
            flags,
            endpoint_host: cut(host).into(),
            endpoint_port: port,
            vendor: cut(self.vendor.as_ref()).into(),
            hardware_version: cut(self.hardware_version.as_ref()).into(),
            firmware: cut(self.firmware.as_ref()).into(),
            device_id: cut(self.device_id.as_ref()).into(),
        }
    }
}

/// As much of the text as a string of the protocol holds.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(Str0255::MAX_LEN)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    /// D-RECON-1, D-RECON-4
    #[test]
    fn a_place_that_fails_leads_back_to_the_server_that_sent_us() {
        let mut choice = Choice::default();
        choice.ended(false);
        assert_eq!(choice.index(2), Some(1));
        let place = Endpoint::new("elsewhere", 1).unwrap();
        choice.sent(place.clone());
        assert_eq!((choice.index(2), choice.elsewhere()), (Some(1), Some(&place)));
        choice.ended(false);
        assert_eq!((choice.index(2), choice.elsewhere()), (Some(1), None));
    }

    #[test]
    fn the_first_server_is_preferred_and_all_have_their_turn() {
        let mut choice = Choice::default();
        let mut tried = [None; 5];
        for index in &mut tried {
            *index = choice.index(3);
            choice.ended(false);
        }
        assert_eq!(tried, [0, 1, 2, 0, 1].map(Some));
        choice.ended(true);
        assert_eq!((choice.index(3), choice.index(0)), (Some(0), None));
    }

    #[test]
    fn what_is_too_long_for_a_string_is_cut_between_characters() {
        let software = Software::<String> { vendor: "é".repeat(200), ..Software::default() };
        let setup = software.setup(0, 0, "host", 1);
        assert_eq!(setup.vendor.as_bytes(), "é".repeat(127).as_bytes());
        assert_eq!(setup.endpoint_host.as_bytes(), b"host");
    }
}
