//! Membership inference: whether a model's losses tell which records it was trained on.
//!
//! Each model is trained on half of the records, by a coin for each; each is attacked in turn, with the others as shadow
//! models. The attacker knows the recipe and records of the same source, and asks the model for its loss. A threshold on
//! the loss is Yeom et al. 2018's; beside the mean of the shadow models that lack the record it is Carlini et al. 2022's
//! offline LiRA, with one variance for all records, as they advise for few shadow models.

use examples::nsl_kdd::{Row, data_set};
use examples::number::{count, narrow};
use participant::quality::{Curve, Scored};
use participant::train::{Dataset, ExactNoise, train_round};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde::Serialize;
use shared::local::LocalTraining;
use shared::privacy::Guarantee;
use shared::task::{ModelSpec, Recipe, TrainingMechanism};
use shared_model::{Model, ModelError, initial_params};
use shared_ops::cli::Failure;
use shared_privacy::accountant::calibrate;
use shared_privacy::noise::GaussianNoise;

use crate::random::stream;
use crate::training::DELTA;

/// One in how many records has the wrong label: what a model can only know by heart (Aerni et al. 2024).
const MISLABELLED: usize = 10;
/// Steps without privacy: enough for a model to know its records by heart.
const OPEN_STEPS: u32 = 1500;
/// Steps with privacy.
const PRIVATE_STEPS: u32 = 300;

/// What an attack achieves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Success {
    /// Area under the curve; 0.5 for guesses.
    pub(crate) auc: f64,
    /// Share of the members found where 1 % of the others are taken for members.
    pub(crate) tpr_at_fpr_1e2: f64,
    /// The same at 0.1 %.
    pub(crate) tpr_at_fpr_1e3: f64,
}

/// Both attacks on one kind of training.
#[derive(Debug, Serialize)]
pub(crate) struct Membership {
    /// ε of the training; `None` without noise.
    pub(crate) epsilon: Option<f64>,
    /// Share of the records that were no members, and rightly labelled, that the model tells rightly.
    pub(crate) accuracy: f64,
    pub(crate) loss: Success,
    pub(crate) lira: Success,
    /// LiRA on the records with the wrong label alone.
    pub(crate) lira_mislabelled: Success,
}

/// A model and which records it was trained on.
struct Target {
    /// Logit of each record's label.
    margins: Vec<f64>,
    members: Vec<bool>,
}

/// One record before one model, as the attacks score it.
struct Verdict {
    member: bool,
    mislabelled: bool,
    loss: f64,
    lira: f64,
}

/// Trains `models` models on halves of `rows` and attacks each of them.
pub(crate) fn measure(rows: &[Row], models: u8, epsilon: Option<f64>) -> anyhow::Result<Membership> {
    let mislabelled = |record: usize| record.is_multiple_of(MISLABELLED);
    let records: Vec<Row> = rows
        .iter()
        .enumerate()
        .map(|(record, row)| if mislabelled(record) { row.mislabelled() } else { row.clone() })
        .collect();
    let recipe = recipe(epsilon).map_err(Failure::from)?;
    let targets: Vec<Target> =
        (0..models).map(|seed| target(&records, &recipe, seed)).collect::<Result<_, _>>().map_err(Failure::from)?;
    let verdicts = verdicts(&targets, &mislabelled);
    let success = |score: &dyn Fn(&Verdict) -> f64, of: &dyn Fn(&Verdict) -> bool| success(&verdicts, score, of);
    Ok(Membership {
        epsilon,
        accuracy: accuracy(&targets, &mislabelled),
        loss: success(&|verdict| verdict.loss, &|_| true)?,
        lira: success(&|verdict| verdict.lira, &|_| true)?,
        lira_mislabelled: success(&|verdict| verdict.lira, &|verdict| verdict.mislabelled)?,
    })
}

fn recipe(epsilon: Option<f64>) -> Result<Recipe, shared_privacy::PrivacyError> {
    let open = Recipe {
        local_steps: OPEN_STEPS,
        sampling_rate: 0.1,
        learning_rate: 0.1,
        momentum: 0.9,
        clip_norm: 1.0,
        adaptive_clip: None,
        local: LocalTraining::Plain,
        mechanism: TrainingMechanism::default(),
        noise_multiplier: None,
    };
    let Some(epsilon) = epsilon else { return Ok(open) };
    let noise_multiplier = calibrate(Guarantee { epsilon, delta: DELTA }, open.sampling_rate, PRIVATE_STEPS)?;
    let learning_rate = 1.0 / noise_multiplier;
    Ok(Recipe { local_steps: PRIVATE_STEPS, learning_rate, noise_multiplier: Some(noise_multiplier), ..open })
}

