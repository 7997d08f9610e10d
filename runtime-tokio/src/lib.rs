//! Adit on tokio.
