//! The state of a client's link as events.

use adit::noise::CertificateError;
use adit_tokio::upstream::UpstreamState;
use tokio::sync::watch;

use crate::report::{Event, Events};

/// Tells when the link from `from` to `to` comes up and goes down, until the one who keeps it is gone.
pub(crate) async fn watch(from: String, to: String, mut state: watch::Receiver<UpstreamState>, events: Events) {
    let mut up = false;
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().clone();
        match now {
            UpstreamState::Open { .. } if !up => {
                up = true;
                events.tell(Event::LinkUp { from: from.clone(), to: to.clone() });
            }
            UpstreamState::Waiting { why, wait, .. } => {
                up = false;
                let hint = hint(&why, &to);
                let reason = format!("{why}{hint}; trying again in {:.1} s", wait.as_secs_f64());
                events.tell(Event::LinkDown { from: from.clone(), to: to.clone(), reason });
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

/// What the person can do about it, where it is not obvious.
fn hint(why: &str, to: &str) -> String {
    // The reason comes as text; it ends with what the handshake said.
    if why.contains(&CertificateError::Signature.to_string()) {
        return format!(
            ". Compare the key at the end of the URL with the {to}'s: it tells its URL when it starts, and `adit keys --from FILE` shows \
             the public key of a secret one. If they are the same, someone else answers there"
        );
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_server_with_another_key_is_told_with_what_to_compare() {
        let (state, receiver) = watch::channel(UpstreamState::Idle);
        let (events, mut told) = Events::channel();
        tokio::spawn(watch("device".into(), "pool".into(), receiver, events));
        let wait = Duration::from_secs(1);
        let why = format!("the connection broke: {}", CertificateError::Signature);
        state.send_replace(UpstreamState::Waiting { server: "127.0.0.1:1".into(), wait, why: why.clone() });
        let Some(Event::LinkDown { reason, .. }) = told.next().await else { panic!("not told") };
        assert!(reason.starts_with(&why) && reason.ends_with("; trying again in 1.0 s"), "{reason}");
        assert!(reason.contains("end of the URL with the pool's") && reason.contains("adit keys"), "{reason}");
    }

    #[tokio::test]
    async fn each_change_is_told_once() {
        let (state, receiver) = watch::channel(UpstreamState::Idle);
        let (events, mut told) = Events::channel();
        let watcher = tokio::spawn(watch("device".into(), "pool".into(), receiver, events));
        let server = || "127.0.0.1:1".to_owned();
        state.send_replace(UpstreamState::Open { server: server() });
        assert!(matches!(told.next().await, Some(Event::LinkUp { .. })));
        let wait = Duration::from_millis(1500);
        state.send_replace(UpstreamState::Waiting { server: server(), wait, why: "refused".into() });
        let Some(Event::LinkDown { reason, .. }) = told.next().await else { panic!("not told") };
        assert_eq!(reason, "refused; trying again in 1.5 s");
        state.send_replace(UpstreamState::Stopped);
        drop(state);
        watcher.await.unwrap();
        assert!(told.next().await.is_none(), "a link that is down does not go down again");
    }
}
