//! The one loader of training data: true Poisson samples of whole units, which is what the accountant's amplification by
//! sampling rests on. There is no fixed-size or shuffled batch to be had: nothing else makes a [`Sample`], and under
//! Poisson accounting shuffled batches can cost far more than is reported (Chua et al. 2024, "Scalable DP-SGD: Shuffling
//! vs. Poisson Subsampling").

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use shared::privacy::PrivacyUnit;
use shared_model::Batch;

use super::Dataset;

/// The records that one step draws.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub(super) rows: Vec<f32>,
    pub(super) labels: Vec<f32>,
}

impl Sample {
    /// The sample as the trainer takes it.
    pub fn batch(&self) -> Batch<'_> {
        Batch { rows: &self.rows, labels: &self.labels }
    }
}

/// Draws samples of the units that a guarantee protects.
///
/// Every unit is in a sample with the same probability, by its own coin. Of an entity that is drawn, at most
/// `max_records` records count, another random choice at each step; their clipped gradients sum to at most `max_records`
/// clipping norms, and so does what one entity can move: with noise of `noise_multiplier · clip · max_records` this is the
/// subsampled Gaussian of the record unit, with entities in the place of records ("user-level sampling": Charles et al.
/// 2024, "Fine-Tuning Large Language Models with User-Level Differential Privacy"; here the sum is bounded record by
/// record, not clipped as a whole).
#[derive(Debug)]
pub struct PoissonSampler<'a> {
    dataset: &'a Dataset,
    /// The records of each unit, as indices.
    units: Vec<Vec<usize>>,
    max_records: usize,
}

impl<'a> PoissonSampler<'a> {
    /// A sampler of the data set's `unit`s.
    pub fn new(dataset: &'a Dataset, unit: PrivacyUnit) -> Self {
        let records = 0..dataset.labels.len();
        let units = match unit {
            PrivacyUnit::Record => records.map(|record| vec![record]).collect(),
            PrivacyUnit::Entity { .. } => {
                let mut entities: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
                for (record, entity) in records.zip(&dataset.entities) {
                    entities.entry(*entity).or_default().push(record);
                }
                entities.into_values().collect()
            }
        };
        Self { dataset, units, max_records: usize::try_from(unit.records()).unwrap_or(usize::MAX) }
    }

    /// How many records a sample has on average: public, as the numbers of records and entities are.
    pub fn expected(&self, rate: f64) -> f64 {
        let counting = self.units.iter().map(|unit| unit.len().min(self.max_records)).sum::<usize>();
        rate * f64::from(u32::try_from(counting).unwrap_or(u32::MAX))
    }

    /// A true Poisson sample: every unit is in it with probability `rate`, independently of all others.
    pub fn draw(&self, rate: f64, rng: &mut ChaCha20Rng) -> Sample {
        let mut sample = Sample::default();
        for unit in &self.units {
            if uniform(rng) > rate {
                continue;
            }
            if unit.len() <= self.max_records {
                unit.iter().for_each(|record| self.dataset.copy(*record, &mut sample));
            } else {
                choose(unit, self.max_records, rng).for_each(|record| self.dataset.copy(record, &mut sample));
            }
        }
        sample
    }
}

/// `count` of `records`, without replacement (Fisher and Yates' shuffle, cut short). Which ones is no secret that privacy
/// rests on, so that the bias of 2⁻³² does not matter.
fn choose(records: &[usize], count: usize, rng: &mut ChaCha20Rng) -> impl Iterator<Item = usize> {
    let mut records = records.to_vec();
    for place in 0..count.min(records.len()) {
        let left = u64::try_from(records.len().saturating_sub(place)).unwrap_or(u64::MAX);
        let offset = u64::from(rng.next_u32()).wrapping_mul(left) >> 32;
        records.swap(place, place.saturating_add(usize::try_from(offset).unwrap_or(0)));
    }
    records.into_iter().take(count)
}

