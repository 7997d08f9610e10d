//! A device with a server that says what it likes.

use adit::buffer::{Input, Output};
use adit::config::{DEVICE_INPUT, DEVICE_OUTPUT};
use adit::connection::{Connection, InitiatorConfig, Progress, Security};
use adit::error::Error;
use adit::mining::client::NotSent;
use adit::protocol::{Initiator, Mining};
use adit::role::device::{Device, DeviceConfig, Endpoint, Outcome};
use adit::session::Session;
use adit::time::Instant;
use std::time::Duration;

use super::handshake::WALL;
use super::script::Script;

const CONFIG: DeviceConfig = DeviceConfig::new("worker", "Adit", "fuzz", "1", "");

/// A byte for the device's configuration, then operations.
pub fn device(data: &[u8]) {
    let mut script = Script::new(data);
    let flags = script.byte();
    let config = DeviceConfig { standard_jobs_only: flags & 1 != 0, version_rolling: flags & 2 != 0, ..CONFIG };
    let mut device = Device::new(config);
    device.connecting(Endpoint::new("pool.example", 34_254).expect("short"));
    let mut now = Instant::from_secs(1_000);
    let connection = Connection::<Initiator, Mining>::initiator(&InitiatorConfig::new(Security::Plain), [0; 32], now);
    let (input, output) = (Input::new([0; DEVICE_INPUT]), Output::new([0; DEVICE_OUTPUT]));
    let mut session = Session::new(connection, input, output);
    let (mut over, mut submitted) = (false, 0);
    let mut changes = (device.changes(), device.work());
    while !over {
        loop {
            match session.advance(now, WALL) {
                Ok(Progress::Event(token)) => {
                    let Ok((event, mut out)) = session.take_event(token) else {
                        over = true;
                        break;
                    };
                    match device.handle(now, &event, &mut out) {
                        Ok(Outcome::Fatal(why)) => {
                            assert_eq!(device.work(), None, "work after {why}");
                            over = true;
                        }
                        Ok(Outcome::SetupRefused { .. } | Outcome::Reconnect(_)) | Err(_) => over = true,
                        Ok(_) => {}
                    }
                }
                Ok(Progress::NeedInput | Progress::NeedOutput) => break,
                Ok(Progress::NeedSpace(bytes)) => panic!("{bytes} bytes for a buffer that can't grow"),
                Ok(Progress::Closed) | Err(_) => {
                    over = true;
                    break;
                }
            }
        }
        let seen = (device.changes(), device.work());
        assert!(seen.1 == changes.1 || seen.0 != changes.0, "the work changed and nobody was told");
        changes = seen;
        if script.is_empty() || over {
            break;
        }
        match script.byte() % 8 {
            5 => {
                now = now.saturating_add(Duration::from_secs(u64::from(script.byte())));
                over |= session.handle_timeout(now).is_err();
                over |= matches!(device.handle_timeout(now), Outcome::Fatal(_));
            }
            6 => {
                let n = session.output().len();
                session.consume_output(n).expect("what is filled");
                if device.wants_outbound() {
                    match device.poll_outbound(now, &mut session.outbound()) {
                        Ok(()) | Err(Error::Full) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            7 => {
                let Some(work) = device.work() else { continue };
                let (bits, nonce) = (u32::from(script.u16()) << 13 & work.version_mask, u32::from(script.byte()));
                let solution = work.solution(work.version ^ bits, work.max_ntime(now), nonce);
                match device.submit(now, &solution, &mut session.outbound()) {
                    Ok(_) => submitted += 1,
                    Err(NotSent::Send(Error::Full)) => {}
                    Err(why) => panic!("work that can't be submitted: {why}"),
                }
            }
            _ => {
                let frame = script.frame();
                let space = session.input_space();
                let n = frame.len().min(space.len());
                space[..n].copy_from_slice(&frame[..n]);
                session.commit_input(n).expect("there was space");
            }
        }
    }
    let statistics = device.statistics();
    assert_eq!(statistics.submitted, submitted);
    assert!(statistics.accepted + statistics.rejected + statistics.lost <= submitted, "more answers than shares");
    device.reset();
    assert_eq!(device.work(), None);
}
