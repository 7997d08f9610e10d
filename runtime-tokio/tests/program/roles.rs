//! `adit provider`, `adit pool`, `adit miner` as processes of their own, from their examples to a block; what happens when one of them
//! goes, comes back, or is not who it should be.

use std::time::Instant;

use serde_json::Value;

use crate::house::{House, NEVER, key};
use crate::process::{PATIENCE, Program, run};
use crate::wire::Wire;

const USER: &str = "farm.worker-1";

fn miner(house: &House) -> Program {
    house.configure_miner("miner", USER, &house.pool_key);
    let mut miner = house.start("miner", "miner");
    miner.event("link_up", |event| event["from"] == USER && event["to"] == "pool");
    miner
}

/// The next share that the pool accepts.
fn share(pool: &mut Program) {
    pool.event("share_accepted", |event| event["user"] == USER);
}

fn to_provider(event: &Value) -> bool {
    event["from"] == "pool" && event["to"] == "provider"
}

#[test]
fn three_processes_find_a_block_and_keep_it() {
    let house = House::new(65_536);
    // As a person watches it: lines, not JSON.
    let mut provider = Program::start(house.path(), &["provider", "--config", "provider.toml"]);
    let url =
        provider.line_that("where it listens", |line| line.strip_prefix("provider listens at ").map(ToOwned::to_owned));
    let pools = std::fs::read_to_string(house.path().join("pool.toml")).unwrap();
    assert!(pools.contains(&url), "the provider's URL is the one that the pool was given: {url}");
    let mut pool = house.pool();
    let miner = miner(&house);
    share(&mut pool);
    let (mut block, mut next) = (None, false);
    // Which of the two is told first is a matter of threads.
    provider.line_that("a block, and a template on top of it", |line| {
        if block.is_none() && line.starts_with("BLOCK") {
            block = Some(line.to_owned());
        }
        next |= line.starts_with("template") && line.contains("height 122, new tip");
        (block.is_some() && next).then_some(())
    });
    let block = block.unwrap();
    assert!(block.contains("height 121"), "the first after those that were there: {block}");

    miner.end().well();
    let pool = pool.end().well();
    let provider = provider.end().well();
    let found = provider.lines.iter().filter(|line| line.starts_with("BLOCK")).count();
    assert!(!provider.lines.iter().any(|line| line.contains("rejected")), "{:?}", provider.lines);
    // Every share that the pool told of is in its books, and the block among them.
    let shares = house.shares();
    let total = shares.last().unwrap();
    let told = pool.events().iter().filter(|event| event["event"] == "share_accepted").count();
    assert!(total["shares"].as_u64().unwrap() >= told as u64, "{told} told, {total}");
    assert!(total["blocks"].as_u64().unwrap() >= found as u64, "{found} found, {total}");
    let hash = block.rsplit(' ').next().unwrap();
    let of_block: Vec<_> = shares.iter().filter(|share| share["hash"] == hash).collect();
    assert!(matches!(of_block[..], [share] if share["block"] == true && share["account"] == USER), "{of_block:?}");

    // The chain was kept on disk.
    let mut provider = house.provider();
    let template = provider.event("template", |_| true);
    assert_eq!(template["height"].as_u64().unwrap(), 121 + found as u64);
    provider.end().well();
}

/// What the examples say must do: shares as easy as the chain's blocks are, no warning, a block.
#[test]
fn the_examples_find_a_block() {
    let house = House::as_shown();
    let mut provider = house.provider();
    let pool = house.pool();
    let miner = miner(&house);
    // Eight million hashes on average, and now and then five times as many: some seconds, but minutes on a machine that is busy otherwise.
    provider.event_until(Instant::now() + 10 * PATIENCE, "block_accepted", |_| true);
    miner.end().well();
    let pool = pool.end().well();
    assert!(!pool.events().iter().any(|event| event["event"] == "warning"), "{:?}", pool.lines);
    provider.end().well();
}

