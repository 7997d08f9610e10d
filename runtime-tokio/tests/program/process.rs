//! The program as a child process: started, listened to line by line, asked to end or killed. No process outlives its test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that is waited for. Only failures take that long, so it allows for a machine that is busy otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running `adit`, or an example.
pub(crate) struct Program {
    name: String,
    child: Child,
    /// An example's; `adit` has none.
    #[allow(dead_code, reason = "for `program`; `nodes` has this module too")]
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// The lines of standard output that were waited past.
    seen: Vec<String>,
    errors: Option<JoinHandle<String>>,
}

/// One that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// Lines of standard output, all of them.
    pub(crate) lines: Vec<String>,
    /// Standard error.
    pub(crate) errors: String,
}

impl Program {
    /// Starts `adit` with these arguments in this directory.
    pub(crate) fn start(directory: &Path, arguments: &[impl AsRef<OsStr>]) -> Self {
        Self::spawn(Path::new(env!("CARGO_BIN_EXE_adit")), Stdio::null(), directory, arguments)
    }

    /// Starts an example of whichever package: they lie beside the program, since `cargo test --workspace` builds them all.
    #[allow(dead_code, reason = "for `program`; `nodes` has this module too")]
    pub(crate) fn example(name: &str, arguments: &[impl AsRef<OsStr>]) -> Self {
        let profile = Path::new(env!("CARGO_BIN_EXE_adit")).parent().unwrap();
        let directory = profile.join("examples");
        let program = directory.join(name).with_extension(std::env::consts::EXE_EXTENSION);
        if !program.exists() {
            // Only this package is tested.
            let made = Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--workspace", "--examples", "--target-dir"])
                .arg(profile.parent().unwrap())
                .args(profile.ends_with("release").then_some("--release"))
                .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
                .status()
                .unwrap();
            assert!(made.success() && program.exists(), "{} can't be built", program.display());
        }
        Self::spawn(&program, Stdio::piped(), &directory, arguments)
    }

    fn spawn(program: &Path, input: Stdio, directory: &Path, arguments: &[impl AsRef<OsStr>]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .env_remove("RUST_LOG")
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            // A killed process may leave half a line; that is none.
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        let words = std::iter::once(program.file_name().unwrap_or_default()).chain(arguments.iter().map(AsRef::as_ref));
        let name = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
        let input = child.stdin.take();
        Self { name, child, input, lines, seen: Vec::new(), errors: Some(errors) }
    }

    /// The next line of standard output; `None` at its end.
    pub(crate) fn line(&mut self, until: Instant, what: &str) -> Option<String> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => self.fail(what),
        }
    }

    /// Waits for a line that `pick` takes, and gives what it made of it.
    pub(crate) fn line_that<T>(&mut self, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        while let Some(line) = self.line(until, what) {
            if let Some(picked) = pick(&line) {
                return picked;
            }
        }
        self.fail(what)
    }

    /// Waits for an event of this name, of which `holds` is true (`--json`).
    pub(crate) fn event(&mut self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.event_until(Instant::now() + PATIENCE, name, holds)
    }

    /// The same, but it must be told by then.
    pub(crate) fn event_until(&mut self, until: Instant, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        while let Some(line) = self.line(until, name) {
            let event = json(&line);
            if event["event"] == name && holds(&event) {
                return event;
            }
        }
        self.fail(name)
    }

    /// Waits past everything that was told until now.
    #[allow(dead_code, reason = "for `nodes`, which has this module too")]
    pub(crate) fn catch_up(&mut self) {
        self.seen.extend(self.lines.try_iter());
    }

    /// The events since the start that were waited past.
    pub(crate) fn events(&self) -> impl Iterator<Item = Value> {
        self.seen.iter().map(|line| json(line))
    }

    fn fail(&mut self, what: &str) -> ! {
        let _gone = self.child.kill();
        let errors = self.errors.take().map(|errors| errors.join().unwrap_or_default()).unwrap_or_default();
        let tail = self.seen[self.seen.len().saturating_sub(40)..].join("\n");
        panic!("`{}` has not told {what}. Its last lines:\n{tail}\nand its errors:\n{errors}", self.name)
    }

    /// SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        self.signal("TERM");
    }

    /// As a person ends an example: Control-C, or Enter.
    #[allow(dead_code, reason = "for `program`; `nodes` has this module too")]
    pub(crate) fn enough(&mut self, by_enter: bool) {
        if by_enter {
            std::io::Write::write_all(self.input.as_mut().unwrap(), b"\n").unwrap();
        } else {
            self.signal("INT");
        }
    }

    fn signal(&self, name: &str) {
        // The shell has `kill` built in, so nothing more is needed for a signal.
        let line = format!("kill -{name} \"$0\"");
        let kill = Command::new("sh").args(["-c", &line, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success(), "`{}` is gone already", self.name);
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn end(self) -> Ended {
        self.ask_to_end();
        self.ended()
    }

    /// SIGKILL, and waits until it is gone, with its port and its lock on the store.
    pub(crate) fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.ended()
    }

    /// Waits until it has ended.
    pub(crate) fn ended(mut self) -> Ended {
        let until = Instant::now() + PATIENCE;
        while self.line(until, "its end").is_some() {}
        let status = self.child.wait().unwrap();
        let errors = self.errors.take().unwrap().join().unwrap();
        Ended { status, lines: std::mem::take(&mut self.seen), errors }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // In vain when it has ended.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Ended {
    /// The lines as JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.lines.iter().map(|line| json(line)).collect()
    }

    /// Fails unless it ended as a program does that did what it should.
    pub(crate) fn well(self) -> Self {
        assert!(self.status.success(), "{}: {}", self.status, self.errors);
        self
    }

    /// The last line of standard error of one that ended with this status.
    pub(crate) fn complaint(&self, status: i32) -> &str {
        assert_eq!(self.status.code(), Some(status), "{}", self.errors);
        self.errors.lines().last().unwrap_or_default()
    }
}

/// Runs `adit` to its end.
pub(crate) fn run(directory: &Path, arguments: &[impl AsRef<OsStr>]) -> Ended {
    Program::start(directory, arguments).ended()
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))
}
