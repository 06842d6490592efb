//! A site opened: its keys, store, lake, privacy ledger and audit log, made on first use and found again afterwards.

use std::fs::{self, File, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use policy_as_code::bundle::Served;
use policy_as_code::journal::Journal;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::json;
use shared::audit::AuditKind;
use shared::document::SignedDocument;
use shared::masking::{Element, RosterKeys};
use shared::privacy::Mechanism;
use shared::store::{Batch, Key, Store};
use shared::task::Task;
use shared::{Clock, Digest, ParticipantId, RoundId, Timestamp, canonical};
use shared_audit::AuditLog;
use shared_crypto::masking::AgreementKey;
use shared_crypto::{SealKey, SigningKey, TokenKey, digest, document_digest, random_bytes};
use shared_privacy::noise::GaussianNoise;
use shared_store::SledStore;
use tokio::task::spawn_blocking;

use crate::admit::{Permission, admit_costs};
use crate::audit::SiteJournal;
use crate::collect::DeadLetters;
use crate::config::Config;
use crate::error::SiteError;
use crate::lake::Lake;
use crate::ledger::{Keeping, PrivacyLedger, Purpose};
use crate::masking::{Kept, peers};
use crate::serve::Installed;
use crate::train::ExactNoise;

const ADMITTED: &str = "admitted-task";
/// A file of dead letters that has reached this size is full, in bytes.
const DEAD_LETTERS: u64 = 256 * 1024 * 1024;
/// How far a source's clock may run ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Where samples and noise come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Randomness {
    /// The operating system: the only source that is private.
    OperatingSystem,
    /// A seed that repeats a demonstration's numbers. Whoever knows it can subtract the noise: **not private**.
    Demonstration(u64),
}

/// A site's parts, opened together.
pub struct Site {
    /// The site's name.
    pub participant_id: ParticipantId,
    /// How it was told to work.
    pub config: Config,
    /// What tells it the time.
    pub clock: Arc<dyn Clock>,
    /// Signs in its name.
    pub identity: Arc<SigningKey>,
    /// Opens what others seal for it.
    pub agreement: Arc<AgreementKey>,
    /// What it keeps of masked rounds.
    pub(crate) masked: Kept,
    /// Makes tokens of principals, addresses and assets.
    pub tokens: Arc<TokenKey>,
    /// Its durable state.
    pub store: Arc<dyn Store>,
    /// Its telemetry.
    pub lake: Lake,
    /// What its records have cost.
    pub ledger: PrivacyLedger,
    /// What was decided and done.
    pub journal: SiteJournal,
    /// Held while an update is prepared: of two who would train for one round, the second finds the first one's update.
    pub(crate) training: Mutex<()>,
    randomness: Randomness,
    policies: OnceLock<Arc<Served>>,
}

/// Fresh randomness for one round.
pub(crate) struct Draws {
    /// Which records are sampled.
    pub(crate) sampling: ChaCha20Rng,
    /// The noise.
    pub(crate) noise: ExactNoise,
    /// Which way an encoding rounds.
    pub(crate) rounding: ChaCha20Rng,
}

impl Site {
    /// Opens the site in the configured folder.
    pub fn open(config: Config, clock: Arc<dyn Clock>, randomness: Randomness) -> Result<Self, SiteError> {
        let keeping = Self::keeping(&config, clock)?;
        let folder = &config.data_dir;
        let keys = folder.join("keys");
        let ledger = PrivacyLedger::open(keeping.clone(), &config.privacy.budget)?;
        let Keeping { store, identity, clock, journal, .. } = keeping;
        Ok(Self {
            participant_id: config.participant_id.clone().ok_or(SiteError::Unnamed)?,
            lake: Lake::open(folder.join("lake"), SealKey::load_or_create(&keys.join("seal.key"))?)?,
            agreement: Arc::new(AgreementKey::load_or_create(&keys.join("agreement.key"))?),
            masked: Kept::new(Arc::clone(&store), Arc::new(SealKey::load_or_create(&keys.join("masking.key"))?)),
            tokens: Arc::new(TokenKey::load_or_create(&keys.join("token.key"))?),
            ledger,
            journal,
            clock,
            identity,
            store,
            training: Mutex::default(),
            randomness,
            policies: OnceLock::new(),
            config,
        })
    }

