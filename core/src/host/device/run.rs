//! A device's connections, one after the other.

use alloc::string::ToString;
use core::future::pending;
use core::pin::pin;
use core::time::Duration;

use futures_lite::future::or;

use super::{DeviceNews, DeviceTask};
use crate::connection::{State as Phase, Token};
use crate::crypto::Provider as Crypto;
use crate::error::Error;
use crate::host::link::LinkError;
use crate::host::shutdown::Shutdown;
use crate::host::upstream::{Connected, Ended};
use crate::host::wake::when;
use crate::host::{Clock, Runtime, broadcast, queue, sleep_until, watch};
use crate::link::Turn;
use crate::mining::client::Solution;
use crate::protocol::Mining;
use crate::role::device::{Endpoint, Leaving, Outcome};
use crate::time::earliest;

/// How long a device that is sent elsewhere waits for the answers to its shares.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What a device's task wakes up to.
enum Step {
    Shutdown,
    HashRate,
    Due,
    Turn(Result<Turn, LinkError>),
    Solution(Solution),
}

impl<T: AsRef<str>, R: Runtime> DeviceTask<T, R> {
    pub(super) async fn connections<P: Crypto>(&mut self, shutdown: &Shutdown<R::Clock>) {
        while let Some(mut connected) = self.upstream.connect::<Mining, P>(shutdown).await {
            let ended = match Endpoint::new(&connected.host, connected.port) {
                Ok(endpoint) => {
                    self.device.connecting(endpoint);
                    self.connection(&mut connected, shutdown).await
                }
                Err(error) => Ended::Broken(error.to_string()),
            };
            self.device.reset();
            self.publish(false);
            if !shutdown.is_started() {
                self.upstream.ended(ended);
            }
        }
    }

