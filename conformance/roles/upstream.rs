//! A client's links, one after the other. One text for all runtimes of computers, which include it as their tests.

use std::{sync::Arc, time::Duration};

use adit::{
    backoff::BackoffConfig,
    connection::{Connection, Event, InitiatorConfig, ResponderConfig, Security, SetupPolicy, reconnect_target},
    crypto::RustCrypto,
    message::{
        common::Reconnect,
        mining::{OpenStandardMiningChannelSuccess, ToServer},
    },
    protocol::{Mining, Responder},
    role::device::DeviceConfig,
    wire::U256,
};

use super::{Connected, Ended, Server, Software, Upstream, UpstreamConfig, UpstreamState};
use crate::{
    device::DeviceTask,
    gate::{Admission, GateConfig},
    link::{Link, LinkSettings, Turn},
    listen::Listener,
    shutdown::Shutdown,
    testing::{Lab, Stream, Task, join, or, run_still, watch},
};

type ServerLink = Link<Responder, Mining, RustCrypto, Stream>;

const BACKOFF: BackoffConfig =
    BackoffConfig { first: Duration::from_secs(2), cap: Duration::from_secs(16), stable: Duration::from_secs(100) };

fn bind(lab: &Lab, port: u16) -> (Listener, u16) {
    let (listener, _) = lab.listener(port, GateConfig::default());
    let port = listener.address().port();
    (listener, port)
}

/// One that nobody listens at.
fn deserted(lab: &Lab) -> u16 {
    bind(lab, 0).1
}

fn server(port: u16) -> Server {
    Server { host: "127.0.0.1".into(), port, connection: InitiatorConfig::new(Security::Plain) }
}

/// Accepts one connection and brings it up.
async fn accept(lab: &Lab, listener: &mut Listener) -> (ServerLink, Admission) {
    let accepted = listener.accept().await;
    let clock = lab.clock();
    let connection =
        Connection::responder(&ResponderConfig::new(Security::Plain, SetupPolicy::new(u32::MAX)), [0; 32], clock.now());
    let mut link = Link::new(connection, accepted.stream, accepted.peer, Arc::new(LinkSettings::new(clock, 1)));
    loop {
        let Turn::Event(token) = link.next().await.unwrap() else { panic!("no event") };
        if let (Event::Opened(_), _) = link.event(token).unwrap() {
            // The answer leaves.
            link.want_room();
            assert!(matches!(link.next().await, Ok(Turn::Room)));
            return (link, accepted.admission);
        }
    }
}

/// A client, and the ports of the connections that it has opened, in their order.
struct Client {
    task: Task<()>,
    opened: watch::Receiver<Vec<u16>>,
    state: watch::Receiver<UpstreamState>,
    shutdown: Shutdown,
}

impl Client {
    /// That opens and then only listens.
    fn new(lab: &Lab, servers: Vec<Server>) -> Self {
        let (report, opened) = watch::channel(Vec::new());
        let shutdown = lab.shutdown();
        let config = UpstreamConfig { servers, connect_limit: Duration::from_secs(1), backoff: BACKOFF };
        let mut upstream = Upstream::new(config, Arc::new(lab.settings()));
        let state = upstream.watch();
        let watching = shutdown.clone();
        let task = lab.spawn(async move {
            while let Some(connected) = upstream.connect(&watching).await {
                let ended = listen(connected, &mut upstream, &report, &watching).await;
                upstream.ended(ended);
            }
        });
        Self { task, opened, state, shutdown }
    }

    /// Waits for as many connections as there are ports, to these.
    async fn opened(&mut self, ports: &[u16]) {
        self.opened.wait_for(|opened| opened.len() >= ports.len()).await.unwrap();
        assert_eq!(*self.opened.borrow(), ports);
    }
}

