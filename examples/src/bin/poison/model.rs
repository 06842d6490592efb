//! The model under attack: a perceptron with one hidden layer that says whether a connection is an attack.
//!
//! It is written out here and not taken from `shared-model`, because the matrix trains several thousand federations: on
//! sparse rows, without the per-example clipping of private training, a step costs microseconds. It is no detector for
//! production, and it adds no noise.

use examples::nsl_kdd::Entry;
use rand::{Rng, RngExt};

use crate::rows::Rows;
use crate::vector::{Vector, narrow};

/// Width of the hidden layer.
const HIDDEN: usize = 32;
type Unit = [f32; HIDDEN];

/// How a participant trains within a round: steps of stochastic gradient descent with momentum on the logistic loss.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training {
    pub(crate) steps: usize,
    pub(crate) batch: usize,
    pub(crate) rate: f32,
    pub(crate) momentum: f32,
}

/// A row to learn from and what it is said to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Number of the row.
    pub(crate) row: usize,
    /// Whether the participant calls it an attack.
    pub(crate) attack: bool,
}

/// Weights that have learnt nothing, for rows of `width` columns: the hidden layer's uniform with the variance of He et
/// al. 2015 for the some 16 entries that a row has, the output's alternating, every bias 0.
pub(crate) fn initial(width: usize, rng: &mut impl Rng) -> Vector {
    const BOUND: f32 = 0.6;
    let input = std::iter::repeat_with(|| rng.random_range(-BOUND..BOUND)).take(width.saturating_mul(HIDDEN));
    let output = [0.25, -0.25].into_iter().cycle().take(HIDDEN);
    input.chain([0.0; HIDDEN]).chain(output).chain([0.0]).collect()
}

/// Views of a flat vector: a unit per column, the hidden biases, the output's weights and its bias.
struct Parts<'a> {
    columns: &'a [Unit],
    bias: &'a Unit,
    output: &'a Unit,
    offset: f32,
}

impl<'a> Parts<'a> {
    fn of(params: &'a [f32]) -> Self {
        const NONE: Unit = [0.0; HIDDEN];
        let (units, rest) = params.as_chunks();
        let (columns, last) = units.split_at(units.len().saturating_sub(2));
        let [bias, output] = last else { return Self { columns: &[], bias: &NONE, output: &NONE, offset: 0.0 } };
        Self { columns, bias, output, offset: rest.first().copied().unwrap_or(0.0) }
    }

    /// The hidden layer's values, after the rectifier.
    fn hidden(&self, row: &[Entry]) -> Unit {
        let mut hidden = *self.bias;
        for entry in row {
            if let Some(unit) = self.columns.get(entry.place()) {
                add(&mut hidden, entry.value, unit);
            }
        }
        hidden.map(|value| value.max(0.0))
    }

    fn logit(&self, hidden: &Unit) -> f32 {
        hidden.iter().zip(self.output).map(|(value, weight)| value * weight).sum::<f32>() + self.offset
    }
}

/// Whether the model takes the row for an attack.
pub(crate) fn is_attack(params: &[f32], row: &[Entry]) -> bool {
    let parts = Parts::of(params);
    parts.logit(&parts.hidden(row)) > 0.0
}

/// Trains `params` on random batches of `samples`, drawn with replacement, and returns the change.
pub(crate) fn update(
    params: &[f32],
    samples: &[Sample],
    rows: &Rows,
    training: Training,
    rng: &mut impl Rng,
) -> Vector {
    let mut trained = params.to_vec();
    let mut velocity = vec![0.0; params.len()];
    for _ in 0..training.steps {
        velocity.iter_mut().for_each(|speed| *speed *= training.momentum);
        let draw = || samples.get(rng.random_range(0..samples.len().max(1)));
        let drawn: Vec<&Sample> = std::iter::repeat_with(draw).take(training.batch).flatten().collect();
        let batch = rows.pick(drawn.iter().map(|sample| sample.row));
        for (place, sample) in drawn.iter().enumerate() {
            descend(&mut velocity, &trained, batch.row(place), sample.attack);
        }
        let rate = training.rate / narrow(crate::vector::count(training.batch));
        trained.iter_mut().zip(&velocity).for_each(|(weight, speed)| *weight -= rate * speed);
    }
    trained.iter_mut().zip(params).for_each(|(after, before)| *after -= before);
    trained
}

/// Adds the gradient of one example's loss.
fn descend(gradient: &mut [f32], params: &[f32], row: &[Entry], attack: bool) {
    let parts = Parts::of(params);
    let hidden = parts.hidden(row);
    let error = logistic(parts.logit(&hidden)) - f32::from(u8::from(attack));
    let mut back = [0.0; HIDDEN];
    for ((back, weight), value) in back.iter_mut().zip(parts.output).zip(&hidden) {
        *back = if *value > 0.0 { error * weight } else { 0.0 };
    }
    let (units, rest) = gradient.as_chunks_mut::<HIDDEN>();
    let (columns, last) = units.split_at_mut(units.len().saturating_sub(2));
    if let [bias, output] = last {
        add(bias, 1.0, &back);
        add(output, error, &hidden);
    }
    rest.iter_mut().for_each(|offset| *offset += error);
    for entry in row {
        if let Some(unit) = columns.get_mut(entry.place()) {
            add(unit, entry.value, &back);
        }
    }
}

fn add(to: &mut Unit, factor: f32, unit: &Unit) {
    to.iter_mut().zip(unit).for_each(|(to, value)| *to += factor * value);
}

fn logistic(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn loss(params: &[f32], row: &[Entry], attack: bool) -> f64 {
        let parts = Parts::of(params);
        let logit = f64::from(parts.logit(&parts.hidden(row)));
        (1.0 + (if attack { -logit } else { logit }).exp()).ln()
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let row = [Entry { column: 0, value: 0.7 }, Entry { column: 2, value: -0.4 }];
        let params = initial(3, &mut ChaCha8Rng::seed_from_u64(1));
        let mut gradient = vec![0.0; params.len()];
        descend(&mut gradient, &params, &row, true);
        for index in [0, 7, 2 * HIDDEN + 3, 3 * HIDDEN + 1, 4 * HIDDEN + 5, params.len() - 1] {
            let shifted = |by| {
                let mut moved = params.clone();
                moved[index] += by;
                loss(&moved, &row, true)
            };
            let slope = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((slope - f64::from(gradient[index])).abs() < 1e-3, "{index}: {slope} and {}", gradient[index]);
        }
    }

    #[test]
    fn what_no_line_separates_is_learnt() {
        let mut rows = Rows::default();
        let mut samples = Vec::new();
        for (row, (a, b)) in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)].into_iter().enumerate() {
            rows.push([Entry { column: 0, value: a }, Entry { column: 1, value: b }]);
            samples.push(Sample { row, attack: a != b });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let start = initial(2, &mut rng);
        let training = Training { steps: 500, batch: 8, rate: 0.2, momentum: 0.9 };
        let change = update(&start, &samples, &rows, training, &mut rng);
        let trained: Vector = start.iter().zip(change).map(|(before, change)| before + change).collect();
        assert!(samples.iter().all(|sample| is_attack(&trained, rows.row(sample.row)) == sample.attack));
    }
}
