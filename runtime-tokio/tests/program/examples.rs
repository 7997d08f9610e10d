//! The examples of all packages, which are programs too: each pool with each device, and what they say of themselves.

use crate::house::House;
use crate::process::Program;

const USER: &str = "account.worker";

/// Name, and whether Enter ends it; Control-C does otherwise.
type Example = (&'static str, bool);

const POOLS: [Example; 2] = [("tokio_pool", false), ("smol_pool", true)];
const DEVICES: [Example; 2] = [("tokio_device", false), ("smol_device", true)];

/// The number that a line begins with.
fn number(line: &str) -> Option<u64> {
    line.split(' ').next()?.parse().ok()
}

/// The device on the core alone has one share accepted and ends; those of the runtimes go on until they are told to end.
fn mine(url: &str) -> u64 {
    let ended = Program::example("blocking_device", &[url, USER]).ended().well();
    assert!(ended.lines.last().unwrap().ends_with(" accepted"), "{:?}", ended.lines);
    let mut accepted = 1;
    for (name, by_enter) in DEVICES {
        let mut device = Program::example(name, &[url, USER]);
        device.line_that("an accepted share", |line| line.to_lowercase().starts_with("accepted").then_some(()));
        device.enough(by_enter);
        let ended = device.ended().well();
        let sum = ended.lines.iter().find(|line| line.contains("shares accepted")).expect("a sum");
        assert!(number(sum) >= Some(1) && sum.ends_with(" 0 lost"), "{name}: {sum}");
        accepted += number(sum).unwrap();
    }
    accepted
}

#[test]
fn each_pool_takes_shares_of_each_device() {
    let house = House::new(65_536);
    let mut provider = house.start("provider", "provider");
    let provider_url = provider.event("listening", |_| true)["url"].as_str().unwrap().to_owned();
    for (name, by_enter) in POOLS {
        let mut pool = Program::example(name, &["127.0.0.1:0", &provider_url, "51"]);
        let url = pool.line_that("its URL", |line| line.starts_with("stratum2+tcp://").then(|| line.to_owned()));
        let accepted = mine(&url);
        pool.enough(by_enter);
        let ended = pool.ended().well();
        let sum = |line: &String| match line.strip_prefix("account.worker: ") {
            Some(line) => number(line),
            None => number(line).filter(|_| line.contains("shares accepted")),
        };
        assert_eq!(ended.lines.iter().find_map(sum), Some(accepted), "{name}: {:?}", ended.lines);
        assert!(ended.lines.iter().any(|line| line.starts_with("provider: Open")), "{name}: {:?}", ended.lines);
    }
    provider.event("block_accepted", |_| true);
    provider.end().well();
}

#[test]
fn an_example_says_what_its_arguments_mean() {
    let named = |device: bool| if device { &["URL", "USER"][..] } else { &["LISTEN", "PROVIDER", "SCRIPT"] };
    let examples = POOLS.into_iter().chain(DEVICES).map(|(name, _)| name).chain(["blocking_device"]);
    for name in examples {
        let arguments = named(name.ends_with("device"));
        let help = Program::example(name, &["--help"]).ended().well();
        assert_eq!(help.lines[0], format!("usage: {name} {}", arguments.join(" ")));
        for argument in arguments {
            assert!(help.lines.iter().any(|line| line.starts_with(&format!("  {argument} "))), "{name}: {argument}");
        }
        assert_eq!(Program::example(name, &["-h"]).ended().well().lines, help.lines, "{name}");
        let none = Program::example(name, &[] as &[&str]).ended();
        assert_eq!((none.status.code(), none.lines.len()), (Some(2), 0), "{}", none.errors);
        assert_eq!(none.errors.lines().collect::<Vec<_>>(), help.lines, "{name}");
    }
}

#[test]
fn an_example_says_why_it_cannot_start() {
    for (name, _) in DEVICES.into_iter().chain([("blocking_device", false)]) {
        let wrong = Program::example(name, &["stratum2+tcp://127.0.0.1", USER]).ended();
        assert!(
            wrong.complaint(1).starts_with("error: the URL ") && wrong.complaint(1).contains("key"),
            "{}",
            wrong.errors
        );
    }
    let url = "stratum2+tcp://127.0.0.1:1/u95GEReVMjK6k5YqiSFNqqTnKU4ypU2Wm8awa6tmbmDmk1bWt";
    let complains = |name: &str, arguments: &[&str], of: &str| {
        let wrong = Program::example(name, arguments).ended();
        let complaint = wrong.complaint(1);
        assert!(complaint.starts_with(&format!("error: {of}")) && wrong.lines.is_empty(), "{name}: {complaint}");
        complaint.to_owned()
    };
    for (name, _) in DEVICES.into_iter().chain([("blocking_device", false)]) {
        let complaint = complains(name, &[url, &"x".repeat(300)], "USER: ");
        assert!(complaint.contains("300 bytes") && complaint.contains("at most 255"), "{complaint}");
    }
    let nobody = complains("blocking_device", &[url, USER], "no connection to 127.0.0.1:1: ");
    assert!(nobody.contains("refused"), "{nobody}");
    for (name, _) in POOLS {
        complains(name, &["127.0.0.1", url, "51"], "LISTEN, \"127.0.0.1\", ");
        complains(name, &["127.0.0.1:0", "stratum2+tcp://127.0.0.1", "51"], "PROVIDER, \"stratum2+tcp://127.0.0.1\"");
        complains(name, &["127.0.0.1:0", url, "5"], "SCRIPT, \"5\", is not hex");
    }
}
