//! What both examples need: their arguments, a server by its URL, and a person who presses Enter.

use std::{error::Error, io, process::ExitCode};

use adit::{
    address::{Host, Url},
    connection::{InitiatorConfig, Security},
    noise::x25519::{self, Authentication},
};
use adit_smol::upstream::Server;

/// Runs an example with exactly `N` arguments. `--help` shows the usage, with status 0; another number of arguments is status 2, an error 1.
pub(crate) fn main<const N: usize>(
    usage: &str,
    run: impl FnOnce([String; N]) -> Result<(), Box<dyn Error>>,
) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("usage: {usage}");
        return ExitCode::SUCCESS;
    }
    let Ok(arguments) = arguments.try_into() else {
        eprintln!("usage: {usage}");
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

/// The server at `stratum2+tcp://host[:port]/KEY`. Without a key nobody could say who answers, so that is an error.
pub(crate) fn server(url: &str) -> Result<Server, Box<dyn Error>> {
    let url = Url::parse(url)?;
    let key = url.key.ok_or("the URL has no key: stratum2+tcp://host[:port]/KEY")?;
    let host = match url.host {
        Host::Name(name) => name.to_owned(),
        Host::Address(address) => address.to_string(),
    };
    let authentication = Authentication::Authority(*key.as_bytes());
    let connection = InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(authentication)));
    Ok(Server { host, port: url.port(), connection })
}

/// Waits for Enter, or for the end of the input.
pub(crate) async fn enter() {
    // What was typed, or what went wrong, makes no difference.
    let _line = smol::unblock(|| io::stdin().read_line(&mut String::new())).await;
}
