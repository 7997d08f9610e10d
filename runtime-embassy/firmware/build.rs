//! Reads the pool's URL, and tells the linker where things go. Works with LLVM's linker, rustup's own or another.

use std::path::Path;
use std::{env, fs};

use adit::address::{Host, Url};
use adit::role::upstream::authority;

/// The pool that `run` starts. 10.0.2.2 is the machine that the emulator runs on.
const POOL: &str = "stratum2+tcp://10.0.2.2:3334/mKPPkYRSKNTBWNBQeSannp88MauQ8nP46Dx33WtBkY3yprD39";

fn main() {
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rustc-link-search={}", env::var("CARGO_MANIFEST_DIR").unwrap());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
    // Functions that came out the same are one; nothing here compares addresses of functions.
    println!("cargo:rustc-link-arg-bins=--icf=all");
    // Relocations stay in the file (not in the image), so that `size.py` and `panics` can tell who refers to whom.
    println!("cargo:rustc-link-arg-bins=--emit-relocs");
    for name in ["ADIT_POOL", "ADIT_STOP_AFTER"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let url = env::var("ADIT_POOL").unwrap_or_else(|_| POOL.into());
    match pool(&url) {
        Ok(server) => fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join("pool.rs"), server).unwrap(),
        Err(why) => println!("cargo::error=the pool's URL, {url} (ADIT_POOL), cannot be used: {why}"),
    }
}

/// The server of a URL as an expression, so that the board need not read it: reading it takes 1.7 KB of flash.
fn pool(url: &str) -> Result<String, String> {
    let parsed = Url::parse(url).map_err(|error| error.to_string())?;
    let host = match parsed.host {
        Host::Name(name) => name.to_owned(),
        Host::Address(address) => address.to_string(),
    };
    let key = authority(&parsed).map_err(|error| error.to_string())?;
    Ok(format!("Server::new({host:?}, {}, {key:?})", parsed.port()))
}
