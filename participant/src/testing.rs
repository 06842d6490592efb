//! What several tests need: a site in a folder of its own, a task, records, a release, a store that fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use policy_as_code::repository::Repository;
use shared::aggregate::Aggregation;
use shared::asset::{Asset, Criticality};
use shared::document::SignedDocument;
use shared::encoding::Encoding;
use shared::feature::FeatureViewRef;
use shared::local::LocalTraining;
use shared::masking::{Assurance, SecureAggregation, threshold};
use shared::participation::Participation;
use shared::privacy::{Guarantee, PrivacyUnit};
use shared::release::{Promotion, Release, RoundRecord};
use shared::round::{AcceptedUpdate, Tally};
use shared::store::{Batch, Entry, Key, Store, StoreError};
use shared::task::{Deadlines, ModelSpec, PrivacyTerms, Recipe, ReleaseGates, Task, TrainingMechanism};
use shared::time::ManualClock;
use shared::{AssetId, Clock, Digest, ParamVector, ParticipantId, ReleaseId, RoundId, RoundNumber, TaskId, Timestamp};
use shared_audit::AuditLog;
use shared_crypto::{SigningKey, bulk_digest, digest, digest_of, document_digest};

use crate::audit::SiteJournal;
use crate::config::{Account, Budget, Config};
use crate::feature::{self, WIDTH};
use crate::ledger::{Keeping, PrivacyLedger};
use crate::records::Records;
use crate::serve::{Expected, Installed, ReleaseBundle};
use crate::site::{Randomness, Site};
use crate::train::Dataset;

/// A site in a folder that goes away with it.
pub(crate) struct Lone {
    pub(crate) site: Arc<Site>,
    folder: tempfile::TempDir,
}

impl Lone {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A site whose configuration was changed.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path().join("site"));
        change(&mut config);
        Self { site: Arc::new(open(config)), folder }
    }

    /// The site after a restart.
    pub(crate) fn reopened(self) -> Self {
        let Self { site, folder } = self;
        let config = site.config.clone();
        drop(Arc::try_unwrap(site).map_err(|_| "somebody else holds the site").unwrap());
        Self { site: Arc::new(open(config)), folder }
    }

    /// The site on a store that fails when told to.
    pub(crate) fn on_failing_store(self) -> (Self, Arc<FailingStore>) {
        let Self { site, folder } = self;
        let mut site = Arc::try_unwrap(site).map_err(|_| "somebody else holds the site").unwrap();
        let store = Arc::new(FailingStore::new(Arc::clone(&site.store)));
        site.store = store.clone();
        let keeping = Keeping {
            store: Arc::clone(&site.store),
            identity: Arc::clone(&site.identity),
            clock: Arc::clone(&site.clock),
            journal: site.journal.clone(),
            counter_file: site.ledger.counter_file().to_owned(),
        };
        site.ledger = PrivacyLedger::open(keeping, &site.config.privacy.budget).unwrap();
        (Self { site: Arc::new(site), folder }, store)
    }
}

/// Where a ledger in `store` is kept, its counter in `folder`.
pub(crate) fn keeping(store: &Arc<dyn Store>, folder: &Path) -> Keeping {
    let identity = Arc::new(SigningKey::from_seed(&[1; 32]));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now()));
    let log = AuditLog::open(Arc::clone(store), "ringfence.participant/site-1", SigningKey::from_seed(&[3; 32]));
    let journal = SiteJournal::new(
        Arc::new(log.unwrap()),
        Arc::clone(&identity),
        Arc::clone(&clock),
        participant_id().to_string(),
    );
    let counter_file = folder.join("ledger-counter.json");
    Keeping { store: Arc::clone(store), identity, clock, journal, counter_file }
}

pub(crate) fn config(data_dir: PathBuf) -> Config {
    let mut config = Config { participant_id: Some(participant_id()), data_dir, ..Config::default() };
    config.privacy.budget = Budget { epsilon: 8.0, delta: Some(1e-5) };
    config.admission.max_epsilon = 8.0;
    config
}

fn open(config: Config) -> Site {
    Site::open(config, Arc::new(ManualClock::new(now())), Randomness::OperatingSystem).unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-03-20T12:00:00Z".parse().unwrap()
}

