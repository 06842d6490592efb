//! What several tests need: the shipped repository, requests, subjects, a journal that remembers, a store that crashes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use policy_as_code_cedar::{Solver, SolverConfig};
use serde_json::Value;
use shared::asset::{Asset, Criticality};
use shared::audit::AuditKind;
use shared::decision::{ContainmentAction, DecisionContext, DecisionRequest, Requester};
use shared::detection::Detection;
use shared::store::{Batch, Entry, Key, Store, StoreError};
use shared::{AssetId, Digest, Explain, ReleaseId, RunId, Timestamp};
use shared_crypto::SigningKey;
use shared_ops::clock::SystemClock;

use crate::bundle::{Bundle, certificate};
use crate::containment::PeerGroup;
use crate::decide::{Engine, InForce};
use crate::journal::{Journal, JournalError};
use crate::playbook::Subject;
use crate::prove::{ProofCertificate, Subject as ProofSubject};
use crate::repository::Repository;

/// The repository as it ships.
pub(crate) fn shipped() -> Repository {
    Repository::read(&PathBuf::from(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The text of a shipped file.
pub(crate) fn shipped_file(path: &str) -> String {
    let (folder, _) = path.rsplit_once('/').unwrap();
    shipped().folder(folder).into_iter().find(|file| file.path == path).unwrap().text
}

/// The real solver; says so where a test is skipped because there is none.
pub(crate) fn solver() -> Option<Solver> {
    let config = SolverConfig {
        program: "cvc5".into(),
        time_limit: Duration::from_secs(60),
        processes: 2,
        clock: Arc::new(SystemClock),
        digest: shared_crypto::digest,
    };
    let found = Solver::find(config);
    found.inspect_err(|error| println!("SKIPPED, nothing is proven here: {error}; {}", error.hint())).ok()
}

/// A certificate about `repository` that claims for it what is proven of the shipped one.
pub(crate) fn certified(repository: &Repository) -> ProofCertificate {
    let proven = certificate(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    ProofCertificate { subject: ProofSubject::of(repository).unwrap(), ..proven }
}

/// The repository as a bundle.
pub(crate) fn bundle(repository: &Repository, version: u64, key: &SigningKey) -> Bundle {
    Bundle::build(repository.clone(), certified(repository), version, key, Timestamp::EPOCH).unwrap()
}

/// The shipped policies in force.
pub(crate) fn engine() -> Arc<Engine> {
    Arc::new(Engine::new(&shipped(), None).unwrap())
}

/// The same, for what looks up the policies in force each time.
pub(crate) fn in_force() -> Arc<InForce> {
    Arc::new(InForce::new(Engine::new(&shipped(), None).unwrap()))
}

/// The shipped repository with `extra` files on top; an empty text takes a file away.
pub(crate) fn changed(extra: &[(&str, &str)]) -> Repository {
    let shipped = shipped();
    let folders = ["governance", "policies", "schema", "invariants", "playbooks"];
    let mut files: std::collections::BTreeMap<String, String> =
        folders.iter().flat_map(|folder| shipped.folder(folder)).map(|file| (file.path, file.text)).collect();
    for (path, text) in extra {
        files.insert((*path).to_owned(), (*text).to_owned());
        files.retain(|_, text| !text.is_empty());
    }
    Repository::from_files(files)
}

pub(crate) fn asset_id(name: &str) -> AssetId {
    AssetId::new(name).unwrap()
}

pub(crate) fn run_id(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

pub(crate) fn release() -> Requester {
    let release_id = ReleaseId::new("fraud-7").unwrap();
    Requester::Release { release_id, signed: true, validated: true, age_days: 3 }
}

pub(crate) fn asset(name: &str) -> Asset {
    Asset {
        asset_id: asset_id(name),
        criticality: Criticality::Standard,
        environment: "production".to_owned(),
        owner: "reporting".to_owned(),
        tags: [].into(),
    }
}

/// A request that every tier allows.
pub(crate) fn request(action: ContainmentAction) -> DecisionRequest {
    DecisionRequest {
        requester: release(),
        action,
        asset: asset("reporting-reader"),
        context: DecisionContext {
            score_bp: 9_900,
            false_positive_rate_bp: 1,
            false_positive_rate_high_bp: 5,
            blast_radius: 1,
            service_blast_radius: 1,
            site_blast_radius: 1,
            healthy_peers: 9,
            playbook_step: 3,
            monitored_s: 600,
            reversible: true,
            ..DecisionContext::default()
        },
    }
}

/// A subject on which `contain-account` runs through by itself.
pub(crate) fn subject(name: &str) -> Subject {
    Subject {
        detection: Detection {
            event_id: "event-1".to_owned(),
            event_time: Timestamp::EPOCH,
            principal_token: "0f".repeat(16),
            release_id: ReleaseId::new("fraud-7").unwrap(),
            release_digest: Digest([7; 32]),
            score_bp: 9_900,
            false_positive_rate_bp: 1,
            false_positive_rate_high_bp: 5,
            reasons: Vec::new(),
        },
        requester: release(),
        asset: asset(name),
        peers: PeerGroup { name: "reporting".to_owned(), size: 10 },
        blast_radius: 1,
        maintenance_window: false,
    }
}

/// A journal that remembers.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) records: Mutex<Vec<(AuditKind, Value)>>,
}

impl Journal for Memory {
    fn record(&self, kind: AuditKind, content: Value) -> Result<u64, JournalError> {
        let mut records = self.records.lock().unwrap();
        records.push((kind, content));
        Ok(u64::try_from(records.len()).unwrap() - 1)
    }
}

/// A store that takes so many writes and then fails for ever, as if the process had died there.
pub(crate) struct Crashing {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) writes_left: AtomicU64,
}

impl Crashing {
    fn dead() -> StoreError {
        StoreError::Engine { location: "test".to_owned(), reason: "crashed".to_owned() }
    }
}

impl Store for Crashing {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        if self.writes_left.load(Ordering::SeqCst) == 0 { Err(Self::dead()) } else { self.inner.get(key) }
    }

    fn scan(&self, tree: &'static str, prefix: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        if self.writes_left.load(Ordering::SeqCst) == 0 {
            Err(Self::dead())
        } else {
            self.inner.scan(tree, prefix, limit)
        }
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let take = |left: u64| left.checked_sub(1);
        self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).map_err(|_| Self::dead())?;
        self.inner.apply(batch)
    }
}

/// Runs git in `folder`.
pub(crate) fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=Reviewer", "-c", "user.email=reviewer@example.org"];
    let output = std::process::Command::new("git").arg("-C").arg(folder).args(identity).args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Commits `text` as `path` in the git repository at `folder`.
pub(crate) fn commit(folder: &Path, path: &str, text: &str) {
    let file = folder.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
    git(folder, &["add", path]);
    git(folder, &["commit", "--quiet", "--message", path]);
}
