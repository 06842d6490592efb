//! From a work load to its figures, by the program that measures it.

use examples::rounds::{Recovery, Rounds, Victim};
use examples::simulation::Simulation;
use examples::statistics::{median, megabytes};

use anyhow::Context;
use clap::ValueEnum;

use crate::goal::{Figure, WorkLoad};
use crate::sibling::{Siblings, ask};

/// How often each thing is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    pub(crate) kills: u32,
}

/// Each figure with its value.
pub(crate) type Figures = Vec<(Figure, f64)>;

/// Runs the work and gives the median of each figure.
pub(crate) fn measure(work: WorkLoad, siblings: &Siblings, effort: Effort) -> anyhow::Result<Figures> {
    match work {
        WorkLoad::Rounds { participants, dim } => of_rounds(&rounds(siblings, participants, dim, effort.rounds)?),
        WorkLoad::Simulation { participants, dim } => {
            let arguments = sized(participants, dim, effort.rounds);
            of_simulation(&ask(&siblings.simulate, &arguments)?)
        }
        WorkLoad::Recovery(victim) => recovery(siblings, victim, effort.kills),
    }
}

/// Measures whole rounds.
pub(crate) fn rounds(siblings: &Siblings, participants: u32, dim: u32, rounds: u32) -> anyhow::Result<Rounds> {
    Ok(ask(&siblings.bench_round, &sized(participants, dim, rounds))?)
}

fn sized(participants: u32, dim: u32, rounds: u32) -> Vec<String> {
    vec![format!("--participants={participants}"), format!("--dim={dim}"), format!("--rounds={rounds}")]
}

fn of_rounds(rounds: &Rounds) -> anyhow::Result<Figures> {
    let median = rounds.median().context("there was no round")?;
    Ok(vec![
        (Figure::RoundSeconds, median.round_s),
        (Figure::AggregationCpuSeconds, median.aggregation_cpu_s),
        (Figure::CoordinatorMegabytes, megabytes(median.coordinator_peak_bytes)),
    ])
}

fn of_simulation(simulation: &Simulation) -> anyhow::Result<Figures> {
    let seconds = median(simulation.rounds.iter().map(|round| round.round_s));
    Ok(vec![(Figure::RoundSeconds, seconds.context("there was no round")?)])
}

fn recovery(siblings: &Siblings, victim: Victim, kills: u32) -> anyhow::Result<Figures> {
    let name = victim.to_possible_value().context("a victim has a name")?;
    let arguments = [format!("--kill={}", name.get_name())];
    let once = |_| Ok(ask::<Recovery>(&siblings.bench_round, &arguments)?.goes_on_s);
    let seconds = (0..kills).map(once).collect::<anyhow::Result<Vec<f64>>>()?;
    Ok(vec![(Figure::SecondsUntilItGoesOn, median(seconds).context("nobody was killed")?)])
}

#[cfg(test)]
mod tests {
    use examples::rounds::Round;

    use super::*;
    use crate::goal::ROWS;

    #[test]
    fn every_goal_is_about_a_figure_that_its_work_gives() {
        let round = Round {
            round_s: 1.0,
            coordinator_cpu_s: 1.0,
            aggregation_cpu_s: 0.5,
            coordinator_peak_bytes: 2_000_000,
            participant_cpu_s: 0.1,
        };
        let whole = of_rounds(&Rounds { participants: 2, dim: 2, rounds: vec![round] }).unwrap();
        for row in ROWS {
            let given: Vec<Figure> = match row.work_load {
                WorkLoad::Rounds { .. } => whole.iter().map(|(figure, _)| *figure).collect(),
                WorkLoad::Simulation { .. } => vec![Figure::RoundSeconds],
                WorkLoad::Recovery(_) => vec![Figure::SecondsUntilItGoesOn],
            };
            assert!(row.goals.iter().all(|goal| given.contains(&goal.figure)), "{}", row.work);
        }
        assert!(whole.contains(&(Figure::CoordinatorMegabytes, 2.0)));
    }
}
