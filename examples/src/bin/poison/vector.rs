//! Arithmetic on parameter vectors, as attackers need it. Sums run in double precision. It checks no lengths: all vectors
//! of a round come from one model.

pub(crate) use examples::number::{count, narrow};

/// A vector of parameters.
pub(crate) type Vector = Vec<f32>;

/// ⟨a, b⟩.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// ‖a‖.
pub(crate) fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

/// ‖a − b‖².
pub(crate) fn distance_sq(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// Cosine of the angle between the vectors; 0 where one of them is 0.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let lengths = norm(a) * norm(b);
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

/// factor · a.
pub(crate) fn scaled(a: &[f32], factor: f64) -> Vector {
    a.iter().map(|a| narrow(f64::from(*a) * factor)).collect()
}

/// a + factor · b.
pub(crate) fn plus(a: &[f32], factor: f64, b: &[f32]) -> Vector {
    a.iter().zip(b).map(|(a, b)| narrow(f64::from(*a) + factor * f64::from(*b))).collect()
}

/// The vector of length 1 in the direction of `a`; 0 stays 0.
pub(crate) fn unit(a: &[f32]) -> Vector {
    let norm = norm(a);
    scaled(a, if norm > 0.0 { norm.recip() } else { 0.0 })
}

/// Mean of each coordinate.
pub(crate) fn mean<V: AsRef<[f32]>>(rows: &[V]) -> Vector {
    fold(rows, |sum, value| *sum += value).into_iter().map(|sum| narrow(sum / count(rows.len()).max(1.0))).collect()
}

/// Standard deviation of each coordinate over the rows, around `mean`.
pub(crate) fn deviation<V: AsRef<[f32]>>(rows: &[V], mean: &[f32]) -> Vector {
    let centred: Vec<Vector> = rows.iter().map(|row| plus(row.as_ref(), -1.0, mean)).collect();
    let squares = fold(&centred, |sum, value| *sum += value * value);
    squares.into_iter().map(|sum| narrow((sum / count(rows.len()).max(1.0)).sqrt())).collect()
}

fn fold<V: AsRef<[f32]>>(rows: &[V], add: impl Fn(&mut f64, f64)) -> Vec<f64> {
    let mut sums = vec![0.0; rows.first().map_or(0, |row| row.as_ref().len())];
    for row in rows {
        sums.iter_mut().zip(row.as_ref()).for_each(|(sum, value)| add(sum, f64::from(*value)));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_each_coordinate() {
        let rows = [vec![1.0, 0.0], vec![3.0, 0.0]];
        let mean = mean(&rows);
        assert_eq!((mean.as_slice(), deviation(&rows, &mean)), (&[2.0, 0.0][..], vec![1.0, 0.0]));
    }

    #[test]
    fn a_vector_of_zeros_has_neither_direction_nor_angle() {
        assert_eq!(unit(&[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
        assert!((cosine(&[1.0, 1.0], &[2.0, 2.0]) - 1.0).abs() < 1e-12);
    }
}
