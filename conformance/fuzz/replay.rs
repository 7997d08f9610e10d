//! Every kept input of every fuzz target, as an ordinary test: seeds, what fuzzing found worth keeping, and findings (`regression-*`).
//!
//! `ADIT_BLESS=1 cargo test -p adit-conformance --test fuzz` writes the seeds anew. `.ci/run fuzz` runs the targets under libFuzzer.

#[path = "src/lib.rs"]
pub mod targets;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Names and contents of a corpus, in order of their names.
fn kept(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut kept: Vec<_> = entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| (entry.file_name().into_string().expect("a name"), fs::read(entry.path()).expect("a file")))
        .collect();
    kept.sort();
    kept
}

#[test]
fn every_kept_input_holds() {
    for (target, run) in targets::TARGETS {
        let kept = kept(target);
        assert!(!kept.is_empty(), "{target} has no corpus");
        for (name, bytes) in kept {
            // Shown when the input fails.
            println!("{target}/{name}");
            run(&bytes);
        }
    }
}

/// A target has a file for libFuzzer, an entry in its manifest, and a corpus; and nothing else has.
#[test]
fn targets_and_their_files_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
    };
    let targets: BTreeSet<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_string()).collect();
    assert_eq!(names(folder.join("targets")), targets);
    assert_eq!(names(folder.join("corpus")), targets);
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("the manifest");
    for name in &targets {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name} is not in the manifest");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
}

/// Seeds follow the messages: when those change, the seeds on disk must.
#[test]
fn seeds_are_up_to_date() {
    let seeds = targets::seeds();
    if env::var_os("ADIT_BLESS").is_some() {
        for (target, _) in targets::TARGETS {
            let folder = corpus(target);
            fs::create_dir_all(&folder).expect("a folder");
            for (name, _) in kept(target).iter().filter(|(name, _)| name.starts_with("seed-")) {
                fs::remove_file(folder.join(name)).expect("removed");
            }
        }
        for (target, name, bytes) in &seeds {
            fs::write(corpus(target).join(name), bytes).expect("written");
        }
    }
    let mut expected = seeds;
    let mut found = vec![];
    for (target, _) in targets::TARGETS {
        let seeds = kept(target).into_iter().filter(|(name, _)| name.starts_with("seed-"));
        found.extend(seeds.map(|(name, bytes)| (target, name, bytes)));
    }
    expected.sort();
    found.sort();
    assert!(expected == found, "seeds differ from those on disk: run this test with ADIT_BLESS=1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Without libFuzzer: seeds with bytes changed, cut and repeated.
    #[test]
    fn changed_seeds_hold(
        picks in prop::collection::vec(any::<prop::sample::Index>(), 8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        twice: bool,
    ) {
        let seeds = targets::seeds();
        for (pick, (target, run)) in picks.iter().zip(targets::TARGETS) {
            let seeds: Vec<_> = seeds.iter().filter(|seed| seed.0 == target).collect();
            let mut bytes = pick.get(&seeds).2.clone();
            for (at, byte) in &changes {
                *at.get_mut(&mut bytes) = *byte;
            }
            if twice {
                bytes.extend_from_within(cut.index(bytes.len())..);
            } else {
                bytes.truncate(1 + cut.index(bytes.len()));
            }
            run(&bytes);
        }
    }
}
