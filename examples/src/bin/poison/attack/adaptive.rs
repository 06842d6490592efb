//! Attackers that know the rule: they try updates on the rule itself and all send the one that moves the aggregate the
//! farthest towards their goal.
//!
//! They start from an honest direction: that of the root update where the rule has one, else of the honest mean. Every
//! update they try has the length of honest updates. It lies in the plane of that direction and of the goal (Cao et al.
//! 2021, §VI, with the angle as the variable), or it is the honest direction without the coordinates that lead away from
//! the goal. So small a search can be made in each of thousands of federations; one over all directions might find worse.

use crate::vector::{Vector, cosine, dot, mean, norm, plus, scaled, unit};

use super::Knowledge;

/// Angles that are tried whatever the rule, by their cosines.
const COSINES: [f64; 7] = [-0.9, -0.5, 0.0, 0.3, 0.5, 0.7, 0.9];
/// Ranks among the honest cosines at which rules may cut.
const RANKS: [f64; 7] = [0.0, 0.25, 0.5, 0.6, 0.7, 0.85, 1.0];
/// By how much a cut is passed.
const MARGIN: f64 = 1e-3;

/// The most harmful update for each bad participant; the same for all.
pub(super) fn best(known: &Knowledge<'_>, goal: Vector) -> Vec<Vector> {
    let (ahead, length) = honest_direction(known);
    let aside = unit(&plus(&goal, -dot(&goal, &ahead), &ahead));
    let turned = cosines(known.honest, &ahead).into_iter().map(|cosine| {
        let sine = (1.0 - cosine * cosine).max(0.0).sqrt();
        plus(&scaled(&ahead, cosine), sine, &aside)
    });
    let tried = turned.chain([unit(&agreeing(&ahead, &goal))]).map(|direction| {
        let sent = vec![scaled(&direction, length); known.own.len()];
        (dot(&goal, &(known.outcome)(&sent)), sent)
    });
    let best = tried.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.map(|(_, sent)| sent).unwrap_or_default()
}

/// The coordinates of `ahead` that lead towards `goal`, the others 0.
fn agreeing(ahead: &[f32], goal: &[f32]) -> Vector {
    ahead.iter().zip(goal).map(|(ahead, goal)| if ahead * goal > 0.0 { *ahead } else { 0.0 }).collect()
}

/// Where an honest update is expected to point, and how long it is.
fn honest_direction(known: &Knowledge<'_>) -> (Vector, f64) {
    if let Some(root) = known.root {
        return (unit(root), norm(root));
    }
    let mut lengths: Vec<f64> = known.honest.iter().map(|update| norm(update)).collect();
    lengths.sort_by(f64::total_cmp);
    (unit(&mean(known.honest)), lengths.get(lengths.len() / 2).copied().unwrap_or_default())
}

fn cosines(honest: &[Vector], ahead: &[f32]) -> Vec<f64> {
    let mut measured: Vec<f64> = honest.iter().map(|update| cosine(update, ahead)).collect();
    measured.sort_by(f64::total_cmp);
    let ranked = RANKS.iter().filter_map(|rank| measured.get(position(*rank, measured.len())));
    ranked.map(|cosine| (cosine + MARGIN).min(1.0)).chain(COSINES).collect()
}

#[expect(clippy::as_conversions, reason = "a rank in 0..=1")]
fn position(rank: f64, len: usize) -> usize {
    (crate::vector::count(len.saturating_sub(1)) * rank) as usize
}

#[cfg(test)]
mod tests {
    use super::super::tests::cloud;
    use super::*;

    fn chosen(outcome: &dyn Fn(&[Vector]) -> Vector, root: Option<&Vector>, honest: &[Vector]) -> Vector {
        let own = cloud(3, 9);
        let known = Knowledge { honest, own: &own, root, previous: &Vector::new(), outcome };
        let goal = scaled(&mean(honest), -1.0).into_iter().zip(cloud(1, 7).concat()).map(|(a, b)| a + b).collect();
        best(&known, goal).swap_remove(0)
    }

    #[test]
    fn a_mean_is_met_from_behind() {
        let honest = cloud(9, 1);
        let update = chosen(&|sent| mean(&[&honest, sent].concat()), None, &honest);
        assert!(cosine(&update, &mean(&honest)) < -0.4);
    }

    #[test]
    fn a_cut_by_cosine_is_passed_as_closely_as_may_be() {
        let honest = cloud(9, 1);
        let root = mean(&honest);
        for rank in [0.0, 0.5, 1.0] {
            let mut measured: Vec<f64> = honest.iter().map(|update| cosine(update, &root)).collect();
            measured.sort_by(f64::total_cmp);
            let cut = measured[position(rank, measured.len())];
            let filtered = |sent: &[Vector]| {
                let kept: Vec<&Vector> = honest.iter().chain(sent).filter(|row| cosine(row, &root) > cut).collect();
                let kept: Vec<Vector> = kept.into_iter().cloned().collect();
                if kept.is_empty() { root.clone() } else { mean(&kept) }
            };
            let update = chosen(&filtered, Some(&root), &honest);
            let passed = cosine(&update, &root) - cut;
            assert!(passed > 0.0 && passed < 2.0 * MARGIN, "{passed} at rank {rank}");
            assert!((norm(&update) / norm(&root) - 1.0).abs() < 1e-5);
        }
    }
}
