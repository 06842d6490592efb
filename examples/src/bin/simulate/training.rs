//! Real training at virtual sites: each has generated telemetry of its own and trains the production model with
//! differential privacy. Attacks in that telemetry are scripted: good for comparing settings, not for claims.

use std::sync::Arc;

use examples::parallel;
use examples::plan::Plan;
use participant::feature::{Engine, WIDTH};
use participant::quality::Quality;
use participant::range::{Range, Scenario, SiteProfile};
use participant::train::{Dataset, ExactNoise, train_round};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::ParamVector;
use shared_crypto::TokenKey;
use shared_model::{Model, initial_params};
use shared_privacy::noise::GaussianNoise;

const DAYS: u32 = 3;
/// Statements of a site's web application on a weekday: small sites, so that many fit.
const STATEMENTS: u64 = 150;
/// How many kinds of attack a site has seen before.
const KNOWN_ATTACKS: usize = 4;
const EPSILON: f64 = 8.0;

/// Virtual sites with their data.
pub(crate) struct Training {
    plan: Plan,
    sites: Vec<Site>,
    seed: u64,
}

struct Site {
    train: Dataset,
    test: Dataset,
}

impl Training {
    /// Generates the telemetry of `sites` sites and computes its features.
    pub(crate) fn prepare(sites: u32, seed: u64, threads: usize) -> anyhow::Result<Self> {
        let numbers: Vec<u32> = (0..sites).collect();
        let mut ready = Vec::new();
        for some in numbers.chunks(threads.max(1)) {
            ready.extend(parallel::map(some, |_, number| site(*number, seed))?);
        }
        Ok(Self { plan: Plan::private(u32::try_from(WIDTH)?, EPSILON)?, sites: ready, seed })
    }

    /// What is trained and how.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The first checkpoint.
    pub(crate) fn first(&self) -> ParamVector {
        initial_params(&self.plan.spec, self.seed)
    }

    /// The updates of `participants` from `checkpoint`.
    pub(crate) fn updates(
        &self,
        checkpoint: &ParamVector,
        participants: &[usize],
        round: u32,
        threads: usize,
    ) -> anyhow::Result<Vec<ParamVector>> {
        let model = Model::new(&self.plan.spec, checkpoint)?;
        let mut updates = Vec::new();
        for some in participants.chunks(threads.max(1)) {
            updates.extend(parallel::map(some, |_, participant| self.update(&model, *participant, round))?);
        }
        Ok(updates)
    }

    fn update(&self, model: &Model, participant: usize, round: u32) -> anyhow::Result<ParamVector> {
        let site = self.sites.get(participant).ok_or_else(|| anyhow::anyhow!("no site {participant}"))?;
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(u64::try_from(participant)? << 32 | u64::from(round));
        let mut noise_seed = [0; 32];
        rng.fill_bytes(&mut noise_seed);
        let mut noise = ExactNoise(GaussianNoise::from_seed(noise_seed));
        Ok(train_round(model, &site.train, &self.plan.recipe, &mut rng, &mut noise)?)
    }

    /// The mean area under the precision-recall curve over the sites' hold-outs.
    pub(crate) fn average_precision(&self, candidate: &ParamVector) -> anyhow::Result<Option<f64>> {
        let model = Model::new(&self.plan.spec, candidate)?;
        let mut figures = Vec::new();
        for site in &self.sites {
            figures.extend(Quality::measure(&site.test.scored(&model)?));
        }
        Ok(Quality::mean(&figures).map(|mean| mean.auprc))
    }
}

/// A site that knows some kinds of attack and is judged by all of them.
fn site(number: u32, seed: u64) -> anyhow::Result<Site> {
    let kind = u8::try_from(number % 251)?;
    let profile = SiteProfile { web_statements: STATEMENTS, ..SiteProfile::example(kind) };
    let mut range = Range::new(profile, seed.wrapping_add(u64::from(number)));
    let mut engine = Engine::new(&Arc::new(TokenKey::from_bytes(&[kind; 32])));
    let first = usize::try_from(number)? % Scenario::ALL.len();
    let known: Vec<Scenario> = Scenario::ALL.iter().copied().cycle().skip(first).take(KNOWN_ATTACKS).collect();
    let mut part = |scenarios: &[Scenario]| -> anyhow::Result<Dataset> {
        let mut dataset = Dataset::new(WIDTH);
        for labelled in range.generate(DAYS, scenarios)? {
            let vector = engine.observe(&labelled.event);
            dataset.push(vector.as_slice(), labelled.scenario.map(Scenario::name), engine.entity(&labelled.event))?;
        }
        Ok(dataset)
    };
    Ok(Site { train: part(&known)?, test: part(&Scenario::ALL)? })
}
