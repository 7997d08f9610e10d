//! Where a node's JSON-RPC is and how one proves to be its user. No I/O but reading the cookie file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use zeroize::Zeroizing;

use crate::config::{ConfigError, NodeConfig, bad};

/// Longest cookie file that is read. Bitcoin Core's has 75 bytes.
const COOKIE_LIMIT: u64 = 1_024;

/// A node's address and credentials, shared by all connections to it.
pub(super) struct Endpoint {
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What the request line asks for.
    pub(super) path: String,
    /// The `Host` header.
    pub(super) authority: HeaderValue,
    credentials: Credentials,
}

enum Credentials {
    Fixed(HeaderValue),
    Cookie {
        file: PathBuf,
        /// The header made of it when it was last read. The node writes a new one each time that it starts.
        last: Mutex<Option<HeaderValue>>,
    },
}

/// The cookie file can't be used.
#[derive(Debug)]
pub(crate) struct CookieError {
    file: PathBuf,
    why: io::Error,
}

impl fmt::Display for CookieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "can't read the node's cookie {}: {}. The node writes it into its data directory (into a folder there for \
             other chains than mainnet) while it runs; this program's user must be allowed to read it",
            self.file.display(),
            self.why
        )
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither path nor credentials: both may hold secrets.
        write!(f, "{self}")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.authority.to_str().unwrap_or(&self.host))
    }
}

impl Endpoint {
    /// Checks what a configuration file says of a node.
    pub(super) fn new(config: &NodeConfig) -> Result<Self, ConfigError> {
        let wrong = |problem: &str| bad("node.url", problem);
        let url: Uri = config.url.parse().map_err(|_| wrong("is no URL; it looks like http://127.0.0.1:8332"))?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong(
                    "TLS is not spoken here, nor by the node itself; reach a distant node through a tunnel",
                ));
            }
            _ => return Err(wrong("must begin with http://")),
        }
        let authority = url.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("user and password belong into the settings `user` and `password`"));
        }
        let port = authority.port_u16().ok_or_else(|| {
            wrong("names no port; nodes listen at 8332, on testnet4 48332, signet 38332, regtest 18443")
        })?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong("names no host"))?,
            credentials: Credentials::new(config)?,
        })
    }

    /// The `Authorization` header to try.
    pub(super) fn authorization(&self) -> Result<HeaderValue, CookieError> {
        match &self.credentials {
            Credentials::Fixed(header) => Ok(header.clone()),
            Credentials::Cookie { file, last } => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(header) = &*last {
                    return Ok(header.clone());
                }
                let header = read_cookie(file).map_err(|why| CookieError { file: file.clone(), why })?;
                Ok(last.insert(header).clone())
            }
        }
    }

    /// The node refused `header`: whether there is another one to try, since the node has restarted.
    pub(super) fn is_outdated(&self, header: &HeaderValue) -> Result<bool, CookieError> {
        let Credentials::Cookie { file, last } = &self.credentials else { return Ok(false) };
        let fresh = read_cookie(file).map_err(|why| CookieError { file: file.clone(), why })?;
        let outdated = fresh != *header;
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(outdated)
    }

    /// Where the credentials come from, for an error that says what to look at.
    pub(super) fn credentials_source(&self) -> String {
        match &self.credentials {
            Credentials::Fixed(_) => {
                "the settings `user` and `password` (the node's rpcauth or rpcuser and rpcpassword)".into()
            }
            Credentials::Cookie { file, .. } => format!("the cookie file {} (is it this node's?)", file.display()),
        }
    }
}

impl Credentials {
    fn new(config: &NodeConfig) -> Result<Self, ConfigError> {
        match (&config.cookie_file, &config.user, &config.password) {
            (Some(file), None, None) => Ok(Self::Cookie { file: file.clone(), last: Mutex::new(None) }),
            (None, Some(user), _) if user.contains(':') => Err(bad("node.user", "must not contain a colon")),
            (None, Some(user), Some(password)) => {
                let text = Zeroizing::new(format!("{user}:{}", password.expose()));
                Ok(Self::Fixed(basic(&text)))
            }
            (Some(_), _, _) => Err(bad("node.cookie_file", "leave out either this or `user` and `password`")),
            (None, None, None) => Err(bad("node.cookie_file", "set this, or `user` and `password`")),
            (None, None, Some(_)) => Err(bad("node.user", "is missing beside `password`")),
            (None, Some(_), None) => Err(bad("node.password", "is missing beside `user`")),
        }
    }
}

