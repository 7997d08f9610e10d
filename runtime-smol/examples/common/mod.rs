//! What both examples need: their arguments, and a person who presses Enter.

use std::{error::Error, io, process::ExitCode};

/// Runs an example with exactly `N` arguments. `--help` shows the usage, with status 0; another number of arguments is status 2, an error 1.
pub(crate) fn main<const N: usize>(
    usage: &str,
    run: impl FnOnce([String; N]) -> Result<(), Box<dyn Error>>,
) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{usage}");
        return ExitCode::SUCCESS;
    }
    let Ok(arguments) = arguments.try_into() else {
        eprintln!("{usage}");
        return ExitCode::from(2);
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for Enter, or for the end of the input.
pub(crate) async fn enter() {
    // What was typed, or what went wrong, makes no difference.
    let _line = smol::unblock(|| io::stdin().read_line(&mut String::new())).await;
}
