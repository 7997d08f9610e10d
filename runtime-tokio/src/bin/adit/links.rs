//! Links as events: of a client its state, of a server who comes and goes.

use std::fmt;

use adit::message::common::SetupConnectionError;
use adit::noise::CertificateError;
use adit_tokio::shutdown::Shutdown;
use adit_tokio::upstream::UpstreamState;
use adit_tokio::watch;

use crate::event::Event;
use crate::report::Events;

/// How the reason of an attempt begins that has reached nobody.
const NO_CONNECTION: &str = "no connection to ";

/// A client's link to this server came up.
pub(crate) fn came(peer: &impl fmt::Display, server: &str) -> Event {
    Event::LinkUp { from: peer.to_string(), to: server.into() }
}

/// It is down. Who says why is the client: here it is a stranger's business.
pub(crate) fn went(peer: &impl fmt::Display, server: &str) -> Event {
    Event::LinkDown { from: peer.to_string(), to: server.into(), reason: "disconnected".into() }
}

/// Tells when the link from `from` to `to` comes up and goes down, until the one who keeps it is gone. Nothing is promised for later once
/// `shutdown` has started.
pub(crate) async fn watch(
    from: String,
    to: String,
    mut state: watch::Receiver<UpstreamState>,
    events: Events,
    shutdown: Shutdown,
) {
    let mut up = false;
    let mut hint = Hint::default();
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().clone();
        match now {
            UpstreamState::Open { .. } if !up => {
                up = true;
                hint = Hint::default();
                events.tell(Event::LinkUp { from: from.clone(), to: to.clone() });
            }
            UpstreamState::Waiting { why, wait, .. } => {
                // What the program itself ended is down, and that is all.
                let is_news = up || !shutdown.is_started();
                up = false;
                if is_news {
                    let hint = hint.about(&why, &to);
                    let reason = if shutdown.is_started() {
                        format!("{why}{hint}")
                    } else {
                        let then = if hint.ends_with('?') { " Trying" } else { "; trying" };
                        format!("{why}{hint}{then} again in {:.1} s", wait.as_secs_f64())
                    };
                    events.tell(Event::LinkDown { from: from.clone(), to: to.clone(), reason });
                }
            }
            UpstreamState::Stopped if up => {
                up = false;
                let reason = "shut down".into();
                events.tell(Event::LinkDown { from: from.clone(), to: to.clone(), reason });
            }
            _ => {}
        }
    }
}

/// What the person can do about a link that does not come up: in full once, then in short.
#[derive(Default)]
struct Hint {
    given: bool,
}

impl Hint {
    fn about(&mut self, why: &str, to: &str) -> String {
        // The reason comes as text; it ends with what the handshake or the setup said.
        let hint = if why.contains(&CertificateError::Signature.to_string()) {
            format!(
                ". Compare the key at the end of the URL with the {to}'s: it tells its URL when it starts, and `adit keys --from FILE` shows \
                 the public key of a secret one. If they are the same, someone else answers there"
            )
        } else if why.ends_with(SetupConnectionError::UNSUPPORTED_PROTOCOL) {
            format!(". What answers there is no {to}: is it the URL of another role?")
        } else if why.starts_with(NO_CONNECTION) {
            // With what is to be done about it the reason is not worth a second look.
            let given = std::mem::replace(&mut self.given, true);
            return if given { String::new() } else { format!("; start the {to}, or correct its URL") };
        } else {
            return String::new();
        };
        if std::mem::replace(&mut self.given, true) { " (see above)".into() } else { hint }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::Told;

    fn start() -> (watch::Sender<UpstreamState>, Told, Shutdown, tokio::task::JoinHandle<()>) {
        let (state, receiver) = watch::channel(UpstreamState::Idle);
        let (events, told) = Events::channel();
        let shutdown = Shutdown::new(adit_tokio::clock::Clock::start());
        let watcher = tokio::spawn(watch("device".into(), "pool".into(), receiver, events, shutdown.clone()));
        (state, told, shutdown, watcher)
    }

    fn waiting(why: &str) -> UpstreamState {
        let wait = Duration::from_millis(1500);
        UpstreamState::Waiting { server: "127.0.0.1:1".into(), wait, why: why.into() }
    }

    fn open() -> UpstreamState {
        UpstreamState::Open { server: "127.0.0.1:1".into() }
    }

    async fn down(told: &mut Told) -> String {
        let Some(Event::LinkDown { reason, .. }) = told.next().await else { panic!("not told") };
        reason
    }

    #[tokio::test]
    async fn a_server_with_another_key_is_told_once_with_what_to_compare() {
        let (state, mut told, ..) = start();
        let why = format!("the connection broke: {}", CertificateError::Signature);
        state.send_replace(waiting(&why));
        let reason = down(&mut told).await;
        assert!(reason.starts_with(&why) && reason.ends_with("; trying again in 1.5 s"), "{reason}");
        assert!(reason.contains("end of the URL with the pool's") && reason.contains("adit keys"), "{reason}");
        for _ in 0..2 {
            state.send_replace(waiting(&why));
            assert_eq!(down(&mut told).await, format!("{why} (see above); trying again in 1.5 s"));
        }
        state.send_replace(open());
        assert!(matches!(told.next().await, Some(Event::LinkUp { .. })));
        state.send_replace(waiting(&why));
        assert!(down(&mut told).await.contains("adit keys"), "in full again, for the last time is long ago");
    }

    #[tokio::test]
    async fn a_server_of_another_protocol_is_said_to_be_another_role() {
        let (state, mut told, ..) = start();
        let why = "the server refused the setup: unsupported-protocol";
        state.send_replace(waiting(why));
        let reason = down(&mut told).await;
        assert!(
            reason.starts_with(why) && reason.contains("is no pool: is it the URL of another role? Trying"),
            "{reason}"
        );
        state.send_replace(waiting(why));
        assert_eq!(down(&mut told).await, format!("{why} (see above); trying again in 1.5 s"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_asked_for_once() {
        let (state, mut told, ..) = start();
        let why = "no connection to 127.0.0.1:1: refused";
        state.send_replace(waiting(why));
        assert_eq!(down(&mut told).await, format!("{why}; start the pool, or correct its URL; trying again in 1.5 s"));
        state.send_replace(waiting(why));
        assert_eq!(down(&mut told).await, format!("{why}; trying again in 1.5 s"));
    }

    #[tokio::test]
    async fn each_change_is_told_once() {
        let (state, mut told, _, watcher) = start();
        state.send_replace(open());
        assert!(matches!(told.next().await, Some(Event::LinkUp { .. })));
        state.send_replace(waiting("refused"));
        assert_eq!(down(&mut told).await, "refused; trying again in 1.5 s");
        state.send_replace(UpstreamState::Stopped);
        drop(state);
        watcher.await.unwrap();
        assert!(told.next().await.is_none(), "a link that is down does not go down again");
    }

    #[tokio::test]
    async fn a_program_that_ends_promises_no_further_attempt() {
        let (state, mut told, shutdown, watcher) = start();
        state.send_replace(open());
        assert!(matches!(told.next().await, Some(Event::LinkUp { .. })));
        shutdown.start(Duration::from_secs(10));
        state.send_replace(waiting("closed"));
        assert_eq!(down(&mut told).await, "closed");
        state.send_replace(waiting("refused"));
        drop(state);
        watcher.await.unwrap();
        assert!(told.next().await.is_none());
    }
}
