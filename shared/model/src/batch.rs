//! A batch of labelled rows as flat slices. Refuses ragged, non-finite and mislabelled ones before anything is computed.

use crate::ModelError;

/// Rows that go through the network at once: bounds memory whatever the size of the batch.
pub(crate) const CHUNK_ROWS: usize = 1024;

/// Labelled examples. May be empty, as a Poisson sample may be.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a, V = f32> {
    /// Feature vectors, or sequences of tokens, row after row.
    pub rows: &'a [V],
    /// One label per row: 1 for an attack, 0 for anything else; values between are soft labels.
    pub labels: &'a [f32],
}

impl<'a, V> Batch<'a, V> {
    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Checks that every label has one row of `width` values and is a probability.
    pub(crate) fn check_labels(&self, width: usize) -> Result<(), ModelError> {
        let rows = self.rows.len() / width;
        if rows != self.len() {
            return Err(ModelError::LabelCount { rows, labels: self.len() });
        }
        match self.labels.iter().enumerate().find(|(_, label)| !(0.0..=1.0).contains(*label)) {
            Some((row, label)) => Err(ModelError::Label { row, value: *label }),
            None => Ok(()),
        }
    }

    /// The batch in pieces of bounded size, none of them empty.
    pub(crate) fn chunks(&self, inputs: usize) -> impl Iterator<Item = Batch<'a, V>> {
        let rows = self.rows.chunks(CHUNK_ROWS.saturating_mul(inputs));
        rows.zip(self.labels.chunks(CHUNK_ROWS)).map(|(rows, labels)| Batch { rows, labels })
    }
}

/// Checks that `rows` are whole rows of `inputs` finite features.
pub(crate) fn check_rows(rows: &[f32], inputs: usize) -> Result<(), ModelError> {
    if !rows.len().is_multiple_of(inputs) {
        return Err(ModelError::RowLength { expected: inputs, found: rows.len() });
    }
    match rows.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ModelError::InputNotFinite { row: index / inputs, column: index % inputs }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_batch_is_refused_with_its_place() {
        let check = |rows: &[f32], labels: &[f32]| {
            check_rows(rows, 2).and_then(|()| Batch { rows, labels }.check_labels(2)).unwrap_err().to_string()
        };
        assert_eq!(check(&[0.0; 3], &[0.0]), "3 values where rows have 2 features");
        assert_eq!(check(&[0.0, 0.0, 0.0, f32::NAN], &[0.0, 0.0]), "row 1, column 1 is not a finite number");
        assert_eq!(check(&[0.0, f32::INFINITY], &[0.0]), "row 0, column 1 is not a finite number");
        assert_eq!(check(&[0.0; 4], &[0.0]), "1 labels for 2 rows");
        assert_eq!(check(&[0.0; 4], &[0.0, 1.5]), "the label of row 1 is 1.5, not within 0 and 1");
        assert_eq!(check(&[0.0; 2], &[f32::NAN]), "the label of row 0 is NaN, not within 0 and 1");
    }

    #[test]
    fn chunks_hold_every_example_once() {
        let labels = vec![1.0; 2 * CHUNK_ROWS + 1];
        let rows = vec![0.5; 3 * labels.len()];
        let batch = Batch { rows: &rows, labels: &labels };
        let sizes: Vec<usize> = batch.chunks(3).map(|chunk| chunk.len()).collect();
        assert_eq!(sizes, [CHUNK_ROWS, CHUNK_ROWS, 1]);
        assert!(batch.chunks(3).all(|chunk| chunk.check_labels(3).is_ok()));
        assert_eq!(Batch::<f32> { rows: &[], labels: &[] }.chunks(3).count(), 0);
    }
}
