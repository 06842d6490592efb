//! How a task says that updates become one change of the model: a rule, what precedes it and what follows it. Nothing
//! here computes; a choice that could not be computed, or that a quorum could not satisfy, is refused.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Explain, ParticipantId};

/// The most pre-steps a task may chain.
pub const MAX_PRE_STEPS: usize = 4;
/// The most iterations of an iterative rule.
pub const MAX_ITERATIONS: u32 = 1000;

/// How updates become one change of the model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aggregation {
    /// Turns the rows (one update each) into one vector.
    pub rule: Rule,
    /// What is done to the rows before the rule sees them, in order.
    pub pre: Vec<PreStep>,
    /// Turns the rule's vector into the change that is applied to the model.
    pub server: ServerStep,
}

/// Turns rows into one vector. `byzantine` (f) is how many of the rows may lie.
///
/// Robust rules count heads: only [`Rule::Mean`], [`Rule::FedNova`] and [`Rule::NormBound`] heed the rows' weights.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// Weighted mean, summed exactly (FedAvg; McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks
    /// from Decentralized Data", Algorithm 1).
    #[default]
    Mean,
    /// Weighted mean of the changes per local step, times the mean number of steps (Wang et al. 2020, "Tackling the
    /// Objective Inconsistency Problem in Heterogeneous Federated Optimization").
    FedNova,
    /// Median of each coordinate (Yin et al. 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical
    /// Rates", Definition 1).
    CoordinateMedian,
    /// Mean of each coordinate without its f smallest and f largest values (Yin et al. 2018, Definition 2).
    TrimmedMean {
        /// f, less than half of the rows.
        byzantine: u32,
    },
    /// Mean of the n − f values of each coordinate that are nearest to its median (Xie et al. 2018, "Generalized
    /// Byzantine-tolerant SGD").
    MeanAroundMedian {
        /// f, less than half of the rows.
        byzantine: u32,
    },
    /// The one row that is nearest to its neighbours (Blanchard et al. 2017, "Machine Learning with Adversaries:
    /// Byzantine Tolerant Gradient Descent").
    Krum {
        /// f, with n ≥ 2f + 3 rows.
        byzantine: u32,
    },
    /// Mean of the rows that are nearest to their neighbours (Blanchard et al. 2017).
    MultiKrum {
        /// f, with n ≥ 2f + 3 rows.
        byzantine: u32,
        /// How many rows to keep, at most n − f, which is also the default.
        keep: Option<u32>,
    },
    /// Rows chosen by Krum one by one, then a mean around each coordinate's median (El Mhamdi et al. 2018, "The Hidden
    /// Vulnerability of Distributed Learning in Byzantium").
    Bulyan {
        /// f, with n ≥ 4f + 3 rows.
        byzantine: u32,
    },
    /// The point with the least sum of distances to the rows, by smoothed Weiszfeld iterations (RFA; Pillutla et al.
    /// 2022, "Robust Aggregation for Federated Learning", Algorithm 2).
    GeometricMedian {
        /// Distances below this count as this (ν), above 0.
        smoothing: f64,
        /// How many iterations.
        iterations: u32,
    },
    /// The previous vector plus the mean of the rows' differences from it, each clipped (Karimireddy et al. 2021,
    /// "Learning from History for Byzantine Robust Optimization").
    CenteredClipping {
        /// L2 norm to which a difference is clipped (τ), above 0.
        radius: f64,
        /// How many iterations.
        iterations: u32,
    },
    /// Mean of the rows, weighted by how far they point the way of a trusted row and scaled to its length (Cao et al.
    /// 2021, "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping", Algorithm 2).
    FlTrust {
        /// Who trains on the operator's root set.
        root: ParticipantId,
        /// Whether the half of the rows that points least the root's way is left out.
        keep_upper_half: bool,
    },
    /// Mean of the rows, each scaled to a trusted row's length as in [`Rule::FlTrust`], with each coordinate moved to the
    /// nearest value between 0 and the trusted row's; the mean is scaled to that length again. Our own, because an attacker
    /// that knows FLTrust passes it with an update that points halfway the root's way; `examples`' `poison` measures both.
    /// No row is left out for its direction, which a liar chooses and an honest site with records of its own does not: what
    /// contradicts the trusted row counts as 0, and the last scaling makes up for it.
    RootBox {
        /// Who trains on the operator's root set.
        root: ParticipantId,
    },
    /// Weighted mean of the rows, each clipped (Sun et al. 2019, "Can You Really Backdoor Federated Learning?").
    NormBound {
        /// L2 norm to which a row is clipped, above 0.
        max_norm: f64,
    },
}

