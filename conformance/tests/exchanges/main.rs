//! The exchanges of the draft's protocols between the core's own machines over real connections: in peace; at chunk sizes up to a
//! record and beyond; cut and with bits flipped. Handshake and setup are tried at every bit and byte (`connection`, and the refusals
//! here); the longer exchanges take samples of cuts and flips, with odd steps, so that in the sum every place inside a byte and
//! every kind of message is hit. A full product of the mining exchange would take minutes.

mod mining;
mod refused;
mod template;
