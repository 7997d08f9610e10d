//! A device that blocks: one of the thousands whose pool is measured.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use adit::{
    buffer::{Input, Output},
    connection::{Connection, Event, InitiatorConfig, Progress, Security, Token},
    message::{
        common::SetupConnection,
        mining::{OpenStandardMiningChannel, SetupFlags, SubmitSharesStandard, ToClient},
    },
    noise::x25519::{self, Authentication},
    protocol::{Initiator, Mining, Protocol},
    session::Session,
    time::{Instant, UnixTime},
    wire::U256,
};
use adit_native::crypto::AwsLc;

use super::{Client, Failure};

/// A connection that gives up on a server that says nothing.
pub(super) fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// A device that waits for each answer.
pub(super) struct Device {
    stream: TcpStream,
    session: Session<Initiator, Mining, Vec<u8>, Vec<u8>, AwsLc>,
    channel: u32,
    job: u32,
    version: u32,
    ntime: u32,
    nonce: u32,
    acknowledged: u32,
}

impl Device {
    /// Connects, opens a channel, and has its first job.
    pub(super) fn new(address: SocketAddr, n: u32) -> Result<Self, Failure> {
        let stream = connect(address)?;
        let config = InitiatorConfig::new(Security::Noise(x25519::InitiatorConfig::new(Authentication::AcceptAnyone)));
        let mut entropy = [3; 32];
        entropy[..4].copy_from_slice(&n.to_le_bytes());
        let session = Session::new(
            Connection::initiator(&config, entropy, Instant::ORIGIN),
            Input::new(vec![0; 2_048]),
            Output::new(vec![0; 2_048]),
        );
        let mut device = Self { stream, session, channel: 0, job: 0, version: 0, ntime: 0, nonce: 0, acknowledged: 0 };
        while device.job == 0 {
            device.turn()?;
        }
        Ok(device)
    }

    /// Takes all that is there; reads more when it is not enough for anything.
    fn turn(&mut self) -> Result<(), Failure> {
        loop {
            let progress = self.session.advance(Instant::ORIGIN, UnixTime::from_secs(1))?;
            self.flush()?;
            match progress {
                Progress::Event(token) => self.take(token)?,
                Progress::NeedInput => break,
                Progress::NeedOutput => {}
                other => return Err(format!("unexpected {other:?}").into()),
            }
        }
        self.flush()?;
        let n = self.stream.read(self.session.input_space())?;
        if n == 0 {
            return Err("the pool closed the connection".into());
        }
        self.session.commit_input(n)?;
        loop {
            match self.session.advance(Instant::ORIGIN, UnixTime::from_secs(1))? {
                Progress::Event(token) => self.take(token)?,
                Progress::NeedInput => break,
                Progress::NeedOutput => self.flush()?,
                other => return Err(format!("unexpected {other:?}").into()),
            }
        }
        self.flush()
    }

    fn take(&mut self, token: Token) -> Result<(), Failure> {
        let (event, mut out) = self.session.take_event(token)?;
        match event {
            Event::Secured(_) => out.send(&SetupConnection {
                protocol: Mining::NUMBER,
                min_version: 2,
                max_version: 2,
                flags: SetupFlags::REQUIRES_STANDARD_JOBS.bits(),
                endpoint_host: "127.0.0.1".into(),
                endpoint_port: 3333,
                vendor: "figures".into(),
                hardware_version: "".into(),
                firmware: "".into(),
                device_id: "".into(),
            })?,
            Event::Opened(_) => out.send(&OpenStandardMiningChannel {
                request_id: 1,
                user_identity: "miner".into(),
                nominal_hash_rate: 0.0,
                max_target: U256::MAX,
            })?,
            Event::Message(ToClient::OpenStandardMiningChannelSuccess(opened)) => self.channel = opened.channel_id,
            Event::Message(ToClient::NewMiningJob(job)) => self.version = job.version,
            Event::Message(ToClient::SetNewPrevHash(prev)) => {
                self.job = prev.job_id;
                self.ntime = prev.min_ntime;
            }
            Event::Message(ToClient::SubmitSharesSuccess(success)) => {
                self.acknowledged += success.new_submits_accepted_count;
            }
            // The easiest target has 24 significant bits: among so many shares one may miss it.
            Event::Message(ToClient::SubmitSharesError(error))
                if error.error_code.as_bytes() == b"difficulty-too-low" =>
            {
                self.acknowledged += 1;
            }
            Event::Message(ToClient::SubmitSharesError(error)) => return Err(format!("{error:?}").into()),
            _ => {}
        }
        Ok(())
    }
}

impl Client for Device {
    fn flush(&mut self) -> Result<(), Failure> {
        let waits = self.session.output().len();
        if waits > 0 {
            self.stream.write_all(self.session.output())?;
            self.session.consume_output(waits)?;
        }
        Ok(())
    }

    fn submit(&mut self) -> Result<(), Failure> {
        self.nonce += 1;
        self.session.outbound().send(&SubmitSharesStandard {
            channel_id: self.channel,
            sequence_number: self.nonce,
            job_id: self.job,
            nonce: self.nonce,
            ntime: self.ntime,
            version: self.version,
        })?;
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        while self.acknowledged < self.nonce {
            self.turn()?;
        }
        Ok(())
    }
}
