//! `adit keys`: authority key pairs as text, and reading them back from files.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use adit::address::{AuthorityKey, KeyError, parse_secret, parse_tagged_secret, tagged_secret_text};
use adit::crypto::{RustCrypto, Secret};
use adit::noise::x25519::Authority;
use adit_tokio::entropy::{EntropyError, entropy};
use adit_tokio::net::Tokio;
use ed25519_dalek::VerifyingKey;
use zeroize::Zeroizing;

use crate::args::KeysArguments;
use crate::disk;

/// Why a key can't be made, read or kept.
#[derive(Debug)]
pub(crate) enum KeysError {
    /// The system gave no entropy.
    Entropy(EntropyError),
    /// The file can't be read.
    Read(PathBuf, io::Error),
    /// The file can't be written. It is never overwritten: a lost authority key can't be replaced.
    Write(PathBuf, io::Error),
    /// The text in the file is no secret key.
    Key(PathBuf, SecretError),
    /// Standard output.
    Output(io::Error),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entropy(error) => error.fmt(f),
            Self::Read(path, error) if error.kind() == io::ErrorKind::NotFound => {
                let path = path.display();
                write!(
                    f,
                    "{path}: there is no such file; `adit keys --out {path}` makes a pair, and writes the secret key there"
                )
            }
            Self::Read(path, error) if error.kind() == io::ErrorKind::InvalidData => {
                write!(f, "{}: this is no text, so no key; a secret key begins with \"secret\"", path.display())
            }
            Self::Read(path, error) => write!(f, "can't read the secret key in {}: {error}", path.display()),
            Self::Write(path, error) if error.kind() == io::ErrorKind::AlreadyExists => write!(
                f,
                "{} exists already and is left alone, for a lost authority key can't be replaced; name another file",
                path.display()
            ),
            Self::Write(path, error) => {
                let what_to_do = match error.kind() {
                    io::ErrorKind::NotFound => "create its directory, or name another file",
                    io::ErrorKind::PermissionDenied => "let this user write its directory, or name another file",
                    io::ErrorKind::StorageFull => "make room on the disk; no file is left of this key",
                    _ => "name another file",
                };
                write!(f, "can't write the secret key to {}: {error}; {what_to_do}", path.display())
            }
            Self::Key(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for KeysError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Output(error) => Some(error),
            Self::Entropy(_) | Self::Read(..) | Self::Write(..) | Self::Key(..) => None,
        }
    }
}

/// What stands where a secret key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretError {
    /// Nothing.
    Empty,
    /// A server's URL.
    Url,
    /// A public key, or a secret one without a tag.
    Ambiguous,
    /// No secret key.
    Key(KeyError),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no key in it. `adit keys --out FILE` makes a pair"),
            Self::Url => f.write_str(
                "this is a server's URL, which clients have; here belongs the secret key of this server's own authority. `adit keys --out FILE` \
                 makes a pair",
            ),
            Self::Ambiguous => f.write_str(
                "this may be a public key, but a secret one is wanted, which begins with \"secret\". If it is a secret key that an earlier \
                 version wrote, `adit keys --convert FILE --out NEWFILE` writes it as it is written today",
            ),
            Self::Key(error) => write!(f, "{error}; a secret key begins with \"secret\". `adit keys --out FILE` makes a pair"),
        }
    }
}

/// The authority of this secret key.
pub(crate) fn authority(secret: Secret) -> Authority<RustCrypto> {
    Authority::from_seed(secret)
}

/// The authority's public key, as URLs carry it.
pub(crate) fn public_key(authority: &Authority<RustCrypto>) -> AuthorityKey {
    AuthorityKey::Ed25519(*authority.public_key())
}

/// A secret key as a person wrote it down; white space around it is passed over. One without a tag, as earlier versions wrote it, is taken where it can be
/// no public key: every second is a point of the curve by chance.
pub(crate) fn secret(text: &str) -> Result<Secret, SecretError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(SecretError::Empty);
    }
    // One word: a file that was given by mistake may have a URL somewhere.
    if text.contains("://") && !text.contains(char::is_whitespace) {
        return Err(SecretError::Url);
    }
    match parse_tagged_secret(text) {
        Err(KeyError::Untagged) => {
            let secret = parse_secret(text).map_err(SecretError::Key)?;
            match VerifyingKey::from_bytes(secret.expose()) {
                Ok(_) => Err(SecretError::Ambiguous),
                Err(_) => Ok(secret),
            }
        }
        secret => secret.map_err(SecretError::Key),
    }
}

/// A secret key out of a file.
pub(crate) fn read_secret(path: &Path) -> Result<Secret, KeysError> {
    let secret = secret(&read(path)?).map_err(|error| KeysError::Key(path.to_owned(), error))?;
    warn_if_open(path, "the secret key");
    Ok(secret)
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeysError> {
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| KeysError::Read(path.to_owned(), error))
}

/// Warns when others than its owner can read a file with a secret in it.
pub(crate) fn warn_if_open(path: &Path, what: &str) {
    if is_open(path) {
        let path = path.display();
        tracing::warn!("others than the owner of {path} can read {what} in it: chmod 600 {path}");
    }
}

