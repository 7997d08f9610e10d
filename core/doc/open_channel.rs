use adit::connection::Event;
use adit::message::common::SetupConnection;
use adit::message::mining::{OpenStandardMiningChannel, ToClient};
use adit::protocol::{Initiator, Mining};
use adit::session::{Io, Session};
use adit::time::{Instant, UnixTime};
use std::io::{Read, Write};

/// Opens a channel at a pool, over any stream of bytes: says who we are, then what we want.
pub fn open_channel(
    mut link: impl Read + Write,
    session: &mut Session<Initiator, Mining, [u8; 1024]>,
    hello: &SetupConnection<'_>,
    wish: &OpenStandardMiningChannel<'_>,
    clock: impl Fn() -> (Instant, UnixTime),
) -> Result<u32, Box<dyn std::error::Error>> {
    loop {
        let token = session.until_event(&clock, |io| match io {
            Io::Read(space) => link.read(space),
            Io::Write(bytes) => link.write(bytes),
        })?;
        match session.take_event(token)? {
            (Event::Secured(_), mut pool) => pool.send(hello)?,
            (Event::Opened(_), mut pool) => pool.send(wish)?,
            (Event::Message(ToClient::OpenStandardMiningChannelSuccess(channel)), _) => return Ok(channel.channel_id),
            (other, _) => return Err(format!("the pool answers {other:?}").into()),
        }
    }
}
