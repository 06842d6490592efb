//! The seeds that fuzzing starts from are what they are named after: a seed that no decoder takes leads nowhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use shared::audit::AuditRecord;
use shared::canonical;
use shared::document::Document;
use shared::enrolment::{Enrolment, Renewal};
use shared::masking::{
    Agreement, Challenge, Cosignature, Draw, MaskedSum, MaskingPlan, NormClaim, OpenedUpdate, Reveal, Survivors,
};
use shared::privacy::LedgerShown;
use shared::release::{Promotion, Release, RoundRecord};
use shared::task::Task;
use shared::update::{Evaluation, Join, UpdateHeader, UpdateReceipt};
use shared_audit::transcript::TranscriptKeys;
use shared_wire::decode;

use crate::tidy::root;

fn folder(target: &str) -> PathBuf {
    root().join("tests/fuzz/seeds").join(target)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    std::fs::read_dir(folder).unwrap().map(|entry| stem(entry.unwrap().path())).collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Decodes the seed of a kind of document, and gives the kind's name.
fn document<T: Document>() -> String {
    let path = folder("documents").join(T::DOMAIN).with_extension("json");
    canonical::decode::<T>(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    T::DOMAIN.to_owned()
}

#[test]
fn every_kind_of_document_has_its_seed() {
    let kinds = [
        document::<Agreement>(),
        document::<AuditRecord>(),
        document::<Challenge>(),
        document::<Cosignature>(),
        document::<Draw>(),
        document::<Enrolment>(),
        document::<Evaluation>(),
        document::<Join>(),
        document::<LedgerShown>(),
        document::<MaskedSum>(),
        document::<MaskingPlan>(),
        document::<NormClaim>(),
        document::<OpenedUpdate>(),
        document::<Promotion>(),
        document::<Release>(),
        document::<Renewal>(),
        document::<Reveal>(),
        document::<RoundRecord>(),
        document::<Survivors>(),
        document::<Task>(),
        document::<TranscriptKeys>(),
        document::<UpdateHeader>(),
        document::<UpdateReceipt>(),
    ];
    assert_eq!(BTreeSet::from(kinds), names(&folder("documents")));
    let task: Task = canonical::decode(&read(&folder("documents").join("task.json"))).unwrap();
    task.validate().unwrap();
}

#[test]
fn every_message_has_its_seed() {
    let seed = |name: &str| read(&folder("wire").join(name));
    decode::enrol_answer(&seed("enrol_answer")).unwrap();
    decode::fetch_params(&seed("fetch_params")).unwrap();
    decode::heartbeat(&seed("heartbeat")).unwrap();
    decode::join_request(&seed("join_request")).unwrap();
    decode::piece(&seed("piece")).unwrap();
    decode::proof_request(&seed("proof_request")).unwrap();
    decode::release_bundle(&seed("release_bundle")).unwrap();
    decode::round_view(&seed("round_view")).unwrap();
    decode::sealed_shares(&seed("sealed_shares")).unwrap();
    decode::signed_document(&seed("signed_document")).unwrap();
    decode::task_view(&seed("task_view")).unwrap();
    decode::update_part(&seed("update_part")).unwrap();
    decode::upload_progress(&seed("upload_progress")).unwrap();
}
