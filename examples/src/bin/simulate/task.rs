//! The task whose rounds are simulated: what the command line says of it, and for the rest what no simulated round looks
//! at. Signs nothing, and promises no site anything.

use shared::aggregate::{Aggregation, Rule};
use shared::encoding::Encoding;
use shared::feature::FeatureViewRef;
use shared::local::LocalTraining;
use shared::participation::{LatePolicy, Participation};
use shared::privacy::{Guarantee, PrivacyUnit};
use shared::task::{Deadlines, ModelSpec, PrivacyTerms, Recipe, ReleaseGates, Task, TrainingMechanism};
use shared::{Digest, ParticipantId, TaskId, Timestamp};

use crate::{Args, RuleName};

const JOIN_MS: u64 = 1_000;

/// The task of `args` for a model of this shape, trained by this recipe; refused if the coordinator would refuse it.
pub(crate) fn task(args: &Args, model: ModelSpec, recipe: Recipe) -> anyhow::Result<Task> {
    let cohort = (0..args.participants).map(|number| ParticipantId::new(format!("site-{number:04}")));
    let task = Task {
        task_id: TaskId::new("simulation")?,
        title: "A simulation".to_owned(),
        cohort: cohort.collect::<Result<_, _>>()?,
        quorum: args.goal.unwrap_or(args.participants).div_ceil(2).max(1),
        rounds: args.rounds,
        feature_view: FeatureViewRef { name: "none".to_owned(), version: 1, digest: Digest([0; 32]) },
        model,
        recipe,
        privacy: PrivacyTerms {
            unit: PrivacyUnit::Record,
            ceiling: Guarantee { epsilon: 1.0, delta: 1e-5 },
            evaluation_rho: 1e-3,
        },
        aggregation: Aggregation { rule: rule(args), ..Aggregation::default() },
        encodings: vec![Encoding::F32],
        participation: participation(args),
        secure_aggregation: None,
        deadlines: Deadlines {
            join_ms: JOIN_MS,
            collect_ms: args.deadline.saturating_mul(1_000),
            evaluate_ms: 1,
            unmask_ms: 1,
        },
        gates: ReleaseGates { min_true_positive_rate: 0.0, max_false_positive_rate: 1.0 },
        seed: args.seed,
        created_at: Timestamp::EPOCH,
    };
    task.validate()?;
    Ok(task)
}

/// A linear model of `params` parameters, and a recipe for it, where updates are made up.
pub(crate) fn made_up(params: u32) -> (ModelSpec, Recipe) {
    let recipe = Recipe {
        local_steps: 1,
        sampling_rate: 1.0,
        learning_rate: 1.0,
        momentum: 0.0,
        clip_norm: 1.0,
        adaptive_clip: None,
        local: LocalTraining::default(),
        mechanism: TrainingMechanism::default(),
        noise_multiplier: None,
    };
    (ModelSpec { inputs: params.saturating_sub(1), hidden: Vec::new() }, recipe)
}

fn rule(args: &Args) -> Rule {
    let byzantine = args.byzantine;
    match args.rule {
        RuleName::Mean => Rule::Mean,
        RuleName::CoordinateMedian => Rule::CoordinateMedian,
        RuleName::TrimmedMean => Rule::TrimmedMean { byzantine },
        RuleName::MultiKrum => Rule::MultiKrum { byzantine, keep: None },
        RuleName::Bulyan => Rule::Bulyan { byzantine },
        RuleName::GeometricMedian => Rule::GeometricMedian { smoothing: 1e-6, iterations: 32 },
        RuleName::CenteredClipping => Rule::CenteredClipping { radius: 1.0, iterations: 3 },
    }
}

fn participation(args: &Args) -> Participation {
    let late = match args.late {
        0 => LatePolicy::Drop,
        rounds => LatePolicy::Buffered { rounds },
    };
    Participation { goal: args.goal, over_selection: args.over_selection, late }
}
