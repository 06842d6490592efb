//! The federation of a quickstart: one coordinator, three sites, one task.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use coordinator::Running;
use participant::collect::{Collector, Format, ingest};
use participant::config::{Account, Budget, Config, Target};
use participant::feature;
use participant::online::Online;
use participant::records::{Records, keep_labels};
use participant::rpc::{self, Credentials, Latest, Membership, Outcome};
use participant::serve::Installed;
use participant::site::{Randomness, Site};
use policy_as_code::bundle::{Bundle, Source as PolicySource, certificate};
use policy_as_code::repository::Repository;
use shared::aggregate::Aggregation;
use shared::asset::{Asset, Criticality};
use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::feature::FeatureViewRef;
use shared::local::LocalTraining;
use shared::participation::Participation;
use shared::privacy::{Guarantee, PrivacyUnit};
use shared::task::{Deadlines, ModelSpec, PrivacyTerms, Recipe, ReleaseGates, Task, TrainingMechanism};
use shared::{AssetId, Clock, TaskId, Timestamp};
use shared_crypto::{SigningKey, digest_of};
use shared_ops::clock::SystemClock;
use shared_privacy::accountant::calibrate;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::source::Source;
use crate::story::{self, Chart};

const ROUNDS: u32 = 10;
const STEPS: u32 = 120;
const SAMPLING_RATE: f64 = 0.15;
/// What training may cost a site's records, over all rounds.
pub(crate) const CEILING: Guarantee = Guarantee { epsilon: 3.0, delta: 1e-5 };
/// ρ of the noise on each round's hold-out counts: ten rounds of it cost about half an ε.
const EVALUATION_RHO: f64 = 5e-4;
/// Share of the ceiling that training takes; the rest is for the hold-out counts.
const TRAINING_EPSILON: f64 = 2.4;

/// A running coordinator.
pub(crate) struct Federation {
    pub(crate) running: Running,
    clock: Arc<dyn Clock>,
}

/// A site of the quickstart.
pub(crate) struct Member {
    pub(crate) site: Arc<Site>,
    pub(crate) online: Online,
    pub(crate) source: Source,
    pub(crate) records: Arc<Records>,
    credentials: Credentials,
}

/// Starts the coordinator on loopback, with fresh keys.
pub(crate) async fn start(folder: &Path, stop: &CancellationToken) -> Result<Federation, anyhow::Error> {
    let mut config = coordinator::Config { data_dir: folder.join("coordinator"), ..coordinator::Config::default() };
    config.federation.listen.set_port(0);
    config.admin.listen.set_port(0);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let running = coordinator::start(config, Arc::clone(&clock), stop.child_token()).await?;
    Ok(Federation { running, clock })
}

impl Federation {
    /// Opens every site, ingests its history and enrols it.
    pub(crate) async fn gather(
        &self,
        folder: &Path,
        sources: Vec<Source>,
        seed: u64,
    ) -> Result<Vec<Member>, anyhow::Error> {
        let policy = sign_policies(&folder.join("policies"), self.clock.now())?;
        let mut members = Vec::new();
        for source in sources {
            let config = self.config(folder.join(source.name.as_str()), &source, policy.clone())?;
            let (clock, randomness) = (Arc::clone(&self.clock), Randomness::Demonstration(seed));
            let opened = spawn_blocking(move || open(config, clock, randomness, source)).await??;
            members.push(self.enrol(opened).await?);
        }
        story::gathered(&members);
        Ok(members)
    }

    fn config(&self, data_dir: PathBuf, source: &Source, policy: PolicySource) -> Result<Config, anyhow::Error> {
        let mut config = Config { participant_id: Some(source.name.clone()), data_dir, ..Config::default() };
        let port = self.running.addresses.federation.port();
        config.federation.coordinator = format!("https://localhost:{port}");
        config.http.listen.set_port(0);
        // More than the defaults allow: these sites have little telemetry, and the story is to be short.
        config.privacy.budget = Budget { epsilon: CEILING.epsilon, delta: Some(CEILING.delta) };
        config.admission.max_epsilon = CEILING.epsilon;
        config.response.target = Target::Embedded;
        config.policy = Some(policy);
        let peers = u32::try_from(source.principals.len())?;
        let accounts = (1_u32..).zip(&source.principals).map(|(number, principal)| account(number, principal, peers));
        config.response.accounts = accounts.collect::<Result<_, anyhow::Error>>()?;
        Ok(config)
    }

    async fn enrol(&self, opened: Opened) -> Result<Member, anyhow::Error> {
        let coordinator = &self.running.coordinator;
        let token = coordinator.issue_token(&opened.site.participant_id)?;
        let ca_pem = coordinator.ca_certificate_pem();
        let credentials = rpc::enrol(&opened.site, ca_pem, token.token.expose()).await?;
        let Opened { site, online, records, source } = opened;
        Ok(Member { site, online, source, records, credentials })
    }

