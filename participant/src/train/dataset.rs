//! Labelled feature vectors in time order, as one flat block. Refuses rows of another width; never shuffles.

use std::ops::Range;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use shared_model::{Batch, Model, ModelError};

use crate::quality::Scored;

/// A site's training or hold-out records.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    width: usize,
    rows: Vec<f32>,
    labels: Vec<f32>,
    /// Each record's attack kind, empty for ordinary events.
    scenarios: Vec<String>,
}

/// The records that one step draws.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    rows: Vec<f32>,
    labels: Vec<f32>,
}

impl Sample {
    /// The sample as the trainer takes it.
    pub fn batch(&self) -> Batch<'_> {
        Batch { rows: &self.rows, labels: &self.labels }
    }
}

impl Dataset {
    /// No records, for vectors of `width` features.
    pub fn new(width: usize) -> Self {
        Self { width, rows: Vec::new(), labels: Vec::new(), scenarios: Vec::new() }
    }

    /// Adds a record: its feature vector, and which attack it is part of, if any.
    pub fn push(&mut self, row: &[f32], scenario: Option<&str>) -> Result<(), ModelError> {
        if row.len() != self.width {
            return Err(ModelError::RowLength { expected: self.width, found: row.len() });
        }
        self.rows.extend_from_slice(row);
        self.labels.push(if scenario.is_some() { 1.0 } else { 0.0 });
        self.scenarios.push(scenario.unwrap_or_default().to_owned());
        Ok(())
    }

    /// Adds the records of `other` behind these.
    pub fn extend(&mut self, other: &Self) -> Result<(), ModelError> {
        if other.width != self.width {
            return Err(ModelError::RowLength { expected: self.width, found: other.width });
        }
        self.rows.extend_from_slice(&other.rows);
        self.labels.extend_from_slice(&other.labels);
        self.scenarios.extend_from_slice(&other.scenarios);
        Ok(())
    }

    /// How many records there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.labels.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Splits in time: the last `percent` of the records are the hold-out, since a detector is judged on what comes
    /// after what it learnt from.
    pub fn split_in_time(mut self, percent: u32) -> (Self, Self) {
        let later = self.labels.len().saturating_mul(size(percent.min(100))) / 100;
        let first = self.labels.len() - later;
        let holdout = Self {
            width: self.width,
            rows: self.rows.split_off(first * self.width),
            labels: self.labels.split_off(first),
            scenarios: self.scenarios.split_off(first),
        };
        (self, holdout)
    }

    /// A true Poisson sample: every record is in it with probability `rate`, independently of all others. This is what
    /// the accountant's amplification by sampling rests on; fixed-size or shuffled batches would void it.
    pub fn poisson_sample(&self, rate: f64, rng: &mut ChaCha20Rng) -> Sample {
        let mut sample = Sample { rows: Vec::new(), labels: Vec::new() };
        for (row, label) in self.rows.chunks_exact(self.width).zip(&self.labels) {
            if uniform(rng) <= rate {
                sample.rows.extend_from_slice(row);
                sample.labels.push(*label);
            }
        }
        sample
    }

    /// The records at these places, as far as there are such.
    pub fn block(&self, places: Range<usize>) -> Sample {
        let end = places.end.min(self.labels.len());
        let start = places.start.min(end);
        let rows = self.rows.get(start * self.width..end * self.width).unwrap_or_default();
        let labels = self.labels.get(start..end).unwrap_or_default();
        Sample { rows: rows.to_vec(), labels: labels.to_vec() }
    }

    /// The mean row of the ordinary records; zeros where there is none. A fact about the records: it stays at the site.
    pub fn mean_ordinary(&self) -> Vec<f32> {
        let mut sums = vec![0.0_f64; self.width];
        let ordinary = self.rows.chunks_exact(self.width).zip(&self.labels).filter(|(_, label)| **label < 0.5);
        let mut count = 0_u32;
        for (row, _) in ordinary {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            count = count.saturating_add(1);
        }
        sums.into_iter().map(|sum| nearest_f32(sum / f64::from(count.max(1)))).collect()
    }

    /// Every record with the logit that `model` gives it.
    pub fn scored(&self, model: &Model) -> Result<Vec<Scored<'_>>, ModelError> {
        let logits = model.logits(&self.rows)?;
        let truth = self.labels.iter().zip(&self.scenarios);
        let scored = logits.into_iter().zip(truth);
        Ok(scored.map(|(score, (label, scenario))| Scored { score, attack: *label > 0.5, scenario }).collect())
    }
}

/// A uniform multiple of 2^-32 in (0, 1]. It is at most `rate` with a probability that never exceeds `rate`, so that the
/// accountant never assumes a smaller sample than is drawn.
fn uniform(rng: &mut ChaCha20Rng) -> f64 {
    (f64::from(rng.next_u32()) + 1.0) / 2f64.powi(32)
}

#[expect(clippy::as_conversions, reason = "rounds a mean of f32 values to the nearest f32")]
fn nearest_f32(value: f64) -> f32 {
    value as f32
}

fn size(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn numbered(records: u16) -> Dataset {
        let mut dataset = Dataset::new(1);
        for number in 0..records {
            dataset.push(&[f32::from(number)], (number % 10 == 0).then_some("dump")).unwrap();
        }
        dataset
    }

    #[test]
    fn a_row_of_another_width_is_refused_and_leaves_no_trace() {
        let mut dataset = numbered(3);
        assert!(matches!(dataset.push(&[1.0, 2.0], None), Err(ModelError::RowLength { expected: 1, found: 2 })));
        assert!(dataset.extend(&Dataset::new(2)).is_err());
        assert_eq!(dataset, numbered(3));
    }

    #[test]
    fn the_holdout_is_what_came_last() {
        let (train, holdout) = numbered(10).split_in_time(30);
        assert_eq!(train, numbered(7));
        assert_eq!(holdout.rows, [7.0, 8.0, 9.0]);
        let mut whole = train;
        whole.extend(&holdout).unwrap();
        assert_eq!(whole, numbered(10));
    }

    #[test]
    fn each_record_is_drawn_at_the_rate_and_by_its_own_coin() {
        let dataset = numbered(1000);
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        let (draws, rate) = (400_u16, 0.2);
        let mut per_record = vec![0_u16; 1000];
        let mut sizes = Vec::new();
        for _ in 0..draws {
            let sample = dataset.poisson_sample(rate, &mut rng);
            sizes.push(f64::from(u16::try_from(sample.labels.len()).unwrap()));
            for row in &sample.rows {
                per_record[(0..1000_u16).position(|n| f32::from(n) == *row).unwrap()] += 1;
            }
        }
        // Binomial(400, 0.2) has mean 80 and deviation 8: five deviations hold for all of 1000 records.
        assert!(per_record.iter().all(|count| (40..=120).contains(count)));
        // The sample's size varies as a binomial's, variance 160; a shuffled or fixed-size batch would not vary.
        let mean = sizes.iter().sum::<f64>() / f64::from(draws);
        let variance = sizes.iter().map(|size| (size - mean).powi(2)).sum::<f64>() / f64::from(draws);
        assert!((mean - 200.0).abs() < 4.0 && (110.0..220.0).contains(&variance), "{mean} {variance}");
    }

    #[test]
    fn rates_of_none_and_all_are_exact() {
        let dataset = numbered(100);
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        assert!(dataset.poisson_sample(0.0, &mut rng).batch().is_empty());
        assert_eq!(dataset.poisson_sample(1.0, &mut rng).rows, dataset.rows);
    }
}
