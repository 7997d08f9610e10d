//! Mining: jobs and shares between a pool and those who hash for it.
//!
//! Hashing headers is [`lanes`]. Bytes of the wire are `message`, coinbases of templates are `template`.

pub mod lanes;
