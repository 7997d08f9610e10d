//! Roles: sub-protocol machines put together into what a program is, for many connections by id. Still no I/O: what comes in, what
//! goes out, when to wake me.
//!
//! Roles speak messages; sessions and bytes are the runtime's, which joins the two.

pub mod connections;
mod deadlines;
pub mod device;
#[cfg(feature = "alloc")]
pub mod news;
pub mod pool;
pub mod provider;
pub mod upstream;

pub use connections::ConnectionId;
pub use device::Device;
pub use pool::Pool;
pub use provider::Provider;
