//! A device's connections, one after the other.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;

use adit::buffer::{Input, Output};
use adit::connection::{Connection, Event, Security, State, Token};
use adit::crypto::Provider;
use adit::error::Error;
use adit::link::Step;
use adit::mining::client::{NotSent, Solution};
use adit::noise::PeerIdentity;
use adit::protocol::{Initiator, StandardMining};
use adit::role::device::{Device, DeviceConfig, Leaving, Outcome};
use adit::session::Session;
use adit::time::{Instant, earliest};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embedded_io_async::{Read, Write};
use zeroize::Zeroize;

use super::{DeviceTask, Ended, News, Period, Settings};
use crate::clock::{WallClock, WithoutClock, now, poll_due};
use crate::connect::Connect;
use crate::entropy::Entropy;
use crate::hashing::Desk;
use crate::link::{Done, Link, LinkError, Turn};
use crate::upstream::{Server, Upstream};

/// How long a device that is sent elsewhere, or stops, waits for the answers to its shares.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

impl<C, E, M, P, const N: usize> DeviceTask<'_, C, E, M, N, P>
where
    C: Connect,
    E: Entropy,
    M: RawMutex,
    P: Provider,
{
    /// Keeps the device connected: connects, mines, waits and connects again. Returns when `stop` is ready, after the shares that were found have been
    /// sent and answered, or five seconds; hand in [`pending`](core::future::pending) to run for ever.
    ///
    /// The future may be dropped at any await. A connection that is open is cut off then, its unanswered shares count as lost, and the desk still has the
    /// old work; calling `run` anew begins with the wait that is due, or with the next connection. [`Self::reset`] takes the work away.
    pub async fn run(&mut self, stop: impl Future<Output = ()>, mut news: impl FnMut(News<'_>)) {
        let mut stop = pin!(stop);
        self.reset();
        loop {
            let wait = self.miner.upstream.wait;
            let waiting = poll_fn(|cx| match stop.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => poll_due(Some(wait), cx).map(|()| false),
            });
            if waiting.await {
                return;
            }
            // One attempt, and the connection that it leads to. Not a future of its own, which would have a state beside this one's.
            'attempt: {
                let mut key = [0; 32];
                let Some(server) = self.miner.prepare(&mut self.entropy, &mut key) else { break 'attempt };
                news(News::Connecting(self.miner.device.endpoint()));
                {
                    let stream = {
                        let until = now().saturating_add(self.miner.settings.upstream.connect_limit);
                        let mut connecting = pin!(self.network.connect(self.miner.device.endpoint(), until));
                        poll_fn(|cx| match stop.as_mut().poll(cx) {
                            Poll::Ready(()) => Poll::Ready(None),
                            Poll::Pending => connecting.as_mut().poll(cx).map(Some),
                        })
                        .await
                    };
                    let (reader, writer) = match stream {
                        None => break 'attempt,
                        Some(Ok(stream)) => stream,
                        Some(Err(error)) => {
                            self.miner.why = Some(Ended::Connect(error));
                            break 'attempt;
                        }
                    };
                    news(News::Connected);
                    let buffers = (&mut self.input[..], &mut self.output[..]);
                    let link = &mut self.miner.link::<P, _, _>(server, &mut key, buffers, (reader, writer));
                    let mut running = Running {
                        miner: &mut self.miner,
                        link,
                        leaving: None,
                        news: &mut news,
                        wake: None,
                        stopped: false,
                        done: Done::default(),
                    };
                    while let Ok(read) = running.go_on() {
                        let Running { miner, link, leaving, wake, stopped, .. } = &mut running;
                        // A stop is heard once.
                        let stopping = leaving.is_some();
                        let ask = |cx: &mut Context<'_>| {
                            *stopped = !stopping && stop.as_mut().poll(cx).is_ready();
                            if *stopped { Poll::Ready(()) } else { miner.poll(*wake, cx) }
                        };
                        running.done = link.wait(read, ask).await;
                    }
                    if let Some(leaving) = running.leaving {
                        running.miner.why = leaving.into_why().then_some(Ended::Elsewhere);
                    }
                }
                // The stream's halves are gone; what stands in them still leaves.
                self.network.close(now().saturating_add(self.miner.settings.upstream.close_limit)).await;
            }
            self.reset();
            let Some(ended) = &self.miner.why else { return };
            let sent = matches!(ended, Ended::Elsewhere);
            let wait = self.miner.upstream.ended(now(), sent, u64::from_le_bytes(self.miner.jitter));
            news(News::Ended(ended, wait));
        }
    }

    /// Nothing is connected: takes the work from the desk, and the shares that lie there, which count for nothing any more.
    pub fn reset(&mut self) {
        self.miner.reset();
    }
}

