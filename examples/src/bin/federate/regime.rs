//! The ways to learn that are compared: each site alone, federated, federated and private, all data in one place.

use examples::parallel;
use examples::plan::Plan;
use indicatif::{ProgressBar, ProgressStyle};
use participant::feature::WIDTH;
use participant::quality::Quality;
use participant::train::{Dataset, ExactNoise, train_round};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::ParamVector;
use shared::aggregate::{AggregateError, FedAvg};
use shared_model::{Model, initial_params};
use shared_ops::cli::Failure;
use shared_privacy::noise::GaussianNoise;

use crate::report::{MEAN, Row};
use crate::site::Site;

/// The ε that private training is measured at.
const EPSILONS: [f64; 3] = [1.0, 3.0, 8.0];

/// A way to learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Regime {
    Local,
    FedAvg,
    Private { epsilon: f64 },
    Pooled,
}

impl Regime {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::FedAvg => "fedavg",
            Self::Private { .. } => "dp",
            Self::Pooled => "pooled",
        }
    }

    pub(crate) fn epsilon(self) -> Option<f64> {
        match self {
            Self::Private { epsilon } => Some(epsilon),
            _ => None,
        }
    }

    fn plan(self) -> anyhow::Result<Plan> {
        let inputs = u32::try_from(WIDTH)?;
        match self {
            Self::Private { epsilon } => Ok(Plan::private(inputs, epsilon).map_err(Failure::from)?),
            _ => Ok(Plan::open(inputs)),
        }
    }
}

/// The sites, and those that only watch.
pub(crate) struct Federation {
    sites: Vec<Site>,
    strangers: Vec<Site>,
    everything: Dataset,
    seed: u64,
}

impl Federation {
    /// A federation of `sites`; `strangers` never train.
    pub(crate) fn new(sites: Vec<Site>, strangers: Vec<Site>, seed: u64) -> anyhow::Result<Self> {
        let mut everything = Dataset::new(WIDTH);
        for site in &sites {
            everything.extend(&site.train).map_err(Failure::from)?;
        }
        Ok(Self { sites, strangers, everything, seed })
    }

    /// Trains under every regime and measures each at every site.
    pub(crate) fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let private = EPSILONS.map(|epsilon| Regime::Private { epsilon });
        let regimes = [Regime::Local, Regime::FedAvg].into_iter().chain(private).chain([Regime::Pooled]);
        let mut rows = Vec::new();
        for regime in regimes {
            rows.extend(self.measure(regime)?);
        }
        Ok(rows)
    }

    /// One regime's rows: the mean over the sites, each site, and for federated models each stranger.
    fn measure(&self, regime: Regime) -> anyhow::Result<Vec<Row>> {
        let plan = regime.plan()?;
        let own: Vec<&Dataset> = self.sites.iter().map(|site| &site.train).collect();
        let models = match regime {
            Regime::Local => self.train_each_alone(&plan, &own)?,
            Regime::FedAvg | Regime::Private { .. } => vec![self.train_together(regime, &plan, &own)?],
            Regime::Pooled => vec![self.train_together(regime, &plan, &[&self.everything])?],
        };
        let of_site = self.sites.iter().zip(models.iter().cycle());
        let figures = of_site.map(|(site, model)| quality(site, model)).collect::<anyhow::Result<Vec<_>>>()?;
        let mean = Quality::mean(&figures).map(|figures| Row::new(regime, MEAN, figures));
        let sites = self.sites.iter().zip(figures).map(|(site, figures)| Row::new(regime, &site.name, figures));
        let mut rows: Vec<Row> = mean.into_iter().chain(sites).collect();
        if let (Regime::FedAvg | Regime::Private { .. }, [model]) = (regime, models.as_slice()) {
            for stranger in &self.strangers {
                rows.push(Row::new(regime, &stranger.name, quality(stranger, model)?));
            }
        }
        Ok(rows)
    }

    fn train_each_alone(&self, plan: &Plan, own: &[&Dataset]) -> anyhow::Result<Vec<Model>> {
        let bar = progress("local", u64::from(plan.rounds) * u64::try_from(own.len())?);
        let models = parallel::map(own, |index, dataset| {
            let mut model = self.first(plan)?;
            for round in 0..plan.rounds {
                let update = self.update(&model, dataset, plan, (index, round))?;
                model = step(&model, &update)?;
                bar.inc(1);
            }
            Ok(model)
        });
        bar.finish_and_clear();
        models
    }

    /// Rounds of local training and exact aggregation. With a single data set this is pooled training.
    fn train_together(&self, regime: Regime, plan: &Plan, own: &[&Dataset]) -> anyhow::Result<Model> {
        let label = regime.epsilon().map_or(regime.name().to_owned(), |epsilon| format!("dp, epsilon {epsilon}"));
        let bar = progress(&label, u64::from(plan.rounds));
        let mut model = self.first(plan)?;
        for round in 0..plan.rounds {
            let updates = parallel::map(own, |index, dataset| self.update(&model, dataset, plan, (index, round)))?;
            model = step(&model, &mean(&updates).map_err(Failure::from)?)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(model)
    }

    fn first(&self, plan: &Plan) -> anyhow::Result<Model> {
        Ok(Model::new(&plan.spec, &initial_params(&plan.spec, self.seed)).map_err(Failure::from)?)
    }

    fn update(
        &self,
        model: &Model,
        dataset: &Dataset,
        plan: &Plan,
        (site, round): (usize, u32),
    ) -> anyhow::Result<ParamVector> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        rng.set_stream(u64::try_from(site)? << 32 | u64::from(round));
        let mut noise_seed = [0; 32];
        rng.fill_bytes(&mut noise_seed);
        let mut noise = ExactNoise(GaussianNoise::from_seed(noise_seed));
        Ok(train_round(model, dataset, &plan.recipe, &mut rng, &mut noise).map_err(Failure::from)?)
    }
}

