//! Aggregation rules against a JSON list of vectors. A name that there is no rule for is a miss, not something to pass
//! over.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use shared::ParticipantId;
use shared::aggregate::{AggregateError, Aggregation, Combination, PreStep, RowMeta, Rule, Slices};
use shared_ops::cli::Failure;

use crate::{Verdict, unreadable};

/// How far a result may be from the reference.
const TOLERANCE: f64 = 1e-9;
/// How far a geometric median may be, which is an iteration's result.
const ITERATED_TOLERANCE: f64 = 1e-5;

/// Checks every vector of `file`.
pub(crate) fn checks(file: &Path) -> Result<Vec<Check>, Failure> {
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let vectors: Vec<Vector> = serde_json::from_str(&text).map_err(|error| unreadable(file, &error))?;
    Ok(vectors.iter().enumerate().flat_map(|(index, vector)| vector.checks(index)).collect())
}

/// Rows, and what an independent implementation makes of them.
#[derive(Debug, Deserialize)]
struct Vector {
    n: usize,
    f: u32,
    d: usize,
    x: Vec<Vec<f64>>,
    #[serde(flatten)]
    expected: BTreeMap<String, Expected>,
}

/// The result of a rule, or the rows that a step before a rule gives.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Expected {
    One(Vec<f64>),
    Rows(Vec<Vec<f64>>),
}

/// How one result compares.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    vector: usize,
    n: usize,
    f: u32,
    d: usize,
    rule: String,
    /// The largest deviation of an entry; absent where there is no result to compare.
    deviation: Option<f64>,
    tolerance: f64,
    matches: bool,
    /// What is particular about it.
    remark: Option<String>,
}

impl Verdict for Check {
    fn matches(&self) -> bool {
        self.matches
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.matches { "ok  " } else { "MISS" };
        let Self { vector, n, f: byzantine, d, rule, .. } = self;
        write!(f, "{verdict} vector {vector} (n = {n}, f = {byzantine}, d = {d}) {rule:<18}")?;
        self.deviation.iter().try_for_each(|deviation| write!(f, " {deviation:.1e}"))?;
        self.remark.iter().try_for_each(|remark| write!(f, " ({remark})"))
    }
}

impl Vector {
    fn checks(&self, vector: usize) -> Vec<Check> {
        self.expected.iter().map(|(name, expected)| self.check(vector, name, expected)).collect()
    }

    fn check(&self, vector: usize, name: &str, expected: &Expected) -> Check {
        let (n, f, d) = (self.n, self.f, self.d);
        let tolerance = if name.contains("geomed") { ITERATED_TOLERANCE } else { TOLERANCE };
        let blank =
            Check { vector, n, f, d, rule: name.to_owned(), deviation: None, tolerance, matches: false, remark: None };
        let Some(aggregation) = aggregation(name, f) else {
            return Check { remark: Some("there is no rule of this name".to_owned()), ..blank };
        };
        let plain = self.deviation(&aggregation, expected);
        if matches!(plain, Ok(deviation) if deviation <= tolerance) {
            return Check { deviation: plain.ok(), matches: true, ..blank };
        }
        let clipped = self.deviation(&clipped_first(aggregation, f), expected).ok();
        match (clipped.filter(|deviation| *deviation <= tolerance), plain) {
            (Some(deviation), _) => {
                let remark = Some("of the rows that `arc` clipped".to_owned());
                Check { deviation: Some(deviation), matches: true, remark, ..blank }
            }
            (None, Ok(deviation)) => Check { deviation: Some(deviation), ..blank },
            (None, Err(error)) => Check { remark: Some(error.to_string()), ..blank },
        }
    }

    /// The largest deviation of our result from the expected one.
    fn deviation(&self, aggregation: &Aggregation, expected: &Expected) -> Result<f64, AggregateError> {
        let rows = Slices::new(self.x.iter().map(Vec::as_slice).collect())?;
        let names = (0..self.n).map(|row| ParticipantId::new(format!("row-{row}")));
        let meta = |participant_id| RowMeta { participant_id, weight: 1, local_steps: 1.0 };
        let meta: Vec<RowMeta> = names.filter_map(Result::ok).map(meta).collect();
        let combination = Combination { aggregation, meta: &meta, seed: 0, threads: 1 };
        Ok(match expected {
            Expected::One(expected) => largest(&combination.to_vec(&rows)?, expected),
            Expected::Rows(expected) => {
                let found = combination.mixed_rows(&rows)?;
                let deviations = found.iter().zip(expected).map(|(row, expected)| largest(row, expected));
                if found.len() == expected.len() { deviations.fold(0.0, f64::max) } else { f64::INFINITY }
            }
        })
    }
}

