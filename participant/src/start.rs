//! Runs a whole participant within the calling process: HTTP interface, response, and learning with the federation.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use policy_as_code::actuator::Actuator;
use policy_as_code::actuator::dry_run::DryRun;
use policy_as_code::actuator::embedded::{EmbeddedAccounts, ThrottleLimits};
use policy_as_code::actuator::postgres::{PostgresRoles, Role};
use serde::Serialize;
use shared_crypto::{TokenKey, key_file, random_bytes};
use shared_ops::health::Health;
use shared_ops::{Secret, metrics, shutdown};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Target;
use crate::error::SiteError;
use crate::http;
use crate::progress::TerminalObserver;
use crate::respond::{RespondError, Response};
use crate::service::{FEDERATION, Service};
use crate::site::Site;

const LAKE: &str = "lake";

/// Where a participant listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The address of its HTTP interface.
    pub http: SocketAddr,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "serving on http://{}", self.http)
    }
}

/// A participant that runs.
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    ended: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Waits until it was asked to stop and everything has ended.
    pub async fn ended(self) -> Result<(), SiteError> {
        let served = self.ended.await.map_err(SiteError::Interrupted)?;
        served.map_err(|source| SiteError::Http { listen: self.addresses.http, source })
    }
}

/// Starts a participant at `site`. It runs until `stop` is cancelled; see [`Running::ended`].
pub async fn start(site: Arc<Site>, stop: CancellationToken) -> Result<Running, SiteError> {
    let (health, metrics) = (Health::new(&[LAKE, FEDERATION]), metrics::install());
    let token = token(&site)?;
    let listen = site.config.http.listen;
    let failed = |source| SiteError::Http { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let addresses = Addresses { http: listener.local_addr().map_err(failed)? };
    let response = response(&site).await?;
    let service = Arc::new(Service::open(site, response)?);
    health.set_ready(LAKE, true);
    let router = http::router(Arc::clone(&service), token, health.clone(), metrics);
    let ended = tokio::spawn(async move {
        let serving = async {
            let served = shutdown::serve(listener, router, stop.clone()).await;
            stop.cancel();
            served
        };
        let learning = service.learn(Arc::new(TerminalObserver::new()), &health, &stop);
        let looking = async { tokio::join!(service.look_after_runs(&stop), service.follow_policies(&stop)) };
        let (served, learnt, _) = tokio::join!(serving, learning, looking);
        if let Err(error) = learnt {
            tracing::error!(%error, "this site only serves");
        }
        served
    });
    Ok(Running { addresses, ended })
}

/// The bearer token of the site's HTTP interface; a fresh one on first use.
fn token(site: &Site) -> Result<Secret, SiteError> {
    let path = site.config.http.token_file.clone().unwrap_or_else(|| site.folder().join("keys/http.token"));
    let fresh: String = random_bytes::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    key_file::create(&path, fresh.as_bytes())?;
    let text = key_file::read_text(&path)?;
    let text = text.as_ref().map_or("", |text| text.expose().trim());
    Secret::new(text).map_err(|error| SiteError::io("read a token from", &path, std::io::Error::other(error)))
}

/// The site's response; `None` where there is no policy repository.
async fn response(site: &Arc<Site>) -> Result<Option<Response>, SiteError> {
    let Some(served) = site.policies()? else { return Ok(None) };
    let actuator = actuator(site).await?;
    Response::new(Arc::clone(site), Arc::clone(served.in_force()), actuator).map(Some)
}

async fn actuator(site: &Arc<Site>) -> Result<Arc<dyn Actuator>, SiteError> {
    match &site.config.response.target {
        Target::DryRun => Ok(Arc::new(DryRun)),
        Target::Embedded => Ok(Arc::new(EmbeddedAccounts::new(
            Arc::clone(&site.store),
            Arc::clone(&site.clock),
            TokenKey::clone(&site.tokens),
            ThrottleLimits::default(),
        ))),
        Target::Postgres { url } => {
            let accounts = site.config.response.accounts.iter();
            let role = |principal: &String| Role { name: principal.clone(), password: None };
            let roles = accounts.map(|account| (account.asset.asset_id.clone(), role(&account.principal))).collect();
            let roles = PostgresRoles::new(url.expose(), roles, 1).map_err(RespondError::from)?;
            roles.check().await.map_err(RespondError::from)?;
            Ok(Arc::new(roles))
        }
    }
}
