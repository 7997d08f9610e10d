//! New names in directories that survive a power cut. A file's own bytes are its writer's business.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes the name of a new file or directory survive a power cut: without this it could be gone with all that is in it.
pub(crate) fn keep_name(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(parent(path))?.sync_all() } else { Ok(()) }
}

/// Makes a directory where it is missing, and those that it is in. Once this has returned it stays.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    make(path, keep_name)
}

fn make(path: &Path, keep_name: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(path)?;
    missing.iter().rev().try_for_each(|path| keep_name(path))?;
    // Whoever made it may not have come to this.
    if missing.is_empty() { keep_name(path) } else { Ok(()) }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn every_new_name_is_kept_from_the_top_down() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/c");
        let kept = RefCell::new(Vec::new());
        let keep = |path: &Path| {
            assert!(path.is_dir(), "it is there by then");
            kept.borrow_mut().push(path.to_owned());
            keep_name(path)
        };
        make(&path, keep).unwrap();
        assert_eq!(kept.take(), ["a", "a/b", "a/b/c"].map(|name| directory.path().join(name)));
        make(&path, keep).unwrap();
        assert_eq!(kept.take(), std::slice::from_ref(&path), "a run that was cut off had made it");
        fs::write(path.join("file"), "").unwrap();
        assert!(make(&path.join("file"), keep).is_err());
        assert_eq!(kept.take().len(), 0);
    }

    #[test]
    fn a_name_alone_is_in_the_present_directory() {
        assert_eq!(parent(Path::new("blocks")), Path::new("."));
        assert_eq!(parent(Path::new("/")), Path::new("."));
        assert_eq!(parent(Path::new("a/blocks")), Path::new("a"));
    }
}
