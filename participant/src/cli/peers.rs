//! `peers`: the keys by which this site knows those with whom it masks updates.

use std::fmt;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use shared::ParticipantId;
use shared::audit::AuditKind;
use shared_ops::cli::{Failure, Format, print};

use crate::masking::peers::{self, Peer};
use crate::site::Site;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print each site that this one has met in a masked task, with its keys
    List,
    /// Accept other keys of a site the next time; ask it first, over another channel, whether it has new ones
    Forget {
        /// The site's name
        #[arg(value_name = "ID")]
        peer: ParticipantId,
    },
}

/// The sites as they are shown.
#[derive(Debug, Serialize)]
struct Peers {
    peers: Vec<Peer>,
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Peer { participant_id, keys } in &self.peers {
            writeln!(f, "{participant_id}\n  signs with  {}\n  agrees with {}", keys.identity, keys.agreement)?;
        }
        write!(f, "{} sites met", self.peers.len())
    }
}

pub(super) fn run(command: &Command, site: &Site, format: Format) -> Result<(), anyhow::Error> {
    match command {
        Command::List => {
            let peers = peers::list(&*site.store).map_err(Failure::from)?;
            Ok(print(&Peers { peers }, format)?)
        }
        Command::Forget { peer } => {
            forget(site, peer)?;
            Ok(print(&format!("the keys of `{peer}` are forgotten"), format)?)
        }
    }
}

/// The log has it before it is done.
fn forget(site: &Site, participant_id: &ParticipantId) -> Result<(), anyhow::Error> {
    let known = peers::list(&*site.store).map_err(Failure::from)?;
    if !known.iter().any(|peer| peer.participant_id == *participant_id) {
        let reason = format!("this site never met `{participant_id}` in a masked task");
        return Err(Failure::new("peer-unknown", "`peers list` prints those it met", reason).into());
    }
    let content = json!({"event": "peer-forgotten", "participant_id": participant_id});
    site.journal.write(AuditKind::Admin, &content).map_err(Failure::from)?;
    Ok(peers::forget(&*site.store, participant_id).map_err(Failure::from)?)
}
