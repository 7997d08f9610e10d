//! What survives a power cut: whole files, and their names.
//!
//! Tests note each operation here and try what a power cut at any of them leaves (`power_cut`).

#[cfg(test)]
pub(crate) mod power_cut;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Makes the name of a new file or directory survive a power cut: without this it could be gone with all that is in it.
pub(crate) fn keep_name(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(parent(path))?.sync_all()?;
    }
    #[cfg(test)]
    power_cut::note(power_cut::Operation::KeepNames(parent(path).to_owned()));
    Ok(())
}

/// Makes a directory where it is missing, and those that it is in. Once this has returned it stays.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    make(path, keep_name)
}

fn make(path: &Path, keep_name: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    fs::create_dir_all(path)?;
    #[cfg(test)]
    for path in missing.iter().rev() {
        power_cut::note(power_cut::Operation::MakeDirectory((*path).to_owned()));
    }
    missing.iter().rev().try_for_each(|path| keep_name(path))?;
    // Whoever made it may not have come to this.
    if missing.is_empty() { keep_name(path) } else { Ok(()) }
}

/// Writes a file, in place of any that has its name: it is there whole or not at all, and once this has returned it stays.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(path);
    let mut file = File::create(&unfinished)?;
    #[cfg(test)]
    power_cut::note(power_cut::Operation::Create(unfinished.clone()));
    file.write_all(bytes)?;
    #[cfg(test)]
    power_cut::note(power_cut::Operation::Write(unfinished.clone(), bytes.to_vec()));
    sync(&unfinished, &file)?;
    adopt(&unfinished, path)
}

/// What a file is called while [`write_whole`] is at it.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Gives a file, whose bytes are on disk, its name in place of another's, for good.
pub(crate) fn adopt(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    #[cfg(test)]
    power_cut::note(power_cut::Operation::Rename(from.to_owned(), to.to_owned()));
    keep_name(to)
}

/// Brings a file's bytes to the disk.
pub(crate) fn sync(path: &Path, file: &File) -> io::Result<()> {
    file.sync_all()?;
    #[cfg(test)]
    power_cut::note(power_cut::Operation::Sync(path.to_owned(), fs::read(path)?));
    #[cfg(not(test))]
    let _ = path;
    Ok(())
}

/// Gives a file a second name, unless that is another's already; for good in any case.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
        Ok(()) => {
            #[cfg(test)]
            power_cut::note(power_cut::Operation::Link(from.to_owned(), to.to_owned()));
        }
    }
    keep_name(to)
}

/// Removes a file if it is there. After a power cut it may be there again.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome?,
    }
    #[cfg(test)]
    power_cut::note(power_cut::Operation::Remove(path.to_owned()));
    Ok(())
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

    #[test]
    fn a_file_is_replaced_as_a_whole_and_removed_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.hex");
        fs::write(unfinished(&path), "of an earlier run, and longer").unwrap();
        for bytes in [&b"first"[..], b"second"] {
            write_whole(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        link(&path, &directory.path().join("other")).unwrap();
        link(&path, &directory.path().join("other")).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }
}
