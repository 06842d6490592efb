//! `ledger`: what the site's records have cost and what is left, whether the ledger is whole and the newest, and what to do
//! where it is lost.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, value_parser};
use serde::Serialize;
use shared::privacy::{LedgerHead, Mechanism};
use shared_ops::cli::{Exit, Failure, Format, print};
use shared_ops::clock::SystemClock;
use shared_privacy::accountant::DEFAULT_SAMPLING_RATE;

use crate::config::Config;
use crate::ledger::{MAX_ADOPTED, adopt};
use crate::site::Site;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print every debit, and what is spent and left, by data set and unit
    Show,
    /// Say how many more rounds of a recipe the budget holds
    Forecast(Recipe),
    /// Check every signature, number and link, and that counter and audit log know the same debits
    Verify,
    /// Record debits that are lost as spent, whatever they cost: nothing can be spent any more
    ///
    /// For a ledger that is refused as rolled back, forked or without its counter, and whose newest state cannot be brought
    /// back. One debit of unknown cost takes the place of all that anybody knows of and the ledger lacks; it spends the
    /// whole budget for good, since nobody can know that less was spent. Ledger, counter, audit log and coordinator agree
    /// from then on, and the site goes on serving. To learn again, begin a site of another name with records that this
    /// one never had.
    Adopt {
        /// The last debit that the coordinator knows, as its refusal says
        #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = value_parser!(u64).range(..=MAX_ADOPTED))]
        at_least: u64,
        /// Say what would be recorded, and record nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What one round does.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Recipe {
    /// Noise deviation over clipping norm
    #[arg(long, value_name = "SIGMA")]
    noise_multiplier: f64,
    /// Probability that a record (or an entity) is in a step's sample
    #[arg(long, value_name = "Q", default_value_t = DEFAULT_SAMPLING_RATE)]
    sampling_rate: f64,
    /// Steps in a round
    #[arg(long, value_name = "STEPS")]
    steps: u32,
}

/// A ledger in order.
#[derive(Debug, Serialize)]
struct Verified {
    #[serde(flatten)]
    ledger: LedgerHead,
    counter_file: PathBuf,
}

impl std::fmt::Display for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let LedgerHead { debits, head } = self.ledger;
        write!(f, "the ledger is whole: {debits} debits")?;
        head.iter().try_for_each(|head| write!(f, ", the last one {head}"))?;
        write!(f, "; audit log and {} agree", self.counter_file.display())
    }
}

pub(super) fn run(command: &Command, config: Config, format: Format) -> Result<(), anyhow::Error> {
    match command {
        Command::Show => Ok(print(&super::open(config)?.ledger.statement().map_err(Failure::from)?, format)?),
        Command::Forecast(recipe) => forecast(*recipe, &super::open(config)?, format),
        Command::Verify => verify(&super::open(config)?, format),
        Command::Adopt { at_least, dry_run } => {
            let keeping = Site::keeping(&config, Arc::new(SystemClock)).map_err(Failure::from)?;
            let debit = adopt(&keeping, *at_least, *dry_run).map_err(Failure::from)?;
            let done = if *dry_run { "would be recorded" } else { "is recorded" };
            let text = format!("debit {} {done}: {}; the whole budget is spent", debit.sequence, debit.purpose);
            Ok(print(&text, format)?)
        }
    }
}

fn forecast(recipe: Recipe, site: &Site, format: Format) -> Result<(), anyhow::Error> {
    let Recipe { noise_multiplier, sampling_rate, steps } = recipe;
    let cost = Mechanism::SubsampledGaussian { noise_multiplier, sampling_rate, steps };
    let rounds = site.ledger.forecast(&cost).map_err(Failure::from)?;
    Ok(print(&format!("{rounds} more rounds"), format)?)
}

fn verify(site: &Site, format: Format) -> Result<(), anyhow::Error> {
    let verified = site.ledger.verify().map_err(|error| Failure::from(error).exit(Exit::Refused))?;
    Ok(print(&Verified { ledger: verified, counter_file: site.ledger.counter_file().to_owned() }, format)?)
}
