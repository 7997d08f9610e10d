//! The books of rules: what the specification says, what code and tests name, what is left out and why; their balance and their page.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::scan::{self, Found, Id};

/// Sources that are looked at. Everything that is ours and in Rust.
const FOLDERS: [&str; 5] = ["core", "native", "runtime-tokio", "runtime-smol", "conformance"];
/// A message's declaration says which rules its fields are about. That is vocabulary, no code that keeps or breaks a rule.
const DECLARATIONS: &str = "core/src/message/";

/// How a reason begins when tests cover a part of a rule, and it says what is left.
const IN_PART: &str = "in part: ";

/// One rule of the specification.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: Id,
    /// Who is bound, the level, the text and its source, as the list has it.
    pub(crate) text: String,
    /// The heading above it.
    pub(crate) heading: String,
}

/// All that the page is made of.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) draft: Vec<Rule>,
    pub(crate) current: Vec<Rule>,
    pub(crate) reasons: BTreeMap<String, String>,
    pub(crate) found: Found,
}

impl Books {
    pub(crate) fn read(root: &Path) -> Result<Self, Box<dyn Error>> {
        let spec = |name: &str| fs::read_to_string(root.join("conformance/spec").join(name));
        let reasons = fs::read_to_string(root.join("conformance/rules/reasons.json"))?;
        Ok(Self {
            draft: rules(&spec("rules-draft.md")?),
            current: rules(&spec("rules-current.md")?),
            reasons: serde_json::from_str(&reasons)?,
            found: scan::folders(root, &FOLDERS)?,
        })
    }

    /// Tests that name a rule, each as its file and its name.
    fn tests(&self, id: &Id) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut tests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for test in self.found.tests.iter().filter(|test| test.rules.contains(id)) {
            tests.entry(&test.file).or_default().insert(&test.name);
        }
        tests
    }
}

/// The rules of a list: lines of the form `N. **ID** [who; level] text (source)` under headings.
fn rules(list: &str) -> Vec<Rule> {
    let mut heading = String::new();
    let mut rules = vec![];
    for line in list.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text.to_string();
        } else if let Some((_, text)) = line.split_once(". **")
            && let Some((id, text)) = text.split_once("** ")
            && let [id] = &scan::ids(id)[..]
        {
            rules.push(Rule { id: id.clone(), text: text.to_string(), heading: heading.clone() });
        }
    }
    rules
}

/// What does not balance, one line each; nothing when all is well.
///
/// - Every id that a source names is a rule.
/// - A rule of the draft has a test, or a reason why not; both only when the reason says what part is left.
/// - A rule that code names has a test; a reason will not do, except where messages are declared.
/// - A rule of the current revision that code names has a test or a reason as well. That revision is not complete, so those that nothing
///   names are not listed.
pub(crate) fn faults(books: &Books) -> Vec<String> {
    let mut faults = vec![];
    let known: BTreeSet<&Id> = books.draft.iter().chain(&books.current).map(|rule| &rule.id).collect();
    for (file, line, id) in &books.found.everywhere {
        if !known.contains(id) {
            faults.push(format!("{file}:{line}: {id} is no rule"));
        }
    }
    for name in books.reasons.keys() {
        if !known.iter().any(|id| id.to_string() == *name) {
            faults.push(format!("reasons.json: {name} is no rule"));
        }
    }
    for rule in books.draft.iter().chain(&books.current) {
        let id = &rule.id;
        let in_code = |(named, file): &&(Id, String)| named == id && !file.starts_with(DECLARATIONS);
        let reached = books.found.code.iter().find(in_code);
        let (tested, reason) = (!books.tests(id).is_empty(), books.reasons.get(&id.to_string()));
        match (tested, reached, reason) {
            (true, _, Some(reason)) if !reason.starts_with(IN_PART) => {
                faults.push(format!("reasons.json: {id} has a test by now"));
            }
            (false, Some((_, file)), _) => faults.push(format!("{file}: keeps {id}, which no test names")),
            (false, None, Some(reason)) if reason.starts_with(IN_PART) => {
                faults.push(format!("reasons.json: {id} has no test, not even in part"));
            }
            (false, None, None) if id.profile == 'D' => {
                faults.push(format!("{id} has neither a test nor a reason in reasons.json"));
            }
            _ => {}
        }
    }
    faults
}

/// The page.
pub(crate) fn page(books: &Books) -> String {
    let tested = books.draft.iter().filter(|rule| !books.tests(&rule.id).is_empty()).count();
    let mut page = format!(
        "# Rules and their tests\n\n\
         Made by `cargo run -p adit-conformance --bin rules`; CI compares. The rules are those of\n\
         [rules-draft.md](../conformance/spec/rules-draft.md), where their sources stand. A test is listed when its comment, name or body\n\
         names the rule. Of {} rules {tested} have tests; {} have none, for the reason given; where tests cover a rule\n\
         in part, what is left is said.\n",
        books.draft.len(),
        books.draft.len() - tested,
    );
    table(&mut page, books, &books.draft.iter().collect::<Vec<_>>());
    page.push_str(
        "\n# Current revision\n\n\
         Rules of [rules-current.md](../conformance/spec/rules-current.md) that tests name already. The revision is not complete;\n\
         those that nothing names are left out.\n",
    );
    let named: Vec<&Rule> = books.current.iter().filter(|rule| !books.tests(&rule.id).is_empty()).collect();
    table(&mut page, books, &named);
    page
}

