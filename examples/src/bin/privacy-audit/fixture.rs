//! Records for tests.

use examples::nsl_kdd::Row;
use rand::RngExt;

use crate::random::stream;

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
