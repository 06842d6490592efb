//! Sorting many columns at once by a sorting network: which values are compared never depends on the values, so that
//! the comparisons of neighbouring columns run side by side in vector lanes.
//!
//! Source: Batcher 1968, "Sorting Networks and Their Applications"; merge exchange as in Knuth, "The Art of Computer
//! Programming" 3, Algorithm 5.2.2M.

/// Columns that are sorted at once: f32 entries of one row that fill a cache line.
pub(super) const LANES: usize = 16;
/// One row of `LANES` columns.
pub(super) type Lanes = [f64; LANES];

/// Which rows to compare, in order, so that each column of `count` rows ends up sorted.
#[derive(Debug, Clone)]
pub(super) struct Network(Vec<[usize; 2]>);

impl Network {
    /// The network for `count` rows.
    pub(super) fn new(count: usize) -> Self {
        let mut pairs = Vec::new();
        let largest = count.next_power_of_two() / 2;
        let mut p = largest;
        while p > 0 {
            let (mut q, mut r, mut distance) = (largest, 0, p);
            loop {
                let lower = 0..count.saturating_sub(distance);
                pairs.extend(lower.filter(|i| i & p == r).map(|i| [i, i.saturating_add(distance)]));
                if q == p {
                    break;
                }
                (distance, r) = (q.saturating_sub(p), p);
                q /= 2;
            }
            p /= 2;
        }
        Self(pairs)
    }

    /// Sorts each column of `rows`, the smallest value first.
    pub(super) fn sort(&self, rows: &mut [Lanes]) {
        for pair in &self.0 {
            if let Ok([low, high]) = rows.get_disjoint_mut(*pair) {
                exchange(low, high);
            }
        }
    }
}

/// Two loops, each of which is one instruction a lane: the smaller, and the larger.
fn exchange(low: &mut Lanes, high: &mut Lanes) {
    let (left, right) = (*low, *high);
    for ((low, left), right) in low.iter_mut().zip(&left).zip(&right) {
        *low = if right < left { *right } else { *left };
    }
    for ((high, left), right) in high.iter_mut().zip(&left).zip(&right) {
        *high = if right < left { *left } else { *right };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_rows_is_sorted() {
        for count in 0..70_u16 {
            let network = Network::new(usize::from(count));
            let entry = |row: u16, lane: u16| (f64::from(row) * 12.9 + f64::from(lane) * 78.2).sin();
            let lanes = |row| std::array::from_fn(|lane| entry(row, u16::try_from(lane).unwrap()));
            let mut rows: Vec<Lanes> = (0..count).map(lanes).collect();
            network.sort(&mut rows);
            assert!(rows.windows(2).all(|pair| pair[0].iter().zip(&pair[1]).all(|(low, high)| low <= high)), "{count}");
        }
    }

    #[test]
    fn every_column_of_zeros_and_ones_is_sorted() {
        // By the 0-1 principle (Knuth, Theorem 5.2.2Z), a network that sorts these sorts everything.
        for count in 1..14_u32 {
            let network = Network::new(usize::try_from(count).unwrap());
            for first in (0..1_u32 << count).step_by(LANES) {
                let bit = |row: u32, lane: usize| f64::from(((first + u32::try_from(lane).unwrap()) >> row) & 1);
                let mut rows: Vec<Lanes> = (0..count).map(|row| std::array::from_fn(|lane| bit(row, lane))).collect();
                network.sort(&mut rows);
                assert!(rows.windows(2).all(|pair| pair[0].iter().zip(&pair[1]).all(|(low, high)| low <= high)));
            }
        }
    }
}
