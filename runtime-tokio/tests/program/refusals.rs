//! Roles that cannot start: each says why and what to do, ends with status 1, and harms nobody who is running.

use std::process::{Command, Stdio};

use crate::house::{House, NEVER};
use crate::process::run;

#[test]
fn a_port_that_is_taken_is_named() {
    let house = House::new(NEVER);
    let provider = house.provider();
    house.vary("provider", "second", "directory = \"chain\"", "directory = \"other\"");
    let second = house.start("provider", "second").ended();
    let complaint = second.complaint(1);
    assert!(complaint.contains("listen") && complaint.contains(&house.provider_port.to_string()), "{complaint}");
    assert!(complaint.contains("in use"), "{complaint}");
    assert!(second.lines.is_empty(), "it does not say that it listens: {:?}", second.lines);
    assert!(!house.path().join("other").exists(), "no chain is left of a provider that never ran");

    house.vary(
        "pool",
        "taken",
        &format!("127.0.0.1:{}", house.pool_port),
        &format!("127.0.0.1:{}", house.provider_port),
    );
    let pool = house.start("pool", "taken").ended();
    let complaint = pool.complaint(1);
    assert!(complaint.contains("taken.toml, line ") && complaint.contains("in use"), "{complaint}");
    assert!(!house.path().join("shares.redb").exists(), "nor a store of a pool");
    provider.end().well();
}

