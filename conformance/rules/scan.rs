//! Finds rule ids in Rust sources, and says of each whether it stands in a test or in code.
//!
//! The sources are taken line by line, as rustfmt leaves them: a test is `#[test]` (or `#[tokio::test]`), the comments above it, and
//! everything down to the brace at its own indentation. That also finds tests inside of macros, which a parser would not.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// A rule's id: profile, family, number. Orders as the specification does within a family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    /// `D` or `C`.
    pub(crate) profile: char,
    /// `FRAME`, `SEC`, …
    pub(crate) family: String,
    /// Counted from 1.
    pub(crate) number: u32,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.profile, self.family, self.number)
    }
}

/// A test and the rules that it names, in its comment, its name or its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// Path from the repository's root.
    pub(crate) file: String,
    /// The function's name.
    pub(crate) name: String,
    /// The rules.
    pub(crate) rules: BTreeSet<Id>,
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Tests that name a rule.
    pub(crate) tests: Vec<Test>,
    /// Where code outside of tests names a rule: the file and the rule.
    pub(crate) code: BTreeSet<(Id, String)>,
    /// Everywhere that an id stands, helpers of tests included: file, line counted from 1, rule.
    pub(crate) everywhere: Vec<(String, usize, Id)>,
}

/// Reads every Rust file below these folders of `root`.
pub(crate) fn folders(root: &Path, folders: &[&str]) -> io::Result<Found> {
    let mut found = Found::default();
    for folder in folders {
        let mut files = vec![];
        list(&root.join(folder), &mut files)?;
        files.sort();
        for path in files {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            source(&name, &fs::read_to_string(&path)?, &mut found);
        }
    }
    Ok(found)
}

