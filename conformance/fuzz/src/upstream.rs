//! A pool whose template provider says what it likes; afterwards an honest one takes its place.

use adit::buffer::{Input, Output};
use adit::connection::{Connection, Event, InitiatorConfig, Progress, Security};
use adit::message::Message;
use adit::message::common::{SetupConnection, SetupConnectionSuccess};
use adit::protocol::{Initiator, TemplateDistribution};
use adit::session::Session;
use adit::time::Instant;
use adit::wire::Revision;

use super::handshake::WALL;
use super::house::{House, LATE_ID};
use super::script::Script;
use super::session::SETUP;

/// Operations.
pub fn upstream(data: &[u8]) {
    let mut script = Script::new(data);
    let mut house = House::new(LATE_ID);
    house.honest();
    let connection = Connection::<Initiator, TemplateDistribution>::initiator(
        &InitiatorConfig::new(Security::Plain),
        [0; 32],
        Instant::ORIGIN,
    );
    let mut session = Session::new(connection, Input::new(vec![0; 4_096]), Output::new(vec![0; 4_096]));
    let mut answer = [0; 64];
    let success = SetupConnectionSuccess { used_version: 2, flags: 0 };
    let n = success.encode_frame(&mut answer, Revision::Draft).expect("an answer");
    session.input_space()[..n].copy_from_slice(&answer[..n]);
    session.commit_input(n).expect("there was space");
    let (mut over, mut operations) = (false, 0);
    loop {
        while !over {
            match session.advance(house.now, WALL) {
                Ok(Progress::Event(token)) => {
                    let Ok((event, mut out)) = session.take_event(token) else {
                        over = true;
                        break;
                    };
                    match event {
                        Event::Secured(_) => {
                            out.send(&SetupConnection { protocol: 2, ..SETUP }).expect("room for the setup");
                        }
                        Event::Opened(_) => {
                            house.pool.provider_connected();
                            house.pool.poll_provider_outbound(&mut out).expect("room");
                        }
                        Event::Message(message) => over |= house.pool.handle_provider(house.now, message).is_err(),
                        _ => {}
                    }
                }
                Ok(Progress::NeedInput | Progress::NeedOutput) => break,
                Ok(Progress::NeedSpace(bytes)) => panic!("{bytes} bytes for a buffer that can't grow"),
                Ok(Progress::Closed) | Err(_) => over = true,
            }
        }
        operations += 1;
        if over || script.is_empty() || operations > 200 {
            break;
        }
        match script.byte() % 8 {
            5 => {
                let n = session.output().len();
                session.consume_output(n).expect("what is filled");
                if house.pool.provider_wants_outbound() {
                    let _ = house.pool.poll_provider_outbound(&mut session.outbound());
                }
            }
            6 => house.later(script.byte()),
            _ => {
                let frame = script.frame();
                let space = session.input_space();
                let n = frame.len().min(space.len());
                space[..n].copy_from_slice(&frame[..n]);
                session.commit_input(n).expect("there was space");
            }
        }
    }
    house.pool.provider_lost();
    house.new_block();
    house.pool.provider_connected();
    house.sync();
    house.check_honest();
}
