//! Lines of code of each runtime and of what they share, module by module: what is neither blank, nor comment, nor test.

use std::{collections::BTreeMap, fs, io, path::Path};

/// Folders below the repository's root: what tokio's and smol's runtime share, and the runtimes.
pub const FOLDERS: [&str; 4] = ["core/src/host", "runtime-tokio/src", "runtime-smol/src", "runtime-embassy/src"];

/// Lines of each module (a file or folder) of such a folder. A runtime's programs are no part of it.
pub fn of(folder: &str) -> io::Result<BTreeMap<String, usize>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let mut modules = BTreeMap::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // Programs, and what tests have in common.
        if name != "bin" && name != "testing" {
            let lines = count(&path)?;
            if lines > 0 {
                modules.insert(name, lines);
            }
        }
    }
    Ok(modules)
}

fn count(path: &Path) -> io::Result<usize> {
    if path.is_dir() {
        let mut lines = 0;
        for entry in fs::read_dir(path)? {
            lines += count(&entry?.path())?;
        }
        return Ok(lines);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.ends_with(".rs") || name.ends_with("tests.rs") || name == "testing.rs" {
        return Ok(0);
    }
    Ok(code(&fs::read_to_string(path)?))
}

/// Lines of one file. Unit tests are its last module; what else is there for tests alone is declared and stands elsewhere.
fn code(text: &str) -> usize {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut for_tests = false;
    let mut counts = |line: &str| {
        for_tests |= line == "#[cfg(test)]";
        // To the end of the declaration.
        let counts = !for_tests && !line.is_empty() && !line.starts_with("//");
        for_tests &= !line.ends_with(';');
        counts
    };
    text.lines().filter(|line| counts(line.trim())).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_comments_and_tests_do_not_count() {
        let text = "//! Docs.\n\nuse a::b;\n/// What.\nfn f() {\n    // Why.\n    g(); // here\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        assert_eq!(code(text), 4);
        let declared =
            "#[cfg(test)]\n#[path = \"../tests.rs\"]\nmod tests;\n#[cfg(test)]\nextern crate std;\nmod link;\n";
        assert_eq!(code(declared), 1);
    }

    #[test]
    fn every_folder_has_modules() {
        for folder in FOLDERS {
            let modules = of(folder).expect("a folder");
            assert!(modules.contains_key("link") && !modules.contains_key("bin"), "{folder}: {modules:?}");
        }
    }
}
