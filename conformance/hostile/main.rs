//! Peers that mean harm, against sessions and roles: what each behaviour costs in bytes, what error it gets, and that others are not harmed.
//! `docs/threat-model.md` says which claim rests on which of these tests.
//!
//! Memory is counted for each thread: a behaviour is kept up for a while, then ten times as long, and the second stretch must cost nothing.

#[path = "../tests/memory/allocator.rs"]
mod allocator;
mod certificates;
mod clients;
mod device;
mod house;
mod secrets;
mod strangers;
mod template_clients;

#[global_allocator]
static COUNTING: allocator::Counting = allocator::Counting;

/// Rounds of the first stretch; the second is ten times as long.
const ROUNDS: u32 = 200;

/// Keeps a behaviour up, and fails when the second stretch leaves more on the heap than the first.
fn costs_nothing_in_the_long_run<T>(state: &mut T, mut round: impl FnMut(&mut T, u32)) {
    (0..ROUNDS).for_each(|n| round(state, n));
    let before = allocator::live();
    (ROUNDS..ROUNDS * 11).for_each(|n| round(state, n));
    let grown = allocator::live() - before;
    assert!(grown <= 0, "{grown} bytes more after {} further rounds", ROUNDS * 10);
}
