//! What a site tells whoever watches it learn. Nothing here leaves the site.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};
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
    /// A part of an update is durable at the coordinator.
    Sending {
        /// Which round's update.
        round: RoundNumber,
        /// How many of its bytes are durable.
        sent: u64,
        /// How many there are.
        total: u64,
    },
    /// The round's update is durable at the coordinator.
    Delivered {
        /// Which round's update.
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
            Progress::Sending { round, sent, total } => {
                tracing::debug!(round = round.0, sent, total, "sends an update");
            }
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

/// Writes progress to the log and, where a person looks on, draws how far an update is.
pub struct TerminalObserver(ProgressBar);

impl TerminalObserver {
    /// The observer of a process: it draws only where standard error is a terminal.
    pub fn new() -> Self {
        let bar = if io::stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("  {msg:<24} {wide_bar} {bytes}/{total_bytes}");
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }
}

impl Default for TerminalObserver {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for TerminalObserver {
    fn on(&self, progress: &Progress) {
        match progress {
            Progress::Sending { round, sent, total } => {
                self.0.set_message(format!("update of round {}", round.0));
                self.0.set_length(*total);
                self.0.set_position(*sent);
            }
            Progress::Delivered { .. } => {
                self.0.reset();
                self.0.suspend(|| LogObserver.on(progress));
            }
            _ => self.0.suspend(|| LogObserver.on(progress)),
        }
    }
}
