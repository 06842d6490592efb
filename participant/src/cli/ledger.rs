//! `ledger`: what the site's records have cost, and what is left.

use std::fmt;

use clap::Subcommand;
use serde::Serialize;
use shared::privacy::{Guarantee, Mechanism};
use shared_ops::cli::{Failure, Format, print};
use shared_privacy::ledger::Debit;

use crate::error::SiteError;
use crate::site::Site;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print every debit, what is spent and the budget
    Show,
    /// Say how many more rounds of a recipe the budget holds
    Forecast {
        /// Noise deviation over clipping norm
        #[arg(long, value_name = "SIGMA")]
        noise_multiplier: f64,
        /// Probability that a record is in a step's sample
        #[arg(long, value_name = "Q")]
        sampling_rate: f64,
        /// Steps in a round
        #[arg(long, value_name = "STEPS")]
        steps: u32,
    },
}

/// The ledger as it is shown. Opening it has checked every signature and the numbering.
#[derive(Debug, Serialize)]
struct Statement {
    budget: Guarantee,
    spent: Guarantee,
    debits: Vec<Debit>,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for debit in &self.debits {
            writeln!(f, "{:>6}  {}  {}", debit.sequence, debit.at, debit.purpose)?;
        }
        let (spent, budget) = (self.spent, self.budget);
        write!(
            f,
            "spent ε = {:.4} of {:.4} at δ = {:e}; {} debits, all signed",
            spent.epsilon,
            budget.epsilon,
            budget.delta,
            self.debits.len()
        )
    }
}

pub(super) fn run(command: &Command, site: &Site, format: Format) -> Result<(), anyhow::Error> {
    match command {
        Command::Show => Ok(print(&statement(site).map_err(Failure::from)?, format)?),
        Command::Forecast { noise_multiplier, sampling_rate, steps } => {
            let (noise_multiplier, sampling_rate, steps) = (*noise_multiplier, *sampling_rate, *steps);
            let cost = Mechanism::SubsampledGaussian { noise_multiplier, sampling_rate, steps };
            let rounds = site.ledger.forecast(&cost).map_err(Failure::from)?;
            Ok(print(&format!("{rounds} more rounds"), format)?)
        }
    }
}

fn statement(site: &Site) -> Result<Statement, SiteError> {
    Ok(Statement { budget: site.ledger.budget(), spent: site.ledger.spent()?, debits: site.ledger.debits()? })
}
