//! What goes wrong between this program and a node, and what to do about it.

use std::fmt;
use std::time::Duration;

use adit::mining::target::NbitsError;
use adit_tokio::connect::ConnectError;

use super::endpoint::CookieError;
use crate::source::Unbuildable;

/// Longest text of a node that is passed on, in characters.
const SAID_LIMIT: usize = 200;

/// A call failed.
#[derive(Debug)]
pub(crate) enum RpcError {
    /// No connection.
    Connect(ConnectError),
    /// No credentials.
    Cookie(CookieError),
    /// The credentials were refused; where they come from.
    Unauthorized(String),
    /// No answer in time.
    Timeout(&'static str, Duration),
    /// The connection ended, or broke HTTP, before the answer was whole.
    Broken(hyper::Error),
    /// An answer of more bytes than this.
    TooLarge(usize),
    /// An HTTP status that carries no JSON-RPC answer, and how the body begins.
    Status(hyper::StatusCode, String),
    /// An answer that is no JSON; its content type.
    NotJson(String),
    /// JSON, but no answer to the call.
    Garbage(&'static str, serde_json::Error),
    /// JSON-RPC, but to another call, or neither result nor error.
    Unanswered(&'static str),
    /// The node's own error.
    Node {
        /// Bitcoin Core's number, see its `rpc/protocol.h`.
        code: i64,
        /// What it says.
        message: String,
    },
}

/// Error numbers of nodes.
pub(super) mod code {
    pub(crate) const METHOD_NOT_FOUND: i64 = -32_601;
    pub(crate) const IN_WARMUP: i64 = -28;
    pub(crate) const VERIFY_REJECTED: i64 = -26;
    pub(crate) const VERIFY_ERROR: i64 = -25;
    pub(crate) const DESERIALIZATION: i64 = -22;
    pub(crate) const INITIAL_DOWNLOAD: i64 = -10;
    pub(crate) const NOT_CONNECTED: i64 = -9;
}

/// What a node says, made fit for a log: one line, bounded, without control characters.
pub(super) fn said(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_LIMIT).collect::<String>().trim().to_owned()
}

impl RpcError {
    /// Whether the same call may succeed later, since the fault is on the way or the node is just starting.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Cookie(_) | Self::Unauthorized(_) | Self::Timeout(..) | Self::Broken(_) => true,
            Self::Status(status, _) => status.as_u16() >= 500,
            Self::Node { code, .. } => *code == code::IN_WARMUP,
            Self::TooLarge(_) | Self::NotJson(_) | Self::Garbage(..) | Self::Unanswered(_) => false,
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => {
                write!(f, "{error}. Is the node running with server=1, and does the URL have its rpcport?")
            }
            Self::Cookie(error) => error.fmt(f),
            Self::Unauthorized(source) => write!(f, "the node refused user and password. They come from {source}"),
            Self::Timeout(method, limit) => write!(
                f,
                "no answer to {method} within {} s. Is the node overloaded, or has it no free rpcthreads?",
                limit.as_secs()
            ),
            Self::Broken(error) => write!(
                f,
                "the connection ended before the answer did: {error}. Has the node stopped, or does something else listen there?"
            ),
            Self::TooLarge(limit) => {
                write!(f, "an answer of more than {limit} bytes. Does the URL lead to a Bitcoin node?")
            }
            Self::Status(status, body) => {
                write!(f, "HTTP status {status}")?;
                if !body.is_empty() {
                    write!(f, ", \"{body}\"")?;
                }
                match status.as_u16() {
                    403 => {
                        f.write_str(". Does the node's rpcallowip (or rpcwhitelist) include this machine (this user)?")
                    }
                    404 | 405 => f.write_str(". Is the URL that of a Bitcoin node's RPC?"),
                    503 => f.write_str(". The node has more calls than its rpcthreads and rpcworkqueue take"),
                    _ => Ok(()),
                }
            }
            Self::NotJson(content_type) => {
                write!(
                    f,
                    "an answer of type \"{content_type}\" instead of JSON. Is the URL that of a Bitcoin node's RPC?"
                )
            }
            Self::Garbage(method, error) => {
                write!(f, "the answer to {method} can't be read: {error}. Is the URL that of a Bitcoin node's RPC?")
            }
            Self::Unanswered(method) => write!(f, "what came back is no answer to {method}"),
            Self::Node { code, message } => {
                write!(f, "the node says: {message} (error {code})")?;
                f.write_str(match *code {
                    code::INITIAL_DOWNLOAD => {
                        ". It must download the chain first; `getblockchaininfo` tells how far it is"
                    }
                    code::NOT_CONNECTED => ". It has no peers; give it some (addnode), or use regtest",
                    code::IN_WARMUP => ". It has just started and will be ready soon",
                    code::METHOD_NOT_FOUND => ". Is this a full node, with mining calls built in?",
                    _ => "",
                })
            }
        }
    }
}

