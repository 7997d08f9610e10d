//! What both examples need: a server by its URL, and a person who presses Enter.

use std::{error::Error, io};

use adit::{
    address::{Host, Url},
    connection::{InitiatorConfig, Security},
    noise::x25519::{self, Authentication},
};
use adit_smol::upstream::Server;

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
