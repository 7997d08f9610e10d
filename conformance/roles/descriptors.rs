//! A listener in a process that is out of file descriptors: it pauses instead of spinning, keeps what it has, and goes on when some
//! are free again. One text for all runtimes of computers, each of which makes a program of it.
//!
//! The listener is another process, this same program under a shell's `ulimit`; the first one connects. Unix only.

use std::{
    io::{BufRead, BufReader, Lines, Read, Write},
    net::TcpStream,
    process::{ChildStdout, Command, Stdio},
    time::Duration,
};

use crate::{
    gate::GateConfig,
    testing::{Lab, read, run},
};

/// Set in the second process.
const CHILD: &str = "ADIT_TEST_LISTENER";
/// Descriptors of the second process: enough for the runtime and a dozen connections.
const DESCRIPTORS: usize = 40;

pub(crate) fn main() {
    if std::env::var_os(CHILD).is_some() {
        run(async |lab| listen(&lab).await);
    } else {
        connect();
    }
}

/// Says the port, then a line for each connection that is accepted; each ends when its peer does. A line on standard input asks
/// for the processor time that was used so far, in clock ticks.
async fn listen(lab: &Lab) {
    let (mut listener, _) = lab.listener(0, GateConfig::default());
    println!("{}", listener.address().port());
    std::thread::spawn(|| {
        for _ in std::io::stdin().lines() {
            println!("ticks {}", ticks());
        }
        std::process::exit(0);
    });
    loop {
        let mut accepted = listener.accept().await;
        accepted.admission.established();
        println!("accepted");
        lab.go(async move {
            while matches!(read(&mut accepted.stream, &mut [0; 64]).await, Ok(1..)) {}
            drop(accepted.admission);
        });
    }
}

/// User and system time of this process; 0 where there is no `/proc`, and then nothing is asserted about it.
fn ticks() -> u64 {
    let mut stat = Vec::new();
    // Opened anew this would fail: there is no descriptor left. So the file is opened once, at the start.
    thread_local! {
        static STAT: Option<std::fs::File> = std::fs::File::open("/proc/self/stat").ok();
    }
    STAT.with(|file| {
        let mut file = file.as_ref()?;
        std::io::Seek::rewind(&mut file).ok()?;
        file.read_to_end(&mut stat).ok()?;
        let text = String::from_utf8(stat).ok()?;
        let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    })
    .unwrap_or(0)
}

type Output = Lines<BufReader<ChildStdout>>;

/// Reads until `count` connections were accepted.
fn accepted(output: &mut Output, count: usize) {
    for _ in 0..count {
        assert_eq!(output.next().expect("a line").expect("text"), "accepted");
    }
}

#[allow(clippy::disallowed_methods, reason = "what is watched is that nothing happens for a while")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn connect() {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -n {DESCRIPTORS} && exec \"$0\""))
        .arg(program)
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut input = child.stdin.take().expect("piped");
    let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
    let port: u16 = output.next().expect("a line").expect("text").parse().expect("a port");
    let mut ask = |output: &mut Output| -> (usize, u64) {
        writeln!(input, "?").expect("the child lives");
        let mut accepted = 0;
        loop {
            match output.next().expect("a line").expect("text").strip_prefix("ticks ") {
                Some(ticks) => return (accepted, ticks.parse().expect("a number")),
                None => accepted += 1,
            }
        }
    };
    // Opens the child's file of times while it still can.
    ask(&mut output);

    let streams: Vec<_> =
        (0..2 * DESCRIPTORS).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("the kernel takes it")).collect();
    // Until the listener has run dry.
    let (mut taken, mut quiet, mut begin) = (0, 0, 0);
    while quiet < 10 {
        pause(Duration::from_millis(100));
        let (more, ticks) = ask(&mut output);
        (taken, begin) = (taken + more, ticks);
        quiet = if taken == 0 || more > 0 { 0 } else { quiet + 1 };
    }
    assert!((1..DESCRIPTORS).contains(&taken), "{taken} accepted with {DESCRIPTORS} descriptors");
    pause(Duration::from_secs(1));
    let (more, end) = ask(&mut output);
    assert_eq!(more, 0, "no descriptor was freed");
    // A spinning loop would use all of the second: a hundred ticks.
    assert!(end - begin <= 20, "{} ticks while nothing could be accepted", end - begin);

    // The first connections end: as many others are accepted.
    let mut streams = streams.into_iter();
    streams.by_ref().take(taken).for_each(drop);
    accepted(&mut output, taken);
    println!("{taken} connections with {DESCRIPTORS} descriptors, {} ticks of waiting, then {taken} more", end - begin);
    drop(streams);
    drop(input);
    assert!(child.wait().expect("its end").success());
}
