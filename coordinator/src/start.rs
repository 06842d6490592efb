//! Runs the whole coordinator within the calling process: keys, store, tasks, gRPC and the admin API.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::Clock;
use shared_ops::health::Health;
use shared_ops::{metrics, shutdown};
use shared_store::SledStore;
use shared_wire::server::{self, Gate};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::blob::LocalDisk;
use crate::config::Config;
use crate::coordinator::Coordinator;
use crate::governance::Governance;
use crate::guard::Guarded;
use crate::keys::Keys;
use crate::rpc::Rpc;
use crate::{Error, http};

const STORE: &str = "store";
const FEDERATION: &str = "federation";
/// How often the store is looked after.
const CARE: Duration = Duration::from_secs(1);

/// Where a coordinator listens, as it stands in `addresses.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// The gRPC address of the federation.
    pub federation: SocketAddr,
    /// The address of the admin API.
    pub admin: SocketAddr,
}

impl std::fmt::Display for Addresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "federation https://{}\nadmin      http://{}", self.federation, self.admin)
    }
}

/// A coordinator that runs.
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    /// Makes tokens and tasks, and knows the keys.
    pub coordinator: Arc<Coordinator>,
    stop: CancellationToken,
    servers: Vec<JoinHandle<Result<(), Error>>>,
}

impl Running {
    /// Waits until it was asked to stop and everything has ended. The data folder can then be opened again, once no
    /// clone of [`Running::coordinator`] is left.
    pub async fn ended(self) -> Result<(), Error> {
        let mut result = Ok(());
        for server in self.servers {
            let ended = server.await.unwrap_or(Err(Error::Unavailable));
            self.stop.cancel();
            result = result.and(ended);
        }
        self.coordinator.ended().await;
        result
    }
}

/// Starts a coordinator. It runs until `stop` is cancelled; see [`Running::ended`].
pub async fn start(config: Config, clock: Arc<dyn Clock>, stop: CancellationToken) -> Result<Running, Error> {
    let counted = metrics::install();
    let health = Health::new(&[STORE, FEDERATION]);
    let coordinator = open(&config, clock, stop.clone()).await?;
    health.set_ready(STORE, true);
    let governance = govern(&config, &coordinator).await?;
    let tokens = http::access::tokens(&config)?;
    let federation = bind(config.federation.listen).await?;
    let admin = bind(config.admin.listen).await?;
    let addresses = Addresses { federation: address(&federation)?, admin: address(&admin)? };
    publish(&config.data_dir, &addresses)?;
    let router =
        http::router(Arc::clone(&coordinator), Arc::clone(&governance), tokens, health.clone(), counted).await?;
    let servers = vec![
        tokio::spawn(serve_federation(Arc::clone(&coordinator), federation, stop.clone())),
        tokio::spawn(serve_admin(admin, router, stop.clone())),
        tokio::spawn(care(Arc::clone(&coordinator), health.clone(), stop.clone())),
        tokio::spawn(follow(governance, stop.clone())),
    ];
    health.set_ready(FEDERATION, true);
    tracing::info!(federation = %addresses.federation, admin = %addresses.admin, "coordinator started");
    Ok(Running { addresses, coordinator, stop, servers })
}

async fn open(config: &Config, clock: Arc<dyn Clock>, stop: CancellationToken) -> Result<Arc<Coordinator>, Error> {
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let (folder, names) = (config.data_dir.join("keys"), &config.federation.names);
        let keys = Keys::load_or_create(&folder, names, config.limits.certificate_validity(), clock.now())?;
        let store = SledStore::open(config.data_dir.join("store"))?;
        let store = Arc::new(Guarded::new(Arc::new(store)));
        let disk = Arc::new(LocalDisk::new(&config.data_dir));
        Coordinator::open(store, disk, clock, keys, config.enrolment, config.limits, stop)
    });
    Ok(Arc::new(opened.await.map_err(|_| Error::Unavailable)??))
}

async fn govern(config: &Config, coordinator: &Arc<Coordinator>) -> Result<Arc<Governance>, Error> {
    let (config, coordinator) = (config.clone(), Arc::clone(coordinator));
    let opened = tokio::task::spawn_blocking(move || Governance::open(&config, &coordinator));
    Ok(Arc::new(opened.await.map_err(|_| Error::Unavailable)??))
}

async fn follow(governance: Arc<Governance>, stop: CancellationToken) -> Result<(), Error> {
    governance.follow(stop).await;
    Ok(())
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, Error> {
    let failed = |source| Error::System { what: format!("cannot listen on `{listen}`"), source };
    TcpListener::bind(listen).await.map_err(failed)
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::System { what: "cannot tell the address".to_owned(), source })
}

/// Writes `addresses.json`, whole or not at all.
fn publish(data_dir: &Path, addresses: &Addresses) -> Result<(), Error> {
    let path = data_dir.join("addresses.json");
    let write = || {
        let partial = path.with_extension("tmp");
        let mut file = std::fs::File::create(&partial)?;
        file.write_all(&serde_json::to_vec(addresses)?)?;
        file.sync_all()?;
        std::fs::rename(&partial, &path)
    };
    write().map_err(|source| Error::System { what: format!("cannot write `{}`", path.display()), source })
}

async fn serve_federation(
    coordinator: Arc<Coordinator>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), Error> {
    let keys = &coordinator.keys;
    let gate: Arc<dyn Gate> = Arc::<Coordinator>::clone(&coordinator);
    let limits = coordinator.limits.server();
    let rpc = Arc::new(Rpc::new(Arc::clone(&coordinator)));
    let authority = keys.authority.certificate_pem();
    let served =
        server::serve(listener, rpc, gate, keys.server.identity(), authority, limits, stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(shutdown::DRAIN).await;
    };
    tokio::select! {
        served = served => Ok(served?),
        () = overdue => Ok(()),
    }
}

async fn serve_admin(listener: TcpListener, router: axum::Router, stop: CancellationToken) -> Result<(), Error> {
    let served = shutdown::serve(listener, router, stop).await;
    served.map_err(|source| Error::System { what: "the admin API failed".to_owned(), source })
}

/// Tries a failed store again, moves audit records that were left behind, and says whether all is well. Replaces the
/// server's certificate in time.
async fn care(coordinator: Arc<Coordinator>, health: Health, stop: CancellationToken) -> Result<(), Error> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(CARE) => {}
        }
        let well = coordinator.blocking(|coordinator| {
            if !coordinator.store.is_well() {
                coordinator.store.probe()?;
            }
            coordinator.journal.drain()
        });
        if let Err(error) = well.await {
            tracing::error!(%error, "the store is not well");
        }
        health.set_ready(STORE, coordinator.store.is_well());
        if let Err(error) = coordinator.keys.server.renew(&coordinator.keys.authority, coordinator.now()) {
            tracing::error!(%error, "the server's certificate was not replaced");
        }
    }
}
