//! How a person writes down a pool: keys as base58check text, `stratum2+tcp://` URLs.
//!
//! Here live text forms only. Sockets, name resolution and what a key is good for must not.

mod key;
mod url;

pub use key::{AuthorityKey, KeyError, KeyText, parse_secret, parse_tagged_secret, secret_text, tagged_secret_text};
pub use url::{DEFAULT_PORT, Host, Url, UrlError, UrlFault};
