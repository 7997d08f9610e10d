//! `adit keys`: a pair that is made once, kept, and never overwritten.

use std::os::unix::fs::PermissionsExt as _;

use crate::process::run;

#[test]
fn a_pair_is_printed_with_what_to_do_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let made = run(directory.path(), &["keys"]).well();
    let value = |name: &str| {
        let line = made.lines.iter().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {:?}", made.lines)).trim().to_owned()
    };
    let (public, secret) = (value("public key"), value("secret key"));
    assert!(secret.starts_with("secret") && !public.starts_with("secret"));
    assert_eq!(made.lines.last().unwrap(), &format!("stratum2+tcp://HOST:PORT/{public}"));

    std::fs::write(directory.path().join("kept.key"), format!("{secret}\n")).unwrap();
    let shown = run(directory.path(), &["keys", "--from", "kept.key"]).well();
    assert!(shown.lines.iter().any(|line| line.ends_with(&public)));
    assert!(!shown.lines.iter().any(|line| line.contains(&secret)), "asked for the public key only");
    let other = run(directory.path(), &["keys"]).well();
    assert_ne!(other.lines[0], made.lines[0], "each pair is another");
}

#[test]
fn a_secret_key_is_written_once_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let made = run(directory.path(), &["keys", "--out", "authority.key", "--json"]).well().events();
    assert!(made[0]["secret_key"].is_null(), "it is in the file: {}", made[0]);
    let file = directory.path().join("authority.key");
    let kept = std::fs::read(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let again = run(directory.path(), &["keys", "--out", "authority.key", "--json"]);
    let complaint = again.complaint(1);
    assert!(complaint.contains("authority.key exists already"), "{complaint}");
    assert!(again.lines.is_empty(), "a key that was not kept must not be shown: {:?}", again.lines);
    assert_eq!(std::fs::read(&file).unwrap(), kept);

    let shown = run(directory.path(), &["keys", "--from", "authority.key", "--json"]).well().events();
    assert_eq!(shown[0]["public_key"], made[0]["public_key"]);
    assert!(shown[0]["secret_key"].is_null());
}

#[test]
fn a_file_without_a_key_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("empty.key"), "").unwrap();
    let empty = run(directory.path(), &["keys", "--from", "empty.key"]);
    assert!(empty.complaint(1).contains("empty.key"));
    let missing = run(directory.path(), &["keys", "--from", "missing.key"]);
    assert!(missing.complaint(1).contains("missing.key"));
    let both = run(directory.path(), &["keys", "--from", "empty.key", "--out", "other.key"]);
    assert_eq!(both.status.code(), Some(2), "{}", both.errors);
    assert!(both.errors.contains("--out"), "{}", both.errors);
}

#[test]
fn a_key_that_others_can_read_is_warned_of_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &["keys", "--out", "authority.key"]).well();
    let show = || run(directory.path(), &["keys", "--from", "authority.key"]).well();
    assert_eq!(show().errors, "");
    let file = directory.path().join("authority.key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(show().errors.contains("chmod 600 authority.key"), "{}", show().errors);
}

/// As it was written before keys had a tag: taken where it can be no public key, and converted in any case.
#[test]
fn a_key_of_an_earlier_version_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (mut taken, mut asked) = (0, 0);
    for n in 0..16 {
        let secret = adit::crypto::Secret::from_bytes([n; 32]);
        let name = format!("{n}.key");
        let file = directory.path().join(&name);
        std::fs::write(&file, adit::address::secret_text(&secret).as_str()).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let new = format!("{n}.new");
        let public = run(directory.path(), &["keys", "--convert", &name, "--out", &new, "--json"]).well().events();
        let shown = run(directory.path(), &["keys", "--from", &new, "--json"]).well().events();
        assert_eq!(public[0]["public_key"], shown[0]["public_key"]);
        let old = run(directory.path(), &["keys", "--from", &name, "--json"]);
        if old.status.success() {
            taken += 1;
            assert_eq!(old.events()[0]["public_key"], public[0]["public_key"]);
        } else {
            asked += 1;
            assert!(
                old.complaint(1).contains(&name) && old.complaint(1).contains("adit keys --convert"),
                "{}",
                old.errors
            );
        }
    }
    assert!(taken > 1 && asked > 1, "{taken} {asked}");
}
