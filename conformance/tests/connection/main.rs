//! Connections over real bytes: whole exchanges at every chunking, cut at every byte, with every bit flipped; every rule of
//! setup, frames and extensions; limits and sizes.

mod exchange;
mod growth;
mod limits;
mod records;
mod rules;
mod setup;
mod sizes;
mod solo;
mod talk;
