//! Facts about every rule: against definitions written out plainly, against liars, and against what must be refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

/// f in most tests.
const F: u32 = 2;
/// Rows in most tests: enough for Bulyan.
const N: usize = 13;

fn name(row: usize) -> ParticipantId {
    ParticipantId::new(format!("row-{row}")).unwrap()
}

fn meta(rows: usize) -> Vec<RowMeta> {
    (0..rows).map(|row| RowMeta { participant_id: name(row), weight: 1, local_steps: 1.0 }).collect()
}

fn alone(rule: Rule) -> Aggregation {
    Aggregation { rule, ..Aggregation::default() }
}

fn after(step: PreStep, rule: Rule) -> Aggregation {
    Aggregation { rule, pre: vec![step], ..Aggregation::default() }
}

fn rules() -> Vec<Aggregation> {
    let byzantine = F;
    vec![
        alone(Rule::Mean),
        alone(Rule::FedNova),
        alone(Rule::CoordinateMedian),
        alone(Rule::TrimmedMean { byzantine }),
        alone(Rule::MeanAroundMedian { byzantine }),
        alone(Rule::Krum { byzantine }),
        alone(Rule::MultiKrum { byzantine, keep: None }),
        alone(Rule::MultiKrum { byzantine, keep: Some(3) }),
        alone(Rule::Bulyan { byzantine }),
        alone(Rule::GeometricMedian { smoothing: 1e-6, iterations: 20 }),
        alone(Rule::CenteredClipping { radius: 5.0, iterations: 5 }),
        alone(Rule::FlTrust { root: name(0), keep_upper_half: false }),
        alone(Rule::FlTrust { root: name(0), keep_upper_half: true }),
        alone(Rule::RootBox { root: name(0) }),
        alone(Rule::NormBound { max_norm: 1.0 }),
        after(PreStep::NearestNeighbourMixing { byzantine }, Rule::TrimmedMean { byzantine }),
        after(PreStep::NearestNeighbourMixing { byzantine }, Rule::FlTrust { root: name(0), keep_upper_half: false }),
        after(PreStep::Bucketing { size: 2 }, Rule::TrimmedMean { byzantine }),
        after(PreStep::Bucketing { size: 2 }, Rule::Krum { byzantine }),
        after(PreStep::AdaptiveClipping { byzantine }, Rule::CoordinateMedian),
    ]
}

fn combine<T: Element>(aggregation: &Aggregation, rows: &[Vec<T>]) -> Result<Vec<f64>, AggregateError> {
    let rows = Slices::new(rows.iter().map(Vec::as_slice).collect())?;
    combination(aggregation, &meta(rows.count())).to_vec(&rows)
}

fn combination<'a>(aggregation: &'a Aggregation, meta: &'a [RowMeta]) -> Combination<'a> {
    Combination { aggregation, meta, seed: 7, threads: 2 }
}

/// Rows without liars, none like another.
fn waves(count: u16, dimension: u16) -> Vec<Vec<f32>> {
    let entry = |row: u16, column: u16| 1.0 + (f32::from(row) * 1.7 + f32::from(column) * 0.3).sin();
    (0..count).map(|row| (0..dimension).map(|column| entry(row, column)).collect()).collect()
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|entry| entry * entry).sum::<f64>().sqrt()
}

fn minus(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().zip(right).map(|(left, right)| left - right).collect()
}

fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    assert!(norm(&minus(found, expected)) < 1e-9, "{found:?} {expected:?}");
}

/// Rows that are copied out piece by piece as if from files, and how often that happens.
struct Copied {
    rows: Vec<Vec<f32>>,
    entries_read: AtomicUsize,
    longest_read: AtomicUsize,
}

impl Rows for Copied {
    type Element = f32;

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn dimension(&self) -> usize {
        self.rows[0].len()
    }

    fn read<'a>(&'a self, row: usize, start: usize, scratch: &'a mut [f32]) -> Result<&'a [f32], AggregateError> {
        self.entries_read.fetch_add(scratch.len(), Ordering::Relaxed);
        self.longest_read.fetch_max(scratch.len(), Ordering::Relaxed);
        scratch.copy_from_slice(&self.rows[row][start..start + scratch.len()]);
        Ok(scratch)
    }
}

#[test]
fn rows_from_elsewhere_are_read_twice_at_most_in_short_pieces_and_give_the_same_bits() {
    let vectors = waves(13, 40_000);
    for aggregation in rules() {
        let [entries_read, longest_read] = [0, 0].map(AtomicUsize::new);
        let copied = Copied { rows: vectors.clone(), entries_read, longest_read };
        let found = combination(&aggregation, &meta(N)).to_vec(&copied).unwrap();
        assert_eq!(found, combine(&aggregation, &vectors).unwrap(), "{aggregation:?}");
        assert!(copied.entries_read.into_inner() <= 2 * 13 * 40_000, "{aggregation:?}");
        assert!(copied.longest_read.into_inner() <= 1 << 14, "{aggregation:?}");
    }
}

