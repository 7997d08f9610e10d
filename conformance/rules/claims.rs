//! `docs/threat-model.md` names a test behind each claim; here is checked that those tests are there.
//!
//! A file's name in backquotes is followed by the names of tests in it, in backquotes too.

use std::fs;
use std::path::Path;

/// The page, from the repository's root.
const PAGE: &str = "docs/threat-model.md";

/// What the page names and is not there; one line each.
pub(crate) fn faults(root: &Path) -> Vec<String> {
    match fs::read_to_string(root.join(PAGE)) {
        Ok(page) => missing(&page, |file| fs::read_to_string(root.join(file)).ok()),
        Err(error) => vec![format!("{PAGE}: {error}")],
    }
}

fn missing(page: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut faults = vec![];
    for (number, line) in page.lines().enumerate() {
        let mut source = None;
        for name in line.split('`').skip(1).step_by(2) {
            if Path::new(name).extension().is_some_and(|extension| extension == "rs") {
                source = read(name);
                if source.is_none() {
                    faults.push(format!("{PAGE}:{}: there is no {name}", number + 1));
                }
            } else if is_test(name) {
                // A test that stands before any file's name is one too few.
                let there = source.as_ref().is_some_and(|text| text.contains(&format!("fn {name}(")));
                if !there {
                    faults.push(format!("{PAGE}:{}: there is no test {name} in the file before it", number + 1));
                }
            }
        }
    }
    faults
}

/// Tests are sentences: three words and more.
fn is_test(name: &str) -> bool {
    let words = name.split('_');
    name.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit()) && words.count() >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named() {
        let read = |file: &str| (file == "a.rs").then(|| "#[test]\nfn holds_and_stays() {}\n".to_string());
        let faults = |page: &str| missing(page, read);
        assert_eq!(faults("| a | `a.rs`: `holds_and_stays`; `ct_eq`, `TimedOut(Setup)` |"), Vec::<String>::new());
        assert_eq!(faults("\n`b.rs`"), ["docs/threat-model.md:2: there is no b.rs"]);
        let gone = ["docs/threat-model.md:1: there is no test holds_and_goes in the file before it"];
        assert_eq!(faults("`a.rs`: `holds_and_goes`"), gone);
        assert_eq!(faults("`holds_and_goes`"), gone);
    }
}
