use adit::mining::client::{Solution, Work};
use adit::protocol::{Initiator, Mining};
use adit::role::device::{Device, Outcome};
use adit::session::{Io, Session};
use adit::time::{Instant, UnixTime};
use std::io::{Read, Write};

/// Mines over any stream of bytes until the pool has accepted a share, whose number on the channel it gives.
pub fn mine(
    mut link: impl Read + Write,
    session: &mut Session<Initiator, Mining, [u8; 1024]>,
    device: &mut Device<&str>,
    clock: impl Fn() -> (Instant, UnixTime),
) -> Result<u32, Box<dyn std::error::Error>> {
    loop {
        let token = session.until_event(&clock, |io| match io {
            Io::Read(space) => link.read(space),
            Io::Write(bytes) => link.write(bytes),
        })?;
        let (event, mut pool) = session.take_event(token)?;
        match device.handle(clock().0, &event, &mut pool)? {
            Outcome::NewWork => {
                if let Some(share) = device.work().and_then(search) {
                    device.submit(clock().0, &share, &mut pool)?;
                }
            }
            Outcome::Accepted { last_sequence_number, .. } => return Ok(last_sequence_number),
            Outcome::Rejected { error_code, .. } => println!("rejected: {error_code}; there is other work by now"),
            Outcome::Done | Outcome::Ready | Outcome::ChannelOpened { .. } | Outcome::NoWork | Outcome::NewTarget => {}
            other => return Err(format!("the pool answers {other:?}").into()),
        }
    }
}

/// The first nonce whose hash is a share.
fn search(work: Work) -> Option<Solution> {
    let is_share = |nonce: &u32| work.target.is_met_by(&work.header(work.version, work.min_ntime, *nonce).hash());
    let nonce = (0..=u32::MAX).find(is_share)?;
    Some(work.solution(work.version, work.min_ntime, nonce))
}
