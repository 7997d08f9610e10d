//! `stratum2+tcp://host[:port][/KEY]` (D-URL-2).

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

use super::key::{AuthorityKey, KeyError};

const SCHEME: &str = "stratum2+tcp://";

/// The port of a URL that names none: no specification gives one, and the reference implementation's pools listen here, hosted ones too. The 34254 of the
/// current specification's example lies among those that systems give to outgoing connections (Linux: from 32768 on), so a server may find it taken.
pub const DEFAULT_PORT: u16 = 3333;

/// Characters of the longest host name in DNS.
const MAX_NAME: usize = 253;

/// Characters between two dots of it.
const MAX_LABEL: usize = 63;

/// Where a server is, and under which authority. Borrows the host's name from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Url<'a> {
    /// The host.
    pub host: Host<'a>,
    /// The port, when the text names one. [`Url::port`] fills in the default.
    pub port: Option<u16>,
    /// The pool's authority key. A URL without one is only good for a link without authentication, and whoever connects must
    /// ask for that by name (D-URL-1).
    pub key: Option<AuthorityKey>,
}

/// A host: a name to resolve, or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// A DNS name: letters, digits, `-`, `_` and `.`; international names in their ASCII form.
    Name(&'a str),
    /// An IPv4 address, or an IPv6 address that stands in brackets.
    Address(IpAddr),
}

/// A URL that cannot be read: what is wrong, and at which byte of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlError {
    /// What is wrong.
    pub fault: UrlFault,
    /// Offset in the text, in bytes.
    pub at: usize,
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlFault {
    /// It does not begin with `stratum2+tcp://`.
    Scheme,
    /// No host.
    HostMissing,
    /// A character that no host name has, or a dot where none may be.
    HostCharacter,
    /// The name, or a part of it between dots, is too long for DNS (253 and 63).
    HostTooLong,
    /// It ends in a number, but is no IPv4 address.
    Ipv4,
    /// No IPv6 address between brackets, or no closing bracket.
    Ipv6,
    /// The port is no number from 1 to 65535.
    Port,
    /// The key is not one.
    Key(KeyError),
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a server's URL begins with stratum2+tcp://",
            Self::HostMissing => "the host is missing",
            Self::HostCharacter => "not possible in a host name",
            Self::HostTooLong => "the host name is too long",
            Self::Ipv4 => "not an IPv4 address",
            Self::Ipv6 => "not an IPv6 address in brackets",
            Self::Port => "the port is a number from 1 to 65535",
            Self::Key(error) => return error.fmt(f),
        })
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {} of the URL: {}", self.at, self.fault)
    }
}

impl core::error::Error for UrlError {}

impl<'a> Url<'a> {
    /// Reads a URL. The scheme may be in either case, a slash may end a URL without a key; spaces, user names, queries and
    /// fragments are errors.
    pub fn parse(text: &'a str) -> Result<Self, UrlError> {
        let fault = |fault, at| UrlError { fault, at };
        let rest = match text.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
            _ => return Err(fault(UrlFault::Scheme, 0)),
        };
        let start = SCHEME.len();
        let (authority, key) = split_at(rest, b'/');
        let key = key.filter(|key| !key.is_empty());
        let (host, port, port_at) = split_port(authority, start)?;
        let port = match port {
            None => None,
            Some(digits) => Some(parse_port(digits).ok_or(fault(UrlFault::Port, port_at))?),
        };
        let key = match key.map(AuthorityKey::from_str) {
            None => None,
            Some(Ok(key)) => Some(key),
            Some(Err(error)) => {
                let at = if let KeyError::Character { at } = error { at } else { 0 };
                return Err(fault(UrlFault::Key(error), start + authority.len() + 1 + at));
            }
        };
        Ok(Self { host, port, key })
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }
}

/// Splits host from port; also says where the port begins.
fn split_port(authority: &str, start: usize) -> Result<(Host<'_>, Option<&str>, usize), UrlError> {
    let fault = |fault, at| UrlError { fault, at };
    if let Some(bracketed) = authority.strip_prefix("[") {
        let (address, Some(after)) = split_at(bracketed, b']') else { return Err(fault(UrlFault::Ipv6, start)) };
        let address: Ipv6Addr = address.parse().map_err(|_| fault(UrlFault::Ipv6, start + 1))?;
        let after_at = start + authority.len() - after.len();
        let (before, port) = split_at(after, b':');
        if !before.is_empty() {
            return Err(fault(UrlFault::HostCharacter, after_at));
        }
        return Ok((Host::Address(address.into()), port, after_at + 1));
    }
    let (host, port) = split_at(authority, b':');
    Ok((parse_name(host, start)?, port, start + host.len() + 1))
}