/// Turns rows into rows that disagree less, for cohorts whose records are not alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PreStep {
    /// Each row becomes the mean of the n − f rows nearest to it, itself among them (NNM; Allouah et al. 2023, "Fixing
    /// by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity").
    NearestNeighbourMixing {
        /// f, less than half of the rows.
        byzantine: u32,
    },
    /// Rows are shuffled, and each `size` of them become their mean (Karimireddy et al. 2022, "Byzantine-Robust
    /// Learning on Heterogeneous Datasets via Bucketing"). The set of accepted updates fixes the shuffle, so that nobody
    /// can foresee it before all are in; a participant that the coordinator tells the others' digests could.
    Bucketing {
        /// Rows per bucket (s), at least 2.
        size: u32,
    },
    /// The ⌊2f(n − f)/n⌋ longest rows are clipped to the length of the next (ARC; Allouah et al. 2025, "Adaptive
    /// Gradient Clipping for Robust Federated Learning").
    AdaptiveClipping {
        /// f, less than half of the rows.
        byzantine: u32,
    },
}

/// Turns the rule's vector Δ into the change that is applied to the model.
///
/// FedAdagrad, FedAdam and FedYogi: Reddi et al. 2021, "Adaptive Federated Optimization", Algorithm 2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerStep {
    /// η Δ.
    Plain {
        /// η, above 0.
        learning_rate: f64,
    },
    /// η m / (√v + ε), with v the sum of Δ².
    FedAdagrad {
        /// η, above 0.
        learning_rate: f64,
        /// Fraction of the previous m kept, in [0, 1).
        beta1: f64,
        /// ε, the degree of adaptivity, above 0.
        epsilon: f64,
    },
    /// η m / (√v + ε), with v a running mean of Δ².
    FedAdam {
        /// η, above 0.
        learning_rate: f64,
        /// Fraction of the previous m kept, in [0, 1).
        beta1: f64,
        /// Fraction of the previous v kept, in [0, 1).
        beta2: f64,
        /// ε, the degree of adaptivity, above 0.
        epsilon: f64,
    },
    /// η m / (√v + ε), with v moving towards Δ² by a bounded step.
    FedYogi {
        /// η, above 0.
        learning_rate: f64,
        /// Fraction of the previous m kept, in [0, 1).
        beta1: f64,
        /// Fraction of the previous v kept, in [0, 1).
        beta2: f64,
        /// ε, the degree of adaptivity, above 0.
        epsilon: f64,
    },
    /// η Δ, and a control variate c for the participants' local steps (Karimireddy et al. 2020, "SCAFFOLD: Stochastic
    /// Controlled Averaging for Federated Learning", Algorithm 1).
    Scaffold {
        /// η, above 0.
        learning_rate: f64,
    },
    /// Δ − h / α, with h the accumulated drift (Acar et al. 2021, "Federated Learning Based on Dynamic Regularization",
    /// Algorithm 1).
    FedDyn {
        /// α, the strength of the local regulariser, above 0.
        alpha: f64,
    },
}

impl Default for ServerStep {
    fn default() -> Self {
        Self::Plain { learning_rate: 1.0 }
    }
}

/// Why an aggregation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("aggregation field `{field}`: {reason}")]
pub struct InvalidAggregation {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Explain for InvalidAggregation {
    fn code(&self) -> &'static str {
        "aggregation-invalid"
    }

    fn hint(&self) -> &'static str {
        "raise the quorum, lower `byzantine`, or choose another rule"
    }
}

impl Rule {
    /// How many rows the rule needs at least, a root's row not counted, for what its paper promises.
    pub fn min_rows(&self) -> usize {
        let (factor, constant, byzantine) = match self {
            Self::TrimmedMean { byzantine } | Self::MeanAroundMedian { byzantine } => (2, 1, *byzantine),
            Self::Krum { byzantine } | Self::MultiKrum { byzantine, .. } => (2, 3, *byzantine),
            Self::Bulyan { byzantine } => (4, 3, *byzantine),
            _ => (0, 1, 0),
        };
        widen(byzantine).saturating_mul(factor).saturating_add(constant)
    }

