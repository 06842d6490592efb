//! Coordinate-wise median: up to half of the cohort can lie about a coordinate without moving it out of the honest range.
//!
//! Source: Yin et al. 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", Definition 1.

use super::AggregateError;
use crate::params::ParamError;

/// The median of each coordinate over the rows; with an even number of rows, the mean of the two middle values.
pub fn coordinate_median<T>(rows: &[&[T]]) -> Result<Vec<f64>, AggregateError>
where
    T: Copy + Into<f64>,
{
    let len = rows.first().ok_or(AggregateError::Empty)?.len();
    if let Some(row) = rows.iter().find(|row| row.len() != len) {
        return Err(ParamError::WrongLength { expected: len, found: row.len() }.into());
    }
    let mut column = Vec::with_capacity(rows.len());
    let median_at = |index: usize| {
        column.clear();
        column.extend(rows.iter().filter_map(|row| row.get(index)).map(|value| (*value).into()));
        median(&mut column)
    };
    (0..len).map(median_at).collect::<Option<_>>().ok_or(AggregateError::Empty)
}

fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_liar_in_three_does_not_move_the_median() {
        let rows: [&[f32]; 3] = [&[1.0, 5.0], &[2.0, 6.0], &[1e9, -1e9]];
        assert_eq!(coordinate_median(&rows).unwrap(), vec![2.0, 5.0]);
    }

    #[test]
    fn ragged_or_missing_rows_are_refused() {
        assert_eq!(coordinate_median::<f32>(&[]), Err(AggregateError::Empty));
        let ragged: [&[f32]; 2] = [&[1.0], &[1.0, 2.0]];
        assert!(matches!(coordinate_median(&ragged), Err(AggregateError::Shape(_))));
    }
}
