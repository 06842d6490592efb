//! What sites of the audit learn from: connections of NSL-KDD as dense vectors, a random part of KDDTrain+.

use std::path::Path;

use examples::nsl_kdd::{self, Encoder, Record};
use participant::train::Dataset;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use shared_model::ModelError;
use shared_ops::cli::Failure;

/// A vector and whether it is an attack's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) features: Vec<f32>,
    pub(crate) attack: bool,
}

impl Row {
    /// The same vector, called what it is not.
    pub(crate) fn mislabelled(&self) -> Self {
        Self { features: self.features.clone(), attack: !self.attack }
    }
}

/// Random numbers for one purpose, the same whatever else is drawn. The auditor's own: the coins of the site that is
/// audited come from elsewhere.
pub(crate) fn stream(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

/// Vectors of KDDTrain+ in `dir`, in random order.
pub(crate) fn load(dir: &Path, seed: u64) -> Result<Vec<Row>, Failure> {
    let records = nsl_kdd::load(dir, "KDDTrain+.txt.gz")?;
    let encoder = Encoder::fit(&records);
    let mut rows: Vec<Row> = records.iter().map(|record| row(&encoder, record)).collect();
    rows.shuffle(&mut stream(seed, 0));
    Ok(rows)
}

fn row(encoder: &Encoder, record: &Record) -> Row {
    let mut features = vec![0.0; encoder.width()];
    for entry in encoder.encode(record) {
        if let Some(feature) = features.get_mut(entry.place()) {
            *feature = entry.value;
        }
    }
    Row { features, attack: record.is_attack() }
}

/// A site that holds `rows`.
pub(crate) fn site<'a>(width: usize, rows: impl IntoIterator<Item = &'a Row>) -> Result<Dataset, ModelError> {
    let mut dataset = Dataset::new(width);
    for row in rows {
        dataset.push(&row.features, row.attack.then_some("attack"))?;
    }
    Ok(dataset)
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::RngExt;

    use super::*;

    /// Vectors of eight features, of which the first tells attacks.
    pub(crate) fn rows(count: usize) -> Vec<Row> {
        let mut rng = stream(7, 7);
        let mut row = |number: usize| {
            let attack = number.is_multiple_of(3);
            let mut features: Vec<f32> = (0..8).map(|_| rng.random_range(0.0..1.0)).collect();
            features[0] = if attack { 1.0 } else { 0.0 };
            Row { features, attack }
        };
        (0..count).map(&mut row).collect()
    }

    #[test]
    fn a_record_becomes_a_dense_vector() {
        let record =
            Record { symbols: Default::default(), numbers: [3.0; nsl_kdd::NUMBERS], label: "smurf".to_owned() };
        let row = row(&Encoder::fit([&record]), &record);
        assert_eq!(row, Row { features: vec![1.0; nsl_kdd::NUMBERS + 3], attack: true });
        assert_eq!(row.mislabelled(), Row { attack: false, ..row });
    }
}