    /// Whose row is the root that this rule trusts.
    pub fn root(&self) -> Option<&ParticipantId> {
        match self {
            Self::FlTrust { root, .. } | Self::RootBox { root, .. } => Some(root),
            _ => None,
        }
    }

    /// Whether the rule heeds the rows' weights; the others count heads.
    pub(super) fn weighs(&self) -> bool {
        matches!(self, Self::Mean | Self::FedNova | Self::NormBound { .. })
    }

    fn validate(&self, rows: usize) -> Result<(), InvalidAggregation> {
        let iterations = |iterations: u32| {
            check((1..=MAX_ITERATIONS).contains(&iterations), "rule.iterations", || {
                format!("{iterations}, not 1 to {MAX_ITERATIONS}")
            })
        };
        check(rows >= self.min_rows(), "rule", || format!("needs {} rows and gets {rows}", self.min_rows()))?;
        match self {
            Self::GeometricMedian { smoothing, iterations: count } => {
                positive(*smoothing, "rule.smoothing").and_then(|()| iterations(*count))
            }
            Self::CenteredClipping { radius, iterations: count } => {
                positive(*radius, "rule.radius").and_then(|()| iterations(*count))
            }
            Self::NormBound { max_norm } => positive(*max_norm, "rule.max_norm"),
            Self::MultiKrum { byzantine, keep: Some(keep) } => {
                let most = rows.saturating_sub(widen(*byzantine));
                check((1..=most).contains(&widen(*keep)), "rule.keep", || format!("{keep}, not 1 to {most}"))
            }
            _ => Ok(()),
        }
    }
}

impl PreStep {
    /// How many rows come out where `rows` go in.
    pub fn rows_out(&self, rows: usize) -> usize {
        match self {
            Self::Bucketing { size } => rows.div_ceil(widen(*size).max(1)),
            Self::NearestNeighbourMixing { .. } | Self::AdaptiveClipping { .. } => rows,
        }
    }

    /// How many rows must go in at least.
    pub fn min_rows(&self) -> usize {
        match self {
            Self::Bucketing { .. } => 1,
            Self::NearestNeighbourMixing { byzantine } | Self::AdaptiveClipping { byzantine } => {
                widen(*byzantine).saturating_mul(2).saturating_add(1)
            }
        }
    }
}

impl ServerStep {
    fn validate(&self) -> Result<(), InvalidAggregation> {
        match *self {
            Self::Plain { learning_rate } | Self::Scaffold { learning_rate } => {
                positive(learning_rate, "server.learning_rate")
            }
            Self::FedDyn { alpha } => positive(alpha, "server.alpha"),
            Self::FedAdagrad { learning_rate, beta1, epsilon } => {
                positive(learning_rate, "server.learning_rate")?;
                fraction(beta1, "server.beta1")?;
                positive(epsilon, "server.epsilon")
            }
            Self::FedAdam { learning_rate, beta1, beta2, epsilon }
            | Self::FedYogi { learning_rate, beta1, beta2, epsilon } => {
                positive(learning_rate, "server.learning_rate")?;
                fraction(beta1, "server.beta1")?;
                fraction(beta2, "server.beta2")?;
                positive(epsilon, "server.epsilon")
            }
        }
    }
}

impl Aggregation {
    /// Checks that every round of at least `quorum` updates of members of `cohort` can be aggregated so.
    pub fn validate(&self, quorum: usize, cohort: &BTreeSet<ParticipantId>) -> Result<(), InvalidAggregation> {
        let root = self.rule.root();
        check(root.is_none_or(|root| cohort.contains(root)), "rule.root", || "not in the cohort".to_owned())?;
        self.check(quorum.saturating_sub(usize::from(root.is_some())))
    }

    /// Checks that `rows` rows, a root's row not counted, can be aggregated so.
    pub(super) fn check(&self, mut rows: usize) -> Result<(), InvalidAggregation> {
        check(self.pre.len() <= MAX_PRE_STEPS, "pre", || {
            format!("{} steps, not 0 to {MAX_PRE_STEPS}", self.pre.len())
        })?;
        check(self.pre.is_empty() || !self.rule.weighs(), "pre", || "only for rules that count heads".to_owned())?;
        for step in &self.pre {
            let sized = !matches!(step, PreStep::Bucketing { size: 0 | 1 });
            check(sized, "pre.size", || "a bucket holds at least 2 rows".to_owned())?;
            check(rows >= step.min_rows(), "pre", || format!("needs {} rows and gets {rows}", step.min_rows()))?;
            rows = step.rows_out(rows);
        }
        self.rule.validate(rows)?;
        self.server.validate()
    }
}

