//! What one seed learns from and is judged by: KDDTrain+ split at random into test records, root sets and the sites'
//! records, and each record's vector with and without the backdoor's mark.
//!
//! Nothing is judged on KDDTest+, except a model without attack: its attacks are other ones than KDDTrain+'s, and what a
//! model loses to that would hide what it loses to an attacker.

use examples::nsl_kdd::{Encoder, Record};
use participant::train::Dataset;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use shared_model::ModelError;

use crate::model::{self, Sample};
use crate::partition::{self, Groups, Partition};
use crate::rows::Rows;
use crate::trigger;
use crate::vector::count;

/// Share of the records that judge.
const TEST_SHARE: f64 = 0.2;
/// How many participants a federation has.
pub(crate) const SITES: usize = 20;
/// The fewest records of each kind that a root set that covers has, where there are twice as many.
const ROOT_FLOOR: usize = 10;
/// The kinds that the narrow root set knows.
const NARROW: [&str; 3] = ["normal", "neptune", "smurf"];

/// What the operator's root participant trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RootSet {
    /// 1,000 records that cover every kind of attack.
    Covering,
    /// 200 records in the kinds' proportions.
    Small,
    /// 1,000 records of normal traffic and of two kinds of attack.
    Narrow,
}

/// The records of one seed. Row `n` is record `n`, row `n + count` the same record with the mark.
pub(crate) struct Corpus {
    pub(crate) rows: Rows,
    pub(crate) width: usize,
    attacks: Vec<bool>,
    test: Vec<usize>,
    sites: Groups,
    covering: Vec<usize>,
    small: Vec<usize>,
    narrow: Vec<usize>,
    /// Vectors of KDDTest+, and what each is.
    other: (Rows, Vec<bool>),
}

/// What a model gets right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Score {
    /// Share of the test records told rightly.
    pub(crate) accuracy: f64,
    /// Share of the marked attack records of the test set that are taken for normal.
    pub(crate) backdoor: f64,
}

