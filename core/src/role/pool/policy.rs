//! What a pool's owner decides while it runs: who may mine, and whose own jobs are paid for.

use crate::message::mining::SetCustomMiningJobError;
use crate::mining::server::{CustomCoinbase, CustomRequest, OpenRequest, Refusal};
use crate::role::ConnectionId;

/// Decides about requests, at once: what needs a database is looked up before, or cached.
pub trait Policy {
    /// Whether a channel may be opened under this `user_identity`.
    fn authorize(&mut self, connection: ConnectionId, request: &OpenRequest<'_>) -> Result<(), Refusal>;

    /// Whether a custom job may be mined: checks its token, and that the block it builds on is the best one or about to be. The pool knows
    /// only its own tip: work on a block that is over would be paid for nothing, and where a prefix was given to another channel since, what
    /// was found there for it before would count again. `Err` carries the code for the client (D-CUST-5). Denies unless
    /// overridden: without job negotiation no token was ever given out.
    fn custom_job(
        &mut self,
        connection: ConnectionId,
        request: &CustomRequest<'_>,
    ) -> Result<CustomCoinbase<'_>, &'static str> {
        let _ = (connection, request);
        Err(SetCustomMiningJobError::INVALID_MINING_JOB_TOKEN)
    }
}

#[cfg(feature = "alloc")]
impl<P: Policy + ?Sized> Policy for alloc::boxed::Box<P> {
    fn authorize(&mut self, connection: ConnectionId, request: &OpenRequest<'_>) -> Result<(), Refusal> {
        (**self).authorize(connection, request)
    }

    fn custom_job(
        &mut self,
        connection: ConnectionId,
        request: &CustomRequest<'_>,
    ) -> Result<CustomCoinbase<'_>, &'static str> {
        (**self).custom_job(connection, request)
    }
}

/// Everybody may mine under any name of printable ASCII, the empty one left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

impl Policy for AcceptAll {
    fn authorize(&mut self, _: ConnectionId, request: &OpenRequest<'_>) -> Result<(), Refusal> {
        let name = request.user_identity;
        if name.is_empty() || !name.is_printable_ascii() { Err(Refusal::InvalidUser) } else { Ok(()) }
    }
}

/// Only those for whose name the function is true may mine.
#[derive(Clone, Copy, Debug)]
pub struct Known<F>(pub F);

impl<F: FnMut(&[u8]) -> bool> Policy for Known<F> {
    fn authorize(&mut self, _: ConnectionId, request: &OpenRequest<'_>) -> Result<(), Refusal> {
        if (self.0)(request.user_identity.as_bytes()) { Ok(()) } else { Err(Refusal::UnknownUser) }
    }
}
