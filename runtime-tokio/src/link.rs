//! One connection of the core over one stream: [`adit::host::link`] by this crate's clock.

#[cfg(test)]
#[path = "../../conformance/roles/link.rs"]
mod tests;

pub use adit::{
    connection::Answerable,
    host::link::LinkError,
    link::{LinkCause, Stall, Turn},
};
use adit::{host, link};

use crate::{clock::Clock, stream::Stream};

/// What all links of a role share: clock, buffers, limits.
pub type LinkSettings = link::LinkSettings<Clock>;

/// One connection over one stream.
pub type Link<S, Pr, P, T = Stream> = host::link::Link<S, Pr, P, T, Clock>;