#[test]
fn no_number_of_threads_changes_a_bit_of_any_rule() {
    let vectors = waves(13, 40_000);
    let rows = Slices::new(vectors.iter().map(Vec::as_slice).collect()).unwrap();
    for aggregation in rules() {
        let with = |threads| Combination { threads, ..combination(&aggregation, &meta(N)) }.to_vec(&rows).unwrap();
        let one = with(1);
        assert_eq!(one.len(), 40_000);
        assert!([0, 2, 3, 7].map(with).iter().all(|found| *found == one), "{aggregation:?}");
    }
}

#[test]
fn blocks_reach_the_sink_in_order_and_its_refusal_ends_the_pass() {
    let vectors = waves(3, 40_000);
    let rows = Slices::new(vectors.iter().map(Vec::as_slice).collect()).unwrap();
    let aggregation = Aggregation::default();
    let mut next = 0;
    let full = AggregateError::Unwritable { reason: "no space".to_owned() };
    let outcome = combination(&aggregation, &meta(3)).run(&rows, |start, block| {
        assert_eq!(start, next);
        next += block.len();
        if next > 30_000 { Err(full.clone()) } else { Ok(()) }
    });
    assert_eq!(outcome, Err(full));
    assert!(next < 40_000);
}

#[test]
fn the_mean_of_rows_is_that_of_the_running_sum() {
    let vectors = waves(5, 40_000);
    let mut sum = FedAvg::new(40_000);
    for vector in &vectors {
        sum.add(1, &crate::ParamVector::new(vector.clone()).unwrap()).unwrap();
    }
    let mut expected = vec![0.0; 40_000];
    sum.mean_block(0, &mut expected).unwrap();
    assert_eq!(combine(&Aggregation::default(), &vectors).unwrap(), expected);
}

#[test]
fn weights_and_local_steps_count_where_they_should() {
    let rows = [vec![1.0], vec![4.0]];
    let slices = Slices::new(rows.iter().map(Vec::as_slice).collect()).unwrap();
    let mut meta = meta(2);
    (meta[1].weight, meta[1].local_steps) = (3, 2.0);
    let with = |rule| combination(&alone(rule), &meta).to_vec(&slices).unwrap();
    assert_eq!(with(Rule::Mean), [13.0 / 4.0]);
    // Per step the rows are 1 and 2; their weighted mean is 7/4, and the mean number of steps is 7/4 too.
    assert_eq!(with(Rule::FedNova), [49.0 / 16.0]);
    assert_eq!(with(Rule::NormBound { max_norm: 2.0 }), [7.0 / 4.0]);
    assert_eq!(with(Rule::CoordinateMedian), [5.0 / 2.0]);
}

#[test]
fn fl_trust_weighs_by_cosine_and_scales_to_the_root() {
    let rows = vec![vec![2.0, 0.0], vec![10.0, 0.0], vec![3.0, 4.0], vec![-1.0, 0.0], vec![0.0, 0.0]];
    let with = |keep_upper_half| alone(Rule::FlTrust { root: name(0), keep_upper_half });
    // Cosines 1, 3/5, −1 and none; lengths all become the root's, 2.
    assert_near(&combine(&with(false), &rows).unwrap(), &[(2.0 + 0.6 * 1.2) / 1.6, 0.6 * 1.6 / 1.6]);
    let of_three = &rows[..3];
    assert_near(&combine(&with(true), of_three).unwrap(), &[2.0, 0.0]);
    let turned_away = [vec![1.0, 0.0], vec![-1.0, 5.0], vec![0.0, 1.0]];
    assert_eq!(combine(&with(false), &turned_away).unwrap(), [0.0, 0.0]);
}

#[test]
fn a_root_box_takes_from_each_row_what_the_root_says_too_and_is_as_long_as_the_root() {
    let rule = alone(Rule::RootBox { root: name(0) });
    let rows =
        vec![vec![3.0, -4.0, 0.0], vec![6.0, -8.0, 0.0], vec![-3e9, -4e9, 0.0], vec![0.0, 0.0, 7.0], vec![0.0; 3]];
    // In the box: the root itself, its second entry alone, and nothing; the row of zeros is left out.
    let (first, second) = (3.0_f64 / 3.0, -8.0_f64 / 3.0);
    let factor = 5.0 / first.hypot(second);
    assert_near(&combine(&rule, &rows).unwrap(), &[first * factor, second * factor, 0.0]);
    let contradicted = [vec![1.0, 0.0], vec![-1.0, 5.0], vec![0.0, 1.0]];
    assert_eq!(combine(&rule, &contradicted).unwrap(), [0.0, 0.0]);
    let wide = waves(5, 40_000);
    let (made, root) = (combine(&rule, &wide).unwrap(), wide[0].iter().copied().map(f64::from).collect::<Vec<_>>());
    assert!((norm(&made) / norm(&root) - 1.0).abs() < 1e-9, "{} and {}", norm(&made), norm(&root));
}