    async fn connection<P: Crypto>(
        &mut self,
        connected: &mut Connected<Mining, P, R>,
        shutdown: &Shutdown<R::Clock>,
    ) -> Ended {
        let clock = connected.link.clock().clone();
        let mut leaving: Option<Leaving<Ended>> = None;
        // One wait for all turns: each would queue anew. It is over once, and then nobody asks again.
        let mut started = pin!(shutdown.started());
        loop {
            self.publish(leaving.is_some());
            let open = connected.link.connection().state() == Phase::Open;
            if let Some(leaving) = &mut leaving
                && leaving.is_time_to_close(open, self.owes(), clock.now())
            {
                connected.link.close();
            }
            let until = leaving.as_ref().and_then(Leaving::deadline);
            let deadline = earliest(self.device.poll_timeout(), until);
            let link = &mut connected.link;
            let step = or(
                async {
                    when(leaving.is_none(), started.as_mut()).await;
                    Step::Shutdown
                },
                or(
                    async {
                        changed(&mut self.hash_rate).await;
                        Step::HashRate
                    },
                    or(
                        async {
                            sleep_until(&clock, deadline).await;
                            Step::Due
                        },
                        or(async { Step::Turn(link.next().await) }, async {
                            Step::Solution(when(self.waiting.is_none(), found(&mut self.solutions)).await)
                        }),
                    ),
                ),
            );
            let step = match step.await {
                Step::Shutdown => {
                    leaving = Some(Leaving::new(Ended::Closed, None));
                    Ok(())
                }
                Step::HashRate => {
                    let hash_rate = *self.hash_rate.borrow_and_update();
                    self.device.set_nominal_hash_rate(clock.now(), hash_rate);
                    self.send(connected)
                }
                Step::Due => {
                    let outcome = self.device.handle_timeout(clock.now());
                    self.tell(&outcome);
                    match outcome {
                        Outcome::Fatal(fatal) => Err(Ended::Broken(fatal.to_string())),
                        _ => self.send(connected),
                    }
                }
                Step::Turn(turn) => match turn {
                    Ok(Turn::Event(token)) => match self.take(token, connected) {
                        Ok(Some(elsewhere)) if leaving.is_none() => {
                            let until = Some(clock.now().saturating_add(LAST_ANSWERS));
                            leaving = Some(Leaving::new(elsewhere, until));
                            Ok(())
                        }
                        Ok(_) => Ok(()),
                        Err(ended) => Err(ended),
                    },
                    Ok(Turn::Room) => self.send(connected),
                    Ok(Turn::Closed) => Err(leaving.take().map_or(Ended::Closed, Leaving::into_why)),
                    Err(error) => Err(leaving.take().map_or_else(|| error.into(), Leaving::into_why)),
                },
                Step::Solution(solution) => {
                    self.waiting = Some(solution);
                    self.send(connected)
                }
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    /// Whether a share waits to be sent or for its answer.
    fn owes(&self) -> bool {
        self.waiting.is_some() || !self.solutions.is_empty() || self.device.statistics().unanswered() > 0
    }

    /// Takes an event. Gives the end that it asks for when that has time, fails with one that has not.
    fn take<P: Crypto>(
        &mut self,
        token: Token,
        connected: &mut Connected<Mining, P, R>,
    ) -> Result<Option<Ended>, Ended> {
        let now = connected.link.clock().now();
        let (event, mut out) = connected.link.event(token)?;
        let outcome = self.device.handle(now, &event, &mut out).map_err(|error| Ended::Broken(error.to_string()))?;
        self.tell(&outcome);
        if outcome == Outcome::Ready {
            self.upstream.opened();
        }
        match Ended::of(&outcome) {
            Some(elsewhere @ Ended::Elsewhere { .. }) => return Ok(Some(elsewhere)),
            Some(ended) => return Err(ended),
            None => {}
        }
        if self.device.wants_outbound() {
            connected.link.want_room();
        }
        Ok(None)
    }

    /// Sends what waits: a solution first, then what the device has to say.
    fn send<P: Crypto>(&mut self, connected: &mut Connected<Mining, P, R>) -> Result<(), Ended> {
        let link = &mut connected.link;
        if link.connection().state().is_over() {
            return Ok(());
        }
        let now = link.clock().now();
        let Some(mut out) = link.outbound() else { return Ok(()) };
        let Self { device, waiting, solutions, news, .. } = self;
        let more = || solutions.try_recv();
        let sent = device.send(now, waiting, more, &mut out, |why| tell(news, DeviceNews::NotSent(why)));
        match sent {
            Ok(()) => Ok(()),
            Err(Error::Full) => {
                link.want_room();
                Ok(())
            }
            Err(error) => Err(Ended::Broken(error.to_string())),
        }
    }

    /// Hands out new work and counts; no work to a device that is leaving.
    pub(super) fn publish(&mut self, leaving: bool) {
        let changes = self.device.changes();
        if leaving {
            self.work.send_if_modified(|work| work.take().is_some());
        } else if self.changes != changes {
            self.work.send_replace(self.device.work());
        }
        self.changes = changes;
        let now = *self.device.statistics();
        self.statistics.send_if_modified(|known| core::mem::replace(known, now) != now);
    }

    fn tell(&self, outcome: &Outcome<'_>) {
        if let Some(news) = DeviceNews::of(outcome) {
            tell(&self.news, news);
        }
    }
}

fn tell(to: &broadcast::Sender<DeviceNews>, news: DeviceNews) {
    // Nobody may be listening.
    let _nobody = to.try_broadcast(news);
}

/// Waits for a change; for ever when nobody is left to make one.
async fn changed(value: &mut watch::Receiver<f32>) {
    if value.changed().await.is_err() {
        pending::<()>().await;
    }
}

/// Waits for a solution; for ever when nobody is left to find one.
async fn found(solutions: &mut queue::Receiver<Solution>) -> Solution {
    match solutions.recv().await {
        Some(solution) => solution,
        None => pending().await,
    }
}
