//! What can go wrong with the share store, and what the operator can do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failure of the share store: which file, and what about it.
#[derive(Debug)]
pub(crate) struct StoreError {
    /// The store's file.
    pub(crate) path: PathBuf,
    /// What is wrong with it.
    pub(crate) problem: Problem,
}

/// What is wrong with a share store.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Another process has the file open.
    Locked,
    /// The file is something else, or a store whose creation never ended.
    NotAStore,
    /// A newer version of the program wrote the file.
    NewerSchema {
        /// The version in the file.
        found: u64,
        /// The newest version that this program reads.
        known: u64,
    },
    /// The content contradicts itself.
    Corrupt(String),
    /// It was damaged, and going back to what was whole may have undone commits.
    Repaired,
    /// The operating system refused to read or write.
    Io(io::Error),
    /// An earlier write failed, so nobody knows what reached the disk until the file is opened anew.
    Unusable,
    /// A ticket was not above the one before it. A fault of the caller: acknowledging such a ticket would also
    /// acknowledge what still waits.
    TicketOrder {
        /// The highest ticket so far.
        last: u64,
        /// The ticket that was to follow.
        got: u64,
    },
    /// A field of a share is longer than the store's layout allows.
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// The writer's thread panicked.
    WriterPanicked,
}

impl Problem {
    /// The problem as an error about the file at `path`.
    pub(super) fn at(self, path: &Path) -> StoreError {
        StoreError { path: path.to_owned(), problem: self }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "share store {}: ", self.path.display())?;
        match &self.problem {
            Problem::Locked => {
                write!(
                    f,
                    "another process has it open, a pool that runs say; stop that one first, or name another file"
                )
            }
            Problem::NotAStore => write!(
                f,
                "the file is there but is not a share store; name another file, or remove this one if nothing needs it"
            ),
            Problem::NewerSchema { found, known } => write!(
                f,
                "it was written by a newer version (layout {found}, this one knows up to {known}); start that version, or name another file"
            ),
            Problem::Corrupt(what) => write!(
                f,
                "it is damaged ({what}); keep a copy, put back the last backup or name another file, and check the disk"
            ),
            Problem::Repaired => write!(
                f,
                "it was damaged and has been repaired, which may have undone its last commits; put back a backup, or start again to go on with what is left"
            ),
            Problem::Io(error) => {
                write!(f, "{error}; ")?;
                match error.kind() {
                    io::ErrorKind::NotFound => write!(f, "create its directory, or name another file"),
                    io::ErrorKind::IsADirectory => {
                        write!(f, "name a file, such as {}", self.path.join("shares.redb").display())
                    }
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        write!(f, "let this user write the file and its directory, or name another file")
                    }
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        write!(f, "make room on the disk, then start again: no acknowledged share is lost")
                    }
                    _ => write!(f, "check the disk, then start again: no acknowledged share is lost"),
                }
            }
            Problem::Unusable => {
                write!(f, "an earlier write failed; start again: no acknowledged share is lost")
            }
            Problem::TicketOrder { last, got } => {
                write!(f, "ticket {got} came after ticket {last}; this is a fault of the program, please report it")
            }
            Problem::TooLong { field, len } => {
                write!(f, "{field} of {len} bytes is too long; this is a fault of the program, please report it")
            }
            Problem::WriterPanicked => {
                write!(f, "its writer panicked; start again: no acknowledged share is lost, and please report it")
            }
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            Problem::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// redb's errors, one type for each of its calls, all told apart the same way here.
impl<E: Into<redb::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::Locked,
            // redb says so of a file that does not begin as one of its own.
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Self::NotAStore,
            redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Corrupt(format!("it ends early: {error}"))
            }
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::PreviousIo | redb::Error::LockPoisoned(_) | redb::Error::DatabaseClosed => Self::Unusable,
            redb::Error::TableDoesNotExist(_) => Self::NotAStore,
            other => Self::Corrupt(other.to_string()),
        }
    }
}