async fn listen(
    mut connected: Connected<Mining, RustCrypto>,
    upstream: &mut Upstream,
    report: &watch::Sender<Vec<u16>>,
    shutdown: &Shutdown,
) -> Ended {
    loop {
        let started = async {
            shutdown.started().await;
            Ok(Turn::Closed)
        };
        let token = match or(connected.link.next(), started).await {
            Ok(Turn::Event(token)) => token,
            Ok(Turn::Room) => continue,
            Ok(Turn::Closed) => return Ended::Closed,
            Err(error) => return error.into(),
        };
        match connected.link.event(token).unwrap() {
            (Event::Secured(_), mut outbound) => {
                outbound.send(&Software::default().setup(0, 0, &connected.host, connected.port)).unwrap();
            }
            (Event::Opened(_), _) => {
                upstream.opened();
                report.send_if_modified(|opened| {
                    opened.push(connected.port);
                    true
                });
            }
            (Event::Reconnect(message), _) => {
                let (host, port) = reconnect_target(&message, &connected.host, connected.port).unwrap();
                return Ended::Elsewhere { host: host.into(), port };
            }
            _ => panic!("unexpected event"),
        }
    }
}

#[test]
fn a_restarted_server_is_found_again_with_growing_waits() {
    run_still(async |lab| {
        let (mut listener, port) = bind(&lab, 0);
        let mut client = Client::new(&lab, vec![server(port)]);
        let link = accept(&lab, &mut listener).await;
        client.opened(&[port]).await;
        drop((link, listener));
        let mut waits = Vec::new();
        while waits.len() < 5 {
            client.state.changed().await.unwrap();
            if let UpstreamState::Waiting { wait, why, .. } = &*client.state.borrow_and_update() {
                assert!(!why.is_empty());
                waits.push(*wait);
            }
        }
        for (wait, longest) in waits.iter().zip([2, 4, 8, 16, 16]) {
            let longest = Duration::from_secs(longest);
            assert!(longest / 2 <= *wait && *wait <= longest, "{waits:?}");
        }
        let (mut listener, _) = bind(&lab, port);
        let _link = accept(&lab, &mut listener).await;
        client.opened(&[port, port]).await;
        client.shutdown.start(Duration::ZERO);
        join(client.task).await;
        assert_eq!(*client.state.borrow(), UpstreamState::Stopped);
    });
}

/// By who ended it, and not again when the rest of it goes.
#[test]
fn the_end_is_told_once() {
    run_still(async |lab| {
        let mut upstream = Upstream::new(UpstreamConfig::new(server(1)), Arc::new(lab.settings()));
        let mut state = upstream.watch();
        let shutdown = lab.shutdown();
        shutdown.start(Duration::ZERO);
        assert!(upstream.connect::<Mining, RustCrypto>(&shutdown).await.is_none());
        assert_eq!(state.has_changed(), Ok(true));
        assert_eq!(*state.borrow_and_update(), UpstreamState::Stopped);
        drop(upstream);
        assert!(state.has_changed().is_err(), "told again");
    });
}

/// A server that accepts and closes at once is not asked in a tight loop.
#[test]
fn brief_connections_do_not_reset_the_waits() {
    run_still(async |lab| {
        let (mut listener, port) = bind(&lab, 0);
        let mut client = Client::new(&lab, vec![server(port)]);
        let begin = lab.now();
        for n in 1..=6 {
            drop(accept(&lab, &mut listener).await);
            client.opened(&vec![port; n]).await;
        }
        let took = lab.since(begin);
        assert!(took >= Duration::from_secs(1 + 2 + 4 + 8 + 8), "{took:?}");
    });
}

/// D-RECON-1, D-RECON-2
#[test]
fn a_client_that_is_sent_elsewhere_goes_there_and_comes_back_when_nobody_is() {
    run_still(async |lab| {
        let (mut here, here_port) = bind(&lab, 0);
        let (mut there, there_port) = bind(&lab, 0);
        let mut client = Client::new(&lab, vec![server(here_port)]);
        let (mut link, _place) = accept(&lab, &mut here).await;
        link.outbound().unwrap().send(&Reconnect { new_host: "".into(), new_port: there_port }).unwrap();
        // Sent, and ended by the client.
        while !matches!(link.next().await, Ok(Turn::Closed)) {}
        let second = accept(&lab, &mut there).await;
        client.opened(&[here_port, there_port]).await;
        drop((second, there));
        let _third = accept(&lab, &mut here).await;
        client.opened(&[here_port, there_port, here_port]).await;
    });
}

