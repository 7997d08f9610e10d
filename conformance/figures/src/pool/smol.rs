//! The pool on smol.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adit::{connection::SetupPolicy, crypto::Provider, role::pool::AcceptAll};
use adit_native::hash::Method;
use adit_smol::{
    clock::Clock,
    gate::Gate,
    link::LinkSettings,
    listen::Listener,
    net::Spawn,
    pool::{AcceptedShare, PoolHandle, PoolSetup, Store, serve_pool},
    provider::{ProviderHandle, Transactions, serve_provider},
    queue,
    shutdown::Shutdown,
    upstream::{Server, Software, Upstream, UpstreamConfig},
    watch,
};
use async_executor::Executor;
use async_io::block_on;
use futures_lite::future::pending;

use super::{Failure, Kind, QUEUE, THREADS};

/// Starts provider and pool, and calls `until_end` with the pool's address.
pub(super) fn serve<P: Provider>(store: Kind, until_end: fn(SocketAddr)) -> Result<(), Failure> {
    let executor = Arc::new(Executor::new());
    for _ in 0..THREADS {
        let executor = Arc::clone(&executor);
        std::thread::spawn(move || block_on(executor.run(pending::<()>())));
    }
    until_end(block_on(start::<P>(&executor, store))?);
    // The threads end with the process.
    Ok(())
}

fn listener() -> Result<Listener, Failure> {
    Ok(Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), Gate::new(super::gate()), Clock::start())?)
}

async fn start<P: Provider>(executor: &Arc<Executor<'static>>, kind: Kind) -> Result<SocketAddr, Failure> {
    let settings = Arc::new(LinkSettings::new(Clock::start(), 64));
    let provider = template_provider::<P>(executor, &settings)?;
    let handle = PoolHandle::new(super::pool()?, AcceptAll, 16);
    let upstream = Server { host: provider.ip().to_string(), port: provider.port(), connection: super::initiator() };
    let listener = listener()?;
    let address = listener.address();
    let setup = PoolSetup {
        listeners: vec![listener],
        responder: watch::channel(Arc::new(super::responder::<P>(handle.setup_policy())?)).1,
        links: Arc::clone(&settings),
        hasher: Arc::new(Method::fastest()),
        provider: Upstream::new(UpstreamConfig::new(upstream), Arc::clone(&settings)),
        software: Software::default(),
        reconnect: None,
    };
    let (sender, mut shares) = queue::channel::<AcceptedShare>(QUEUE);
    let store = match kind {
        Kind::Queue => sender.into(),
        Kind::AtOnce => Store::AtOnce(Arc::new(drop::<AcceptedShare>)),
    };
    let (shutdown, on, pool) = (Shutdown::new(settings.clock.clone()), Arc::clone(executor), handle.clone());
    executor.spawn(async move { serve_pool::<P, _>(Spawn(&on), setup, pool, store, shutdown).await }).detach();
    while handle.with(|pool| pool.shared().book().prev_hash().is_none()) {
        settings.clock.sleep(Duration::from_millis(1)).await;
    }
    // A store that keeps nothing.
    let store = async move {
        let mut batch = Vec::new();
        while shares.recv_many(&mut batch, QUEUE).await > 0 {
            if let Some(last) = batch.last() {
                handle.stored(last.share.ticket);
            }
            batch.clear();
        }
    };
    executor.spawn(store).detach();
    Ok(address)
}

fn template_provider<P: Provider>(
    executor: &Arc<Executor<'static>>,
    settings: &Arc<LinkSettings>,
) -> Result<SocketAddr, Failure> {
    let listener = listener()?;
    let address = listener.address();
    let (handle, mut events) = ProviderHandle::new(settings.clock.clone(), 1, 1_024);
    let id = handle.new_template(&super::template(), Transactions::default()).map_err(|error| format!("{error:?}"))?;
    handle.new_tip(id, super::tip(settings.clock.wall())).map_err(|error| format!("{error:?}"))?;
    let responder = watch::channel(Arc::new(super::responder::<P>(SetupPolicy::new(0))?)).1;
    executor.spawn(async move { while events.recv().await.is_some() {} }).detach();
    let (settings, on) = (Arc::clone(settings), Arc::clone(executor));
    let shutdown = Shutdown::new(settings.clock.clone());
    let provider =
        async move { serve_provider::<P, _>(Spawn(&on), vec![listener], responder, settings, handle, shutdown).await };
    executor.spawn(provider).detach();
    Ok(address)
}
