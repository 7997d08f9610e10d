//! Writes `docs/rules.md`: every rule of the draft with the tests that name it, or the reason why it has none.
//!
//! `cargo run -p adit-conformance --bin rules` writes the page, `-- --check` only says whether it is up to date. Both fail when a
//! rule's books do not balance (see [`table::faults`]), or when the threat model names a test that is not there ([`claims`]). The rules stand in `conformance/spec`, reasons in `conformance/rules/reasons.json`.

mod claims;
mod scan;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// The page, from the repository's root.
const PAGE: &str = "docs/rules.md";

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

fn main() -> ExitCode {
    let check = match env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("unknown argument {other:?}; there is only --check");
            return ExitCode::from(2);
        }
    };
    match run(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::FAILURE
        }
    }
}

fn run(check: bool) -> Result<(), String> {
    let root = root();
    let books = table::Books::read(&root).map_err(|error| error.to_string())?;
    let mut faults = table::faults(&books);
    faults.extend(claims::faults(&root));
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    let page = table::page(&books);
    let path = root.join(PAGE);
    if !check {
        return fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()));
    }
    if fs::read_to_string(&path).unwrap_or_default() == page {
        Ok(())
    } else {
        Err(format!("{PAGE} is not up to date: run `cargo run -p adit-conformance --bin rules`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unknown ids, rules that code reaches and no test names, reasons that no longer hold. The page itself is compared by `.ci/run rules`,
    /// so that a new test does not break everyone's build before the page is written anew.
    #[test]
    fn the_books_of_rules_balance() {
        let books = table::Books::read(&root()).unwrap();
        assert_eq!(table::faults(&books), Vec::<String>::new());
    }

    #[test]
    fn the_threat_models_tests_are_there() {
        assert_eq!(claims::faults(&root()), Vec::<String>::new());
    }
}
