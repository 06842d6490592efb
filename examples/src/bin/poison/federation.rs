//! One federation: participants train, bad ones attack, the rule combines, round after round. It follows production in
//! what touches an attack: the root update is one participant's, and what intake refuses is not combined. Encodings,
//! noise and signatures are left out.

use anyhow::Context;
use rand_chacha::ChaCha8Rng;

use crate::attack::{Attack, Knowledge};
use crate::corpus::{Corpus, RootSet, SITES, stream};
use crate::model::{self, Sample, Training};
use crate::partition::Partition;
use crate::rule::{Round, Rule};
use crate::vector::{Vector, plus};

/// Rounds of a federation.
pub(crate) const ROUNDS: u64 = 40;
/// What a participant does in a round.
const TRAINING: Training = Training { steps: 8, batch: 64, rate: 1.0, momentum: 0.5 };

/// The sites of one seed and partition.
pub(crate) struct Cohort<'a> {
    corpus: &'a Corpus,
    sites: Vec<Vec<Sample>>,
    seed: u64,
}

/// A participant's place, for its random numbers.
#[derive(Clone, Copy)]
enum Place {
    Dealer,
    Start,
    Site(usize),
    Root,
    Attacker,
}

impl Place {
    /// The stream of this place in a round; those of different places never meet.
    fn stream(self, seed: u64, round: u64) -> ChaCha8Rng {
        let place = match self {
            Self::Dealer => 1,
            Self::Start => 2,
            Self::Root => 3,
            Self::Attacker => 4,
            Self::Site(site) => u64::try_from(site).unwrap_or(u64::MAX).saturating_add(5),
        };
        stream(seed, round.saturating_mul(1 << 32).saturating_add(place))
    }
}

impl<'a> Cohort<'a> {
    /// Deals the corpus's records to sites.
    pub(crate) fn new(corpus: &'a Corpus, partition: Partition, seed: u64) -> anyhow::Result<Self> {
        let sites = corpus.sites(partition, SITES, &mut Place::Dealer.stream(seed, 0));
        let sites = sites.context("the records are too few to give each site some")?;
        Ok(Self { corpus, sites, seed })
    }

    /// Trains a model under `rule` while the first `bad` sites attack, and returns it.
    pub(crate) fn train(&self, rule: &Rule, attack: Attack, bad: usize) -> anyhow::Result<Vector> {
        let combiner = rule.combiner(SITES, bad)?;
        let samples = self.poisoned(attack, bad);
        let root_samples = rule.root_set.map(|set| self.corpus.root(set));
        let mut params = self.start();
        let mut previous = vec![0.0; params.len()];
        for number in 0..ROUNDS {
            let root = root_samples.as_ref().map(|samples| self.update(&params, samples, Place::Root, number));
            let trained = samples.iter().enumerate();
            let mut own: Vec<Vector> =
                trained.map(|(site, samples)| self.update(&params, samples, Place::Site(site), number)).collect();
            let honest = own.split_off(bad.min(own.len()));
            let outcome = |sent: &[Vector]| {
                let updates = honest.iter().chain(sent).map(Vec::as_slice).collect();
                combiner.change(&Round { updates, root: root.as_ref(), previous: &previous, number })
            };
            let known =
                Knowledge { honest: &honest, own: &own, root: root.as_ref(), previous: &previous, outcome: &outcome };
            let sent = attack.craft(&known, &mut Place::Attacker.stream(self.seed, number));
            previous = outcome(&sent);
            params = plus(&params, 1.0, &previous);
        }
        Ok(params)
    }

    /// Trains a model at the root participant alone, for as many steps as in a federation.
    pub(crate) fn train_root_alone(&self, set: RootSet) -> Vector {
        let samples = self.corpus.root(set);
        (0..ROUNDS).fold(self.start(), |params, number| {
            let change = self.update(&params, &samples, Place::Root, number);
            plus(&params, 1.0, &change)
        })
    }

    fn start(&self) -> Vector {
        model::initial(self.corpus.width, &mut Place::Start.stream(self.seed, 0))
    }

    fn update(&self, params: &[f32], samples: &[Sample], place: Place, round: u64) -> Vector {
        model::update(params, samples, &self.corpus.rows, TRAINING, &mut place.stream(self.seed, round))
    }

    /// What each site trains on.
    fn poisoned(&self, attack: Attack, bad: usize) -> Vec<Vec<Sample>> {
        let (attackers, honest) = self.sites.split_at(bad.min(self.sites.len()));
        let marked: Vec<Sample> = attackers.iter().flat_map(|samples| self.corpus.marked(samples)).collect();
        attackers.iter().map(|samples| attack.poison(samples, &marked)).chain(honest.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::tests::records;
    use crate::rule::RULES;

    fn accuracy(rule: &str, attack: Attack, bad: usize) -> f64 {
        let corpus = Corpus::new(&records(), &[], 1);
        let cohort = Cohort::new(&corpus, Partition::Iid, 1).unwrap();
        let model = cohort.train(Rule::named(rule).unwrap(), attack, bad).unwrap();
        corpus.score(&model).accuracy
    }

    #[test]
    fn honest_participants_learn_and_a_flipped_mean_does_not() {
        assert!(accuracy("mean", Attack::None, 4) > 0.99);
        assert!(accuracy("mean", Attack::SignFlip, 4) < 0.7);
        assert!(accuracy("fltrust", Attack::SignFlip, 4) > 0.99);
    }

    #[test]
    fn a_seed_trains_the_same_model_every_time() {
        let corpus = Corpus::new(&records(), &[], 2);
        let train = || {
            let cohort = Cohort::new(&corpus, Partition::Dirichlet(0.5), 2).unwrap();
            cohort.train(&RULES[0], Attack::Gaussian, 4).unwrap()
        };
        assert_eq!(train(), train());
    }
}