    /// Opens what the site's ledger is kept with, and nothing else: for a ledger that is refused when it is opened.
    pub fn keeping(config: &Config, clock: Arc<dyn Clock>) -> Result<Keeping, SiteError> {
        config.validate()?;
        let participant_id = config.participant_id.clone().ok_or(SiteError::Unnamed)?;
        let folder = &config.data_dir;
        let keys = folder.join("keys");
        fs::create_dir_all(&keys).map_err(|source| SiteError::io("create", &keys, source))?;
        let identity = Arc::new(SigningKey::load_or_create(&keys.join("identity.key"))?);
        let store: Arc<dyn Store> = Arc::new(SledStore::open(folder.join("store"))?);
        let log_key = SigningKey::load_or_create(&keys.join("audit.key"))?;
        let origin = format!("ringfence.participant/{participant_id}");
        let log = Arc::new(AuditLog::open(Arc::clone(&store), &origin, log_key)?);
        let journal = SiteJournal::new(log, Arc::clone(&identity), Arc::clone(&clock), participant_id.to_string());
        let counter_file = config.privacy.counter_file.clone();
        let counter_file = counter_file.unwrap_or_else(|| folder.join("ledger-counter.json"));
        Ok(Keeping { store, identity, clock, journal, counter_file })
    }

    /// The folder that holds everything of this site.
    pub fn folder(&self) -> &Path {
        &self.config.data_dir
    }

    /// The site's policies, put in force when they are first asked for; `None` where it has no policy repository.
    pub fn policies(&self) -> Result<Option<&Arc<Served>>, SiteError> {
        let Some(source) = self.config.policy.clone() else { return Ok(None) };
        if self.policies.get().is_none() {
            let (kept, journal) = (self.folder().join("policy-in-force.json"), self.journal.clone());
            let record = move |content| journal.record(AuditKind::Bundle, content).map(|_index| ());
            let served = Served::open(source, kept, Box::new(record))?;
            // Of two who come first at once, both read the same.
            let _ = self.policies.set(Arc::new(served));
        }
        Ok(self.policies.get())
    }

    /// Letters about an input's rejected records, appended to the site's dead-letter file. A full file makes room for a
    /// new one, and takes the place of the full one before.
    pub fn dead_letters(&self, input: &str) -> Result<DeadLetters<BufWriter<File>>, SiteError> {
        let path = self.folder().join("dead-letters.jsonl");
        if fs::metadata(&path).is_ok_and(|file| file.len() >= DEAD_LETTERS) {
            let old = self.folder().join("dead-letters.old.jsonl");
            fs::rename(&path, &old).map_err(|source| SiteError::io("rename to", &old, source))?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(|source| SiteError::io("append to", &path, source))?;
        Ok(DeadLetters::new(BufWriter::new(file), input))
    }

    /// The latest time that an event may claim: now, and the admitted clock skew.
    pub fn latest(&self) -> Timestamp {
        self.clock.now().plus(CLOCK_SKEW)
    }

    /// Fresh randomness for a round.
    pub(crate) fn draws(&self, round_id: &RoundId) -> Result<Draws, SiteError> {
        match self.randomness {
            Randomness::OperatingSystem => Ok(Draws {
                sampling: ChaCha20Rng::from_seed(*random_bytes()?),
                noise: ExactNoise(GaussianNoise::from_os()?),
                rounding: ChaCha20Rng::from_seed(*random_bytes()?),
            }),
            Randomness::Demonstration(seed) => {
                let seed =
                    |use_: &str| digest(format!("{seed} {} {round_id} {use_}", self.participant_id).as_bytes()).0;
                Ok(Draws {
                    sampling: ChaCha20Rng::from_seed(seed("sample")),
                    noise: ExactNoise(GaussianNoise::from_seed(seed("noise"))),
                    rounding: ChaCha20Rng::from_seed(seed("rounding")),
                })
            }
        }
    }

    /// Charges the ledger for something that a round of `task` asks, or refuses and charges nothing. Noise may be drawn
    /// only after this returned `Ok`.
    pub(crate) fn charge(&self, task: &Task, cost: Mechanism, purpose: Purpose<'_>) -> Result<(), SiteError> {
        self.afford(task, cost)?;
        self.ledger.debit(cost, task.privacy.unit, purpose)?;
        Ok(())
    }

    /// Refuses what [`Site::charge`] would refuse. Rounds that came to nothing count: a coordinator that repeats rounds
    /// cannot make a task cost more than was admitted.
    pub(crate) fn afford(&self, task: &Task, cost: Mechanism) -> Result<(), SiteError> {
        let mut costs = self.ledger.costs_of(&task.task_id);
        costs.push(cost);
        admit_costs(task, &costs, &self.config.admission, self.ledger.budget().delta)?;
        self.ledger.admit(&cost)?;
        Ok(())
    }

    /// The signed task with this digest, if this site has admitted it.
    pub(crate) fn admitted(&self, task: &Digest) -> Result<Option<SignedDocument>, SiteError> {
        let kept = self.store.get(&Key::new(ADMITTED, task.as_bytes().as_slice()))?;
        Ok(kept.map(|bytes| canonical::decode(&bytes)).transpose()?)
    }

    /// Notes, in the audit log too, that the site takes part in a task.
    pub(crate) fn record_admission(
        &self,
        task: &Task,
        document: &SignedDocument,
        permission: &Permission,
    ) -> Result<(), SiteError> {
        let met = self.meet(task)?;
        let task_digest = document_digest(document);
        let content = json!({
            "admitted": task.task_id,
            "task_digest": task_digest,
            "privacy": task.privacy,
            "policies": permission.policies,
            "bundle": permission.bundle,
        });
        self.journal.write(AuditKind::Task, &content)?;
        let key = Key::new(ADMITTED, task_digest.as_bytes().as_slice());
        Ok(self.store.apply(met.put(key, canonical::encode(document)?))?)
    }

    /// Checks the roster of a masked task against the keys that this site knows.
    fn meet(&self, task: &Task) -> Result<Batch, SiteError> {
        let Some(terms) = &task.secure_aggregation else { return Ok(Batch::new()) };
        let identity = Element::from(*self.identity.public().as_bytes());
        let own = RosterKeys { identity, agreement: Element::from(self.agreement.public()) };
        peers::meet(&*self.store, (&self.participant_id, own), terms)
    }

    /// Notes in the audit log that a release verified and is to serve: on the operator's signed `promotion`, or without one
    /// where the site went back by itself.
    pub(crate) fn record_release(
        &self,
        installed: &Installed,
        promotion: Option<&SignedDocument>,
    ) -> Result<(), SiteError> {
        let release = &installed.release;
        let content = json!({
            "installed": release.release_id,
            "digest": installed.digest,
            "params": release.params,
            "promotion": promotion,
        });
        self.journal.write(AuditKind::Release, &content)?;
        Ok(())
    }
}

/// Runs what blocks (the disk, training, the ledger's arithmetic) away from the threads that serve others. Once begun it
/// runs to its end, also where nobody waits for it any more.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SiteError> + Send + 'static,
) -> Result<T, SiteError> {
    spawn_blocking(work).await.map_err(SiteError::Interrupted)?
}

