//! Krum and its kin: rows are judged by how near their nearest neighbours are.
//!
//! Source: Blanchard et al. 2017, "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", Section 4.
//! A row's score counts its n − f − 1 nearest other rows, one more than the paper's, as in Allouah et al. 2023, "Fixing
//! by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity", where the bound on the error is proven, and as in
//! the library ByzFL.

use super::gram::Gram;
use super::mixing::neighbours;

/// Rows by score, and who their neighbours are.
#[derive(Debug)]
pub(super) struct Krum<'a> {
    gram: &'a Gram,
    /// Every other row, nearest first, for each row.
    neighbours: Vec<Vec<usize>>,
    byzantine: usize,
}

impl<'a> Krum<'a> {
    /// Looks at the first `count` rows of `gram`, of which `byzantine` may lie.
    pub(super) fn new(gram: &'a Gram, count: usize, byzantine: usize) -> Self {
        let others = |row: usize| (0..count).filter(move |other| *other != row);
        Self { gram, neighbours: (0..count).map(|row| neighbours(gram, row, others(row))).collect(), byzantine }
    }

    /// The `keep` rows with the lowest scores, the lowest first; of equal ones, the first in order first.
    pub(super) fn best(&self, keep: usize) -> Vec<usize> {
        let present = vec![true; self.neighbours.len()];
        let mut scored: Vec<(f64, usize)> = self.scores(&present).collect();
        scored.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
        scored.into_iter().take(keep).map(|(_, row)| row).collect()
    }

    /// `keep` rows, each the best of those not chosen before (Bulyan's first phase).
    pub(super) fn best_one_by_one(&self, keep: usize) -> Vec<usize> {
        let mut present = vec![true; self.neighbours.len()];
        let mut chosen = Vec::new();
        while chosen.len() < keep {
            let best = self.scores(&present).min_by(|left, right| left.0.total_cmp(&right.0));
            let Some((_, row)) = best else { break };
            present.iter_mut().skip(row).take(1).for_each(|present| *present = false);
            chosen.push(row);
        }
        chosen
    }

    /// The score of each row that is present: the sum of its squared distances to its nearest neighbours.
    fn scores(&self, present: &[bool]) -> impl Iterator<Item = (f64, usize)> {
        let count = present.iter().filter(|present| **present).count();
        let nearest = count.saturating_sub(self.byzantine).saturating_sub(1);
        let is_present = |row: usize| present.get(row).copied().unwrap_or_default();
        let rows = self.neighbours.iter().enumerate().filter(move |(row, _)| is_present(*row));
        rows.map(move |(row, neighbours)| {
            let near = neighbours.iter().filter(|other| is_present(**other)).take(nearest);
            (near.map(|other| self.gram.squared_distance(row, *other)).sum(), row)
        })
    }
}