/// D-RECON-1: nor does it matter what its owner has to say while its link closes, which takes as long as the server does.
#[test]
fn a_device_that_is_sent_elsewhere_goes_there_whatever_it_has_to_say() {
    run_still(async |lab| {
        let (mut here, here_port) = bind(&lab, 0);
        let (mut there, there_port) = bind(&lab, 0);
        let config = UpstreamConfig {
            servers: vec![server(here_port)],
            connect_limit: Duration::from_secs(1),
            backoff: BACKOFF,
        };
        let upstream = Upstream::new(config, Arc::new(lab.settings()));
        let (task, handle) =
            DeviceTask::new(DeviceConfig::new("account.worker", "Adit", "", "", ""), upstream, 4, 4).unwrap();
        let shutdown = lab.shutdown();
        let device = lab.spawn(task.run::<RustCrypto>(shutdown.clone()));
        let (mut link, _place) = accept(&lab, &mut here).await;
        let Turn::Event(token) = link.next().await.unwrap() else { panic!("no event") };
        let (Event::Message(ToServer::OpenStandardMiningChannel(open)), mut out) = link.event(token).unwrap() else {
            panic!("no channel")
        };
        let opened = OpenStandardMiningChannelSuccess {
            request_id: open.request_id,
            channel_id: 1,
            target: U256::MAX,
            extranonce_prefix: (&[7; 8]).into(),
            group_channel_id: 2,
        };
        out.send(&opened).unwrap();
        out.send(&Reconnect { new_host: "".into(), new_port: there_port }).unwrap();
        link.want_room();
        assert!(matches!(link.next().await, Ok(Turn::Room)));
        // It has ended its half, and waits for the end of ours.
        lab.sleep(Duration::from_millis(1)).await;
        handle.set_hash_rate(1e12);
        lab.sleep(Duration::from_millis(1)).await;
        while !matches!(link.next().await, Ok(Turn::Closed)) {}
        let second = lab.timeout(Duration::from_secs(60), accept(&lab, &mut there)).await;
        assert!(second.is_some(), "{:?}", handle.link().borrow());
        shutdown.start(Duration::ZERO);
        join(device).await;
    });
}

#[test]
fn the_next_server_is_tried_and_the_first_one_preferred() {
    run_still(async |lab| {
        let first_port = deserted(&lab);
        let (mut second, second_port) = bind(&lab, 0);
        let mut client = Client::new(&lab, vec![server(first_port), server(second_port)]);
        let link = accept(&lab, &mut second).await;
        client.opened(&[second_port]).await;
        let (mut first, _) = bind(&lab, first_port);
        drop(link);
        let _link = accept(&lab, &mut first).await;
        client.opened(&[second_port, first_port]).await;
    });
}

/// The wait counts from the failure, not from the last call.
#[test]
fn a_connect_that_is_dropped_again_and_again_waits_no_longer() {
    run_still(async |lab| {
        let config = UpstreamConfig { backoff: BACKOFF, ..UpstreamConfig::new(server(deserted(&lab))) };
        let mut upstream = Upstream::new(config, Arc::new(lab.settings()));
        let (mut state, shutdown) = (upstream.watch(), lab.shutdown());
        let mut waits = Vec::new();
        let begin = lab.now();
        while waits.len() < 3 {
            let connect = upstream.connect::<Mining, RustCrypto>(&shutdown);
            assert!(lab.timeout(Duration::from_millis(10), connect).await.is_none(), "nobody is there");
            if state.has_changed().unwrap()
                && let UpstreamState::Waiting { wait, .. } = &*state.borrow_and_update()
            {
                waits.push(*wait);
            }
        }
        let (waited, took) = (waits[..2].iter().sum::<Duration>(), lab.since(begin));
        assert!(took.abs_diff(waited) <= Duration::from_millis(100), "{waits:?} took {took:?}");
    });
}

#[test]
fn a_shutdown_ends_the_wait() {
    run_still(async |lab| {
        let mut client = Client::new(&lab, vec![server(deserted(&lab))]);
        client.state.wait_for(|state| matches!(state, UpstreamState::Waiting { .. })).await.unwrap();
        let begin = lab.now();
        client.shutdown.start(Duration::ZERO);
        join(client.task).await;
        assert_eq!(lab.since(begin), Duration::ZERO);
    });
}
