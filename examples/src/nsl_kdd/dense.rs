//! Connections as dense vectors, the way a participant's data set holds them.

use std::path::Path;

use participant::train::Dataset;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use shared_model::ModelError;
use shared_ops::cli::Failure;

use super::{Encoder, Record, load};

/// A connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The vector.
    pub features: Vec<f32>,
    /// Whether it is an attack's.
    pub attack: bool,
}

impl Row {
    /// The same vector, called what it is not.
    pub fn mislabelled(&self) -> Self {
        Self { features: self.features.clone(), attack: !self.attack }
    }
}

/// Vectors of KDDTrain+ in `dir`, in the random order of `seed`.
///
/// # Errors
/// As [`load`].
pub fn shuffled_rows(dir: &Path, seed: u64) -> Result<Vec<Row>, Failure> {
    let records = load(dir, "KDDTrain+.txt.gz")?;
    let encoder = Encoder::fit(&records);
    let mut rows: Vec<Row> = records.iter().map(|record| row(&encoder, record)).collect();
    rows.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
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

/// A site's records, `width` features each; each is an entity of its own.
///
/// # Errors
/// A row has another width.
pub fn data_set<'a>(width: usize, rows: impl IntoIterator<Item = &'a Row>) -> Result<Dataset, ModelError> {
    let mut dataset = Dataset::new(width);
    for (row, entity) in rows.into_iter().zip(0..) {
        dataset.push(&row.features, row.attack.then_some("attack"), entity)?;
    }
    Ok(dataset)
}

#[cfg(test)]
mod tests {
    use super::super::NUMBERS;
    use super::*;

    #[test]
    fn a_record_becomes_a_dense_vector() {
        let record = Record { symbols: Default::default(), numbers: [3.0; NUMBERS], label: "smurf".to_owned() };
        let row = row(&Encoder::fit([&record]), &record);
        assert_eq!(row, Row { features: vec![1.0; NUMBERS + 3], attack: true });
        assert_eq!(row.mislabelled(), Row { attack: false, ..row });
    }
}
