//! A table with a row of numbers for each of a vocabulary's entries.

use burn::tensor::Tensor;

use crate::ModelError;
use crate::norm::sum_of_squares;
use crate::pass::{Pass, Site};
use crate::tensor::{indices, values};

/// The layer's parameters: `entries × width`.
#[derive(Debug, Clone)]
pub(crate) struct Embedding(pub(crate) Tensor<2>);

impl Embedding {
    /// The rows of each of the lists of ids. `by_example` are all these ids, those of an example one after the other.
    pub(crate) fn forward(&self, lists: &[Vec<u32>], by_example: &[u32], pass: &mut Pass) -> Vec<Tensor<2>> {
        let Self(table) = self;
        if !pass.clips() {
            let table = pass.param(table);
            return lists.iter().map(|ids| table.clone().select(0, indices(ids))).collect();
        }
        // What was looked up depends on nothing that is tapped before it, so that it is its own tap.
        let lookup = |ids: &Vec<u32>| table.clone().select(0, indices(ids)).autodiff().require_grad();
        let taps: Vec<Tensor<2>> = lists.iter().map(lookup).collect();
        let [entries, _] = table.dims();
        pass.tapped(taps.clone(), || Box::new(EmbeddingSite { ids: by_example.to_vec(), entries }));
        taps
    }
}

/// An example's gradient by an entry is the sum of the slopes wherever the example has this entry.
#[derive(Debug)]
struct EmbeddingSite {
    ids: Vec<u32>,
    entries: usize,
}

impl Site for EmbeddingSite {
    fn add_squared_norms(&self, slopes: &Tensor<2>, sums: &mut [f64]) -> Result<(), ModelError> {
        let [_, width] = slopes.dims();
        let steps = self.ids.len() / sums.len().max(1);
        let slopes = values(slopes.clone())?;
        let examples = self.ids.chunks(steps.max(1)).zip(slopes.chunks(steps.max(1) * width));
        for (sum, (ids, slopes)) in sums.iter_mut().zip(examples) {
            *sum += squared_norm_by_id(ids, slopes, width);
        }
        Ok(())
    }

    fn gradient(&self, slopes: Tensor<2>) -> Result<Vec<f32>, ModelError> {
        let [_, width] = slopes.dims();
        let mut sum = vec![0.0; self.entries * width];
        for (id, slope) in self.ids.iter().zip(values(slopes)?.chunks(width)) {
            let start = usize::try_from(*id).unwrap_or(usize::MAX).saturating_mul(width);
            let entry = sum.iter_mut().skip(start).take(width);
            entry.zip(slope).for_each(|(sum, slope)| *sum += slope);
        }
        Ok(sum)
    }
}

/// The squared norm of one example's gradient: its slopes, grouped by id.
fn squared_norm_by_id(ids: &[u32], slopes: &[f32], width: usize) -> f64 {
    let mut steps: Vec<(&u32, &[f32])> = ids.iter().zip(slopes.chunks(width)).collect();
    steps.sort_by_key(|(id, _)| **id);
    let groups = steps.chunk_by(|one, other| one.0 == other.0);
    groups.map(|group| sum_of_squares(&sum_of_rows(group.iter().map(|(_, slope)| *slope), width))).sum()
}

fn sum_of_rows<'a>(rows: impl Iterator<Item = &'a [f32]>, width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    sum
}