#[test]
fn a_pool_whose_shares_are_harder_than_blocks_says_that_blocks_are_lost() {
    let house = House::as_shown();
    let provider = house.provider();
    house.vary("pool", "hard", "# minimum_difficulty = 0.0001", "minimum_difficulty = 1.0");
    let mut pool = house.start("pool", "hard");
    let warning = pool.event("warning", |_| true);
    let message = warning["message"].as_str().unwrap();
    assert!(message.contains("shares.minimum_difficulty") && message.contains("100% of the blocks"), "{message}");
    pool.end().well();
    provider.end().well();
}

#[test]
fn a_miner_with_another_authority_key_says_so_and_keeps_trying() {
    let house = House::new(NEVER);
    let provider = house.provider();
    let pool = house.pool();
    house.configure_miner("miner", USER, &key(house.path(), "other.key"));
    let mut miner = house.start("miner", "miner");
    for attempt in 0..3 {
        let down = miner.event("link_down", |event| event["to"] == "pool");
        let reason = down["reason"].as_str().unwrap();
        let hint = if attempt == 0 { "`adit keys" } else { "(see above)" };
        assert!(
            reason.contains("not signed by the expected authority")
                && reason.contains(hint)
                && reason.contains("trying again in"),
            "{reason}"
        );
    }
    let miner = miner.end().well();
    assert!(!miner.events().iter().any(|event| event["event"] == "link_up"));
    let pool = pool.end().well();
    assert!(!pool.events().iter().any(|event| event["event"] == "share_accepted" || event["to"] == "pool"));
    assert_eq!(house.shares().last().unwrap()["shares"], 0);
    provider.end().well();
}

#[test]
fn a_pool_keeps_its_devices_through_a_restart_of_the_provider() {
    let house = House::new(65_536);
    let mut provider = house.provider();
    let mut pool = house.pool();
    let miner = miner(&house);
    provider.event("block_accepted", |_| true);
    share(&mut pool);
    for orderly in [true, false] {
        if orderly {
            provider.end().well();
        } else {
            provider.kill();
        }
        pool.event("link_down", to_provider);
        provider = house.provider();
        pool.event("link_up", to_provider);
        pool.event("job", |event| event["new_tip"] == true);
        share(&mut pool);
        provider.event("block_accepted", |_| true);
    }
    let lost = |event: &Value| event["event"] == "link_down" && event["to"] == "pool";
    assert!(!pool.events().any(|event| lost(&event)), "a device was dropped");
    miner.end().well();
    pool.end().well();
    provider.end().well();
}

/// A person watches a pool: sums of shares, not each of them; what happens seldom has its line.
#[test]
fn a_pool_sums_shares_up_for_people() {
    let house = House::new(65_536);
    let mut provider = house.provider();
    let mut pool = Program::start(house.path(), &["pool", "--config", "pool.toml"]);
    pool.line_that("where it listens", |line| line.starts_with("pool listens at ").then_some(()));
    let miner = miner(&house);
    provider.event("block_accepted", |_| true);
    let number = |text: &str| text.split(' ').next().unwrap().parse::<u64>().unwrap();
    let sum = |line: &str| line.strip_prefix("shares     ").map(number);
    assert!(pool.line_that("a sum of shares", sum) > 0);
    miner.end().well();
    let pool = pool.end().well();
    let (whole, stored) = (pool.lines.iter().rev().find_map(|line| sum(line)), house.shares());
    assert_eq!(whole, stored.last().unwrap()["shares"].as_u64(), "the last sum is that of the whole run");
    assert!(pool.lines.iter().any(|line| line.starts_with("link up")));
    assert!(!pool.lines.iter().any(|line| line.starts_with("share      accepted")), "{:?}", pool.lines);
    provider.end().well();
}

/// A miner that sends more shares than `limits.shares_per_second` allows is closed.
#[test]
fn a_pool_keeps_to_its_limit_on_shares() {
    let house = House::new(NEVER);
    house.vary(
        "pool",
        "pool",
        "shares_per_second = 1000\nshare_burst = 20000",
        "shares_per_second = 1\nshare_burst = 3",
    );
    let provider = house.provider();
    let mut pool = house.pool();
    let miner = miner(&house);
    share(&mut pool);
    pool.event("link_down", |event| event["to"] == "pool");
    for role in [miner, pool, provider] {
        role.end().well();
    }
}

