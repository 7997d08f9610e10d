//! A device's connections, one after the other.

use core::future::{Future, pending};
use core::pin::{Pin, pin};
use core::time::Duration;

use adit::buffer::{Input, Output};
use adit::connection::{Connection, Event, InitiatorConfig, Security, State, Token};
use adit::crypto::Provider;
use adit::error::Error;
use adit::mining::client::{NotSent, Solution};
use adit::noise::PeerIdentity;
use adit::protocol::{Initiator, Mining};
use adit::role::device::{Device, Endpoint, Outcome};
use adit::session::Session;
use adit::time::{Instant, UnixTime, earliest};
use embassy_futures::select::{Either, Either5, select, select5};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embedded_io_async::{Read, Write};

use super::{DeviceTask, Ended, News, Period};
use crate::clock::{WithoutClock, now, sleep_until};
use crate::connect::Connect;
use crate::entropy::Entropy;
use crate::hashing::Desk;
use crate::link::{Link, Turn};
use crate::upstream::{self, Upstream};

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
    /// sent and answered, or five seconds; hand in [`pending`] to run for ever.
    ///
    /// The future may be dropped at any await. A connection that is open is cut off then, its unanswered shares count as lost, and the desk still has the
    /// old work; calling `run` anew begins with the wait that is due, or with the next connection. [`Self::reset`] takes the work away.
    pub async fn run(&mut self, stop: impl Future<Output = ()>, mut news: impl FnMut(News<'_>)) {
        let mut stop = pin!(stop);
        self.reset();
        loop {
            while self.upstream.wait.is_some_and(|until| now() < until) {
                if let Either::First(()) = select(stop.as_mut(), sleep_until(self.upstream.wait)).await {
                    return;
                }
            }
            let ended = self.connection(stop.as_mut(), &mut news).await;
            self.reset();
            let Some(ended) = ended else { return };
            // Without entropy the wait is the shortest of its range, which is still a wait.
            let mut jitter = [0; 8];
            let jitter = self.board.entropy.fill(&mut jitter).map_or(0, |()| u64::from_le_bytes(jitter));
            let wait = self.upstream.ended(now(), ended == Ended::Elsewhere, jitter);
            news(News::Ended(&ended, wait));
        }
    }

    /// Nothing is connected: takes the work from the desk, and the shares that lie there, which count for nothing any more.
    pub fn reset(&mut self) {
        self.device.reset();
        self.board.desk.put(None);
        self.changes = self.device.changes();
        self.waiting = None;
        while self.board.desk.try_found().is_some() {}
    }

    /// One connection from its beginning to its end; `None` when it ended because the owner wants to stop.
    async fn connection<S, F>(&mut self, mut stop: Pin<&mut S>, news: &mut F) -> Option<Ended>
    where
        S: Future<Output = ()>,
        F: FnMut(News<'_>),
    {
        let (endpoint, config, wall) = match self.prepare() {
            Ok(prepared) => prepared,
            Err(ended) => return Some(ended),
        };
        let mut entropy = [0; 32];
        if let Err(error) = self.board.entropy.fill(&mut entropy) {
            return Some(Ended::NoEntropy(error));
        }
        news(News::Connecting(&endpoint));
        let limit = self.settings.upstream.connect_limit;
        let Self { device, settings, upstream, board, input, output, waiting, changes, .. } = self;
        let ended = {
            let host = upstream::host(endpoint.host());
            let connecting = board.network.connect(host, endpoint.port(), limit);
            let (reader, writer) = match select(stop.as_mut(), connecting).await {
                Either::First(()) => return None,
                Either::Second(Ok(stream)) => stream,
                Either::Second(Err(error)) => return Some(Ended::Connect(error)),
            };
            news(News::Connected);
            let connection = Connection::<Initiator, Mining, P>::initiator(&config, entropy, now());
            let session = Session::new(connection, Input::new(&mut input[..]), Output::new(&mut output[..]));
            let link = Link::new(session, wall.unwrap_or_default(), reader, writer, settings.link);
            device.connecting(endpoint);
            let clockless = if wall.is_some() { None } else { Some(settings.without_clock) };
            let mut running = Running { device, upstream, desk: board.desk, waiting, changes, link, clockless, news };
            running.run(stop).await
        };
        // The stream's halves are gone; what stands in them still leaves.
        board.network.close(settings.upstream.close_limit).await;
        ended
    }

    /// Where to connect, as what, and at which time. Without a clock the time is unknown and the configuration takes any period.
    fn prepare(&self) -> Result<(Endpoint, InitiatorConfig, Option<UnixTime>), Ended> {
        let (endpoint, mut config) = self.upstream.next().ok_or(Ended::NoServer)?;
        let endpoint = endpoint.map_err(|_| Ended::NoServer)?;
        let wall = self.board.wall.now();
        if let (None, Security::Noise(noise)) = (wall, &mut config.security) {
            match self.settings.without_clock {
                WithoutClock::Refuse => return Err(Ended::NoClock),
                // Any time is in any period, give or take that much; the end is looked at when the handshake is over.
                WithoutClock::SignatureOnly { .. } => noise.clock_tolerance = u32::MAX,
            }
        }
        Ok((endpoint, config, wall))
    }
}

/// A connection that is about to end: why, and until when answers are waited for.
struct Leaving {
    /// `None`: the owner wants to stop.
    why: Option<Ended>,
    until: Instant,
    closing: bool,
}

impl Leaving {
    fn new(why: Option<Ended>) -> Self {
        Self { why, until: now().saturating_add(LAST_ANSWERS), closing: false }
    }
}

/// One connection.
struct Running<'r, 'd, M: RawMutex, P: Provider, R, W, F, const N: usize> {
    device: &'r mut Device<&'d str>,
    upstream: &'r mut Upstream<'d>,
    desk: &'r Desk<M, N>,
    waiting: &'r mut Option<Solution>,
    changes: &'r mut u32,
    link: Link<Initiator, Mining, P, &'r mut [u8], &'r mut [u8], R, W>,
    /// What to do about the certificate when the time was not known.
    clockless: Option<WithoutClock>,
    news: &'r mut F,
}

impl<M, P, R, W, F, const N: usize> Running<'_, '_, M, P, R, W, F, N>
where
    M: RawMutex,
    P: Provider,
    R: Read,
    W: Write,
    F: FnMut(News<'_>),
{
    async fn run<S: Future<Output = ()>>(&mut self, mut stop: Pin<&mut S>) -> Option<Ended> {
        let mut leaving: Option<Leaving> = None;
        loop {
            self.publish(leaving.is_some());
            if let Some(leaving) = &mut leaving
                && !leaving.closing
                && self.has_left(leaving.until)
            {
                leaving.closing = true;
                self.link.close();
            }
            let until = leaving.as_ref().filter(|leaving| !leaving.closing).map(|leaving| leaving.until);
            let deadline = earliest(self.device.poll_timeout(), until);
            let stopping = leaving.is_some();
            let stopped = async { if stopping { pending().await } else { stop.as_mut().await } };
            let blocked = self.waiting.is_some();
            let found = async { if blocked { pending().await } else { self.desk.found().await } };
            let step = select5(stopped, self.link.next(), sleep_until(deadline), found, self.desk.hash_rate()).await;
            let done = match step {
                Either5::First(()) => {
                    leaving = Some(Leaving::new(None));
                    Ok(())
                }
                Either5::Second(turn) => match turn {
                    Ok(Turn::Event(token)) => match self.take(token, stopping) {
                        Err(Ended::Elsewhere) => {
                            leaving = Some(Leaving::new(Some(Ended::Elsewhere)));
                            Ok(())
                        }
                        done => done,
                    },
                    Ok(Turn::Room) => self.send(),
                    Ok(Turn::Closed) => return leaving.map_or(Some(Ended::Closed), |leaving| leaving.why),
                    Err(error) => Err(error.into()),
                },
                Either5::Third(()) => self.time(),
                Either5::Fourth(solution) => {
                    *self.waiting = Some(solution);
                    self.send()
                }
                Either5::Fifth(hash_rate) => {
                    self.device.set_nominal_hash_rate(now(), hash_rate);
                    self.send()
                }
            };
            if let Err(ended) = done {
                return leaving.map_or(Some(ended), |leaving| leaving.why);
            }
        }
    }

    /// Whether everything is sent and answered, or the time for it is up.
    fn has_left(&mut self, until: Instant) -> bool {
        if self.waiting.is_none() {
            // A share that the hasher has laid down by now still goes out.
            *self.waiting = self.desk.try_found();
            if self.waiting.is_some() && self.send().is_err() {
                return true;
            }
        }
        let open = self.link.connection().state() == State::Open;
        let answered = self.waiting.is_none() && self.device.statistics().unanswered() == 0;
        !open || answered || until <= now()
    }

    /// Handles an event. One that sends us elsewhere counts unless the device is leaving already.
    fn take(&mut self, token: Token, leaving: bool) -> Result<(), Ended> {
        let at = now();
        let (event, mut out) = self.link.event(token)?;
        if let Event::Secured(peer) = &event {
            secured(*peer, self.clockless, self.news)?;
        }
        let outcome = self.device.handle(at, &event, &mut out).map_err(Ended::Send)?;
        if outcome != Outcome::Done {
            (self.news)(News::Outcome(&outcome));
        }
        match outcome {
            Outcome::Ready => self.upstream.opened(at),
            Outcome::SetupRefused { .. } => return Err(Ended::Refused),
            Outcome::Fatal(fatal) => return Err(Ended::Device(fatal)),
            Outcome::Reconnect(endpoint) if !leaving => {
                self.upstream.sent(endpoint);
                return Err(Ended::Elsewhere);
            }
            _ => {}
        }
        if self.device.wants_outbound() {
            self.link.want_room();
        }
        Ok(())
    }

    fn time(&mut self) -> Result<(), Ended> {
        let outcome = self.device.handle_timeout(now());
        if let Outcome::Fatal(fatal) = outcome {
            (self.news)(News::Outcome(&outcome));
            return Err(Ended::Device(fatal));
        }
        self.send()
    }

    /// Sends what waits: a share first, then what the device has to say.
    fn send(&mut self) -> Result<(), Ended> {
        let at = now();
        if self.link.connection().state() != State::Open {
            return Ok(());
        }
        if let Some(solution) = self.waiting.take() {
            let Some(mut out) = self.link.outbound() else {
                *self.waiting = Some(solution);
                return Ok(());
            };
            (self.news)(News::Submitting(&solution));
            match self.device.submit(at, &solution, &mut out) {
                Ok(number) => (self.news)(News::Submitted(number)),
                Err(NotSent::Send(Error::Full)) => {
                    *self.waiting = Some(solution);
                    self.link.want_room();
                    return Ok(());
                }
                Err(NotSent::Send(error)) => return Err(Ended::Send(error)),
                Err(why) => (self.news)(News::NotSent(why)),
            }
        }
        if !self.device.wants_outbound() {
            return Ok(());
        }
        let Some(mut out) = self.link.outbound() else { return Ok(()) };
        match self.device.poll_outbound(at, &mut out) {
            Ok(()) => {}
            Err(Error::Full) => self.link.want_room(),
            Err(error) => return Err(Ended::Send(error)),
        }
        Ok(())
    }

    /// Lays other work on the desk; no work while the device is leaving.
    fn publish(&mut self, leaving: bool) {
        let changes = self.device.changes();
        if leaving {
            if self.desk.work().is_some() {
                self.desk.put(None);
            }
        } else if *self.changes != changes {
            self.desk.put(self.device.work());
        }
        *self.changes = changes;
    }
}

/// The handshake is over. Without a clock the certificate's end is looked at now: see [`WithoutClock`].
fn secured(
    peer: Option<PeerIdentity>,
    clockless: Option<WithoutClock>,
    news: &mut impl FnMut(News<'_>),
) -> Result<(), Ended> {
    let period = match clockless {
        None => Period::Checked,
        Some(without) => {
            if let (WithoutClock::SignatureOnly { built }, Some(PeerIdentity::Authenticated { not_valid_after, .. })) =
                (without, peer)
                && not_valid_after < built
            {
                return Err(Ended::Expired(not_valid_after));
            }
            Period::Unchecked
        }
    };
    news(News::Secured(peer, period));
    Ok(())
}
