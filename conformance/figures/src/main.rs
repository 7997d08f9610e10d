//! Adit's figures: ours and a peer in turns in one process, with the limit that the primitives set.
//!
//! Each row is measured in rounds: ours, the peer, the limit, and again. The fastest round counts, since whatever else a machine does
//! only ever makes one slower. `--json` prints one object a row, `--plot FILE` writes a drawing, `--only TEXT` takes the rows whose name
//! contains it, `--quick` takes fewer rounds and no instructions.

mod codec;
mod handshake;
mod measure;
mod plot;
mod pool;
mod record;
mod report;
mod share;

use std::process::ExitCode;

use measure::{Counting, Effort};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut json, mut quick, mut plot, mut only) = (false, false, None, String::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--quick" => quick = true,
            "--plot" => plot = arguments.next(),
            "--only" => only = arguments.next().unwrap_or_default(),
            // How this program starts itself again.
            "--serve" => return pool::serve(arguments.next().as_deref()),
            "--operations" => {
                let words: Vec<String> = arguments.collect();
                return run_operations(&words);
            }
            other => {
                eprintln!("unknown argument {other}; there are --json, --quick, --plot FILE, --only TEXT");
                return ExitCode::from(2);
            }
        }
    }
    let effort = if quick { Effort::Quick } else { Effort::Full };
    let mut outcomes = Vec::new();
    if !json {
        report::head();
    }
    for row in rows().iter_mut().filter(|row| row.name.contains(&only)) {
        let outcome = measure::row(row, effort);
        report::print(&outcome, json);
        outcomes.push(outcome);
    }
    for outcome in pool::outcomes(&only, effort) {
        match outcome {
            Ok(outcome) => {
                report::print(&outcome, json);
                outcomes.push(outcome);
            }
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if let Some(path) = plot
        && let Err(error) = std::fs::write(&path, plot::svg(&outcomes))
    {
        eprintln!("can't write {path}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn rows() -> Vec<measure::Row> {
    let mut rows = handshake::rows();
    rows.extend(record::rows());
    rows.extend(codec::rows());
    rows.extend(share::rows());
    rows
}

/// `--operations ROW SIDE COUNT`: nothing but these operations, for valgrind.
fn run_operations(words: &[String]) -> ExitCode {
    let [row, side, count] = words else { return ExitCode::from(2) };
    let Ok(count) = count.parse() else { return ExitCode::from(2) };
    let mut rows = rows();
    let Some(row) = rows.iter_mut().find(|known| known.name == *row) else { return ExitCode::from(2) };
    let side = if side == "peer" { row.peer.as_mut().map(|(_, side)| side) } else { Some(&mut row.ours) };
    let Some(side) = side else { return ExitCode::from(2) };
    side(count);
    ExitCode::SUCCESS
}