#[cfg(unix)]
fn is_open(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

/// Who can read what is not said in bits here.
#[cfg(not(unix))]
fn is_open(_: &Path) -> bool {
    false
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &KeysArguments) -> Result<(), KeysError> {
    let secret = match (&arguments.from, &arguments.convert) {
        (Some(path), _) => read_secret(path)?,
        (None, Some(path)) => untagged(path)?,
        (None, None) => Secret::from_bytes(entropy::<Tokio>().map_err(KeysError::Entropy)?),
    };
    if let Some(path) = &arguments.out {
        write_secret(path, &secret)?;
    }
    let public = public_key(&authority(secret.clone()));
    let secret = tagged_secret_text(&secret);
    let shown = (arguments.from.is_none() && arguments.out.is_none()).then(|| secret.as_str());
    print(&public, shown, arguments.json).map_err(KeysError::Output)
}

fn print(public: &AuthorityKey, secret: Option<&str>, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::json!({ "public_key": public.to_string(), "secret_key": secret }))?;
        return out.flush();
    }
    writeln!(out, "public key  {public}")?;
    if let Some(secret) = secret {
        writeln!(out, "secret key  {secret}")?;
        writeln!(
            out,
            "Put the secret key into the server's configuration and nowhere else; the public key goes into its URL:"
        )?;
    }
    writeln!(out, "stratum2+tcp://HOST:PORT/{public}")?;
    out.flush()
}

/// A secret key without a tag: its owner says that it is one.
fn untagged(path: &Path) -> Result<Secret, KeysError> {
    let fail = |error| KeysError::Key(path.to_owned(), SecretError::Key(error));
    parse_secret(read(path)?.trim()).map_err(fail)
}

/// Writes the key to a new file that only its owner can read.
fn write_secret(path: &Path, secret: &Secret) -> Result<(), KeysError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let fail = |error| KeysError::Write(path.to_owned(), error);
    options.open(path).and_then(|file| fill(file, path, secret)).map_err(fail)
}

/// Writes the key to its file, which was made for it. A file that does not hold the whole key goes again: it would stand in the way of the next attempt.
fn fill(mut file: File, path: &Path, secret: &Secret) -> io::Result<()> {
    let written = writeln!(file, "{}", tagged_secret_text(secret).as_str()).and_then(|()| file.sync_all());
    if written.is_err() {
        drop(file);
        // What it failed with is worth more than that this fails too.
        let _gone = std::fs::remove_file(path);
    }
    written?;
    disk::keep_name(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_key_reads_back_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority.key");
        let secret = Secret::from_bytes([7; 32]);
        write_secret(&path, &secret).unwrap();
        assert!(read_secret(&path).unwrap() == secret);
        let error = write_secret(&path, &Secret::from_bytes([8; 32])).unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        assert!(read_secret(&path).unwrap() == secret);
    }

    /// On a full disk, say. Here the file is open for reading only.
    #[test]
    fn no_file_is_left_of_a_key_that_could_not_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority.key");
        std::fs::write(&path, "").unwrap();
        assert!(fill(File::open(&path).unwrap(), &path, &Secret::from_bytes([7; 32])).is_err());
        assert!(!path.exists());
        write_secret(&path, &Secret::from_bytes([7; 32])).unwrap();
    }

    #[test]
    fn a_key_that_cannot_be_kept_or_read_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none").join("authority.key");
        let error = write_secret(&path, &Secret::from_bytes([7; 32])).unwrap_err().to_string();
        assert!(
            error.contains("none/authority.key: ") && error.ends_with("create its directory, or name another file")
        );
        let path = directory.path().join("picture.png");
        std::fs::write(&path, [0x89, 0x50]).unwrap();
        let error = read_secret(&path).unwrap_err().to_string();
        assert!(error.contains("picture.png: this is no text, so no key"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_a_written_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority.key");
        write_secret(&path, &Secret::from_bytes([7; 32])).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// Whichever key is put in the other's place, and whatever else.
    #[test]
    fn what_is_no_secret_key_is_named() {
        use adit::address::secret_text;
        let (mut taken, mut asked) = (0, 0);
        for n in 0..32 {
            let key = Secret::from_bytes([n; 32]);
            let public = public_key(&authority(key.clone()));
            assert_eq!(secret(&public.to_string()).err(), Some(SecretError::Ambiguous), "a public key never is");
            match secret(secret_text(&key).as_str()) {
                Ok(read) if read == key => taken += 1,
                Err(SecretError::Ambiguous) => asked += 1,
                other => panic!("{:?}", other.err()),
            }
            assert!(secret(tagged_secret_text(&key).as_str()).is_ok_and(|read| read == key));
        }
        assert!(taken > 4 && asked > 4, "{taken} {asked}");
        assert_eq!(secret(" \n").err(), Some(SecretError::Empty));
        assert_eq!(secret("stratum2+tcp://127.0.0.1/x").err(), Some(SecretError::Url));
        assert!(matches!(secret("[node]\nurl = \"http://127.0.0.1\"").err(), Some(SecretError::Key(_))));
        let current = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        assert!(secret(current).err().is_some_and(|error| error.to_string().starts_with("this is a public key")));
    }

    #[test]
    fn a_mistyped_key_is_told_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority.key");
        std::fs::write(&path, "not0base58").unwrap();
        let error = read_secret(&path).unwrap_err().to_string();
        assert!(error.contains("authority.key") && error.contains("base58"), "{error}");
    }
}
