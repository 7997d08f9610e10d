use adit::mining::client::Work;
use adit_embassy::hashing::{Engine, Found};
use embedded_io_async::{Read, Write};

/// Chips on a serial line. A job goes to them as 90 bytes: an id, then what a header is made of; an answer has 10 bytes.
pub struct Chips<R, W> {
    from: R,
    to: W,
    /// Jobs that the chips may still answer for, by their id: serial, version and time of each.
    jobs: [Option<(u64, u32, u32)>; 4],
    id: u8,
    /// An answer as far as it has come: kept here, so that dropping `next` loses nothing.
    answer: [u8; 10],
    received: usize,
}

impl<R: Read, W: Write> Chips<R, W> {
    pub fn new(from: R, to: W) -> Self {
        Self { from, to, jobs: [None; 4], id: 0, answer: [0; 10], received: 0 }
    }
}

#[derive(Debug)]
pub struct LineBroken;

impl<R: Read, W: Write> Engine for Chips<R, W> {
    type Error = LineBroken;

    async fn start(&mut self, work: &Work) -> Result<(), LineBroken> {
        self.id = (self.id + 1) % 4;
        self.jobs[usize::from(self.id)] = Some((work.serial, work.version, work.min_ntime));
        let mut job = [0; 90];
        job[0] = 0xAA; // a job begins; the chips drop what they are at
        job[1] = self.id;
        job[2..6].copy_from_slice(&work.version_mask.to_be_bytes());
        job[6..10].copy_from_slice(&work.target.to_le_bytes()[28..]); // they compare the top word only
        job[10..].copy_from_slice(&work.header(work.version, work.min_ntime, 0).to_bytes());
        self.to.write_all(&job).await.map_err(|_| LineBroken)
    }

    async fn stop(&mut self) -> Result<(), LineBroken> {
        self.to.write_all(&[0xAB; 90]).await.map_err(|_| LineBroken) // rest
    }

    async fn next(&mut self) -> Result<Found, LineBroken> {
        loop {
            while self.received < self.answer.len() {
                match self.from.read(&mut self.answer[self.received..]).await {
                    Ok(0) | Err(_) => return Err(LineBroken),
                    Ok(n) => self.received += n,
                }
            }
            self.received = 0;
            let [0x55, id, n0, n1, n2, n3, v0, v1, v2, v3] = self.answer else {
                // Out of step: look for the beginning of the next answer.
                self.answer.rotate_left(1);
                self.received = self.answer.len() - 1;
                continue;
            };
            if let Some((serial, _, ntime)) = self.jobs[usize::from(id % 4)] {
                let nonce = u32::from_be_bytes([n0, n1, n2, n3]);
                let version = u32::from_be_bytes([v0, v1, v2, v3]);
                return Ok(Found { serial, version, ntime, nonce });
            }
        }
    }
}
