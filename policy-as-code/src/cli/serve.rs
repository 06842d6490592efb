//! Serves decisions over HTTP until a signal.

use std::sync::Arc;

use shared_ops::cli::{Exit, Failure, Format, print};
use shared_ops::health::Health;
use shared_ops::{Secret, metrics, shutdown, telemetry};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::decide::{Engine, InForce};
use crate::repository::Repository;
use crate::{bundle, http};

pub(super) fn serve(config: &Config, format: Format) -> Result<(), anyhow::Error> {
    telemetry::init(config.log.format, &config.log.filter).map_err(Failure::from)?;
    let token = config.http.token.clone().ok_or_else(no_token)?;
    let engine = load(config)?;
    tokio::runtime::Runtime::new()?.block_on(answer(config, engine, token, format))
}

fn no_token() -> Failure {
    let hint = "set `http.token` in the configuration, or RINGFENCE_POLICY__HTTP__TOKEN";
    Failure::new("config-no-token", hint, "decisions are not served without a bearer token")
}

fn load(config: &Config) -> Result<Engine, Failure> {
    let repository = Repository::read(&config.repo)?;
    if let Some(key) = &config.bundle.public_key {
        let manifest = super::bundle::read(&config.repo)?;
        bundle::verify(&repository, &manifest, key, None).map_err(|error| Failure::from(error).exit(Exit::Refused))?;
    }
    Ok(Engine::new(&repository, config.site.as_deref())?)
}

async fn answer(config: &Config, engine: Engine, token: Secret, format: Format) -> Result<(), anyhow::Error> {
    let stop = shutdown::on_signals();
    let health = Health::new(&["policies"]);
    let body_bytes = usize::try_from(config.http.body_bytes).unwrap_or(usize::MAX);
    let router = http::router(Arc::new(InForce::new(engine)), token, body_bytes, health.clone(), metrics::install());
    let listener = TcpListener::bind(config.http.listen).await.map_err(|error| occupied(config, error))?;
    print(&listener.local_addr()?, format)?;
    health.set_ready("policies", true);
    Ok(shutdown::serve(listener, router, stop).await?)
}

fn occupied(config: &Config, error: std::io::Error) -> Failure {
    let hint = "choose a free port with `http.listen`, or port 0";
    Failure::new("http-listen", hint, format!("cannot listen on `{}`: {error}", config.http.listen))
}
