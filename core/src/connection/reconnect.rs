//! Where to connect next after `Reconnect` (§3.4).

use crate::message::common::Reconnect;

/// The host and port to connect to after `message`, where `host` and `port` are the present ones: an empty host or port 0
/// keeps the present value (D-RECON-3).
///
/// Connect there with the same [`InitiatorConfig`](super::InitiatorConfig): the new server must prove itself under the same
/// authority key (D-RECON-4), and a new connection begins with a handshake (D-RECON-1). All channels of the old one are
/// gone with it (D-RECON-2). `None` when the new host is not text.
#[must_use]
pub fn reconnect_target<'a>(message: &Reconnect<'a>, host: &'a str, port: u16) -> Option<(&'a str, u16)> {
    let new_host = core::str::from_utf8(message.new_host.as_bytes()).ok()?;
    let host = if new_host.is_empty() { host } else { new_host };
    let port = if message.new_port == 0 { port } else { message.new_port };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D-RECON-3
    #[test]
    fn what_is_empty_stays_as_it_is() {
        let target = |new_host: &'static str, new_port| {
            reconnect_target(&Reconnect { new_host: new_host.into(), new_port }, "old", 1)
        };
        assert_eq!(target("", 0), Some(("old", 1)));
        assert_eq!(target("new", 0), Some(("new", 1)));
        assert_eq!(target("", 2), Some(("old", 2)));
        assert_eq!(target("new", 2), Some(("new", 2)));
    }
}
