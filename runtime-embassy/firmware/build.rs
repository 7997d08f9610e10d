//! Tells the linker where things go. Works with LLVM's linker, rustup's own or another.

fn main() {
    println!("cargo:rerun-if-changed=memory.x");
    println!("cargo:rustc-link-search={}", std::env::var("CARGO_MANIFEST_DIR").unwrap());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
    // Functions that came out the same are one; nothing here compares addresses of functions.
    println!("cargo:rustc-link-arg-bins=--icf=all");
    // Relocations stay in the file (not in the image), so that `size.py` and `panics` can tell who refers to whom.
    println!("cargo:rustc-link-arg-bins=--emit-relocs");
    for name in ["ADIT_POOL", "ADIT_STOP_AFTER"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
}
