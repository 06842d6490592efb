//! `round`: look at rounds, follow them, and check one from its transcript alone.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::document::SignedDocument;
use shared::{ParticipantId, TaskId};
use shared_audit::transcript::{Claim, Trust, verify};
use shared_crypto::PublicKey;
use shared_ops::cli::{Exit, Failure, Format, print};

use super::answer::{Answer, Column};
use super::client::{Client, Paging};
use crate::Config;

const COLUMNS: &[Column] = &[
    ("ROUND", "/round"),
    ("PHASE", "/phase"),
    ("INVITED", "/cohort"),
    ("JOINED", "/joined"),
    ("ACCEPTED", "/accepted"),
    ("LOST", "/lost"),
    ("DEADLINE", "/deadline"),
    ("ENDED", "/ended"),
];

const PROOFS: &[Column] = &[("PARTICIPANT", "/participant_id"), ("WHAT", "/what")];

#[derive(Debug, Subcommand)]
pub(super) enum RoundCommand {
    /// A task's rounds, by number
    List {
        /// The task
        task_id: TaskId,
        #[command(flatten)]
        paging: Paging,
    },
    /// One round: who joined, whose update counts, who is lost, and until when it waits
    Show(#[command(flatten)] Which),
    /// Follow a task's rounds as they move on, until the task ends
    Watch {
        /// The task
        task_id: TaskId,
    },
    /// What proves that participants broke the protocol of a round; with `--format json`, whole
    Proofs(#[command(flatten)] Which),
    /// Download everything that decided a committed round, as one file
    Transcript {
        #[command(flatten)]
        which: Which,
        /// Where to write it; never over a file that is there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check a transcript offline, and recompute its aggregate bit for bit
    ///
    /// Every signature, every digest and the log's proof are checked. What the checkpoint was trained from stands in
    /// the transcript of the round before.
    Verify(#[command(flatten)] Verify),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The task
    task_id: TaskId,
    /// The round's number
    round: u32,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The transcript
    file: PathBuf,
    /// The coordinator's public key, as its participants got it when they enrolled
    #[arg(long, value_name = "HEX")]
    coordinator_key: PublicKey,
    /// The operator's public key; without it the coordinator's word counts for who the operator is
    #[arg(long, value_name = "HEX")]
    operator_key: Option<PublicKey>,
    /// Whose update must be in the round
    #[arg(long, value_name = "ID")]
    participant: Option<ParticipantId>,
    /// The receipt (JSON) of the update that must be in the round
    #[arg(long, value_name = "FILE", conflicts_with = "participant")]
    receipt: Option<PathBuf>,
}

pub(super) async fn run(command: RoundCommand, config: &Config, format: Format) -> Result<(), anyhow::Error> {
    match command {
        RoundCommand::Verify(arguments) => check(&arguments, format),
        RoundCommand::List { task_id, paging } => {
            let rounds = Client::new(config)?.list(&format!("tasks/{task_id}/rounds"), &paging, &[]).await?;
            Answer::show(rounds, COLUMNS, format)
        }
        RoundCommand::Show(which) => Answer::show(Client::new(config)?.get(&which.path()).await?, COLUMNS, format),
        RoundCommand::Proofs(which) => {
            let path = format!("{}/proofs", which.path());
            Answer::show(Client::new(config)?.get(&path).await?, PROOFS, format)
        }
        RoundCommand::Watch { task_id } => watch(&Client::new(config)?, &task_id, format).await,
        RoundCommand::Transcript { which, out } => {
            let path = format!("{}/transcript", which.path());
            save(&Client::new(config)?, &path, &out, format).await
        }
    }
}

impl Which {
    fn path(&self) -> String {
        format!("tasks/{}/rounds/{}", self.task_id, self.round)
    }
}

/// Downloads into a file that must not be there yet. A broken download leaves none.
pub(super) async fn save(client: &Client, path: &str, out: &Path, format: Format) -> Result<(), anyhow::Error> {
    let refused = |error: std::io::Error| {
        let error = std::io::Error::new(error.kind(), format!("`{}`: {error}", out.display()));
        Failure::new("output", "name a file that is not there yet, in a folder that is", error)
    };
    let mut file = File::create_new(out).map_err(refused)?;
    let written = client.download(path, &mut file).await;
    let saved = written.and_then(|bytes| file.sync_all().map(|()| bytes).map_err(refused));
    if saved.is_err() {
        // What cannot be removed is told by the error that led here.
        let _ = std::fs::remove_file(out);
    }
    let answer = json!({"file": out.display().to_string(), "bytes": saved?});
    Answer::show(answer, &[], format)
}

async fn watch(client: &Client, task_id: &TaskId, format: Format) -> Result<(), anyhow::Error> {
    let told = |error| Failure::new("output", "check that standard output can be written", error);
    let mut titled = false;
    let show = |event: Value| {
        if format == Format::Human && !titled && std::io::stdout().is_terminal() {
            titled = true;
            print(&"ROUND  PHASE        JOINED  ACCEPTED  LOST  DEADLINE", format).map_err(told)?;
        }
        let shown = match format {
            Format::Human => print(&line(&event), format),
            Format::Json => print(&event.to_string(), Format::Human),
        };
        shown.and_then(|()| std::io::stdout().flush()).map_err(told)
    };
    Ok(client.events(&format!("tasks/{task_id}/watch"), show).await?)
}

fn line(event: &Value) -> String {
    let text = |name: &str| {
        event
            .get(name)
            .map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let count = |name: &str| {
        let value = event.get(name);
        let list = value.and_then(Value::as_array).map(Vec::len);
        list.or_else(|| value.and_then(Value::as_object).map(serde_json::Map::len)).unwrap_or(0)
    };
    let deadline = event.get("deadline").and_then(Value::as_str).unwrap_or("-");
    let state = match text("task_state") {
        state if state == "running" => String::new(),
        state => format!("  task {state}"),
    };
    let (round, phase) = (text("round"), text("phase"));
    let (joined, accepted, lost) = (count("joined"), count("accepted"), count("lost"));
    format!("{round:>5}  {phase:<11}  {joined:>6}  {accepted:>8}  {lost:>4}  {deadline}{state}")
}

fn check(arguments: &Verify, format: Format) -> Result<(), anyhow::Error> {
    let unreadable = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| {
            let error = std::io::Error::new(error.kind(), format!("`{path}`: {error}"));
            Failure::new("config-file", "check the path and its permissions", error)
        }
    };
    let claim = match &arguments.receipt {
        None => arguments.participant.clone().map(Claim::Of),
        Some(path) => {
            let text = std::fs::read(path).map_err(unreadable(path))?;
            let unfit = |error| Failure::new("config-receipt", "give the receipt as the participant keeps it", error);
            Some(Claim::Acknowledged(serde_json::from_slice::<SignedDocument>(&text).map_err(unfit)?))
        }
    };
    let file = File::open(&arguments.file).map_err(unreadable(&arguments.file))?;
    let trust = Trust { coordinator: arguments.coordinator_key, operator: arguments.operator_key };
    let verified = verify(&file, &trust, claim.as_ref()).map_err(|error| Failure::from(error).exit(Exit::Refused))?;
    Ok(print(&verified, format)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_whom_the_round_has_and_waits_for() {
        let event = json!({"round": 3, "phase": "collecting", "joined": ["a", "b"], "accepted": {"a": {}}, "lost": [],
            "deadline": "2026-01-01T00:00:00Z", "task_state": "running"});
        assert_eq!(line(&event), "    3  collecting        2         1     0  2026-01-01T00:00:00Z");
        let ended = json!({"round": 3, "phase": "committed", "task_state": "released"});
        assert_eq!(line(&ended), "    3  committed         0         0     0  -  task released");
    }
}
