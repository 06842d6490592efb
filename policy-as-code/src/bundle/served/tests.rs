//! The bundle in force changes only to a newer one that holds, and without a decision lost.

use std::sync::atomic::{AtomicBool, Ordering};

use shared::decision::ContainmentAction;
use shared_crypto::SigningKey;

use super::*;
use crate::repository::Repository;
use crate::testing::{bundle, changed, request, shipped};

/// A policy that is proven wherever it stands: it forbids what is not always allowed.
const STRICTER: &str = "@id(\"stricter\")\n@reason(\"nothing runs by itself today\")\nforbid (principal is \
                        Ringfence::Release, action in Ringfence::Action::\"contain\", resource)\nwhen { context.tier == \
                        Ringfence::Tier::\"automated\" };\n";

/// Takes records down, or nothing while it fails.
#[derive(Default)]
struct Records {
    taken: Mutex<Vec<Value>>,
    fails: AtomicBool,
}

struct Site {
    root: tempfile::TempDir,
    key: SigningKey,
    records: Arc<Records>,
}

impl Site {
    fn new() -> Self {
        let (root, key) = (tempfile::tempdir().unwrap(), SigningKey::from_seed(&[1; 32]));
        let site = Self { root, key, records: Arc::default() };
        site.put(&shipped(), 1);
        site
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("repo")
    }

    fn kept(&self) -> PathBuf {
        self.root.path().join("kept.json")
    }

    /// Lets `repository` lie in the folder, in place of what lay there.
    fn put(&self, repository: &Repository, version: u64) {
        let _ = std::fs::remove_dir_all(self.dir());
        bundle(repository, version, &self.key).write(&self.dir()).unwrap();
    }

    fn open_by(&self, key: &SigningKey) -> Result<Served, PolicyError> {
        let source = Source { dir: self.dir(), public_key: key.public(), site: None };
        let records = Arc::clone(&self.records);
        let record = move |content| {
            if records.fails.load(Ordering::SeqCst) {
                return Err(JournalError { reason: "the disk is full".to_owned() });
            }
            records.taken.lock().unwrap().push(content);
            Ok(())
        };
        Served::open(source, self.kept(), Box::new(record))
    }

    fn open(&self) -> Result<Served, PolicyError> {
        self.open_by(&self.key)
    }
}

fn version(served: &Served) -> u64 {
    served.state.lock().unwrap().version
}

#[test]
fn a2_bundle_proven_a_newer_bundle_comes_in_force_and_an_older_or_broken_one_does_not() {
    let site = Site::new();
    let served = site.open().unwrap();
    let automated = || served.in_force().engine().decide(&request(ContainmentAction::Throttle)).tier.to_string();
    assert_eq!((version(&served), automated().as_str()), (1, "automated"));
    let engine = served.in_force().engine();
    served.reload().unwrap();
    assert!(version(&served) == 1 && Arc::ptr_eq(&engine, &served.in_force().engine()), "the same");

    site.put(&changed(&[("policies/40-today.cedar", STRICTER)]), 3);
    served.reload().unwrap();
    assert_eq!((version(&served), automated().as_str()), (3, "assisted"));

    let refusals: [(&dyn Fn(), &str); 6] = [
        (&|| site.put(&shipped(), 2), "bundle-version"),
        (&|| site.put(&shipped(), 3), "bundle-version"),
        (
            &|| bundle(&shipped(), 4, &SigningKey::from_seed(&[9; 32])).write(&site.dir()).unwrap(),
            "crypto-wrong-signer",
        ),
        (&|| std::fs::write(site.dir().join("policies/20-people.cedar"), "permit (").unwrap(), "crypto-wrong-signer"),
        (
            &|| {
                site.put(&shipped(), 4);
                std::fs::write(site.dir().join("policies/20-people.cedar"), "permit (").unwrap();
            },
            "bundle-content",
        ),
        (&|| std::fs::remove_dir_all(site.dir()).unwrap(), "policy-read"),
    ];
    for (put, code) in refusals {
        put();
        assert_eq!(served.reload().unwrap_err().code(), code);
        assert_eq!((version(&served), automated().as_str()), (3, "assisted"), "{code}");
    }
    site.put(&shipped(), 4);
    served.reload().unwrap();
    assert_eq!((version(&served), automated().as_str()), (4, "automated"));
}

#[test]
fn what_was_in_force_serves_on_after_a_restart_whatever_lies_in_the_folder() {
    let site = Site::new();
    site.put(&shipped(), 5);
    drop(site.open().unwrap());
    site.put(&shipped(), 4);
    let served = site.open().unwrap();
    assert_eq!((version(&served), served.reload().unwrap_err().code()), (5, "bundle-version"));
    std::fs::remove_dir_all(site.dir()).unwrap();
    assert_eq!(version(&site.open().unwrap()), 5);

    assert_eq!(site.open_by(&SigningKey::from_seed(&[9; 32])).err().unwrap().code(), "bundle-kept");
    std::fs::write(site.kept(), "{").unwrap();
    assert_eq!(site.open().err().unwrap().code(), "bundle-kept");
}

#[test]
fn the_first_bundle_has_to_hold() {
    let site = Site::new();
    std::fs::remove_file(site.dir().join(crate::bundle::CERTIFICATE_FILE)).unwrap();
    assert_eq!(site.open().err().unwrap().code(), "bundle-file");
    assert!(!site.kept().exists());
}

#[test]
fn every_bundle_is_recorded_before_it_is_in_force_and_a_refusal_once() {
    let site = Site::new();
    let served = site.open().unwrap();
    site.put(&shipped(), 0);
    for _ in 0..3 {
        served.reload().unwrap_err();
    }
    site.put(&shipped(), 2);
    site.records.fails.store(true, Ordering::SeqCst);
    assert_eq!(served.reload().unwrap_err().code(), "journal-refused");
    assert_eq!(version(&served), 1);
    site.records.fails.store(false, Ordering::SeqCst);
    served.reload().unwrap();
    let records = site.records.taken.lock().unwrap();
    let told: Vec<_> = records.iter().map(|record| (record["loaded"].as_u64(), record["refused"].as_str())).collect();
    assert_eq!(told, [(Some(1), None), (None, Some("bundle-version")), (Some(2), None)]);
}

#[test]
fn no_decision_is_lost_or_half_made_while_bundles_change() {
    let site = Site::new();
    let served = site.open().unwrap();
    let digests =
        [shipped(), changed(&[("policies/40-today.cedar", STRICTER)])].map(|one| (one.digest().unwrap(), one));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let deciding: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut decided = [0_u64; 2];
                    while !done.load(Ordering::SeqCst) {
                        let decision = served.in_force().engine().decide(&request(ContainmentAction::Throttle));
                        let which = usize::from(decision.bundle != digests[0].0);
                        assert_eq!(decision.bundle, digests[which].0);
                        assert_eq!(decision.tier.to_string(), ["automated", "assisted"][which]);
                        decided[which] += 1;
                    }
                    decided
                })
            })
            .collect();
        for version in 2..12 {
            site.put(&digests[usize::from(version % 2 == 0)].1, version);
            served.reload().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        for decided in deciding {
            let decided = decided.join().unwrap();
            assert!(decided.iter().all(|count| *count > 0), "{decided:?}");
        }
    });
}
