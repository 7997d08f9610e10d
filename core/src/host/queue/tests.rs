//! The queue, by who waits for what.

use alloc::{boxed::Box, task::Wake, vec};

use futures_lite::future::poll_once;

use super::*;

#[test]
fn places_are_as_many_as_said_and_come_back() {
    block_on(async {
        let (sender, mut receiver) = channel(2);
        let (mut a, mut b) = (sender.reserve(1).await.unwrap(), sender.reserve(5).await.unwrap());
        assert_eq!((a.len(), b.len(), sender.free()), (1, 1, 0));
        assert!(poll_once(sender.reserve(1)).await.is_none());
        drop(a);
        a = sender.reserve(1).await.unwrap();
        b.send('b').unwrap();
        a.send('a').unwrap();
        assert_eq!(a.send('-'), Err('-'), "its place was used");
        assert!(poll_once(sender.reserve(1)).await.is_none(), "full");
        assert_eq!(sender.try_send('-'), Err(TrySendError::Full('-')));
        assert_eq!(receiver.recv().await, Some('b'));
        sender.send('c').await.unwrap();
        assert_eq!((receiver.try_recv(), receiver.recv().await), (Some('a'), Some('c')));
        assert!(receiver.is_empty() && receiver.try_recv().is_none());
        drop((a, b));
        drop(sender);
        assert_eq!(receiver.recv().await, None);
    });
}

#[test]
fn many_go_in_and_out_at_once_and_no_more_than_there_are_places() {
    block_on(async {
        let (sender, mut receiver) = channel(4);
        let mut out = Vec::new();
        {
            let mut places = sender.reserve(3).await.unwrap();
            let mut things = 1..9;
            places.send_all(&mut things);
            assert_eq!((things.next(), places.is_empty(), sender.free()), (Some(4), true, 1));
        }
        assert_eq!((receiver.recv_many(&mut out, 2).await, sender.free()), (2, 3));
        assert_eq!(receiver.recv_many(&mut out, 9).await, 1);
        assert_eq!(out, [1, 2, 3]);
        let mut waiting = Box::pin(receiver.recv_many(&mut out, 9));
        assert!(poll_once(&mut waiting).await.is_none());
        sender.try_send(7).unwrap();
        drop(sender);
        assert_eq!(waiting.await, 1);
        assert_eq!((receiver.recv_many(&mut out, 9).await, out), (0, vec![1, 2, 3, 7]));
    });
}

#[test]
fn places_that_are_dropped_wake_the_taker_and_those_left_are_the_next_ones() {
    block_on(async {
        let (sender, mut receiver) = channel(3);
        let told = Arc::new(Told::default());
        let waker = Waker::from(Arc::clone(&told));
        let mut out = Vec::new();
        let mut taking = Box::pin(receiver.recv_many(&mut out, 9));
        assert!(taking.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut places = sender.reserve(3).await.unwrap();
        let mut waiting = Box::pin(sender.reserve(1));
        assert!(poll_once(&mut waiting).await.is_none());
        places.send_all(0..2);
        assert_eq!((places.send(7), told.0.load(SeqCst)), (Err(7), 0), "no place is left, and nobody is told yet");
        assert_eq!(poll_once(&mut waiting).await.unwrap().unwrap().len(), 1);
        drop(places);
        assert_eq!(told.0.load(SeqCst), 1);
        assert_eq!(taking.await, 2);
        // Nothing was sent, so nobody is told.
        let mut taking = Box::pin(receiver.recv_many(&mut out, 9));
        assert!(taking.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(sender.reserve(3).await.unwrap());
        assert_eq!(told.0.load(SeqCst), 1);
    });
}

/// Counts how often it is told.
#[derive(Default)]
struct Told(AtomicUsize);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// All at once or in parts, behind what is there already or not: in their order.
#[test]
fn what_is_taken_out_stands_behind_what_is_there() {
    block_on(async {
        let (sender, mut receiver) = channel(8);
        let mut out = Vec::new();
        for (most, sent, expected) in [(9, 0..3, vec![0, 1, 2]), (9, 3..5, vec![0, 1, 2, 3, 4]), (1, 5..7, vec![5])] {
            if most == 1 {
                out.clear();
            }
            sender.reserve(8).await.unwrap().send_all(sent);
            receiver.recv_many(&mut out, most).await;
            assert_eq!(out, expected);
        }
        assert_eq!((receiver.try_recv(), sender.free()), (Some(6), 8));
    });
}

#[test]
fn who_waits_for_a_place_hears_that_nobody_takes_things_out() {
    block_on(async {
        let (sender, receiver) = channel::<u8>(1);
        let mut place = sender.reserve(1).await.unwrap();
        let mut waiting = Box::pin(sender.reserve(1));
        assert!(poll_once(&mut waiting).await.is_none());
        drop(receiver);
        assert!(waiting.await.is_none());
        sender.closed().await;
        assert!(sender.reserve(1).await.is_none() && sender.try_reserve(1).is_none());
        assert_eq!((place.send(1), sender.send(2).await), (Err(1), Err(2)));
        assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    });
}

#[test]
fn what_is_there_comes_out_of_a_closed_queue() {
    block_on(async {
        let (sender, mut receiver) = channel(2);
        sender.try_send(1).unwrap();
        receiver.close();
        assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(1), None));
    });
}

