//! Adit's figures: ours and a peer in turns in one process, with the limit that the primitives set.
//!
//! Each row is measured in rounds: ours, the peer, the limit, and again. The fastest round counts, since whatever else a machine does
//! only ever makes one slower. `--json` prints one object a row, `--docs DIR` writes the page and the drawing, `--only TEXT` takes the rows
//! whose name contains it, `--quick` takes fewer rounds and no instructions.
//!
//! The exit status is a failure when a row allocates that must not. Times never fail it: they are the machine's.

mod codec;
mod docs;
mod handshake;
mod lines;
mod measure;
mod plot;
mod pool;
mod primitive;
mod record;
mod report;
mod share;

use std::{path::Path, process::ExitCode};

use measure::{Counting, Effort};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut json, mut quick, mut docs, mut only) = (false, false, None, String::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--quick" => quick = true,
            "--docs" => docs = arguments.next(),
            "--only" => only = arguments.next().unwrap_or_default(),
            // How this program starts itself again.
            "--serve" => return pool::serve(arguments.next().as_deref(), arguments.next().as_deref()),
            "--operations" => {
                let words: Vec<String> = arguments.collect();
                return run_operations(&words);
            }
            other => {
                eprintln!("unknown argument {other}; there are --json, --quick, --docs DIR, --only TEXT");
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
    if let Some(folder) = docs
        && let Err(error) = docs::write(Path::new(&folder), &outcomes)
    {
        eprintln!("can't write to {folder}: {error}");
        return ExitCode::FAILURE;
    }
    let mut status = ExitCode::SUCCESS;
    for outcome in outcomes.iter().filter(|outcome| outcome.allocates()) {
        eprintln!("\"{}\" allocates, which it must not", outcome.name);
        status = ExitCode::FAILURE;
    }
    status
}

fn rows() -> Vec<measure::Row> {
    let mut rows = handshake::rows();
    rows.extend(record::rows());
    rows.extend(codec::rows());
    rows.extend(share::rows());
    rows.extend(primitive::rows());
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