/// A uniform multiple of 2^-32 in (0, 1]. It is at most `rate` with a probability that never exceeds `rate`, so that the
/// accountant never assumes a smaller sample than is drawn.
fn uniform(rng: &mut ChaCha20Rng) -> f64 {
    (f64::from(rng.next_u32()) + 1.0) / 2f64.powi(32)
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    /// Records 0, 1, 2, … in order, whose entities are as large as `sizes` says.
    fn numbered(sizes: &[u16]) -> Dataset {
        let mut dataset = Dataset::new(1);
        let mut record = 0_u16;
        for (entity, size) in (0..).zip(sizes) {
            for _ in 0..*size {
                dataset.push(&[f32::from(record)], None, entity).unwrap();
                record += 1;
            }
        }
        dataset
    }

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([4; 32])
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let count = f64::from(u32::try_from(values.len()).unwrap());
        let mean = values.iter().sum::<f64>() / count;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count)
    }

    #[test]
    fn each_record_is_drawn_at_the_rate_and_by_its_own_coin() {
        let dataset = numbered(&[1000]);
        let (sampler, mut rng) = (PoissonSampler::new(&dataset, PrivacyUnit::Record), rng());
        let (draws, rate) = (400_u16, 0.2);
        let (mut per_record, mut sizes) = (vec![0_u16; 1000], Vec::new());
        for _ in 0..draws {
            let sample = sampler.draw(rate, &mut rng);
            sizes.push(f64::from(u16::try_from(sample.labels.len()).unwrap()));
            for row in &sample.rows {
                per_record[(0..1000_u16).position(|n| f32::from(n) == *row).unwrap()] += 1;
            }
        }
        // Binomial(400, 0.2) has mean 80 and deviation 8: five deviations hold for all of 1000 records.
        assert!(per_record.iter().all(|count| (40..=120).contains(count)));
        // The sample's size varies as a binomial's, variance 160; a shuffled or fixed-size batch would not vary.
        let (mean, variance) = moments(&sizes);
        assert!((mean - 200.0).abs() < 4.0 && (110.0..220.0).contains(&variance), "{mean} {variance}");
        assert_eq!(sampler.expected(rate), 200.0);
    }

    #[test]
    fn entities_are_drawn_by_one_coin_each_and_give_no_more_records_than_the_bound() {
        let sizes: Vec<u16> = (0..200).map(|entity| [1, 2, 5, 40][entity % 4]).collect();
        let dataset = numbered(&sizes);
        let unit = PrivacyUnit::Entity { max_records: 3 };
        let (sampler, mut rng) = (PoissonSampler::new(&dataset, unit), rng());
        let mut entity_of = Vec::new();
        for (entity, size) in sizes.iter().enumerate() {
            entity_of.extend(std::iter::repeat_n(entity, usize::from(*size)));
        }
        let (mut drawn, mut touched) = (vec![0_u16; 200], vec![false; entity_of.len()]);
        for _ in 0..400 {
            let mut records = vec![0_usize; 200];
            for row in &sampler.draw(0.2, &mut rng).rows {
                let record = (0..10_000_u16).position(|n| f32::from(n) == *row).unwrap();
                touched[record] = true;
                records[entity_of[record]] += 1;
            }
            for (entity, count) in records.into_iter().enumerate() {
                let full = usize::from(sizes[entity]).min(3);
                assert!(count == 0 || count == full, "an entity is in the sample with {full} records, or not at all");
                drawn[entity] += u16::from(count > 0);
            }
        }
        assert!(drawn.iter().all(|count| (40..=120).contains(count)), "{drawn:?}");
        assert!(touched.iter().filter(|touched| !**touched).count() < 40, "any record may be chosen");
        assert_eq!(sampler.expected(0.5), 0.5 * 50.0 * f64::from(1 + 2 + 3 + 3));
    }

    #[test]
    fn rates_of_none_and_all_are_exact() {
        let dataset = numbered(&[100]);
        for unit in [PrivacyUnit::Record, PrivacyUnit::Entity { max_records: 100 }] {
            let sampler = PoissonSampler::new(&dataset, unit);
            assert!(sampler.draw(0.0, &mut rng()).batch().is_empty());
            assert_eq!(sampler.draw(1.0, &mut rng()).rows, dataset.rows);
        }
    }

    #[test]
    fn a_choice_is_uniform_and_without_replacement() {
        let (mut rng, mut counts) = (rng(), [0_u16; 6]);
        for _ in 0..3000 {
            let mut chosen: Vec<usize> = choose(&[0, 1, 2, 3, 4, 5], 2, &mut rng).collect();
            chosen.iter().for_each(|record| counts[*record] += 1);
            chosen.dedup();
            assert_eq!(chosen.len(), 2);
        }
        // Binomial(3000, 1/3): mean 1000, deviation 26.
        assert!(counts.iter().all(|count| (870..1130).contains(count)), "{counts:?}");
    }
}