/// What stands before the first such byte, an ASCII character's, and behind it.
#[cfg_attr(target_os = "none", inline(never))]
fn split_at(text: &str, byte: u8) -> (&str, Option<&str>) {
    let found = text.bytes().position(|found| found == byte).and_then(|at| text.split_at_checked(at));
    match found {
        Some((before, behind)) => (before, behind.get(1..)),
        None => (text, None),
    }
}

#[cfg_attr(target_os = "none", inline(never))]
fn parse_name(host: &str, start: usize) -> Result<Host<'_>, UrlError> {
    let fault = |fault, at| UrlError { fault, at: start + at };
    if host.is_empty() {
        return Err(fault(UrlFault::HostMissing, 0));
    }
    // Of the part that is being read: its length, and whether all of it is digits; and that of the part before.
    let (mut length, mut digits, mut former) = (0, true, false);
    for (at, byte) in host.bytes().enumerate() {
        length += 1;
        match byte {
            b'0'..=b'9' => {}
            b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => digits = false,
            // No part may be empty.
            b'.' if length > 1 => (length, digits, former) = (0, true, digits),
            _ => return Err(fault(UrlFault::HostCharacter, at)),
        }
        if length > MAX_LABEL {
            return Err(fault(UrlFault::HostTooLong, at));
        }
    }
    // A dot may end a name: it is then absolute.
    let absolute = length == 0;
    if host.len() - usize::from(absolute) > MAX_NAME {
        return Err(fault(UrlFault::HostTooLong, MAX_NAME));
    }
    let ends_in_number = if absolute { former } else { digits };
    if !ends_in_number {
        return Ok(Host::Name(host));
    }
    match host.parse() {
        Ok(address) => Ok(Host::Address(IpAddr::V4(address))),
        Err(_) => Err(fault(UrlFault::Ipv4, 0)),
    }
}