fn table(page: &mut String, books: &Books, rules: &[&Rule]) {
    let mut heading = "";
    for rule in rules {
        if rule.heading != heading {
            heading = &rule.heading;
            let _ = write!(page, "\n## {heading}\n\n| rule | what it says | tests |\n|---|---|---|\n");
        }
        let tests = books.tests(&rule.id);
        let files: Vec<String> = tests
            .iter()
            .map(|(file, names)| {
                let names: Vec<&str> = names.iter().copied().collect();
                format!("[{file}](../{file}): {}", names.join(", "))
            })
            .collect();
        let files = files.join("<br>");
        let last = match books.reasons.get(&rule.id.to_string()) {
            Some(reason) if files.is_empty() => format!("**none:** {reason}"),
            Some(reason) => {
                format!("{files}<br>**{}:** {}", IN_PART.trim_end_matches(": "), reason.trim_start_matches(IN_PART))
            }
            None => files,
        };
        let _ = writeln!(page, "| {} | {} | {last} |", rule.id, rule.text.replace('|', "\\|"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three rules and whatever sources a test gives.
    fn books(reasons: &[(&str, &str)], sources: &[(&str, &str)]) -> Books {
        let list = "# Rules\n\n## One\n1. **D~A-1** [all; MUST] a. (x)\n2. **D~A-2** [all; MUST] b. (x)\n\n## Two\n3. **D~B-1** [all; MAY] c. (y)\n";
        let mut found = Found::default();
        for (file, text) in sources {
            scan::source(file, text, &mut found);
        }
        let reasons = reasons.iter().map(|(id, reason)| ((*id).to_string(), (*reason).to_string())).collect();
        Books { draft: rules(&list.replace('~', "-")), current: vec![], reasons, found }
    }

    const CODE: &str = "/// D~A-1\nfn keeps() {}\n";
    const TEST: &str = "/// D~A-1, D~A-2\n#[test]\nfn holds() {\n}\n";

    fn written(text: &str) -> String {
        text.replace('~', "-")
    }

    #[test]
    fn what_balances_gives_a_page() {
        let (code, test) = (written(CODE), written(TEST));
        let books =
            books(&[(&written("D~B-1"), "not built")], &[("core/src/a.rs", &code), ("core/src/tests.rs", &test)]);
        assert_eq!(faults(&books), Vec::<String>::new());
        let page = page(&books);
        assert!(page.contains("Of 3 rules 2 have tests; 1 have none"), "{page}");
        assert!(page.contains("| [all; MUST] a. (x) | [core/src/tests.rs](../core/src/tests.rs): holds |"), "{page}");
        assert!(page.contains("| [all; MAY] c. (y) | **none:** not built |"), "{page}");
        assert_eq!(page.matches("| rule | what it says | tests |").count(), 2);
    }

    #[test]
    fn each_fault_is_named() {
        let (code, test) = (written(CODE), written(TEST));
        let fault = |reasons: &[(&str, &str)], sources: &[(&str, &str)]| faults(&books(reasons, sources)).join("\n");
        let none = [("D~A-1", "x"), ("D~A-2", "x"), ("D~B-1", "x")].map(|(id, reason)| (written(id), reason));
        let none: Vec<(&str, &str)> = none.iter().map(|(id, reason)| (id.as_str(), *reason)).collect();
        assert_eq!(fault(&none, &[]), "");
        // A message's declaration is no code that keeps a rule; anything else is.
        assert_eq!(fault(&none, &[("core/src/message/a.rs", &code)]), "");
        assert!(fault(&none, &[("core/src/a.rs", &code)]).contains("core/src/a.rs: keeps"));
        assert!(fault(&none, &[("core/src/tests.rs", &test)]).contains("has a test by now"));
        assert!(fault(&none[..2], &[]).contains("has neither a test nor a reason"));
        let part = [("D~A-1", "in part: x"), ("D~A-2", "x"), ("D~B-1", "x")].map(|(id, reason)| (written(id), reason));
        let part: Vec<(&str, &str)> = part.iter().map(|(id, reason)| (id.as_str(), *reason)).collect();
        let half = written("/// D~A-1\n#[test]\nfn holds() {\n}\n");
        assert_eq!(fault(&part, &[("core/src/tests.rs", &half)]), "");
        assert!(fault(&part, &[]).contains("has no test, not even in part"));
        assert!(page(&books(&part, &[("core/src/tests.rs", &half)])).contains("holds<br>**in part:** x |"));
        let unknown = written("// D~A-9\n");
        assert!(fault(&none, &[("core/src/a.rs", &unknown)]).contains(&written("core/src/a.rs:1: D~A-9")));
        assert!(fault(&[&none[..], &[("Z", "x")]].concat(), &[]).contains("reasons.json: Z is no rule"));
    }
}
