//! What a coordinator and all but one of the sites that can open secrets see of another site under masks: whether it can be
//! told from uniform noise, while the sum decodes.
//!
//! They hold every masked vector, the colluders' keys and vectors, the shares that the colluders were dealt, and, as after
//! every round, the secrets of all sites' own masks. The vectors are updates without any differential privacy. The
//! primitives are those of a round; its messages and checks are not part of this.

use std::ops::Range;

use examples::nsl_kdd::{Row, data_set};
use examples::number::count;
use participant::train::train_round;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use serde::Serialize;
use shared::task::ModelSpec;
use shared_crypto::CryptoError;
use shared_crypto::masking::{AgreementPublic, Interpolation, RoundKey, SecretScalar, Seed, add_masks, share};
use shared_model::{Model, ModelError, initial_params};
use shared_ops::cli::Failure;

use crate::training::{self, Defect};

const SITES: usize = 10;
/// How many sites open a secret: ⌊2n/3⌋ + 1.
const THRESHOLD: usize = 7;
/// The first sites collude.
const COLLUDERS: usize = THRESHOLD - 1;
/// The honest site that they look at.
const VICTIM: usize = COLLUDERS;
/// Records that each site learns from.
const RECORDS: usize = 50;
/// Width of the hidden layer: some 63,000 words to test.
const HIDDEN: u32 = 512;
/// Units of a word in 1.
const SCALE: f64 = 16_777_216.0;

/// How far a vector is from uniform words, in standard deviations of uniform ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Distance {
    /// Chi-square of the 256 byte values, at the worst of the four places in a word.
    pub(crate) bytes: f64,
    /// Balance of the worst bit.
    pub(crate) bits: f64,
    /// Correlation with the site's own update.
    pub(crate) correlation: f64,
}

/// What colluders see.
#[derive(Debug, Serialize)]
pub(crate) struct Masks {
    pub(crate) sites: usize,
    pub(crate) colluders: usize,
    pub(crate) words: usize,
    /// What is left of the honest site's masked vector once all is taken off that the colluders know.
    pub(crate) residual: Distance,
    /// The honest site's update itself, to show what the tests would find.
    pub(crate) plain: Distance,
    /// Whether the masked vectors still add up to the updates' sum.
    pub(crate) sum_is_exact: bool,
    /// Whether the colluders' shares of the honest site's key give it.
    pub(crate) key_is_found: bool,
}

struct Site {
    key: RoundKey,
    /// Secret of the mask that hides the site from who knows all its pairs' masks.
    own: SecretScalar,
    update: Vec<u32>,
}

/// Masks the updates of sites that learn from `rows` and looks at them with the colluders' eyes.
pub(crate) fn measure(rows: &[Row]) -> anyhow::Result<Masks> {
    let updates: Vec<Vec<u32>> =
        rows.chunks(RECORDS).take(SITES).map(update).collect::<Result<_, _>>().map_err(Failure::from)?;
    Ok(look(updates).map_err(Failure::from)?)
}

fn look(updates: Vec<Vec<u32>>) -> Result<Masks, CryptoError> {
    let site = |update| Ok(Site { key: RoundKey::generate()?, own: SecretScalar::random()?, update });
    let sites: Vec<Site> = updates.into_iter().map(site).collect::<Result<_, CryptoError>>()?;
    let masked: Vec<Vec<u32>> = (0..sites.len()).map(|number| masked(&sites, number)).collect();
    let victim = sites.get(VICTIM).ok_or(CryptoError::Threshold { threshold: THRESHOLD, count: sites.len() })?;
    let mut residual = masked.get(VICTIM).cloned().unwrap_or_default();
    own_mask(victim, VICTIM).sub_mask(0, &mut residual);
    let (plus, minus) = pair_masks(&sites, VICTIM, 0..COLLUDERS);
    add_masks(&minus, &plus, 0, &mut residual);
    Ok(Masks {
        sites: sites.len(),
        colluders: COLLUDERS,
        words: residual.len(),
        residual: Distance::of(&residual, &victim.update),
        plain: Distance::of(&victim.update, &victim.update),
        sum_is_exact: opened_sum(&sites, &masked) == sum(sites.iter().map(|site| site.update.as_slice())),
        key_is_found: key_from_shares(victim)? == victim.key.public(),
    })
}

/// What a site sends.
fn masked(sites: &[Site], number: usize) -> Vec<u32> {
    let Some(site) = sites.get(number) else { return Vec::new() };
    let (mut plus, minus) = pair_masks(sites, number, 0..sites.len());
    plus.push(own_mask(site, number));
    let mut words = site.update.clone();
    add_masks(&plus, &minus, 0, &mut words);
    words
}

fn own_mask(site: &Site, number: usize) -> Seed {
    Seed::of_scalar(&site.own, format!("own mask of {number}").as_bytes())
}

/// The masks that a site adds and takes off, of its pairs with `others`, whose keys compute them as well as its own does.
fn pair_masks(sites: &[Site], number: usize, others: Range<usize>) -> (Vec<Seed>, Vec<Seed>) {
    let Some(site) = sites.get(number) else { return (Vec::new(), Vec::new()) };
    let seed = |(other, peer): (usize, &Site)| {
        let info = format!("pair of {} and {}", number.min(other), number.max(other));
        (other > number, peer.key.pair_seed(&site.key.public(), info.as_bytes()))
    };
    let peers = sites.iter().enumerate().filter(|(other, _)| *other != number && others.contains(other));
    let (plus, minus): (Vec<_>, Vec<_>) = peers.map(seed).partition(|(is_added, _)| *is_added);
    let seeds = |side: Vec<(bool, Seed)>| side.into_iter().map(|(_, seed)| seed).collect();
    (seeds(plus), seeds(minus))
}