pub(super) fn widen(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn positive(value: f64, field: &'static str) -> Result<(), InvalidAggregation> {
    check(value.is_finite() && value > 0.0, field, || "must be above 0".to_owned())
}

fn fraction(value: f64, field: &'static str) -> Result<(), InvalidAggregation> {
    check((0.0..1.0).contains(&value), field, || "must be in [0, 1)".to_owned())
}

fn check(holds: bool, field: &'static str, reason: impl FnOnce() -> String) -> Result<(), InvalidAggregation> {
    if holds { Ok(()) } else { Err(InvalidAggregation { field, reason: reason() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort(names: &[&str]) -> BTreeSet<ParticipantId> {
        names.iter().map(|name| ParticipantId::new(*name).unwrap()).collect()
    }

    fn refused(aggregation: &str, quorum: usize) -> Option<&'static str> {
        let aggregation: Aggregation = serde_json::from_str(aggregation).unwrap();
        aggregation.validate(quorum, &cohort(&["a", "b"])).err().map(|error| error.field)
    }

    fn with(rule: &str, pre: &str) -> String {
        format!(r#"{{"rule":{rule},"pre":{pre},"server":{{"plain":{{"learning_rate":1.0}}}}}}"#)
    }

    #[test]
    fn the_default_is_the_plain_mean() {
        let written = serde_json::to_string(&Aggregation::default()).unwrap();
        assert_eq!(written, with(r#""mean""#, "[]"));
        assert_eq!(Aggregation::default().validate(1, &cohort(&["a"])), Ok(()));
    }

    #[test]
    fn a_quorum_below_the_papers_bound_is_refused() {
        for (rule, least) in [
            (r#"{"trimmed_mean":{"byzantine":3}}"#, 7),
            (r#"{"mean_around_median":{"byzantine":3}}"#, 7),
            (r#"{"krum":{"byzantine":3}}"#, 9),
            (r#"{"multi_krum":{"byzantine":3,"keep":null}}"#, 9),
            (r#"{"bulyan":{"byzantine":3}}"#, 15),
            (r#"{"fl_trust":{"root":"a","keep_upper_half":true}}"#, 2),
        ] {
            assert_eq!(refused(&with(rule, "[]"), least), None, "{rule}");
            assert_eq!(refused(&with(rule, "[]"), least - 1), Some("rule"), "{rule}");
        }
    }

    #[test]
    fn bucketing_leaves_the_rule_fewer_rows() {
        let text = with(r#"{"krum":{"byzantine":1}}"#, r#"[{"bucketing":{"size":2}}]"#);
        assert_eq!(refused(&text, 9), None);
        assert_eq!(refused(&text, 8), Some("rule"));
    }

    #[test]
    fn numbers_out_of_range_and_strangers_are_refused() {
        for (rule, field) in [
            (r#"{"geometric_median":{"smoothing":0.0,"iterations":8}}"#, "rule.smoothing"),
            (r#"{"geometric_median":{"smoothing":1e-6,"iterations":0}}"#, "rule.iterations"),
            (r#"{"centered_clipping":{"radius":-1.0,"iterations":1}}"#, "rule.radius"),
            (r#"{"norm_bound":{"max_norm":0.0}}"#, "rule.max_norm"),
            (r#"{"multi_krum":{"byzantine":1,"keep":8}}"#, "rule.keep"),
            (r#"{"fl_trust":{"root":"z","keep_upper_half":true}}"#, "rule.root"),
        ] {
            assert_eq!(refused(&with(rule, "[]"), 8), Some(field), "{rule}");
        }
        assert_eq!(refused(&with(r#""coordinate_median""#, r#"[{"bucketing":{"size":1}}]"#), 8), Some("pre.size"));
        assert_eq!(refused(&with(r#""mean""#, r#"[{"bucketing":{"size":2}}]"#), 8), Some("pre"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        for text in [with(r#"{"krum":{"byzantine":1,"keep":2}}"#, "[]"), with(r#""average""#, "[]")] {
            assert!(serde_json::from_str::<Aggregation>(&text).is_err(), "{text}");
        }
    }
}
