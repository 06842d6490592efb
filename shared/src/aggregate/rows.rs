//! Where updates are read from while they are aggregated: piece by piece, so that no whole set of updates has to be in
//! memory. A piece with an entry that is no finite number is refused.

use std::ops::Range;

use super::AggregateError;
use crate::params::ParamError;

/// A number as updates hold it.
pub trait Element: Copy + Default + Into<f64> + Send + Sync {}

impl Element for f32 {}
impl Element for f64 {}

/// Updates of equal length, one a row, in an order that the caller fixes (for instance by participant).
pub trait Rows: Sync {
    /// What a row consists of.
    type Element: Element;

    /// How many rows there are (n).
    fn count(&self) -> usize;

    /// How many entries each row has (d).
    fn dimension(&self) -> usize;

    /// Entries `start..start + scratch.len()` of `row`: read into `scratch`, or lent where they lie in memory already.
    fn read<'a>(
        &'a self,
        row: usize,
        start: usize,
        scratch: &'a mut [Self::Element],
    ) -> Result<&'a [Self::Element], AggregateError>;
}

/// Rows that lie in memory.
#[derive(Debug, Clone)]
pub struct Slices<'a, T> {
    rows: Vec<&'a [T]>,
    dimension: usize,
}

impl<'a, T: Element> Slices<'a, T> {
    /// Takes rows of one length; refuses ragged ones, and none at all.
    pub fn new(rows: Vec<&'a [T]>) -> Result<Self, AggregateError> {
        let dimension = rows.first().ok_or(AggregateError::Empty)?.len();
        match rows.iter().find(|row| row.len() != dimension) {
            Some(row) => Err(ParamError::WrongLength { expected: dimension, found: row.len() }.into()),
            None => Ok(Self { rows, dimension }),
        }
    }
}

impl<T: Element> Rows for Slices<'_, T> {
    type Element = T;

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn read<'a>(&'a self, row: usize, start: usize, scratch: &'a mut [T]) -> Result<&'a [T], AggregateError> {
        let end = start.saturating_add(scratch.len());
        let reason = || format!("it has no entries {start}..{end}");
        let piece = self.rows.get(row).and_then(|entries| entries.get(start..end));
        piece.ok_or_else(|| AggregateError::Unreadable { row, reason: reason() })
    }
}

/// One piece of every row, checked.
pub(super) fn pieces<'a, R: Rows>(
    rows: &'a R,
    range: &Range<usize>,
    scratch: &'a mut Vec<R::Element>,
) -> Result<Vec<&'a [R::Element]>, AggregateError> {
    scratch.resize(range.len().saturating_mul(rows.count()), R::Element::default());
    let slots = scratch.chunks_exact_mut(range.len().max(1)).take(rows.count());
    slots.enumerate().map(|(row, slot)| checked(rows, row, range.start, slot)).collect()
}

/// Entries `start..` of a row, as many as `scratch` holds, all finite.
pub(super) fn checked<'a, R: Rows>(
    rows: &'a R,
    row: usize,
    start: usize,
    scratch: &'a mut [R::Element],
) -> Result<&'a [R::Element], AggregateError> {
    let entries = piece(rows, row, start, scratch)?;
    if within(entries, f64::from(f32::MAX)) { Ok(entries) } else { Err(AggregateError::NotFinite { row }) }
}

/// Entries `start..` of a row, as many as `scratch` holds.
pub(super) fn piece<'a, R: Rows>(
    rows: &'a R,
    row: usize,
    start: usize,
    scratch: &'a mut [R::Element],
) -> Result<&'a [R::Element], AggregateError> {
    let expected = scratch.len();
    let entries = rows.read(row, start, scratch)?;
    if entries.len() == expected {
        return Ok(entries);
    }
    let reason = format!("{} entries where {expected} were asked for", entries.len());
    Err(AggregateError::Unreadable { row, reason })
}

/// Whether every entry is a number of magnitude `limit` at most. Without an early exit, so that it runs in vector lanes.
pub(super) fn within<T: Element>(values: &[T], limit: f64) -> bool {
    values.iter().fold(true, |holds, value| holds & ((*value).into().abs() <= limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ragged_or_missing_rows_are_refused() {
        assert!(matches!(Slices::<f32>::new(vec![]), Err(AggregateError::Empty)));
        assert!(matches!(Slices::new(vec![&[1.0_f32][..], &[1.0, 2.0]]), Err(AggregateError::Shape(_))));
    }

    #[test]
    fn an_entry_that_is_no_finite_number_is_refused_with_its_row() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
            let (good, bad) = ([1.0; 40], [[1.0; 39].as_slice(), &[bad]].concat());
            let rows = Slices::new(vec![&good[..], &bad]).unwrap();
            assert_eq!(pieces(&rows, &(0..40), &mut Vec::new()), Err(AggregateError::NotFinite { row: 1 }));
            assert!(pieces(&rows, &(0..39), &mut Vec::new()).is_ok());
        }
    }

    #[test]
    fn entries_beyond_the_end_are_refused() {
        let rows = Slices::new(vec![&[1.0_f32, 2.0][..]]).unwrap();
        assert!(matches!(pieces(&rows, &(1..3), &mut Vec::new()), Err(AggregateError::Unreadable { row: 0, .. })));
    }
}