/// What the coordinator makes of the masked vectors and the opened secrets of the sites' own masks.
fn opened_sum(sites: &[Site], masked: &[Vec<u32>]) -> Vec<u32> {
    let mut words = sum(masked.iter().map(Vec::as_slice));
    let own: Vec<Seed> = sites.iter().enumerate().map(|(number, site)| own_mask(site, number)).collect();
    add_masks(&[], &own, 0, &mut words);
    words
}

fn sum<'a>(vectors: impl Iterator<Item = &'a [u32]>) -> Vec<u32> {
    vectors.fold(Vec::new(), |mut sum, vector| {
        sum.resize(vector.len(), 0_u32);
        sum.iter_mut().zip(vector).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
        sum
    })
}

/// The key that the colluders' shares of the victim's give, as if that many were enough.
fn key_from_shares(victim: &Site) -> Result<AgreementPublic, CryptoError> {
    let dealing = share(&victim.key.to_scalar(), THRESHOLD, SITES)?;
    let indices: Vec<u32> = (1..).take(COLLUDERS).collect();
    let shares = dealing.shares.get(..COLLUDERS).unwrap_or_default();
    let guess = Interpolation::at(&indices, COLLUDERS)?.secret(shares)?;
    Ok(RoundKey::from_scalar(guess).public())
}

impl Distance {
    fn of(words: &[u32], plain: &[u32]) -> Self {
        let worst = |scores: &mut dyn Iterator<Item = f64>| scores.map(f64::abs).fold(0.0, f64::max);
        Self {
            bytes: worst(&mut (0..4).map(|place| byte_score(words, place))),
            bits: worst(&mut (0..32).map(|place| bit_score(words, place))),
            correlation: correlation_score(words, plain).abs(),
        }
    }
}

fn byte_score(words: &[u32], place: u32) -> f64 {
    let mut counts = [0_u32; 256];
    for word in words {
        let byte = usize::try_from(word >> (8 * place) & 0xff).unwrap_or(0);
        counts.iter_mut().skip(byte).take(1).for_each(|count| *count += 1);
    }
    let expected = count(words.len()) / 256.0;
    let chi_square: f64 = counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    (chi_square - 255.0) / 510_f64.sqrt()
}

fn bit_score(words: &[u32], place: u32) -> f64 {
    let ones = words.iter().filter(|word| **word >> place & 1 == 1).count();
    (2.0 * count(ones) - count(words.len())) / count(words.len()).sqrt()
}

/// Pearson's correlation of the words as signed numbers, over its deviation where there is none.
fn correlation_score(words: &[u32], plain: &[u32]) -> f64 {
    let signed = |words: &[u32]| -> Vec<f64> { words.iter().map(|word| f64::from(word.cast_signed())).collect() };
    let centred = |values: Vec<f64>| -> Vec<f64> {
        let mean = values.iter().sum::<f64>() / count(values.len()).max(1.0);
        values.into_iter().map(|value| value - mean).collect()
    };
    let (left, right) = (centred(signed(words)), centred(signed(plain)));
    let product = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f64>();
    let scale = (product(&left, &left) * product(&right, &right)).sqrt();
    product(&left, &right) / scale * count(words.len()).sqrt()
}

/// The update of a site that takes one step on `rows`, without noise, as words.
fn update(rows: &[Row]) -> Result<Vec<u32>, ModelError> {
    let inputs = rows.first().map_or(0, |row| row.features.len());
    let spec = ModelSpec { inputs: u32::try_from(inputs).unwrap_or(u32::MAX), hidden: vec![HIDDEN] };
    let start = Model::new(&spec, &initial_params(&spec, 1))?;
    let recipe = training::single_step(1.0);
    let (mut rng, mut noise) = (ChaCha20Rng::from_seed([1; 32]), training::noise(Defect::NoNoise, 1));
    let update = train_round(&start, &data_set(inputs, rows)?, &recipe, &mut rng, &mut noise)?;
    Ok(update.as_slice().iter().map(|value| word(f64::from(*value) * SCALE)).collect())
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a clipped gradient is at most 1")]
fn word(value: f64) -> u32 {
    (value.round() as i32).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::rows;

    /// Six deviations: a test of as many scores fails by chance in less than one of 10,000,000 runs.
    const FAR: f64 = 6.0;

    #[test]
    fn all_but_one_of_the_openers_and_the_coordinator_see_the_sum_and_nothing_of_a_site() {
        let masks = measure(&rows(RECORDS * SITES)).unwrap();
        let Distance { bytes, bits, correlation } = masks.residual;
        assert!(bytes < FAR && bits < FAR && correlation < FAR, "{masks:?}");
        assert!(masks.plain.bytes > FAR && masks.plain.bits > FAR && masks.plain.correlation > FAR, "{masks:?}");
        assert!(masks.sum_is_exact && !masks.key_is_found);
    }

    #[test]
    fn a_site_whose_every_peer_colludes_has_no_secret_left() {
        let updates = (0..7_u32).map(|site| (site..site + 5).collect()).collect();
        let masks = look(updates).unwrap();
        assert_eq!((masks.words, masks.residual), (5, masks.plain));
    }
}