#[cfg(test)]
mod tests {
    use policy_as_code::bundle::Source;

    use super::*;
    use crate::testing::{Lone, config, now, round};

    #[test]
    fn a_full_file_of_dead_letters_makes_room_for_a_new_one() {
        let lone = Lone::new();
        let path = lone.site.folder().join("dead-letters.jsonl");
        lone.site.dead_letters("first").unwrap();
        File::options().write(true).open(&path).unwrap().set_len(DEAD_LETTERS).unwrap();
        lone.site.dead_letters("second").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(fs::metadata(path.with_file_name("dead-letters.old.jsonl")).unwrap().len(), DEAD_LETTERS);
    }

    #[test]
    fn a_site_without_a_name_or_with_a_senseless_configuration_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let clock = || Arc::new(shared::time::ManualClock::new(now()));
        let mut senseless = config(folder.path().join("site"));
        senseless.privacy.budget.delta = Some(2.0);
        let refused = Site::open(senseless, clock(), Randomness::OperatingSystem).err().unwrap();
        assert!(matches!(refused, SiteError::Config(_)), "{refused}");
        let refused = Site::open(Config::default(), clock(), Randomness::OperatingSystem).err().unwrap();
        assert!(matches!(refused, SiteError::Unnamed), "{refused}");
        assert!(!folder.path().join("site").exists(), "nothing was made");
    }

    #[test]
    fn policies_that_are_no_bundle_are_refused_and_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let public_key = SigningKey::from_seed(&[5; 32]).public();
        let source = Source { dir: folder.path().to_owned(), public_key, site: None };
        let lone = Lone::with(|config| config.policy = Some(source));
        for _ in 0..2 {
            assert!(matches!(lone.site.policies(), Err(SiteError::Policy(_))));
        }
        assert!(Lone::new().site.policies().unwrap().is_none());
    }

    #[test]
    fn only_a_demonstration_repeats_its_draws_and_then_by_round() {
        use rand_chacha::rand_core::Rng;
        let mut lone = Lone::new();
        let draw = |site: &Site, number| site.draws(&round(number)).unwrap().sampling.next_u64();
        assert_ne!(draw(&lone.site, 1), draw(&lone.site, 1));
        Arc::get_mut(&mut lone.site).unwrap().randomness = Randomness::Demonstration(7);
        assert_eq!(draw(&lone.site, 1), draw(&lone.site, 1));
        assert_ne!(draw(&lone.site, 1), draw(&lone.site, 2));
    }
}
