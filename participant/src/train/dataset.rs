//! Labelled feature vectors in time order, as one flat block. Refuses rows of another width; never shuffles.

use std::ops::Range;

use shared_model::{Model, ModelError};

use super::Sample;
use crate::quality::Scored;

/// A site's training or hold-out records.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    width: usize,
    pub(super) rows: Vec<f32>,
    pub(super) labels: Vec<f32>,
    /// Whose each record is.
    pub(super) entities: Vec<u64>,
    /// Each record's attack kind, empty for ordinary events.
    scenarios: Vec<String>,
}

impl Dataset {
    /// No records, for vectors of `width` features.
    pub fn new(width: usize) -> Self {
        Self { width, rows: Vec::new(), labels: Vec::new(), entities: Vec::new(), scenarios: Vec::new() }
    }

    /// Adds a record: its feature vector, which attack it is part of, if any, and the token of the principal whose it is.
    /// Two principals of one token would count as one entity, and be protected as one.
    pub fn push(&mut self, row: &[f32], scenario: Option<&str>, entity: u64) -> Result<(), ModelError> {
        if row.len() != self.width {
            return Err(ModelError::RowLength { expected: self.width, found: row.len() });
        }
        self.rows.extend_from_slice(row);
        self.labels.push(if scenario.is_some() { 1.0 } else { 0.0 });
        self.entities.push(entity);
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
        self.entities.extend_from_slice(&other.entities);
        self.scenarios.extend_from_slice(&other.scenarios);
        Ok(())
    }

    /// Whose each record is.
    pub fn entities(&self) -> &[u64] {
        &self.entities
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
            entities: self.entities.split_off(first),
            scenarios: self.scenarios.split_off(first),
        };
        (self, holdout)
    }

    /// Adds a record to a sample.
    pub(super) fn copy(&self, record: usize, sample: &mut Sample) {
        let start = record.saturating_mul(self.width);
        if let (Some(row), Some(label)) =
            (self.rows.get(start..start.saturating_add(self.width)), self.labels.get(record))
        {
            sample.rows.extend_from_slice(row);
            sample.labels.push(*label);
        }
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

#[expect(clippy::as_conversions, reason = "rounds a mean of f32 values to the nearest f32")]
fn nearest_f32(value: f64) -> f32 {
    value as f32
}

fn size(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(records: u16) -> Dataset {
        let mut dataset = Dataset::new(1);
        for number in 0..records {
            dataset.push(&[f32::from(number)], (number % 10 == 0).then_some("dump"), number.into()).unwrap();
        }
        dataset
    }

    #[test]
    fn a_row_of_another_width_is_refused_and_leaves_no_trace() {
        let mut dataset = numbered(3);
        assert!(matches!(dataset.push(&[1.0, 2.0], None, 0), Err(ModelError::RowLength { expected: 1, found: 2 })));
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
}
