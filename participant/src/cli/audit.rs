//! `audit`: the site's log of everything decided and done.

use clap::Subcommand;
use shared::audit::{AuditKind, AuditRecord};
use shared_audit::Receipt;
use shared_ops::cli::{Failure, Format, print};

use crate::site::Site;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Recompute the whole log and check its signed checkpoint
    Verify,
    /// Print the log's name and public key: all that an outsider needs to check receipts
    Key,
    /// Print the newest signed checkpoint
    Checkpoint,
    /// Print the receipt of an entry: proof, for anybody offline, that it stands in the log
    Receipt {
        /// The entry's index, from 0
        index: u64,
    },
    /// Print records as they were signed, one JSON object a line, the oldest first
    Export {
        /// Only records of this kind, such as `decision`; may be given more than once
        #[arg(long, value_name = "KIND", value_parser = kind)]
        kind: Vec<AuditKind>,
    },
}

pub(super) fn run(command: &Command, site: &Site, format: Format) -> Result<(), anyhow::Error> {
    let log = site.journal.log();
    match command {
        Command::Verify => {
            let verified = log.verify().map_err(Failure::from)?;
            let text = format!("the log is whole: {} entries, root {}", verified.entries, verified.root);
            Ok(print(&text, format)?)
        }
        Command::Key => Ok(print(&format!("{} {}", log.origin(), log.public()), format)?),
        Command::Checkpoint => Ok(print(&log.checkpoint().map_err(Failure::from)?, format)?),
        Command::Receipt { index } => {
            let receipt: Receipt = log.receipt(*index).map_err(Failure::from)?;
            Ok(print(&serde_json::to_string_pretty(&receipt)?, Format::Human)?)
        }
        Command::Export { kind } => export(site, kind),
    }
}

/// The kind of that name.
fn kind(name: &str) -> Result<AuditKind, serde_json::Error> {
    serde_json::from_value(name.into())
}

fn export(site: &Site, kinds: &[AuditKind]) -> Result<(), anyhow::Error> {
    let log = site.journal.log();
    for index in 0..log.size() {
        let body = log.entry(index).map_err(Failure::from)?.body;
        let record: AuditRecord = serde_json::from_str(&body)?;
        if kinds.is_empty() || kinds.contains(&record.kind) {
            print(&body, Format::Human)?;
        }
    }
    Ok(())
}
