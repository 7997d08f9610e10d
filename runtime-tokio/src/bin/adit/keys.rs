//! `adit keys`: authority key pairs as text, and reading them back from files.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use adit::address::{AuthorityKey, KeyError, parse_secret, secret_text};
use adit::crypto::{RustCrypto, Secret};
use adit::noise::x25519::Authority;
use adit_tokio::entropy::{EntropyError, entropy};

use crate::args::KeysArguments;

/// Why a key can't be made, read or kept.
#[derive(Debug)]
pub(crate) enum KeysError {
    /// The system gave no entropy.
    Entropy(EntropyError),
    /// The file can't be read.
    Read(PathBuf, std::io::Error),
    /// The file can't be written. It is never overwritten: a lost authority key can't be replaced.
    Write(PathBuf, std::io::Error),
    /// The text is no secret key.
    Key(String, KeyError),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entropy(error) => error.fmt(f),
            Self::Read(path, error) => write!(f, "can't read the secret key in {}: {error}", path.display()),
            Self::Write(path, error) if error.kind() == std::io::ErrorKind::AlreadyExists => write!(
                f,
                "{} exists already and is left alone, for a lost authority key can't be replaced; name another file",
                path.display()
            ),
            Self::Write(path, error) => write!(f, "can't write the secret key to {}: {error}", path.display()),
            Self::Key(place, error) => {
                write!(f, "{place}: {error}. `adit keys` makes a pair")
            }
        }
    }
}

impl std::error::Error for KeysError {}

/// The authority of this secret key.
pub(crate) fn authority(secret: Secret) -> Authority<RustCrypto> {
    Authority::from_seed(secret)
}

/// The authority's public key, as URLs carry it.
pub(crate) fn public_key(authority: &Authority<RustCrypto>) -> AuthorityKey {
    AuthorityKey::Ed25519(*authority.public_key())
}

/// A secret key out of a file; white space around it is passed over.
pub(crate) fn read_secret(path: &Path) -> Result<Secret, KeysError> {
    let text = std::fs::read_to_string(path).map_err(|error| KeysError::Read(path.to_owned(), error))?;
    parse_secret(text.trim()).map_err(|error| KeysError::Key(path.display().to_string(), error))
}

/// Runs the subcommand.
pub(crate) fn run(arguments: &KeysArguments) -> Result<(), KeysError> {
    let made = arguments.from.is_none();
    let secret = match &arguments.from {
        Some(path) => read_secret(path)?,
        None => Secret::from_bytes(entropy().map_err(KeysError::Entropy)?),
    };
    if let Some(path) = &arguments.out {
        write_secret(path, &secret)?;
    }
    let public = public_key(&authority(secret.clone()));
    let secret = secret_text(&secret);
    let shown = (made && arguments.out.is_none()).then(|| secret.as_str());
    if arguments.json {
        println!("{}", serde_json::json!({ "public_key": public.to_string(), "secret_key": shown }));
        return Ok(());
    }
    println!("public key  {public}");
    if let Some(secret) = shown {
        println!("secret key  {secret}");
        println!(
            "Put the secret key into the server's configuration and nowhere else; the public key goes into its URL:"
        );
    }
    println!("stratum2+tcp://HOST:PORT/{public}");
    Ok(())
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
    let mut file = options.open(path).map_err(fail)?;
    writeln!(file, "{}", secret_text(secret).as_str()).map_err(fail)?;
    file.sync_all().map_err(fail)
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

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_a_written_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority.key");
        write_secret(&path, &Secret::from_bytes([7; 32])).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
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