/// A provider, and a pool that reaches it through a wire and has a job.
struct Wired {
    house: House,
    wire: Wire,
    provider: Program,
    pool: Program,
}

impl Wired {
    fn new() -> Self {
        let house = House::new(65_536);
        let wire = Wire::to(house.provider_port);
        let port = |port: u16| format!("127.0.0.1:{port}/");
        house.vary("pool", "pool", &port(house.provider_port), &port(wire.port));
        let provider = house.provider();
        let mut pool = house.pool();
        pool.event("job", |event| event["new_tip"] == true);
        Self { house, wire, provider, pool }
    }
}

/// D-TDP-17: the way to the provider is cut when a block is found, and still when the pool ends. The pool says so, keeps it, and its next run hands it
/// over; the chain takes it.
#[test]
fn a_block_that_was_found_without_a_provider_outlives_the_pool() {
    let Wired { house, wire, mut provider, mut pool } = Wired::new();
    wire.cut();
    pool.event("link_down", to_provider);
    let miner = miner(&house);
    pool.event("block_found", |event| event["handed_over"] == "waits");
    miner.end().well();
    let events = pool.end().well().events();
    let unsent: Vec<_> = events.iter().filter(|event| event["event"] == "block_unsent").collect();
    assert!(!unsent.is_empty() && unsent[0]["coinbase_tx"].as_str().unwrap().len() > 100, "{unsent:?}");
    let shares = house.shares();
    let kept: Vec<_> = shares.iter().filter(|line| line["event"] == "block_unsent").collect();
    assert_eq!(kept.len(), unsent.len());
    assert!(kept.iter().zip(&unsent).all(|(kept, told)| kept["nonce"] == told["nonce"]), "{kept:?} {unsent:?}");

    wire.mend();
    let pool = house.pool();
    let told = |event: &Value| event["message"].as_str().is_some_and(|text| text.contains("is handed over"));
    assert_eq!(pool.events().filter(told).count(), unsent.len());
    accepts_one_of(&mut provider, &events);
    pool.end().well();
    provider.end().well();
    all_told(&house);
}

/// D-TDP-17: the same when the pool is killed: whatever it has told of is on disk.
#[test]
fn a_block_that_was_found_without_a_provider_outlives_a_kill() {
    let Wired { house, wire, mut provider, mut pool } = Wired::new();
    wire.cut();
    pool.event("link_down", to_provider);
    let miner = miner(&house);
    let found = pool.event("block_found", |event| event["handed_over"] == "waits");
    assert_eq!((&found["user"], &found["height"]), (&USER.into(), &121.into()));
    let events = pool.kill().events();
    let told = events.iter().filter(|event| event["event"] == "block_found").count();
    miner.end().well();
    let kept = house.shares().into_iter().filter(|line| line["event"] == "block_unsent").count();
    assert!(kept >= told, "{told} were told, {kept} are kept");

    wire.mend();
    let mut pool = house.pool();
    accepts_one_of(&mut provider, &events);
    pool.event("job", |event| event["new_tip"] == true);
    pool.end().well();
    provider.end().well();
    all_told(&house);
}

/// D-TDP-17: what was written to the provider's link may not have arrived, however orderly the pool ended.
#[test]
fn a_block_that_was_lost_on_its_way_to_the_provider_outlives_the_pool() {
    let Wired { house, wire, mut provider, mut pool } = Wired::new();
    wire.lose();
    let miner = miner(&house);
    pool.event("block_found", |event| event["handed_over"] == "yes");
    miner.end().well();
    let events = pool.end().well().events();
    let kept: Vec<_> = house.shares().into_iter().filter(|line| line["event"] == "block_unsent").collect();
    assert!(kept.iter().any(|line| line["told"] == true), "{kept:?}");

    wire.cut();
    wire.mend();
    let pool = house.pool();
    accepts_one_of(&mut provider, &events);
    pool.end().well();
    provider.end().well();
    all_told(&house);
}