    /// Signs the task and lets all members take part in it to its end.
    pub(crate) async fn learn(
        &self,
        members: &[Member],
        seed: u64,
        stop: &CancellationToken,
    ) -> Result<(), anyhow::Error> {
        let task = task(members, seed, self.clock.now())?;
        let initial = shared_model::initial_params(&task.model, task.seed);
        let coordinator = Arc::clone(&self.running.coordinator);
        let signing = task.clone();
        let document = spawn_blocking(move || coordinator.create_task(signing, &initial)).await??;
        let names = members.iter().map(|member| member.site.participant_id.clone()).collect();
        let chart = Arc::new(Chart::new(names, &task));
        let mut joined = JoinSet::new();
        for (index, member) in members.iter().enumerate() {
            let taking_part = take_part(
                Arc::clone(&member.site),
                Arc::clone(&member.records),
                member.credentials.clone(),
                Arc::clone(&chart),
                document.clone(),
                stop.clone(),
            );
            joined.spawn(async move { taking_part.await.map(|installed| (index, installed)) });
        }
        while let Some(ended) = joined.join_next().await {
            let (index, installed) = ended??;
            if let Some(member) = members.get(index) {
                member.online.serve(installed, &member.records)?;
            }
        }
        story::learnt(&chart, members)
    }

    /// Waits until the coordinator has stopped.
    pub(crate) async fn ended(self) -> Result<(), anyhow::Error> {
        Ok(self.running.ended().await?)
    }
}

async fn take_part(
    site: Arc<Site>,
    records: Arc<Records>,
    credentials: Credentials,
    chart: Arc<Chart>,
    document: SignedDocument,
    stop: CancellationToken,
) -> Result<Installed, anyhow::Error> {
    let observer = chart.observer(site.participant_id.clone());
    let membership = Membership::connect(site, records, credentials, observer).await?;
    let Outcome::Released(_) = membership.take_part(&document, &stop).await? else {
        bail!("the task ended without a release")
    };
    Latest::new(&membership).follow().await?.context("the operator promoted no release")
}

/// A site that is open and has read its history.
struct Opened {
    site: Arc<Site>,
    online: Online,
    records: Arc<Records>,
    source: Source,
}

fn open(
    config: Config,
    clock: Arc<dyn Clock>,
    randomness: Randomness,
    source: Source,
) -> Result<Opened, anyhow::Error> {
    let site = Arc::new(Site::open(config, clock, randomness)?);
    let input = Collector::new(Cursor::new(&source.history), Format::EventJson, site.latest());
    let mut letters = site.dead_letters("history")?;
    ingest(input, &site.lake, site.clock.now(), &mut letters, |_| ())?;
    keep_labels(&site, source.truth.iter().map(|(event_id, attack)| (event_id.as_str(), attack.clone())))?;
    let (records, engine) = Records::read(&site)?;
    let records = Arc::new(records.context("the history is too short to train on")?);
    Ok(Opened { online: Online::new(Arc::clone(&site), engine), site, records, source })
}

fn account(number: u32, principal: &str, peers: u32) -> Result<Account, anyhow::Error> {
    let asset = Asset {
        asset_id: AssetId::new(format!("account-{number:02}"))?,
        criticality: Criticality::Standard,
        environment: "production".to_owned(),
        owner: "data-platform".to_owned(),
        tags: BTreeMap::new(),
    };
    Ok(Account { principal: principal.to_owned(), asset, peer_group: "accounts".to_owned(), peers, maintenance: false })
}

/// Signs the policy repository that comes with Ringfence, and its certificate, for all sites.
fn sign_policies(folder: &Path, now: Timestamp) -> Result<PolicySource, anyhow::Error> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(|root| root.join("policy-as-code"));
    let shipped = beside.context("the policy repository `policy-as-code` is missing")?;
    let key = SigningKey::generate()?;
    let bundle = Bundle::build(Repository::read(&shipped)?, certificate(&shipped)?, 1, &key, now)?;
    bundle.write(folder)?;
    Ok(PolicySource { dir: folder.to_owned(), public_key: key.public(), site: None })
}

fn task(members: &[Member], seed: u64, now: Timestamp) -> Result<Task, anyhow::Error> {
    let view = feature::view();
    let training = Guarantee { epsilon: TRAINING_EPSILON, ..CEILING };
    Ok(Task {
        task_id: TaskId::new("datastore-guard")?,
        title: "Attacks on data stores".to_owned(),
        cohort: members.iter().map(|member| member.site.participant_id.clone()).collect(),
        quorum: u32::try_from(members.len())?,
        rounds: ROUNDS,
        feature_view: FeatureViewRef { name: view.name.clone(), version: view.version, digest: digest_of(&view)? },
        model: ModelSpec { inputs: u32::try_from(feature::WIDTH)?, hidden: vec![32] },
        recipe: Recipe {
            local_steps: STEPS,
            sampling_rate: SAMPLING_RATE,
            learning_rate: 1.0,
            momentum: 0.5,
            clip_norm: 1.0,
            adaptive_clip: None,
            local: LocalTraining::default(),
            mechanism: TrainingMechanism::default(),
            noise_multiplier: Some(calibrate(training, SAMPLING_RATE, ROUNDS * STEPS)?),
        },
        privacy: PrivacyTerms { unit: PrivacyUnit::Record, ceiling: CEILING, evaluation_rho: EVALUATION_RHO },
        aggregation: Aggregation::default(),
        encodings: vec![Encoding::F32],
        participation: Participation::default(),
        secure_aggregation: None,
        deadlines: Deadlines { join_ms: 60_000, collect_ms: 300_000, evaluate_ms: 60_000, unmask_ms: 60_000 },
        gates: ReleaseGates { min_true_positive_rate: 0.1, max_false_positive_rate: 0.2 },
        seed,
        created_at: now,
    })
}

/// A lock that a panic elsewhere does not take away.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
