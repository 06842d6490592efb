//! What bad participants do: poison the records they train on, or send something else than what they trained.
//!
//! They collude, know the model, the rule, the updates of all others of the round, and the operator's root update where
//! there is one. They cannot change what others send, nor send more than one update each.

mod adaptive;
mod crafted;

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use serde::Serialize;

use crate::model::Sample;
use crate::vector::{Vector, count, mean, narrow, norm, plus, scaled};

/// How much larger than an honest update the flipped one is.
const FLIP_FACTOR: f64 = 5.0;
/// Length of the Gaussian noise in lengths of an honest update.
const NOISE_FACTOR: f64 = 10.0;

/// An attack. Each name in parentheses is a paper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attack {
    /// All are honest.
    None,
    /// Five times the negative of what was trained.
    SignFlip,
    /// Training on inverted labels.
    LabelFlip,
    /// What was trained, under noise of ten times its length.
    Gaussian,
    /// "A little is enough" (Baruch, Baruch, Goldberg 2019).
    Alie,
    /// Inner-product manipulation (Xie, Koyejo, Gupta 2020).
    Ipm,
    /// No farther from any honest update than two of those are from each other (Shejwalkar, Houmansadr 2021).
    MinMax,
    /// No farther from all honest updates together than one of those is (Shejwalkar, Houmansadr 2021).
    MinSum,
    /// A marked record is normal, scaled to replace the model (Bagdasaryan et al. 2020).
    Backdoor,
    /// The last aggregate, sent back untrained ("delta weights", Lin, Du, Liu 2019).
    FreeRider,
    /// Against the rule's own aggregate, in the direction of the greatest harm (Fang et al. 2020; Cao et al. 2021, §VI).
    AdaptiveDrift,
    /// The backdoor, turned as far from honest directions as the rule lets it be.
    AdaptiveBackdoor,
}

/// What the bad participants know of a round.
pub(crate) struct Knowledge<'a> {
    /// The honest participants' updates.
    pub(crate) honest: &'a [Vector],
    /// The bad participants' own updates, trained on the records that the attack gives them.
    pub(crate) own: &'a [Vector],
    /// The root participant's update, under a rule that has one.
    pub(crate) root: Option<&'a Vector>,
    /// The last round's aggregate.
    pub(crate) previous: &'a Vector,
    /// What the rule makes of all honest updates and these.
    pub(crate) outcome: &'a dyn Fn(&[Vector]) -> Vector,
}

impl Attack {
    /// The name, as `--attacks` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SignFlip => "sign-flip",
            Self::LabelFlip => "label-flip",
            Self::Gaussian => "gaussian",
            Self::Alie => "alie",
            Self::Ipm => "ipm",
            Self::MinMax => "min-max",
            Self::MinSum => "min-sum",
            Self::Backdoor => "backdoor",
            Self::FreeRider => "free-rider",
            Self::AdaptiveDrift => "adaptive-drift",
            Self::AdaptiveBackdoor => "adaptive-backdoor",
        }
    }

    /// Whether it hides a backdoor.
    pub(crate) fn has_backdoor(self) -> bool {
        matches!(self, Self::Backdoor | Self::AdaptiveBackdoor)
    }

    /// What a bad participant trains on that has `samples`, where `marked` are attack records of all bad participants, with
    /// the backdoor's mark.
    pub(crate) fn poison(self, samples: &[Sample], marked: &[Sample]) -> Vec<Sample> {
        match self {
            Self::LabelFlip => samples.iter().map(|sample| Sample { attack: !sample.attack, ..*sample }).collect(),
            _ if self.has_backdoor() => {
                let normal = marked.iter().map(|sample| Sample { attack: false, ..*sample });
                samples.iter().copied().chain(normal).collect()
            }
            _ => samples.to_vec(),
        }
    }

    /// What the bad participants send, one update each.
    pub(crate) fn craft(self, known: &Knowledge<'_>, rng: &mut impl Rng) -> Vec<Vector> {
        let bad = known.own.len();
        let each = |change: &dyn Fn(&Vector) -> Vector| known.own.iter().map(change).collect();
        match self {
            Self::None | Self::LabelFlip => known.own.to_vec(),
            Self::SignFlip => each(&|own| scaled(own, -FLIP_FACTOR)),
            Self::Gaussian => known.own.iter().map(|own| noisy(own, rng)).collect(),
            Self::Alie => vec![crafted::alie(known.honest); bad],
            Self::Ipm => vec![crafted::ipm(known.honest); bad],
            Self::MinMax => vec![crafted::min_max(known.honest); bad],
            Self::MinSum => vec![crafted::min_sum(known.honest); bad],
            Self::Backdoor => {
                let boost = count(known.honest.len().saturating_add(bad)) / count(bad).max(1.0);
                each(&|own| scaled(own, boost))
            }
            Self::FreeRider => vec![known.previous.clone(); bad],
            Self::AdaptiveDrift => {
                let harm = mean(known.honest).iter().map(|value| -sign(*value)).collect();
                adaptive::best(known, harm)
            }
            Self::AdaptiveBackdoor => adaptive::best(known, plus(&mean(known.own), -1.0, &mean(known.honest))),
        }
    }
}