/// One of the blocks that the pool has told of becomes the tip: they are of one height and go to the chain side by side, so any may be first.
fn accepts_one_of(provider: &mut Program, pool: &[Value]) {
    let block = provider.event("block_accepted", |_| true);
    let is_it = |event: &Value| event["event"] == "block_found" && event["hash"] == block["hash"];
    assert!(pool.iter().any(is_it), "{block}: {pool:?}");
}

/// No block is in the store that no provider was told of.
fn all_told(house: &House) {
    let shares = house.shares();
    let untold: Vec<_> = shares.iter().filter(|line| line["event"] == "block_unsent" && line["told"] != true).collect();
    assert!(untold.is_empty(), "they have been handed over: {untold:?}");
}

/// Who found which block, and that the provider builds on it.
#[test]
fn a_pool_tells_of_its_blocks() {
    let house = House::new(65_536);
    let mut provider = house.provider();
    let mut pool = house.pool();
    let miner = miner(&house);
    let accepted = provider.event("block_accepted", |_| true);
    let found = pool.event("block_found", |event| event["hash"] == accepted["hash"]);
    assert_eq!((&found["height"], &found["user"]), (&accepted["height"], &USER.into()));
    assert_eq!(found["handed_over"], "yes");
    let confirmed = pool.event("block_confirmed", |event| event["hash"] == found["hash"]);
    assert_eq!((&confirmed["height"], &confirmed["user"]), (&found["height"], &found["user"]));
    for role in [miner, pool, provider] {
        role.end().well();
    }
    // The store knows it from then on.
    let shares = house.shares();
    let block = shares.iter().find(|share| share["hash"] == found["hash"]).expect("it is in the books");
    assert_eq!((&block["block"], &block["fate"]), (&true.into(), &"confirmed".into()));
    assert!(
        shares.iter().filter(|share| share["event"] == "share").all(|share| share["block"] == !share["fate"].is_null())
    );
}

/// What became of a miner's shares, at its end and under way, as JSON and for people.
#[test]
fn a_miner_sums_its_shares_up() {
    let house = House::new(NEVER);
    let provider = house.provider();
    let mut pool = house.pool();
    let mut miner = miner(&house);
    share(&mut pool);
    let sum = miner.event("shares", |event| event["accepted"].as_u64() > Some(0));
    assert_eq!((&sum["role"], &sum["whole_run"]), (&"miner".into(), &false.into()));
    assert!(
        sum["hashes_per_second"].as_f64() > Some(0.0) && sum["submitted"].as_u64() >= sum["accepted"].as_u64(),
        "{sum}"
    );
    let events = miner.end().well().events();
    let whole = events.iter().rfind(|event| event["event"] == "shares").unwrap();
    assert_eq!(whole["whole_run"], true);
    let count = |name: &str| whole[name].as_u64().unwrap();
    assert_eq!(count("submitted"), count("accepted") + count("rejected") + count("unanswered"));
    let rejected = events.iter().filter(|event| event["event"] == "share_rejected").count() as u64;
    assert_eq!(count("rejected"), rejected, "each rejected one was told with its reason");

    let mut miner = Program::start(house.path(), &["miner", "--config", "miner.toml"]);
    miner.line_that("its link", |line| line.starts_with("link up").then_some(()));
    share(&mut pool);
    let miner = miner.end().well();
    let last = miner.lines.iter().rfind(|line| line.starts_with("shares     ")).unwrap();
    assert!(last.contains(" submitted, ") && last.ends_with("; the whole run"), "{last}");
    for role in [pool, provider] {
        role.end().well();
    }
}

/// In whatever order they go, each ends well when it is asked to, also while its server is away.
#[test]
fn each_role_ends_well_without_the_others() {
    let house = House::new(NEVER);
    let provider = house.provider();
    let mut pool = house.pool();
    let mut miner = miner(&house);
    share(&mut pool);
    provider.end().well();
    pool.event("link_down", to_provider);
    pool.end().well();
    let down = miner.event("link_down", |event| event["to"] == "pool");
    assert!(down["reason"].as_str().unwrap().contains("trying again in"), "{down}");
    miner.end().well();
    assert!(house.shares().last().unwrap()["shares"].as_u64().unwrap() >= 1);
}