/// All but the connection: the device, its servers and its desk. Small fields first, in reach of a processor's short instructions.
#[repr(C)]
pub(super) struct Miner<'d, M: RawMutex, const N: usize> {
    settings: &'d Settings<'d>,
    wall: &'d WallClock<M>,
    desk: &'d Desk<M, N>,
    /// [`Device::changes`] when the desk was set last.
    changes: u32,
    /// Random bits for the wait after this attempt.
    jitter: [u8; 8],
    /// The time is known, and the certificate's period is checked with it.
    timed: bool,
    /// Why the last connection ended; nothing while one lasts, and when the owner wants to stop.
    why: Option<Ended>,
    /// A share that found no room in the output yet.
    waiting: Option<Solution>,
    upstream: Upstream<'d>,
    pub(super) device: Device<&'d str, StandardMining>,
}

impl<'d, M: RawMutex, const N: usize> Miner<'d, M, N> {
    pub(super) fn new(
        device: DeviceConfig<&'d str>,
        settings: &'d Settings<'d>,
        wall: &'d WallClock<M>,
        desk: &'d Desk<M, N>,
    ) -> Self {
        Self {
            settings,
            wall,
            desk,
            changes: 0,
            jitter: [0; 8],
            timed: false,
            why: None,
            waiting: None,
            upstream: Upstream::new(&settings.upstream),
            device: Device::standard(device),
        }
    }

    fn reset(&mut self) {
        self.device.reset();
        self.desk.put(None);
        self.changes = self.device.changes();
        self.waiting = None;
        while self.desk.try_found().is_some() {}
    }

    /// Where to connect. Draws the connection's secret, and tells the device; `None` if that cannot be, and why.
    #[cfg_attr(target_os = "none", inline(never))]
    fn prepare(&mut self, entropy: &mut impl Entropy, key: &mut [u8; 32]) -> Option<&'d Server<'d>> {
        self.why = None;
        match self.attempt(entropy, key) {
            Ok(server) => Some(server),
            Err(ended) => {
                self.why = Some(ended);
                None
            }
        }
    }

    fn attempt(&mut self, entropy: &mut impl Entropy, key: &mut [u8; 32]) -> Result<&'d Server<'d>, Ended> {
        // Without entropy the wait is the shortest of its range, which is still a wait.
        self.jitter = [0; 8];
        let server = self.upstream.server().ok_or(Ended::NoServer)?;
        self.device.connecting(self.upstream.endpoint(server).map_err(|_| Ended::NoServer)?);
        entropy.fill(&mut self.jitter).and_then(|()| entropy.fill(key)).map_err(Ended::NoEntropy)?;
        let refused = self.wall.now().is_none() && matches!(self.settings.without_clock, WithoutClock::Refuse);
        if refused && matches!(server.connection.security, Security::Noise(_)) {
            return Err(Ended::NoClock);
        }
        Ok(server)
    }

    /// The link to this server. Without a clock any period of its certificate is good at first. The connection has the key then, and nobody else: who
    /// calls keeps its place for as long as the connection lasts, and longer.
    #[cfg_attr(target_os = "none", inline(never))]
    fn link<'s, P: Provider, R: Read, W: Write>(
        &mut self,
        server: &Server<'_>,
        key: &mut [u8; 32],
        (input, output): (&'s mut [u8], &'s mut [u8]),
        (reader, writer): (R, W),
    ) -> Link<Initiator, StandardMining, P, &'s mut [u8], &'s mut [u8], R, W> {
        let wall = self.wall.now();
        self.timed = wall.is_some();
        let mut config = server.connection;
        if let (None, Security::Noise(noise)) = (wall, &mut config.security) {
            // Any time is in any period, give or take that much; the end is looked at when the handshake is over.
            noise.clock_tolerance = u32::MAX;
        }
        let connection = Connection::initiator(&config, *key, now());
        key.zeroize();
        let session = Session::new(connection, Input::new(input), Output::new(output));
        Link::new(session, wall.unwrap_or_default(), reader, writer, self.settings.link)
    }

    /// Ready when there is a share to send, another hash rate to tell, or the time has come.
    fn poll(&mut self, until: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.is_none()
            && let Poll::Ready(solution) = self.desk.poll_found(cx)
        {
            self.waiting = Some(solution);
            return Poll::Ready(());
        }
        if let Poll::Ready(hash_rate) = self.desk.poll_hash_rate(cx) {
            self.device.set_nominal_hash_rate(now(), hash_rate);
            return Poll::Ready(());
        }
        poll_due(until, cx)
    }
}

