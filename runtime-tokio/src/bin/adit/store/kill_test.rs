//! The store under SIGKILL: a child process appends and prints each ticket that it would acknowledge, and is killed at
//! whatever point it has reached. What it printed has to be there, once; and of a share that was a block, the block, until the child has said that it is
//! of no use any more.
#![cfg(unix)]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::file::{Retention, Store};
use super::script::{block, check_shares, held, is_block, settled, share};
use super::writer::{Queued, Writer};

/// Tells the child which file to write, and that it is the child.
const CHILD: &str = "ADIT_STORE_KILL_TEST";
/// This test's name for the test harness, so that the child runs it and nothing else.
const NAME: &str = "store::kill_test::killing_the_pool_loses_no_acknowledged_share_and_counts_none_twice";

/// Small enough that the journal is cut throughout the test.
const KEPT: u64 = 300;
const ROUNDS: usize = 40;

#[test]
fn killing_the_pool_loses_no_acknowledged_share_and_counts_none_twice() {
    if let Some(path) = env::var_os(CHILD) {
        append_until_killed(Path::new(&path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shares");
    let mut acknowledged = None;
    for round in 0..ROUNDS {
        let mut child = spawn(&path);
        // From none (so in the middle of creating or opening the file) to a few dozen commits.
        let commits = (round * 7) % 31;
        let output = child.stdout.take().unwrap();
        let mut lines = BufReader::new(output).lines().map(|line| line.unwrap());
        for ticket in lines.by_ref().filter_map(|line| ticket(&line)).take(commits) {
            acknowledged = acknowledged.max(Some(ticket));
        }
        // `Child::kill` is SIGKILL. The child is at an arbitrary point of its loop.
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        // What it had printed by then counts as acknowledged too.
        for ticket in lines.filter_map(|line| ticket(&line)) {
            acknowledged = acknowledged.max(Some(ticket));
        }
        verify(&path, acknowledged);
    }
    assert!(acknowledged.unwrap() > 2 * KEPT, "the children got far enough to cut the journal: {acknowledged:?}");
}

/// The ticket in a line of the child; `None` for the test harness's own lines and for one that was torn by the kill.
fn ticket(line: &str) -> Option<u64> {
    line.strip_prefix("ack ")?.strip_suffix('.').map(|ticket| ticket.parse().unwrap())
}

fn spawn(path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// The child. Never returns: it is killed, or ends with a failure status.
fn append_until_killed(path: &Path) -> ! {
    let store = Store::open(path, Retention { shares: KEPT }).unwrap();
    let mut next = store.next_ticket();
    let writer = Writer::start(store, 16, |commit| {
        let mut output = std::io::stdout().lock();
        writeln!(output, "ack {}.", commit.ticket).and_then(|()| output.flush()).unwrap();
    })
    .unwrap();
    let queue = writer.queue();
    let settle = |put: &dyn Fn(Queued), last: u64| {
        if let Some(settled) = settled(last) {
            put(settled.into());
        }
    };
    let put = |queued: Queued| match queue.send_blocking(queued) {
        Ok(()) => {}
        Err(_) => std::process::exit(3),
    };
    // What the kill may have cut off.
    if let Some(last) = next.checked_sub(1) {
        settle(&put, last);
    }
    loop {
        if is_block(next) {
            put(Queued::found(share(next), Arc::new(block(next))));
        } else {
            put(share(next).into());
        }
        settle(&put, next);
        next += 1;
    }
}

/// Opens the store and compares all of it with what the tickets up to its last one say.
fn verify(path: &Path, acknowledged: Option<u64>) {
    let store = Store::open(path, Retention { shares: KEPT }).unwrap();
    let next = store.next_ticket();
    assert!(acknowledged.is_none_or(|ticket| ticket < next), "acknowledged {acknowledged:?}, stored below {next}");
    check_shares(&store, KEPT);
    // What was said after the very last share may be there or not.
    let there = store.held().unwrap();
    assert!([next, next.saturating_sub(1)].into_iter().any(|said| held(said, next) == there), "{next}: {there:?}");
}