fn list(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                list(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Files that hold tests and their helpers only. A `#[cfg(test)] mod x;` is named so by convention.
fn is_for_tests(file: &str) -> bool {
    const NAMES: [&str; 5] = ["tests.rs", "testing.rs", "hostile.rs", "model.rs", "conversation.rs"];
    let name = file.rsplit('/').next().unwrap_or(file);
    file.starts_with("conformance/") || file.contains("/tests/") || file.contains("/testing/") || NAMES.contains(&name)
}

/// Takes one file.
pub(crate) fn source(file: &str, text: &str, found: &mut Found) {
    let lines: Vec<&str> = text.lines().collect();
    let mut tests = vec![];
    for (at, line) in lines.iter().enumerate() {
        let start = line.trim_start();
        if start.starts_with("#[test]") || start.starts_with("#[tokio::test") {
            tests.extend(test_around(&lines, at));
        }
    }
    // From `#[cfg(test)] mod tests {` on, a file holds tests only.
    let in_file = lines.windows(2).position(|pair| {
        let module = pair[1].trim_start();
        pair[0].trim() == "#[cfg(test)]" && module.starts_with("mod ") && module.ends_with('{')
    });
    let code_ends = if is_for_tests(file) { 0 } else { in_file.unwrap_or(lines.len()) };
    for (at, line) in lines.iter().enumerate() {
        for id in ids(line) {
            found.everywhere.push((file.to_string(), at + 1, id.clone()));
            if at < code_ends && !tests.iter().any(|(first, last)| (*first..=*last).contains(&at)) {
                found.code.insert((id, file.to_string()));
            }
        }
    }
    for (first, last) in tests {
        let lines = &lines[first..=last];
        let rules: BTreeSet<Id> = lines.iter().flat_map(|line| ids(line)).collect();
        let name = lines.iter().find_map(|line| name_of(line));
        if let (Some(name), false) = (name, rules.is_empty()) {
            found.tests.push(Test { file: file.to_string(), name, rules });
        }
    }
}

/// The lines of the test whose attribute stands at `at`.
fn test_around(lines: &[&str], at: usize) -> Option<(usize, usize)> {
    let indentation = lines[at].len() - lines[at].trim_start().len();
    let belongs = |line: &&&str| line.trim_start().starts_with("//") || line.trim_start().starts_with("#[");
    let first = at - lines[..at].iter().rev().take_while(belongs).count();
    let body = at + lines[at..].iter().position(|line| name_of(line).is_some())?;
    let closing = format!("{}}}", " ".repeat(indentation));
    let last = body + lines[body..].iter().position(|line| *line == closing || line.ends_with("{}"))?;
    Some((first, last))
}

/// The name of the function that a line begins.
fn name_of(line: &str) -> Option<String> {
    let line = line.trim_start();
    let line = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    line.split(['(', '<']).next().map(str::to_string)
}

/// The ids in a line; two of one family with ` to ` between them are all from the one to the other.
pub(crate) fn ids(line: &str) -> Vec<Id> {
    let mut ids: Vec<Id> = vec![];
    let mut rest = line;
    let mut before = "";
    while let Some((skipped, id, behind)) = next_id(rest) {
        let joined = format!("{before}{skipped}");
        if let (" to ", Some(from)) = (joined.as_str(), ids.last().cloned())
            && (from.profile, &from.family) == (id.profile, &id.family)
        {
            ids.extend((from.number + 1..id.number).map(|number| Id { number, ..from.clone() }));
        }
        ids.push(id);
        (before, rest) = ("", behind);
    }
    ids
}

/// What stands before the next id, the id, and what stands behind it.
fn next_id(text: &str) -> Option<(&str, Id, &str)> {
    let starts = text.match_indices("D-").chain(text.match_indices("C-"));
    let mut starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    starts.sort_unstable();
    for at in starts {
        if text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-') {
            continue;
        }
        let (profile, id) = (text[at..].chars().next()?, &text[at + 2..]);
        let family: String = id.chars().take_while(char::is_ascii_uppercase).collect();
        let Some(number) = id[family.len()..].strip_prefix('-') else { continue };
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        let behind = &number[digits.len()..];
        if let (false, Ok(number)) = (family.is_empty(), digits.parse()) {
            return Some((&text[..at], Id { profile, family, number }, behind));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        ids(text).remove(0)
    }

    fn names(line: &str) -> Vec<String> {
        ids(line).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ids_are_found_with_their_ranges() {
        // Put together here, so that the scan of this file finds no rule in it.
        let [a, b, c] = ["D", "C", "D"].map(|profile| format!("{profile}-SEC-1"));
        assert_eq!(names(&format!("/// {a}, {b}: text")), [a.as_str(), b.as_str()]);
        assert_eq!(names(&format!("({a}3 to {c}5)")), [13, 14, 15].map(|n| format!("{}-SEC-{n}", "D")));
        assert_eq!(names(&format!("({a}3 to {b}5)")), [format!("{a}3"), format!("{b}5")]);
        assert_eq!(names("UTF-8, AD-HOC-1, D-, D-SEC, D-sec-1, C--1, é D-A"), Vec::<String>::new());
    }

    #[test]
    fn tests_and_code_are_told_apart() {
        let text = "\
//! D~A-1
/// D~B-1
fn code() {}

#[cfg(test)]
mod tests {
    // D~C-1, a helper's
    fn helper() {}

    /// D~D-1
    #[test]
    #[allow(dead_code, reason = \"D~D-2\")]
    fn one() {
        assert!(true, \"D~D-3\");
    }

    proptest! {
        /// D~E-1
        #[test]
        fn two(a in 0..1) {
            // D~E-2
        }
    }
}
";
        let text = text.replace('~', "-");
        let mut found = Found::default();
        source("core/src/x.rs", &text, &mut found);
        let tests: Vec<_> =
            found.tests.iter().map(|t| (t.name.as_str(), t.rules.iter().map(ToString::to_string).collect())).collect();
        let [d, e] = [vec!["D~D-1", "D~D-2", "D~D-3"], vec!["D~E-1", "D~E-2"]];
        let written = |ids: Vec<&str>| ids.iter().map(|id| id.replace('~', "-")).collect::<Vec<_>>();
        assert_eq!(tests, [("one", written(d)), ("two", written(e))]);
        let code: Vec<_> = found.code.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(code, ["D~A-1", "D~B-1"].map(|text| id(&text.replace('~', "-"))));
        assert_eq!(found.everywhere.len(), 8);
        let mut found = Found::default();
        source("core/src/x/tests.rs", &text, &mut found);
        assert_eq!((found.tests.len(), found.code.len()), (2, 0));
    }
}