/// One connection.
struct Running<'r, 'd, M: RawMutex, P: Provider, I, O, R, W, F, const N: usize> {
    miner: &'r mut Miner<'d, M, N>,
    link: &'r mut Link<Initiator, StandardMining, P, I, O, R, W>,
    /// The end is near: whether it is because the server sends us elsewhere. Otherwise the owner wants to stop.
    leaving: Option<Leaving<bool>>,
    news: &'r mut F,
    /// When to go on, whatever happens.
    wake: Option<Instant>,
    /// The owner wants to stop.
    stopped: bool,
    /// What the last wait ended with.
    done: Done,
}

/// The connection is over; why is said in [`Miner::why`].
struct Over;

impl<M, P, I, O, R, W, F, const N: usize> Running<'_, '_, M, P, I, O, R, W, F, N>
where
    M: RawMutex,
    P: Provider,
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
    R: Read,
    W: Write,
    F: FnMut(News<'_>),
{
    /// The connection is over, for this reason.
    fn over(&mut self, why: Ended) -> Over {
        self.miner.why = Some(why);
        Over
    }

    /// Does what is to be done after a wait, until there is something to wait for again. Whether to read meanwhile.
    #[cfg_attr(target_os = "none", inline(never))]
    fn go_on(&mut self) -> Result<bool, Over> {
        if self.stopped {
            self.leave(false);
        }
        if let Err(error) = self.link.done(&self.done) {
            return Err(self.over(Ended::Link(error)));
        }
        if self.done.asked {
            self.time()?;
        }
        loop {
            let at = now();
            self.publish();
            if self.is_time_to_close(at) {
                self.link.close();
            }
            match self.link.machine.step(at, self.link.wall) {
                Ok(Step::Io(io)) => {
                    let until = self.leaving.as_ref().and_then(Leaving::deadline);
                    self.wake = earliest(io.wake, earliest(self.miner.device.poll_timeout(), until));
                    return Ok(io.read);
                }
                Ok(Step::Turn(Turn::Event(token))) => self.take(token)?,
                Ok(Step::Turn(Turn::Room)) => self.send()?,
                Ok(Step::Turn(Turn::Closed)) => return Err(self.over(Ended::Closed)),
                Err(fault) => return Err(self.over(Ended::Link(fault.into()))),
            }
        }
    }

    /// The end is near: no more work.
    fn leave(&mut self, elsewhere: bool) {
        self.leaving = Some(Leaving::new(elsewhere, Some(now().saturating_add(LAST_ANSWERS))));
        self.miner.desk.put(None);
    }

    /// Whether everything is sent and answered, or the time for it is up.
    fn is_time_to_close(&mut self, at: Instant) -> bool {
        let Some(leaving) = &mut self.leaving else { return false };
        let Miner { waiting, desk, device, .. } = &*self.miner;
        // A share that the hasher has laid down by now still goes out.
        let owed = waiting.is_some() || desk.has_found() || device.statistics().unanswered() != 0;
        leaving.is_time_to_close(self.link.connection().state() == State::Open, owed, at)
    }

    /// Handles an event. One that sends us elsewhere counts unless the device is leaving already.
    #[cfg_attr(target_os = "none", inline(never))]
    fn take(&mut self, token: Token) -> Result<(), Over> {
        let at = now();
        // By reference all the way: an event is large.
        let (event, mut out) = self.link.machine.event_beside(token);
        let event = match &event {
            Ok(event) => event,
            Err(error) => {
                self.miner.why = Some(Ended::Link(LinkError::Connection(*error)));
                return Err(Over);
            }
        };
        if let Event::Secured(peer) = event {
            let period = if self.miner.timed { Period::Checked } else { Period::Unchecked };
            if let (false, WithoutClock::SignatureOnly { built }) =
                (self.miner.timed, self.miner.settings.without_clock)
                && let Some(PeerIdentity::Authenticated { not_valid_after, .. }) = peer
                && *not_valid_after < built
            {
                // Without a clock the certificate's end is looked at now.
                self.miner.why = Some(Ended::Expired(*not_valid_after));
                return Err(Over);
            }
            (self.news)(News::Secured(peer.as_ref(), period));
        }
        let outcome = self.miner.device.handle(at, event, &mut out);
        match &outcome {
            Ok(Outcome::Done) | Err(_) => {}
            Ok(outcome) => (self.news)(News::Outcome(outcome)),
        }
        match outcome {
            Ok(Outcome::Ready) => self.miner.upstream.opened(at),
            Ok(Outcome::SetupRefused { .. }) => return Err(self.over(Ended::Refused)),
            Ok(Outcome::Fatal(fatal)) => return Err(self.over(Ended::Device(fatal))),
            Ok(Outcome::Reconnect(endpoint)) if self.leaving.is_none() => {
                self.miner.upstream.sent(endpoint);
                self.leave(true);
            }
            Err(error) => return Err(self.over(Ended::Send(error))),
            Ok(_) => {}
        }
        if self.miner.device.wants_outbound() {
            self.link.want_room();
        }
        Ok(())
    }

    /// Somebody has asked, or the time has come.
    fn time(&mut self) -> Result<(), Over> {
        let outcome = self.miner.device.handle_timeout(now());
        if let Outcome::Fatal(fatal) = outcome {
            (self.news)(News::Outcome(&outcome));
            return Err(self.over(Ended::Device(fatal)));
        }
        self.send()
    }

    /// Sends what waits: a share first, then what the device has to say.
    #[cfg_attr(target_os = "none", inline(never))]
    fn send(&mut self) -> Result<(), Over> {
        let at = now();
        if self.link.connection().state() != State::Open {
            return Ok(());
        }
        let Miner { device, waiting, .. } = &mut *self.miner;
        while waiting.is_some() || device.wants_outbound() {
            let Some(mut out) = self.link.outbound() else { break };
            let sent = if let Some(solution) = waiting {
                (self.news)(News::Submitting(solution));
                let sent = match device.submit(at, solution, &mut out) {
                    Ok(number) => {
                        (self.news)(News::Submitted(number));
                        Ok(())
                    }
                    Err(NotSent::Send(error)) => Err(error),
                    Err(why) => {
                        (self.news)(News::NotSent(&why));
                        Ok(())
                    }
                };
                if sent.is_ok() {
                    *waiting = None;
                }
                sent
            } else {
                device.poll_outbound(at, &mut out)
            };
            match sent {
                Ok(()) => {}
                Err(Error::Full) => {
                    self.link.want_room();
                    break;
                }
                Err(error) => return Err(self.over(Ended::Send(error))),
            }
        }
        Ok(())
    }

    /// Lays other work on the desk; none while the device is leaving.
    #[cfg_attr(target_os = "none", inline(never))]
    fn publish(&mut self) {
        let changes = self.miner.device.changes();
        if self.leaving.is_none() && self.miner.changes != changes {
            self.miner.changes = changes;
            self.miner.desk.put(self.miner.device.work());
        }
    }
}

#[cfg(test)]
mod tests {
    use adit::crypto::RustCrypto;
    use embassy_sync::blocking_mutex::raw::NoopRawMutex;

    use super::*;
    use crate::clock::WallClock;
    use crate::upstream::UpstreamConfig;

    /// Where the key was drawn is part of the task for as long as the connection lasts, and longer.
    #[test]
    fn a_connections_key_stays_nowhere_else() {
        let servers = [Server::new("10.0.0.2", 3333, [7; 32])];
        let settings = Settings {
            upstream: UpstreamConfig::new(&servers),
            without_clock: WithoutClock::Refuse,
            link: crate::link::LinkSettings::DEFAULT,
        };
        let (wall, desk) = (WallClock::<NoopRawMutex>::new(), Desk::<NoopRawMutex>::new());
        let mut miner = Miner::new(DeviceConfig::new("user", "test", "none", "0", ""), &settings, &wall, &desk);
        let (mut input, mut output, mut key) = ([0; 512], [0; 512], [9; 32]);
        let streams = (&[][..], &mut [][..]);
        let link = miner.link::<RustCrypto, _, _>(&servers[0], &mut key, (&mut input, &mut output), streams);
        drop(link);
        assert_eq!(key, [0; 32]);
    }
}