/// Centered clipping as its paper writes it.
fn clipped_around(mut centre: Vec<f64>, rows: &[Vec<f64>], radius: f64, iterations: u32) -> Vec<f64> {
    let count = f64::from(u32::try_from(rows.len()).unwrap());
    for _ in 0..iterations {
        let moves = rows.iter().map(|row| minus(row, &centre)).map(|difference| {
            let factor = (radius / norm(&difference)).min(1.0) / count;
            difference.iter().map(|entry| entry * factor).collect::<Vec<_>>()
        });
        for moved in moves.collect::<Vec<_>>() {
            centre.iter_mut().zip(moved).for_each(|(entry, by)| *entry += by);
        }
    }
    centre
}

/// Bulyan as its paper writes it, over rows by index.
fn bulyan(rows: &[Vec<f64>], f: usize) -> Vec<f64> {
    let mut left: Vec<&Vec<f64>> = rows.iter().collect();
    let mut chosen: Vec<&Vec<f64>> = Vec::new();
    while chosen.len() < rows.len() - 2 * f {
        let score = |row: &Vec<f64>| {
            let mut squares: Vec<f64> = left.iter().map(|other| norm(&minus(row, other)).powi(2)).collect();
            squares.sort_by(f64::total_cmp);
            squares[1..left.len() - f].iter().sum::<f64>()
        };
        let scores: Vec<f64> = left.iter().map(|row| score(row)).collect();
        let best = (0..left.len()).min_by(|i, j| scores[*i].total_cmp(&scores[*j])).unwrap();
        chosen.push(left.remove(best));
    }
    let keep = chosen.len() - 2 * f;
    let coordinate = |index: usize| {
        let mut column: Vec<f64> = chosen.iter().map(|row| row[index]).collect();
        column.sort_by(f64::total_cmp);
        let middle = column.len() / 2;
        let median = if column.len() % 2 == 1 { column[middle] } else { (column[middle - 1] + column[middle]) / 2.0 };
        column.sort_by(|x, y| (x - median).abs().total_cmp(&(y - median).abs()));
        column[..keep].iter().sum::<f64>() / f64::from(u32::try_from(keep).unwrap())
    };
    (0..rows[0].len()).map(coordinate).collect()
}

fn honest_rows(count: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(-1.0..=1.0_f64, 4), count)
}

/// Honest rows, and F liars that all point one way or each their own.
fn rows_with_liars() -> impl Strategy<Value = Vec<Vec<f64>>> {
    let lie = prop::collection::vec(prop_oneof![Just(-1e3), Just(1e3)], 4);
    let liars = prop_oneof![lie.clone().prop_map(|lie| vec![lie; 2]), prop::collection::vec(lie, 2),];
    (honest_rows(N - 2), liars).prop_map(|(honest, liars)| honest.into_iter().chain(liars).collect())
}

