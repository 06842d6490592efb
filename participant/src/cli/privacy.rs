//! `privacy`: what a recipe would cost, and the noise that a cost allows. Arithmetic alone: no site is opened, and nothing
//! is spent.

use std::fmt;

use clap::{Args, Subcommand};
use serde::Serialize;
use shared::privacy::{Guarantee, Mechanism};
use shared_ops::cli::{Failure, Format, print};
use shared_privacy::accountant::{self, Bounds};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the ε of DP-SGD steps by every accountant; `official` is the least of these proven bounds
    Epsilon {
        /// Noise deviation over clipping norm
        #[arg(long, value_name = "SIGMA")]
        noise_multiplier: f64,
        #[command(flatten)]
        steps: Steps,
    },
    /// Print the least noise multiplier with which DP-SGD steps keep ε
    Calibrate {
        /// The ε to keep
        #[arg(long)]
        epsilon: f64,
        #[command(flatten)]
        steps: Steps,
    },
}

/// Steps of Poisson-sampled DP-SGD.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Steps {
    /// Probability that a record (or an entity) is in a step's sample
    #[arg(long, value_name = "Q", default_value_t = accountant::DEFAULT_SAMPLING_RATE)]
    sampling_rate: f64,
    /// How many steps
    #[arg(long)]
    steps: u32,
    /// The δ at which ε is told
    #[arg(long, default_value_t = accountant::MAX_DELTA)]
    delta: f64,
}

/// A recipe and what it costs.
#[derive(Debug, Serialize)]
struct Cost {
    noise_multiplier: f64,
    sampling_rate: f64,
    steps: u32,
    delta: f64,
    #[serde(flatten)]
    bounds: Bounds,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { noise_multiplier, sampling_rate, steps, delta, bounds } = self;
        writeln!(f, "σ = {noise_multiplier}, q = {sampling_rate}, {steps} steps, δ = {delta:e}")?;
        writeln!(f, "official  {:.6}", bounds.official)?;
        for (name, epsilon) in [("pld", bounds.pld), ("zcdp", bounds.zcdp)] {
            epsilon.iter().try_for_each(|epsilon| writeln!(f, "{name:<8}  {epsilon:.6}"))?;
        }
        write!(f, "rdp       {:.6} at order {:.3}", bounds.rdp, bounds.rdp_order)
    }
}

pub(super) fn run(command: &Command, format: Format) -> Result<(), anyhow::Error> {
    let cost = match *command {
        Command::Epsilon { noise_multiplier, steps } => steps.cost(noise_multiplier),
        Command::Calibrate { epsilon, steps } => {
            let target = Guarantee { epsilon, delta: steps.delta };
            let found = accountant::calibrate(target, steps.sampling_rate, steps.steps);
            found.and_then(|noise_multiplier| steps.cost(noise_multiplier))
        }
    };
    Ok(print(&cost.map_err(Failure::from)?, format)?)
}

impl Steps {
    fn cost(self, noise_multiplier: f64) -> Result<Cost, shared_privacy::PrivacyError> {
        let Self { sampling_rate, steps, delta } = self;
        let training = Mechanism::SubsampledGaussian { noise_multiplier, sampling_rate, steps };
        let bounds = accountant::bounds(&[training], delta)?;
        Ok(Cost { noise_multiplier, sampling_rate, steps, delta, bounds })
    }
}