pub(crate) fn participant_id() -> ParticipantId {
    ParticipantId::new("site-1").unwrap()
}

/// A store that refuses every write while it fails.
pub(crate) struct FailingStore {
    inner: Arc<dyn Store>,
    fails: AtomicBool,
}

impl FailingStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, fails: AtomicBool::new(false) }
    }

    pub(crate) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

impl Store for FailingStore {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(tree, prefix, limit)
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Engine { location: "test".to_owned(), reason: "disk full".to_owned() });
        }
        self.inner.apply(batch)
    }
}

pub(crate) fn task() -> Task {
    let view = feature::view();
    Task {
        task_id: TaskId::new("guard").unwrap(),
        title: "Attacks on data stores".to_owned(),
        cohort: [participant_id()].into(),
        quorum: 1,
        rounds: 2,
        feature_view: FeatureViewRef {
            name: view.name.clone(),
            version: view.version,
            digest: digest_of(&view).unwrap(),
        },
        model: ModelSpec { inputs: u32::try_from(WIDTH).unwrap(), hidden: Vec::new() },
        recipe: Recipe {
            local_steps: 5,
            sampling_rate: 0.5,
            learning_rate: 0.1,
            momentum: 0.0,
            clip_norm: 1.0,
            adaptive_clip: None,
            local: LocalTraining::Plain,
            mechanism: TrainingMechanism::default(),
            noise_multiplier: Some(4.0),
        },
        privacy: PrivacyTerms {
            unit: PrivacyUnit::Record,
            ceiling: Guarantee { epsilon: 5.0, delta: 1e-5 },
            evaluation_rho: 1e-3,
        },
        aggregation: Aggregation::default(),
        encodings: vec![Encoding::F32],
        participation: Participation::default(),
        secure_aggregation: None,
        deadlines: Deadlines { join_ms: 1000, collect_ms: 1000, evaluate_ms: 1000, unmask_ms: 1000 },
        gates: ReleaseGates { min_true_positive_rate: 0.0, max_false_positive_rate: 1.0 },
        seed: 7,
        created_at: now(),
    }
}

/// A masked task of `cohort` whose noise the sites share; nobody's keys are in its roster yet.
pub(crate) fn shared_noise_task(cohort: &[&str]) -> Task {
    let base = task();
    let recipe = Recipe {
        local_steps: 1,
        sampling_rate: 1.0,
        mechanism: TrainingMechanism::DistributedGaussian { records_per_site: 40 },
        noise_multiplier: Some(8.0),
        ..base.recipe
    };
    let (assurance, roster) = (Assurance::None, BTreeMap::new());
    let terms = SecureAggregation { clip_norm: 2.0, value_bits: 22, assurance, roster };
    let quorum = u32::try_from(threshold(cohort.len())).unwrap();
    let cohort = cohort.iter().map(|name| ParticipantId::new(*name).unwrap()).collect();
    Task { cohort, quorum, recipe, secure_aggregation: Some(terms), ..base }
}

pub(crate) fn round(number: u32) -> RoundId {
    RoundId { task_id: task().task_id, number: RoundNumber(number) }
}

/// Ordinary rows at -1, attacks at +1.
pub(crate) fn records() -> Records {
    let mut half = Dataset::new(WIDTH);
    for entity in 0..20 {
        half.push(&[-1.0; WIDTH], None, entity).unwrap();
        half.push(&[1.0; WIDTH], Some("dump"), entity).unwrap();
    }
    Records { train: half.clone(), holdout: half, sources: ["postgres".to_owned()].into() }
}

/// Parameters of a linear model that weighs every feature alike.
pub(crate) fn params(weight: f32) -> ParamVector {
    ParamVector::new(vec![weight; task().model.param_count()]).unwrap()
}

/// Signs tasks and promotions.
pub(crate) fn operator() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

/// A release as a coordinator would publish it.
pub(crate) struct Published {
    pub(crate) coordinator: SigningKey,
    pub(crate) task: Task,
    pub(crate) record: RoundRecord,
    pub(crate) release: Release,
    pub(crate) params: Vec<u8>,
    pub(crate) own_update: Option<Digest>,
    pub(crate) task_digest: Digest,
}