fn largest(found: &[f64], expected: &[f64]) -> f64 {
    let deviations = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    if found.len() == expected.len() { deviations.fold(0.0, f64::max) } else { f64::INFINITY }
}

/// The steps before a rule and the rule that a name stands for; for the name of a step alone, the rule does not matter.
fn aggregation(name: &str, byzantine: u32) -> Option<Aggregation> {
    let steps =
        [("nnm", PreStep::NearestNeighbourMixing { byzantine }), ("arc", PreStep::AdaptiveClipping { byzantine })];
    for (prefix, step) in steps {
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let mut after = match rest.strip_prefix('_') {
            Some(rest) => aggregation(rest, byzantine)?,
            None => Aggregation { rule: Rule::CoordinateMedian, ..Aggregation::default() },
        };
        after.pre.insert(0, step);
        return Some(after);
    }
    Some(Aggregation { rule: rule(name, byzantine)?, ..Aggregation::default() })
}

fn rule(name: &str, byzantine: u32) -> Option<Rule> {
    Some(match name {
        "mean" => Rule::Mean,
        "median" => Rule::CoordinateMedian,
        "trmean" => Rule::TrimmedMean { byzantine },
        "meamed" => Rule::MeanAroundMedian { byzantine },
        "krum" => Rule::Krum { byzantine },
        "multikrum" => Rule::MultiKrum { byzantine, keep: None },
        "bulyan" => Rule::Bulyan { byzantine },
        name => {
            let (smoothing, iterations) = name.strip_prefix("geomed_nu")?.split_once("_T")?;
            let smoothing = smoothing.replace("e_", "e-").replace('_', ".").parse().ok()?;
            Rule::GeometricMedian { smoothing, iterations: iterations.parse().ok()? }
        }
    })
}

fn clipped_first(mut aggregation: Aggregation, byzantine: u32) -> Aggregation {
    aggregation.pre.insert(0, PreStep::AdaptiveClipping { byzantine });
    aggregation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(result: &str) -> Vector {
        serde_json::from_str(&format!(r#"{{"n":3,"f":1,"d":1,"x":[[1.0],[2.0],[9.0]],{result}}}"#)).unwrap()
    }

    #[test]
    fn a_result_that_deviates_is_a_miss() {
        assert!(vector(r#""mean":[4.0]"#).checks(0)[0].matches);
        for wrong in [r#""mean":[4.000001]"#, r#""mean":[4.0,4.0]"#, r#""nnm":[[1.5],[1.5]]"#, r#""average":[4.0]"#] {
            assert!(!vector(wrong).checks(0)[0].matches, "{wrong}");
        }
    }

    #[test]
    fn names_are_steps_and_a_rule() {
        let read = aggregation("arc_nnm_geomed_nu1e_6_T50", 2).unwrap();
        let steps = [PreStep::AdaptiveClipping { byzantine: 2 }, PreStep::NearestNeighbourMixing { byzantine: 2 }];
        assert_eq!(read.pre, steps);
        assert_eq!(read.rule, Rule::GeometricMedian { smoothing: 1e-6, iterations: 50 });
        assert_eq!(rule("geomed_nu0_1_T3", 0), Some(Rule::GeometricMedian { smoothing: 0.1, iterations: 3 }));
        assert_eq!(aggregation("geomed", 0), None);
    }

    #[test]
    fn every_vector_of_the_project_matches() {
        let data = std::env::var("RINGFENCE_DATA").unwrap_or_else(|_| "../../shared/data".to_owned());
        let file = Path::new(&data).join("dp/robust_agg_vectors_dev.json");
        if file.exists() {
            let checks = checks(&file).unwrap();
            assert!(!checks.is_empty() && checks.iter().all(|check| check.matches));
        } else {
            eprintln!("skipped: no reference vectors at {}", file.display());
        }
    }
}
