//! The Gram matrix of the rows: every distance and angle between them, from one pass over blocks of their entries.
//!
//! Each product is summed over a block's entries in their order, and the blocks' sums in theirs, all in f64 without
//! fused operations, so that the matrix has the same bits on every machine and for every number of threads. Equal rows
//! are at distance 0 exactly.

use std::ops::Range;

use super::AggregateError;
use super::blocks::Blocks;
use super::mixing::Mixing;
use super::rows::{Element, Rows, pieces};

/// Rows that are multiplied at once: 4 × 4 sums fill the sixteen 128-bit registers that every x86-64 has.
const LANES: usize = 4;
/// Entries of a panel: two panels fit a core's first-level cache.
const PANEL_ENTRIES: usize = 256;

/// One entry of `LANES` rows.
type Lanes = [f64; LANES];
/// The products of `LANES` rows with `LANES` rows.
type Tile = [Lanes; LANES];

/// Which products are needed; the others are left 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Products {
    /// None.
    None,
    /// Each row with itself, and with the row that is named.
    OfEach {
        /// A row whose products with all others are needed as well.
        with: Option<usize>,
    },
    /// Each row with each.
    All,
}

/// Products of rows with rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gram {
    rows: Vec<Vec<f64>>,
}

impl Gram {
    /// The products of `rows`, in one pass.
    pub(super) fn of<R: Rows>(rows: &R, products: Products, threads: usize) -> Result<Self, AggregateError> {
        let count = rows.count();
        let tiles = tiles(count.div_ceil(LANES), products);
        if tiles.is_empty() {
            return Ok(Self::from_tiles(count, &[], &[]));
        }
        let mut sums = vec![Tile::default(); tiles.len()];
        let worker = || {
            let mut scratch = Vec::new();
            let tiles = &tiles;
            move |range: Range<usize>| Ok(block_products(&pieces(rows, &range, &mut scratch)?, tiles))
        };
        let blocks = Blocks::new(rows.dimension(), count);
        blocks.for_each(threads, worker, |_, block: Vec<Tile>| {
            sums.iter_mut().zip(&block).for_each(|(sum, more)| add(sum, more));
            Ok(())
        })?;
        Ok(Self::from_tiles(count, &tiles, &sums))
    }

    fn from_tiles(count: usize, tiles: &[(usize, usize)], sums: &[Tile]) -> Self {
        let mut rows = vec![vec![0.0; count]; count];
        for ((left, right), tile) in tiles.iter().zip(sums) {
            for (i, lanes) in (left * LANES..count).zip(tile) {
                for (j, product) in (right * LANES..count).zip(lanes) {
                    set(&mut rows, i, j, *product);
                    set(&mut rows, j, i, *product);
                }
            }
        }
        Self { rows }
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> usize {
        self.rows.len()
    }

    /// The product of rows `i` and `j`; 0 where there is no such row.
    pub(super) fn product(&self, i: usize, j: usize) -> f64 {
        self.rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or_default()
    }

    /// The Euclidean norm of row `i`.
    pub(super) fn norm(&self, i: usize) -> f64 {
        self.product(i, i).sqrt()
    }

    /// The squared distance of rows `i` and `j`.
    pub(super) fn squared_distance(&self, i: usize, j: usize) -> f64 {
        (self.product(i, i) + self.product(j, j) - 2.0 * self.product(i, j)).max(0.0)
    }

    /// The distance of each row from the sum of the rows weighted by `weights`.
    pub(super) fn distances_from(&self, weights: &[f64]) -> Vec<f64> {
        let with_sum: Vec<f64> = self.rows.iter().map(|row| dot(row, weights)).collect();
        let square = dot(&with_sum, weights);
        let distance = |(i, product): (usize, &f64)| (self.product(i, i) - 2.0 * product + square).max(0.0).sqrt();
        with_sum.iter().enumerate().map(distance).collect()
    }

    /// The products of the rows that `mixing` makes of these: W G Wᵀ.
    pub(super) fn mixed(&self, mixing: &Mixing) -> Self {
        let half: Vec<Vec<f64>> =
            self.rows.iter().map(|row| mixing.rows().map(|weights| weights.apply(row)).collect()).collect();
        let columns = |j: usize| half.iter().map(|row| row.get(j).copied().unwrap_or_default()).collect::<Vec<_>>();
        let transposed: Vec<Vec<f64>> = (0..mixing.len()).map(columns).collect();
        let row = |weights: &super::mixing::Weights| transposed.iter().map(|column| weights.apply(column)).collect();
        Self { rows: mixing.rows().map(row).collect() }
    }
}

/// The products within one block, in the order of `tiles`.
fn block_products<T: Element>(rows: &[&[T]], tiles: &[(usize, usize)]) -> Vec<Tile> {
    let mut sums = vec![Tile::default(); tiles.len()];
    let mut panels = vec![[Lanes::default(); PANEL_ENTRIES]; rows.len().div_ceil(LANES)];
    let len = rows.first().map_or(0, |row| row.len());
    for start in (0..len).step_by(PANEL_ENTRIES) {
        let end = start.saturating_add(PANEL_ENTRIES).min(len);
        let width = end.saturating_sub(start);
        panels.iter_mut().zip(rows.chunks(LANES)).for_each(|(panel, rows)| pack(panel, rows, &(start..end)));
        for ((left, right), sum) in tiles.iter().zip(&mut sums) {
            if let (Some(left), Some(right)) = (panels.get(*left), panels.get(*right)) {
                add(sum, &multiply(left.get(..width).unwrap_or_default(), right));
            }
        }
    }
    sums
}

/// Lays entries `range` of up to `LANES` rows side by side; zeros stand for rows that are not there.
fn pack<T: Element>(panel: &mut [Lanes], rows: &[&[T]], range: &Range<usize>) {
    let zeros = [T::default(); PANEL_ENTRIES];
    let lane = |lane: usize| rows.get(lane).and_then(|row| row.get(range.clone())).unwrap_or(&zeros);
    let [a, b, c, d] = [0, 1, 2, 3].map(lane);
    for ((((lanes, a), b), c), d) in panel.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *lanes = [(*a).into(), (*b).into(), (*c).into(), (*d).into()];
    }
}

