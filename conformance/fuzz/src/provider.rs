//! A template provider with a client that sends what it likes, beside an honest pool.

use adit::buffer::{Input, Output};
use adit::connection::{Connection, Event, Progress, ResponderConfig, Security, SetupPolicy};
use adit::message::Message;
use adit::message::common::SetupConnection;
use adit::protocol::{Responder, TemplateDistribution};
use adit::session::Session;
use adit::template::book::Basis;
use adit::template::server::Request;
use adit::time::Instant;
use adit::wire::Revision;

use super::handshake::WALL;
use super::house::House;
use super::script::Script;
use super::session::SETUP;

/// Operations.
pub fn provider(data: &[u8]) {
    let mut script = Script::new(data);
    let mut house = House::new(1);
    house.new_block();
    house.pool.provider_connected();
    house.sync();
    house.honest();
    let config = ResponderConfig::new(Security::Plain, SetupPolicy::new(0));
    let connection = Connection::<Responder, TemplateDistribution>::responder(&config, [0; 32], Instant::ORIGIN);
    let mut session = Session::new(connection, Input::new(vec![0; 4_096]), Output::new(vec![0; 4_096]));
    let mut setup = [0; 256];
    let asked = SetupConnection { protocol: 2, ..SETUP };
    let n = asked.encode_frame(&mut setup, Revision::Draft).expect("a setup");
    session.input_space()[..n].copy_from_slice(&setup[..n]);
    session.commit_input(n).expect("there was space");
    let (mut id, mut over, mut operations) = (None, false, 0);
    loop {
        while !over {
            match session.advance(house.now, WALL) {
                Ok(Progress::Event(token)) => {
                    let Ok((event, mut out)) = session.take_event(token) else {
                        over = true;
                        break;
                    };
                    match (event, id) {
                        (Event::Opened(_), _) => id = house.provider.connect(Revision::Draft).ok(),
                        (Event::Message(message), Some(id)) => {
                            match house.provider.handle(house.now, id, message, &mut out) {
                                Ok(Some(Request::Transactions(template))) => {
                                    let known = house.provider.template(template);
                                    assert!(known.is_some(), "transactions of a template that there is not");
                                    let _ = house.provider.send_transactions(id, template, &[], &[], &mut out);
                                }
                                Ok(Some(Request::Solution(solution))) => {
                                    assert!(house.provider.template(solution.template_id).is_some());
                                }
                                Ok(_) => {}
                                Err(_) => over = true,
                            }
                        }
                        _ => {}
                    }
                }
                Ok(Progress::NeedInput | Progress::NeedOutput) => break,
                Ok(Progress::NeedSpace(bytes)) => panic!("{bytes} bytes for a buffer that can't grow"),
                Ok(Progress::Closed) | Err(_) => over = true,
            }
        }
        if over && let Some(id) = id.take() {
            house.provider.disconnect(id);
        }
        operations += 1;
        if script.is_empty() || operations > 200 {
            break;
        }
        match script.byte() % 8 {
            4 => {
                if let Some(id) = id {
                    let _ = house.provider.poll_outbound(id, &mut session.outbound());
                }
            }
            5 => {
                let n = session.output().len();
                session.consume_output(n).expect("what is filled");
            }
            6 => {
                house.later(script.byte());
            }
            7 => {
                match script.byte() % 3 {
                    0 => {
                        house.template(Basis::Tip);
                    }
                    1 => {
                        house.template(Basis::Next);
                    }
                    _ => house.new_block(),
                }
                house.sync();
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
    house.check_honest();
}
