//! The policies of a site of the tests, signed and certified.

use std::path::Path;

use policy_as_code::bundle::{Bundle, certificate};
use policy_as_code::prove::{ProofCertificate, Subject};
use policy_as_code::repository::Repository;
use shared::Timestamp;
use shared_crypto::SigningKey;

use crate::tidy::root;

/// Admits every task, since the tests' tasks spend ε to learn fast.
const ADMIT: (&str, &str) =
    ("governance/10-tasks.cedar", "@id(\"admit.anything\")\npermit (principal, action, resource);\n");

/// Signs every bundle.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[5; 32])
}

/// Has a bundle lie in `folder`: the shipped policies with `extra` files, and [`ADMIT`] in place of what admits tasks.
pub(crate) fn put(folder: &Path, version: u64, extra: &[(&str, &str)]) {
    let shipped = root().join("policy-as-code");
    let repository = Repository::read(&shipped).unwrap();
    let shipped_files = repository.files().map(|(path, text)| (path.to_owned(), text.clone()));
    // Of two files at one path the latter stays.
    let own = extra.iter().copied().chain([ADMIT]).map(|(path, text)| (path.to_owned(), text.to_owned()));
    let repository = Repository::from_files(shipped_files.chain(own));
    // What is proven of the shipped policies is taken as proven of these, which spares a solver.
    let subject = Subject::of(&repository).unwrap();
    let certificate = ProofCertificate { subject, ..certificate(&shipped).unwrap() };
    let bundle = Bundle::build(repository, certificate, version, &key(), Timestamp::EPOCH).unwrap();
    bundle.write(folder).unwrap();
}