/// The products of each row on the `left` with each on the `right`.
fn multiply(left: &[Lanes], right: &[Lanes]) -> Tile {
    let mut tile = Tile::default();
    for (left, right) in left.iter().zip(right) {
        for (sums, factor) in tile.iter_mut().zip(left) {
            for (sum, other) in sums.iter_mut().zip(right) {
                *sum += factor * other;
            }
        }
    }
    tile
}

fn add(sum: &mut Tile, more: &Tile) {
    sum.iter_mut().flatten().zip(more.iter().flatten()).for_each(|(sum, more)| *sum += more);
}

/// Which panels have to be multiplied with which.
fn tiles(panels: usize, products: Products) -> Vec<(usize, usize)> {
    let needed = |left: usize, right: usize| match products {
        Products::None => false,
        Products::All => true,
        Products::OfEach { with } => left == right || with.is_some_and(|row| [left, right].contains(&(row / LANES))),
    };
    let below = |left| (0..=left).map(move |right| (left, right));
    (0..panels).flat_map(below).filter(|(left, right)| needed(*left, *right)).collect()
}

fn set(rows: &mut [Vec<f64>], i: usize, j: usize, value: f64) {
    if let Some(slot) = rows.get_mut(i).and_then(|row| row.get_mut(j)) {
        *slot = value;
    }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[cfg(test)]
mod tests {
    use super::super::rows::Slices;
    use super::*;

    fn rows(count: u16, dimension: u16) -> Vec<Vec<f32>> {
        let entry = |row: u16, column: u16| (f32::from(row) * 1.7 + f32::from(column) * 0.3).sin();
        (0..count).map(|row| (0..dimension).map(|column| entry(row, column)).collect()).collect()
    }

    fn gram(rows: &[Vec<f32>], products: Products, threads: usize) -> Gram {
        Gram::of(&Slices::new(rows.iter().map(Vec::as_slice).collect()).unwrap(), products, threads).unwrap()
    }

    #[test]
    fn products_are_those_of_the_definition() {
        let rows = rows(9, 700);
        let gram = gram(&rows, Products::All, 2);
        for (i, left) in rows.iter().enumerate() {
            for (j, right) in rows.iter().enumerate() {
                let expected: f64 = left.iter().zip(right).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                assert!((gram.product(i, j) - expected).abs() < 1e-9, "{i} {j}");
            }
        }
    }

    #[test]
    fn no_number_of_threads_changes_a_bit() {
        let rows = rows(7, 60_000);
        let one = gram(&rows, Products::All, 1);
        assert!((2..6).all(|threads| gram(&rows, Products::All, threads) == one));
    }

    #[test]
    fn products_that_are_not_needed_cost_nothing_and_the_needed_ones_are_the_same() {
        let rows = rows(13, 300);
        let all = gram(&rows, Products::All, 1);
        let some = gram(&rows, Products::OfEach { with: Some(5) }, 1);
        for i in 0..13 {
            assert_eq!(some.norm(i), all.norm(i));
            assert_eq!(some.product(i, 5), all.product(i, 5));
        }
        assert_eq!(some.product(0, 12), 0.0);
    }

    #[test]
    fn equal_rows_are_at_distance_zero_wherever_they_stand() {
        let mut rows = rows(11, 1000);
        rows[9] = rows[2].clone();
        assert_eq!(gram(&rows, Products::All, 1).squared_distance(2, 9), 0.0);
    }
}
