//! Mining: what a share, a target, a job and a channel are, and both sides of the mining protocol.
//!
//! The domain knows no messages: [`target`], [`header`], [`merkle`], [`extranonce`], [`duplicates`], [`vardiff`], [`job`]. Hashing many
//! headers is [`lanes`]. Bytes of the wire are `message`, coinbases of templates are `template`; sockets, clocks and
//! many connections live elsewhere.

pub mod client;
mod custom;
pub mod duplicates;
pub mod extranonce;
pub mod header;
pub mod job;
pub mod lanes;
pub mod merkle;
pub mod server;
pub mod target;
pub mod vardiff;
