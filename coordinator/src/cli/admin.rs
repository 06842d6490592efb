//! The operator's commands: each is one call of the admin API.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use shared_ops::cli::{Failure, Format};

use super::client::{Answer, Client};
use crate::Config;

const TASK: &[&str] = &["task_id", "state", "rounds_done", "rounds", "phase", "release_id", "title"];
const PARTICIPANT: &[&str] = &["participant_id", "enrolled_at", "not_after", "revoked_at"];
const TOKEN: &[&str] = &["participant_id", "token", "expires_at"];
const ROUND: &[&str] = &["round", "phase", "deadline", "tally", "aborted", "candidate"];
const RELEASE: &[&str] = &["release_id", "round_id", "released_at"];

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// All tasks
    List,
    /// Sign a task and begin it
    Create {
        /// JSON: `{"task": {…}, "initial_params": "…"}`, as `/openapi.json` describes it
        file: PathBuf,
    },
    /// End a task; its open round is aborted
    Cancel {
        /// The task
        task_id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ParticipantCommand {
    /// All participants
    List,
    /// Make a one-time token with which a site enrols
    Token {
        /// The only id that may enrol with it
        participant_id: String,
    },
    /// Shut a participant out at once
    Revoke {
        /// The participant
        participant_id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum RoundCommand {
    /// A task's rounds
    List {
        /// The task
        task_id: String,
    },
    /// One round
    Show {
        /// The task
        task_id: String,
        /// The round's number
        round: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ReleaseCommand {
    /// All releases, oldest first
    List,
    /// One release
    Show {
        /// The release
        release_id: String,
    },
}

pub(super) async fn task(command: TaskCommand, config: &Config, format: Format) -> Result<(), anyhow::Error> {
    let client = Client::new(config)?;
    let answer = match command {
        TaskCommand::List => client.get("/tasks").await?,
        TaskCommand::Create { file } => client.post("/tasks", &read(&file)?).await?,
        TaskCommand::Cancel { task_id } => client.post(&format!("/tasks/{task_id}/cancel"), &Value::Null).await?,
    };
    Answer::show(answer, TASK, format)
}

pub(super) async fn participant(
    command: ParticipantCommand,
    config: &Config,
    format: Format,
) -> Result<(), anyhow::Error> {
    let client = Client::new(config)?;
    match command {
        ParticipantCommand::List => Answer::show(client.get("/participants").await?, PARTICIPANT, format),
        ParticipantCommand::Token { participant_id } => {
            let body = json!({"participant_id": participant_id});
            Answer::show(client.post("/participants/tokens", &body).await?, TOKEN, format)
        }
        ParticipantCommand::Revoke { participant_id } => {
            let path = format!("/participants/{participant_id}/revoke");
            Answer::show(client.post(&path, &Value::Null).await?, PARTICIPANT, format)
        }
    }
}

pub(super) async fn round(command: RoundCommand, config: &Config, format: Format) -> Result<(), anyhow::Error> {
    let client = Client::new(config)?;
    let path = match command {
        RoundCommand::List { task_id } => format!("/tasks/{task_id}/rounds"),
        RoundCommand::Show { task_id, round } => format!("/tasks/{task_id}/rounds/{round}"),
    };
    Answer::show(client.get(&path).await?, ROUND, format)
}

pub(super) async fn release(command: ReleaseCommand, config: &Config, format: Format) -> Result<(), anyhow::Error> {
    let client = Client::new(config)?;
    let path = match command {
        ReleaseCommand::List => "/releases".to_owned(),
        ReleaseCommand::Show { release_id } => format!("/releases/{release_id}"),
    };
    Answer::show(client.get(&path).await?, RELEASE, format)
}

fn read(file: &PathBuf) -> Result<Value, Failure> {
    let hint = "name a readable JSON file as `/openapi.json` describes it";
    let text = std::fs::read(file).map_err(|error| Failure::new("config-task-file", hint, error))?;
    serde_json::from_slice(&text).map_err(|error| Failure::new("config-task-file", hint, error))
}