/// The header of HTTP's basic authentication. Not printed in `Debug`.
fn basic(credentials: &str) -> HeaderValue {
    let text = format!("Basic {}", BASE64_STANDARD.encode(credentials));
    // Base64 is always a header value.
    let mut header = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    header.set_sensitive(true);
    header
}

fn read_cookie(file: &Path) -> io::Result<HeaderValue> {
    let mut text = Zeroizing::new(String::new());
    File::open(file)?.take(COOKIE_LIMIT).read_to_string(&mut text)?;
    let cookie = text.trim_end_matches(['\r', '\n']);
    if !cookie.contains(':') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has no `user:password`"));
    }
    Ok(basic(cookie))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> NodeConfig {
        NodeConfig {
            url: url.into(),
            cookie_file: None,
            user: Some("u".into()),
            password: Some("p".to_owned().into()),
            blocks_directory: None,
        }
    }

    #[test]
    fn a_url_gives_host_port_and_path() {
        for (url, host, port, path) in [
            ("http://127.0.0.1:8332", "127.0.0.1", 8332, "/"),
            ("http://node.lan:18443/wallet/x?y=1", "node.lan", 18443, "/wallet/x?y=1"),
            ("http://[::1]:8332/", "::1", 8332, "/"),
        ] {
            let endpoint = Endpoint::new(&config(url)).unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.path.as_str()), (host, port, path), "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_said_before_it_is_tried() {
        for (url, hint) in [
            ("https://127.0.0.1:8332", "TLS"),
            ("127.0.0.1:8332", "http://"),
            ("http://127.0.0.1", "8332"),
            ("http://me:secret@127.0.0.1:8332", "`user` and `password`"),
            ("http:// ", "URL"),
        ] {
            let error = Endpoint::new(&config(url)).unwrap_err().to_string();
            assert!(error.contains("node.url") && error.contains(hint) && !error.contains("secret"), "{url}: {error}");
        }
        let (some, none) = (Some("x".to_owned()), None::<String>);
        for (cookie, user, password, setting) in [
            (&some, &some, &some, "node.cookie_file"),
            (&none, &none, &none, "node.cookie_file"),
            (&none, &some, &none, "node.password"),
            (&none, &none, &some, "node.user"),
            (&none, &Some("a:b".into()), &some, "node.user"),
        ] {
            let config = NodeConfig {
                cookie_file: cookie.clone().map(PathBuf::from),
                user: user.clone(),
                password: password.clone().map(Into::into),
                ..config("http://127.0.0.1:1")
            };
            let error = Endpoint::new(&config).unwrap_err().to_string();
            assert!(error.contains(setting), "{error}");
        }
    }

    #[test]
    fn a_cookie_is_read_once_and_again_when_it_was_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".cookie");
        let config = NodeConfig {
            cookie_file: Some(file.clone()),
            user: None,
            password: None,
            ..config("http://127.0.0.1:8332")
        };
        let endpoint = Endpoint::new(&config).unwrap();
        let missing = endpoint.authorization().unwrap_err().to_string();
        assert!(missing.contains(".cookie") && missing.contains("data directory"), "{missing}");
        std::fs::write(&file, "no colon").unwrap();
        assert!(endpoint.authorization().is_err());
        std::fs::write(&file, "__cookie__:one\n").unwrap();
        let one = endpoint.authorization().unwrap();
        assert_eq!(one.as_bytes(), b"Basic X19jb29raWVfXzpvbmU=");
        assert!(!format!("{one:?} {endpoint:?}").contains("X19"), "secrets are not printed");
        assert!(!endpoint.is_outdated(&one).unwrap());
        std::fs::write(&file, "__cookie__:two").unwrap();
        assert_eq!(endpoint.authorization().unwrap(), one);
        assert!(endpoint.is_outdated(&one).unwrap());
        assert_ne!(endpoint.authorization().unwrap(), one);
    }
}
