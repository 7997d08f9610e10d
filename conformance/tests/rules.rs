//! Which rules of the draft have a test that names them. Printed by `cargo test -p adit-conformance --test rules -- --nocapture`.
//!
//! A test covers a rule by naming its id (`D-FRAME-2`, or a range: `D-OPEN-5 to D-OPEN-7`) in the comment above it. Searched are
//! all files in `tests` folders, files that are modules of tests, and what follows `#[cfg(test)] mod` in others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// An id: its family and its number.
type Id = (String, u32);

/// The ids in a text, ranges spelled out, in order.
fn ids(text: &str) -> Vec<Id> {
    let mut found: Vec<Id> = vec![];
    let mut rest = text;
    let mut end_of_last = None;
    while let Some(at) = rest.find("D-") {
        let position = text.len() - rest.len() + at;
        let starts_a_word = !text[..position].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '-');
        rest = &rest[at + 2..];
        let family = rest.split(|c: char| !c.is_ascii_uppercase()).next().unwrap_or_default();
        let Some(behind) = rest[family.len()..].strip_prefix('-').filter(|_| starts_a_word && !family.is_empty())
        else {
            continue;
        };
        let digits = behind.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let Ok(number) = digits.parse::<u32>() else { continue };
        let is_range = end_of_last.is_some_and(|end: usize| matches!(text[end..position].trim(), "to" | "to\n///"));
        if let Some((_, first)) = found.last().filter(|(last, _)| is_range && last == family).cloned() {
            found.extend((first + 1..number).map(|between| (family.to_owned(), between)));
        }
        found.push((family.to_owned(), number));
        rest = &behind[digits.len()..];
        end_of_last = Some(text.len() - rest.len());
    }
    found
}

/// The part of a source file that tests are in, if there is any.
fn tests_of<'t>(path: &Path, text: &'t str) -> Option<&'t str> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let in_folder = path.components().any(|part| part.as_os_str() == "tests");
    if in_folder || matches!(name, "tests" | "testing") || name.ends_with("_test") {
        return Some(text);
    }
    text.find("#[cfg(test)]\nmod tests {").map(|at| &text[at..])
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        let hidden = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with('.') || name == "target");
        if path.is_dir() && !hidden {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The rules of the catalogue: what stands in bold.
fn catalogue() -> BTreeSet<Id> {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("spec/rules-draft.md")).expect("the catalogue");
    text.split("**").skip(1).step_by(2).flat_map(ids).collect()
}

/// No test names a rule that does not exist, and most rules have a test.
#[test]
fn rules_have_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut files = vec![];
    rust_files(root, &mut files);
    let rules = catalogue();
    assert!(rules.len() > 150, "{} rules", rules.len());
    let mut covered: BTreeMap<Id, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in files {
        let inside = path.strip_prefix(root).expect("in the workspace").to_owned();
        if inside == Path::new("conformance/tests/rules.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        for id in tests_of(&inside, &text).map(ids).unwrap_or_default() {
            covered.entry(id).or_default().insert(inside.clone());
        }
    }
    let unknown: Vec<_> = covered.iter().filter(|(id, _)| !rules.contains(id)).collect();
    assert!(unknown.is_empty(), "tests name rules that do not exist: {unknown:?}");
    let missing: Vec<_> = rules
        .iter()
        .filter(|id| !covered.contains_key(id))
        .map(|(family, number)| format!("D-{family}-{number}"))
        .collect();
    println!(
        "{} of {} rules of the draft have a test that names them; without: {}",
        covered.len(),
        rules.len(),
        missing.join(", ")
    );
    assert!(covered.len() * 10 >= rules.len() * LEAST_TENTHS, "fewer tests name rules than before");
}

/// Tenths of the rules that must have a test. Rises with the suite, never falls.
const LEAST_TENTHS: usize = 7;

#[test]
fn ids_are_found() {
    let id = |family: &str, number| (family.to_owned(), number);
    assert_eq!(ids("D-OPEN-5 to D-OPEN-7, D-X-1."), [id("OPEN", 5), id("OPEN", 6), id("OPEN", 7), id("X", 1)]);
    assert_eq!(ids("AD-X-1 D-x-1 D-X- D-X D--1 C-MIN-1"), []);
    assert_eq!(ids("/// (D-SHARE-12)"), [id("SHARE", 12)]);
}