/// Digits only: `u16` alone would take a sign.
fn parse_port(digits: &str) -> Option<u16> {
    let mut port = 0;
    for byte in digits.bytes() {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        port = port * 10 + u32::from(digit);
        // What is too large already does not grow on.
        u16::try_from(port).ok()?;
    }
    u16::try_from(port).ok().filter(|port| *port != 0)
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Url<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if let Some(key) = &self.key {
            write!(f, "/{key}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;

    const KEY: &str = "u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";

    fn parse(text: &str) -> Result<Url<'_>, (UrlFault, usize)> {
        Url::parse(text).map_err(|error| (error.fault, error.at))
    }

    /// D-URL-2: the examples of both revisions.
    #[test]
    fn published_urls() {
        let text = format!("stratum2+tcp://thepool.com/{KEY}");
        let url = parse(&text).unwrap();
        assert_eq!((url.host, url.port, url.port()), (Host::Name("thepool.com"), None, DEFAULT_PORT));
        assert!(matches!(url.key, Some(AuthorityKey::Ed25519(_))));
        assert_eq!(url.to_string(), text);

        let text = "stratum2+tcp://thepool.com:34254/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        let url = parse(text).unwrap();
        assert_eq!(url.port, Some(34254));
        assert!(matches!(url.key, Some(AuthorityKey::Secp256k1XOnly(_))));
        assert_eq!(url.to_string(), text);
    }

    /// D-URL-1: a key is in the text or there is none; nothing stands in for it, so that whoever connects has to ask for a link without
    /// authentication by name. A damaged key is an error, no missing one.
    #[test]
    fn no_key_is_made_up() {
        for text in ["stratum2+tcp://pool.example", "stratum2+tcp://pool.example/", "stratum2+tcp://pool.example:3333/"]
        {
            assert_eq!(parse(text).unwrap().key, None, "{text}");
        }
        for at in 0..KEY.len() {
            let changed = if KEY.as_bytes()[at] == b'z' { "y" } else { "z" };
            let text = format!("stratum2+tcp://pool.example/{}{changed}{}", &KEY[..at], &KEY[at + 1..]);
            assert!(matches!(parse(&text), Err((UrlFault::Key(_), _))), "{text}");
        }
    }

    #[test]
    fn every_form_of_host() {
        let host = |text| parse(text).unwrap().host;
        assert_eq!(host("STRATUM2+TCP://localhost"), Host::Name("localhost"));
        assert_eq!(host("stratum2+tcp://localhost/"), Host::Name("localhost"));
        assert_eq!(host("stratum2+tcp://pool_1.xn--mnchen-3ya.de.:1"), Host::Name("pool_1.xn--mnchen-3ya.de."));
        assert_eq!(host("stratum2+tcp://10.0.0.1:3333"), Host::Address(Ipv4Addr::new(10, 0, 0, 1).into()));
        assert_eq!(host("stratum2+tcp://[::1]:3333"), Host::Address(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(parse("stratum2+tcp://[::1]:3333").unwrap().port, Some(3333));
        assert_eq!(parse("stratum2+tcp://[::1]").unwrap().to_string(), "stratum2+tcp://[::1]");
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        use UrlFault::{HostCharacter, HostMissing, HostTooLong, Ipv4, Ipv6, Port, Scheme};
        let cases = [
            ("", Scheme, 0),
            ("stratum+tcp://pool.example:3333", Scheme, 0),
            (" stratum2+tcp://pool.example", Scheme, 0),
            ("stratum2+tcp://", HostMissing, 15),
            ("stratum2+tcp:///", HostMissing, 15),
            ("stratum2+tcp://:3333", HostMissing, 15),
            ("stratum2+tcp://user@pool", HostCharacter, 19),
            ("stratum2+tcp://po ol", HostCharacter, 17),
            ("stratum2+tcp://pöol", HostCharacter, 16),
            ("stratum2+tcp://pool..com", HostCharacter, 20),
            ("stratum2+tcp://.", HostCharacter, 15),
            ("stratum2+tcp://1.2.3.999", Ipv4, 15),
            ("stratum2+tcp://1.2.3", Ipv4, 15),
            ("stratum2+tcp://::1", HostMissing, 15),
            ("stratum2+tcp://[::1", Ipv6, 15),
            ("stratum2+tcp://[1.2.3.4]", Ipv6, 16),
            ("stratum2+tcp://[fe80::1%eth0]", Ipv6, 16),
            ("stratum2+tcp://[::1]3333", HostCharacter, 20),
            ("stratum2+tcp://pool:", Port, 20),
            ("stratum2+tcp://pool:0", Port, 20),
            ("stratum2+tcp://pool:65536", Port, 20),
            ("stratum2+tcp://pool:+1", Port, 20),
            ("stratum2+tcp://[::1]:x", Port, 21),
            ("stratum2+tcp://pool/0abc", UrlFault::Key(KeyError::Character { at: 0 }), 20),
            ("stratum2+tcp://pool/ab0c", UrlFault::Key(KeyError::Character { at: 2 }), 22),
            ("stratum2+tcp://pool/abcdefgh", UrlFault::Key(KeyError::Checksum), 20),
        ];
        for (text, fault, at) in cases {
            assert_eq!(parse(text), Err((fault, at)), "{text}");
        }
        let label = format!("stratum2+tcp://{}.com", "a".repeat(64));
        assert_eq!(parse(&label), Err((HostTooLong, 15 + 63)));
        let name = format!("stratum2+tcp://{}com", "abc.".repeat(63));
        assert_eq!(parse(&name), Err((HostTooLong, 15 + 253)));
        let path = format!("stratum2+tcp://pool/{KEY}/more");
        assert!(matches!(parse(&path), Err((UrlFault::Key(_), _))));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(
            host in "[a-z][a-z0-9-]{0,20}(\\.[a-z][a-z0-9-]{0,10}){0,3}",
            v4: [u8; 4], v6: [u8; 16], kind in 0..3,
            port in prop::option::of(1..=u16::MAX),
            key in prop::option::of(any::<[u8; 32]>()),
            current: bool,
        ) {
            let host = match kind {
                0 => Host::Name(&host),
                1 => Host::Address(v4.into()),
                _ => Host::Address(v6.into()),
            };
            let key = key.map(|key| if current { AuthorityKey::Secp256k1XOnly(key) } else { AuthorityKey::Ed25519(key) });
            let url = Url { host, port, key };
            let text = url.to_string();
            prop_assert_eq!(Url::parse(&text), Ok(url));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(stratum2\\+tcp://)?.{0,80}") {
            if let Ok(url) = Url::parse(&text) {
                let again = url.to_string();
                prop_assert_eq!(Url::parse(&again), Ok(url));
            }
        }
    }
}