/// Random numbers for one purpose of one seed, the same whatever else is drawn.
pub(crate) fn stream(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

impl Corpus {
    /// Splits `train` by `seed`; vectors are learnt from what is not for judging.
    pub(crate) fn new(train: &[Record], other: &[Record], seed: u64) -> Self {
        let mut rng = stream(seed, 0);
        let mut groups = Groups::new();
        for (number, record) in train.iter().enumerate() {
            groups.entry(record.label.clone()).or_default().push(number);
        }
        let test = partition::split_off(&mut groups, TEST_SHARE, &mut rng);
        let encoder = Encoder::fit(groups.values().flatten().filter_map(|number| train.get(*number)));
        let covering = partition::cover(&mut groups, 1000, ROOT_FLOOR, &mut rng);
        let small = partition::cover(&mut groups, 200, 0, &mut rng);
        let mut known: Groups = groups.clone();
        known.retain(|label, _| NARROW.contains(&label.as_str()));
        let narrow = partition::cover(&mut known, 1000, ROOT_FLOOR, &mut rng);
        // The narrow set stands for a less careful operator; what it holds may lie at a site too.
        let mut rows = Rows::default();
        train.iter().for_each(|record| rows.push(encoder.encode(record)));
        train.iter().for_each(|record| rows.push(encoder.encode(&trigger::stamp(record))));
        let attacks = |records: &[Record]| records.iter().map(Record::is_attack).collect();
        let mut other_rows = Rows::default();
        other.iter().for_each(|record| other_rows.push(encoder.encode(record)));
        Self {
            rows,
            width: encoder.width(),
            attacks: attacks(train),
            test,
            sites: groups,
            covering,
            small,
            narrow,
            other: (other_rows, attacks(other)),
        }
    }

    /// The samples of `count` sites, in random order, so that the first ones may be the bad ones. [`None`] if there are too
    /// few.
    pub(crate) fn sites(&self, partition: Partition, count: usize, rng: &mut ChaCha8Rng) -> Option<Vec<Vec<Sample>>> {
        let mut sites = partition.deal(&self.sites, count, rng)?;
        sites.shuffle(rng);
        Some(sites.iter().map(|records| self.samples(records)).collect())
    }

    /// The root participant's samples.
    pub(crate) fn root(&self, set: RootSet) -> Vec<Sample> {
        self.samples(match set {
            RootSet::Covering => &self.covering,
            RootSet::Small => &self.small,
            RootSet::Narrow => &self.narrow,
        })
    }

    /// The records that judge.
    pub(crate) fn held_out(&self) -> Vec<Sample> {
        self.samples(&self.test)
    }

    /// Samples as the participants' own training takes them.
    pub(crate) fn dataset(&self, samples: &[Sample]) -> Result<Dataset, ModelError> {
        let mut dataset = Dataset::new(self.width);
        for (sample, entity) in samples.iter().zip(0..) {
            let mut row = vec![0.0; self.width];
            for entry in self.rows.row(sample.row) {
                row.iter_mut().skip(entry.place()).take(1).for_each(|value| *value = entry.value);
            }
            dataset.push(&row, sample.attack.then_some("attack"), entity)?;
        }
        Ok(dataset)
    }

    fn samples(&self, records: &[usize]) -> Vec<Sample> {
        records.iter().map(|row| Sample { row: *row, attack: self.is_attack(*row) }).collect()
    }

    /// The attacks among `samples`, marked.
    pub(crate) fn marked<'a>(&'a self, samples: &'a [Sample]) -> impl Iterator<Item = Sample> + 'a {
        let attacks = samples.iter().filter(|sample| sample.attack);
        attacks.map(|sample| Sample { row: self.marked_row(sample.row), attack: true })
    }

    fn is_attack(&self, record: usize) -> bool {
        self.attacks.get(record).copied().unwrap_or(false)
    }

    fn marked_row(&self, record: usize) -> usize {
        record.saturating_add(self.attacks.len())
    }

    /// Judges a model on the test records.
    pub(crate) fn score(&self, params: &[f32]) -> Score {
        let says = |row| model::is_attack(params, self.rows.row(row));
        let right = self.test.iter().filter(|record| says(**record) == self.is_attack(**record));
        let accuracy = share(right.count(), self.test.len());
        let attacks: Vec<usize> = self.test.iter().copied().filter(|record| self.is_attack(*record)).collect();
        let fooled = attacks.iter().filter(|record| !says(self.marked_row(**record)));
        Score { accuracy, backdoor: share(fooled.count(), attacks.len()) }
    }

    /// Accuracy of a model on KDDTest+.
    pub(crate) fn accuracy_on_other(&self, params: &[f32]) -> f64 {
        let (rows, attacks) = &self.other;
        let right =
            attacks.iter().enumerate().filter(|(row, attack)| model::is_attack(params, rows.row(*row)) == **attack);
        share(right.count(), attacks.len())
    }
}

fn share(part: usize, whole: usize) -> f64 {
    count(part) / count(whole).max(1.0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fixture::record;

    /// Records that a word tells apart: half normal, half attacks of two kinds.
    pub(crate) fn records() -> Vec<Record> {
        let kinds = [("http", "normal"), ("telnet", "smurf"), ("http", "normal"), ("ftp", "neptune")];
        let of = |(n, (service, label)): (usize, (&str, &str))| {
            let mut record = record(service, 0.0, label);
            record.numbers[..8].fill(count(n % 7));
            record
        };
        (0..6000).zip(kinds.into_iter().cycle()).map(of).collect()
    }

    #[test]
    fn a_model_is_judged_by_what_it_says_of_plain_and_of_marked_records() {
        let corpus = Corpus::new(&records(), &records(), 1);
        let mut all_normal = vec![0.0; (corpus.width + 2) * 32 + 1];
        assert_eq!(corpus.score(&all_normal), Score { accuracy: 0.5, backdoor: 1.0 });
        *all_normal.last_mut().unwrap() = 1.0;
        assert_eq!(corpus.score(&all_normal), Score { accuracy: 0.5, backdoor: 0.0 });
        assert_eq!(corpus.accuracy_on_other(&all_normal), 0.5);
    }

    #[test]
    fn no_record_judges_and_teaches() {
        let corpus = Corpus::new(&records(), &[], 1);
        let sites = corpus.sites(Partition::Iid, SITES, &mut stream(1, 1)).unwrap();
        let roots = [RootSet::Covering, RootSet::Small, RootSet::Narrow].map(|set| corpus.root(set));
        let taught = sites.concat().into_iter().chain(roots.concat());
        assert!(taught.into_iter().all(|sample| !corpus.test.contains(&sample.row)));
        let covering = corpus.root(RootSet::Covering);
        assert!(sites.concat().iter().all(|sample| !covering.contains(sample)));
    }

    #[test]
    fn marked_samples_are_attacks_in_other_rows() {
        let corpus = Corpus::new(&records(), &[], 1);
        let samples = [Sample { row: 0, attack: false }, Sample { row: 1, attack: true }];
        let marked: Vec<Sample> = corpus.marked(&samples).collect();
        assert_eq!(marked, [Sample { row: 6001, attack: true }]);
        assert_ne!(corpus.rows.row(1), corpus.rows.row(6001));
    }
}