/// A template that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadTemplate {
    /// It gives a whole coinbase instead of its value.
    NoCoinbaseValue,
    /// The chain wants its blocks signed.
    Signet,
    /// It demands a consensus rule that this program doesn't know.
    UnknownRule,
    /// A field that is not the hexadecimal it should be.
    Hex(&'static str),
    /// `bits` is no target.
    Bits(NbitsError),
    /// `target` is above what `bits` says.
    Target,
    /// The transaction of this place is none.
    Transaction(usize),
    /// The transaction of this place has another id than the node says.
    Id(usize),
    /// The transaction of this place stands before one that it depends on.
    Order(usize),
    /// The transaction of this place has a witness, before witnesses are valid.
    Witness(usize),
    /// Our commitment to the witnesses is not the node's.
    Commitment,
    /// It leaves no room for the coinbase.
    Unbuildable(Unbuildable),
}

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the node's template can't be mined on: ")?;
        match self {
            Self::NoCoinbaseValue => f.write_str("it has no coinbasevalue"),
            Self::Signet => f.write_str("this signet's blocks must be signed; use another chain"),
            Self::UnknownRule => {
                f.write_str("it demands consensus rules that this version of Adit doesn't know; look for a newer one")
            }
            Self::Hex(field) => write!(f, "{field} is not the hexadecimal number that it should be"),
            Self::Bits(error) => write!(f, "bits is no target: {error}"),
            Self::Target => f.write_str("target is easier than bits"),
            Self::Transaction(at) => write!(f, "transaction {at} can't be read"),
            Self::Id(at) => write!(f, "transaction {at} has another txid or hash than it says"),
            Self::Order(at) => write!(f, "transaction {at} stands before one that it depends on"),
            Self::Witness(at) => write!(f, "transaction {at} has a witness, but segwit is not active"),
            Self::Commitment => f.write_str("the commitment to its witnesses is not what its transactions give"),
            Self::Unbuildable(why) => why.fmt(f),
        }
    }
}

/// Why there is no template, for now.
#[derive(Debug)]
pub(crate) enum NodeError {
    /// The node could not be asked.
    Rpc(RpcError),
    /// It gave a template that can't be used.
    Template(BadTemplate),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rpc(error) => error.fmt(f),
            Self::Template(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RpcError {}
impl std::error::Error for BadTemplate {}
impl std::error::Error for NodeError {}

impl From<RpcError> for NodeError {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

impl From<BadTemplate> for NodeError {
    fn from(error: BadTemplate) -> Self {
        Self::Template(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_one_short_line() {
        assert_eq!(said("bad\u{1b}[2J\nline\n"), "bad [2J line");
        assert_eq!(said(&"x".repeat(10_000)).len(), SAID_LIMIT);
    }

    #[test]
    fn each_of_the_nodes_states_says_what_to_do() {
        for (code, hint) in [
            (code::INITIAL_DOWNLOAD, "getblockchaininfo"),
            (code::NOT_CONNECTED, "addnode"),
            (code::IN_WARMUP, "ready soon"),
            (code::METHOD_NOT_FOUND, "full node"),
        ] {
            let text = RpcError::Node { code, message: "so".into() }.to_string();
            assert!(text.contains(hint) && text.contains(&code.to_string()), "{text}");
        }
        let text = RpcError::Status(hyper::StatusCode::FORBIDDEN, String::new()).to_string();
        assert!(text.contains("rpcallowip"), "{text}");
    }
}
