//! How a shutdown starts and ends. One text for all runtimes of computers, which include it as their tests.

use std::time::Duration;

use crate::testing::{join, poll_once, run_in_memory};

#[test]
fn every_holder_hears_of_it_and_late_ones_at_once() {
    run_in_memory(async |lab| {
        let shutdown = lab.shutdown();
        let other = shutdown.clone();
        let waiter = lab.spawn(async move { other.started().await });
        lab.sleep(Duration::from_millis(1)).await;
        assert!(!waiter.is_finished() && !shutdown.is_started());
        shutdown.start(Duration::from_secs(5));
        join(waiter).await;
        assert!(poll_once(shutdown.started()).await.is_some());
        assert_eq!(shutdown.deadline(), Some(lab.after(Duration::from_secs(5))));
        assert_eq!(shutdown.remaining(), Duration::from_secs(5));
    });
}

#[test]
fn a_second_start_only_shortens_the_grace() {
    run_in_memory(async |lab| {
        let shutdown = lab.shutdown();
        let begin = lab.now();
        shutdown.start(Duration::from_secs(60));
        shutdown.start(Duration::from_secs(600));
        let other = shutdown.clone();
        let over = lab.spawn(async move { other.over().await });
        lab.sleep(Duration::from_secs(10)).await;
        assert!(!over.is_finished());
        shutdown.start(Duration::from_secs(1));
        join(over).await;
        let passed = lab.since(begin);
        assert_eq!((passed, shutdown.remaining()), (Duration::from_secs(11), Duration::ZERO));
    });
}

#[test]
fn an_endless_grace_does_not_panic() {
    run_in_memory(async |lab| {
        let shutdown = lab.shutdown();
        shutdown.start(Duration::MAX);
        assert!(poll_once(shutdown.over()).await.is_none());
        assert!(shutdown.remaining() > Duration::from_secs(86_400));
        assert!(shutdown.deadline().unwrap() > lab.after(Duration::from_secs(86_400)));
    });
}