fn target(records: &[Row], recipe: &Recipe, seed: u8) -> Result<Target, ModelError> {
    let mut coins = stream(u64::from(seed), 2);
    let members: Vec<bool> = records.iter().map(|_| coins.random_bool(0.5)).collect();
    let inputs = records.first().map_or(0, |row| row.features.len());
    let chosen = records.iter().zip(&members).filter(|(_, member)| **member).map(|(row, _)| row);
    let model = trained(&data_set(inputs, chosen)?, recipe, inputs, seed)?;
    let rows: Vec<f32> = records.iter().flat_map(|row| row.features.iter().copied()).collect();
    let logits = model.logits(&rows)?.into_iter().map(f64::from);
    let margins = logits.zip(records).map(|(logit, row)| if row.attack { logit } else { -logit }).collect();
    Ok(Target { margins, members })
}

fn trained(dataset: &Dataset, recipe: &Recipe, inputs: usize, seed: u8) -> Result<Model, ModelError> {
    let spec = ModelSpec { inputs: u32::try_from(inputs).unwrap_or(u32::MAX), hidden: vec![64, 32] };
    let start = Model::new(&spec, &initial_params(&spec, u64::from(seed)))?;
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    let mut noise = ExactNoise(GaussianNoise::from_seed([seed; 32]));
    let update = train_round(&start, dataset, recipe, &mut rng, &mut noise)?;
    Model::new(&spec, &start.params().plus(&update)?)
}

/// Every record before every model that the record has a shadow model for.
fn verdicts(targets: &[Target], mislabelled: &dyn Fn(usize) -> bool) -> Vec<Verdict> {
    let before = |target: &Target| -> Vec<Verdict> {
        let records = target.margins.iter().zip(&target.members).enumerate();
        let verdict = |(record, (margin, member)): (usize, (&f64, &bool))| {
            let others = targets.iter().filter(|other| !std::ptr::eq(*other, target));
            let lacking = others.filter(|other| other.members.get(record) == Some(&false));
            let margins: Vec<f64> = lacking.filter_map(|other| other.margins.get(record).copied()).collect();
            let expected = margins.iter().sum::<f64>() / count(margins.len());
            let lira = margin - expected;
            (!margins.is_empty()).then(|| Verdict {
                member: *member,
                mislabelled: mislabelled(record),
                loss: *margin,
                lira,
            })
        };
        records.filter_map(verdict).collect()
    };
    targets.iter().flat_map(before).collect()
}

fn success(
    verdicts: &[Verdict],
    score: &dyn Fn(&Verdict) -> f64,
    of: &dyn Fn(&Verdict) -> bool,
) -> anyhow::Result<Success> {
    let scored: Vec<Scored<'_>> = verdicts
        .iter()
        .filter(|verdict| of(verdict))
        .map(|verdict| Scored { score: narrow(score(verdict)), attack: verdict.member, scenario: "" })
        .collect();
    let curve = Curve::new(&scored).ok_or_else(|| anyhow::anyhow!("the records are too few for members and others"))?;
    let found = |fpr| curve.operating_point(fpr).true_positive_rate;
    Ok(Success { auc: curve.auc(), tpr_at_fpr_1e2: found(1e-2), tpr_at_fpr_1e3: found(1e-3) })
}

fn accuracy(targets: &[Target], mislabelled: &dyn Fn(usize) -> bool) -> f64 {
    let (mut right, mut all) = (0_u32, 0_u32);
    for target in targets {
        let records = target.margins.iter().zip(&target.members).enumerate();
        for (_, (margin, _)) in records.filter(|(record, (_, member))| !mislabelled(*record) && !**member) {
            right += u32::from(*margin > 0.0);
            all += 1;
        }
    }
    f64::from(right) / f64::from(all.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::rows;

    #[test]
    fn records_learnt_by_heart_are_found_and_private_ones_are_not() {
        let rows = rows(160);
        let open = measure(&rows, 4, None).unwrap();
        assert!(open.lira_mislabelled.auc > 0.8 && open.loss.auc > 0.5, "{open:?}");
        let private = measure(&rows, 4, Some(1.0)).unwrap();
        assert!(private.lira_mislabelled.auc < 0.7 && private.lira.auc < 0.6, "{private:?}");
    }
}
