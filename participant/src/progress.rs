//! What a site tells whoever watches it learn. Nothing here leaves the site.

use shared::privacy::Guarantee;
use shared::{ReleaseId, RoundNumber};

use crate::quality::Quality;

/// A step forward.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The site joined a round.
    Joined {
        /// Which.
        round: RoundNumber,
    },
    /// The round's update is durable at the coordinator.
    Delivered {
        /// Which round.
        round: RoundNumber,
        /// What the site's ledger has spent so far.
        spent: Guarantee,
    },
    /// The round's candidate was evaluated on the site's temporal hold-out.
    Evaluated {
        /// Which round.
        round: RoundNumber,
        /// How well it does here, without noise: for the site's own eyes.
        quality: Option<Quality>,
        /// What the site's ledger has spent so far.
        spent: Guarantee,
    },
    /// A release verified and serves.
    Released {
        /// Which.
        release_id: ReleaseId,
    },
}

/// Whoever watches.
pub trait Observer: Send + Sync {
    /// Takes note of a step. Called from the round loop: returns quickly.
    fn on(&self, progress: &Progress);
}

/// Writes progress to the log: what was done and what it cost. Logs travel, so quality without noise stays out.
pub struct LogObserver;

impl Observer for LogObserver {
    fn on(&self, progress: &Progress) {
        match progress {
            Progress::Joined { round } => tracing::info!(round = round.0, "joined a round"),
            Progress::Delivered { round, spent } => {
                tracing::info!(round = round.0, epsilon_spent = spent.epsilon, "delivered an update");
            }
            Progress::Evaluated { round, spent, .. } => {
                tracing::info!(round = round.0, epsilon_spent = spent.epsilon, "evaluated a candidate");
            }
            Progress::Released { release_id } => tracing::info!(%release_id, "installed a release"),
        }
    }
}
