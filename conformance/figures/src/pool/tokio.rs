//! The pool on tokio.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adit::{connection::SetupPolicy, crypto::Provider, role::pool::AcceptAll};
use adit_native::hash::Method;
use adit_tokio::{
    clock::Clock,
    gate::Gate,
    link::LinkSettings,
    listen::Listener,
    net::Tokio,
    pool::{AcceptedShare, PoolHandle, PoolSetup, Store, serve_pool},
    provider::{ProviderHandle, Transactions, serve_provider},
    queue,
    shutdown::Shutdown,
    upstream::{Server, Software, Upstream, UpstreamConfig},
    watch,
};

use super::{Failure, Kind, QUEUE, THREADS};

/// Starts provider and pool, and calls `until_end` with the pool's address.
pub(super) fn serve<P: Provider>(store: Kind, until_end: fn(SocketAddr)) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    until_end(runtime.block_on(start::<P>(store))?);
    runtime.shutdown_background();
    Ok(())
}

fn listener() -> Result<Listener, Failure> {
    Ok(Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Gate::new(super::gate()), Clock::start())?)
}

async fn start<P: Provider>(kind: Kind) -> Result<SocketAddr, Failure> {
    let settings = Arc::new(LinkSettings::new(Clock::start(), 64));
    let provider = template_provider::<P>(&settings)?;
    let handle = PoolHandle::new(super::pool()?, AcceptAll, 16);
    let upstream = Server { host: provider.ip().to_string(), port: provider.port(), connection: super::initiator() };
    let listener = listener()?;
    let address = listener.address();
    let setup = PoolSetup {
        listeners: vec![listener],
        responder: watch::channel(Arc::new(super::responder::<P>(handle.setup_policy())?)).1,
        links: Arc::clone(&settings),
        hasher: Arc::new(Method::fastest()),
        provider: Upstream::new(UpstreamConfig::new(upstream), settings),
        software: Software::default(),
        reconnect: None,
    };
    let (sender, mut shares) = queue::channel::<AcceptedShare>(QUEUE);
    let store = match kind {
        Kind::Queue => sender.into(),
        Kind::AtOnce => Store::AtOnce(Arc::new(drop::<AcceptedShare>)),
    };
    tokio::spawn(serve_pool::<P, _>(Tokio, setup, handle.clone(), store, Shutdown::new(Clock::start())));
    while handle.with(|pool| pool.shared().book().prev_hash().is_none()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // A store that keeps nothing.
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while shares.recv_many(&mut batch, QUEUE).await > 0 {
            if let Some(last) = batch.last() {
                handle.stored(last.share.ticket);
            }
            batch.clear();
        }
    });
    Ok(address)
}

fn template_provider<P: Provider>(settings: &Arc<LinkSettings>) -> Result<SocketAddr, Failure> {
    let listener = listener()?;
    let address = listener.address();
    let (handle, mut events) = ProviderHandle::new(settings.clock, 1, 1_024);
    let id = handle.new_template(&super::template(), Transactions::default()).map_err(|error| format!("{error:?}"))?;
    handle.new_tip(id, super::tip(Clock::start().wall())).map_err(|error| format!("{error:?}"))?;
    let responder = watch::channel(Arc::new(super::responder::<P>(SetupPolicy::new(0))?)).1;
    let settings = Arc::clone(settings);
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    tokio::spawn(async move {
        serve_provider::<P, _>(Tokio, vec![listener], responder, settings, handle, Shutdown::new(Clock::start())).await
    });
    Ok(address)
}
