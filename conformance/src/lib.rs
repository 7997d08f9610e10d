//! The deterministic conformance suite of Adit.