/// −1, 0 or 1.
fn sign(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

fn noisy(own: &[f32], rng: &mut impl Rng) -> Vector {
    let noise: Vector = own.iter().map(|_| narrow(rng.sample(StandardNormal))).collect();
    plus(own, NOISE_FACTOR * norm(own) / count(own.len()).max(1.0).sqrt(), &noise)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::vector::{cosine, dot};

    /// `n` random vectors around a direction that they share.
    pub(super) fn cloud(n: usize, seed: u64) -> Vec<Vector> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| (0..50).map(|_| rng.random_range(-1.0..1.5)).collect()).collect()
    }

    fn craft(attack: Attack) -> (Vec<Vector>, Vec<Vector>) {
        let (honest, own) = (cloud(8, 1), cloud(2, 2));
        let outcome = |sent: &[Vector]| mean(&[honest.clone(), sent.to_vec()].concat());
        let known = Knowledge { honest: &honest, own: &own, root: None, previous: &vec![0.5; 50], outcome: &outcome };
        let sent = attack.craft(&known, &mut ChaCha8Rng::seed_from_u64(3));
        (own, sent)
    }

    #[test]
    fn the_names_are_those_of_the_command_line_and_each_bad_participant_sends_one_update() {
        for attack in Attack::value_variants() {
            assert_eq!(attack.to_possible_value().unwrap().get_name(), attack.name());
            assert_eq!(craft(*attack).1.len(), 2, "{}", attack.name());
        }
    }

    #[test]
    fn a_flip_points_backwards_noise_drowns_and_a_replacement_outweighs_all() {
        let (own, flipped) = craft(Attack::SignFlip);
        assert!(
            (cosine(&own[0], &flipped[0]) + 1.0).abs() < 1e-6 && (norm(&flipped[0]) / norm(&own[0]) - 5.0).abs() < 1e-5
        );
        let (own, drowned) = craft(Attack::Gaussian);
        assert!(norm(&drowned[0]) > 5.0 * norm(&own[0]) && drowned[0] != drowned[1]);
        let (own, boosted) = craft(Attack::Backdoor);
        assert!(boosted[1].iter().zip(&own[1]).all(|(boosted, own)| (boosted - 5.0 * own).abs() < 1e-5));
        assert_eq!(craft(Attack::FreeRider).1, vec![vec![0.5; 50]; 2]);
    }

    #[test]
    fn an_adaptive_attack_does_more_harm_than_sending_what_was_trained() {
        let (honest, own) = (cloud(8, 1), cloud(2, 2));
        let harm = |sent: &[Vector]| {
            let aggregate = mean(&[honest.clone(), sent.to_vec()].concat());
            let towards: Vector = mean(&honest).into_iter().map(sign).collect();
            -dot(&aggregate, &towards)
        };
        assert!(harm(&craft(Attack::AdaptiveDrift).1) > harm(&own) + 1.0);
    }

    #[test]
    fn poisoned_records_are_called_what_the_attacker_wants() {
        let samples = [Sample { row: 1, attack: true }, Sample { row: 2, attack: false }];
        let marked = [Sample { row: 9, attack: true }];
        assert_eq!(Attack::None.poison(&samples, &marked), samples);
        let flipped = Attack::LabelFlip.poison(&samples, &marked);
        assert!(!flipped[0].attack && flipped[1].attack && flipped.len() == 2);
        let backdoor = Attack::Backdoor.poison(&samples, &marked);
        assert_eq!(backdoor[..2], samples);
        assert_eq!(backdoor[2..], [Sample { row: 9, attack: false }]);
    }
}