/// What it prints has no place: that is said of the output, not of the disk in general.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_is_named() {
    for arguments in [&["pool", "--example"][..], &["keys"], &["demo", "--json", "--hashes-per-block", "2"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut adit = Command::new(env!("CARGO_BIN_EXE_adit"));
        let ended = adit.args(arguments).stdin(Stdio::null()).stdout(full).output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.starts_with("adit: standard output: "), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_filter_of_log_lines_that_is_none_is_named() {
    for (arguments, variable, named) in
        [(&["--log", "adit=loud", "keys"][..], "info", "--log adit=loud"), (&["keys"], "a=b=c", "RUST_LOG=a=b=c")]
    {
        let mut adit = Command::new(env!("CARGO_BIN_EXE_adit"));
        let ended = adit.env("RUST_LOG", variable).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() == Some(2) && errors.starts_with(&format!("adit: {named}: ")), "{errors}");
    }
}

#[test]
fn a_store_that_is_no_file_is_named() {
    let house = House::new(NEVER);
    std::fs::create_dir(house.path().join("stores")).unwrap();
    house.vary("pool", "directory", "shares.redb", "stores");
    let pool = house.start("pool", "directory").ended();
    let complaint = pool.complaint(1);
    assert!(complaint.contains("stores: ") && complaint.contains("irectory"), "{complaint}");
    assert!(complaint.contains("name a file, such as stores/shares.redb"), "{complaint}");
    assert_eq!(std::fs::read_dir(house.path().join("stores")).unwrap().count(), 0);
    let look = run(house.path(), &["shares", "stores"]);
    assert!(look.complaint(1).contains("stores/shares.redb"), "{}", look.errors);
}

/// Also while its placeholders are not replaced yet.
#[test]
fn the_configuration_of_another_role_is_known() {
    let house = House::new(NEVER);
    house.configure_miner("miner", "account.worker", &house.pool_key);
    let example = run(house.path(), &["pool", "--example"]).well().lines.join("\n");
    std::fs::write(house.path().join("unfilled.toml"), example).unwrap();
    for (role, file, whose) in [
        ("miner", "pool", "pool"),
        ("miner", "unfilled", "pool"),
        ("provider", "pool", "pool"),
        ("pool", "miner", "miner"),
        ("pool", "provider", "provider"),
    ] {
        let ended = house.start(role, file).ended();
        let complaint = ended.complaint(1);
        let wanted = format!(
            "{file}.toml: this is the configuration of a {whose}; did you mean `adit {whose} --config {file}.toml`?"
        );
        assert!(complaint.ends_with(&wanted), "{complaint}");
    }
}

#[test]
fn a_second_pool_on_the_same_store_is_refused() {
    let house = House::new(NEVER);
    let pool = house.pool();
    house.vary("pool", "second", &format!("127.0.0.1:{}", house.pool_port), "127.0.0.1:0");
    let second = house.start("pool", "second").ended();
    let complaint = second.complaint(1);
    assert!(complaint.contains("shares.redb") && complaint.contains("another process has it open"), "{complaint}");
    // Nor may its operator look while it writes.
    let look = run(house.path(), &["shares", "shares.redb"]);
    assert!(look.complaint(1).contains("another process has it open"));
    pool.end().well();
    run(house.path(), &["shares", "shares.redb"]).well();
}

#[test]
fn two_providers_do_not_write_one_chain() {
    let house = House::new(NEVER);
    let provider = house.provider();
    house.vary("provider", "second", &format!("127.0.0.1:{}", house.provider_port), "127.0.0.1:0");
    let second = house.start("provider", "second").ended();
    let complaint = second.complaint(1);
    assert!(complaint.contains("blocks.dat"), "{complaint}");
    provider.end().well();
}

#[test]
fn a_role_without_a_usable_file_says_what_is_wrong() {
    let house = House::new(NEVER);
    for role in ["pool", "miner", "provider"] {
        let without = run(house.path(), &[role]);
        assert_eq!(without.status.code(), Some(2), "{}", without.errors);
        assert!(without.errors.contains("--config"), "{}", without.errors);
        let missing = house.start(role, "missing").ended();
        let complaint = missing.complaint(1);
        assert!(complaint.contains("missing.toml") && complaint.contains("--example"), "{complaint}");
    }
    let refused = |role: &str, from: &str, old: &str, new: &str| {
        house.vary(from, "changed", old, new);
        let ended = house.start(role, "changed").ended();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.errors);
        assert!(ended.lines.is_empty(), "{:?}", ended.lines);
        ended.errors
    };
    let error = refused("pool", "pool", "per_minute", "per_minutes");
    assert!(error.contains("per_minutes") && error.contains("changed.toml") && error.contains("line"), "{error}");
    let inline = |secret: &str| {
        let setting = format!("authority_secret_key = \"{secret}\"");
        refused("pool", "pool", "authority_secret_key_file = \"pool.key\"", &setting)
    };
    let error = inline("REPLACE-WITH-THE-SECRET-KEY");
    assert!(error.contains("authority_secret_key") && error.contains("adit keys"), "{error}");
    let error = inline(&house.pool_key);
    assert!(error.contains("authority_secret_key") && error.contains("may be a public key"), "{error}");
    let error = refused("pool", "pool", "\nchannels_per_connection = 100", "\nchannels_per_connection = 0");
    assert!(error.contains("changed.toml, line ") && error.contains("limits.channels_per_connection"), "{error}");
    assert!(!house.path().join("shares.redb").exists());
    let error = refused("pool", "pool", "tag = \"/adit/\"", &format!("tag = \"{}\"", "x".repeat(100)));
    assert!(error.contains("changed.toml, line ") && error.contains("payout.tag") && error.contains("54"), "{error}");
    assert!(!house.path().join("shares.redb").exists(), "no store is left of a pool that never ran");
    let error = refused("provider", "provider", &format!("hashes_per_block = {NEVER}"), "hashes_per_block = 0");
    assert!(error.contains("changed.toml, line ") && error.contains("chain.hashes_per_block"), "{error}");
    let error = refused("pool", "pool", "pool.key", "missing.key");
    assert!(error.contains("authority_secret_key_file") && error.contains("adit keys --out missing.key"), "{error}");
    let error = refused("provider", "provider", "[chain]", "[chains]");
    assert!(error.contains("chains"), "{error}");
    house.configure_miner("miner", "account.worker", "");
    let error = refused("miner", "miner", "user = ", "# user = ");
    assert!(error.contains("user"), "{error}");
    let error = house.start("miner", "miner").ended();
    assert!(error.complaint(1).contains("authority key"), "{}", error.errors);
}