/// A pool comes up before its provider does, and a miner before its pool.
#[test]
fn the_roles_start_in_any_order() {
    let house = House::new(NEVER);
    house.configure_miner("miner", USER, &house.pool_key);
    let mut miner = house.start("miner", "miner");
    miner.event("link_down", |event| event["to"] == "pool");
    let idle = |miner: &mut Program, why: &str| miner.event("hash_rate", |event| event["idle"] == why);
    idle(&mut miner, "no connection to the pool");
    // Its configuration may be named without `--config`.
    let mut pool = Program::start(house.path(), &["pool", "pool.toml", "--json"]);
    pool.event("link_down", to_provider);
    idle(&mut miner, "connected, waiting for the pool's first job");
    let mut provider = house.provider();
    provider.event("link_up", |event| event["to"] == "provider");
    share(&mut pool);
    assert!(miner.event("hash_rate", |event| event["hashes_per_second"] != 0.0)["idle"].is_null());
    for role in [miner, pool, provider] {
        role.end().well();
    }
}

#[test]
fn the_examples_are_whole_as_they_are_printed() {
    let directory = tempfile::tempdir().unwrap();
    for role in ["provider", "pool", "miner"] {
        let example = run(directory.path(), &[role, "--example"]).well();
        std::fs::write(directory.path().join("example.toml"), example.lines.join("\n")).unwrap();
        let ended = run(directory.path(), &[role, "--config", "example.toml", "--json"]);
        let complaint = ended.complaint(1);
        // Nothing is wrong with it but that the keys are yet to be filled in, and that is what it says.
        assert!(complaint.contains("setting `") && complaint.contains("key"), "{role}: {complaint}");
    }
}

/// Nobody can connect to a provider whose node gives no template, so it says so where its events are, and ends well.
#[test]
fn a_provider_without_its_node_says_so() {
    let house = House::new(NEVER);
    let node = "authority_secret_key_file = \"provider.key\"\n[node]\nuser = \"u\"\npassword = \"p\"\n";
    let at = |port: u16| format!("127.0.0.1:{port}");
    let config = format!("listen = \"{}\"\n{node}url = \"http://{}\"\n", at(house.provider_port), at(house.pool_port));
    std::fs::write(house.path().join("node.toml"), config).unwrap();
    let mut provider = house.start("provider", "node");
    let warning = provider.event("warning", |_| true);
    let message = warning["message"].as_str().unwrap();
    assert!(message.starts_with("no template from the node yet") && message.contains("server=1"), "{message}");
    let provider = provider.end().well();
    assert!(!provider.events().iter().any(|event| event["event"] == "listening"), "{:?}", provider.lines);
}

/// By the program; not by the runtime's log a second time.
#[test]
fn a_server_that_is_not_there_is_told_once() {
    let house = House::new(NEVER);
    house.configure_miner("miner", USER, &house.pool_key);
    let mut miner = house.start("miner", "miner");
    for _ in 0..2 {
        miner.event("link_down", |event| event["to"] == "pool");
    }
    let miner = miner.end().well();
    assert!(!miner.errors.contains("no connection"), "{}", miner.errors);
}

/// Whatever it was about to say.
#[test]
fn nobody_who_reads_is_no_fault() {
    use std::process::{Command, Stdio};
    let house = House::new(NEVER);
    for arguments in [
        &["pool", "--example"][..],
        &["miner", "--example"],
        &["provider", "--example"],
        &["keys"],
        &["demo", "--json"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_adit"))
            .args(arguments)
            .current_dir(house.path())
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Before it has written anything, in all likelihood; what a pipe holds otherwise is less than what it has to say in one go.
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && errors.is_empty(), "{arguments:?}: {}: {errors}", ended.status);
    }
}

#[test]
fn a_reader_who_has_seen_enough_ends_the_program_quietly() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::{Command, Stdio};
    let house = House::new(65_536);
    let mut child = Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(["provider", "--config", "provider.toml"])
        .current_dir(house.path())
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    // The reader goes with its first line, and its end of the pipe with it; the pool's link is told next.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pool = house.pool();
    let status = child.wait().unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(status.success() && !errors.contains("roken pipe"), "{status}: {errors}");
    pool.end().well();
}