proptest! {
    #[test]
    fn centered_clipping_is_its_definition(rows in honest_rows(N), previous in honest_rows(1), radius in 0.1..3.0_f64) {
        let aggregation = alone(Rule::CenteredClipping { radius, iterations: 3 });
        assert_near(&combine(&aggregation, &rows).unwrap(), &clipped_around(vec![0.0; 4], &rows, radius, 3));
        let with_previous: Vec<&[f64]> = rows.iter().chain(&previous).map(Vec::as_slice).collect();
        let found = combination(&aggregation, &meta(N)).to_vec(&Slices::new(with_previous).unwrap()).unwrap();
        assert_near(&found, &clipped_around(previous[0].clone(), &rows, radius, 3));
    }

    #[test]
    fn bulyan_is_its_definition(rows in honest_rows(N)) {
        assert_near(&combine(&alone(Rule::Bulyan { byzantine: F }), &rows).unwrap(), &bulyan(&rows, 2));
    }

    #[test]
    fn the_mean_is_free_of_the_order_of_rows(rows in honest_rows(N).prop_shuffle(), order in Just((0..N).collect::<Vec<_>>()).prop_shuffle()) {
        let shuffled: Vec<Vec<f64>> = order.iter().map(|row| rows[*row].clone()).collect();
        let aggregation = Aggregation::default();
        prop_assert_eq!(combine(&aggregation, &shuffled).unwrap(), combine(&aggregation, &rows).unwrap());
    }

    #[test]
    fn liars_do_not_move_any_coordinate_out_of_the_honest_range(rows in rows_with_liars()) {
        let byzantine = F;
        let honest = &rows[..N - 2];
        for rule in [
            Rule::CoordinateMedian,
            Rule::TrimmedMean { byzantine },
            Rule::Krum { byzantine },
            Rule::MultiKrum { byzantine, keep: None },
            Rule::Bulyan { byzantine },
            Rule::MeanAroundMedian { byzantine },
        ] {
            let found = combine(&alone(rule.clone()), &rows).unwrap();
            for (index, entry) in found.iter().enumerate() {
                let column = || honest.iter().map(|row| row[index]);
                let (low, high) = (column().fold(f64::MAX, f64::min), column().fold(f64::MIN, f64::max));
                prop_assert!((low - 1e-9..=high + 1e-9).contains(entry), "{:?}: {} of {}..{}", rule, entry, low, high);
            }
        }
    }

    #[test]
    fn liars_do_not_move_any_robust_rule_far(rows in rows_with_liars()) {
        // Honest rows are within 2 of 0. Bucketing with size 2 spreads two liars over two buckets of seven at most.
        for aggregation in rules().into_iter().filter(|aggregation| !matches!(aggregation.rule, Rule::Mean | Rule::FedNova)) {
            let found = combine(&aggregation, &rows).unwrap();
            prop_assert!(norm(&found) < 6.0, "{:?}: {:?}", aggregation, found);
        }
        prop_assert!(norm(&combine(&Aggregation::default(), &rows).unwrap()) < 1e4);
    }
}

#[test]
fn one_liar_moves_the_mean() {
    let rows = [vec![0.0], vec![0.0], vec![1e3]];
    assert!(combine(&Aggregation::default(), &rows).unwrap()[0] > 300.0);
    assert_eq!(combine(&alone(Rule::CoordinateMedian), &rows).unwrap(), [0.0]);
}

#[test]
fn too_few_rows_for_the_papers_promise_are_refused() {
    for aggregation in rules() {
        let root = usize::from(aggregation.rule.root().is_some());
        let needed = (1..=N).find(|rows| aggregation.check(*rows).is_ok()).unwrap();
        assert!(combine(&aggregation, &waves(u16::try_from(needed + root).unwrap(), 3)).is_ok(), "{aggregation:?}");
        if needed > 1 {
            let fewer = waves(u16::try_from(needed + root - 1).unwrap(), 3);
            assert!(matches!(combine(&aggregation, &fewer), Err(AggregateError::Invalid(_))), "{aggregation:?}");
        }
    }
}

#[test]
fn rows_that_do_not_fit_the_round_are_refused() {
    let vectors = waves(3, 3);
    let rows = Slices::new(vectors.iter().map(Vec::as_slice).collect()).unwrap();
    let refusal = |rule: Rule, meta: &[RowMeta]| combination(&alone(rule), meta).to_vec(&rows).unwrap_err().code();
    assert_eq!(refusal(Rule::Mean, &[]), "aggregate-empty");
    assert_eq!(refusal(Rule::Mean, &meta(2)), "aggregate-row-mismatch");
    assert_eq!(refusal(Rule::CenteredClipping { radius: 1.0, iterations: 1 }, &meta(1)), "aggregate-row-mismatch");
    assert_eq!(refusal(Rule::FlTrust { root: name(9), keep_upper_half: true }, &meta(3)), "aggregate-root-missing");
    let mut careless = meta(3);
    careless[1].local_steps = 0.0;
    assert_eq!(refusal(Rule::FedNova, &careless), "aggregate-no-local-steps");
    careless.iter_mut().for_each(|row| row.weight = 0);
    assert_eq!(refusal(Rule::Mean, &careless), "aggregate-empty");
    careless.iter_mut().for_each(|row| row.weight = 1 << 19);
    assert_eq!(refusal(Rule::Mean, &careless), "aggregate-too-many-updates");
}

#[test]
fn an_entry_that_is_no_number_is_refused_by_every_rule() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut rows = waves(13, 300);
        rows[4][299] = bad;
        for aggregation in rules() {
            let code = combine(&aggregation, &rows).unwrap_err().code();
            let expected =
                if aggregation.rule == Rule::Mean { "aggregate-out-of-range" } else { "aggregate-not-finite" };
            assert_eq!(code, expected, "{aggregation:?}");
        }
    }
}
