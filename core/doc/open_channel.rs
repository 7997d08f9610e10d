use adit::buffer::{Input, Output};
use adit::connection::{Connection, Event, InitiatorConfig, Progress};
use adit::message::common::SetupConnection;
use adit::message::mining::{OpenStandardMiningChannel, ToClient};
use adit::protocol::{Initiator, Mining};
use adit::session::Session;
use adit::time::{Instant, UnixTime};
use std::error::Error;
use std::io::{Read, Write};

/// Connects to a pool and opens a channel, over any stream of bytes.
pub fn open_channel<L: Read + Write>(
    mut link: L,
    config: &InitiatorConfig,             // whose key to trust, which revision, which limits
    hello: &SetupConnection<'_>,          // who we are
    wish: &OpenStandardMiningChannel<'_>, // what we want
    entropy: [u8; 32],
    clock: impl Fn() -> (Instant, UnixTime),
) -> Result<u32, Box<dyn Error>> {
    let connection = Connection::initiator(config, entropy, clock().0);
    let mut session = Session::<Initiator, Mining, _>::new(connection, Input::new([0; 1024]), Output::new([0; 1024]));
    loop {
        let (now, wall) = clock();
        match session.advance(now, wall)? {
            Progress::Event(token) => match session.take_event(token)? {
                (Event::Secured(_), mut pool) => pool.send(hello)?,
                (Event::Opened(_), mut pool) => pool.send(wish)?,
                (Event::Message(ToClient::OpenStandardMiningChannelSuccess(channel)), _) => {
                    return Ok(channel.channel_id);
                }
                (other, _) => return Err(format!("the pool answers {other:?}").into()),
            },
            _ if !session.output().is_empty() => {
                let sent = link.write(session.output())?;
                session.consume_output(sent)?;
            }
            Progress::NeedInput => match link.read(session.input_space())? {
                0 => session.handle_eof(),
                received => session.commit_input(received)?,
            },
            other => return Err(format!("no channel: {other:?}").into()),
        }
    }
}
