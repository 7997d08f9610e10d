//! A server's accept loop: [`adit::host::serve`] on tokio.

#[cfg(test)]
#[path = "../../conformance/roles/serve.rs"]
mod tests;

pub use adit::host::serve::{ServeError, respond, serve};
