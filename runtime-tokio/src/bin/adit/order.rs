//! The demo's events in the order in which a person expects them: of a block that it was found, accepted, built upon. Its roles run side by side,
//! and the pool tells of a block once it is on disk, so they come in any order.
//!
//! Nothing is lost or changed here, but for links: both ends tell of each, and the client's word, which has a name in it, is enough.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Event;

/// How long the first word of a block waits for the others.
const WAIT: Duration = Duration::from_millis(250);

/// How long one that was accepted waits for the pool's word that it was found: a write to a slow disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Templates whose height is remembered. Jobs are made of the newest.
const TEMPLATES: usize = 16;

/// Height of a block, and which of the things that are told of it.
type Place = (u32, u8);

const FOUND: u8 = 0;
const ACCEPTED: u8 = 1;

/// What waits for its turn.
#[derive(Debug, Default)]
pub(crate) struct Order {
    held: Vec<(Place, Event)>,
    /// The first of them.
    since: Option<Instant>,
    /// Ids and heights.
    templates: VecDeque<(u64, u32)>,
    /// Height of the first block that can be found.
    begin: Option<u32>,
}

impl Order {
    /// Takes an event, and gives it back if it need not wait.
    pub(crate) fn take(&mut self, event: Event, now: Instant) -> Option<Event> {
        if is_told_by_the_client(&event) {
            return None;
        }
        let Some(place) = self.place(&event) else { return Some(event) };
        // What comes of the first template belongs to no block.
        let of_block = self.begin.is_some_and(|begin| place.0 >= begin);
        let is_refresh = matches!(event, Event::Template { new_tip: false, .. } | Event::Job { new_tip: false, .. });
        if !of_block || self.since.is_none() && is_refresh {
            return Some(event);
        }
        self.since.get_or_insert(now);
        self.held.push((place, event));
        None
    }

    /// When what is held is to be told.
    pub(crate) fn due(&self) -> Option<Instant> {
        let is_found = |height: u32| self.held.iter().any(|(place, _)| *place == (height, FOUND));
        let is_whole = self.held.iter().all(|((height, what), _)| *what != ACCEPTED || is_found(*height));
        Some(self.since? + if is_whole { WAIT } else { PATIENCE })
    }

    /// All that is held, in order.
    pub(crate) fn release(&mut self) -> impl Iterator<Item = Event> + use<> {
        self.since = None;
        self.held.sort_by_key(|(place, _)| *place);
        std::mem::take(&mut self.held).into_iter().map(|(_, event)| event)
    }

    fn place(&mut self, event: &Event) -> Option<Place> {
        let below = |height: u32| height.saturating_sub(1);
        match event {
            Event::BlockFound { height, .. } => Some(((*height)?, FOUND)),
            Event::BlockAccepted { height, .. } => Some((*height, ACCEPTED)),
            Event::Template { template_id, height, new_tip, .. } => {
                self.begin.get_or_insert(*height);
                self.templates.truncate(TEMPLATES - 1);
                self.templates.push_front((*template_id, *height));
                Some((below(*height), if *new_tip { 2 } else { 5 }))
            }
            Event::Job { template_id, new_tip } => {
                let (_, height) = self.templates.iter().find(|(id, _)| id == template_id)?;
                Some((below(*height), if *new_tip { 3 } else { 6 }))
            }
            Event::BlockConfirmed { height, .. } => Some(((*height)?, 4)),
            _ => None,
        }
    }
}

/// A server knows an address only.
fn is_told_by_the_client(event: &Event) -> bool {
    match event {
        Event::LinkUp { from, .. } | Event::LinkDown { from, .. } => from.parse::<SocketAddr>().is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(template_id: u64, height: u32, new_tip: bool) -> Event {
        Event::Template { template_id, height, transactions: 1, fees: 0, new_tip }
    }

    fn found(height: u32) -> Event {
        Event::BlockFound { height: Some(height), hash: "00".into(), user: "u".into(), handed_over: "yes" }
    }

    fn accepted(height: u32) -> Event {
        Event::BlockAccepted { height, hash: "00".into(), transactions: 1 }
    }

    fn confirmed(height: u32) -> Event {
        Event::BlockConfirmed { height: Some(height), hash: "00".into(), user: "u".into() }
    }

    fn lines(events: impl IntoIterator<Item = Event>) -> Vec<String> {
        events.into_iter().map(|event| event.to_string()).collect()
    }

    #[test]
    fn a_block_is_found_accepted_and_built_upon() {
        let (mut order, now) = (Order::default(), Instant::now());
        let job = |template_id, new_tip| Event::Job { template_id, new_tip };
        let begin =
            [template(1, 121, true), template(2, 121, false), job(2, true), template(3, 121, false), job(3, false)];
        for event in begin {
            assert!(order.take(event, now).is_some(), "the beginning is as it comes");
        }
        assert_eq!(order.due(), None);

        for event in
            [template(4, 122, true), job(4, true), template(5, 122, false), confirmed(121), accepted(121), found(121)]
        {
            assert!(order.take(event, now).is_none());
        }
        assert_eq!(order.due(), Some(now + WAIT));
        assert!(order.take(accepted(122), now).is_none());
        assert_eq!(order.due(), Some(now + PATIENCE), "the pool's word is yet to come");
        let hash_rate = Event::HashRate { hashes_per_second: 1.0, idle: None };
        assert!(order.take(hash_rate, now).is_some(), "what is of no block does not wait");
        assert!(order.take(found(122), now).is_none());
        assert_eq!(order.due(), Some(now + WAIT));
        let wanted =
            [found(121), accepted(121), template(4, 122, true), job(4, true), confirmed(121), template(5, 122, false)];
        let wanted = wanted.into_iter().chain([found(122), accepted(122)]);
        assert_eq!(lines(order.release()), lines(wanted));
        assert!(order.due().is_none() && order.release().next().is_none());
    }

    #[test]
    fn a_link_is_told_by_its_client() {
        let (mut order, now) = (Order::default(), Instant::now());
        let up = |from: &str| Event::LinkUp { from: from.into(), to: "pool".into() };
        let down = |from: &str| Event::LinkDown { from: from.into(), to: "pool".into(), reason: "shut down".into() };
        assert!(order.take(up("device 1"), now).is_some() && order.take(down("device 1"), now).is_some());
        assert!(order.take(up("127.0.0.1:5"), now).is_none() && order.take(down("[::1]:5"), now).is_none());
        assert!(order.due().is_none() && order.release().next().is_none());
    }
}
