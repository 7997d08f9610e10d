//! What a device and a server cost in memory, and that they allocate nothing once they are set up. A process of its own, for its
//! allocator counts; each thread has its own counts, so tests do not see each other.

mod allocator;
mod bench;
mod no_allocation;
mod sizes;
mod wiped;

#[global_allocator]
static COUNTING: allocator::Counting = allocator::Counting;
