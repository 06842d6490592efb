//! `task`: sign, check, look at and steer federated training tasks.

use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use shared::TaskId;
use shared_ops::cli::{Failure, Format};

use super::answer::{Answer, Column};
use super::client::{Act, Client, DryRun, Paging};
use super::outgoing::Outgoing;
use crate::Config;

const COLUMNS: &[Column] = &[
    ("TASK", "/task_id"),
    ("STATE", "/state"),
    ("ROUND", "/round"),
    ("PHASE", "/phase"),
    ("DONE", "/rounds_done"),
    ("OF", "/rounds"),
    ("RELEASE", "/release_id"),
    ("TITLE", "/title"),
];

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// Tasks by id
    List(#[command(flatten)] Paging),
    /// One task with the document that was signed
    Show {
        /// The task
        task_id: TaskId,
    },
    /// Sign a task and announce its first round
    Create {
        #[command(flatten)]
        new: New,
        /// Check everything, store nothing, and say what would begin
        #[arg(long)]
        dry_run: bool,
    },
    /// Check a task as `create` would, and store nothing
    Validate(#[command(flatten)] New),
    /// Announce no further round until the task is resumed; the open round goes on
    Pause(#[command(flatten)] Existing),
    /// Go on with a paused task
    Resume(#[command(flatten)] Existing),
    /// End a task; its open round is aborted
    Cancel(#[command(flatten)] Existing),
}

#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// The task as JSON, as `/openapi.json` describes it; without `created_at`
    file: PathBuf,
    /// The first checkpoint: little-endian f32 values, nothing else. A linear model begins at zero without it
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Existing {
    /// The task
    task_id: TaskId,
    #[command(flatten)]
    dry_run: DryRun,
}

pub(super) async fn run(command: TaskCommand, config: &Config, format: Format) -> Result<(), anyhow::Error> {
    let client = Client::new(config)?;
    let answer = match command {
        TaskCommand::List(paging) => client.list("tasks", &paging, &[]).await?,
        TaskCommand::Show { task_id } => client.get(&format!("tasks/{task_id}")).await?,
        TaskCommand::Create { new, dry_run: false } => client.post("tasks", &body(&client, new).await?).await?,
        TaskCommand::Create { new, .. } | TaskCommand::Validate(new) => {
            client.post("tasks/validate", &body(&client, new).await?).await?
        }
        TaskCommand::Pause(existing) => steer(&client, existing, "pause").await?,
        TaskCommand::Resume(existing) => steer(&client, existing, "resume").await?,
        TaskCommand::Cancel(existing) => steer(&client, existing, "cancel").await?,
    };
    Answer::show(answer, COLUMNS, format)
}

async fn steer(client: &Client, existing: Existing, verb: &str) -> Result<Value, Failure> {
    let on = format!("tasks/{}", existing.task_id);
    client.act(Act { path: format!("{on}/{verb}"), body: Value::Null, on: Some(on) }, existing.dry_run).await
}

/// The request that both creating and checking take. The parameters go first: the task names them by digest.
async fn body(client: &Client, new: New) -> Result<Value, Failure> {
    let text = std::fs::read(&new.file).map_err(unreadable(&new.file))?;
    let unfit =
        |error| Failure::new("config-task-file", "write one JSON object, as `/openapi.json` describes it", error);
    let task: Value = serde_json::from_slice(&text).map_err(unfit)?;
    let initial_params = match &new.params {
        None => Value::Null,
        Some(file) => {
            let params = Outgoing::open(file).map_err(unreadable(file))?;
            client.put("params", params).await?.get("digest").cloned().unwrap_or_default()
        }
    };
    Ok(json!({"task": task, "initial_params": initial_params}))
}

fn unreadable(file: &Path) -> impl FnOnce(io::Error) -> Failure {
    |error| {
        let error = io::Error::other(format!("`{}`: {error}", file.display()));
        Failure::new("config-task-file", "check the path and its permissions", error)
    }
}
