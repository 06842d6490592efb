//! `participant`: who may take part, and the one-time tokens with which sites enrol.

use clap::Subcommand;
use serde_json::{Value, json};
use shared::{Digest, ParticipantId};
use shared_ops::cli::{Failure, Format};

use super::answer::{Answer, Column};
use super::client::{Act, Client, DryRun, Paging};
use crate::Config;

const COLUMNS: &[Column] = &[
    ("PARTICIPANT", "/participant_id"),
    ("STATE", "/state"),
    ("SINCE", "/since"),
    ("LAST SEEN", "/last_seen"),
    ("CERTIFICATE UNTIL", "/certificate_expires_at"),
    ("REASON", "/reason"),
];
const TOKENS: &[Column] =
    &[("TOKEN", "/token_id"), ("PARTICIPANT", "/participant_id"), ("ISSUED", "/issued_at"), ("UNTIL", "/expires_at")];

#[derive(Debug, Subcommand)]
pub(super) enum ParticipantCommand {
    /// Participants by id
    List {
        /// Only those in this state: pending, approved, quarantined or revoked
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// One participant
    Show {
        /// The participant
        participant_id: ParticipantId,
    },
    /// Let a participant that asked to enrol take part
    Approve(#[command(flatten)] Order),
    /// Let a participant connect but not contribute
    Quarantine(#[command(flatten)] Order),
    /// Let a quarantined participant contribute again
    Reinstate(#[command(flatten)] Order),
    /// Shut a participant out at once
    Revoke(#[command(flatten)] Order),
    /// One-time enrolment tokens
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token; it is shown once
    Create {
        /// The only id that may enrol with it
        participant_id: ParticipantId,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Tokens that were made and are neither used nor expired
    List(#[command(flatten)] Paging),
    /// Make a token void
    Delete {
        /// The token's id, as `list` shows it
        token_id: Digest,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Order {
    /// The participant
    participant_id: ParticipantId,
    /// Why; stands in the audit log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    dry_run: DryRun,
}

pub(super) async fn run(command: ParticipantCommand, config: &Config, format: Format) -> Result<(), anyhow::Error> {
    let client = Client::new(config)?;
    let answer = match command {
        ParticipantCommand::List { state, paging } => client.list("participants", &paging, &[("state", state)]).await?,
        ParticipantCommand::Show { participant_id } => client.get(&format!("participants/{participant_id}")).await?,
        ParticipantCommand::Approve(order) => obey(&client, order, "approve").await?,
        ParticipantCommand::Quarantine(order) => obey(&client, order, "quarantine").await?,
        ParticipantCommand::Reinstate(order) => obey(&client, order, "reinstate").await?,
        ParticipantCommand::Revoke(order) => obey(&client, order, "revoke").await?,
        ParticipantCommand::Token(command) => return token(command, &client, format).await,
    };
    Answer::show(answer, COLUMNS, format)
}

async fn obey(client: &Client, order: Order, verb: &str) -> Result<Value, Failure> {
    let on = format!("participants/{}", order.participant_id);
    let act = Act { path: format!("{on}/{verb}"), body: json!({"reason": order.reason}), on: Some(on) };
    client.act(act, order.dry_run).await
}

async fn token(command: TokenCommand, client: &Client, format: Format) -> Result<(), anyhow::Error> {
    let answer = match command {
        TokenCommand::Create { participant_id, dry_run } => {
            let body = json!({"participant_id": participant_id});
            client.act(Act { path: "enrolment/tokens".to_owned(), body, on: None }, dry_run).await?
        }
        TokenCommand::List(paging) => client.list("enrolment/tokens", &paging, &[]).await?,
        TokenCommand::Delete { token_id } => {
            client.delete(&format!("enrolment/tokens/{token_id}")).await?;
            json!({"deleted": token_id})
        }
    };
    Answer::show(answer, TOKENS, format)
}
