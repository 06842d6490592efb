//! The whole of Ringfence on one machine: a coordinator and three sites learn together, and each site answers an attack.
//!
//! Everything here is real but the people and the attacks: gRPC with mutual TLS on loopback, encrypted lakes, training
//! with differential privacy, signed releases, Cedar policies, a target whose accounts really get disabled.

mod attack;
mod federation;
mod folder;
mod source;
mod story;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use participant::SiteError;
use shared_ops::cli::{Failure, Format, exit_help, finish};
use shared_ops::{shutdown, telemetry};
use tokio_util::sync::CancellationToken;

use crate::federation::{Federation, Member};

/// A coordinator and three sites on this machine: they learn together, then each answers an attack
#[derive(Debug, Parser)]
#[command(name = "quickstart", version, after_help = exit_help())]
struct Arguments {
    /// Seeds telemetry, training and noise: the same seed prints the same numbers. Seeded noise is not private
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Tell the story on real files (`*.events.jsonl.gz` with `*.labels.csv.gz`) instead of generated telemetry
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the evidence goes; an earlier quickstart's folder is replaced
    #[arg(long, value_name = "DIR", default_value = "target/quickstart")]
    dir: PathBuf,
    /// Let the playbooks act on roles of this PostgreSQL server instead of the embedded account store
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Leave coordinator and sites up afterwards, to look around; ends with Ctrl-C
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(arguments)));
    finish(ended.map_err(explained), Format::Human)
}

/// Finds the code and hint of an error of ours below what was said about it.
fn explained(error: anyhow::Error) -> anyhow::Error {
    let error = match error.downcast::<SiteError>() {
        Ok(ours) => return Failure::from(ours).into(),
        Err(other) => other,
    };
    match error.downcast::<coordinator::Error>() {
        Ok(ours) => Failure::from(ours).into(),
        Err(other) => other,
    }
}

async fn run(arguments: Arguments) -> Result<(), anyhow::Error> {
    telemetry::init(telemetry::LogFormat::Human, "warn").map_err(Failure::from)?;
    let stop = shutdown::on_signals();
    let folder = folder::prepare(&arguments.dir)?;
    let sources = source::sources(arguments.data.as_deref(), arguments.seed)?;
    story::opening(arguments.seed, &sources);
    let federation = federation::start(&folder, &stop).await?;
    let members = federation.gather(&folder, sources, arguments.seed).await?;
    federation.learn(&members, arguments.seed, &stop).await?;
    for member in &members {
        attack::answer(member, arguments.postgres.as_deref()).await?;
    }
    story::closing(&federation, &members, &folder)?;
    if arguments.keep {
        keep(&federation, &members, &stop).await?;
    }
    stop.cancel();
    federation.ended().await
}

/// Runs each site's own interface beside the coordinator's until Ctrl-C.
async fn keep(federation: &Federation, members: &[Member], stop: &CancellationToken) -> Result<(), anyhow::Error> {
    let mut sites = Vec::new();
    for member in members {
        sites.push(participant::start::start(Arc::clone(&member.site), stop.clone()).await?);
    }
    story::keeping(federation, members, &sites);
    for site in sites {
        site.ended().await?;
    }
    Ok(())
}
