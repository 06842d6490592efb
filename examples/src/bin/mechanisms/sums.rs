//! How much noise sums over steps carry at the same ε: independent noise, a binary tree, a banded matrix. Formulas alone;
//! nothing is drawn.

use serde::Serialize;
use shared_privacy::PrivacyError;
use shared_privacy::banded::Strategy;

/// The root mean square of the noise on the sums of the first 1, 2, … steps, where one release of sensitivity 1 would have
/// noise of deviation 1: records take part once a pass.
#[derive(Debug, Serialize)]
pub(crate) struct Sums {
    pub(crate) passes: u32,
    pub(crate) steps_per_pass: u32,
    pub(crate) independent: f64,
    /// Each node of a binary tree over the steps gets noise, and a sum is made of as few nodes as can be (Dwork et al.
    /// 2010; the basis of Kairouz et al. 2021).
    pub(crate) tree: f64,
    /// By number of bands.
    pub(crate) banded: Vec<(u32, f64)>,
}

/// The figures for training that goes `passes` times over `steps_per_pass` blocks.
pub(crate) fn sums(passes: u32, steps_per_pass: u32, bands: &[u32]) -> Result<Sums, PrivacyError> {
    let error = |bands| {
        let strategy = Strategy::square_root(bands)?;
        Ok(strategy.prefix_sum_error(passes * steps_per_pass) * strategy.sensitivity(passes))
    };
    let banded = bands.iter().filter(|bands| (2..=steps_per_pass).contains(*bands));
    Ok(Sums {
        passes,
        steps_per_pass,
        independent: error(1)?,
        tree: tree(passes, steps_per_pass),
        banded: banded.map(|bands| Ok((*bands, error(*bands)?))).collect::<Result<_, PrivacyError>>()?,
    })
}

/// The same for a binary tree: a record counts in every node above its steps, as often as it is below.
fn tree(passes: u32, steps_per_pass: u32) -> f64 {
    let steps = passes * steps_per_pass;
    let in_nodes = |block: u32| -> u32 {
        let levels = (0..u32::BITS).take_while(|level| 1 << level <= steps);
        levels.map(|level| in_level(block, level, passes, steps_per_pass)).sum()
    };
    let sensitivity = f64::from((0..steps_per_pass).map(in_nodes).max().unwrap_or(0)).sqrt();
    let nodes: u32 = (1..=steps).map(u32::count_ones).sum();
    sensitivity * (f64::from(nodes) / f64::from(steps.max(1))).sqrt()
}

/// The squares of how often a record of `block` is in each whole node of 2^`level` steps, summed up.
fn in_level(block: u32, level: u32, passes: u32, steps_per_pass: u32) -> u32 {
    let nodes = (passes * steps_per_pass) >> level;
    let mut counts = vec![0_u32; usize::try_from(nodes).unwrap_or(0)];
    for pass in 0..passes {
        let node = usize::try_from((pass * steps_per_pass + block) >> level).unwrap_or(usize::MAX);
        counts.iter_mut().skip(node).take(1).for_each(|count| *count += 1);
    }
    counts.into_iter().map(|count| count * count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_four_steps_is_what_the_hand_computes() {
        // A record of one pass is in the nodes of 1, 2 and 4 steps; the four sums have 1, 1, 2 and 1 nodes.
        assert!((tree(1, 4) - (3.0 * 5.0 / 4.0_f64).sqrt()).abs() < 1e-12);
        // A record of two passes of two steps is in two single steps, in two nodes of two, and twice in the root.
        assert!((tree(2, 2) - (8.0 * 5.0 / 4.0_f64).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn bands_carry_less_noise_than_a_tree_and_a_tree_less_than_independent_noise() {
        let sums = sums(1, 1024, &[16, 256]).unwrap();
        assert!(sums.banded[1].1 < sums.tree && sums.tree < sums.independent, "{sums:?}");
        assert!((sums.independent - 512.5_f64.sqrt()).abs() < 1e-9);
    }
}
