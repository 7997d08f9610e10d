//! A client that tells a block again and again, over loopback: it waits for nobody, and nobody for it.

use std::net::Ipv4Addr;

use adit::connection::{Connection, Event as LinkEvent, InitiatorConfig, ResponderConfig, Security, SetupPolicy};
use adit::crypto::RustCrypto;
use adit::message::common::SetupConnection;
use adit::message::template::{CoinbaseOutputConstraints, SubmitSolution};
use adit::protocol::{Initiator, Protocol, TemplateDistribution};
use adit::wire::B064K;
use adit_tokio::gate::{Gate, GateConfig};
use adit_tokio::link::{Link, LinkSettings, Turn};
use adit_tokio::listen::Listener;
use adit_tokio::net::Tokio;
use adit_tokio::provider::{PLACES, ProviderHandle, serve_provider};
use adit_tokio::shutdown::Shutdown;
use adit_tokio::stream::Stream;
use adit_tokio::watch as channel;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::event::Event;
use crate::provider;
use crate::report::Events;

type Client = Link<Initiator, TemplateDistribution, RustCrypto>;

/// Sends each, as far as the provider reads.
async fn send(mut link: Client, solutions: Vec<SubmitSolution<'_>>) {
    let (mut solutions, mut open) = (solutions.into_iter().peekable(), false);
    loop {
        match link.next().await.unwrap() {
            Turn::Event(token) => match link.event(token).unwrap() {
                (LinkEvent::Secured(_), mut out) => {
                    let setup = SetupConnection {
                        protocol: TemplateDistribution::NUMBER,
                        min_version: 2,
                        max_version: 2,
                        flags: 0,
                        endpoint_host: "127.0.0.1".into(),
                        endpoint_port: 0,
                        vendor: "".into(),
                        hardware_version: "".into(),
                        firmware: "".into(),
                        device_id: "".into(),
                    };
                    out.send(&setup).unwrap();
                }
                (LinkEvent::Opened(_), mut out) => {
                    let wish = CoinbaseOutputConstraints {
                        coinbase_output_max_additional_size: 100,
                        coinbase_output_max_additional_sigops: 0.into(),
                    };
                    out.send(&wish).unwrap();
                    open = true;
                    link.want_room();
                }
                _ => {}
            },
            Turn::Room if open => {
                if let Some(mut out) = link.outbound() {
                    while let Some(solution) = solutions.peek()
                        && out.send(solution).is_ok()
                    {
                        solutions.next();
                    }
                }
                if solutions.peek().is_some() {
                    link.want_room();
                }
            }
            Turn::Room => {}
            Turn::Closed => return,
        }
    }
}

/// D-TDP-18: a block that waits for its verdict takes one place, however often its finder tells of it; so what he has to say besides is heard.
#[tokio::test]
async fn a_block_that_is_told_again_takes_no_further_place() {
    let mut script = Script::start().await;
    let (node, first, _poll) = Followed::start(&mut script, quick()).await;
    let clock = Clock::start_at(UnixTime::from_secs(NOW));
    let (handle, heard) = ProviderHandle::new(clock, 1, 4);
    let (events, mut told) = Events::channel();
    let (_all_left, left) = oneshot::channel();
    let shutdown = Shutdown::new(clock);
    let running = provider::run(node.source.clone(), handle.clone(), heard, events, left, shutdown.clone(), clock);
    let running = tokio::spawn(running);
    while handle.transactions(1).is_none() {
        yield_now().await;
    }
    let gate = Gate::new(GateConfig::default());
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), gate, clock).unwrap();
    let address = listener.address();
    let config = ResponderConfig::new(Security::Plain, SetupPolicy::new(0));
    let (_config, configs) = channel::channel(Arc::new(config));
    let links = Arc::new(LinkSettings::new(clock, 4));
    let served = tokio::spawn(serve_provider::<RustCrypto, _>(
        Tokio,
        vec![listener],
        configs,
        Arc::clone(&links),
        handle,
        shutdown,
    ));
    let (solution, block) = solved(&first);
    let sending = async move {
        let stream = Stream::new(TcpStream::connect(address).await.unwrap());
        let connection = Connection::initiator(&InitiatorConfig::new(Security::Plain), [3; 32], clock.now());
        let found = SubmitSolution {
            template_id: 1,
            version: solution.version,
            header_timestamp: solution.time,
            header_nonce: solution.nonce,
            coinbase_tx: B064K::new(&solution.coinbase),
        };
        let none = SubmitSolution { template_id: 999, ..found };
        let all = std::iter::repeat_n(found, 3 * PLACES).chain([none]).collect();
        send(Client::new(connection, stream, address, links), all).await;
    };
    let heard = async {
        let call = script.expect("submitblock").await;
        assert_eq!(call.params[0], hex::encode(&block.bytes));
        loop {
            match told.next().await.unwrap() {
                Event::Warning { message } if message.contains("template 999") => break,
                Event::BlockAccepted { .. } | Event::BlockStale { .. } => panic!("there is no verdict yet"),
                _ => {}
            }
        }
        assert!(script.is_quiet());
        call.result(&Value::Null);
        while !matches!(told.next().await.unwrap(), Event::BlockAccepted { .. }) {}
    };
    tokio::select! {
        () = sending => panic!("the provider closed the connection"),
        () = heard => {}
    }
    served.abort();
    running.abort();
}
