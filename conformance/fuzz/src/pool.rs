//! A pool with a client that sends what it likes, while time passes, blocks come and shares are stored.

use adit::buffer::{Input, Output};
use adit::connection::{Connection, Event, Progress, ResponderConfig, Security, SetupPolicy};
use adit::message::Message;
use adit::message::common::SetupConnection;
use adit::message::mining::SetupFlags;
use adit::protocol::{Mining, Responder};
use adit::role::ConnectionId;
use adit::role::pool::AcceptAll;
use adit::session::Session;
use adit::template::book::Basis;
use adit::time::Instant;
use adit::wire::Revision;

use super::handshake::WALL;
use super::house::House;
use super::script::Script;
use super::session::SETUP;

/// The hostile client's connection.
struct Hostile {
    session: Session<Responder, Mining, Vec<u8>>,
    id: Option<ConnectionId>,
    over: bool,
}

impl Hostile {
    fn new(flags: u8) -> Self {
        let config = ResponderConfig::new(Security::Plain, SetupPolicy::new(7));
        let connection = Connection::responder(&config, [0; 32], Instant::ORIGIN);
        let session = Session::new(connection, Input::new(vec![0; 2_048]), Output::new(vec![0; 4_096]));
        let mut hostile = Self { session, id: None, over: false };
        let mut setup = [0; 256];
        let asked = SetupConnection { flags: u32::from(flags & 7), ..SETUP };
        let n = asked.encode_frame(&mut setup, Revision::Draft).expect("a setup");
        hostile.put(&setup[..n]);
        hostile
    }

    fn put(&mut self, bytes: &[u8]) {
        let space = self.session.input_space();
        let n = bytes.len().min(space.len());
        space[..n].copy_from_slice(&bytes[..n]);
        self.session.commit_input(n).expect("there was space");
    }

    /// Lets the pool handle what came.
    fn advance(&mut self, house: &mut House) {
        while !self.over {
            match self.session.advance(house.now, WALL) {
                Ok(Progress::Event(token)) => {
                    let Ok((event, mut out)) = self.session.take_event(token) else {
                        self.over = true;
                        break;
                    };
                    match event {
                        Event::Opened(setup) => {
                            let flags = SetupFlags::from_bits(setup.flags);
                            self.id = house.pool.connect(house.now, Revision::Draft, flags).ok();
                            self.over |= self.id.is_none();
                        }
                        Event::Message(message) => {
                            let Some(id) = self.id else { continue };
                            match house.pool.handle(house.now, id, &message, &mut AcceptAll, &mut out) {
                                Ok(event) => house.note(&event),
                                Err(_) => self.over = true,
                            }
                        }
                        _ => {}
                    }
                }
                Ok(Progress::NeedInput | Progress::NeedOutput) => break,
                Ok(Progress::NeedSpace(bytes)) => panic!("{bytes} bytes for a buffer that can't grow"),
                Ok(Progress::Closed) | Err(_) => self.over = true,
            }
        }
        if self.over
            && let Some(id) = self.id.take()
        {
            house.pool.disconnect(id);
        }
    }
}

/// Two bytes for the flags of the setup, then operations.
pub fn pool(data: &[u8]) {
    let mut script = Script::new(data);
    let mut house = House::new(1);
    house.new_block();
    house.pool.provider_connected();
    house.sync();
    house.honest();
    let mut hostile = Hostile::new(script.byte());
    hostile.advance(&mut house);
    let mut operations = 0;
    while !script.is_empty() && operations < 200 {
        operations += 1;
        match script.byte() % 16 {
            // The pool does not wait for a slow reader: what does not fit is told later.
            8 => {
                if let Some(id) = hostile.id {
                    let _ = house.pool.poll_outbound(id, &mut hostile.session.outbound());
                }
            }
            9 => {
                let n = hostile.session.output().len().min(usize::from(script.byte()) * 16);
                hostile.session.consume_output(n).expect("what is filled");
            }
            10 => house.later(script.byte()),
            11 => {
                house.template(if script.byte() & 1 == 0 { Basis::Tip } else { Basis::Next });
                house.sync();
            }
            12 => {
                house.new_block();
                house.sync();
            }
            13 => house.pool.stored(house.ticket),
            14 => {
                if let Some(id) = hostile.id.take() {
                    house.pool.disconnect(id);
                }
                hostile = Hostile::new(script.byte());
            }
            15 => {
                let len = usize::from(script.byte());
                hostile.put(script.take(len));
            }
            _ => {
                let frame = script.frame();
                hostile.put(&frame);
            }
        }
        hostile.advance(&mut house);
    }
    house.check_honest();
}
