//! `release`: look at releases, say which one is the latest, and compute one again without somebody.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use shared::{ParticipantId, ReleaseId};
use shared_ops::cli::Format;

use super::answer::{Answer, Column};
use super::client::{Act, Client, DryRun, Paging};
use super::round::save;
use crate::Config;

const COLUMNS: &[Column] = &[
    ("RELEASE", "/release_id"),
    ("STATE", "/state"),
    ("TASK", "/round_id/task_id"),
    ("ROUND", "/round_id/number"),
    ("RELEASED", "/released_at"),
    ("REPLACES", "/replaces"),
    ("WITHOUT", "/left_out"),
];

#[derive(Debug, Subcommand)]
pub(super) enum ReleaseCommand {
    /// Releases by id
    List(#[command(flatten)] Paging),
    /// One release with its signed documents
    Show {
        /// The release
        release_id: ReleaseId,
    },
    /// Download a release's parameters: little-endian f32 values
    Params {
        /// The release
        release_id: ReleaseId,
        /// Where to write them; never over a file that is there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Download everything that decided a round of a release that was computed again; `round verify` checks it
    Transcript {
        /// The release
        release_id: ReleaseId,
        /// The round's number
        round: u32,
        /// Where to write it; never over a file that is there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make a release the latest
    Promote {
        /// The release
        release_id: ReleaseId,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Make the release before the latest the latest again
    Rollback(#[command(flatten)] DryRun),
    /// Compute a release again without somebody's updates, as a new release that waits to be promoted
    ///
    /// The task's rounds are replayed from the first one that a left-out update counted in, with the other updates as
    /// they were sent. What those learned from checkpoints that the left-out updates had shaped stays in them.
    Recompute {
        /// The release
        release_id: ReleaseId,
        /// Whose updates to leave out; may be given several times
        #[arg(long, value_name = "ID", required = true)]
        without: Vec<ParticipantId>,
        /// Compute only the last round again: the left-out updates of earlier rounds stay in the model
        #[arg(long)]
        last_round: bool,
        /// Check that it can be done and say which rounds it takes; publish nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) async fn run(command: ReleaseCommand, config: &Config, format: Format) -> Result<(), anyhow::Error> {
    let client = Client::new(config)?;
    let answer = match command {
        ReleaseCommand::List(paging) => client.list("releases", &paging, &[]).await?,
        ReleaseCommand::Show { release_id } => client.get(&format!("releases/{release_id}")).await?,
        ReleaseCommand::Params { release_id, out } => {
            return save(&client, &format!("releases/{release_id}/params"), &out, format).await;
        }
        ReleaseCommand::Transcript { release_id, round, out } => {
            let path = format!("releases/{release_id}/rounds/{round}/transcript");
            return save(&client, &path, &out, format).await;
        }
        ReleaseCommand::Promote { release_id, dry_run } => {
            let on = format!("releases/{release_id}");
            client.act(Act { path: format!("{on}/promote"), body: Value::Null, on: Some(on) }, dry_run).await?
        }
        ReleaseCommand::Rollback(dry_run) => {
            let act =
                Act { path: "releases/rollback".to_owned(), body: Value::Null, on: Some("releases/latest".to_owned()) };
            client.act(act, dry_run).await?
        }
        ReleaseCommand::Recompute { release_id, without, last_round, dry_run } => {
            let body = json!({"without": without, "last_round": last_round, "dry_run": dry_run});
            client.post(&format!("releases/{release_id}/recompute"), &body).await?
        }
    };
    Answer::show(answer, COLUMNS, format)
}
