//! `ledger`, `evaluation` and `audit`: what the federation costs, how candidates do at each site, and what was logged.

use std::collections::BTreeMap;
use std::fmt;

use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;
use shared::TaskId;
use shared_ops::cli::{Format, print};

use super::answer::{Answer, Column, write_table};
use super::client::{Client, Paging};
use crate::Config;

const LEDGER: &[Column] = &[
    ("PARTICIPANT", "/participant_id"),
    ("TASK", "/task_id"),
    ("STARTED", "/rounds_started"),
    ("ACCEPTED", "/rounds_accepted"),
    ("OF", "/rounds"),
    ("EPSILON SO FAR", "/spent/epsilon"),
    ("CEILING", "/ceiling/epsilon"),
    ("DELTA", "/ceiling/delta"),
];

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// What each task costs each participant at most. The ledger at the site is the authority
    Show {
        /// The task
        task_id: TaskId,
        #[command(flatten)]
        paging: Paging,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum EvaluationCommand {
    /// Sites × rounds of a task: true-positive and false-positive rate of each candidate, from noised counts
    Matrix {
        /// The task
        task_id: TaskId,
        #[command(flatten)]
        paging: Paging,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// The log's signed checkpoint
    Checkpoint,
    /// One entry with the proof that it is in the log
    Receipt {
        /// The entry's place, from 0
        index: u64,
    },
}

pub(super) async fn ledger(command: LedgerCommand, config: &Config, format: Format) -> Result<(), anyhow::Error> {
    let LedgerCommand::Show { task_id, paging } = command;
    let entries = Client::new(config)?.list(&format!("tasks/{task_id}/ledger"), &paging, &[]).await?;
    Answer::show(entries, LEDGER, format)
}

pub(super) async fn evaluation(
    command: EvaluationCommand,
    config: &Config,
    format: Format,
) -> Result<(), anyhow::Error> {
    let EvaluationCommand::Matrix { task_id, paging } = command;
    let columns = Client::new(config)?.list(&format!("tasks/{task_id}/evaluations"), &paging, &[]).await?;
    Ok(print(&Matrix(columns), format)?)
}

pub(super) async fn audit(command: AuditCommand, config: &Config, format: Format) -> Result<(), anyhow::Error> {
    let path = match command {
        AuditCommand::Checkpoint => "audit/checkpoint".to_owned(),
        AuditCommand::Receipt { index } => format!("audit/receipts/{index}"),
    };
    Answer::show(Client::new(config)?.get(&path).await?, &[], format)
}

/// Candidates with their evaluations, shown with a row for each site.
#[derive(Serialize)]
#[serde(transparent)]
struct Matrix(Value);

impl Matrix {
    fn rows(&self) -> Vec<Vec<String>> {
        let candidates = self.0.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut titles = vec!["SITE".to_owned()];
        for (column, candidate) in candidates.iter().enumerate() {
            let release = candidate.get("release_id").and_then(Value::as_str);
            let round = candidate.get("round").map(Value::to_string).unwrap_or_default();
            titles.push(release.map_or_else(|| format!("ROUND {round}"), str::to_owned));
            let sites = candidate.get("sites").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for site in sites {
                let name = site.get("participant_id").and_then(Value::as_str).unwrap_or_default().to_owned();
                let row = rows.entry(name).or_default();
                row.resize(column, "-".to_owned());
                row.push(rates(site));
            }
        }
        let mut table = vec![titles];
        table.extend(rows.into_iter().map(|(name, mut cells)| {
            cells.resize(candidates.len(), "-".to_owned());
            cells.insert(0, name);
            cells
        }));
        table
    }
}

/// "true-positive rate / false-positive rate" of a site.
fn rates(site: &Value) -> String {
    let rate =
        |name: &str| site.get(name).and_then(Value::as_f64).map_or_else(|| "-".to_owned(), |rate| format!("{rate:.3}"));
    format!("{} / {}", rate("true_positive_rate"), rate("false_positive_rate"))
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "true-positive rate / false-positive rate")?;
        write_table(&self.rows(), f)?;
        match self.0.get("next").and_then(Value::as_str) {
            Some(next) => writeln!(f, "more: --after {next}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_site_that_did_not_evaluate_a_candidate_has_a_gap_there() {
        let site = |name: &str| json!({"participant_id": name, "true_positive_rate": 0.9, "false_positive_rate": 0.01});
        let matrix = Matrix(json!({"items": [
            {"round": 1, "release_id": null, "sites": [site("a")]},
            {"round": 2, "release_id": "r-1", "sites": [site("a"), site("b")]},
        ], "next": null}));
        let expected =
            [["SITE", "ROUND 1", "r-1"], ["a", "0.900 / 0.010", "0.900 / 0.010"], ["b", "-", "0.900 / 0.010"]];
        assert_eq!(matrix.rows(), expected.map(|row| row.map(str::to_owned).to_vec()).to_vec());
    }
}
