//! A server's accept loop and its end. One text for all runtimes of computers, which include it as their tests.

use std::{net::SocketAddr, time::Duration};

use super::{ServeError, serve};
use crate::{
    gate::GateConfig,
    listen::Accepted,
    shutdown::Shutdown,
    testing::{Lab, Task, join, read, run, run_still, tcp, watch, write_all, yield_now},
};

/// A server, and how many of its tasks have begun.
struct Started {
    address: SocketAddr,
    shutdown: Shutdown,
    begun: watch::Receiver<u32>,
    server: Task<Result<(), ServeError>>,
}

/// Serves with tasks that end when the client sends a byte, which they answer.
fn started(lab: &Lab) -> Started {
    let (listener, _) = lab.listener(0, GateConfig::default());
    let address = listener.address();
    let (begin, begun) = watch::channel(0);
    let shutdown = lab.shutdown();
    let start = move |mut accepted: Accepted, _| {
        begin.send_if_modified(|begun| {
            *begun += 1;
            true
        });
        async move {
            let mut byte = [0];
            let _end = read(&mut accepted.stream, &mut byte).await;
            assert_ne!(byte, [13], "thirteen");
            let _gone = write_all(&mut accepted.stream, &byte).await;
        }
    };
    let (on, stop) = (lab.clone(), shutdown.clone());
    let server = lab.spawn(async move { serve(&on, vec![listener], &stop, start).await });
    Started { address, shutdown, begun, server }
}

#[test]
fn a_shutdown_refuses_new_connections_and_waits_for_the_others() {
    run(async |lab| {
        let Started { address, shutdown, mut begun, server } = started(&lab);
        let mut stream = tcp(address).await.unwrap();
        begun.wait_for(|begun| *begun == 1).await.unwrap();
        shutdown.start(Duration::from_secs(3_600));
        // Connecting fails as soon as the listener is gone.
        while tcp(address).await.is_ok() {
            yield_now().await;
        }
        assert!(!server.is_finished());
        write_all(&mut stream, &[7]).await.unwrap();
        let mut byte = [0];
        read(&mut stream, &mut byte).await.unwrap();
        assert_eq!(byte, [7]);
        join(server).await.unwrap();
    });
}

#[test]
fn the_end_of_the_grace_cuts_off_the_rest() {
    run_still(async |lab| {
        let Started { address, shutdown, mut begun, server } = started(&lab);
        let mut stream = tcp(address).await.unwrap();
        begun.wait_for(|begun| *begun == 1).await.unwrap();
        shutdown.start(Duration::from_secs(5));
        join(server).await.unwrap();
        assert!(!matches!(read(&mut stream, &mut [0]).await, Ok(1..)));
    });
}

#[test]
fn a_panic_ends_the_server_and_is_told() {
    run(async |lab| {
        let Started { address, server, .. } = started(&lab);
        let mut stream = tcp(address).await.unwrap();
        write_all(&mut stream, &[13]).await.unwrap();
        let error = join(server).await.unwrap_err();
        assert!(error.to_string().contains("thirteen"), "{error}");
    });
}
