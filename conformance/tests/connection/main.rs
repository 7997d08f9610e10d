//! Connections over real bytes: whole exchanges at every chunking, cut at every byte, with every bit flipped; every rule of
//! setup, frames and extensions.

mod exchange;
mod growth;
mod limits;
mod records;
mod rules;
mod setup;
mod solo;
mod talk;
