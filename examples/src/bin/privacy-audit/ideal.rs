//! What the audit's formula can prove at best: scores as they would be if a canary's gradient met nothing but noise. No
//! training happens here; beside it shows how much of a gap to the claim is the formula's and how much the attack's.

use examples::number::count;
use rand::{Rng, RngExt};
use rand_distr::{Binomial, StandardNormal};

use crate::guess::evidence;
use crate::random::stream;
use crate::training::{DELTA, Defect, SAMPLING_RATE, STEPS};

/// Draws that the bound is averaged over.
const DRAWS: u64 = 10;

/// The mean lower bound from `canaries` that each take part in a binomial number of steps, where in, under the sum of the
/// steps' noise.
pub(crate) fn bound(canaries: usize, noise_multiplier: f64, defect: Defect) -> f64 {
    let noise = defect.share() * noise_multiplier * f64::from(STEPS).sqrt();
    let draw = |number: u64| {
        let mut rng = stream(number, 4);
        let included: Vec<bool> = (0..canaries).map(|_| rng.random_bool(0.5)).collect();
        let scores: Vec<f64> = included.iter().map(|included| score(*included, noise, &mut rng)).collect();
        evidence(&scores, &included, DELTA).epsilon
    };
    (0..DRAWS).map(draw).sum::<f64>() / count((0..DRAWS).count())
}

/// How many steps a canary was in, with noise.
fn score(included: bool, noise: f64, rng: &mut impl Rng) -> f64 {
    let steps =
        if included { Binomial::new(STEPS.into(), SAMPLING_RATE).map_or(0, |steps| rng.sample(steps)) } else { 0 };
    let drawn: f64 = rng.sample(StandardNormal);
    count(usize::try_from(steps).unwrap_or(0)) + noise * drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::noise_multiplier;

    #[test]
    fn the_formula_proves_less_than_the_claim_and_more_where_noise_is_missing() {
        let noise_multiplier = noise_multiplier(2.0).unwrap();
        let of = |defect| bound(1000, noise_multiplier, defect);
        let (sound, tenth, none) = (of(Defect::None), of(Defect::TenthOfNoise), of(Defect::NoNoise));
        assert!(sound > 0.2 && sound < 2.0 && tenth > 2.0 && none >= tenth, "{sound} {tenth} {none}");
    }
}