/// Nobody who comes later, or asks without waiting, takes what is free before who waits; a wait that is given up is passed over, and what
/// it had been given is the next one's.
#[test]
fn first_come_first_served() {
    block_on(async {
        let (sender, mut receiver) = channel(2);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let mut waits: Vec<_> = (0..4).map(|_| Box::pin(sender.reserve(2))).collect();
        for wait in &mut waits {
            assert!(poll_once(wait).await.is_none());
        }
        assert_eq!(receiver.recv().await, Some(1));
        // It is the first one's, whoever looks first.
        assert!(sender.try_reserve(1).is_none());
        assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
        let mut late = Box::pin(sender.reserve(1));
        assert!(poll_once(&mut late).await.is_none());
        let mut waits = waits.into_iter();
        let [first, mut second, mut third, mut fourth] = core::array::from_fn(|_| waits.next().unwrap());
        assert!(poll_once(&mut fourth).await.is_none() && poll_once(&mut second).await.is_none());
        // Given up before it was fetched.
        drop(first);
        assert!(poll_once(&mut third).await.is_none());
        let mut place = poll_once(&mut second).await.unwrap().unwrap();
        assert_eq!(place.len(), 1);
        drop(third);
        place.send(3).unwrap();
        let mut out = Vec::new();
        assert_eq!(receiver.recv_many(&mut out, 9).await, 2);
        assert!(poll_once(&mut late).await.is_none(), "two of two are before it");
        assert_eq!(poll_once(&mut fourth).await.unwrap().map(|places| places.len()), Some(2));
        assert!(poll_once(&mut late).await.unwrap().is_some());
        assert_eq!((sender.free(), out), (2, vec![2, 3]));
    });
}

/// Who is served by others' hands again and again does not keep one who waits from its turn.
#[test]
fn a_busy_sender_starves_nobody() {
    block_on(async {
        let (sender, mut receiver) = channel(1);
        sender.try_send(0).unwrap();
        let mut patient = Box::pin(sender.send(100));
        assert!(poll_once(&mut patient).await.is_none());
        let mut out = Vec::new();
        for n in 1..10 {
            out.extend(receiver.try_recv());
            // The busy one is always there first.
            let _full = sender.try_send(n);
            let _sent = poll_once(&mut patient).await.is_some() && {
                patient = Box::pin(sender.send(100 + n));
                true
            };
        }
        assert!(out.contains(&100), "{out:?}");
    });
}

/// Every place that comes back wakes one who waits, whatever the order.
#[test]
#[allow(clippy::disallowed_methods, reason = "what threads share is tested with threads")]
fn all_who_wait_get_their_places() {
    let (sender, mut receiver) = channel(2);
    let senders: Vec<_> = (0..8_u64)
        .map(|n| {
            let sender = sender.clone();
            std::thread::spawn(move || (0..100).all(|at| sender.send_blocking(n * 100 + at).is_ok()))
        })
        .collect();
    drop(sender);
    let mut out = Vec::new();
    while receiver.recv_many_blocking(&mut out, 3) > 0 {}
    assert!(senders.into_iter().all(|sender| sender.join().unwrap()));
    for n in 0..8 {
        assert!(out.iter().filter(|thing| **thing / 100 == n).copied().eq(n * 100..(n + 1) * 100), "in their order");
    }
}
