//! Serves decisions over HTTP until a signal.

use std::sync::Arc;

use shared_ops::cli::{Exit, Failure, Format, print};
use shared_ops::health::Health;
use shared_ops::{Secret, metrics, shutdown, telemetry};
use tokio::net::TcpListener;

use crate::bundle::{Served, Source};
use crate::config::Config;
use crate::http;

pub(super) fn serve(config: &Config, format: Format) -> Result<(), anyhow::Error> {
    telemetry::init(config.log.format, &config.log.filter).map_err(Failure::from)?;
    let token = config.http.token.clone().ok_or_else(no_token)?;
    let public_key = config.bundle.public_key.ok_or_else(no_key)?;
    let source = Source { dir: config.repo.clone(), public_key, site: config.site.clone() };
    let served = Served::open(source, config.bundle.kept.clone(), Box::new(|_| Ok(())))
        .map_err(|error| Failure::from(error).exit(Exit::Refused))?;
    tokio::runtime::Runtime::new()?.block_on(answer(config, Arc::new(served), token, format))
}

fn no_token() -> Failure {
    let hint = "set `http.token` in the configuration, or RINGFENCE_POLICY__HTTP__TOKEN";
    Failure::new("config-no-token", hint, "decisions are not served without a bearer token")
}

fn no_key() -> Failure {
    let hint = "set `bundle.public_key` in the configuration to the key that `ringfence-policy bundle build` prints";
    Failure::new("config-no-key", hint, "policies are not served without the key that has to have signed them")
}

async fn answer(config: &Config, served: Arc<Served>, token: Secret, format: Format) -> Result<(), anyhow::Error> {
    let stop = shutdown::on_signals();
    let health = Health::new(&["policies"]);
    let body_bytes = usize::try_from(config.http.body_bytes).unwrap_or(usize::MAX);
    let metrics = metrics::install();
    let router = http::router(Arc::clone(served.in_force()), token, body_bytes, health.clone(), metrics);
    let listener = TcpListener::bind(config.http.listen).await.map_err(|error| occupied(config, error))?;
    print(&listener.local_addr()?, format)?;
    health.set_ready("policies", true);
    let following = tokio::spawn(served.follow(stop.clone()));
    let ended = shutdown::serve(listener, router, stop).await;
    following.abort();
    Ok(ended?)
}

fn occupied(config: &Config, error: std::io::Error) -> Failure {
    let hint = "choose a free port with `http.listen`, or port 0";
    Failure::new("http-listen", hint, format!("cannot listen on `{}`: {error}", config.http.listen))
}
