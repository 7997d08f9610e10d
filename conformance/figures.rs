//! Builds and runs `conformance/figures`, which measures Adit against its peers, with the arguments as they came.
//!
//! That is a package in a workspace of its own: the peers bring some hundred packages along, and nobody who builds or tests Adit should
//! pay for them. This program is only there so that one command does it all.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("figures/Cargo.toml");
    // Cargo names itself to the programs that it runs.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--release", "--quiet", "--manifest-path"])
        .arg(&manifest)
        .arg("--")
        .args(std::env::args_os().skip(1))
        .status();
    match status {
        Ok(status) => ExitCode::from(u8::from(!status.success())),
        Err(error) => {
            eprintln!("can't run cargo for {}: {error}", manifest.display());
            ExitCode::FAILURE
        }
    }
}