fn mean(updates: &[ParamVector]) -> Result<ParamVector, AggregateError> {
    let mut sum = FedAvg::new(updates.first().map_or(0, ParamVector::len));
    updates.iter().try_for_each(|update| sum.add(1, update))?;
    sum.finish()
}

fn step(model: &Model, update: &ParamVector) -> anyhow::Result<Model> {
    let params = model.params().plus(update).map_err(Failure::from)?;
    Ok(Model::new(model.spec(), &params).map_err(Failure::from)?)
}

fn quality(site: &Site, model: &Model) -> anyhow::Result<Quality> {
    let scored = site.test.scored(model).map_err(Failure::from)?;
    Quality::measure(&scored).ok_or_else(|| {
        let hint = "label attacks and ordinary events in the test split";
        let message = format!("site `{}` has no attack or no ordinary event to be judged by", site.name);
        Failure::new("data-one-class", hint, message).into()
    })
}

/// A bar on standard error where that is a terminal.
fn progress(label: &str, rounds: u64) -> ProgressBar {
    let bar = ProgressBar::new(rounds).with_message(label.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{msg:16} {wide_bar} {pos}/{len} rounds") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use participant::feature::Engine;
    use participant::range::{Range, Scenario, SiteProfile};
    use shared_crypto::TokenKey;

    use super::*;

    /// A site that meets `known` attacks in three days and every attack in the three days after.
    fn site(n: u8, known: &[Scenario]) -> Site {
        let mut range = Range::new(SiteProfile { web_statements: 200, ..SiteProfile::example(n) }, 5);
        let mut engine = Engine::new(&Arc::new(TokenKey::from_bytes(&[n; 32])));
        let parts = [known, &Scenario::ALL].map(|scenarios| {
            let mut dataset = Dataset::new(WIDTH);
            for labelled in range.generate(3, scenarios).unwrap() {
                let vector = engine.observe(&labelled.event);
                dataset
                    .push(vector.as_slice(), labelled.scenario.map(Scenario::name), engine.entity(&labelled.event))
                    .unwrap();
            }
            dataset
        });
        let [train, test] = parts;
        Site { name: format!("site{n}"), train, test }
    }

    #[test]
    fn sites_learn_from_each_other_what_they_never_saw() {
        let (half, other_half) = Scenario::ALL.split_at(4);
        let federation = Federation::new(vec![site(0, half), site(1, other_half)], vec![site(2, &[])], 1).unwrap();
        let macro_recall = |regime| {
            let rows = federation.measure(regime).unwrap();
            let sites: Vec<&str> = rows.iter().map(Row::site).collect();
            (rows[0].macro_scenario_recall(), sites.contains(&"site2"))
        };
        let (alone, stranger_scored) = macro_recall(Regime::Local);
        assert!(!stranger_scored, "a model of one site is no release for others");
        for regime in [Regime::FedAvg, Regime::Private { epsilon: 8.0 }] {
            let (together, stranger_scored) = macro_recall(regime);
            assert!(stranger_scored && together > alone + 0.05, "{regime:?}: {together} against {alone}");
        }
    }
}
