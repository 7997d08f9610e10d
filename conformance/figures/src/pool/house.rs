//! The provider and the pool that are measured, on whichever runtime.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use adit::{
    connection::SetupPolicy,
    crypto::Provider,
    host::{
        Clock, Runtime, Spawn, Task,
        gate::Gate,
        listen::Listener,
        pool::{AcceptedShare, PoolHandle, PoolSetup, Store, serve_pool},
        provider::{ProviderHandle, Transactions, serve_provider},
        queue,
        shutdown::Shutdown,
        sleep_until,
        upstream::{Server, Software, Upstream, UpstreamConfig},
        watch,
    },
    link::LinkSettings,
    role::pool::AcceptAll,
};
use adit_native::hash::Method;

use super::{Failure, Kind, QUEUE};

/// Both, until this is dropped.
pub(super) struct House<T> {
    /// Where the pool listens.
    pub(super) address: SocketAddr,
    /// Held for what their drop does.
    _tasks: [T; 4],
}

impl<T: Task + Sync> House<T> {
    /// Starts them, and waits until there is work.
    pub(super) async fn start<P, R, S>(spawn: S, clock: R::Clock, kind: Kind) -> Result<Self, Failure>
    where
        P: Provider,
        R: Runtime,
        S: Spawn<Task = T> + 'static,
    {
        let settings = Arc::new(LinkSettings::new(clock, 64));
        let (provider, [hearing, serving]) = template_provider::<P, R, S>(&spawn, &settings)?;
        let handle = PoolHandle::new(super::pool()?, AcceptAll, 16);
        let upstream =
            Server { host: provider.ip().to_string(), port: provider.port(), connection: super::initiator() };
        let listener = listener::<R>(&settings)?;
        let address = listener.address();
        let setup = PoolSetup::<R> {
            listeners: vec![listener],
            responder: watch::channel(Arc::new(super::responder::<P>(handle.setup_policy())?)).1,
            links: Arc::clone(&settings),
            hasher: Arc::new(Method::fastest_for_shares()),
            provider: Upstream::new(UpstreamConfig::new(upstream), Arc::clone(&settings)),
            software: Software::default(),
            reconnect: None,
        };
        let (sender, mut shares) = queue::channel::<AcceptedShare>(QUEUE);
        let store = match kind {
            Kind::Queue => sender.into(),
            Kind::AtOnce => Store::AtOnce(Arc::new(drop::<AcceptedShare>)),
        };
        let (shutdown, on, pool) = (Shutdown::new(settings.clock.clone()), spawn.clone(), handle.clone());
        let pooling = spawn.spawn(async move {
            let _ends_with_the_process = serve_pool::<P, _>(on, setup, pool, store, shutdown).await;
        });
        while handle.with(|pool| pool.shared().book().prev_hash().is_none()) {
            let soon = settings.clock.now().saturating_add(Duration::from_millis(1));
            sleep_until(&settings.clock, Some(soon)).await;
        }
        // A store that keeps nothing.
        let storing = spawn.spawn(async move {
            let mut batch = Vec::new();
            while shares.recv_many(&mut batch, QUEUE).await > 0 {
                if let Some(last) = batch.last() {
                    handle.stored(last.share.ticket);
                }
                batch.clear();
            }
        });
        Ok(Self { address, _tasks: [hearing, serving, pooling, storing] })
    }
}

fn listener<R: Runtime>(settings: &LinkSettings<R::Clock>) -> Result<Listener<R>, Failure> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok(Listener::bind(address, Gate::new(super::gate()), settings.clock.clone())?)
}

fn template_provider<P, R, S>(
    spawn: &S,
    settings: &Arc<LinkSettings<R::Clock>>,
) -> Result<(SocketAddr, [S::Task; 2]), Failure>
where
    P: Provider,
    R: Runtime,
    S: Spawn<Task: Sync> + 'static,
{
    let listener = listener::<R>(settings)?;
    let address = listener.address();
    let (handle, mut events) = ProviderHandle::new(settings.clock.clone(), 1, 1_024);
    let id = handle.new_template(&super::template(), Transactions::default()).map_err(|error| format!("{error:?}"))?;
    handle.new_tip(id, super::tip(settings.clock.wall())).map_err(|error| format!("{error:?}"))?;
    let responder = watch::channel(Arc::new(super::responder::<P>(SetupPolicy::new(0))?)).1;
    let hearing = spawn.spawn(async move { while events.recv().await.is_some() {} });
    let (settings, on) = (Arc::clone(settings), spawn.clone());
    let shutdown = Shutdown::new(settings.clock.clone());
    let serving = spawn.spawn(async move {
        let listeners = vec![listener];
        let _ends_with_the_process = serve_provider::<P, R>(on, listeners, responder, settings, handle, shutdown).await;
    });
    Ok((address, [hearing, serving]))
}
