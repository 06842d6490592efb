//! What a schedule is played with: how many sites, which terms, which size of model.

use proptest::prelude::*;
use shared::participation::LatePolicy;
use shared::task::Task;
use shared::update::CHUNK_BYTES;

use super::site::Site;

/// Rounds of a simulated task.
const ROUNDS: u32 = 3;
/// Parameters of a model whose updates are one chunk, and of one whose updates are three.
const SMALL: usize = 128;
const LARGE: usize = 2 * CHUNK_BYTES / 4 + 77;
/// What a schedule is played with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) sites: usize,
    pub(super) quorum: u32,
    goal: Option<u32>,
    pub(super) late: LatePolicy,
    large: bool,
}

impl Setting {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        let late = prop_oneof![
            2 => Just(LatePolicy::Drop),
            1 => Just(LatePolicy::Carry { rounds: 1 }),
            1 => Just(LatePolicy::Buffered { rounds: 2 }),
        ];
        let goal = prop_oneof![2 => Just(None), 1 => Just(Some(2))];
        (3_usize..5, 1_u32..3, goal, late, prop::bool::weighted(0.1))
            .prop_map(|(sites, quorum, goal, late, large)| Self { sites, quorum, goal, late, large })
    }

    /// How many parameters the model has.
    pub(super) fn len(&self) -> usize {
        if self.large { LARGE } else { SMALL }
    }
}

/// The task of a simulation.
pub(super) fn task(setting: &Setting) -> Task {
    let cohort: Vec<_> = (0..setting.sites).map(|number| Site::new(number).id).collect();
    serde_json::from_value(serde_json::json!({
        "task_id": "t", "title": "a simulation", "cohort": cohort, "quorum": setting.quorum, "rounds": ROUNDS, "seed": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "feature_view": {"name": "view", "version": 1, "digest": "0".repeat(64)},
        "model": {"inputs": setting.len() - 1, "hidden": []},
        "recipe": {"local_steps": 1, "sampling_rate": 0.5, "learning_rate": 0.1, "momentum": 0.0, "clip_norm": 1.0,
                   "noise_multiplier": null},
        "privacy": {"unit": "record", "ceiling": {"epsilon": 3.0, "delta": 1e-5}, "evaluation_rho": 0.1},
        "participation": {"goal": setting.goal.filter(|goal| *goal >= setting.quorum), "over_selection": 2.0,
                          "late": setting.late},
        "deadlines": {"join_ms": 10_000, "collect_ms": 30_000, "evaluate_ms": 10_000},
        "gates": {"min_true_positive_rate": 0.0, "max_false_positive_rate": 1.0}
    }))
    .unwrap()
}
