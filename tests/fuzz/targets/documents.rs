//! Every kind of document that somebody signs, from its canonical bytes: whatever decodes has that one spelling, and a
//! task that decodes is judged without a panic.
//!
//! Each input goes to every kind, so that N executions are N of each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::audit::AuditRecord;
use shared::canonical;
use shared::document::{Document, SignedDocument};
use shared::enrolment::{Enrolment, Renewal};
use shared::masking::{
    Agreement, Challenge, Cosignature, Draw, MaskedSum, MaskingPlan, NormClaim, OpenedUpdate, Reveal, Survivors,
};
use shared::privacy::LedgerShown;
use shared::release::{Promotion, Release, RoundRecord};
use shared::task::Task;
use shared::update::{Evaluation, Join, UpdateHeader, UpdateReceipt};
use shared_audit::transcript::TranscriptKeys;

fn decoded<T: Document>(bytes: &[u8]) -> Option<T> {
    let document: T = canonical::decode(bytes).ok()?;
    assert_eq!(canonical::encode(&document).ok().as_deref(), Some(bytes), "{} has a second spelling", T::DOMAIN);
    Some(document)
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(task) = decoded::<Task>(bytes) {
        let _ = task.update_len();
        if task.validate().is_ok() {
            let updates = task.encodings.iter().map(|encoding| encoding.encoded_len(task.update_len()));
            assert!(updates.max().is_some_and(|largest| largest < usize::MAX));
            let _ = task.cost();
        }
    }
    let _ = decoded::<Agreement>(bytes);
    let _ = decoded::<Challenge>(bytes);
    let _ = decoded::<Draw>(bytes);
    let _ = decoded::<NormClaim>(bytes);
    let _ = decoded::<OpenedUpdate>(bytes);
    let _ = decoded::<AuditRecord>(bytes);
    let _ = decoded::<Cosignature>(bytes);
    let _ = decoded::<Enrolment>(bytes);
    let _ = decoded::<Evaluation>(bytes);
    let _ = decoded::<Join>(bytes);
    let _ = decoded::<LedgerShown>(bytes);
    let _ = decoded::<MaskedSum>(bytes);
    let _ = decoded::<MaskingPlan>(bytes);
    let _ = decoded::<Promotion>(bytes);
    let _ = decoded::<Release>(bytes);
    let _ = decoded::<Renewal>(bytes);
    let _ = decoded::<Reveal>(bytes);
    let _ = decoded::<RoundRecord>(bytes);
    let _ = decoded::<Survivors>(bytes);
    let _ = decoded::<TranscriptKeys>(bytes);
    let _ = decoded::<UpdateHeader>(bytes);
    let _ = decoded::<UpdateReceipt>(bytes);
    let _ = serde_json::from_slice::<SignedDocument>(bytes);
});