impl Published {
    /// Release `number`, whose model weighs every feature by 1 and each release by a little more.
    pub(crate) fn new(number: u8) -> Self {
        let (task, coordinator) = (task(), SigningKey::from_seed(&[1; 32]));
        let (task_digest, own_update) = (digest_of(&task).unwrap(), digest(b"own update"));
        let params = params(1.0 + f32::from(number) / 100.0).to_le_bytes();
        let record = RoundRecord {
            round_id: round(number.into()),
            task_digest,
            checkpoint: digest(b"checkpoint"),
            aggregation: task.aggregation.clone(),
            server_state_before: None,
            accepted: [(participant_id(), accepted(own_update))].into(),
            updates_root: digest(b"updates"),
            candidate: bulk_digest(&params),
            server_state: None,
            tally: Tally::default(),
            committed_at: now(),
            masked_sum: None,
            recomputed: None,
        };
        let release = Release {
            release_id: ReleaseId::new(format!("guard-{number}")).unwrap(),
            round_id: record.round_id.clone(),
            task_digest,
            round_record: digest(b"set by `bundle`"),
            model: task.model.clone(),
            feature_view: task.feature_view.clone(),
            params: record.candidate,
            privacy: None,
            tally: Tally::default(),
            released_at: now(),
            replaces: None,
        };
        Self { coordinator, task, record, release, params, own_update: Some(own_update), task_digest }
    }

    /// Signs what stands here; the release names the record as it is now.
    pub(crate) fn bundle(&self) -> ReleaseBundle {
        let record = self.coordinator.sign(&self.record).unwrap();
        let release = Release { round_record: document_digest(&record), ..self.release.clone() };
        let (release, params) = (self.coordinator.sign(&release).unwrap(), self.params.clone());
        ReleaseBundle { release, record, cosignatures: Vec::new(), params }
    }

    /// The operator's word that this is the latest release.
    pub(crate) fn promotion(&self, number: u64, rolled_back: Option<ReleaseId>) -> SignedDocument {
        let release = document_digest(&self.bundle().release);
        let release_id = self.release.release_id.clone();
        operator().sign(&Promotion { number, release_id, release, rolled_back, promoted_at: now() }).unwrap()
    }

    pub(crate) fn expected<'a>(&'a self, participant_id: &'a ParticipantId) -> Expected<'a> {
        Expected { task: &self.task, task_digest: self.task_digest, participant_id, own_update: self.own_update }
    }

    pub(crate) fn installed(&self) -> Installed {
        self.bundle().verify(&self.coordinator.public()).unwrap()
    }
}

/// An update that counts, by its digest.
pub(crate) fn accepted(payload: Digest) -> AcceptedUpdate {
    let (encoding, trained_in) = (Encoding::F32, RoundNumber(1));
    AcceptedUpdate { payload, byte_count: 4, encoding, trained_in, weight: 1, local_steps: 1 }
}

/// An event as JSON, `seconds` after the beginning of the day.
pub(crate) fn event(id: &str, seconds: u32, principal: &str) -> String {
    let at = Timestamp::from_micros(now().as_micros() - 43_200_000_000 + i64::from(seconds) * 1_000_000);
    let sql = format!("SELECT * FROM customers WHERE id = {seconds}");
    serde_json::json!({
        "event_id": id, "timestamp": at, "source": "postgres", "operation": "SELECT", "principal": principal,
        "ip": "10.0.0.1", "row_count": 1, "query_duration_ms": 2, "changed_fields": [], "raw_sql": sql, "tags": {},
    })
    .to_string()
}

/// The policy repository that ships.
pub(crate) fn shipped_policies() -> Repository {
    Repository::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-as-code")).unwrap()
}

pub(crate) fn account(principal: &str) -> Account {
    let asset = Asset {
        asset_id: AssetId::new("account-01").unwrap(),
        criticality: Criticality::Standard,
        environment: "production".to_owned(),
        owner: "data-platform".to_owned(),
        tags: [].into(),
    };
    Account { principal: principal.to_owned(), asset, peer_group: "accounts".to_owned(), peers: 9, maintenance: false }
}
