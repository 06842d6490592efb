//! The bundle in force changes only to a newer one that holds, and without a decision lost.

use std::sync::atomic::{AtomicBool, Ordering};

use shared::decision::ContainmentAction;
use shared_crypto::SigningKey;

use super::*;
use crate::journal::JournalError;
use crate::repository::Repository;
use crate::testing::{Memory, bundle, changed, request, shipped};

/// A policy that is proven wherever it stands: it forbids what is not always allowed.
const STRICTER: &str = "@id(\"stricter\")\n@reason(\"nothing runs by itself today\")\nforbid (principal is \
                        Ringfence::Release, action in Ringfence::Action::\"contain\", resource)\nwhen { context.tier == \
                        Ringfence::Tier::\"automated\" };\n";

/// A journal that takes nothing while it fails.
#[derive(Default)]
struct Records {
    memory: Memory,
    fails: AtomicBool,
}

impl Journal for Records {
    fn record(&self, kind: AuditKind, content: Value) -> Result<u64, JournalError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(JournalError { reason: "the disk is full".to_owned() });
        }
        self.memory.record(kind, content)
    }
}

struct Site {
    root: tempfile::TempDir,
    key: SigningKey,
    journal: Arc<Records>,
}

impl Site {
    fn new() -> Self {
        let site =
            Self { root: tempfile::tempdir().unwrap(), key: SigningKey::from_seed(&[1; 32]), journal: Arc::default() };
        site.put(&shipped(), 1);
        site
    }

    fn folder(&self) -> Folder {
        let (root, kept) = (self.root.path().join("repo"), self.root.path().join("kept.json"));
        Folder { root, site: None, key: self.key.public(), kept }
    }

    /// Lets `repository` lie in the folder, in place of what lay there.
    fn put(&self, repository: &Repository, version: u64) {
        let _ = std::fs::remove_dir_all(self.folder().root);
        bundle(repository, version, &self.key).write(&self.folder().root).unwrap();
    }

    fn open(&self) -> Result<Served, PolicyError> {
        Served::open(self.folder(), Some(self.journal.clone()))
    }
}

fn version(served: &Served) -> u64 {
    served.state.lock().unwrap().manifest.version
}

#[test]
fn a_newer_bundle_comes_in_force_and_an_older_or_broken_one_does_not() {
    let site = Site::new();
    let served = site.open().unwrap();
    let automated = || served.in_force().engine().decide(&request(ContainmentAction::Throttle)).tier.to_string();
    assert_eq!((version(&served), automated().as_str()), (1, "automated"));
    served.reload().unwrap();
    assert_eq!(version(&served), 1, "the same");

    site.put(&changed(&[("policies/40-today.cedar", STRICTER)]), 3);
    served.reload().unwrap();
    assert_eq!((version(&served), automated().as_str()), (3, "assisted"));

    let refusals: [(&dyn Fn(), &str); 6] = [
        (&|| site.put(&shipped(), 2), "bundle-version"),
        (&|| site.put(&shipped(), 3), "bundle-version"),
        (
            &|| bundle(&shipped(), 4, &SigningKey::from_seed(&[9; 32])).write(&site.folder().root).unwrap(),
            "crypto-wrong-signer",
        ),
        (
            &|| std::fs::write(site.folder().root.join("policies/20-people.cedar"), "permit (").unwrap(),
            "crypto-wrong-signer",
        ),
        (
            &|| {
                site.put(&shipped(), 4);
                std::fs::write(site.folder().root.join("policies/20-people.cedar"), "permit (").unwrap();
            },
            "bundle-content",
        ),
        (&|| std::fs::remove_dir_all(site.folder().root).unwrap(), "policy-read"),
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
    std::fs::remove_dir_all(site.folder().root).unwrap();
    assert_eq!(version(&site.open().unwrap()), 5);

    let other = Folder { key: SigningKey::from_seed(&[9; 32]).public(), ..site.folder() };
    assert_eq!(Served::open(other, None).err().unwrap().code(), "bundle-kept");
    std::fs::write(site.folder().kept, "{").unwrap();
    assert_eq!(site.open().err().unwrap().code(), "bundle-kept");
}

#[test]
fn the_first_bundle_has_to_hold() {
    let site = Site::new();
    std::fs::remove_file(site.folder().root.join(crate::bundle::CERTIFICATE_FILE)).unwrap();
    assert_eq!(site.open().err().unwrap().code(), "bundle-file");
    assert!(!site.folder().kept.exists());
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
    site.journal.fails.store(true, Ordering::SeqCst);
    assert_eq!(served.reload().unwrap_err().code(), "journal-refused");
    assert_eq!(version(&served), 1);
    site.journal.fails.store(false, Ordering::SeqCst);
    served.reload().unwrap();
    let records = site.journal.memory.records.lock().unwrap();
    let told: Vec<_> =
        records.iter().map(|(_, record)| (record["loaded"].as_u64(), record["refused"].as_str())).collect();
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
