//! A mining device on the core alone: a socket that blocks, one thread, no runtime. It opens a standard channel, searches each job for a share, and
//! ends when the pool has accepted one.
//!
//! ```sh
//! cargo run --release -p adit --example blocking_device -- stratum2+tcp://127.0.0.1:3333/KEY account.worker
//! ```

#![allow(clippy::disallowed_methods, reason = "what the core takes as arguments has to come from somewhere")]

#[allow(unreachable_pub, reason = "public where it is pasted")]
mod mine;

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use adit::address::{Host, Url};
use adit::buffer::{Input, Output};
use adit::connection::{Connection, InitiatorConfig, Security};
use adit::noise::x25519::{self, Authentication};
use adit::role::device::{Device, DeviceConfig, Endpoint};
use adit::role::upstream::authority;
use adit::session::{Session, Stopped};
use adit::time::{Instant, UnixTime};
use mine::mine;

const USAGE: &str = "usage: blocking_device URL USER

  URL   the pool's, with its authority key: stratum2+tcp://host[:port]/KEY
  USER  account and worker, as the pool knows them: account.worker";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, user] = &arguments[..] else {
        if arguments == ["--help"] || arguments == ["-h"] {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(url, user) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(url: &str, user: &str) -> Result<(), Box<dyn Error>> {
    // Whom to connect to, and under which key: without one nobody could tell the pool from an impostor.
    let url = Url::parse(url)?;
    let key = authority(&url)?;
    let config = DeviceConfig::new(user, "Adit", "blocking example", env!("CARGO_PKG_VERSION"), "");
    config.check().map_err(|error| format!("USER: {error}"))?;
    let host = match url.host {
        Host::Name(name) => name.to_owned(),
        Host::Address(address) => address.to_string(),
    };
    let link = TcpStream::connect((host.as_str(), url.port()))
        .map_err(|error| format!("no connection to {host}:{}: {error}", url.port()))?;
    link.set_nodelay(true)?;
    link.set_read_timeout(Some(Duration::from_secs(120)))?;

    // What the core does not have: time, as a clock that never goes back and as a date for certificates, and entropy, fresh for each connection.
    let start = std::time::Instant::now();
    let clock = || {
        let date = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = UnixTime::from_secs(u32::try_from(date.as_secs()).unwrap_or(u32::MAX));
        (Instant::ORIGIN.saturating_add(start.elapsed()), date)
    };
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)?;

    let noise = x25519::InitiatorConfig::new(Authentication::Authority(key));
    let initiator = InitiatorConfig::new(Security::Noise(noise));
    let connection = Connection::initiator(&initiator, entropy, clock().0);
    let mut session = Session::new(connection, Input::new([0; 1024]), Output::new([0; 1024]));
    let mut device = Device::new(config);
    device.connecting(Endpoint::new(&host, url.port())?);
    let share = mine(link, &mut session, &mut device, clock).map_err(|error| match error.downcast_ref() {
        Some(Stopped::Link(error)) if is_silence(error) => "the pool has said nothing for two minutes".into(),
        _ => error,
    })?;
    println!("share {share} accepted");
    Ok(())
}

/// The link's time limit, which systems call one or the other.
fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
